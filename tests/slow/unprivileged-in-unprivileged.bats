#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Containers in an ordinary container of this host: no added capability, nothing runs as root, and
# yet Podman's containers run in it. Each claim is looked at from inside and from the engine outside.

bats_require_minimum_version 1.5.0
load scenario

name=unprivileged-in-unprivileged
outer=$name/outer
inner=$name/outer/inner

setup_file() { scenario_up podman; }
teardown_file() { scenario_down; }

@test "the outer container is ordinary: no capability beyond the engine's default, none in use" {
	run -0 dx "$outer" -- sed -n 's/^Cap\(Bnd\|Eff\|Prm\):\t//p' /proc/self/status
	[ "${lines[0]}" = 0000000000000000 ]
	[ "${lines[1]}" = 0000000000000000 ]
	[ "${lines[2]}" = 00000000a80425fb ]
	export DOCKER_HOST=unix://$DINK_RUN_DIR/engine/docker.sock
	docker inspect "${outer//\//.}" >"$T/outer"
	[ "$(jq '.[0].HostConfig.Privileged' "$T/outer")" = false ]
	[ "$(jq '.[0].HostConfig.CapAdd // [] | length' "$T/outer")" = 0 ]
	[ "$(jq '[.[0].HostConfig.SecurityOpt[] | select(startswith("seccomp={"))] | length' "$T/outer")" = 1 ]
	[ "$(jq '[.[0].HostConfig.SecurityOpt[] | select(test("unconfined"))] | length' "$T/outer")" = 0 ]
	[ "$(jq -r '.[0].Config.User' "$T/outer")" = user ]
	run -0 dx "$outer" -- sed -n 's/^Seccomp:\t//p' /proc/self/status
	[ "$output" = 2 ]
}

@test "nothing in it is root: not PID 1, not the engine, not what exec starts" {
	run -0 dx "$outer" -- id -u
	[ "$output" = 1000 ]
	run -0 dx "$outer" -- stat -c %u /proc/1
	[ "$output" = 1000 ]
	# seen from the host: no process of the layer has uid 0
	pid=$(docker -H "unix://$DINK_RUN_DIR/engine/docker.sock" inspect -f '{{.State.Pid}}' "${outer//\//.}")
	ns=$(readlink "/proc/$pid/ns/mnt")
	seen=0
	for p in /proc/[0-9]*; do
		[ "$(readlink "$p/ns/mnt")" = "$ns" ] || continue
		seen=$((seen + 1))
		[ "$(stat -c %u "$p")" -ge 1000 ]
	done
	[ "$seen" -ge 2 ]
	# /proc is whole there, and what it could do as root it cannot as a user
	run ! dx "$outer" -- sh -c 'echo x >/proc/sys/kernel/core_pattern'
	run ! dx "$outer" -- sh -c 'echo h >/proc/sysrq-trigger'
}

@test "a container runs in it: root of a user namespace, with a /proc of its own" {
	run -0 dx "$inner" -- id -u
	[ "$output" = 0 ]
	run -0 dx "$inner" -- cat /proc/1/comm
	[ "$output" = sleep ]
	run -0 dx "$inner" -- head -1 /proc/self/uid_map
	read -r inside outside _ <<<"$output"
	[ "$inside" = 0 ]
	[ "$outside" = 1000 ]
	[ "$(dx "$inner" -- readlink /proc/self/ns/user)" != "$(dx "$outer" -- readlink /proc/self/ns/user)" ]
	# a file made by its root is the user's outside
	dx "$inner" -- touch /made
	run ! dx "$inner" -- sh -c 'echo x >/proc/sys/kernel/core_pattern'
	run -0 dx "$inner" -- cat /etc/os-release
	[[ $output == *'PRETTY_NAME="Debian'* ]]
}

@test "more containers by the layer's own podman: exit codes, streams, a network of its own" {
	podman() { dx "$outer" -- podman "$@"; }
	run -7 podman run --rm debian sh -c 'exit 7'
	run -0 podman run --rm debian sh -c 'echo out; id -u'
	[ "$output" = $'out\n0' ]
	[ "$(dx -i "$outer" -- podman run --rm -i debian cat <<<through)" = through ]
	run -0 podman run --rm debian cat /proc/net/dev
	[[ $output == *tap0* || $output == *eth0* ]]
	run -0 podman ps --format '{{.Names}}'
	[ "$output" = "${inner//\//.}" ]
}

@test "status and the proof of each level" {
	run -0 --separate-stderr "$DINK" status --json "$name"
	[ "$(jq -r '.[0].state' <<<"$output")" = up ]
	[ "$(jq -r '.[0].layers | map(.state) | unique | join(" ")' <<<"$output")" = running ]
}
