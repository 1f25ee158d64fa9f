#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The rest of 25-privileges.bats: each grant of the needs that a layer declares, of Podman as its
# daemon, and what the shorter file proves only together with another. With all grants it works;
# without the one it fails with the words that docs/privileges.md has. tests/proofs lists them.

bats_require_minimum_version 1.5.0
load ../e2e/grants

setup_file() {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	cd "$BATS_TEST_DIRNAME/../.." || exit 1
	local t=$BATS_FILE_TMPDIR
	grants_dockerd tests/slow/images/nested
	# what layers see: a folder without mounts of the engine's in it, for a whole /proc among
	# them would be as good as the grant
	mkdir -p "$t/give"
	cp /bin/busybox images/docker-host/files/usr/local/sbin/layer-init "$t/give"
	cp -R images/docker-host/files/usr/local/lib/iptables "$t/give/iptables"
	programs "$t/give"
}

# The programs that layers run; $OPTS are those of the inner `run`.
programs() {
	cat >"$1/user.sh" <<-'EOF'
		chmod u-s /usr/bin/newuidmap /usr/bin/newgidmap
		setcap cap_setuid=ep /usr/bin/newuidmap
		setcap cap_setgid=ep /usr/bin/newgidmap
		useradd -m -u 1000 user 2>/dev/null
		exec su user -c '
			cd
			export XDG_RUNTIME_DIR=/tmp/run-user
			mkdir -p -m 700 $XDG_RUNTIME_DIR
			P="podman --runtime ${RUNTIME:-runc} --storage-driver ${DRIVER:-vfs} $GLOBAL"
			tar -C /give -cf - busybox | $P import - tiny >/dev/null || exit 1
			exec $P run --rm $OPTS tiny /busybox echo inner-ok
		'
	EOF
	cat >"$1/runsc.sh" <<-'EOF'
		mkdir -p /etc/docker
		echo '{"runtimes":{"runsc":{"path":"/usr/bin/runsc","runtimeArgs":["--platform=ptrace","--network=none"]}}}' >/etc/docker/daemon.json
		dockerd --host unix:///run/docker.sock --storage-driver overlay2 >/tmp/log 2>&1 &
		while ! docker version >/dev/null 2>&1; do
		    kill -0 $! || { tail -n 3 /tmp/log; exit 1; }
		    sleep 0.1
		done
		tar -C /give -cf - busybox | docker import - tiny >/dev/null
		docker run --runtime runsc --rm tiny /busybox dmesg
	EOF
	cat >"$1/podman.sh" <<-'EOF'
		printf '[containers]\ndefault_sysctls=[]\ndefault_ulimits=["nofile=1024:1024","nproc=1024:1024"]\n' >/etc/containers/containers.conf
		P="podman --runtime runc --storage-driver overlay"
		tar -C /give -cf - busybox | $P import - tiny >/dev/null || exit 1
		exec $P run --rm $OPTS tiny /busybox echo inner-ok
	EOF
	cat >"$1/bundle.sh" <<-'EOF'
		mkdir -p /run/b/rootfs
		cp /give/busybox /run/b/rootfs
		cd /run/b
		runc spec
		sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"\/busybox", "true"/' config.json
		# where there are no cgroups to be made it goes on without
		runc --rootless=true --root /run/r run x && echo inner-ok
	EOF
}

teardown_file() {
	grants_dockerd_end
}

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || exit 1
	t=$BATS_FILE_TMPDIR
	export DOCKER_HOST=unix://$t/docker.sock
}

explain() {
	build/dink privileges explain --quiet --facts tests/hosts/debian12-tcg.json "$@" "$BATS_TEST_TMPDIR/s.yaml/box"
}

# layer LINE WITHOUT: the docker run options of a layer with this line of the scenario, without the
# grant named ("KIND WHAT"; "" leaves none out).
layer() {
	local kind what without=()
	printf 'dink: 1\nname: s\nlayers:\n  box: {image: debian, %s}\n' "$1" >"$BATS_TEST_TMPDIR/s.yaml"
	[ -z "$2" ] || without=(--without "$2")
	explain "${without[@]}" --json >"$BATS_TEST_TMPDIR/grants.json"
	opts=(--network none --cgroupns private -v "$t/give:/give:ro"
		-v "$t/give/layer-init:/usr/local/sbin/layer-init:ro" -v "$t/give/iptables:/usr/local/lib/iptables:ro")
	while IFS=$'\t' read -r kind what; do
		add_grant "$kind" "$what"
	done < <(jq -r '.[0].grants[] | [.kind, .what] | @tsv' "$BATS_TEST_TMPDIR/grants.json")
	case $2 in
	sysctl*) opts+=(--sysctl "${2#sysctl }"); opts[-1]=${opts[-1]%=*}=0 ;;
	esac
	# a set without system calls keeps the engine's own profile
	if jq -e '.[0].grants | any(.kind == "syscall")' "$BATS_TEST_TMPDIR/grants.json" >/dev/null; then
		explain "${without[@]}" --seccomp >"$BATS_TEST_TMPDIR/seccomp.json"
		opts+=(--security-opt "seccomp=$BATS_TEST_TMPDIR/seccomp.json")
	fi
}

works() {
	run docker run --rm "${opts[@]}" "$@"
	echo "$output"
	[ "$status" -eq 0 ]
}

# fails WORDS ARG...
fails() {
	local words=$1
	shift
	run ! docker run --rm "${opts[@]}" "$@"
	echo "$output"
	[[ "$output" == *"$words"* ]]
}

# user_fails GRANT WORDS [docker option...]: rootless Podman in a layer without the grant
user_fails() {
	local grant=$1 words=$2
	shift 2
	layer "needs: [rootless-daemon]" "$grant"
	fails "$words" "$@" nested sh /give/user.sh
}

@test "rootless Podman runs a container with its own network in an unprivileged layer" {
	layer "needs: [rootless-daemon]" ""
	works -e DRIVER=overlay nested sh /give/user.sh
	[[ "$output" == *inner-ok* ]]
	# and with crun
	works -e DRIVER=overlay -e RUNTIME=crun nested sh /give/user.sh
	[[ "$output" == *inner-ok* ]]
	# no capability came with it
	run jq -e '.[0].grants | any(.kind == "capability")' "$BATS_TEST_TMPDIR/grants.json"
	[ "$status" -ne 0 ]
}

@test "without clone of namespaces a user's engine does not start" {
	user_fails "syscall clone" "cannot clone: Operation not permitted"
}

@test "without unshare a user's engine unpacks no image" {
	user_fails "syscall unshare" "creating mount namespace before pivot: operation not permitted"
}

@test "without mount a user's engine unpacks no image" {
	user_fails "syscall mount" "operation not permitted"
}

@test "without umount2 a user's engine unpacks no image" {
	user_fails "syscall umount2" "while unmounting old root after pivot: operation not permitted"
}

@test "without pivot_root a user's container has no root" {
	user_fails "syscall pivot_root" "pivot_root" -e OPTS="--network none"
}

@test "without setns a user's engine cannot join its namespace" {
	user_fails "syscall setns" "cannot set user namespace"
}

@test "without sethostname a user's container does not start" {
	user_fails "syscall sethostname" "sethostname: operation not permitted"
}

@test "without keyctl a user's container does not start" {
	user_fails "syscall keyctl" "unable to create session key: operation not permitted"
}

@test "with a masked /proc a user's container gets none of its own" {
	user_fails "unmask /proc" 'error mounting "proc" to rootfs at "/proc"' -e OPTS="--network none"
}

@test "with a masked /proc a user's container that shares pids and network runs" {
	layer "needs: [userns-child]" ""
	works -e OPTS="--pid host --network host" nested sh /give/user.sh
	[[ "$output" == *inner-ok* ]]
}

@test "without /dev/net/tun a user's container has no network card" {
	user_fails "device /dev/net/tun rw" 'open(\"/dev/net/tun\"): No such file or directory'
}

@test "without a volume a user's engine has no overlay" {
	user_fails "mount volume /home" "fuse-overlayfs: cannot mount" -e DRIVER=overlay -e OPTS="--network none"
}

@test "fuse-overlayfs works with /dev/fuse and not without" {
	local g="--storage-opt=overlay.mount_program=/usr/bin/fuse-overlayfs"
	layer "needs: [rootless-daemon, fuse-store]" ""
	works -e GLOBAL=$g -e DRIVER=overlay -e OPTS="--network none" nested sh /give/user.sh
	layer "needs: [rootless-daemon, fuse-store]" "device /dev/fuse rw"
	fails "fuse: device not found" -e GLOBAL=$g -e DRIVER=overlay -e OPTS="--network none" nested sh /give/user.sh
}

@test "gVisor runs a container in a layer, without pivot_root it does not" {
	local line="daemon: docker, layers: {in: {image: debian, runtime: runsc}}"
	layer "$line" ""
	works nested layer-init sh /give/runsc.sh
	[[ "$output" == *"Starting gVisor"* ]]
	layer "$line" "syscall pivot_root"
	fails "cannot create sandbox" nested layer-init sh /give/runsc.sh
}

# Without the daemon around it, which takes the capability as well.
@test "without CAP_SYS_ADMIN gVisor has no sandbox" {
	local try=(runsc --rootless=false --network=none --platform=ptrace --ignore-cgroups "do" /give/busybox echo inner-ok)
	layer "daemon: docker, layers: {in: {image: debian, runtime: runsc}}" ""
	works nested "${try[@]}"
	[[ "$output" == *inner-ok* ]]
	layer "daemon: docker, layers: {in: {image: debian, runtime: runsc}}" "capability CAP_SYS_ADMIN"
	fails "operation not permitted" nested "${try[@]}"
}

@test "without CAP_SYS_ADMIN runc makes no namespaces" {
	layer "daemon: docker" ""
	works nested sh /give/bundle.sh
	[[ "$output" == *inner-ok* ]]
	layer "daemon: docker" "capability CAP_SYS_ADMIN"
	fails "peration not permitted" nested sh /give/bundle.sh
}

@test "without CAP_SYS_ADMIN dockerd has no storage driver" {
	layer "daemon: docker" "capability CAP_SYS_ADMIN"
	fails "driver not supported" nested sh -c 'timeout 30 dockerd --storage-driver overlay2 2>&1'
}

# A bound: without it the layer, which may mount, sees the cgroups of the whole host.
@test "without a private cgroup namespace the layer sees the host's cgroups" {
	local look='mkdir /c && if [ -e /sys/fs/cgroup/cgroup.controllers ]; then mount -t cgroup2 c /c; else mount -t cgroup -o memory c /c; fi; ls /c'
	layer "daemon: docker" ""
	docker run -d --name other --network none nested sleep 60
	works nested sh -c "$look"
	[[ "$output" != *docker* ]]
	opts=("${opts[@]/private/host}")
	run docker run --rm "${opts[@]}" nested sh -c "$look"
	docker rm -f other
	[ "$status" -eq 0 ]
	[[ "$output" == *docker* ]]
}

@test "Podman as the layer's daemon runs a container" {
	layer "daemon: podman" ""
	works nested layer-init sh /give/podman.sh
	[[ "$output" == *inner-ok* ]]
}

@test "without CAP_NET_ADMIN the layer's Podman has no network" {
	layer "daemon: podman" "capability CAP_NET_ADMIN"
	fails "peration not permitted" nested layer-init sh /give/podman.sh
}

@test "without CAP_SYS_ADMIN the layer's Podman takes itself for a user's" {
	# it then does as a user's engine does, and has not what that takes
	layer "daemon: podman" "capability CAP_SYS_ADMIN"
	fails "slirp4netns failed" nested sh /give/podman.sh
}

@test "without its own volume the layer's Podman has no overlay" {
	layer "daemon: podman" "mount volume /var/lib/containers"
	fails "fuse-overlayfs: cannot mount" nested layer-init sh /give/podman.sh
}

@test "without ip_forward the layer's Podman has no network" {
	layer "daemon: podman" "sysctl net.ipv4.ip_forward=1"
	fails "ip_forward" nested layer-init sh /give/podman.sh
}

# The layer's own state outlives its processes: what the killed engine left says there is a container.
@test "without a tmpfs on /run the layer's Podman keeps the state of processes that are gone" {
	layer "daemon: podman" "mount tmpfs /run"
	survives
	layer "daemon: podman" ""
	run survives
	[ "$status" -ne 0 ]
}

survives() {
	local id left=0
	id=$(docker run -d "${opts[@]}" nested layer-init sleep 60)
	docker exec "$id" sh -c 'mkdir -p /run/libpod && echo old >/run/libpod/alive'
	docker kill -s KILL "$id" >/dev/null
	docker start "$id" >/dev/null
	docker exec "$id" test -e /run/libpod/alive || left=1
	docker rm -fv "$id" >/dev/null
	return $left
}

wait_systemd() {
	local state
	for _ in $(seq 100); do
		state=$(docker exec "$1" systemctl is-system-running 2>&1) || state=${state:-none}
		case $state in running | degraded) return 0 ;; esac
		[ "$(docker inspect -f '{{.State.Running}}' "$1")" = true ] || return 1
		sleep 0.2
	done
	return 1
}

@test "systemd as PID 1 runs with writable cgroups, and ends at once without" {
	local id
	layer "needs: [systemd-init]" ""
	id=$(docker run -d "${opts[@]}" -e container=docker nested layer-init /sbin/init)
	wait_systemd "$id"
	[ "$(docker exec "$id" cat /proc/1/comm)" = systemd ]
	docker rm -f "$id"
	layer "needs: [systemd-init]" "capability CAP_SYS_ADMIN"
	id=$(docker run -d "${opts[@]}" -e container=docker nested /sbin/init)
	run wait_systemd "$id"
	docker rm -f "$id"
	[ "$status" -ne 0 ]
}

@test "supervisord as PID 1 needs nothing" {
	local id state=
	layer "needs: [supervisor-init]" ""
	[ "$(jq '.[0].grants | length' "$BATS_TEST_TMPDIR/grants.json")" -eq 0 ]
	printf '[supervisord]\nnodaemon=true\nuser=root\n[program:a]\ncommand=/bin/sleep 60\n[unix_http_server]\nfile=/run/s.sock\n[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n[supervisorctl]\nserverurl=unix:///run/s.sock\n' >"$t/give/sv.conf"
	id=$(docker run -d --network none -v "$t/give:/give:ro" nested supervisord -c /give/sv.conf)
	for _ in $(seq 50); do
		state=$(docker exec "$id" supervisorctl -c /give/sv.conf status 2>&1) || state=${state:-none}
		[[ "$state" != *RUNNING* ]] || break
		sleep 0.2
	done
	docker rm -f "$id"
	[[ "$state" == *RUNNING* ]]
}

@test "strace of another user's process works with CAP_SYS_PTRACE and not without" {
	local other='setpriv --reuid 1000 --clear-groups sleep 5 & sleep 0.3; timeout -s INT 1 strace -p $! 2>&1; true'
	layer "needs: [trace-child]" ""
	works nested sh -c "$other"
	[[ "$output" == *"attached"* ]]
	layer "needs: [trace-child]" "capability CAP_SYS_PTRACE"
	works nested sh -c "$other"
	[[ "$output" == *"ptrace(PTRACE_SEIZE, "*"Operation not permitted"* ]]
	# of its own programs no grant is needed
	works nested strace -o /dev/null /give/busybox echo own-ok
	[[ "$output" == *own-ok* ]]
}

# What a layer that may mount can undo, and the reason for --apparmor.
@test "with CAP_SYS_ADMIN a write-protected path can be remounted, without it cannot" {
	local remount='mount -o remount,bind,rw /proc/sys && test -w /proc/sys/kernel/core_pattern && echo writable'
	layer "daemon: docker" ""
	works nested sh -c "$remount"
	[[ "$output" == *writable* ]]
	layer "needs: [userns-child]" ""
	fails "mount" nested sh -c "$remount"
}

# What explain prints as system calls is what the kernel lets through in such a container.
@test "the number of system calls is that of the filter which the engine installs" {
	local line id want
	cc -std=gnu17 -D_GNU_SOURCE -o "$BATS_TEST_TMPDIR/filter_count" tests/e2e/tools/filter_count.c -lseccomp
	for line in "needs: [supervisor-init]" "needs: [trace-child]" "needs: [systemd-init]" \
		"needs: [rootless-daemon]" "daemon: docker"; do
		layer "$line" ""
		want=$(jq '.[0].score.syscalls' "$BATS_TEST_TMPDIR/grants.json")
		id=$(docker run -d "${opts[@]}" nested sleep 60)
		run "$BATS_TEST_TMPDIR/filter_count" "$(docker inspect -f '{{.State.Pid}}' "$id")"
		docker rm -f "$id" >/dev/null
		echo "$line: $want computed, $output there"
		[ "$output" = "$want" ]
	done
}
