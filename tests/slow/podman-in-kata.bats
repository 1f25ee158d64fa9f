#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Podman with its btrfs driver in a VM with a kernel of ours, from up to down.

bats_require_minimum_version 1.5.0
load scenario

name=podman-in-kata
kata=$name/kata

setup_file() { scenario_up qemu-system-x86_64; }
teardown_file() { scenario_down; }

@test "the VM runs Podman with the btrfs driver on the disk, cgroup v2" {
	run -0 dx "$kata" -- podman info --format '{{.Store.GraphDriverName}} {{.Host.CgroupsVersion}}'
	[ "$output" = "btrfs v2" ]
	run -0 dx "$kata" -- stat -f -c %T /var/lib/containers
	[ "$output" = btrfs ]
	run -0 dx "$kata" -- uname -r
	[[ $output == *-dink ]]
}

@test "each container is a subvolume of its own, and goes with it" {
	local before
	subvolumes() { dx "$kata" -- btrfs subvolume list /var/lib/containers | wc -l; }
	before=$(subvolumes)
	[ "$before" -ge 2 ]
	run -0 dx "$kata" -- podman create --name more debian true
	[ "$(subvolumes)" -eq $((before + 1)) ]
	run -0 dx "$kata" -- podman rm more
	[ "$(subvolumes)" -eq "$before" ]
}

@test "the inner container runs, with a network, and commands in it" {
	run -7 dx "$kata/inner" -- sh -c 'exit 7'
	run -0 dx "$kata/inner" -- cat /proc/net/dev
	[[ $output == *eth0* ]]
	[ "$(dx "$kata/inner" -- uname -r)" = "$(dx "$kata" -- uname -r)" ]
	[ "$(dx -i "$kata/inner" -- cat <<<through)" = through ]
}

@test "the VM's disk is neither a loop device nor a mount of the host" {
	run ! grep -F "$T" <(losetup -a)
	run ! grep -hs ' /var/lib/containers .* - btrfs ' /proc/[0-9]*/mountinfo
}
