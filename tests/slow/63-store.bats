#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `dink image copy --store`: all that one daemon has, for others, by a clone of its disk; and a disk
# that grows while a VM writes it. Needs root, dockerd and QEMU.

bats_require_minimum_version 1.5.0
load ../e2e/instance

name=stores

setup_file() {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	command -v dockerd >/dev/null || skip "needs dockerd"
	cd "$BATS_TEST_DIRNAME/../.." || return
	export dink=$PWD/build/dink NO_COLOR=1
	instance_folders
	cat >"$BATS_FILE_TMPDIR/$name.yaml" <<-END
		dink: 1
		name: $name
		kernels:
		  guest: {source: debian, features: [containers, btrfs, iptables, nftables]}
		disks:
		  one: {size: 4GiB, filesystem: btrfs}
		  two: {size: 4GiB, filesystem: btrfs}
		  three: {size: 1GiB, filesystem: ext4}
		layers:
		  one: {image: docker-host, runtime: kata, kernel: guest, cpus: 2, memory: 1GiB,
		        daemon: docker, disks: {one: /var/lib/docker},
		        layers: {inner: {image: debian, command: [sleep, infinity]}}}
		  two: {image: docker-host, runtime: kata, kernel: guest, cpus: 2, memory: 1GiB,
		        daemon: docker, disks: {two: /var/lib/docker, three: /srv}}
		  plain: {image: docker-host, daemon: docker}
		  none: {image: debian, command: [sleep, infinity]}
	END
	"$dink" up --quiet "$BATS_FILE_TMPDIR/$name.yaml"
}

teardown_file() { instance_down; }

setup() {
	disks=$DINK_STATE_DIR/instances/$name/disks
}

@test "stores that cannot be copied are refused in words" {
	refused() {
		local code=$1 want=$2
		shift 2
		run "-$code" --separate-stderr "$dink" image copy "$@"
		# shellcheck disable=SC2154 # bats sets stderr
		[[ $stderr == *"$want"* ]] || { echo "$stderr"; return 1; }
	}
	refused 6 "all in it would be lost" --store $name/one $name/two
	refused 2 "the store of $name/plain is on no disk" --store $name/one $name/plain
	refused 2 "$name/none has no daemon" --store $name/none $name/two
	refused 2 "there is no layer $name/nosuch" --store $name/nosuch $name/two
	refused 2 "is no layer: its store is on no disk of ours" --store host $name/two
	refused 2 "have one store" --store --force $name/one $name/one
	refused 2 "is named twice" --store --force $name/one $name/two,$name/two
	refused 2 "no --whole" --store --whole $name/one $name/two
	refused 2 "--force goes with --store" --force host:debian $name/two
	[ "$(of two docker images -q | wc -l)" -eq 0 ]
}

@test "an instance on which another dink is at work is left alone" {
	exec 9<>"$DINK_RUN_DIR/locks/$name"
	python3 -c 'import fcntl, time; fcntl.lockf(9, fcntl.LOCK_EX); print("held", flush=True); time.sleep(60)' \
		9<&9 3>&- >"$BATS_TEST_TMPDIR/held" &
	local other=$!
	exec 9>&-
	until [ -s "$BATS_TEST_TMPDIR/held" ]; do sleep 0.02; done
	run -6 --separate-stderr "$dink" image copy --store --force $name/one $name/two
	kill "$other"
	[[ $stderr == *"another dink is at work on $name"* ]]
	[[ $stderr == *"then copy again"* ]]
	of two docker info >/dev/null
}

@test "the store of a daemon that runs goes to another, which runs on with it" {
	of one docker volume create mine
	run -0 --separate-stderr "$dink" image copy --store --force --json $name/one $name/two
	[ ! -e "$DINK_RUN_DIR/locks/$name" ]
	[ "$(jq -r '.targets[] | [.target, .copied, .started] | join(" ")' <<<"$output")" = "$name/two true true" ]
	# the socket that is offered leads to the daemon that was there before: up puts that right
	run -0 "$dink" up -q "$BATS_FILE_TMPDIR/$name.yaml"
	of two docker inspect debian >/dev/null
	[ "$(of two docker volume ls -q)" = mine ]
	[ "$(of one docker ps -q | wc -l)" -eq 1 ]
	[ "$(blkid -p -o value -s UUID "$disks/one.img")" != "$(blkid -p -o value -s UUID "$disks/two.img")" ]
	of one docker volume create later
	[ "$(of two docker volume ls -q)" = mine ]
}

@test "a disk grows while a VM writes it, btrfs and ext4; it does not shrink" {
	run -0 "$dink" disk resize "$disks/one.img" 6GiB
	[ "$(stat -c %s "$disks/one.img")" -eq 6442450944 ]
	[ "$("$dink" exec $name/one -- df -B1 --output=size /var/lib/docker | tail -1)" -gt 6000000000 ]
	run -0 "$dink" disk resize "$disks/three.img" 2GiB
	[ "$("$dink" exec $name/two -- df -B1 --output=size /srv | tail -1)" -gt 1900000000 ]
	"$dink" exec $name/two -- sh -c 'head -c 1300M /dev/zero >/srv/big && rm /srv/big'
	run -6 --separate-stderr "$dink" disk resize "$disks/one.img" 4GiB
	[[ $stderr == *"in use by $name/one: it can only grow"* ]]
	run -0 "$dink" disk resize "$disks/one.img" 6GiB
	of one docker volume create grown
	run -0 "$dink" down $name
	for disk in one two three; do
		run -0 "$dink" disk check "$disks/$disk.img"
	done
	[ "$(btrfs inspect-internal dump-super "$disks/one.img" | awk '$1 == "total_bytes" { print $2 }')" -eq 6442450944 ]
}
