#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# scenarios/replicated-hosts.yaml on the real thing: a store is prepared once, in a VM, and four VMs
# begin with a clone of it each. Needs root, dockerd and QEMU.

bats_require_minimum_version 1.5.0
load instance

name=replicated-hosts

setup_file() {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	command -v dockerd >/dev/null || skip "needs dockerd"
	cd "$BATS_TEST_DIRNAME/../.." || return
	export dink=$PWD/build/dink NO_COLOR=1
	instance_folders
	"$dink" up --quiet scenarios/$name.yaml
}

teardown_file() { instance_down; }

setup() {
	disks=$DINK_STATE_DIR/instances/$name/disks
}

# What a daemon calls a layer on its disk is random, and another after each load.
random_names() {
	"$dink" exec "$name/$1" -- sh -c 'cat /var/lib/docker/image/btrfs/layerdb/sha256/*/cache-id'
}

@test "each host has its own identity, and the image that was loaded once" {
	local seed layer
	seed=$(random_names seed)
	for layer in host-1 host-2 host-3 host-4; do
		[ "$(random_names $layer)" = "$seed" ]
		of $layer docker inspect debian >/dev/null
		[ "$(of $layer docker ps --format '{{.Names}}')" = "$name.$layer.inner" ]
		of $layer docker info --format '{{.ID}}' >>"$BATS_TEST_TMPDIR/ids"
		"$dink" exec $name/$layer -- hostname >>"$BATS_TEST_TMPDIR/names"
		blkid -p -o value -s UUID "$disks/store.$layer.img" >>"$BATS_TEST_TMPDIR/uuids"
	done
	[ "$(of seed docker ps -aq | wc -l)" -eq 0 ]
	for file in ids names uuids; do
		[ "$(sort -u "$BATS_TEST_TMPDIR/$file" | wc -l)" -eq 4 ]
	done
	[ "$("$dink" exec $name/host-2/inner -- cat /etc/debian_version | cut -d. -f1)" = 12 ]
}

@test "a second up changes nothing; what one host writes the others do not have" {
	run -0 --separate-stderr "$dink" up --json scenarios/$name.yaml
	[ "$(jq '[.steps[] | select(.was_there | not) | select(.step != "up")] | length' <<<"$output")" = 0 ]
	of host-1 docker volume create mine
	[ -z "$(of host-2 docker volume ls -q)" ]
	[ -z "$(of seed docker volume ls -q)" ]
}

@test "the disk of a VM that runs is cloned while its programs stand still" {
	run -0 --separate-stderr "$dink" disk clone "$disks/store.host-1.img" "$BATS_TEST_TMPDIR/c.img" --json
	[ "$(jq -r .uuid <<<"$output")" != "$(blkid -p -o value -s UUID "$disks/store.host-1.img")" ]
	run -0 "$dink" disk check "$BATS_TEST_TMPDIR/c.img"
	# it goes on, and has its disk for writing as before
	of host-1 docker volume create later
	run -6 "$dink" disk check "$disks/store.host-1.img"
}

@test "down leaves the disks, each of them sound" {
	local f
	run -0 "$dink" down $name
	for f in store store.host-1 store.host-2 store.host-3 store.host-4; do
		run -0 "$dink" disk check "$disks/$f.img"
	done
	run -0 "$dink" down --volumes $name
	[ ! -e "$DINK_STATE_DIR/instances/$name" ]
}
