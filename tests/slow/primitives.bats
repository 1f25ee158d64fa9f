#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Each isolation primitive proves itself in a layer of its own; and each proof fails where its
# primitive is not there.

bats_require_minimum_version 1.5.0
load scenario

name=primitives

setup_file() { scenario_up; }
teardown_file() { scenario_down; }

prove() { dx "$name/$1" -- /primitives/prove "$2"; }

@test "every layer has proved its primitive, and says how" {
	local n=0 l
	for l in $("$DINK" status --json "$name" | jq -r '.[0].layers[] | select(.state == "running").layer'); do
		for _ in {1..50}; do
			[[ $("$DINK" logs "$l") == *proved* ]] && break
			sleep 0.2
		done
		run -0 "$DINK" logs "$l"
		[ "${lines[-1]}" = proved ] || { echo "$l: $output"; return 1; }
		[ "${#lines[@]}" -ge 3 ]
		n=$((n + 1))
	done
	[ "$n" -eq "$(grep -c 'image: debian' scenarios/primitives.yaml)" ]
	[ "$n" -eq 19 ]
}

@test "the proofs can be asked for again, by their exit code" {
	for l in rlimits seccomp-kill seccomp-notify ns-pid ns-time pivot-root; do
		run -0 prove "$l" "$l"
	done
	run -2 prove rlimits no-such
}

@test "a proof fails where its primitive is not there" {
	# no memory limit; no system calls for namespaces
	run -1 prove rlimits cgroup
	[[ $output == *"NOT PROVED"* ]]
	run -1 prove chroot ns-mount
	[[ $output == *"NOT PROVED"* ]]
	run -1 prove chroot pivot-root
}
