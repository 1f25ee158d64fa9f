#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# supervisord as PID 1 of a VM layer, dockerd as its service.

bats_require_minimum_version 1.5.0
load scenario
load docker-in-kata-inits

name=docker-in-kata-supervisord
kata=$name/kata

setup_file() { scenario_up qemu-system-x86_64 btrfs; }
teardown_file() { scenario_down; }


ctl() { dx "$kata" -- supervisorctl -c /run/layer/supervisord.conf "$@"; }

@test "PID 1 is supervisord, and the daemon is its program" {
	[ "$(dx "$kata" -- cat /proc/1/comm)" = supervisord ]
	run -0 ctl pid layer
	[ "$(dx "$kata" -- cat "/proc/$output/comm")" = dockerd ]
	run -0 ctl status layer
	[[ $output == layer*RUNNING* ]]
}

@test "its logs are the layer's" {
	run -0 "$DINK" logs "$kata"
	[[ $output == *"API listen on /run/docker.sock"* ]]
}

@test "the daemon and the inner container work" {
	inner_works
}

@test "down ends it in good order: the disk was unmounted" {
	disk_is_clean
}
