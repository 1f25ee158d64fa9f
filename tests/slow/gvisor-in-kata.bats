#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# runsc in a VM with a kernel of ours: which kernel answers at each level, and no capability for it.

bats_require_minimum_version 1.5.0
load scenario

name=gvisor-in-kata
kata=$name/kata

setup_file() { scenario_up qemu-system-x86_64; }
teardown_file() { scenario_down; }

@test "three kernels: the host's, ours, gVisor's" {
	local ours
	ours=$(dx "$kata" -- uname -r)
	[[ $ours == *-dink ]]
	[ "$(dx "$kata/plain" -- uname -r)" = "$ours" ]
	run -0 dx "$kata/box" -- uname -r
	[ "$output" = 4.4.0 ]
	run -0 dx "$kata/box" -- dmesg
	[[ $output == *gVisor* ]]
}

@test "exit codes and streams through all of them, and a network" {
	run -7 dx "$kata/box" -- sh -c 'exit 7'
	[ "$(dx -i "$kata/box" -- cat <<<through)" = through ]
	run -0 dx "$kata/box" -- cat /proc/net/dev
	[[ $output == *eth0* ]]
}

@test "in the guest the sandbox runs under a filter of its own" {
	run -0 dx "$kata" -- sh -c 'for p in /proc/[0-9]*; do
		case $(tr "\0" " " <$p/cmdline 2>/dev/null) in runsc-sandbox*) grep Seccomp: $p/status;; esac
	done'
	[[ $output == *Seccomp:*2* ]]
}
