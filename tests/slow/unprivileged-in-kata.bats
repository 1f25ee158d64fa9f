#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Containers in an ordinary container, in a VM with a kernel of ours and cgroup v2.

bats_require_minimum_version 1.5.0
load scenario

name=unprivileged-in-kata
outer=$name/vm/outer

setup_file() { scenario_up qemu-system-x86_64; }
teardown_file() { scenario_down; }

@test "the guest's kernel and cgroup v2; the outer container is ordinary there" {
	[[ $(dx "$name/vm" -- uname -r) == *-dink ]]
	[ "$(dx "$name/vm" -- stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]
	[ "$(dx "$outer" -- id -u)" = 1000 ]
	run -0 dx "$outer" -- sed -n 's/^Cap\(Eff\|Bnd\):\t//p' /proc/self/status
	[ "${lines[0]} ${lines[1]}" = "0000000000000000 00000000a80425fb" ]
	[ "$(dx "$outer" -- sed -n 's/^Seccomp:\t//p' /proc/self/status)" = 2 ]
}

@test "a container runs in it, root of a user namespace; and another one by podman" {
	[ "$(dx "$outer/inner" -- id -u)" = 0 ]
	read -r inside outside _ < <(dx "$outer/inner" -- head -1 /proc/self/uid_map)
	[ "$inside $outside" = "0 1000" ]
	run -7 dx "$outer" -- podman run --rm debian sh -c 'exit 7'
}
