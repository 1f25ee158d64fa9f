#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The main job as a user sees it: host -> proxy (runc) -> kata (a VM with our kernel, btrfs) -> inner
# (runc). One `up` for the file, every test uses it, `down` at the end; nothing is left. Needs root,
# dockerd, QEMU; TCG is enough. The kernel and images come from the shared cache.

bats_require_minimum_version 1.5.0

name=docker-in-kata
layers=("$name/proxy" "$name/proxy/kata" "$name/proxy/kata/inner")

missing() {
	[ "$(id -u)" -eq 0 ] || { echo "needs root" && return; }
	for p in dockerd docker qemu-system-x86_64 jq python3; do
		command -v "$p" >/dev/null || { echo "needs $p" && return; }
	done
}

setup_file() {
	local why
	cd "$BATS_TEST_DIRNAME/../.." || return
	why=$(missing)
	[ -z "$why" ] || skip "$why"
	# bats' own folder may be long; a socket's name may not
	T=$(mktemp -d /tmp/dink-e2e.XXXXXX)
	export T DINK=${DINK:-$PWD/build/dink} scenario=$PWD/scenarios/$name.yaml NO_COLOR=1
	export DINK_STATE_DIR=$T/state DINK_RUN_DIR=$T/run
	unset DOCKER_HOST DOCKER_CONTEXT
	mkdir -p "$T/run"
	# what the host can do was found out once for this boot
	if [ -e /run/dink/kvm-probe.json ]; then cp /run/dink/kvm-probe.json "$T/run/"; fi
	"$DINK" up --timings --shell "$scenario" </dev/null >"$T/up" 2>"$T/up.err"
	"$DINK" status --proof --json "$name" >"$T/proof"
}

teardown_file() {
	local left=0
	[ -n "${T:-}" ] || return 0
	if [ -d "$DINK_STATE_DIR/instances/$name" ]; then
		"$DINK" down -q --wait --volumes "$name" || left=1
	fi
	residue || left=1
	rm -rf "$T"
	return "$left"
}

# What may be left nowhere once the instance is down.
residue() {
	local left
	left=$(
		pgrep -af "$T"
		losetup -a | grep -F "$T"
		grep -F "$T" /proc/self/mounts
		find "$DINK_RUN_DIR" -mindepth 1 -maxdepth 1 '(' -name "$name" -o -name engine ')'
	)
	[ -z "$left" ] || { printf 'left behind:\n%s\n' "$left" && return 1; }
}

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	proxy=unix://$DINK_RUN_DIR/$name/proxy.sock
	kata=unix://$DINK_RUN_DIR/$name/proxy.kata.sock
}

dx() { "$DINK" exec "$@"; }

# of LAYER KEY: one word of the proof
of() { jq -r --arg l "$1" --arg k "$2" '.[] | select(.layer == $l) | .[$k]' "$T/proof"; }

@test "up --shell without a terminal prints the proof of each level and the ways in" {
	for l in host "${layers[@]}"; do grep -qx "$l" "$T/up"; done
	[ "$(grep -c '^  kernel ' "$T/up")" -eq 4 ]
	for l in "${layers[@]}"; do grep -qx "  ${DINK#"$PWD"/} shell $l" "$T/up"; done
	grep -qx "  ${DINK#"$PWD"/} exec $name/proxy/kata/inner -- cat /etc/os-release" "$T/up"
	grep -qx "  DOCKER_HOST=$kata docker ps" "$T/up"
	grep -qx "To end it: ${DINK#"$PWD"/} down $name" "$T/up"
	grep -q "in all (steps overlap)" "$T/up"
}

@test "three levels that are what they say" {
	local host
	host=$(uname -r)
	[ "$(of host kernel)" = "$host" ]
	[ "$(of "$name/proxy" kernel)" = "$host" ]
	# a kernel of ours, not the host's, and the container in it has the same
	[[ $(of "$name/proxy/kata" kernel) =~ ^[0-9.]+-dink ]]
	[ "$(of "$name/proxy/kata" kernel)" != "$host" ]
	[ "$(of "$name/proxy/kata/inner" kernel)" = "$(of "$name/proxy/kata" kernel)" ]
	for l in "${layers[@]}"; do [ "$(of "$l" hostname)" = "${l##*/}" ]; done
	[ "$(of "$name/proxy" pid1)" = tini ]
	[ "$(of "$name/proxy/kata" pid1)" = tini ]
	[ "$(of "$name/proxy/kata/inner" pid1)" = bash ]
	[ "$(of "$name/proxy/kata" cgroup)" = v2 ]
	[ "$(of "$name/proxy/kata/inner" cgroup)" = v2 ]
	[ "$(of "$name/proxy" storage_driver)" = overlay2 ]
	[ "$(of "$name/proxy/kata" storage_driver)" = btrfs ]
	[[ $(of "$name/proxy/kata" engine) == *"1 containers, cgroup v2"* ]]
	# the guest has what was asked for
	[ "$(dx "$name/proxy/kata" -- nproc)" -eq 2 ]
	run -0 dx "$name/proxy/kata" -- sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo
	[ "$output" -gt 1900000 ]
	[ "$output" -lt 2300000 ]
}

@test "the disk: btrfs by name, compressed as asked, mounted by the guest only" {
	run -0 dx "$name/proxy/kata" -- grep ' /var/lib/docker btrfs ' /proc/mounts
	[[ $output == *compress=zstd* ]]
	run -0 dx "$name/proxy/kata" -- sh -c 'tr "\0" " " </proc/1/cmdline'
	[[ $output == *"--storage-driver btrfs "* ]]
	run -0 blkid -o value -s TYPE -s LABEL "$DINK_STATE_DIR/instances/$name/disks/store.img"
	[ "$(sort <<<"$output")" = $'btrfs\nstore' ]
	[ "$(stat -c %s "$DINK_STATE_DIR/instances/$name/disks/store.img")" -eq $((10 << 30)) ]
	# neither by a loop device nor in any mount namespace of this host
	run ! grep -F "$T" <(losetup -a)
	run ! grep -hs ' /var/lib/docker .* - btrfs ' /proc/[0-9]*/mountinfo
}

@test "exec: output, both streams apart, and a pipe's end" {
	run -0 --separate-stderr dx "$name/proxy/kata/inner" -- cat /etc/os-release
	[[ $output == *'PRETTY_NAME="Debian'* ]]
	[ -z "$stderr" ]
	for l in "${layers[@]}"; do
		run -7 --separate-stderr dx "$l" -- sh -c 'echo out; echo err >&2; exit 7'
		[ "$output" = out ]
		[ "$stderr" = err ]
		# no -i: the command has no stdin to wait for, and a loop around it keeps its own
		[ "$(printf 'a\nb\n' | while read -r w; do dx "$l" -- echo "$w"; done)" = $'a\nb' ]
	done
}

@test "exec: exit codes 0 1 7 126 127 128+n at every depth" {
	for l in "${layers[@]}"; do
		run -0 dx "$l" -- true
		run -1 dx "$l" -- false
		run -126 --separate-stderr dx "$l" -- /etc/passwd
		[ -z "$output" ]
		[[ $stderr == *"permission denied"* ]]
		run -127 --separate-stderr dx "$l" -- no-such-program
		[ -z "$output" ]
		[[ $stderr == *no-such-program*"not found"* ]]
		run -127 --separate-stderr dx "$l" -- /no/such/program
		[ -z "$output" ]
		run -137 dx "$l" -- sh -c 'kill -KILL $$'
		run -143 dx "$l" -- sh -c 'kill -TERM $$'
	done
	run -125 dx "$name/proxy/kata/iner" -- true
	[[ $output == *"inner"* ]]
	run -126 dx -w /no/such/dir "$name/proxy" -- true
}

@test "exec: stdin to its end, 8 MiB each way, at every depth" {
	local sum
	head -c 8388608 /dev/urandom >"$T/random"
	sum=$(sha256sum <"$T/random")
	tar -cf "$T/docs.tar" docs
	for l in "${layers[@]}"; do
		[ "$(dx -i "$l" -- sha256sum <"$T/random")" = "$sum" ]
		[ "$(dx -i "$l" -- cat <"$T/random" | sha256sum)" = "$sum" ]
		[ "$(dx -i "$l" -- tar t <"$T/docs.tar")" = "$(tar tf "$T/docs.tar")" ]
	done
}

@test "exec: environment, folder, user" {
	for l in "${layers[@]}"; do
		# shellcheck disable=SC2016
		run -0 env PASSED=on "$DINK" exec -e A=1 -e PASSED -w /usr/bin -u nobody "$l" -- \
			sh -c 'echo "$A $PASSED $PWD $(id -un)"'
		[ "$output" = "1 on /usr/bin nobody" ]
		# what is for dink-vm alone does not get there
		run ! dx "$l" -- printenv DINK_DISK_OPTIONS
	done
}

@test "exec: a terminal only where there is one, or where -t asks" {
	for l in "${layers[@]}"; do
		run dx "$l" -- tty
		[ "$output" = "not a tty" ]
		run -0 dx -t "$l" -- tty
		[[ $output == /dev/* ]]
	done
}

@test "shell on a terminal: root, size, SIGWINCH, ctrl-C, exit code, modes restored" {
	for l in "${layers[@]}"; do
		run -6 python3 tests/e2e/tools/on-a-tty.py "$DINK" shell "$l"
		[[ $output == *"root@${l##*/}:"* ]]
		[[ $output == *"on=/dev/pts/"*" uid=0"* ]]
		[[ $output == *"33 101"* ]]
		[[ $output == *"44 122"* ]]
		[[ $output == *"int=130"* ]]
		[[ $output == *"mode restored"* ]]
	done
}

@test "a signal to dink exec ends the command inside, at every depth" {
	for l in "${layers[@]}"; do
		"$DINK" exec "$l" -- sh -c 'echo ready; exec sleep 4321' >"$T/signal" 3>&- &
		pid=$!
		for ((i = 0; i < 300; i++)); do [ ! -s "$T/signal" ] || break; sleep 0.1; done
		kill -TERM "$pid"
		status=0
		wait "$pid" || status=$?
		[ "$status" -eq 143 ]
		run ! dx "$l" -- sh -c 'cat /proc/[0-9]*/cmdline | grep -a "[4]321"'
	done
}

@test "up --shell on a terminal ends at a root prompt; a second up does nothing; all stays up" {
	before=$("$DINK" status --json "$name")
	TTY_WAIT=60 run -0 python3 tests/e2e/tools/on-a-tty.py "$DINK" up --shell "$scenario"
	[[ $output == *"root@inner:"* ]]
	[[ $output == *"uid=0"* ]]
	[[ $output == *"$name stays up."*"To end it: ${DINK#"$PWD"/} down $name"* ]]
	[[ $output == *"mode restored"* ]]
	run -0 --separate-stderr "$DINK" up --json "$scenario"
	[ "$(jq '[.steps[] | select(.was_there | not) | select(.step != "up")] | length' <<<"$output")" = 0 ]
	[ "$before" = "$("$DINK" status --json "$name")" ]
}

@test "status says it all" {
	run -0 --separate-stderr "$DINK" status --json
	[ "$(jq -r '.[0] | .name + " " + .state' <<<"$output")" = "$name up" ]
	[ "$(jq -r '.[0].layers | map(.layer) | join(" ")' <<<"$output")" = "${layers[*]}" ]
	[ "$(jq -r '.[0].layers | map(.state) | unique | join(" ")' <<<"$output")" = running ]
	[ "$(jq -r '.[0].layers | map(.runtime) | join(" ")' <<<"$output")" = "runc dink-vm runc" ]
	[ "$(jq -r '.[0].disks[0]' <<<"$output")" = "$DINK_STATE_DIR/instances/$name/disks/store.img" ]
}

@test "cp both ways, a file and a folder, at every depth and between two" {
	mkdir -p "$T/src/sub"
	echo one >"$T/src/a" && echo two >"$T/src/sub/b" && ln -s a "$T/src/link"
	head -c 3000000 /dev/urandom >"$T/src/sub/big" && chmod 750 "$T/src/sub"
	for l in "${layers[@]}"; do
		rm -rf "$T/out" && mkdir "$T/out"
		run -0 "$DINK" cp "$T/src" "$l:/root/"
		run -0 "$DINK" cp "$T/src/a" "$l:/root/named"
		run -0 "$DINK" cp "$l:/root/src" "$T/out/"
		run -0 "$DINK" cp "$l:/root/named" "$T/out/x"
		diff -r "$T/src" "$T/out/src"
		[ "$(cat "$T/out/x")" = one ]
		[ "$(readlink "$T/out/src/link")" = a ]
		[ "$(stat -c %a "$T/out/src/sub")" = 750 ]
		run ! "$DINK" cp "$l:/no/such" "$T/out/"
		[[ $output == *"/no/such"* ]]
	done
	run -0 "$DINK" cp "$name/proxy:/root/src/sub/big" "$name/proxy/kata/inner:/tmp/big"
	[ "$(dx "$name/proxy/kata/inner" -- sha256sum </dev/null /tmp/big | cut -d' ' -f1)" = \
		"$(sha256sum "$T/src/sub/big" | cut -d' ' -f1)" ]
}

@test "env: the user's own docker client at both daemons" {
	eval "$("$DINK" env "$name/proxy")"
	[ "$DOCKER_HOST" = "$proxy" ]
	[ "$(docker ps --format '{{.Names}}')" = "$name.proxy.kata" ]
	eval "$("$DINK" env "$name/proxy/kata")"
	[ "$DOCKER_HOST" = "$kata" ]
	[ "$(docker ps --format '{{.Names}}')" = "$name.proxy.kata.inner" ]
	[ "$(stat -c '%a %U' "${proxy#unix://}" "${kata#unix://}" | sort -u)" = "600 root" ]
	[ "$(docker info --format '{{.Driver}} {{.CgroupVersion}} {{.KernelVersion}}')" = \
		"btrfs 2 $(of "$name/proxy/kata" kernel)" ]

	run -4 --separate-stderr docker run --rm debian sh -c 'echo out; echo err >&2; exit 4'
	[ "$output" = out ]
	[ "$stderr" = err ]
	[ "$(echo through | docker run --rm -i debian cat)" = through ]
	docker run -d --name noted debian sh -c 'echo one; sleep 1; echo two' >/dev/null
	[ "$(docker logs -f noted)" = $'one\ntwo' ]
	docker rm -f noted >/dev/null
	TTY_WAIT=30 run -6 python3 tests/e2e/tools/on-a-tty.py "$(command -v docker)" exec -it \
		"$name.proxy.kata.inner" bash
	# that client gives up on the first size where a guest is slow; the next one it sends
	[[ $output == *"44 122"*"int=130"*"mode restored"* ]] || { echo "$output" && false; }
	eval "$("$DINK" env --unset)"
	[ -z "${DOCKER_HOST:-}" ]
	run -125 "$DINK" exec "$name/nowhere" -- true
	run -2 "$DINK" env "$name/proxy/kata/inner"
	[[ $output == *"has no daemon"* ]]
}

@test "a fresh image in the guest: imported, built, loaded from here, and run" {
	run -0 dx "$name/proxy/kata" -- sh -c 'mkdir -p /tmp/ctx && cd /tmp/ctx &&
		tar -C / -c bin sbin lib lib64 usr/bin/cat usr/bin/env usr/bin/bash usr/bin/dash \
			usr/bin/sh usr/lib/x86_64-linux-gnu/libc.so.6 usr/lib64 \
			usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 \
			usr/lib/x86_64-linux-gnu/libtinfo.so.6 | docker import - imported:1 &&
		docker run --rm imported:1 sh -c "echo imported runs"'
	[[ $output == *"imported runs" ]]
	run -0 dx -i "$name/proxy/kata" -- docker build -q -t built:1 - <<-'END'
	FROM debian
	RUN echo made here >/made
	CMD ["cat", "/made"]
	END
	run -0 dx "$name/proxy/kata" -- docker run --rm built:1
	[ "$output" = "made here" ]
	# out of one daemon, through this host's pipe, into another
	run -0 env DOCKER_HOST="$kata" docker save -o "$T/built.tar" built:1
	run -0 dx "$name/proxy/kata" -- docker rmi built:1
	run -0 --separate-stderr "$DINK" image copy "docker-archive:$T/built.tar" "$name/proxy/kata" --json
	# its base is there and stays at home
	[ "$(jq -r '.targets[0] | "\(.result) \(.layers_sent) \(.layers_had)"' <<<"$output")" = "copied 1 1" ]
	[ "$(jq .targets[0].sent_bytes <<<"$output")" -lt 1000000 ]
	run -0 dx "$name/proxy/kata" -- docker run --rm built:1
	[ "$output" = "made here" ]
	# from the guest's daemon into the one around it
	run -0 --separate-stderr "$DINK" image copy "$name/proxy/kata:imported:1" "$name/proxy" --json
	id=$(jq -r .id <<<"$output")
	[ "$(docker -H "$proxy" image inspect --format '{{.Id}}' imported:1)" = "$id" ]
}

@test "logs: the daemon's words, followed, the last lines" {
	run -0 "$DINK" logs "$name/proxy/kata"
	[[ $output == *"API listen on /run/docker.sock"* ]]
	run -0 "$DINK" logs --tail 1 "$name/proxy"
	[ "${#lines[@]}" -eq 1 ]
	"$DINK" logs -f --tail 0 "$name/proxy" >"$T/follow" 2>&1 3>&- &
	pid=$!
	sleep 1
	# dockerd logs what it cannot run
	run -127 dx "$name/proxy" -- no-such-program
	DOCKER_HOST=$proxy run docker exec "$name.proxy.kata" no-such-program
	for ((i = 0; i < 100; i++)); do ! grep -q no-such-program "$T/follow" || break; sleep 0.1; done
	kill -INT "$pid"
	status=0
	wait "$pid" || status=$?
	[ "$status" -eq 130 ]
	grep -q no-such-program "$T/follow"
}

@test "no layer is privileged, each has seccomp and the capabilities that were explained" {
	local l want engine
	"$DINK" privileges explain --json "$scenario" >"$T/explain"
	for l in "${layers[@]}"; do
		case $l in
		*/inner) engine=$kata ;;
		*/kata) engine=$proxy ;;
		*) engine=unix://$DINK_RUN_DIR/engine/docker.sock ;;
		esac
		DOCKER_HOST=$engine docker inspect "${l//\//.}" >"$T/inspect"
		[ "$(jq '.[0].HostConfig.Privileged' "$T/inspect")" = false ]
		[ "$(jq -r '.[0].HostConfig.CgroupnsMode' "$T/inspect")" = private ]
		[ "$(jq '[.[0].HostConfig.SecurityOpt // [] | .[] | select(test("unconfined"))] | length' \
			"$T/inspect")" = 0 ]
		[ "$(jq '[.[0].Mounts[] | select(.Source == "/sys/fs/cgroup")] | length' "$T/inspect")" = 0 ]
		run -0 dx "$l" -- sed -n 's/^Seccomp:\t//p' /proc/self/status
		[ "$output" = 2 ]
		# the engine's default set, and what was explained beyond it: nothing more
		want=$(capabilities "$l")
		[ "$(dx "$l" -- sed -n 's/^CapBnd:\t//p' /proc/self/status)" = "$want" ]
		[ "$(dx "$l" -- sed -n 's/^CapEff:\t//p' /proc/self/status)" = "$want" ]
	done
	# what is not granted is not there
	run ! dx "$name/proxy/kata/inner" -- mount -t tmpfs none /mnt
}

# The mask of docker's default set and of what `privileges explain` grants to layer $1.
capabilities() {
	jq -r --arg l "$1" '.. | objects | select(.layer? == $l) | .grants[]? |
		select(.kind == "capability") | .what' "$T/explain" >"$T/granted"
	python3 - "$T/granted" <<-'END'
	import sys
	bits = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3, "CAP_FSETID": 4, "CAP_KILL": 5,
	        "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_SETPCAP": 8, "CAP_NET_BIND_SERVICE": 10,
	        "CAP_NET_RAW": 13, "CAP_SYS_CHROOT": 18, "CAP_MKNOD": 27, "CAP_AUDIT_WRITE": 29,
	        "CAP_SETFCAP": 31}
	more = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
	mask = sum(1 << b for b in bits.values())
	for word in open(sys.argv[1]).read().split():
	    mask |= 1 << more[word]
	print(f"{mask:016x}")
	END
}

# Last, since it takes everything down and up again.
@test "data survives down and up; the image is not loaded again; --volumes removes it" {
	env DOCKER_HOST="$kata" docker volume create marker
	env DOCKER_HOST="$kata" docker run --rm -v marker:/m debian sh -c 'echo kept >/m/file'
	run -0 "$DINK" down "$name"
	residue
	[ -f "$DINK_STATE_DIR/instances/$name/disks/store.img" ]
	run -0 --separate-stderr "$DINK" status --json
	[ "$(jq -r '.[0].state' <<<"$output")" = down ]

	run -0 --separate-stderr "$DINK" up --json "$scenario"
	ms=$(jq '.steps[] | select(.text == "image debian into docker-in-kata/proxy/kata") | .ms' <<<"$output")
	[ "$ms" -lt 3000 ]
	run -0 env DOCKER_HOST="$kata" docker run --rm -v marker:/m debian cat /m/file
	[ "$output" = kept ]
	run -0 dx "$name/proxy/kata/inner" -- true

	# without the scenario file: the instance knows
	cd /
	run -0 "$DINK" down --volumes "$name"
	residue
	[ ! -e "$DINK_STATE_DIR/instances/$name" ]
	run -0 "$DINK" status
	[ "$output" = "nothing is up" ]
}
