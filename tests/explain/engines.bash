# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What dockerd, containerd below it, podman and a registry's client say; see lib.bash. The dockerds
# have no bridge and no rules outside of a network namespace of their own.

# dockerd_says OPTION... - of one that ends at its start
dockerd_says() {
	apart timeout 25 dockerd --data-root "$T/dd" --exec-root "$T/de" --pidfile "$T/dp" --host "unix://$T/d.sock" \
		--bridge none --iptables=false --storage-driver "${driver:-vfs}" "$@"
}
err_dockerd_ip_forward() {
	outer 'cap("CAP_SYS_ADMIN") | cap("CAP_NET_ADMIN") | .linux.sysctl = {"net.ipv4.ip_forward": "0"}' timeout 25 dockerd --storage-driver vfs --data-root /tmp/d
}
err_dockerd_nat_chain() {
	outer 'cap("CAP_SYS_ADMIN") | .linux.sysctl = {"net.ipv4.ip_forward": "1"}' timeout 25 dockerd --storage-driver vfs --data-root /tmp/d
}
err_dockerd_storage_driver() {
	mkdir -p "$T/store"
	apart sh -c 'mount -t tmpfs none /mnt; mkdir /mnt/l /mnt/u /mnt/w
		mount -t overlay overlay -o lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w $T/store
		timeout 25 dockerd --data-root $T/store --exec-root $T/de --pidfile $T/dp --host unix://$T/d.sock --bridge none \
			--iptables=false --storage-driver overlay2'
}
err_dockerd_driver_prerequisites() { driver=btrfs dockerd_says; }
err_dockerd_pidfile() {
	echo $$ >"$T/dp"
	dockerd_says
	rm "$T/dp"
}
err_dockerd_flag_conflict() {
	echo '{"storage-driver": "overlay2"}' >"$T/daemon.json"
	dockerd_says --config-file "$T/daemon.json"
}
err_dockerd_config() {
	echo '{"storage-driver": overlay2}' >"$T/daemon.json"
	dockerd_says --config-file "$T/daemon.json"
}
err_dockerd_not_root() { as_nobody "dockerd --data-root $T/dx"; }
err_dockerd_no_containerd() {
	# without it on PATH
	mkdir -p "$T/bin"
	ln -sf /usr/sbin/dockerd "$T/bin/dockerd"
	ln -sf /usr/bin/timeout /usr/bin/unshare "$T/bin/"
	PATH=$T/bin dockerd_says
}
err_dockerd_containerd_timeout() {
	# the pid file of one that was killed has the number of a process that lives
	mkdir -p "$T/de/containerd"
	printf %s $$ >"$T/de/containerd/containerd.pid"
	dockerd_says
	rm -r "$T/de/containerd"
}
err_dockerd_mirror() { dockerd_says --registry-mirror nope; }

# One that works, for what it says of requests.
dockerd_up() {
	dockerd --data-root "$T/up" --exec-root "$T/ue" --pidfile "$T/up.pid" --host "unix://$T/up.sock" --bridge none \
		--iptables=false --storage-driver vfs >"$T/up.log" 2>&1 3>&- &
	for _ in $(seq 100); do
		! docker_up version >/dev/null 2>&1 || break
		sleep 0.1
	done
	tar -C "$T/rootfs" -c . | docker_up import - tiny >/dev/null
}
dockerd_down() {
	local pid
	pid=$(cat "$T/up.pid")
	kill "$pid"
	while [ -d "/proc/$pid" ]; do sleep 0.1; done
}
docker_up() { DOCKER_HOST=unix://$T/up.sock docker "$@" 2>&1; }
run_up() { docker_up run --rm --network none "$@"; }

err_docker_registry_host() { docker_up create nope.invalid/no/such true; }
err_docker_name_conflict() {
	docker_up create --name twice --network none tiny true
	docker_up create --name twice --network none tiny true
	docker_up rm twice
}
err_docker_unknown_runtime() { run_up --runtime nope tiny true; }
err_docker_no_such_container() { docker_up start nope; }
err_docker_not_running() {
	docker_up create --name still --network none tiny true
	docker_up exec still true
	docker_up rm still
}
err_docker_no_tty() { run_up -it tiny true </dev/null; }
err_docker_bind_source() { run_up --mount type=bind,source=/no/such,target=/x tiny true; }
err_docker_seccomp_profile() {
	echo 'no json' >"$T/profile.json"
	run_up --security-opt "seccomp=$T/profile.json" tiny true
}
err_docker_memory_minimum() { run_up -m 1m tiny true; }
err_docker_cpus() { run_up --cpus 9999 tiny true; }
err_docker_device() { run_up --device /dev/no-such tiny true; }
err_docker_no_network() { docker_up run --rm --network nope tiny true; }
err_docker_subnet_overlap() {
	docker_up network create --subnet 10.94.9.0/24 -o com.docker.network.bridge.name=kex9 kex9
	docker_up network create --subnet 10.94.9.0/24 -o com.docker.network.bridge.name=kex8 kex8
	docker_up network rm kex9
}
err_docker_port_taken() {
	docker_up network create --subnet 10.94.9.0/24 -o com.docker.network.bridge.name=kex9 kex9 >/dev/null
	socat TCP-LISTEN:29494,bind=127.0.0.1 STDOUT &
	sleep 0.2
	docker_up run --rm --network kex9 -p 127.0.0.1:29494:80 tiny true
	kill $!
	docker_up network rm kex9
}
err_docker_storage_quota() { docker_up create --storage-opt size=1G --network none tiny true; }
err_docker_no_swarm() { docker_up service ls; }

# --- podman ----------------------------------------------------------------------------------

podman_says() {
	podman --root "$T/pr" --runroot "$T/prr" --storage-driver vfs --cgroup-manager cgroupfs --tmpdir "$T/ptmp" \
		--log-level error "$@" 2>&1
}
tiny_podman() { podman_says image exists tiny || tar -C "$T/rootfs" -c . | podman_says import - tiny >/dev/null; }
run_podman() {
	tiny_podman
	podman_says run --rm --network none "$@"
}
err_podman_short_name() { podman_says pull no/such; }
err_podman_no_runtime() { podman_says --runtime nope info; }
err_podman_no_conmon() { PATH=/nowhere /usr/bin/podman --conmon /no/such --root "$T/pc" --runroot "$T/pcr" --storage-driver vfs info; }
err_podman_overlay_on_overlay() {
	mkdir -p "$T/pstore"
	apart sh -c 'mount -t tmpfs none /mnt; mkdir /mnt/l /mnt/u /mnt/w
		mount -t overlay overlay -o lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w $T/pstore
		podman --root $T/pstore/r --runroot $T/pstore/rr --storage-driver overlay info'
}
err_podman_driver_mismatch() {
	tiny_podman
	podman --root "$T/pr" --runroot "$T/prr" --storage-driver overlay --tmpdir "$T/ptmp" images
}
err_podman_no_network() { podman_says network inspect nope; }
err_podman_name_taken() {
	tiny_podman
	podman_says create --name twice --network none tiny true >/dev/null
	podman_says create --name twice --network none tiny true
	podman_says rm -f twice >/dev/null
}
err_podman_no_home() {
	mkdir -p "$T/tmp" && chmod 1777 "$T/tmp"
	as_nobody "TMPDIR=$T/tmp HOME=$T/nobody XDG_RUNTIME_DIR=$T/nobody podman --root $T/nobody/r --runroot $T/nobody/rr info"
}
err_podman_no_such_container() { podman_says start nope; }
err_podman_no_image() { podman_says run --pull never --network none localhost/nope true; }

# --- in a guest ------------------------------------------------------------------------------

# Of a kernel with cgroup v2 alone: the layer vm/box of scenarios/vm.yaml, which must be up.
err_runc_cgroup2_invalid() {
	"$dink" exec vm/box -- sh -c '
		mkdir -p /sys/fs/cgroup/bad/leaf /tmp/b/rootfs
		echo threaded >/sys/fs/cgroup/bad/leaf/cgroup.type
		cd /tmp/b && runc spec
		sed -i "s,\"namespaces\",\"cgroupsPath\": \"/bad/x\"\, &,; s/\"resources\": {/&\"memory\": {\"limit\": 100000000},/; s/\"terminal\": true/\"terminal\": false/" config.json
		runc run x
		rmdir /sys/fs/cgroup/bad/leaf /sys/fs/cgroup/bad
		rm -r /tmp/b'
}
