#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A containerd that takes longer than the 15 s that dockerd would give it, one that ends, and one
# that never gets there.

# shellcheck disable=SC2154 # scenario comes from scenario.bash
bats_require_minimum_version 1.5.0
load scenario

name=slow-containerd
layer=$name/docker

setup() {
	scenario_setup
	scenario=$T/scenario.yaml
	cat >"$scenario" <<-END
	dink: 1
	name: $name
	layers:
	  docker:
	    image: docker-host
	    daemon: docker
	    mounts:
	      - $T/containerd:/usr/bin/containerd:ro
	      - $(command -v containerd):/usr/local/bin/containerd.real:ro
	    layers:
	      inner: {image: debian, command: [sleep, infinity]}
	END
}

teardown() { scenario_down; }

# containerd_is LINE...: what the layer has in its place
containerd_is() {
	printf '%s\n' '#!/bin/sh' "$@" >"$T/containerd"
	chmod +x "$T/containerd"
}

# that of the layer, as the layer numbers it
containerd_pid() { dx "$layer" -- pgrep -x containerd.real; }

@test "a slow containerd is waited for, and one that was killed is started again" {
	containerd_is 'sleep 20' 'exec containerd.real "$@"'
	"$DINK" up -q "$scenario"
	run -0 "$DINK" logs "$layer"
	[[ $output == *"layer-dockerd: containerd does not answer yet, after 15 s"* ]]
	containerd_is 'exec containerd.real "$@"'
	before=$(containerd_pid)
	dx "$layer" -- kill -9 "$before"
	for _ in $(seq 100); do
		! dx "$layer" -- docker run --rm --network none debian true || break
		sleep 0.2
	done
	[ "$(containerd_pid)" != "$before" ]
	[ "$(dx "$layer/inner" -- echo still there)" = "still there" ]
	run -0 "$DINK" logs "$layer"
	[[ $output == *"layer-dockerd: containerd ended (137), it is started again"* ]]
}

@test "a containerd that ends before it answers ends the layer, with its words" {
	containerd_is 'echo "not today" >&2' 'exit 3'
	run -5 "$DINK" up -q "$scenario"
	[[ $output == *"not today"* ]]
	[[ $output == *"layer-dockerd: containerd ended before it answered"* ]]
}

# the_hosts_is N: a dockerd that gives up on its containerd N times, with the words of the real one
the_hosts_is() {
	mkdir "$T/bin"
	cat >"$T/bin/dockerd" <<-END
	#!/bin/sh
	echo >>"$T/starts"
	if [ "\$(wc -l <"$T/starts")" -gt $1 ]; then exec $(command -v dockerd) "\$@"; fi
	echo "failed to start containerd: timeout waiting for containerd to start" >&2
	exit 1
	END
	chmod +x "$T/bin/dockerd"
	printf 'dink: 1\nname: %s\nlayers: {box: {image: debian, command: [sleep, infinity]}}\n' \
		"$name" >"$scenario"
}

@test "a private engine that gave up on its containerd is started again, three times in all" {
	the_hosts_is 2
	PATH=$T/bin:$PATH "$DINK" up -q "$scenario"
	[ "$(dx "$name/box" -- echo here)" = here ]
	"$DINK" down -q --volumes "$name"
	rm -r "${T:?}/bin" "$T/starts"
	the_hosts_is 3
	PATH=$T/bin:$PATH run -5 "$DINK" up -q "$scenario"
	[[ $output == *"timeout waiting for containerd to start"* ]]
	[ "$(wc -l <"$T/starts")" -eq 3 ]
}

@test "a guest has as long to start as up --timeout says" {
	command -v qemu-system-x86_64 >/dev/null || skip "needs qemu-system-x86_64"
	mkdir "$T/bin"
	printf '#!/bin/sh\nsleep 6\nexec %s "$@"\n' "$(command -v qemu-system-x86_64)" \
		>"$T/bin/qemu-system-x86_64"
	chmod +x "$T/bin/qemu-system-x86_64"
	sed "s/^name: .*/name: $name/" scenarios/vm.yaml >"$scenario"
	PATH=$T/bin:$PATH run -5 "$DINK" up -q --timeout 3s "$scenario"
	[[ $output == *"the guest did not start within 3 s"* ]]
	PATH=$T/bin:$PATH "$DINK" up -q --timeout 4m "$scenario"
	run -1 dx "$name/box" -- printenv DINK_BOOT_TIMEOUT
}
