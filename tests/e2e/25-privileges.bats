#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Each grant is proved: with the computed set a layer runs a daemon, containers and VMs; with any
# one grant taken away something fails, and it fails with the words that docs/privileges.md has.
#
# A dockerd of its own (no bridge, no iptables rules outside), the docker-host image from the cache.

load grants

setup_file() {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	cd "$BATS_TEST_DIRNAME/../.." || exit 1
	local t=$BATS_FILE_TMPDIR
	grants_dockerd docker-host
	export DOCKER_HOST=unix://$t/docker.sock
	# the grants, one a line, and what the inner container is: one static file
	build/dink privileges explain --quiet --json --facts tests/hosts/debian12-tcg.json \
		scenarios/docker-in-kata.yaml/proxy >"$t/grants.json"
	mkdir -p "$t/give" "$t/tiny"
	cp /usr/bin/tini-static "$t/tiny/tini"
	tar -C "$t/tiny" -cf "$t/give/tiny.tar" tini
	profile "$t/seccomp.json"
	cat >"$t/give/daemon.sh" <<-'EOF'
		dockerd --host unix:///run/docker.sock --storage-driver overlay2 >/tmp/log 2>&1 &
		p=$!
		while ! docker version >/dev/null 2>&1; do
		    kill -0 $p 2>/dev/null || { tail -n 3 /tmp/log; exit 1; }
		    sleep 0.1
		done
		docker import /give/tiny.tar tiny >/dev/null && docker run --rm tiny /tini --version
		code=$?
		kill $p; wait $p
		exit $code
	EOF
	cat >"$t/give/vm.sh" <<-'EOF'
		set -e
		ip link set lo up
		ip link add eth0 type veth peer name peer0
		ip tuntap add dev tap0 mode tap
		for pair in "eth0 tap0" "tap0 eth0"; do
		    set -- $pair
		    ip link set $1 up
		    tc qdisc add dev $1 ingress
		    tc filter add dev $1 parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev $2
		done
		/usr/lib/qemu/virtiofsd --socket-path=/run/vfs.sock -o source=/give --rlimit-nofile=0 >/tmp/vfs 2>&1 &
		while ! [ -S /run/vfs.sock ]; do sleep 0.1; done
		# stopped at once by QMP: that the devices come up is what takes the grants
		(sleep 0.5; echo '{"execute":"qmp_capabilities"}'; echo '{"execute":"quit"}'; sleep 2) |
		    timeout 20 qemu-system-x86_64 -S -machine q35,memory-backend=m \
		        -object memory-backend-memfd,id=m,size=64M,share=on -m 64M -accel tcg -nodefaults -display none \
		        -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny \
		        -chardev socket,id=c,path=/run/vfs.sock -device vhost-user-fs-pci,chardev=c,tag=t \
		        -netdev tap,id=n,ifname=tap0,script=no,downscript=no -device virtio-net-pci,netdev=n,romfile= \
		        -qmp stdio >/tmp/qemu 2>&1 || { tail -n 2 /tmp/qemu /tmp/vfs; exit 1; }
		echo vm-ok
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

# The profile as the layer gets it; with an argument more, without the call named.
profile() {
	build/dink privileges explain --quiet --seccomp --facts tests/hosts/debian12-tcg.json \
		scenarios/docker-in-kata.yaml/proxy |
		jq --arg without "${2:-}" '.syscalls |= map(.names -= [$without])' >"$1"
}

# The docker run options of the set without the one grant named.
flags() {
	local without=$1 kind what seccomp=$t/seccomp.json
	opts=(--network none --cgroupns private -v "$t/give:/give:ro")
	while IFS=$'\t' read -r kind what; do
		[ "$what" != "$without" ] || continue
		add_grant "$kind" "$what"
	done < <(jq -r '.[0].grants[] | [.kind, .what] | @tsv' "$t/grants.json")
	case $without in
	keyctl | pivot_root)
		profile "$BATS_TEST_TMPDIR/seccomp.json" "$without"
		seccomp=$BATS_TEST_TMPDIR/seccomp.json
		;;
	net.ipv4.ip_forward=1) opts+=(--sysctl net.ipv4.ip_forward=0) ;;
	esac
	opts+=(--security-opt "seccomp=$seccomp")
}

daemon_without() {
	flags "$1"
	run docker run --rm "${opts[@]}" docker-host /usr/local/sbin/layer-init sh /give/daemon.sh
}

vm_without() {
	flags "$1"
	run docker run --rm "${opts[@]}" docker-host unshare --net --pid --fork --mount-proc sh /give/vm.sh
}

fails_with() {
	echo "$output"
	[ "$status" -ne 0 ]
	[[ "$output" == *"$1"* ]]
}

@test "the computed set runs a daemon and a container in it" {
	daemon_without nothing
	echo "$output"
	[ "$status" -eq 0 ]
	[[ "$output" == *"tini version"* ]]
}

@test "the computed set starts QEMU with a tap and virtiofsd" {
	vm_without nothing
	echo "$output"
	[ "$status" -eq 0 ]
	[[ "$output" == *"vm-ok"* ]]
}

@test "without CAP_NET_ADMIN the daemon has no network" {
	daemon_without CAP_NET_ADMIN
	fails_with "Error initializing network controller"
}

@test "without CAP_SYS_ADMIN the layer's cgroups stay read-only" {
	daemon_without CAP_SYS_ADMIN
	fails_with "CAP_SYS_ADMIN"
}

@test "without keyctl no container starts" {
	daemon_without keyctl
	fails_with "unable to create session key"
}

@test "without pivot_root no container starts" {
	daemon_without pivot_root
	fails_with "pivot_root"
}

@test "without its own volume the daemon has no storage driver" {
	daemon_without "volume /var/lib/docker"
	fails_with "error initializing graphdriver"
}

@test "without ip_forward the daemon does not start" {
	daemon_without net.ipv4.ip_forward=1
	fails_with "Enabling IP forwarding failed"
}

@test "without /dev/net/tun a VM has no network card" {
	vm_without "/dev/net/tun rw"
	fails_with "No such file or directory"
}

@test "without CAP_NET_ADMIN a VM has no network card" {
	vm_without CAP_NET_ADMIN
	fails_with "Operation not permitted"
}

@test "without CAP_SYS_ADMIN a VM has no namespaces of its own" {
	vm_without CAP_SYS_ADMIN
	fails_with "unshare"
}

@test "without pivot_root virtiofsd cannot shut itself in" {
	vm_without pivot_root
	fails_with "pivot_root"
}

# A killed daemon leaves pid files; if their number lives again in the restarted layer, which is a
# matter of luck, the next one takes itself for the second. Here the number is one that surely lives.
killed_daemon_starts_again() {
	local id code=0
	id=$(docker run -d "${opts[@]}" docker-host /usr/bin/tini -- /usr/local/sbin/layer-init \
		dockerd --host unix:///run/docker.sock --storage-driver overlay2)
	answers "$id" 100
	docker exec "$id" sh -c 'echo 1 >/run/docker.pid'
	docker kill -s KILL "$id" >/dev/null
	docker start "$id" >/dev/null
	answers "$id" "$1" || code=$?
	docker logs "$id" 2>&1 | tail -n 3
	docker rm -fv "$id" >/dev/null
	return "$code"
}

answers() {
	for _ in $(seq "$2"); do
		if docker exec "$1" docker version >/dev/null 2>&1; then return 0; fi
		sleep 0.2
	done
	return 1
}

@test "a killed daemon starts again" {
	flags nothing
	killed_daemon_starts_again 60
}

@test "without a tmpfs on /run a killed daemon does not start again" {
	flags "tmpfs /run"
	run killed_daemon_starts_again 20
	[ "$status" -ne 0 ]
	[[ $output == *"pid file found, ensure docker is not running or delete /var/run/docker.pid"* ]]
}

@test "the profile that dink makes is one that this engine takes" {
	[ "$(jq -r .defaultAction "$t/seccomp.json")" = SCMP_ACT_ERRNO ]
	docker run --rm --network none --security-opt "seccomp=$t/seccomp.json" docker-host true
}
