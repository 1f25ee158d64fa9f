# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154 # kata, name: the test's own; output: bats'
# What holds whatever PID 1 is: the daemon answers, runs the inner container, ends with the layer.

inner_works() {
	run -0 dx "$kata" -- docker info --format '{{.Driver}} {{.CgroupVersion}}'
	[ "$output" = "btrfs 2" ]
	run -7 dx "$kata/inner" -- sh -c 'exit 7'
	run -0 dx "$kata/inner" -- cat /proc/net/dev
	[[ $output == *eth0* ]]
}

# disk_is_clean - the guest unmounts its disk before the VM ends, and the volume is there again
disk_is_clean() {
	"$DINK" down -q --wait "$name"
	[ -z "$(scenario_residue)" ]
	btrfs check --readonly "$DINK_STATE_DIR/instances/$name/disks/store.img" 2>&1 | grep 'no error found'
	# no log tree to be replayed: it was unmounted
	btrfs inspect-internal dump-super "$DINK_STATE_DIR/instances/$name/disks/store.img" | grep -E '^log_root[[:space:]]+0$'
}
