#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# dink-vm as a runtime of Podman (conmon), and called by hand: the core of 30-dink-vm-docker.bats.
# shellcheck disable=SC2016 # words for a shell in the container stay in single quotes

load vm
bats_require_minimum_version 1.5.0

setup_file() {
	need "root" test "$(id -u)" = 0
	need "podman (apt-get install podman)" command -v podman
	vm_prepare
	tar -C "$T/rootfs" -c . | pod import - box:1 >/dev/null
}

teardown_file() {
	[ -n "${T:-}" ] || return 0
	grep -F "$T" /proc/self/mounts | cut -d' ' -f2 | sort -r | while read -r m; do
		umount -l "$m"
	done
	rm -rf "$T"
}

teardown() {
	pod rm -f -a -t 0 >/dev/null
	assert_nothing_left
}

pod() {
	podman --root "$T/podman" --runroot "$T/podrun" --cgroup-manager cgroupfs \
		--events-backend none --runtime "$T/dink-vm" "$@"
}
# the hard limit of this machine may be below podman's default
vmrun() { pod run --ulimit nofile=1024:1024 "$@"; }

@test "podman run: output, exit codes, stdin, stderr apart" {
	run vmrun --rm --network none box:1 sh -c 'uname -r; exit 42'
	[ "$status" -eq 42 ]
	[ "$output" != "$(uname -r)" ]
	run -127 vmrun --rm --network none box:1 no-such-command
	[ "$status" -eq 127 ]
	[ "$(echo in | vmrun --rm -i --network none box:1 cat)" = in ]
	vmrun --rm --network none box:1 sh -c 'echo out; echo err >&2' >"$T/out" 2>"$T/err"
	[ "$(cat "$T/out")" = out ]
	grep -qx err "$T/err"
}

@test "podman run -it has a terminal" {
	run script -qec "podman --root $T/podman --runroot $T/podrun --cgroup-manager cgroupfs --events-backend none --runtime $T/dink-vm run --ulimit nofile=1024:1024 --rm -it --network none box:1 tty" /dev/null </dev/null
	[ "$status" -eq 0 ]
	[[ "$output" == */dev/pts/* ]]
}

@test "podman run -d, exec, pause, kill, stop" {
	vmrun -d --name cc --network none box:1 sh -c 'trap "exit 9" TERM; while :; do sleep 0.1; done'
	run pod exec cc sh -c 'exit 5'
	[ "$status" -eq 5 ]
	run -127 pod exec cc no-such-command
	[ "$status" -eq 127 ]
	pod pause cc
	[[ "$(pod ps -a --format '{{.Status}}')" == *Paused* ]]
	pod unpause cc
	pod stop -t 10 cc
	[ "$(pod inspect -f '{{.State.ExitCode}}' cc)" = 9 ]
	pod start cc
	pod kill cc
	wait_for 5 eval '[ "$(pod inspect -f "{{.State.Running}}" cc)" = false ]'
	[ "$(pod inspect -f '{{.State.ExitCode}}' cc)" = 137 ]
}

@test "podman's bridge network reaches its gateway" {
	run vmrun --rm --cap-add NET_RAW box:1 sh -c 'ping -c 1 -W 3 "$(ip route | sed -n "s/default via \([^ ]*\).*/\1/p")"'
	[ "$status" -eq 0 ]
}

@test "podman volumes" {
	mkdir "$T/v"
	vmrun --rm --network none -v "$T/v:/data" box:1 sh -c 'echo guest >/data/g'
	[ "$(cat "$T/v/g")" = guest ]
}

@test "podman cp into a running container goes to the container, not to the host" {
	mkdir "$T/cpv" "$T/only-here"
	vmrun -d --name cc --network none -v "$T/cpv:/vol" --tmpfs /t box:1 sleep 1000
	echo x >"$T/f"
	pod cp "$T/f" cc:/tmp/dink-cp-test
	[ ! -e /tmp/dink-cp-test ]
	[ "$(pod exec cc cat /tmp/dink-cp-test)" = x ]
	pod cp "$T/f" cc:/vol/g
	[ "$(cat "$T/cpv/g")" = x ]
	# the host's files are not there, and what only the guest has takes none
	run -125 pod cp "cc:$T/only-here" "$T/back"
	run -125 pod cp "$T/f" cc:/t/f
	# an image's links lead nowhere but into it
	[ "$(readlink "/proc/$(pod inspect -f '{{.State.Pid}}' cc)/root")" = / ]
	[ "$(ls "/proc/$(pod inspect -f '{{.State.Pid}}' cc)/root")" = "$(pod exec cc ls /)" ]
}

@test "podman top without words: the guest's processes and no others" {
	vmrun -d --name cc --network none -u 1000 box:1 sh -c 'sleep 77 & sleep 88; true'
	wait_for 10 eval '[ "$(pod top cc | grep -c "sleep [78]* *$")" = 2 ]'
	pod top cc user pid ppid state args | tr -s ' ' >"$T/top"
	printf 'USER PID PPID STATE COMMAND\nuser 1 0 S sh -c sleep 77 & sleep 88; true \nuser 2 1 S sleep 77 \nuser 3 1 S sleep 88 \n' |
		diff - "$T/top"
	# nothing of it stays, nothing can be put there
	pid=$(pod inspect -f '{{.State.Pid}}' cc)
	pod exec -u 0 cc kill 2
	wait_for 5 eval '[ "$(pod top cc | grep -c "sleep 77 *$")" = 0 ]'
	run -1 nsenter --mount --target "$pid" touch /proc/x
	[[ "$output" == *"Read-only file system"* ]]
}

@test "podman run --uidmap: the namespace's root, and mount points that the image has not" {
	mkdir -m 777 "$T/mapped"
	run -0 vmrun --ulimit nproc=1024:1024 --rm --network none --uidmap 0:100000:65536 -v "$T/mapped:/new/v" box:1 \
		sh -c 'awk "{print \$2}" /proc/self/uid_map; echo x >/new/v/f; stat -c "%u %a" /new /new/v/f'
	[ "$output" = $'100000\n0 755\n0 644' ]
	[ "$(stat -c %u "$T/mapped/f")" = 100000 ]
}

# --- by hand: the OCI command line ---

bundle() {
	mkdir -p "$T/bundle"
	rm -f "$T/bundle/config.json"
	"$T/dink-vm" spec -b "$T/bundle"
	jq --arg root "$T/rootfs" \
		'.root.path=$root | .process.terminal=false | .process.args=$ARGS.positional' \
		<"$T/bundle/config.json" --args -- "$@" >"$T/bundle/new"
	mv "$T/bundle/new" "$T/bundle/config.json"
}

oci() { "$T/dink-vm" --root "$T/state" "$@"; }

@test "create, state, start, kill, delete by hand; the pid file names the monitor" {
	bundle sleep 1000
	oci create -b "$T/bundle" --pid-file "$T/pid" hand </dev/null >/dev/null 3>&-
	[ "$(oci state hand | jq -r .status)" = created ]
	[ "$(oci state hand | jq -r .pid)" = "$(cat "$T/pid")" ]
	tr '\0' ' ' <"/proc/$(cat "$T/pid")/cmdline" | grep -x "dink-vm --root $T/state monitor hand "
	run oci exec hand true
	[ "$status" -eq 255 ]
	oci start hand
	[ "$(oci state hand | jq -r .status)" = running ]
	run oci start hand
	[ "$status" -eq 1 ]
	run oci delete hand
	[ "$status" -eq 1 ]
	[[ "$output" == *"not stopped"* ]]
	oci kill hand KILL
	wait_for 5 eval '[ "$(oci state hand | jq -r .status)" = stopped ]'
	run oci kill hand KILL
	[[ "$output" == *"container not running"* ]]
	oci delete hand
	run oci state hand
	[[ "$output" == *"does not exist"* ]]
	oci delete --force hand
}

@test "one that is stopping runs until its end, takes signals, and is deleted when it is through" {
	local qemu
	bundle sleep 1000
	oci create -b "$T/bundle" slow </dev/null >/dev/null 3>&-
	qemu=$(pgrep -f "^/usr/bin/qemu-system.*-name slow")
	kill -STOP "$qemu" # so it does not answer that it has shut down
	oci kill slow TERM
	[ "$(oci state slow | jq -r .status)" = running ]
	oci kill slow KILL
	(sleep 0.5; kill -CONT "$qemu") 3>&- &
	oci delete slow
	run ! kill -0 "$qemu"
}

@test "ps as JSON: processes of the host that stand for the guest's, and go with the container" {
	local pids p
	bundle sh -c 'sleep 77 & sleep 88; true'
	oci run -d -b "$T/bundle" hand </dev/null >/dev/null 3>&-
	wait_for 15 eval '[ "$(oci ps hand | grep -c "sleep [78]*$")" = 2 ]'
	pids=$(oci ps --format json hand | jq -r '.[]')
	[ "$(wc -w <<<"$pids")" = 3 ]
	for p in $pids; do
		tr '\0' ' ' <"/proc/$p/cmdline" >>"$T/args"
		echo >>"$T/args"
		[ "$(awk '/^CapEff/ {print $2}' "/proc/$p/status")" = 0000000000000000 ]
		[ "$(find "/proc/$p/fd" -mindepth 1 | wc -l)" -le 4 ]
	done
	printf 'sh -c sleep 77 & sleep 88; true \nsleep 77 \nsleep 88 \n' | diff - <(sort "$T/args")
	oci kill hand KILL
	for p in $pids; do
		wait_for 2 eval '[ "$(cut -d" " -f3 <"/proc/'"$p"'/stat" 2>/dev/null || echo Z)" = Z ]'
	done
	wait_for 5 eval '[ "$(oci state hand | jq -r .status)" = stopped ]'
	oci delete hand
}

@test "stdin that is /dev/null is that in the guest" {
	bundle sh -c 'readlink /proc/self/fd/0; stat -Lc %t:%T /proc/self/fd/0'
	run -0 oci run -b "$T/bundle" hand </dev/null
	[ "$output" = $'/dev/null\n1:3' ]
	run -0 oci run -b "$T/bundle" hand < <(:)
	[[ "$output" == pipe:* ]]
}

@test "run by hand gives the workload's status; unknown flags are refused in one line" {
	bundle sh -c 'exit 33'
	run oci run -b "$T/bundle" one </dev/null
	[ "$status" -eq 33 ]
	run oci create --bundel "$T/bundle" one
	[ "$status" -eq 1 ]
	[ "${#lines[@]}" -eq 1 ]
	[[ "$output" == *"did you mean --bundle"* ]]
}

@test "errors reach the JSON log as engines read it" {
	bundle no-such-command
	run oci --log "$T/log.json" --log-format json create -b "$T/bundle" bad </dev/null
	[ "$status" -eq 1 ]
	[[ "$(jq -r 'select(.level == "error").msg' "$T/log.json")" == *"executable file not found in \$PATH"* ]]
}

@test "a creator that is killed leaves no VM" {
	bundle sleep 1000
	oci create -b "$T/bundle" gone </dev/null >/dev/null 2>&1 3>&- &
	wait_for 10 pgrep -f "dink-vm --root $T/state monitor gone"
	kill -KILL "$(pgrep -f "dink-vm.bin --guest $T/guest .*--root $T/state create")"
	wait_for 10 eval '! pgrep -f "dink-vm --root $T/state monitor gone"'
	oci delete --force gone
}
