#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Disk operations under fire. dink is killed at each of its system calls in turn, or each fails with
# ENOSPC, or the file system is full: what an operation works on is as it was or as it should be, and
# no loop device, mount or lock is left. A FILE.partial may be, and goes with the next try. Root.
# Its tests run two at a time. EVERY=3 takes each third call only.

bats_require_minimum_version 1.5.0

# What changes something, and what waits for a child that does. Opening and reading is no step.
steps=ftruncate,truncate,fallocate,fchmod,fchown,fsync,flock,ioctl,copy_file_range,pwrite64,write
steps+=,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mknod,mknodat,mount,umount2
steps+=,clone,clone3,vfork,poll,ppoll,waitid,wait4,kill
# Of these the ones that can say ENOSPC.
writes=ftruncate,truncate,fallocate,fsync,copy_file_range,pwrite64,write,rename,renameat,renameat2
writes+=,mkdir,mknod,mknodat

setup() {
	dink=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)/build/dink
	export NO_COLOR=1
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	command -v strace >/dev/null || skip "needs strace"
	mkdir "$BATS_TEST_TMPDIR/keep" "$BATS_TEST_TMPDIR/w"
	cd "$BATS_TEST_TMPDIR/keep" || return
	"$dink" disk create -q -s 16MiB -t ext4 -L one e.img >/dev/null
	"$dink" disk create -q -s 24MiB -t ext4 -L two f.img >/dev/null
	"$dink" disk create -q -s 128MiB -L one b.img >/dev/null
	"$dink" disk export e.img e.tar.zst
	cd "$BATS_TEST_TMPDIR/w" || return
}

teardown() {
	cd "$BATS_TEST_TMPDIR" || return
	[ ! -d w/m ] || ! mountpoint -q w/m || umount w/m
	! mountpoint -q w || umount w
}

same() { cmp -s "../keep/$1" "$2"; }

# sound FILE LABEL SIZE: a whole filesystem of that label
sound() {
	[ "$(blkid -p -o value -s LABEL "$1")" = "$2" ] && [ "$(stat -c %s "$1")" -eq "$3" ] &&
		"$dink" disk check -q "$1"
}

# new_uuid FILE KEPT
new_uuid() {
	[ "$(blkid -p -o value -s UUID "$1")" != "$(blkid -p -o value -s UUID "../keep/$2")" ]
}

# For each operation: what it needs, its words, and whether the state is the old or the new one.
need_create() { words=(create -q -s 16MiB -t ext4 -L one d.img); }
old_create() { [ ! -e d.img ]; }
new_create() { sound d.img one 16777216; }

need_recreate() { cp ../keep/f.img d.img && words=(create -q -s 128MiB -L new --force d.img); }
old_recreate() { same f.img d.img; }
new_recreate() { sound d.img new 134217728; }

need_clone() { cp ../keep/e.img s.img && words=(clone -q s.img d.img); }
old_clone() { same e.img s.img && [ ! -e d.img ]; }
new_clone() { same e.img s.img && sound d.img one 16777216 && new_uuid d.img e.img; }

need_clone_btrfs() { cp --sparse=always ../keep/b.img s.img && words=(clone -q s.img d.img); }
old_clone_btrfs() { same b.img s.img && [ ! -e d.img ]; }
new_clone_btrfs() { same b.img s.img && sound d.img one 134217728 && new_uuid d.img b.img; }

need_reclone() { cp ../keep/e.img s.img && cp ../keep/f.img d.img && words=(clone -q --force s.img d.img); }
old_reclone() { same e.img s.img && same f.img d.img; }
new_reclone() { same e.img s.img && sound d.img one 16777216 && new_uuid d.img e.img; }

need_snapshot() { cp ../keep/e.img d.img && words=(snapshot create d.img one); }
old_snapshot() { same e.img d.img && [ ! -e d.img.snapshots/one.img ]; }
new_snapshot() { same e.img d.img && same e.img d.img.snapshots/one.img; }

need_rollback() {
	cp ../keep/e.img d.img && "$dink" disk snapshot create d.img one &&
		cp ../keep/f.img d.img || return
	words=(snapshot rollback d.img one)
}
old_rollback() { same f.img d.img && same e.img d.img.snapshots/one.img; }
new_rollback() { same e.img d.img && same e.img d.img.snapshots/one.img; }

need_unsnapshot() {
	cp ../keep/e.img d.img && "$dink" disk snapshot create d.img one || return
	words=(snapshot delete d.img one)
}
old_unsnapshot() { same e.img d.img && same e.img d.img.snapshots/one.img; }
new_unsnapshot() { same e.img d.img && [ ! -e d.img.snapshots/one.img ]; }

need_grow() { cp ../keep/e.img d.img && words=(resize -q d.img 40MiB); }
old_grow() { same e.img d.img; }
new_grow() { sound d.img one 41943040; }

need_shrink() { cp ../keep/e.img d.img && words=(resize -q d.img 12MiB); }
old_shrink() { same e.img d.img; }
new_shrink() { sound d.img one 12582912; }

need_export() { cp ../keep/e.img s.img && words=(export -q s.img a.tar.zst); }
old_export() { same e.img s.img && [ ! -e a.tar.zst ]; }
new_export() { same e.img s.img && zstd -qt a.tar.zst && tar --zstd -xOf a.tar.zst | cmp -s - ../keep/e.img; }

need_import() { words=(import -q ../keep/e.tar.zst d.img); }
old_import() { [ ! -e d.img ]; }
new_import() { same e.img d.img; }

need_reimport() { cp ../keep/f.img d.img && words=(import -q --force ../keep/e.tar.zst d.img); }
old_reimport() { same f.img d.img; }
new_reimport() { same e.img d.img; }

need_rm() { cp ../keep/e.img d.img && words=(rm -q d.img); }
old_rm() { same e.img d.img; }
new_rm() { [ ! -e d.img ]; }

need_mount() { mkdir m && cp ../keep/e.img d.img && words=(mount -q d.img m); }
old_mount() { ! mountpoint -q m && settled && sound d.img one 16777216; }
new_mount() { mountpoint -q m && [ -d m/lost+found ]; }

need_unmount() { mkdir m && cp ../keep/e.img d.img && "$dink" disk mount -q d.img m && words=(unmount -q m); }
old_unmount() { mountpoint -q m && [ -d m/lost+found ]; }
new_unmount() { ! mountpoint -q m && settled && sound d.img one 16777216; }

attached() { losetup -a | grep -F "$PWD/"; }

# settled: no loop device has a file of ours. It may take a moment: autoclear is the kernel's work,
# and others look for free devices.
settled() {
	for _ in {1..100}; do
		attached >/dev/null || return 0
		sleep 0.05
	done
	return 1
}

# no child of a killed dink may go on: it would change what the next look sees
alone() {
	for _ in {1..100}; do
		pgrep -f "(mkfs|tune2fs|btrfstune|resize2fs|e2fsck).*[ /][ds]\.img" |
			while read -r p; do readlink "/proc/$p/cwd"; done | grep -qxF "$PWD" || return 0
		sleep 0.05
	done
	return 1
}

clean() {
	! mountpoint -q m || umount m
	settled && find . -mindepth 1 -delete
}

# leftovers: files that belong to neither state
leftovers() {
	find . -mindepth 1 ! -path './m*' ! -name s.img ! -name d.img ! -name a.tar.zst \
		! -path ./d.img.snapshots ! -path ./d.img.snapshots/one.img "$@"
}

# judge OPERATION STATUS: 0 means new; otherwise old, or (killed) either
judge() {
	local op=$1 status=$2
	if "new_$op"; then
		[ "$status" -eq 0 ] || [ "$status" -eq 137 ] || { echo "new, and status $status"; return 1; }
	else
		[ "$status" -ne 0 ] || { echo "not new, and status 0"; return 1; }
		"old_$op" || { echo "neither old nor new"; ls -l; return 1; }
	fi
	if [ "$status" -eq 137 ]; then
		[ -z "$(leftovers ! -name '*.partial')" ] || { leftovers; return 1; }
	else
		[ -z "$(leftovers)" ] || { leftovers; return 1; }
	fi
	mountpoint -q m || settled || { attached; return 1; }
}

# again OPERATION: what was cut off is done by the next try, which also takes the partial file
again() {
	if ! "new_$1"; then
		"$dink" disk "${words[@]}" >/dev/null || return
		"new_$1" || return
	fi
	# a file that is made anew under the same name has the leftover's place
	[ -z "$(leftovers ! -name '*.partial')" ]
}

# at_each KIND CALLS OPERATION: the operation with KIND injected at each of its CALLS
at_each() {
	local kind=$1 calls=$2 op=$3 n total status
	"need_$op"
	strace -qq -o ../calls -e "trace=$calls" "$dink" disk "${words[@]}" >/dev/null
	"new_$op"
	clean
	total=$(grep -c '^[a-z0-9_]*(' ../calls)
	echo "$op: $total calls" >&3
	[ "$total" -gt 0 ]
	for ((n = 1; n <= total; n += ${EVERY:-1})); do
		"need_$op"
		status=0
		strace -qq -o ../last -e "trace=$calls" -e "inject=$calls:$kind:when=$n" \
			"$dink" disk "${words[@]}" >/dev/null 2>../said || status=$?
		alone
		judge "$op" "$status" || { echo "$op, call $n: $(grep INJ ../last; cat ../said)"; return 1; }
		again "$op" || { echo "$op, call $n: the next try failed"; return 1; }
		clean
	done
}

@test "SIGKILL at each step of making and cloning" {
	for op in create recreate clone clone_btrfs reclone; do at_each signal=KILL "$steps" $op; done
}

@test "SIGKILL at each step of snapshots and rollback" {
	for op in snapshot rollback unsnapshot; do at_each signal=KILL "$steps" $op; done
}

@test "SIGKILL at each step of resizing" {
	for op in grow shrink; do at_each signal=KILL "$steps" $op; done
}

@test "SIGKILL at each step of export, import and removal" {
	for op in export import reimport rm; do at_each signal=KILL "$steps" $op; done
}

@test "SIGKILL at each step of mount and unmount" {
	for op in mount unmount; do at_each signal=KILL "$steps" $op; done
}

@test "ENOSPC at each call that writes: the old state, an error, nothing else" {
	for op in create recreate clone clone_btrfs reclone snapshot rollback grow shrink export import \
		reimport; do
		at_each error=ENOSPC "$writes" $op
	done
}

@test "a full file system, of many sizes, under each operation" {
	local kib status done_once
	for op in create recreate clone clone_btrfs reclone snapshot rollback grow shrink export import \
		reimport; do
		done_once=
		for kib in 64 256 700 1400 2100 2800 3500 4200 5000 6000 8000 12000 24000 64000; do
			mount -t tmpfs -o "size=${kib}k" none .
			cd "$PWD"
			if "need_$op" 2>/dev/null; then
				status=0
				"$dink" disk "${words[@]}" >/dev/null 2>../said || status=$?
				judge "$op" "$status" || { echo "$op in $kib KiB: $(cat ../said)"; return 1; }
				[ "$status" -ne 0 ] || done_once=1
			fi
			cd "$BATS_TEST_TMPDIR"
			umount w
			cd w
		done
		[ -n "$done_once" ] || { echo "$op: never had room"; return 1; }
	done
}

# spoil TOOL WHOM: it has begun to write when it, or dink, dies
spoil() {
	mkdir -p ../bin
	rm -f ../bin/*
	# shellcheck disable=SC2016 # for that shell
	printf '#!/bin/sh\nfor f; do :; done\n[ ! -f "$f" ] || echo spoilt 1<>"$f"\nkill -KILL %s\nsleep 5\n' \
		"$2" >"../bin/$1"
	chmod +x "../bin/$1"
}

@test "a tool dies, or dink while it runs: the old state" {
	local op tool status
	for tool in mkfs.ext4 mkfs.btrfs tune2fs btrfstune resize2fs e2fsck; do
		# shellcheck disable=SC2016 # for the tool
		for whom in '$$' '$PPID'; do
			spoil $tool "$whom"
			for op in create recreate clone clone_btrfs reclone grow shrink; do
				"need_$op"
				status=0
				PATH=$BATS_TEST_TMPDIR/bin:$PATH "$dink" disk "${words[@]}" >/dev/null 2>../said || status=$?
				judge "$op" "$status" || { echo "$op without $tool: $(cat ../said)"; return 1; }
				again "$op"
				clean
			done
		done
	done
}
