#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `dink disk`: images made on the file, what is there kept, nothing left of a failure. Needs no
# root but where a test says so. Loop devices themselves are in tests/unit/test_disk.c.

bats_require_minimum_version 1.5.0

setup() {
	dink=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)/build/dink
	export NO_COLOR=1
	cd "$BATS_TEST_TMPDIR" || return
}

need_root() {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
}

@test "a btrfs image has the size, label and filesystem asked, and is sparse" {
	run -0 "$dink" disk create --size 10GiB --filesystem btrfs --label store d.img --json
	[ "$(jq -r '.type, .label, .size_bytes' <<<"$output" | paste -sd' ')" = "btrfs store 10737418240" ]
	[ "$(stat -c %s d.img)" -eq 10737418240 ]
	[ "$(($(stat -c %b d.img) * 512))" -lt 16777216 ]
	# the second opinions
	[ "$(blkid -p -o value -s TYPE d.img)" = btrfs ]
	btrfs check --readonly d.img
}

@test "an ext4 image passes fsck" {
	run -0 "$dink" disk create -s 1GiB -t ext4 -L data d.img
	[ "$(blkid -p -o value -s LABEL d.img)" = data ]
	e2fsck -fn d.img
}

@test "a foreign signature is refused with what was found, --force overwrites it" {
	truncate -s 64M d.img
	mkswap -q -L mine d.img
	before=$(sha256sum d.img)
	run -6 --separate-stderr "$dink" disk create d.img
	# shellcheck disable=SC2154 # bats sets stderr
	[[ $stderr == *"swap"* && $stderr == *"'mine'"* && $stderr == *"--force"* ]]
	[ "$(sha256sum d.img)" = "$before" ]
	[ ! -e d.img.partial ]
	run -0 "$dink" disk create -s 1GiB --force d.img
	[ "$(blkid -p -o value -s TYPE d.img)" = btrfs ]
}

@test "a partition table is a signature too" {
	truncate -s 64M d.img
	printf 'label: gpt\nsize=8MiB\n' | sfdisk -q d.img
	run -6 --separate-stderr "$dink" disk create d.img
	[[ $stderr == *"gpt partition table"* ]]
}

@test "a file without a known signature is kept" {
	echo "my thesis" >d.img
	run -6 --separate-stderr "$dink" disk create d.img
	[[ $stderr == *"libblkid does not know"* ]]
	[ "$(cat d.img)" = "my thesis" ]
}

@test "a full disk leaves nothing behind" {
	need_root
	mkdir small
	mount -t tmpfs -o size=1m none small
	run "$dink" disk create -s 1GiB small/d.img
	left=$(ls -A small)
	umount small
	[ "$status" -ne 0 ]
	[ -z "$left" ]
}

@test "an interrupted create leaves nothing behind" {
	mkdir bin
	printf '#!/bin/sh\nexec sleep 30\n' >bin/mkfs.btrfs
	chmod +x bin/mkfs.btrfs
	PATH=$PWD/bin:$PATH "$dink" disk create d.img 3>&- &
	pid=$!
	for _ in {1..50}; do
		[ ! -e d.img.partial ] || break
		sleep 0.1
	done
	[ -e d.img.partial ]
	kill -TERM $pid
	status=0
	wait $pid || status=$?
	[ "$status" -eq 130 ]
	[ ! -e d.img.partial ]
	[ ! -e d.img ]
}

@test "create works for an ordinary user" {
	need_root
	# a place that others can reach, unlike a source tree below /root and bats' own folder
	open=$(mktemp -d /var/tmp/dink-open-XXXXXX)
	chmod 777 "$open"
	cp "$dink" "$open/dink"
	cd "$open"
	run setpriv --reuid 65534 --clear-groups ./dink disk create -s 1GiB d.img
	owner=$(stat -c %u d.img)
	rm -r "$open"
	[ "$status" -eq 0 ]
	[ "$owner" -eq 65534 ]
}

@test "an attached image is in use, even for --force" {
	need_root
	"$dink" disk create -s 64MiB -t ext4 d.img
	loop=$(losetup --find --show d.img)
	run --separate-stderr "$dink" disk create --force d.img
	said=$stderr
	run "$dink" disk show d.img
	losetup --detach "$loop"
	[[ $said == *"in use: $loop"* ]]
	[[ $output == *"attached    $loop"* ]]
}
