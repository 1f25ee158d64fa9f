#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# dink privileges where something runs: minimize leaves grants out of real runs, trace follows a
# real command, and what --oci prints is what runc does.

# shellcheck disable=SC2154 # dink and scenario come from up.bash
bats_require_minimum_version 1.5.0

load ../e2e/up

setup() {
	up_setup
	t=$BATS_TEST_TMPDIR
	cat >"$t/box.yaml" <<-'EOF'
		dink: 1
		name: box
		layers:
		  box: {image: debian, needs: [trace-child, fuse-store], command: [sleep, infinity]}
	EOF
}

teardown() {
	up_teardown
}

@test "minimize finds the grants that a check needs, and leaves nothing" {
	run -0 "$dink" privileges minimize --json --check "dink exec \$DINK_INSTANCE/box -- test -c /dev/fuse" "$t/box.yaml"
	echo "$output"
	json=$(printf '%s\n' "$output" | sed -n '/^{/,$p')
	jq -e '[.needed[].grant] == ["box:device /dev/fuse rw"]' <<<"$json"
	jq -e '[.not_needed[].grant] == ["box:capability CAP_SYS_PTRACE"]' <<<"$json"
	jq -e '.trials >= 2 and .trials <= 5' <<<"$json"
	no_residue minimize
	[ -z "$(ls "$DINK_STATE_DIR/minimize")" ]
	[ ! -e "$DINK_STATE_DIR/failures" ]
}

@test "minimize makes several trials at once, each in an instance of its own, and finds the same" {
	cat >"$t/check" <<-EOF
		mkdir "$t/in.\$DINK_INSTANCE" && sleep 2
		ls -d "$t"/in.* | wc -l >>"$t/at-once"
		sleep 1 && rmdir "$t/in.\$DINK_INSTANCE"
		dink exec "\$DINK_INSTANCE/box" -- test -c /dev/fuse
	EOF
	run -0 --separate-stderr "$dink" privileges minimize --jobs 4 --json --check "sh $t/check" "$t/box.yaml"
	jq -e '[.needed[].grant] == ["box:device /dev/fuse rw"]' <<<"$output"
	jq -e '.needed[0].without | test("exited|ended|status")' <<<"$output"
	[ "$(sort -n "$t/at-once" | tail -n 1)" -eq 2 ]
	no_residue minimize
	# one after another
	rm "$t/at-once"
	run -0 --separate-stderr "$dink" privileges minimize --jobs 1 --json --check "sh $t/check" "$t/box.yaml"
	jq -e '[.needed[].grant] == ["box:device /dev/fuse rw"]' <<<"$output"
	[ "$(sort -n "$t/at-once" | tail -n 1)" -eq 1 ]
	run -2 "$dink" privileges minimize --jobs 17 "$t/box.yaml"
	no_residue minimize
}

@test "minimize says so when it does not work with every grant" {
	run -5 "$dink" privileges minimize --quiet --check false "$t/box.yaml"
	[[ "$output" == *"with every grant it does not work either"* ]]
	no_residue minimize
}

@test "an interrupted minimize cleans up, and the next one goes on where it was" {
	"$dink" privileges minimize --jobs 1 --check 'echo >>'"$t"'/checks; dink exec $DINK_INSTANCE/box -- test -c /dev/fuse' "$t/box.yaml" >"$t/out" 2>&1 3>&- &
	local pid=$! status=0
	for _ in $(seq 300); do
		[ "$(grep -c '^    \(works\|fails\)' "$t/out")" -lt 2 ] || break
		sleep 0.1
	done
	kill -INT "$pid"
	wait "$pid" || status=$? # by `run` it would be waited for in a shell that has no such child
	[ "$status" -eq 130 ]
	[ "$(ls "$DINK_STATE_DIR/instances" 2>/dev/null | wc -l)" -eq 0 ]
	[ "$(ls "$DINK_STATE_DIR/minimize" | wc -l)" -eq 1 ]
	run -0 "$dink" privileges minimize --check 'echo >>'"$t"'/checks; dink exec $DINK_INSTANCE/box -- test -c /dev/fuse' "$t/box.yaml"
	echo "$output"
	[[ "$output" == *"going on after "[2-4]" trials"* ]]
	[[ "$output" == *"needed:"*"box:device /dev/fuse rw"*"not needed for this:"*"CAP_SYS_PTRACE"* ]]
	no_residue minimize
}

@test "an interrupt ends all the trials that run, and none of them counts" {
	local check='echo $DINK_INSTANCE >>'"$t"'/running; sleep 2; dink exec $DINK_INSTANCE/box -- test -c /dev/fuse'
	"$dink" privileges minimize --jobs 2 --check "$check" "$t/box.yaml" >"$t/out" 2>&1 3>&- &
	local pid=$! status=0
	for _ in $(seq 600); do
		[ "$(wc -l 2>/dev/null <"$t/running")" != 3 ] || break
		sleep 0.1
	done
	kill -INT "$pid"
	wait "$pid" || status=$?
	[ "$status" -eq 130 ]
	cat "$t/out"
	[ "$(sort -u "$t/running" | wc -l)" -eq 3 ]
	[ "$(ls "$DINK_STATE_DIR/instances" 2>/dev/null | wc -l)" -eq 0 ]
	run -0 "$dink" privileges minimize --jobs 2 --check "$check" "$t/box.yaml"
	[[ "$output" == *"going on after 1 trials"* ]]
	[[ "$output" == *"needed:"*"box:device /dev/fuse rw"*"not needed for this:"*"CAP_SYS_PTRACE"* ]]
	no_residue minimize
}

@test "up --without leaves a grant out, and fails with the runtime's own words" {
	run -5 "$dink" up -q --name other --without "docker:syscall keyctl" "$scenario"
	[[ "$output" == *"unable to create session key: operation not permitted"* ]]
	run -2 "$dink" up -q --without "docker:syscall keyctl2" "$scenario"
	[[ "$output" == *"has no such grant"* ]]
	run -2 "$dink" up -q --without "docker:namespace cgroup=private" "$scenario"
	no_residue up
}

@test "trace says which capabilities, devices and system calls a command used of those granted" {
	"$dink" up -q --name tr "$scenario"
	"$dink" privileges trace --json tr/docker -- sh -c 'mount -t tmpfs none /mnt; chown 5 /mnt; head -c 1 /dev/urandom >/dev/null; date -s 0; umount /mnt' >"$t/o" 2>"$t/err"
	jq -e '.exit == 0' "$t/o"
	jq -e '.devices == ["/dev/null w", "/dev/urandom r"]' "$t/o"
	jq -e '.syscalls.mount == 1 and .syscalls.umount2 == 1' "$t/o"
	jq -e '.refused.clock_settime == 1' "$t/o"
	jq -e '[.granted[] | select(.what == "keyctl")][0].used == false' "$t/o"
	# where the kernel records capability checks
	if jq -e '.capabilities' "$t/o"; then
		jq -e '.capabilities | any(.capability == "CAP_SYS_ADMIN" and .used > 0 and (.by | index("mount")))' "$t/o"
		jq -e '.capabilities | any(.capability == "CAP_CHOWN" and .used > 0)' "$t/o"
		jq -e '.capabilities | all(.capability != "CAP_NET_ADMIN")' "$t/o"
		jq -e '[.granted[] | select(.what == "CAP_SYS_ADMIN")][0].used' "$t/o"
		jq -e '[.granted[] | select(.what == "CAP_NET_ADMIN")][0].used == false' "$t/o"
	fi
	# a layer further in, as a user, and the command's own exit code
	run -7 "$dink" privileges trace -u nobody tr/docker/inner -- sh -c 'chown root /tmp; exit 7'
	[[ "$output" == *"refused     fchownat"* ]]
	# an interrupt ends it, and nothing of it stays
	"$dink" privileges trace tr/docker -- sleep 60 >/dev/null 2>&1 3>&- &
	local pid=$!
	sleep 2
	kill -INT "$pid"
	run ! wait "$pid"
	# the inner layer's own is not the one
	run "$dink" exec tr/docker -- pgrep -fx "sleep 60"
	[ "$status" -eq 1 ]
	"$dink" down -q --volumes tr
	no_residue trace
}

@test "trace of a layer in a guest is refused with the reason" {
	printf 'dink: 1\nname: g\nlayers:\n  v: {image: debian, runtime: dink-vm, command: [sleep, infinity]}\n' >"$t/g.yaml"
	"$dink" up -q "$t/g.yaml"
	run -4 "$dink" privileges trace g/v -- true
	[[ "$output" == *"what happens there is not seen from here"* ]]
	"$dink" down -q g
}

@test "what --oci prints is what runc does" {
	"$dink" privileges explain -q --oci "$scenario/docker" >"$t/part.json"
	mkdir -p "$t/b/rootfs/proc" "$t/b/rootfs/bin"
	cp /bin/busybox "$t/b/rootfs/bin/busybox"
	(cd "$t/b" && runc spec)
	jq -s '.[0] as $c | .[1] as $p | $c
		| .process.terminal = false | .process.capabilities = $p.process.capabilities
		| .process.args = ["/bin/busybox", "sh", "-c", "/bin/busybox cat /proc/self/status; /bin/busybox cat /proc/mounts; /bin/busybox cat /proc/sys/net/ipv4/ip_forward"]
		| .mounts += $p.mounts | .linux.seccomp = $p.linux.seccomp | .linux.sysctl = $p.linux.sysctl
		| .linux.maskedPaths = $p.linux.maskedPaths | .linux.readonlyPaths = $p.linux.readonlyPaths' \
		"$t/b/config.json" "$t/part.json" >"$t/b/new.json"
	mv "$t/b/new.json" "$t/b/config.json"
	run -0 runc --root "$t/r" run -b "$t/b" "oci-$$"
	echo "$output"
	# fourteen default capabilities, CAP_NET_ADMIN (12) and CAP_SYS_ADMIN (21)
	[[ "$output" == *"CapBnd:"*"00000000a82435fb"* ]]
	[[ "$output" == *"Seccomp:"*"2"* ]]
	[[ "$output" == *" /run tmpfs "* ]]
	[[ "$output" == *" /proc/sys proc ro,"* ]]
	[ "$(printf '%s\n' "$output" | tail -n 1)" = 1 ]
}
