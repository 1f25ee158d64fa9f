#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Every entry of dink explain's catalogue, reproduced with the real program. With EXPLAIN_RENEW=DIR
# their words are written to DIR/NAME.txt: tests/golden/explain is such a folder.

# shellcheck disable=SC2034,SC2154 # parts is used, and dink set, there
parts=(tools runtimes vms engines)
load ../explain/file

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
	unset -f err_runc_cgroup2_invalid
	explained_all runc
}

@test "runc in a guest with cgroup v2" {
	export DINK_STATE_DIR=$BATS_TEST_TMPDIR/state DINK_RUN_DIR=$BATS_TEST_TMPDIR/run
	"$dink" up -q scenarios/vm.yaml
	explained runc-cgroup2-invalid || failed=1
	"$dink" down -q --volumes vm
	[ -z "${failed:-}" ]
}

@test "crun" {
	explained_all crun
}

@test "runsc" {
	command -v runsc >/dev/null || skip "needs runsc"
	explained_all runsc
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
