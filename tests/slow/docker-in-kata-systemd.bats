#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# systemd as PID 1 of a VM layer, dockerd as its service.

bats_require_minimum_version 1.5.0
load scenario
load docker-in-kata-inits

name=docker-in-kata-systemd
kata=$name/kata

setup_file() { scenario_up qemu-system-x86_64 btrfs; }
teardown_file() { scenario_down; }

@test "PID 1 is systemd, nothing failed, and the daemon is its service" {
	[ "$(dx "$kata" -- cat /proc/1/comm)" = systemd ]
	run -0 dx "$kata" -- systemctl show -p ActiveState,MainPID layer
	[[ $output == *ActiveState=active* ]]
	pid=$(sed -n 's/^MainPID=//p' <<<"$output")
	[ "$(dx "$kata" -- cat "/proc/$pid/comm")" = dockerd ]
	run -0 dx "$kata" -- systemctl --no-legend --failed
	[ -z "$output" ]
	run -0 dx "$kata" -- systemctl is-system-running --wait
	[ "$output" = running ]
}

@test "its logs are the journal's" {
	run -0 dx "$kata" -- journalctl -u layer --no-pager -n 50
	[[ $output == *"API listen on /run/docker.sock"* ]]
}

@test "the daemon and the inner container work" {
	inner_works
}

@test "down ends it in good order: the disk was unmounted" {
	disk_is_clean
}
