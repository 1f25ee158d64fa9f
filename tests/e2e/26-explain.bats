#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# dink explain with the real programs' words: what mount, btrfs, iptables, ip, newuidmap, skopeo and
# their like say, and the notes' errors of nested containers. All others: tests/slow/70-explain.bats.

# shellcheck disable=SC2034,SC2154 # parts is used, and dink set, there
parts=(tools runtimes)
load ../explain/file

@test "mount, losetup, mkfs and btrfs" {
	explained_all mount umount losetup mkfs btrfs no
}

@test "iptables, ip, tc, sysctl and ports" {
	unset -f err_iptables_lock # waits a second
	explained_all iptables ip tun tc sysctl port
}

@test "user namespaces, skopeo, the docker client, conmon, containerd" {
	unset -f err_newuidmap_write_denied # waits two seconds
	explained_all newuidmap unshare skopeo docker conmon containerd ctr
}

@test "the errors of the nested-container notes, in the words of today's runc" {
	for name in runc-namespaces-denied runc-mount-proc runc-cgroup-denied runc-session-key runc-pivot-root; do
		explained "$name"
	done
}

@test "the notes' own words, of 2018" {
	said() { "$dink" explain --json "$@" | jq -r '.matches[0].name'; }
	[ "$(said 'Cannot change the process namespace ("running exec setns process for init caused \"exit status 34\"")')" = runc-namespaces-denied ]
	[ "$(said 'mounting \\\"proc\\\" to rootfs \\\"/b/rootfs\\\" at \\\"/proc\\\" caused \\\"operation not permitted\\\"')" = runc-mount-proc ]
	[ "$(said 'mkdir /sys/fs/cgroup/cpuset/05dh: permission denied')" = runc-cgroup-denied ]
	[ "$(said 'could not create session key: operation not permitted')" = runc-session-key ]
	[ "$(said 'pivot_root operation not permitted')" = runc-pivot-root ]
}

@test "every entry of the catalogue has a reproduction, and no reproduction is of none" {
	. tests/explain/vms.bash
	. tests/explain/engines.bash
	diff <("$dink" explain --list --json | jq -r '.[].name' | sort) \
		<(declare -F | sed -n 's/^declare -f err_//p' | tr _ - | sort)
}
