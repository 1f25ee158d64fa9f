#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A VM in a VM, the inner by the outer guest's KVM (TCG emulates an AMD processor's), a container in
# the inner one's own dockerd; from up to down.
# shellcheck disable=SC2016 # words for a shell in a layer stay in single quotes

bats_require_minimum_version 1.5.0
load scenario

name="kata-in-kata"
kata=$name/kata
kata2=$kata/kata2

setup_file() { scenario_up qemu-system-x86_64; }
teardown_file() { scenario_down; }

@test "KVM was proved in the outer guest, and the inner VM runs by it" {
	run -0 dx "$kata" -- cat /run/dink/kvm-probe.json
	[ "$(jq .ok <<<"$output")" = true ]
	[ "$(jq -r .boot_id <<<"$output")" = "$(dx "$kata" -- cat /proc/sys/kernel/random/boot_id)" ]
	run -0 dx "$kata" -- sh -c 'tr "\0" " " </proc/$(pgrep -o qemu-system)/cmdline'
	[[ $output == *"-accel kvm "* ]]
	[[ $output == *"-cpu host,"*-svm,*-vmx* ]]
	# a VM and its processor are made, not only the device opened
	run -0 dx "$kata" -- sh -c 'ls -l /proc/$(pgrep -o qemu-system)/fd'
	[[ $output == */dev/kvm* ]]
	[[ $output == *anon_inode:kvm-vm* ]]
	[[ $output == *anon_inode:kvm-vcpu:0* ]]
	run -0 dx "$kata2" -- dmesg
	[[ $output == *"Hypervisor detected: KVM"* ]]
}

@test "three kernels, each its own, and two VMs of dink-vm" {
	local boots
	boots=$(cat /proc/sys/kernel/random/boot_id
		for l in "$kata" "$kata2"; do dx "$l" -- cat /proc/sys/kernel/random/boot_id; done)
	[ "$(sort -u <<<"$boots" | wc -l)" -eq 3 ]
	for l in "$kata" "$kata2" "$kata2/inner"; do
		run -0 dx "$l" -- uname -r
		[[ $output == *-dink ]]
	done
	run -0 dx "$kata" -- docker inspect -f '{{.HostConfig.Runtime}}' kata-in-kata.kata.kata2
	[ "$output" = dink-vm ]
	# the inner machine's QEMU is a process of the outer guest
	[ "$(dx "$kata" -- pgrep -c qemu-system)" -eq 1 ]
}

@test "virtualization ends at the inner VM" {
	dx "$kata" -- test -c /dev/kvm
	[ "$(dx "$kata" -- grep -c -w svm /proc/cpuinfo)" -eq 1 ]
	run -1 dx "$kata2" -- test -e /dev/kvm
	run -1 dx "$kata2" -- grep -q -w -e svm -e vmx /proc/cpuinfo
	# what each layer was told of it stays with dink-vm
	run -1 dx "$kata" -- printenv DINK_NESTED_KVM
}

@test "the innermost container: exit codes, stdin, a network, its own engine above it" {
	run -7 dx "$kata2/inner" -- sh -c 'exit 7'
	[ "$(dx -i "$kata2/inner" -- cat <<<through)" = through ]
	run -0 dx "$kata2/inner" -- cat /proc/net/dev
	[[ $output == *eth0* ]]
	run -0 dx "$kata2" -- docker ps --format '{{.Names}}'
	[ "$output" = kata-in-kata.kata.kata2.inner ]
	run -0 dx "$kata2" -- stat -f -c %T /var/lib/docker
	[ "$output" = ext2/ext3 ]
}
