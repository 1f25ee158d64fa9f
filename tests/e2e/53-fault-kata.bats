#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Under fire with a virtual machine in between: dink is killed while an image goes into the proxy,
# the VM starts, its daemon comes up, or the inner container starts.

# shellcheck disable=SC2154 # set by up_setup
bats_require_minimum_version 1.5.0
load up

setup() {
	up_setup
	scenario=$PWD/scenarios/docker-in-kata.yaml
	name=docker-in-kata
	command -v qemu-system-x86_64 >/dev/null || skip "needs qemu-system-x86_64"
	rounds=(start:after ready:before)
	[ "${DINK_FAULT_ALL:-}" != 1 ] || rounds=(load:after start:{before,after} ready:{before,after} \
		inner:{before,after} forward:after)
}

teardown() {
	up_teardown
}

@test "SIGKILL of dink around the VM, then down: nothing is left" {
	# the order of the plan, which a run's report does not keep
	declare -A key=([load]=10 [start]=11 [ready]=12 [inner]=14 [forward]=15)
	for round in "${rounds[@]}"; do
		status=0
		DINK_KILL_AT=${key[${round%:*}]}:${round#*:} "$dink" up -q "$scenario" || status=$?
		[ "$status" -eq 137 ] || { echo "$round: up ended with $status"; return 1; }
		"$dink" down -q "$name"
		no_residue "$round, down" kept
		"$dink" down -q --volumes "$name"
		no_residue "$round, down --volumes"
	done
}
