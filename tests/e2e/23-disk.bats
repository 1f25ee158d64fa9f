#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `dink disk`: images made on the file, what is there kept, nothing left of a failure. Needs no
# root but where a test says so. Loop devices themselves are in tests/unit/test_disk.c.
# Its tests run two at a time.

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

# as_nobody COMMAND... - where none of root's images is mounted, which mkfs.btrfs would want to look at
as_nobody() {
	unshare --mount sh -c '
		awk "index(\$1, \"/dev/loop\") == 1 {print \$2}" /proc/self/mounts | sort -r | xargs -r umount -l
		exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"' - "$@"
}

@test "create works for an ordinary user, who is told what mkfs.btrfs wants of root's mounts" {
	need_root
	# a place that others can reach, unlike a source tree below /root and bats' own folder
	open=$(mktemp -d /var/tmp/dink-open-XXXXXX)
	chmod 777 "$open"
	cp "$dink" "$open/dink"
	cd "$open"
	mkdir -m 700 closed mnt
	"$dink" disk create -q --filesystem ext4 --size 16MiB closed/a.img
	run unshare --mount sh -c 'mount -o loop closed/a.img mnt &&
		exec setpriv --reuid 65534 --regid 65534 --clear-groups ./dink disk create -s 1GiB d.img'
	told=$output
	left=$(find . -name 'd.img*')
	run as_nobody ./dink disk create -s 1GiB d.img
	owner=$(stat -c %u d.img)
	cd /
	rm -r "$open"
	[[ $told == *"explain: mkfs-mount-status"*"with ext4"* ]]
	[ -z "$left" ]
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

# on_btrfs - a reflink filesystem of 1 GiB at ./reflink
on_btrfs() {
	truncate -s 1G fs.img
	mkfs.btrfs -q fs.img >/dev/null
	mkdir reflink
	mount -o loop fs.img reflink
}

@test "a clone has the data, a UUID of its own, and both can be mounted at once" {
	need_root
	for type in btrfs ext4; do
		"$dink" disk create -s 256MiB -t $type -L store a.$type
		mkdir -p one two
		mount -o loop a.$type one
		echo kept >one/file
		umount one
		run -0 --separate-stderr "$dink" disk clone a.$type b.$type --json
		[ "$(jq -r .label <<<"$output")" = store ]
		[ "$(blkid -p -o value -s UUID a.$type)" != "$(blkid -p -o value -s UUID b.$type)" ]
		mount -o loop a.$type one
		mount -o loop b.$type two
		read=$(cat one/file two/file)
		umount one two
		[ "$read" = $'kept\nkept' ]
		"$dink" disk check a.$type
		"$dink" disk check b.$type
	done
}

@test "a clone shares blocks where the filesystem can, and stays sparse where it cannot" {
	need_root
	"$dink" disk create -s 1GiB a.img
	"$dink" disk clone a.img b.img
	[ "$(stat -c %s b.img)" -eq 1073741824 ]
	[ "$(stat -c %b b.img)" -le $(($(stat -c %b a.img) + 64)) ]
	on_btrfs
	"$dink" disk create -s 256MiB reflink/a.img
	"$dink" disk clone reflink/a.img reflink/b.img
	shared=$(filefrag -v reflink/b.img | grep -c shared)
	umount reflink
	[ "$shared" -ge 1 ]
}

@test "a copy has the same bytes, and zeros that were written take no room in it" {
	"$dink" disk create -s 64MiB -t ext4 a.img
	dd if=/dev/zero of=a.img bs=1M seek=20 count=20 conv=notrunc status=none
	dd if=/dev/urandom of=a.img bs=1000 seek=30000 count=7 conv=notrunc status=none
	"$dink" disk snapshot create a.img one
	cmp a.img a.img.snapshots/one.img
	cp --sparse=always a.img b.img
	[ "$(stat -c %b a.img.snapshots/one.img)" -le $(($(stat -c %b b.img) + 64)) ]
}

@test "an image in use is neither cloned, checked nor removed; one read by others is cloned" {
	need_root
	"$dink" disk create -s 64MiB -t ext4 a.img
	loop=$(losetup --find --show a.img)
	for command in "clone a.img b.img" "check a.img" "rm a.img"; do
		# shellcheck disable=SC2086 # words
		run -6 --separate-stderr "$dink" disk $command
		[[ $stderr == *"a.img is in use"* ]]
	done
	losetup --detach "$loop"
	loop=$(losetup --read-only --find --show a.img)
	run "$dink" disk clone a.img b.img
	losetup --detach "$loop"
	[ "$status" -eq 0 ]
	[ -e a.img ]
}

@test "clone keeps what is there, and leaves nothing of a failure" {
	"$dink" disk create -s 256MiB a.img
	"$dink" disk create -s 64MiB -t ext4 b.img
	before=$(sha256sum b.img)
	run -6 --separate-stderr "$dink" disk clone a.img b.img
	[[ $stderr == *"b.img holds an ext4 filesystem"*"--force"* ]]
	[ "$(sha256sum b.img)" = "$before" ]
	run -0 "$dink" disk clone --force a.img b.img
	[ "$(blkid -p -o value -s TYPE b.img)" = btrfs ]
	run -2 --separate-stderr "$dink" disk clone missing.img c.img
	[ ! -e c.img ]
	[ ! -e c.img.partial ]
	# cut off behind its superblock
	truncate -s 70K a.img
	run --separate-stderr "$dink" disk clone a.img c.img
	[ "$status" -ne 0 ]
	[ ! -e c.img ]
	[ ! -e c.img.partial ]
}

@test "a full disk leaves no half clone" {
	need_root
	"$dink" disk create -s 256MiB a.img
	dd if=/dev/urandom of=a.img bs=1M seek=200 count=3 conv=notrunc status=none
	mkdir small
	mount -t tmpfs -o size=1m none small
	run "$dink" disk clone a.img small/b.img
	left=$(ls -A small)
	umount small
	[ "$status" -ne 0 ]
	[ -z "$left" ]
}

@test "check finds damage, and changes nothing" {
	"$dink" disk create -s 256MiB a.img
	run -0 "$dink" disk check a.img
	# all but its superblock
	dd if=/dev/urandom of=a.img bs=1M count=40 seek=1 conv=notrunc status=none
	before=$(sha256sum a.img)
	run -7 --separate-stderr "$dink" disk check a.img
	[[ $stderr == *"the btrfs in a.img has faults"* ]]
	[ "$(sha256sum a.img)" = "$before" ]
	truncate -s 1M none.img
	run -2 --separate-stderr "$dink" disk check none.img
	[[ $stderr == *"btrfs and ext4 can be checked"* ]]
}

@test "rm removes images, and other files only when forced" {
	"$dink" disk create -s 64MiB -t ext4 a.img
	"$dink" disk rm a.img
	[ ! -e a.img ]
	echo thesis >thesis
	run -6 --separate-stderr "$dink" disk rm thesis
	[[ $stderr == *"holds no filesystem"* ]]
	[ -e thesis ]
	"$dink" disk rm --force thesis
	[ ! -e thesis ]
	mkdir folder
	run "$dink" disk rm --force folder
	[ "$status" -ne 0 ]
	[ -d folder ]
}

@test "list names the disks of instances" {
	export DINK_STATE_DIR=$PWD/state
	mkdir -p state/instances/net/disks
	: >state/instances/net/journal
	run -0 "$dink" disk list --json
	[ "$(jq length <<<"$output")" -eq 0 ]
	"$dink" disk create -s 64MiB -t ext4 state/instances/net/disks/store.img
	run -0 "$dink" disk list --json
	[ "$(jq -r '.[0] | .instance, .disk, .type, .in_use' <<<"$output" | paste -sd' ')" = "net store ext4 false" ]
	run -0 "$dink" disk list
	[[ ${lines[1]} == "net/store "*ext4*free* ]]
}

@test "a snapshot brings back what was, and goes with its image only when forced" {
	need_root
	"$dink" disk create -s 64MiB -t ext4 a.img
	before=$(sha256sum <a.img)
	"$dink" disk snapshot create a.img first
	run -6 --separate-stderr "$dink" disk snapshot create a.img first
	[[ $stderr == *"has a snapshot 'first' already"* ]]
	dd if=/dev/urandom of=a.img bs=1M count=8 seek=16 conv=notrunc status=none
	"$dink" disk snapshot create a.img second
	run -0 "$dink" disk snapshot list a.img --json
	[ "$(jq -r '.[].name' <<<"$output" | sort | paste -sd' ')" = "first second" ]
	"$dink" disk snapshot rollback a.img first
	[ "$(sha256sum <a.img)" = "$before" ]
	run -2 --separate-stderr "$dink" disk snapshot rollback a.img third
	[[ $stderr == *"a.img has no snapshot 'third'"* ]]
	run -2 --separate-stderr "$dink" disk snapshot create a.img ../evil
	[[ $stderr == *"is no name for a snapshot"* ]]
	run -2 "$dink" disk snapshot explode a.img first
	loop=$(losetup --find --show a.img)
	run --separate-stderr "$dink" disk snapshot rollback a.img second
	losetup --detach "$loop"
	[ "$status" -eq 6 ]
	[[ $stderr == *"a.img is in use"* ]]
	run -6 --separate-stderr "$dink" disk rm a.img
	[[ $stderr == *"a.img has snapshots (2)"*"--force"* ]]
	"$dink" disk snapshot delete a.img second
	"$dink" disk rm --force a.img
	[ ! -e a.img ]
	[ ! -e a.img.snapshots ]
}

@test "export and import keep the content and the holes, and no half image" {
	"$dink" disk create -s 10GiB a.img
	sum=$(btrfs inspect-internal dump-super a.img | grep -v ^superblock | sha256sum)
	"$dink" disk export a.img a.tar.zst
	[ "$(stat -c %s a.tar.zst)" -lt 1048576 ]
	# others can read it
	[ "$(tar --zstd -tvf a.tar.zst | awk '{ print $3, $NF }')" = "10737418240 a.img" ]
	"$dink" disk import a.tar.zst b.img
	[ "$(stat -c %s b.img)" -eq 10737418240 ]
	[ "$(stat -c %b b.img)" -le $(($(stat -c %b a.img) + 64)) ]
	[ "$(btrfs inspect-internal dump-super b.img | grep -v ^superblock | sha256sum)" = "$sum" ]
	"$dink" disk check b.img
	"$dink" disk export a.img | "$dink" disk import - c.img
	cmp <(head -c 100M a.img) <(head -c 100M c.img)
	run -6 --separate-stderr "$dink" disk import a.tar.zst b.img
	[[ $stderr == *"b.img holds a btrfs filesystem"*"--force"* ]]
	# cut off, of another kind, and nothing at all
	head -c 1500 a.tar.zst >cut.tar.zst
	tar -cf folder.tar -C / --no-recursion etc
	: >empty.tar
	for bad in cut.tar.zst folder.tar empty.tar /etc/passwd; do
		run --separate-stderr "$dink" disk import "$bad" d.img
		[ "$status" -eq 4 ]
		[[ $stderr == *"importing d.img"* ]]
		[ ! -e d.img ]
		[ ! -e d.img.partial ]
	done
}

@test "mount and unmount: a loop device for as long as it is mounted" {
	need_root
	"$dink" disk create -s 64MiB -t ext4 a.img
	mkdir m
	run -0 "$dink" disk mount a.img m
	[[ $output == /dev/loop*" on m" ]]
	run findmnt -no OPTIONS m
	options=$output
	run "$dink" disk mount a.img m
	twice=$status
	touch m/file
	"$dink" disk unmount m
	[[ $options == *nosuid*nodev* ]]
	[ "$twice" -eq 6 ]
	[ ! -e m/file ]
	[ -z "$(losetup --associated a.img)" ]
	run -2 --separate-stderr "$dink" disk unmount m
	[[ $stderr == *"no disk image is mounted on m"* ]]
}

@test "trim gives back what was removed; a store that is none is told" {
	need_root
	[ -e /usr/bin/supermin ] || skip "no supermin"
	"$dink" disk create -s 256MiB -t ext4 a.img
	mkdir m
	"$dink" disk mount a.img m
	head -c 30M /dev/urandom >m/big
	sync m/big
	rm m/big
	"$dink" disk unmount m
	full=$(stat -c %b a.img)
	run -0 "$dink" disk trim a.img
	[ "$(stat -c %b a.img)" -lt $((full - 50000)) ]
	"$dink" disk check a.img
	run -2 --separate-stderr "$dink" disk docker a.img
	[[ $stderr == *"no Docker daemon has its store in / of it"* ]]
	# a daemon with containerd's image store has containers here, and no images
	"$dink" disk mount a.img m
	mkdir m/containers
	"$dink" disk unmount m
	run -2 --separate-stderr "$dink" disk docker a.img
	[[ $stderr == *"the daemon in / of it keeps its images in containerd's image store, which is not read"* ]]
}

@test "copy-in, ls, cat and copy-out look into an image without mounting it" {
	need_root
	[ -e /usr/bin/supermin ] || skip "no supermin"
	"$dink" disk create -s 256MiB a.img
	mkdir -p tree/sub out
	head -c 3000000 /dev/urandom >tree/sub/data
	echo hello >tree/file
	"$dink" disk copy-in a.img tree tree/file /
	run -0 --separate-stderr "$dink" disk ls a.img --json
	[ "$(jq -c . <<<"$output")" = '["file","tree"]' ]
	"$dink" disk copy-out a.img /tree /file out 2>progress
	diff -r tree out/tree
	grep -q "starting a VM" progress
	[ "$(cat out/file)" = hello ]
	[ -z "$(losetup --associated a.img)" ]
}

@test "what cannot be looked into is an error in words" {
	need_root
	[ -e /usr/bin/supermin ] || skip "no supermin"
	"$dink" disk create -s 256MiB a.img
	run -2 --separate-stderr "$dink" disk cat a.img etc/passwd
	[[ $stderr == *"begin at its root: /etc/passwd"* ]]
	loop=$(losetup --find --show a.img)
	run --separate-stderr "$dink" disk ls a.img
	losetup --detach "$loop"
	[ "$status" -eq 6 ]
	[[ $stderr == *"a.img is in use"* ]]
	# a superblock and noise
	dd if=/dev/urandom of=a.img bs=1M count=40 seek=1 conv=notrunc status=none
	run -5 --separate-stderr "$dink" disk cat a.img /etc/passwd
	[[ $stderr == *"mounting what is in a.img"* ]]
}

@test "resize: ext4 and btrfs, larger and smaller, and not smaller than what is in it" {
	need_root
	[ -e /usr/bin/supermin ] || skip "no supermin"
	"$dink" disk create -s 64MiB -t ext4 e.img
	"$dink" disk resize e.img 200MiB
	[ "$(stat -c %s e.img)" -eq 209715200 ]
	[ "$(dumpe2fs -h e.img 2>/dev/null | awk '/^Block count/ { print $3 }')" -eq 204800 ]
	"$dink" disk check e.img
	"$dink" disk resize e.img 32MiB
	"$dink" disk check e.img
	[ "$(stat -c %s e.img)" -eq 33554432 ]
	run --separate-stderr "$dink" disk resize e.img 64KiB
	[ "$status" -ne 0 ]
	[ "$(stat -c %s e.img)" -eq 33554432 ]
	"$dink" disk check e.img
	"$dink" disk create -s 256MiB b.img
	"$dink" disk resize b.img 512MiB
	[ "$(stat -c %s b.img)" -eq 536870912 ]
	"$dink" disk check b.img
	[ "$(btrfs inspect-internal dump-super b.img | awk '$1 == "total_bytes" { print $2 }')" -eq 536870912 ]
	run -2 --separate-stderr "$dink" disk resize b.img much
	[[ $stderr == *"'much' is no size"* ]]
}
