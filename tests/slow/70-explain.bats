#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Every entry of dink explain's catalogue, reproduced with the real program. With EXPLAIN_RENEW=DIR
# their words are written to DIR/NAME.txt: tests/golden/explain is such a folder.

setup_file() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	. tests/explain/lib.bash
	explain_prepare
}

teardown_file() {
	. "$BATS_TEST_DIRNAME/../explain/lib.bash"
	explain_clean
}

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	dink=$PWD/build/dink
	. tests/explain/lib.bash
	. tests/explain/tools.bash
	. tests/explain/runtimes.bash
	. tests/explain/vms.bash
	. tests/explain/engines.bash
}

@test "mount, losetup, mkfs and btrfs" {
	explained_all mount umount losetup mkfs btrfs no
}

@test "iptables, ip, tc, sysctl and ports" {
	explained_all iptables ip tun tc sysctl port
}

@test "newuidmap, unshare, skopeo, conmon, containerd" {
	explained_all newuidmap unshare skopeo conmon containerd ctr
}

@test "runc" {
	explained_all runc
}

@test "crun" {
	explained_all crun
}

@test "QEMU, virtiofsd, libguestfs" {
	explained_all qemu virtiofsd guestfs
}

@test "dockerd that does not start" {
	explained_all dockerd
}

@test "docker" {
	dockerd_up
	explained_all docker || failed=1
	dockerd_down
	[ -z "${failed:-}" ]
}

@test "podman" {
	explained_all podman
}
