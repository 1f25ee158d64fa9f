#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# One registry for a daemon beside it, one a level further in and one in a VM; the credentials are
# handed to each as a file and are in no image, layer or disk.

bats_require_minimum_version 1.5.0
load scenario

name=registry-shared
docker=$name/docker
inner=$name/docker/docker
kata=$name/kata
image=registry.test/app

setup_file() {
	scenario_setup qemu-system-x86_64 openssl perl
	mkdir "$T/scenarios"
	cp "$scenario" "$T/scenarios/"
	"$PWD/scenarios/registry-shared/make-secrets" "$T/scenarios/registry-shared/secrets" </dev/null
	export secrets=$T/scenarios/registry-shared/secrets
	scenario=$T/scenarios/registry-shared.yaml
	scenario_start
	dx "$docker" -- docker tag debian "$image"
}
teardown_file() { scenario_down; }

password() { jq -r '.auths[].auth' "$secrets/auth.json" | base64 -d | cut -d: -f2; }

@test "the registry asks who it is" {
	local l
	for l in "$docker" "$inner" "$kata"; do
		run -1 dx "$l" -- docker --config /nowhere pull "$image"
		[[ $output == *"no basic auth credentials"* ]]
	done
	run -1 dx "$docker" -- docker --config /nowhere push "$image"
	[[ $output == *"no basic auth credentials"* ]]
}

@test "who has another password is refused" {
	dx "$docker" -- sh -c 'mkdir -p /tmp/wrong && echo "{\"auths\": {\"registry.test\": {\"auth\": \"dXNlcjp3cm9uZw==\"}}}" >/tmp/wrong/config.json'
	run -1 dx "$docker" -- docker --config /tmp/wrong pull "$image"
	[[ $output == *"unauthorized"* || $output == *"authentication required"* ]]
	dx "$docker" -- rm -r /tmp/wrong
}

@test "the daemon beside it pushes" {
	run -0 dx "$docker" -- docker push -q "$image"
	run -0 dx "$name/registry.test" -- ls /var/lib/docker-registry/docker/registry/v2/repositories
	[ "$output" = app ]
}

@test "the daemon in a daemon, and the one in a VM, pull and run it, and push" {
	local l
	for l in "$inner" "$kata"; do
		run -0 dx "$l" -- docker pull -q "$image"
		[ "$(dx "$l" -- docker image inspect -f '{{.Id}}' "$image")" = \
			"$(dx "$docker" -- docker image inspect -f '{{.Id}}' debian)" ]
		run -7 dx "$l" -- docker run --rm "$image" sh -c 'exit 7'
		dx "$l" -- docker tag "$image" "$image:by-${l##*/}"
		run -0 dx "$l" -- docker push -q "$image:by-${l##*/}"
	done
	run -0 dx "$docker" -- docker pull -q "$image:by-kata"
}

@test "the file cannot be written from inside, not even by who mounts it anew" {
	local l before
	before=$(sha256sum <"$secrets/auth.json")
	for l in "$docker" "$inner" "$kata"; do
		run dx "$l" -- sh -c 'echo bad >/root/.docker/config.json'
		[ "$status" -ne 0 ]
		run dx "$l" -- sh -c 'mount -o remount,bind,rw /root/.docker/config.json; echo bad >>/root/.docker/config.json'
		[ "$status" -ne 0 ]
		run dx "$l" -- rm -f /root/.docker/config.json
		[ "$status" -ne 0 ]
		[ "$(dx "$l" -- sha256sum /root/.docker/config.json | cut -d' ' -f1)" = "${before%% *}" ]
	done
	[ "$(sha256sum <"$secrets/auth.json")" = "$before" ]
}

# with_secrets FILE... - those that have one of the secrets in them
with_secrets() {
	{
		password
		jq -r '.auths[].auth' "$secrets/auth.json"
		cut -d: -f2 "$secrets/htpasswd"
		sed -n 5p "$secrets/key.pem"
	} >"$T/patterns"
	[ "$(awk 'length >= 20' "$T/patterns" | wc -l)" -eq 4 ]
	LC_ALL=C grep -laF -f "$T/patterns" -- "$@" || [ $? -eq 1 ]
}

@test "no engine, image or disk has any of it" {
	local l files
	export DOCKER_HOST=unix://$DINK_RUN_DIR/engine/docker.sock
	mkdir -p "$T/look"
	for l in docker kata registry.test; do docker inspect "$name.$l"; done >"$T/look/host"
	docker history --no-trunc "$(docker inspect -f '{{.Image}}' "$name.registry.test")" >>"$T/look/host"
	docker diff "$name.docker" >>"$T/look/host"
	for l in "$docker" "$inner" "$kata"; do
		dx "$l" -- docker history --no-trunc "$image"
		dx "$l" -- docker inspect "$image"
		dx "$l" -- docker info
	done >"$T/look/layers"
	dx "$docker" -- docker inspect "$name.docker.docker" >>"$T/look/layers"
	[ "$(wc -c <"$T/look/layers")" -gt 5000 ]
	[ -z "$(with_secrets "$T/look/host" "$T/look/layers")" ]
	# what the search would find if it were there
	[ "$(with_secrets "$secrets/auth.json" "$secrets/htpasswd" "$secrets/key.pem" | wc -l)" -eq 3 ]
	for l in "$docker" "$kata"; do dx "$l" -- sync; done
	[ -z "$(with_secrets "$DINK_STATE_DIR/instances/$name/disks/"*.img)" ]
	# the private engine's store: what containers wrote, beside what images were built of
	mapfile -d '' -t files < <(find "$DINK_STATE_DIR/engine/data" "$DINK_STATE_DIR/instances/$name" \
		-xdev -type f ! -name '*.img' -newer "$scenario" -print0)
	[ "${#files[@]}" -gt 10 ]
	[ -z "$(printf '%s\0' "${files[@]}" | xargs -0 -n 200 bash -c \
		'LC_ALL=C grep -laF -f "$0" -- "$@" || [ $? -eq 1 ]' "$T/patterns")" ]
}

@test "up again changes nothing; a file that goes meanwhile is none of the layers' business" {
	mv "$secrets/auth.json" "$secrets/away"
	run -0 "$DINK" up "$scenario"
	mv "$secrets/away" "$secrets/auth.json"
	run -0 dx "$inner" -- docker pull -q "$image"
}

@test "down takes the copies with it" {
	"$DINK" down -q --wait "$name"
	[ -z "$(find "$DINK_RUN_DIR" "$DINK_STATE_DIR/instances" -path '*files*')" ]
	[ -e "$secrets/auth.json" ]
}
