#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `dink image ls|copy|rm|prune` between two dockerds and a podman of this file's own, archives, an
# OCI layout and a registry that wants a password. What travels is counted by a relay, not by dink.

bats_require_minimum_version 1.5.0

setup_file() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	command -v dockerd >/dev/null || skip "needs dockerd"
	export NO_COLOR=1 DINK_STATE_DIR=$BATS_FILE_TMPDIR/state DINK_RUN_DIR=$BATS_FILE_TMPDIR/run
	unset DOCKER_HOST
	cd "$BATS_FILE_TMPDIR" || return
	export a=unix://$PWD/a/s b=unix://$PWD/b/s
	start_docker a
	start_docker b
	wait_socket a/s
	wait_socket b/s
	head -c 8000000 /dev/urandom >base.bin
	head -c 2000000 /dev/urandom >top.bin
	make_archive base:1 base.bin
	make_archive app:1 base.bin top.bin
	docker -H "$a" load -q -i app_1.tar
	docker -H "$a" load -q -i base_1.tar
	# the same layers under another config
	printf 'FROM app:1\nENV other=yes\n' | docker -H "$a" build -q -t app:2 -
}

# A daemon without a network; its socket, pid file and log are in the folder.
start_docker() {
	mkdir -p "$1"
	setsid dockerd --bridge=none --iptables=false -s overlay2 --data-root "$PWD/$1/data" \
		--exec-root "$PWD/$1/exec" -p "$PWD/$1/pid" -H "unix://$PWD/$1/s" \
		--containerd-namespace "dink-24-$1" --containerd-plugins-namespace "dink-24p-$1" \
		>"$1/log" 2>&1 </dev/null 3>&- &
}

wait_socket() {
	local i
	for ((i = 0; i < 200; i++)); do
		! curl -s --max-time 5 --unix-socket "$1" http://d/_ping >/dev/null || return 0
		sleep 0.05
	done
	return 1
}

wait_for_file() {
	local i
	for ((i = 0; i < 400; i++)); do
		[ ! -e "$1" ] || return 0
		sleep 0.05
	done
	return 1
}

end_pid() {
	local p
	[ -s "$1" ] || return 0
	p=$(cat "$1")
	kill "$p" 2>/dev/null || return 0
	while kill -0 "$p" 2>/dev/null; do sleep 0.05; done
}

teardown_file() {
	cd "$BATS_FILE_TMPDIR" || return
	for d in a b podman registry; do end_pid "$d/pid"; done
	# podman binds its storage on itself
	awk -v d="$PWD/podman" 'index($5, d) == 1 { print $5 }' /proc/self/mountinfo | sort -ru |
		while read -r m; do umount "$m"; done
}

# make_archive REF FILE... - a docker archive REF.tar (: as _), each file a layer
make_archive() {
	local dir=$PWD/make ref=$1 file layer config ids=() names=()
	shift
	mkdir "$dir"
	for file; do
		layer=$file.tar
		[ -e "$layer" ] || tar --mtime=@0 --owner=0 --group=0 -cf "$layer" "$file"
		ids+=("sha256:$(sha256sum "$layer" | cut -d' ' -f1)")
		ln "$layer" "$dir/$layer"
		names+=("$layer")
	done
	printf '%s\n' "${ids[@]}" | jq -R . | jq -s --arg r "$ref" '{architecture: "amd64", os: "linux",
		config: {Cmd: ["x"], Labels: {ref: $r}}, rootfs: {type: "layers", diff_ids: .}}' >"$dir/c"
	config=$(sha256sum "$dir/c" | cut -d' ' -f1).json
	mv "$dir/c" "$dir/$config"
	printf '%s\n' "${names[@]}" | jq -R . | jq -s --arg c "$config" --arg r "$ref" \
		'[{Config: $c, RepoTags: [$r], Layers: .}]' >"$dir/manifest.json"
	tar -C "$dir" -cf "${ref/:/_}.tar" .
	rm -r "$dir"
}

setup() {
	dink=$BATS_TEST_DIRNAME/../../build/dink
	cd "$BATS_FILE_TMPDIR" || return
}

# Nothing is left of one test for the next.
teardown() {
	local images
	cd "$BATS_FILE_TMPDIR" || return
	end_pid "$BATS_TEST_TMPDIR/relay.pid"
	mapfile -t images < <(docker -H "$b" images -aq | sort -u)
	[ ${#images[@]} -eq 0 ] || docker -H "$b" rmi -f "${images[@]}" >/dev/null
	[ -z "$(ls -A b/data/tmp)" ]
}

id_of() { docker -H "$1" image inspect --format '{{.Id}}' "$2"; }

# relay [RATE [DIE]] - sets $relay, an address of b whose bytes are counted
relay() {
	local dir=$BATS_TEST_TMPDIR
	"$BATS_TEST_DIRNAME/tools/relay.py" "$dir/s" "$PWD/b/s" "$dir/count" "$@" 3>&- &
	echo $! >"$dir/relay.pid"
	wait_for_file "$dir/s"
	relay=unix://$dir/s
}

@test "ls shows what a daemon has" {
	run -0 --separate-stderr "$dink" image ls "$a" --json
	[ "$(jq -r '[.[].names[]] | sort | join(" ")' <<<"$output")" = "app:1 app:2 base:1" ]
	[ "$(jq -r '.[] | select(.names[0] == "app:1").id' <<<"$output")" = "$(id_of "$a" app:1)" ]
	run -0 --separate-stderr "$dink" image ls "$a"
	[[ ${lines[0]} == "IMAGE "*" ID "*" SIZE  CREATED" ]]
	[ "$(grep -c '^app:1 ' <<<"$output")" = 1 ]
	DOCKER_HOST=$b run -0 --separate-stderr "$dink" image ls host --json
	[ "$(jq length <<<"$output")" = 0 ]
}

@test "a copy has the same id, and only layers that are missing travel" {
	relay
	run -0 --separate-stderr "$dink" image copy "$a:base:1" "$relay" --json
	[ "$(id_of "$b" base:1)" = "$(id_of "$a" base:1)" ]
	[ "$(jq -r '.targets[0] | "\(.result) \(.layers_sent)"' <<<"$output")" = "copied 1" ]

	before=$(cat "$BATS_TEST_TMPDIR/count")
	run -0 --separate-stderr "$dink" image copy "$a:app:1" "$relay" --json
	[ "$(id_of "$b" app:1)" = "$(id_of "$a" app:1)" ]
	sent=$(($(cat "$BATS_TEST_TMPDIR/count") - before)) new=$(stat -c %s top.bin.tar)
	echo "sent $sent for a layer of $new"
	[ "$sent" -ge "$new" ]
	[ "$sent" -le $((new * 105 / 100)) ]
	[ "$(jq -r '.targets[0].layers_had' <<<"$output")" = 1 ]

	# all layers there, another config: only that travels
	before=$(cat "$BATS_TEST_TMPDIR/count")
	run -0 "$dink" image copy "$a:app:2" "$relay"
	[ "$(id_of "$b" app:2)" = "$(id_of "$a" app:2)" ]
	[ $(($(cat "$BATS_TEST_TMPDIR/count") - before)) -le 65536 ]

	# all of it there; and with its name gone, it is only named again
	run -0 --separate-stderr "$dink" image copy "$a:app:1" "$b"
	[[ $output == *"there already"* ]]
	docker -H "$b" tag app:1 keep:1
	run -0 "$dink" image rm "$b:app:1"
	run -0 --separate-stderr "$dink" image copy "$a:app:1" "$b" --json
	[ "$(jq -r '.targets[0] | "\(.result) \(.sent_bytes)"' <<<"$output")" = "there already 0" ]
	[ "$(id_of "$b" app:1)" = "$(id_of "$a" app:1)" ]
}

@test "one target that dies stops nobody, and is named" {
	relay 0 4000000
	run -5 --separate-stderr "$dink" image copy "$a:app:1" "$relay,$b,unix://$PWD/none" --json
	[ "$(jq -r '[.targets[].result] | join(",")' <<<"$output")" = "failed,copied,failed" ]
	# shellcheck disable=SC2154 # bats sets stderr
	[[ $stderr == *"2 of 3 targets failed: $relay, unix://$PWD/none"* ]]
	[ "$(id_of "$b" app:1)" = "$(id_of "$a" app:1)" ]
}

@test "an interrupted copy leaves no half image" {
	relay 4000000
	"$dink" image copy "$a:app:1" "$relay" 3>&- 2>"$BATS_TEST_TMPDIR/err" &
	for ((i = 0; i < 400; i++)); do
		[ "$(cat "$BATS_TEST_TMPDIR/count" 2>/dev/null || echo 0)" -le 3000000 ] || break
		sleep 0.05
	done
	kill -INT $!
	rc=0
	wait $! || rc=$?
	[ "$rc" = 130 ]
	for ((i = 0; i < 100; i++)); do
		[ -n "$(ls -A b/data/tmp)" ] || break
		sleep 0.05
	done
	[ -z "$(docker -H "$b" images -aq)" ]
	[ -z "$(ls -A b/data/image/overlay2/layerdb/sha256 2>/dev/null)" ]
	run -0 "$dink" image copy "$a:app:1" "$b"
	[ "$(id_of "$b" app:1)" = "$(id_of "$a" app:1)" ]
}

@test "a daemon that sends other names than the one asked for changes nothing" {
	run -0 "$dink" image copy -q "$a:base:1" "$b"
	mkdir "$BATS_TEST_TMPDIR/x"
	tar -C "$BATS_TEST_TMPDIR/x" -xf app_1.tar
	jq '.[0].RepoTags = ["base:1"]' "$BATS_TEST_TMPDIR/x/manifest.json" >"$BATS_TEST_TMPDIR/m"
	mv "$BATS_TEST_TMPDIR/m" "$BATS_TEST_TMPDIR/x/manifest.json"
	tar -C "$BATS_TEST_TMPDIR/x" -cf "$BATS_TEST_TMPDIR/lie.tar" .
	"$BATS_TEST_DIRNAME/tools/liar.py" "$BATS_TEST_TMPDIR/s" "$BATS_TEST_TMPDIR/lie.tar" 3>&- &
	echo $! >"$BATS_TEST_TMPDIR/relay.pid"
	wait_for_file "$BATS_TEST_TMPDIR/s"
	run -5 --separate-stderr "$dink" image copy "unix://$BATS_TEST_TMPDIR/s:app:1" "$b"
	[[ $stderr == *"it would be called what was not asked for: base:1"* ]]
	# asked for by that name it is what it says
	[ "$(id_of "$b" base:1)" = "$(id_of "$a" base:1)" ]
	[ "$(docker -H "$b" images -aq | wc -l)" = 1 ]
	run -0 "$dink" image copy "unix://$BATS_TEST_TMPDIR/s:base:1" "$b"
	[ "$(id_of "$b" base:1)" = "$(id_of "$a" app:1)" ]
}

@test "Docker to Podman and back" {
	command -v podman >/dev/null || skip "needs podman"
	mkdir podman
	setsid podman --root "$PWD/podman/root" --runroot "$PWD/podman/run" --storage-driver overlay \
		system service -t 0 "unix://$PWD/podman/s" >podman/log 2>&1 </dev/null 3>&- &
	echo $! >podman/pid
	wait_socket podman/s
	p=unix://$PWD/podman/s
	run -0 "$dink" image copy "$a:base:1" "$p"
	run -0 --separate-stderr "$dink" image copy "$a:app:1" "$p" --json
	# of a layer that it has Podman gets the name only
	[ "$(jq -r '.targets[0] | "\(.result) \(.layers_sent) \(.layers_had)"' <<<"$output")" = "copied 1 1" ]
	[ "$(jq .targets[0].sent_bytes <<<"$output")" -le "$(($(stat -c %s top.bin.tar) * 105 / 100))" ]
	run -0 --separate-stderr "$dink" image ls "$p" --json
	[ "$(jq -r '.[] | select(.names[0] == "localhost/app:1").id' <<<"$output")" = "$(id_of "$a" app:1)" ]
	run -0 "$dink" image copy "$p:app:1" "$b"
	[ "$(id_of "$b" app:1)" = "$(id_of "$a" app:1)" ]
	run -0 docker -H "$b" images --format '{{.Repository}}:{{.Tag}}'
	[ "$output" = app:1 ]
}

@test "archives and OCI layouts" {
	# a link that somebody put where an archive grows is not written through
	echo keep >kept && ln -s kept out.tar.partial
	run -0 "$dink" image copy "$a:app:1" "docker-archive:$PWD/out.tar,oci:$PWD/layout:v1"
	# skopeo as the second opinion
	[ "sha256:$(skopeo inspect --config --raw "docker-archive:$PWD/out.tar" | sha256sum | cut -d' ' -f1)" = "$(id_of "$a" app:1)" ]
	[ "$(skopeo inspect "oci:$PWD/layout:v1" | jq '.Layers | length')" = 2 ]
	run -0 "$dink" image copy "docker-archive:$PWD/base_1.tar" "$b"
	# of a file, too, only what is missing travels
	run -0 --separate-stderr "$dink" image copy "docker-archive:$PWD/out.tar" "$b" --json
	[ "$(jq -r '.targets[0] | "\(.layers_sent) \(.layers_had)"' <<<"$output")" = "1 1" ]
	[ "$(id_of "$b" app:1)" = "$(id_of "$a" app:1)" ]
	run -0 "$dink" image copy "oci:$PWD/layout:v1" "$b" --as from-oci:1
	docker -H "$b" image inspect from-oci:1 >/dev/null
	# one that is there is not written over
	before=$(sha256sum out.tar)
	run -6 --separate-stderr "$dink" image copy "$a:app:1" "docker-archive:$PWD/out.tar"
	[ "$(sha256sum out.tar)" = "$before" ]
	[ "$(cat kept)" = keep ]
	[ "$(stat -c %a out.tar)" = 644 ]
	rm -r out.tar layout out.tar.partial kept
}

@test "a registry with a password: by the user's file, which goes nowhere else" {
	command -v docker-registry >/dev/null || skip "needs docker-registry"
	mkdir registry
	# shellcheck disable=SC2016
	perl -e 'print "me:", crypt("secret-word", q($2b$05$abcdefghijklmnopqrstuu)), "\n"' >registry/users
	port=$((20000 + $$ % 20000))
	cat >registry/config.yml <<-END
		version: 0.1
		storage: {filesystem: {rootdirectory: $PWD/registry/data}}
		http: {addr: 127.0.0.1:$port}
		auth: {htpasswd: {realm: here, path: $PWD/registry/users}}
	END
	docker-registry serve registry/config.yml >registry/log 2>&1 3>&- &
	echo $! >registry/pid
	for ((i = 0; i < 400; i++)); do
		! curl -s "http://127.0.0.1:$port/" >/dev/null || break
		sleep 0.05
	done
	printf '{"auths": {"127.0.0.1:%s": {"auth": "%s"}}}' "$port" \
		"$(printf me:secret-word | base64)" >registry/auth.json
	at=docker://127.0.0.1:$port/app:1
	run -5 --separate-stderr "$dink" image copy --insecure "$a:app:1" "$at"
	[[ $stderr == *"authentication required"* ]]
	run -0 "$dink" image copy --insecure --authfile registry/auth.json "$a:app:1" "$at"
	run -0 "$dink" image copy --insecure --authfile registry/auth.json "$at" "$b"
	[ "$(id_of "$b" "127.0.0.1:$port/app:1")" = "$(id_of "$a" app:1)" ]
	[ -z "$(grep -rl secret-word b/data)" ]
	[ -z "$(grep -rlF "$(printf me:secret-word | base64)" b/data)" ]
	end_pid registry/pid
}

@test "rm and prune" {
	run -0 "$dink" image copy -q "$a:app:1" "$b"
	run -0 "$dink" image copy -q "$a:base:1" "$b"
	run -0 "$dink" image rm "$b:base:1"
	[ "$output" = "removed $b:base:1" ]
	docker -H "$b" tag app:1 app:3
	run -0 "$dink" image prune "$b"
	[ "$output" = "$b: 0 removed, 0 B freed" ]
	run -0 --separate-stderr "$dink" image prune --all "$b" --json
	[ "$(jq '.freed_bytes > 9000000' <<<"$output")" = true ]
	[ -z "$(docker -H "$b" images -aq)" ]
}

@test "bad input is named, with the next step, before anything is done" {
	check() { # CODE MESSAGE COMMAND...
		local code=$1 message=$2
		shift 2
		run "-$code" --separate-stderr "$dink" image "$@"
		[ -z "$output" ]
		[ "$stderr" = "dink: $message" ] || { printf '%s\n' "got:" "$stderr" "want:" "dink: $message"; return 1; }
	}
	check 2 "'debian' is not LAYER:IMAGE
  hint: as in host:debian or docker-in-kata/proxy:debian:12" copy debian "$b"
	check 2 "'-x' is no image's name
  hint: an image is NAME, NAME:TAG, NAME@DIGEST or an id" copy "$a:-x" "$b"
	check 2 "there is no instance nothere: No such file or directory
  hint: dink status lists them; dink up SCENARIO makes one" copy nothere/x:debian "$b"
	check 2 "there is no instance nothere: No such file or directory
  hint: dink status lists them; dink up SCENARIO makes one" copy "$a:app:1" "$b,nothere/x"
	check 2 "$b is named twice" copy "$a:app:1" "$b,$b"
	check 4 "there is no image none:1
  hint: dink image ls LAYER shows what there is" copy "$a:none:1" "$b"
	check 2 "docker-archive: names nothing" copy "$a:app:1" docker-archive:
	check 2 "unix://s: the path is not absolute" ls unix://s
	check 4 "connect to $PWD/none: No such file or directory
  while GET /images/json on $PWD/none" ls "unix://$PWD/none"
	head -c 2048 /dev/zero >zero.tar
	check 4 "zero.tar is no docker archive: it has no manifest.json
  hint: make one with: docker save -o FILE IMAGE" copy docker-archive:zero.tar "$b"
	check 5 "the engine refused DELETE /images/none%3A1 (404): No such image: none:1
  while removing $b:none:1" rm "$b:none:1"
	[ -z "$(docker -H "$b" images -aq)" ]
}
