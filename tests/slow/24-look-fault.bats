#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The VM in which `dink disk` reads and changes images, under fire: its QEMU is killed at one of its
# writes to the image, or gets ENOSPC or EIO for it, does not start, stands still, or loses its dink.
# What it works on is as it was or as it should be; the error comes in time; no QEMU, lock or folder is
# left. Root. POINTS="1 5" kills at these writes only.

bats_require_minimum_version 1.5.0

setup() {
	dink=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)/build/dink
	export NO_COLOR=1
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	command -v strace >/dev/null || skip "needs strace"
	[ -e /usr/bin/supermin ] || skip "no supermin"
	mkdir -p "$BATS_TEST_TMPDIR/keep/tree" "$BATS_TEST_TMPDIR/w"
	cd "$BATS_TEST_TMPDIR/keep" || return
	head -c 20000000 /dev/urandom >tree/data
	"$dink" disk create -q -s 128MiB -t ext4 -L one e.img >/dev/null
	debugfs -w -R "write $PWD/tree/data data" e.img 2>/dev/null
	mkdir seed && cp tree/data seed/
	truncate -s 512M b.img
	mkfs.btrfs -q -m single -L one --rootdir seed b.img
	wrap_qemu
	cd "$BATS_TEST_TMPDIR/w" || return
}

teardown() {
	! mountpoint -q "$BATS_TEST_TMPDIR/w" || umount "$BATS_TEST_TMPDIR/w"
}

# QEMU under strace, with one thread for what it does to the image, so that its calls are in order
wrap_qemu() {
	cat >"$BATS_TEST_TMPDIR/hv" <<-'END'
		#!/bin/bash
		case "$*" in
		*guestfsd.sock*) ;;
		*) exec qemu-system-x86_64 "$@" ;;
		esac
		read -ra inject <<<"${HV_INJECT:-}"
		exec strace -D -f -qq -o "$HV_CALLS" -e trace=pwrite64,pwritev,fdatasync,fallocate \
			-P "$HV_IMAGE" "${inject[@]}" qemu-system-x86_64 "$@" \
			-object main-loop,id=one,thread-pool-min=1,thread-pool-max=1
	END
	chmod +x "$BATS_TEST_TMPDIR/hv"
	export LIBGUESTFS_HV=$BATS_TEST_TMPDIR/hv HV_CALLS=$BATS_TEST_TMPDIR/calls
}

qemus() { pgrep -f "qemu-system.*$BATS_TEST_TMPDIR/"; }

# nothing but the image; of folders those that nobody has, for others may look at images of their own
left() {
	local dir
	qemus && return
	find . -mindepth 1 ! -name d.img ! -path './out*'
	for dir in "${DINK_CACHE_DIR:-/var/cache/dink}"/appliances/*/look-*; do
		[ ! -d "$dir" ] || flock -n "$dir" echo "$dir"
	done
	sockets
	flock -n d.img true || echo "a lock"
}

# the library's folders of sockets that no process has
sockets() {
	find /tmp -maxdepth 1 -name 'libguestfs*' -newer ../began | while read -r dir; do
		grep -qF "$dir/" /proc/net/unix || echo "$dir"
	done
}

# For each operation: the image it begins with, its words, and whether that is the old or the new state
need_copy_in() { cp ../keep/e.img d.img && words=(copy-in d.img ../keep/tree /) image=d.img.partial; }
old_copy_in() { cmp -s ../keep/e.img d.img; }
new_copy_in() {
	e2fsck -fn d.img >/dev/null 2>&1 && debugfs -R "cat /tree/data" d.img 2>/dev/null | cmp -s - ../keep/tree/data
}

need_copy_in_btrfs() { cp ../keep/b.img d.img && words=(copy-in d.img ../keep/tree /) image=d.img.partial; }
old_copy_in_btrfs() { cmp -s ../keep/b.img d.img; }
new_copy_in_btrfs() { sound_btrfs tree/data; }

need_grow() { cp --sparse=always ../keep/b.img d.img && words=(resize d.img 768MiB) image=d.img; }
old_grow() { sound_btrfs data && [ "$(stat -c %s d.img)" -ge 536870912 ]; }
new_grow() { sound_btrfs data && [ "$(total d.img)" -eq 805306368 ] && [ "$(stat -c %s d.img)" -eq 805306368 ]; }

need_shrink() { cp --sparse=always ../keep/b.img d.img && words=(resize d.img 320MiB) image=d.img; }
old_shrink() { sound_btrfs data && [ "$(stat -c %s d.img)" -eq 536870912 ]; }
new_shrink() { sound_btrfs data && [ "$(total d.img)" -eq 335544320 ] && [ "$(stat -c %s d.img)" -eq 335544320 ]; }

# what is freed gives nothing to tell old and new by
need_trim() { cp ../keep/e.img d.img && words=(trim d.img) image=d.img; }
old_trim() {
	[ "$(e2fsck -fp d.img >/dev/null 2>&1; echo $?)" -le 1 ] &&
		debugfs -R "cat /data" d.img 2>/dev/null | cmp -s - ../keep/tree/data
}
new_trim() { old_trim; }

total() { btrfs inspect-internal dump-super "$1" | awk '$1 == "total_bytes" { print $2 }'; }

# sound_btrfs PATH: without fault, and the file has what it should have. A log that was not replayed
# is no fault.
sound_btrfs() {
	btrfs check --readonly d.img >../check 2>&1 || { cat ../check; return 1; }
	rm -rf ../restored && mkdir ../restored
	btrfs restore d.img ../restored >/dev/null 2>&1
	cmp -s "../restored/$1" ../keep/tree/data
}

# run_one OPERATION: its status to $status, its words to ../said
run_one() {
	"need_$1"
	export HV_IMAGE=$PWD/$image
	touch ../began
	sleep 0.01
	status=0
	timeout -s KILL 200 "$dink" disk "${words[@]}" >/dev/null 2>../said || status=$?
}

# judge OPERATION CODES
judge() {
	local op=$1
	if [ "$status" -eq 0 ]; then
		"new_$op" || { echo "$op: not new, and status 0"; return 1; }
	else
		[[ " $2 " == *" $status "* ]] || { echo "$op: status $status"; cat ../said; return 1; }
		"old_$op" || "new_$op" || { echo "$op: neither old nor new"; return 1; }
		grep -q '^dink: ..' ../said
		! grep -q 'export LIBGUESTFS' ../said
	fi
	[ -z "$(left)" ] || { left; return 1; }
}

# at_points OPERATION: QEMU killed at some of its writes to the image, from the first to the last
at_points() {
	local op=$1 total n killed=0
	HV_INJECT='' run_one "$op"
	judge "$op" none
	[ "$status" -eq 0 ]
	total=$(grep -cE ' (pwrite64|pwritev|fdatasync|fallocate)\(' "$HV_CALLS")
	[ "$total" -gt 5 ]
	for n in ${POINTS:-1 2 $((total / 4)) $((total / 2)) $((total * 3 / 4)) $((total - 2))}; do
		HV_INJECT="-e inject=pwrite64,pwritev,fdatasync,fallocate:signal=KILL:when=$n" run_one "$op"
		echo "$op, killed at $n of $total: status $status: $(tail -n 2 ../said | head -n 1)" >&3
		judge "$op" 5
		[ "$status" -eq 0 ] || killed=$((killed + 1))
		[ "$status" -eq 0 ] || again "$op"
	done
	[ "$killed" -ge 3 ]
}

# what was cut off is done by the next try
again() {
	"new_$1" || HV_INJECT='' timeout -s KILL 200 "$dink" disk "${words[@]}" >/dev/null
	"new_$1"
}

@test "QEMU is killed while files come in: none of them, or all" {
	at_points copy_in
	at_points copy_in_btrfs
}

@test "QEMU is killed while a btrfs becomes larger: sound, of the one size or the other" {
	at_points grow
}

@test "QEMU is killed while a btrfs becomes smaller: sound, of the one size or the other" {
	at_points shrink
}

@test "QEMU is killed while an image is trimmed: sound, with all that was in it" {
	at_points trim
}

@test "the host has no room, or its disk fails: told, and the old state" {
	local error
	for error in ENOSPC EIO; do
		HV_INJECT="-e inject=pwritev,pwrite64:error=$error:when=4+" run_one copy_in
		[ "$status" -eq 4 ]
		grep -q 'write what is changed to d.img' ../said
		old_copy_in
		judge copy_in 4
		HV_INJECT="-e inject=pwritev,pwrite64:error=$error:when=4+" run_one grow
		[ "$status" -ne 0 ]
		judge grow "4 5"
		again grow
	done
}

@test "an image without room: the guest's words, and the old state" {
	"$dink" disk create -q -s 16MiB -t ext4 ../keep/e.img --force >/dev/null
	HV_INJECT='' run_one copy_in
	[ "$status" -eq 5 ]
	grep -q 'tar subcommand failed.*tree/data' ../said
	old_copy_in
	judge copy_in 5
}

@test "files that cannot be read in the guest are no success of copy-out" {
	local at
	mkdir out
	cp ../keep/e.img d.img
	debugfs -w -R "mkdir folder" d.img 2>/dev/null
	debugfs -w -R "ln <12> folder/data" d.img 2>/dev/null
	# its inode's extents no longer make sense to the guest's kernel
	at=$(debugfs -R "imap <12>" d.img 2>/dev/null | sed -n 's/.*located at block \([0-9]*\), offset \(0x[0-9a-f]*\)/\1 \2/p')
	[ -n "$at" ]
	head -c 60 /dev/urandom | dd of=d.img bs=1 conv=notrunc status=none \
		seek=$((${at% *} * $(debugfs -R stats d.img 2>/dev/null | awk '/^Block size/ { print $3 }') + ${at#* } + 40))
	touch ../began
	run -5 --separate-stderr env HV_INJECT='' HV_IMAGE="$PWD/d.img" "$dink" disk copy-out d.img /folder out
	# shellcheck disable=SC2154 # bats sets stderr
	[[ $stderr == *"copying out in d.img"* ]]
	[ -z "$(left)" ]
}

@test "QEMU does not start: told at once" {
	local began=$SECONDS
	printf '#!/bin/sh\nexit 1\n' >../never
	printf '#!/bin/sh\ncase "$*" in *guestfsd.sock*) exit 1 ;; esac\nexec qemu-system-x86_64 "$@"\n' >../later
	chmod +x ../never ../later
	for hv in never later nosuch; do
		LIBGUESTFS_HV=$BATS_TEST_TMPDIR/$hv run_one copy_in
		[ "$status" -eq 5 ]
		grep -q 'starting a VM to look in d.img' ../said
		old_copy_in
		judge copy_in 5
	done
	[ $((SECONDS - began)) -lt 60 ]
}

@test "a VM that stands still is ended by the user" {
	local pid qemu began
	need_copy_in
	touch ../began
	HV_INJECT='' HV_IMAGE=$PWD/$image "$dink" disk "${words[@]}" 2>../said 3>&- &
	pid=$!
	for _ in {1..600}; do
		qemu=$(pgrep -f "^qemu-system.*$PWD/d.img.partial") && grep -q pwritev "$HV_CALLS" && break
		sleep 0.1
	done
	# shellcheck disable=SC2086 # more than one is a failure of kill, too
	kill -STOP $qemu
	sleep 1
	kill -0 $pid
	began=$SECONDS
	kill -TERM $pid
	status=0
	wait $pid || status=$?
	[ "$status" -eq 130 ]
	[ $((SECONDS - began)) -lt 10 ]
	old_copy_in
	judge copy_in 130
}

@test "dink is killed: its VM ends by itself, nobody writes beside it, the next try takes what it left" {
	local pid
	need_copy_in
	touch ../began
	HV_INJECT='' HV_IMAGE=$PWD/$image "$dink" disk "${words[@]}" 2>../said 3>&- &
	pid=$!
	for _ in {1..600}; do
		grep -qs pwritev "$HV_CALLS" && break
		sleep 0.1
	done
	kill -KILL $pid
	status=0
	wait $pid || status=$?
	[ "$status" -eq 137 ]
	if qemus; then
		run -6 "$dink" disk "${words[@]}"
		[[ $output == *"is being made"* ]]
	fi
	for _ in {1..100}; do
		qemus || break
		sleep 0.1
	done
	run ! qemus
	old_copy_in
	HV_INJECT='' HV_IMAGE=$PWD/$image "$dink" disk "${words[@]}"
	new_copy_in
	# but for the library's socket, which it puts nowhere else for root
	sockets | while read -r dir; do
		[ "$(ls "$dir")" = guestfsd.sock ] && rm -r "$dir"
	done
	[ -z "$(left)" ]
}
