#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# dink-vm below a Docker daemon of the benchmark's own, each row in turn with its peer: runc below
# the same daemon, or a plain QEMU with the same kernel and machine type (peer.bash).
# Some rows only: ROWS="run exec" make bench BENCH=vm
# shellcheck source=tests/bench/lib.bash
. tests/bench/lib.bash
# shellcheck source=tests/bench/peer.bash
. tests/bench/peer.bash
need_root
dockerd_pid='' iperf_pid='' virtiofsd_pid='' own_links=()
bridge=sbr0 tap=sbrt0 host_ip=172.31.245.1 peer_ip=172.31.245.200/24
read -ra rows <<<"${ROWS:-run block restore exec stdio net volume memory size}"

stop() {
	[ -n "$1" ] || return 0
	if kill "$1" 2>/dev/null; then
		while kill -0 "$1" 2>/dev/null; do sleep 0.1; done
	fi
}

# processes PID - it and all below it
processes() {
	local child
	echo "$1"
	for child in $(pgrep -P "$1"); do processes "$child"; done
}

# left - pids of all that names the benchmark's folder, but for the daemon and its containerd
left() {
	local pid
	for pid in $(pgrep -f -- "$bench_dir"); do
		[ "$pid" = $$ ] || grep -qsE '^(dockerd|containerd|bash)$' "/proc/$pid/comm" || echo "$pid"
	done
}

end() {
	trap '' INT TERM
	set +e
	if [ -n "$dockerd_pid" ]; then
		docker ps -aq | xargs -r docker rm -f >/dev/null
		stop "$dockerd_pid"
	fi
	stop "$iperf_pid"
	stop "$virtiofsd_pid"
	# what was running when this was interrupted: a peer, a shim whose daemon did not get to it
	for pid in $(left); do
		processes "$pid" | xargs -r kill -KILL 2>/dev/null
	done
	for link in "${own_links[@]}"; do ip link del "$link"; done
	awk -v d="$bench_dir" 'index($2, d) == 1 { print $2 }' /proc/self/mounts | sort -r |
		while read -r m; do umount -l "$m"; done
	rm -rf "$bench_dir"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

for program in qemu-system-x86_64 cpio mkfs.erofs; do
	command -v "$program" >/dev/null || { echo "dink: $program is missing" >&2; exit 4; }
done
guest=$(build/dink kernel bundle -q)
# an engine's name for a runtime carries no flags in Docker 20.10
printf '#!/bin/sh\nexec %s/build/dink-vm --guest %s "$@"\n' "$PWD" "$guest" >"$bench_dir/dink-vm"
chmod +x "$bench_dir/dink-vm"

ip link add $bridge type bridge
own_links+=("$bridge")
ip addr add $host_ip/24 dev $bridge
ip link set $bridge up
export DOCKER_HOST=unix://$bench_dir/docker.sock
# of a session of its own: a Ctrl-C or a timeout is this script's to act on, and the daemon is needed to
# clean up: signalled itself, it gives each container ten seconds, and a second signal finds them there
setsid dockerd --data-root "$bench_dir/data" --exec-root "$bench_dir/exec" -H "$DOCKER_HOST" \
	--pidfile "$bench_dir/docker.pid" --bridge $bridge --iptables=false --ip-masq=false \
	--add-runtime "dink-vm=$bench_dir/dink-vm" >"$bench_dir/dockerd.log" 2>&1 &
dockerd_pid=$!
wait_for 60 docker info

mkdir -p "$bench_dir/root"/{bin,usr/bin,proc,etc,tmp,vol}
cp /bin/busybox "$bench_dir/root/bin/"
for applet in sh true sleep cat dd; do ln -s busybox "$bench_dir/root/bin/$applet"; done
iperf=$(command -v iperf3 || echo '')
if [ -n "$iperf" ]; then
	for file in "$iperf" $(ldd "$iperf" | grep -o '/[^ ]*'); do
		mkdir -p "$bench_dir/root${file%/*}"
		cp -L "$file" "$bench_dir/root$file"
	done
fi
tar -C "$bench_dir/root" -c . | docker import - tiny:1 >/dev/null

# start RUNTIME [OPTION...] - a container that idles; its id in $id
start() {
	local runtime=$1
	shift
	id=$(docker run -d "--runtime=$runtime" "$@" tiny:1 sleep 1000)
}

run_vm() { docker run --rm --network none --runtime=dink-vm tiny:1 true; }
run_runc() { docker run --rm --network none --runtime=runc tiny:1 true; }
boot() { peer_qemu boot; }
boot_tuned() {
	peer_machine=,vmport=off,smbus=off,sata=off,usb=off,graphics=off \
		peer_qemu boot "$peer_tuned" -bios qboot.rom
}

row_run() {
	peer_archive boot "$peer_boot_init"
	clock run_vm # pays for caches
	if pair_of 7 run_vm boot; then
		row "docker run --rm --network none true" "$ours" 1.6
		against "  against bare QEMU until PID 1 powers off" "$ours" "$peer" 1.5
	else
		fail "docker run --rm --network none true"
	fi
	pair_of 7 run_runc boot_tuned
	row "  (runc)" "$ours"
	row "  (bare QEMU with dink-vm's machine and kernel words)" "$peer"
}

# a container without an engine, on a block root and with nothing of the host's
make_block_bundle() {
	mkdir "$bench_dir/block"
	mkfs.erofs "$bench_dir/root.erofs" "$bench_dir/root" >/dev/null 2>&1
	build/dink-vm spec --bundle "$bench_dir/block"
	jq --arg erofs "$bench_dir/root.erofs" \
		'.process.terminal = false | .process.args = ["true"]
		 | .mounts += [{destination: "/.dink-root", type: "bind", source: $erofs, options: ["rbind", "ro"]}]' \
		<"$bench_dir/block/config.json" >"$bench_dir/config.json"
	mv "$bench_dir/config.json" "$bench_dir/block/config.json"
}
run_block() { build/dink-vm --guest "$guest" --root "$bench_dir/state" run --bundle "$bench_dir/block" block; }

row_block() {
	make_block_bundle
	peer_archive boot "$peer_boot_init"
	clock run_block # makes the template
	if pair_of 7 run_block boot; then
		row "dink-vm run of a block root, from a template" "$ours" 0.8
		against "  against bare QEMU until PID 1 powers off" "$ours" "$peer" 0.75
	else
		fail "dink-vm run of a block root, from a template"
	fi
}

# memory PID WHAT - MB of Rss or Pss of the process and all below it
memory() {
	local pid files=()
	for pid in $(processes "$1"); do
		files+=("/proc/$pid/smaps_rollup")
	done
	awk -v k="$2:" '$1 == k { s += $2 } END { printf "%.0f\n", s * 1024 / 1e6 }' "${files[@]}"
}

vm() { build/dink-vm --guest "$guest" --root "$bench_dir/state" "$@"; }

# a container with a dockerd of its own, from the image docker-host, on a block root
make_daemon_bundle() {
	local erofs caps
	erofs=$(build/dink image build --json docker-host | jq -r '.[-1].erofs') || return 1
	# within its own kernel it may do what it likes
	caps=$(for n in $(seq 0 40); do capsh "--decode=$(printf '%x' $((1 << n)))"; done |
		sed 's/.*=\(.*\)/"\U\1"/' | paste -sd,)
	mkdir "$bench_dir/daemon"
	vm spec --bundle "$bench_dir/daemon"
	jq --arg erofs "$erofs" --argjson caps "[$caps]" \
		'.process.terminal = false
		 | .process.args = ["/usr/local/sbin/layer-init", "dockerd"]
		 | .process.env = ["PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"]
		 | .process.capabilities |= with_entries(.value = $caps)
		 | .process.rlimits = [] | .root.readonly = false
		 | .linux.maskedPaths = [] | .linux.readonlyPaths = []
		 | .linux.namespaces |= (map(select(.type != "cgroup")) + [{type: "cgroup"}])
		 | .mounts |= map(select(.destination != "/sys/fs/cgroup"))
		 | .mounts += [{destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["rw"]},
			{destination: "/run", type: "tmpfs", source: "tmpfs"},
			{destination: "/var/lib/docker", type: "tmpfs", source: "tmpfs"},
			{destination: "/.dink-root", type: "bind", source: $erofs, options: ["rbind", "ro"]}]' \
		<"$bench_dir/daemon/config.json" >"$bench_dir/config.json"
	mv "$bench_dir/config.json" "$bench_dir/daemon/config.json"
}

# answers ID - until _ping does; by control.sock, as dink reaches daemons in guests
answers() {
	(cd "$bench_dir/state/$1" && wait_for 60 pings)
}
pings() {
	printf 'GET /_ping HTTP/1.0\r\n\r\n' | "$bench_dir/sock" call control.sock /var/run/docker.sock |
		grep -q '^OK'
}

cold() {
	vm --memory 1G --template-dir none --ram-dir /dev/shm create --bundle "$bench_dir/daemon" cold
	vm start cold
	answers cold
}
restore() {
	vm --memory 1G restore --detach --image-path "$bench_dir/image" --bundle "$bench_dir/daemon" "$1"
	answers "$1"
}

row_restore() {
	local colds=() warms=() i pids=()
	cc -std=gnu17 -D_GNU_SOURCE -o "$bench_dir/sock" tests/e2e/tools/sock.c
	make_daemon_bundle || { fail "restore of a dockerd: no image"; return; }
	for ((i = 0; i < 7; i++)); do
		clock cold || { fail "cold start of a dockerd in a guest"; return; }
		colds+=("$wall")
		[ $i -eq 6 ] || vm delete --force cold
	done
	vm checkpoint --image-path "$bench_dir/image" cold
	vm delete --force cold
	for ((i = 0; i < 7; i++)); do
		clock restore warm && warms+=("$wall")
		vm delete --force warm
	done
	row "cold start of a dockerd in a guest until _ping" "$(printf '%s\n' "${colds[@]}" | median)"
	against "restore of it from a checkpoint until _ping" "$(printf '%s\n' "${warms[@]}" | median)" \
		"$(printf '%s\n' "${colds[@]}" | median)" 0.0334
	for i in 1 2 3; do
		restore "clone$i" >/dev/null
		pids+=("$(vm state "clone$i" | jq .pid)")
	done
	row "PSS of each of three clones" "$(for i in 0 1 2; do memory "${pids[i]}" Pss; done | median)" 64 MB
	for i in 1 2 3; do vm delete --force "clone$i"; done
}

exec_vm() { docker exec "$vm" true; }
exec_runc() { docker exec "$runc" true; }

row_exec() {
	clock exec_vm
	clock exec_runc
	if pair_of 7 exec_vm exec_runc; then
		against "docker exec true, against runc's" "$ours" "$peer" 2
	else
		fail "docker exec true"
	fi
}

in_vm() { head -c 268435456 /dev/zero | docker exec -i "$vm" sh -c 'cat >/dev/null'; }
in_runc() { head -c 268435456 /dev/zero | docker exec -i "$runc" sh -c 'cat >/dev/null'; }
out_of() { [ "$(docker exec "$1" dd if=/dev/zero bs=256k count=1024 2>"$bench_dir/dd" | wc -c)" = 268435456 ]; }
out_vm() { out_of "$vm"; }
out_runc() { out_of "$runc"; }

row_stdio() {
	local way
	for way in in out; do
		if pair_of 7 ${way}_vm ${way}_runc; then
			against "std$way, 256 MiB through docker exec, against runc's" "$ours" "$peer" 4
		else
			fail "std$way, 256 MiB through docker exec"
		fi
	done
}

# mbits - the sender's figure of iperf3 on standard input
mbits() { awk '/sender/ { for (i = 2; i <= NF; i++) if ($i == "Mbits/sec") print $(i - 1) }'; }
net_vm() { docker exec "$id" iperf3 -c $host_ip -t 4 -f m; }
net_peer() {
	peer_qemu net "$peer_tuned bench_ip=$peer_ip bench_to=$host_ip bench_seconds=4" \
		-netdev tap,id=n,ifname=$tap,script=no,downscript=no -device virtio-net-pci,netdev=n
}

row_net() {
	local i
	local as=() bs=()
	[ -n "$iperf" ] || { fail "iperf3, container to host: apt-get install iperf3"; return; }
	iperf3 -s -B $host_ip >/dev/null 2>&1 &
	iperf_pid=$!
	ip tuntap add $tap mode tap
	own_links+=("$tap")
	ip link set $tap master $bridge
	ip link set $tap up
	peer_archive net "$peer_net_init" "$iperf"
	start dink-vm
	for ((i = 0; i < 7; i++)); do
		clock net_vm && as+=("$(mbits <"$bench_dir/out")")
		clock net_peer && bs+=("$(mbits <"$bench_dir/out")")
	done
	docker rm -f "$id" >/dev/null
	against "iperf3, container to host, against plain QEMU with a tap" \
		"$(printf '%s\n' "${as[@]}" | median)" "$(printf '%s\n' "${bs[@]}" | median)" \
		0.9 Mbit/s atleast
}

volume_vm() {
	start dink-vm --name volume --network none -v "$bench_dir/vol:/vol"
	docker exec volume sh /vol/volume.sh "$1"
}

volume_peer() {
	local virtiofsd=/usr/libexec/virtiofsd
	# with extended attributes, as dink-vm: they cost each new file one request
	local how=(--shared-dir "$bench_dir/vol" --xattr)
	[ -x $virtiofsd ] || { virtiofsd=/usr/lib/qemu/virtiofsd; how=(-f -o "source=$bench_dir/vol,xattr"); }
	$virtiofsd "--socket-path=$bench_dir/fs.sock" "${how[@]}" >"$bench_dir/fs.log" 2>&1 &
	virtiofsd_pid=$!
	wait_for 10 test -S "$bench_dir/fs.sock"
	peer_machine=,memory-backend=ram peer_qemu volume "$peer_tuned bench_round=$1" \
		-object memory-backend-memfd,id=ram,size=512M,share=on \
		-chardev "socket,id=fs,path=$bench_dir/fs.sock" \
		-device vhost-user-fs-pci,chardev=fs,tag=bench
	wait "$virtiofsd_pid" || return 1
	virtiofsd_pid=''
	rm -f "$bench_dir/fs.sock"
}

row_volume() {
	local i what
	mkdir "$bench_dir/vol"
	printf '%s\n' "$volume_script" >"$bench_dir/vol/volume.sh"
	peer_archive volume "$peer_volume_init"
	for ((i = 0; i < 14; i++)); do
		head -c 268435456 /dev/urandom >"$bench_dir/vol/read.$i"
		sync # else who starts quicker shares the disk with this file and the round before
		if [ $((i % 2)) -eq 0 ]; then
			clock volume_vm $i && sed 's/^/vm /' "$bench_dir/out" >>"$bench_dir/volume"
			docker rm -f volume >/dev/null
		else
			clock volume_peer $i && sed 's/^/peer /' "$bench_dir/out" >>"$bench_dir/volume"
		fi
		rm "$bench_dir/vol/read.$i"
	done
	for what in write read files; do
		# seconds: at least 0.9 of the speed is at most 1/0.9 of the time
		against "volume, $what, against virtiofsd with plain QEMU" \
			"$(volume_median vm $what)" "$(volume_median peer $what)" 1.11
	done
}

volume_median() { awk -v w="$1" -v k="$2" '$1 == w && $2 == k { print $3 + 0 }' "$bench_dir/volume" | median; }


row_memory() {
	start dink-vm --network none
	local monitor
	monitor=$(docker inspect -f '{{.State.Pid}}' "$id")
	sleep 2
	row "resident memory, idle 512 MiB container, sum of RSS" "$(memory "$monitor" Rss)" 160 MB
	row "  sum of PSS" "$(memory "$monitor" Pss)" "" MB
	for pid in $(processes "$monitor"); do
		row "    $(cat "/proc/$pid/comm")" \
			"$(awk '$1 == "Rss:" { printf "%.1f", $2 * 1024 / 1e6 }' "/proc/$pid/smaps_rollup")" "" MB
	done
	docker rm -f "$id" >/dev/null
}

row_size() {
	kb() { awk -v n="$(stat -Lc %s "$1")" 'BEGIN { printf "%.0f", n / 1000 }'; }
	row "size of dink-agent" "$(kb "$guest/dink-agent")" 300 kB
	row "size of initramfs" "$(kb "$guest/initramfs.cpio")" 6000 kB
	row "size of dink-vm" "$(kb build/dink-vm)" "" kB
}

start dink-vm --network none
vm=$id
start runc --network none
runc=$id
for name in "${rows[@]}"; do
	"row_$name"
done
docker rm -f "$vm" "$runc" >/dev/null

# nothing is left of what was run
sleep 1
if [ -n "$(left)" ]; then
	left | xargs ps -o pid,args -p
	fail "processes are left"
fi
exit "$bench_missed"
