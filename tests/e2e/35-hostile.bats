#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# dink-vm with guests that mean harm and hosts that run out of something, by the OCI command line:
# each ends in words, in time, and with a monitor that has not grown.
# shellcheck disable=SC2016 # words for a shell in the container stay in single quotes

load vm
load oci
bats_require_minimum_version 1.5.0

# KiB that a monitor may take, whatever its guest says
MONITOR_MAX=65536

setup_file() {
	oci_prepare
	bundle idle 'i=0; while :; do echo $i; i=$((i+1)); sleep 0.1; done'
}

teardown_file() { [ -z "${T:-}" ] || rm -rf "$T"; }

teardown() {
	local id m
	for id in a b c d e f; do run_vm delete --force "$id"; done
	grep -F " $T/" /proc/self/mounts | cut -d' ' -f2 | while read -r m; do umount "$m"; done
	assert_nothing_left
	rm -rf "$T/state"
}

# bad_guest MODE - a guest whose PID 1 is tests/e2e/tools/bad_agent.c
bad_guest() {
	local dir=$T/bad-$1
	[ ! -e "$dir/initramfs.cpio" ] || return 0
	mkdir "$dir"
	ln -s "$(readlink "$T/guest/vmlinux")" "$dir/vmlinux"
	cc -std=gnu17 -D_GNU_SOURCE -O1 -static -I"$ROOT_DIR" -DMODE="\"$1\"" -o "$dir/init" \
		"$ROOT_DIR/tests/e2e/tools/bad_agent.c" "$ROOT_DIR/provision/vm/frame.c"
	"$T/make_guest" "$dir/initramfs.cpio" "$dir/init" /bin/busybox "$ROOT_DIR/build/guest-lib"
}

# run_bad MODE COMMAND... - by such a guest; what a failed create leaves is kept, so that it can be read
run_bad() {
	local mode=$1
	shift
	DINK_VM_KEEP=1 timeout 30 "$T/dink-vm.bin" --guest "$T/bad-$mode" --root "$T/state" \
		--template-dir none --boot-timeout "${LIMIT:-25}" "$@"
}

# KiB that the monitor took at most: by its own last words, or of one that runs
memory_of() {
	local pid
	pid=$(jq .pid "$T/state/$1/state.json")
	# one that was not reaped yet has no such line
	grep -h VmHWM "/proc/$pid/status" 2>/dev/null | grep -o '[0-9]\+' ||
		sed -n 's/.*the monitor took \([0-9]*\) KiB.*/\1/p' "$T/state/$1/monitor.log" | tail -n 1
}

is_small() {
	local kib
	kib=$(memory_of "$1")
	echo "$1: the monitor took $kib KiB"
	[ -n "$kib" ] && [ "$kib" -le "${2:-$MONITOR_MAX}" ]
}

# its logs are bounded by 256 KiB, and a read more
logs_are_bounded() {
	[ "$(stat -c %s "$T/state/$1/console.log")" -le 270000 ] &&
		[ "$(stat -c %s "$T/state/$1/monitor.log")" -le 270000 ]
}

status_is() { [ "$(run_vm state "$1" | jq -r .status)" = "$2" ]; }

# goes_on ID - it counts on
goes_on() {
	local seen
	seen=$(wc -l <"$T/$1.out")
	wait_for 5 eval '[ "$(wc -l <"$T/'"$1"'.out")" -gt '"$seen"' ]'
}

# refused ID MODE WORDS - its create fails with these words
refused() {
	bad_guest "$2"
	local said rc=0 began=$SECONDS
	said=$(run_bad "$2" create --bundle "$T/idle" "$1" </dev/null 2>&1 >/dev/null) || rc=$?
	echo "$2: $rc after $((SECONDS - began)) s: ${said:0:300}"
	[ "$rc" -eq 1 ] && [[ "$said" == *"$3"* ]] && [ "${#said}" -le 6000 ] &&
		is_small "$1" && logs_are_bounded "$1" && status_is "$1" stopped
}

@test "an agent that breaks the protocol: the channel is cut, and create says why" {
	refused a garbage "the channel to the guest broke: the peer sent a" &
	refused b huge "a message that is too long"
	wait %1
	refused c unasked "the guest answered a request that was not made" &
	refused d stranger "a frame for a stream that is not there"
	wait %1
	refused e request "a request from the guest" &
	refused f longerror yyyyyyyy
	wait %1
}

@test "an agent that is gone, or floods: create gives up in time, nothing grows" {
	# long enough for them to come to it
	LIMIT=12 refused a console "the guest did not start within 12 s" &
	LIMIT=12 refused f longlog "the guest did not start within 12 s" &
	refused b closes "the agent closed its port"
	refused c dies "the guest's kernel panicked or went down"
	grep -q "Kernel panic" "$T/state/c/console.log"
	run_vm delete c
	refused c tree "the guest sent a message of too many parts"
	wait %1
	wait %2
	grep -q "guest: xxxx" "$T/state/f/monitor.log"
	[ "$(stat -c %s "$T/state/a/console.log")" -ge 200000 ]
}

@test "an agent that says nothing: create gives up in time" {
	LIMIT=3 refused a mute "the guest did not start within 3 s" &
	LIMIT=3 refused b silent "the guest did not start within 3 s" &
	LIMIT=3 refused c half "the guest did not start within 3 s"
	wait %1
	wait %2
}

@test "data past its credit, or after its end: the container ends" {
	bad_guest credit
	bad_guest twice
	mkfifo "$T/pipe"
	for mode in credit twice; do
		sh -c 'exec sleep 1000' <"$T/pipe" 3>&- & # has it open, reads nothing
		reader=$!
		run_bad $mode create --bundle "$T/idle" a </dev/null >"$T/pipe"
		run_bad $mode start a
		wait_for 5 status_is a stopped
		kill $reader
		case $mode in
		credit) grep "more data than it had credit for" "$T/state/a/monitor.log" ;;
		twice) grep -E "data after its end|stream that is not there" "$T/state/a/monitor.log" ;;
		esac
		is_small a
		run_vm delete a
	done
	rm "$T/pipe"
}

@test "a guest that answers nothing: commands end, a kill ends it, descriptors come back" {
	for mode in deaf dumb; do
		bad_guest $mode
		run_bad $mode create --bundle "$T/idle" a </dev/null >/dev/null
		run_bad $mode start a
		status_is a running
		pid=$(jq .pid "$T/state/a/state.json")
		before=$(find "/proc/$pid/fd" -type l | wc -l)
		for _ in 1 2 3 4 5 6; do
			run -124 timeout 0.3 "$T/dink-vm" --root "$T/state" exec a true </dev/null
		done
		# nor does whoever reads /proc in the monitor's view wait for ever
		run -0 timeout 10 nsenter --mount --target "$pid" ls /proc
		[ -z "$output" ]
		sleep 0.2
		[ "$(find "/proc/$pid/fd" -type l | wc -l)" -le $((before + 1)) ]
		is_small a
		begin=$SECONDS
		run_vm kill a KILL
		wait_for 4 status_is a stopped
		[ $((SECONDS - begin)) -le 4 ]
		run_vm delete a
	done
}

@test "a guest that says its program exited and keeps its output: a kill ends it" {
	bad_guest exits
	run_bad exits create --bundle "$T/idle" a </dev/null >/dev/null
	run_bad exits start a
	run_vm kill a KILL
	wait_for 8 status_is a stopped
}

@test "a container eats all memory: it is killed with 137, beside it the VM goes on" {
	bundle eat 'sh -c "tail /dev/zero"; echo "it was $?"'
	run run_vm --memory 256M run --bundle "$T/eat" a </dev/null
	[ "$status" -eq 0 ]
	[ "$output" = "Killed
it was 137" ] || [ "$output" = "it was 137" ]
	bundle eat 'exec tail /dev/zero' '.linux.resources.memory.limit = 67108864'
	run run_vm run --bundle "$T/eat" a </dev/null
	[ "$status" -eq 137 ]
}

@test "the guest's kernel panics: 137, and its words are kept until delete" {
	bundle idle2 'sleep 1000'
	run_vm create --bundle "$T/idle2" a </dev/null >/dev/null
	run_vm start a
	# a kernel panics when its PID 1 exits
	bad_guest panics
	run_bad panics create --bundle "$T/idle2" b </dev/null >/dev/null
	run_bad panics start b
	wait_for 5 status_is b stopped
	grep -q "Kernel panic" "$T/state/b/console.log"
	grep -q "the guest's kernel panicked or went down" "$T/state/b/monitor.log"
	status_is a running
}

@test "a volume without room: the guest sees ENOSPC, and goes on" {
	mount -t tmpfs -o size=1m small "$T/volume"
	bundle full 'dd if=/dev/zero of=/volume/big bs=64k count=64 2>&1 | grep -o "No space left.*"
		rm /volume/big; echo small >/volume/file; cat /volume/file; echo beside >/tmp/file && cat /tmp/file'
	run run_vm run --bundle "$T/full" a </dev/null
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "No space left on device" ]
	[ "${lines[1]} ${lines[2]}" = "small beside" ]
	umount "$T/volume"
}

@test "no room for state: create says so, or goes on without logs" {
	mkdir -p "$T/state"
	mount -t tmpfs -o size=4k,mode=755 small "$T/state"
	run run_vm create --bundle "$T/idle" a </dev/null
	[ "$status" -eq 1 ]
	[[ "$output" == *"no space left on device"* || "$output" == *"No space left on device"* ]]
	[ -z "$(ls -A "$T/state")" ]
	umount "$T/state"
	mount -t tmpfs -o size=1m,mode=755 small "$T/state"
	run_vm create --bundle "$T/idle" a </dev/null >"$T/a.out"
	run dd if=/dev/zero of="$T/state/fill" bs=4k
	[[ "$output" == *"No space left"* ]]
	run_vm start a
	wait_for 5 eval '[ "$(wc -l <"$T/a.out")" -ge 3 ]'
	[ "$(run_vm exec a echo in </dev/null)" = in ]
	run_vm delete --force a
	[ "$(ls "$T/state")" = fill ]
	umount "$T/state"
}

@test "few descriptors: run says so, or runs" {
	bundle one 'echo ran'
	run_vm run --bundle "$T/one" f </dev/null # there is a template now
	local failed=0 ran=0
	for n in 5 8 11 14 18 24 32 64 256; do
		# a program without libraries, or it would be the linker that fails
		run timeout 20 prlimit --nofile=$n:$n "$T/dink-vm.bin" --guest "$T/guest" --template-dir \
			"$T/templates" --root "$T/state" run --bundle "$T/one" a </dev/null
		echo "$n: $status $output"
		if [ "$status" -eq 0 ]; then
			[ "$output" = ran ]
			ran=$n
		else
			[ "$status" -ne 124 ]
			# F_DUPFD says EINVAL above the limit
			[[ "${output,,}" == *"too many open files"* || "$output" == *"start the monitor"* ]]
			failed=$n
			run_vm delete --force a
		fi
	done
	[ $ran -eq 256 ]
	[ $failed -eq 64 ]
}

@test "a monitor without descriptors: exec fails, nothing spins, and then it works again" {
	run_vm create --bundle "$T/idle" a </dev/null >"$T/a.out"
	run_vm start a
	pid=$(jq .pid "$T/state/a/state.json")
	free=3
	while [ -e "/proc/$pid/fd/$free" ]; do free=$((free + 1)); done
	prlimit --pid "$pid" --nofile=$free:1024
	timeout 3 "$T/dink-vm" --root "$T/state" exec a true </dev/null 2>"$T/err" && false
	used=$(awk '{print $14 + $15}' "/proc/$pid/stat")
	timeout 2 "$T/dink-vm" --root "$T/state" exec a true </dev/null 2>>"$T/err" && false
	[ $(($(awk '{print $14 + $15}' "/proc/$pid/stat") - used)) -le 20 ]
	prlimit --pid "$pid" --nofile=1024:1024
	[ "$(run_vm exec a echo in </dev/null)" = in ]
	goes_on a
}

# a monitor may be at its end still
swept() { run_vm list -q && nothing_left; }

@test "a create that is killed: nothing of it stays, whenever that is" {
	local k gone=0
	run_vm run --bundle "$T/idle" f </dev/null >/dev/null & # there is a template now
	wait_for 10 run_vm exec f true
	run_vm delete --force f
	wait
	for k in 004 008 012 020 040 080 150 250 400 900; do
		"$T/dink-vm.bin" --guest "$T/guest" --root "$T/state" --template-dir "$T/templates" \
			create --bundle "$T/idle" a </dev/null >/dev/null 2>&1 3>&- &
		sleep "0.$k"
		run kill -KILL $! # which may be through already
		if wait $!; then run_vm delete --force a; else gone=$((gone + 1)); fi
		wait_for 10 swept
	done
	echo "$gone killed"
	[ $gone -ge 4 ]
}

@test "a VM that dies before its program starts: it was started, and has ended" {
	run_vm create --bundle "$T/idle" a </dev/null >"$T/a.out"
	kill -KILL "$(jq .pid "$T/state/a/state.json")"
	wait_for 5 status_is a stopped
	run run_vm start a
	[ "$status" -eq 0 ]
	[[ "$output" == *"warning: container not running"* ]]
	status_is a stopped
	# what was started is not started again
	run run_vm start a
	[ "$status" -eq 1 ]
}

@test "a VM keeps nothing of the host's mounts: a network namespace ends when it is unmounted" {
	local link=dkv$$ pid
	touch "$T/netns"
	unshare --net="$T/netns" true
	ip link add $link type veth peer name eth0 netns "$T/netns"
	run_vm create --bundle "$T/idle" a </dev/null >"$T/a.out"
	for pid in $(pgrep -f "$T/guest/vmlinux|${T}[^ ]*/share"); do
		run grep -F "$T/netns" "/proc/$pid/mountinfo"
		[ "$status" -eq 1 ]
	done
	umount "$T/netns"
	wait_for 10 eval '! ip link show '$link
	run_vm start a
	[ "$(run_vm exec a sh -c 'echo in >/volume/x; cat /volume/x' </dev/null)" = in ]
}

@test "list sweeps up nothing that is not dink-vm's" {
	mkdir -p "$T/state/theirs" "$T/state/runc"
	echo '{"id":"runc"}' >"$T/state/runc/state.json"
	touch -d yesterday "$T/state/theirs" "$T/state/runc"
	run_vm list -q
	run run_vm delete --force runc
	[ "$status" -eq 1 ]
	[ -d "$T/state/theirs" ]
	[ -e "$T/state/runc/state.json" ]
	rm -r "$T/state/theirs" "$T/state/runc"
}

@test "a checkpoint that finds no room leaves no folder, and the container goes on" {
	block_bundle two 'i=0; while :; do echo $i; i=$((i+1)); sleep 0.1; done'
	run_vm create --bundle "$T/two" a </dev/null >"$T/a.out"
	run_vm start a
	mkdir "$T/small"
	mount -t tmpfs -o size=128k small "$T/small"
	# more than once: QEMU says that it failed before it can go on
	for how in --leave-running "" "" "" ""; do
		# shellcheck disable=SC2086
		run run_vm checkpoint $how --image-path "$T/small/image" a
		[ "$status" -eq 1 ]
		[[ "$output" == *"make room for the image"* ]]
		[ ! -e "$T/small/image" ]
		goes_on a
	done
	# files of somebody else's are left alone
	mkdir "$T/small/image"
	echo mine >"$T/small/image/ram"
	run run_vm checkpoint --leave-running --image-path "$T/small/image" a
	[ "$status" -eq 1 ]
	[ "$(cat "$T/small/image/ram")" = mine ]
	umount "$T/small"
	rmdir "$T/small"
}

@test "a checkpoint that is killed: a whole image or none, and the container goes on or is gone" {
	block_bundle two 'i=0; while :; do echo $i; i=$((i+1)); sleep 0.1; done'
	local k whole=0 none=0 rc
	for k in 010 020 040 060 100 180 350 whole; do
		status_is a running 2>/dev/null || {
			run_vm delete --force a
			run_vm create --bundle "$T/two" a </dev/null >"$T/a.out"
			run_vm start a
		}
		"$T/dink-vm.bin" --root "$T/state" checkpoint --image-path "$T/image" a 3>&- &
		maker=$!
		[ $k = whole ] || sleep "0.$k"
		[ $k = whole ] || run kill -KILL $maker # which may be through already
		wait $maker || rc=$?
		if [ -e "$T/image/manifest.json" ]; then
			whole=$((whole + 1))
			wait_for 5 eval 'status_is a stopped || status_is a running'
			run_vm restore --detach --image-path "$T/image" --bundle "$T/two" b </dev/null >"$T/b.out"
			wait_for 5 test -s "$T/b.out"
			run_vm delete --force b
		else
			none=$((none + 1))
			[ -z "$(ls -A "$T/image" 2>/dev/null)" ]
			goes_on a
		fi
		rm -rf "$T/image"
	done
	echo "$whole whole, $none none"
	[ $none -ge 1 ]
	[ $whole -ge 1 ]
}
