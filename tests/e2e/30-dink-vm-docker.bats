#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# dink-vm as a runtime of Docker: a daemon of the test's own, each claim of docs/dink-vm.md.
# shellcheck disable=SC2016 # words for a shell in the container stay in single quotes

load vm
bats_require_minimum_version 1.5.0

setup_file() {
	need "root" test "$(id -u)" = 0
	need "dockerd (apt-get install docker.io)" command -v dockerd
	need "/dev/net/tun" test -c /dev/net/tun
	vm_prepare
	export BRIDGE="dinkt$$" NET=172.31.254
	BRIDGE=${BRIDGE:0:15}
	ip link add "$BRIDGE" type bridge
	ip addr add "$NET.1/24" dev "$BRIDGE"
	ip link set "$BRIDGE" up
	export DOCKER_HOST=unix://$T/docker.sock
	dockerd --data-root "$T/data" --exec-root "$T/exec" -H "$DOCKER_HOST" --pidfile "$T/docker.pid" \
		--bridge "$BRIDGE" --iptables=false --ip-masq=false --add-runtime "dink-vm=$T/dink-vm" \
		>"$T/dockerd.log" 2>&1 3>&- &
	wait_for 30 docker info
	tar -C "$T/rootfs" -c . | docker import - box:1 >/dev/null
}

teardown_file() {
	[ -n "${T:-}" ] || return 0
	if [ -s "$T/docker.pid" ]; then
		local pid
		pid=$(cat "$T/docker.pid")
		kill "$pid"
		wait_for 20 test ! -e "/proc/$pid"
	fi
	ip link del "$BRIDGE"
	grep -F "$T" /proc/self/mounts | cut -d' ' -f2 | sort -r | while read -r m; do
		umount -l "$m"
	done
	rm -rf "$T"
}

teardown() {
	local all
	all=$(docker ps -aq)
	# shellcheck disable=SC2086 # a list of ids
	[ -z "$all" ] || docker rm -f $all >/dev/null
	assert_nothing_left
}

vmrun() { docker run --runtime=dink-vm "$@"; }

@test "run --rm: output of a kernel of its own" {
	run vmrun --rm --network none box:1 sh -c 'uname -r; cat /proc/1/comm'
	[ "$status" -eq 0 ]
	[ "${lines[0]}" != "$(uname -r)" ]
	[ "${lines[1]}" = cat ]
}

@test "exit codes 0, 1, 42, 126, 127" {
	for code in 0 1 42; do
		run vmrun --rm --network none box:1 sh -c "exit $code"
		[ "$status" -eq $code ]
	done
	run -127 vmrun --rm --network none box:1 no-such-command
	[ "$status" -eq 127 ]
	[[ "$output" == *"executable file not found in \$PATH"* ]]
	run vmrun --rm --network none box:1 /etc/passwd
	[ "$status" -eq 126 ]
}

@test "a signal that kills is 128+n" {
	run vmrun --rm --network none box:1 sh -c 'sh -c "kill -KILL \$\$"; exit $?'
	[ "$status" -eq 137 ]
}

@test "stdin, and stdout and stderr apart" {
	printf 'one\ntwo\n' | vmrun --rm -i --network none box:1 sh -c 'cat; echo bad >&2' \
		>"$T/out" 2>"$T/err"
	[ "$(cat "$T/out")" = $'one\ntwo' ]
	[ "$(cat "$T/err")" = bad ]
}

@test "8 MiB through stdin and stdout arrive whole" {
	head -c 8388608 /dev/urandom >"$T/big"
	vmrun --rm -i --network none box:1 cat <"$T/big" >"$T/big.out"
	cmp "$T/big" "$T/big.out"
}

@test "a terminal: run -it" {
	run script -qec "docker run --runtime=dink-vm --rm -it --network none box:1 sh -c 'tty; echo rows; exit 5'" /dev/null </dev/null
	[ "$status" -eq 5 ]
	[[ "$output" == */dev/pts/* ]]
}

@test "the terminal has the engine's size, also after a resize" {
	vmrun -dit --name cc --network none box:1 sh
	curl -sf --unix-socket "$T/docker.sock" -X POST "http://d/containers/cc/resize?h=33&w=77"
	has_size() { docker exec cc sh -c 'stty size <"$(ls /dev/pts/[0-9]* | head -n 1)"' | grep -x '33 77'; }
	wait_for 5 has_size
}

@test "run -d, logs, exec, exec -i, exec -it, exec exit codes" {
	vmrun -d --name cc --network none box:1 sh -c 'echo said; sleep 1000; :'
	wait_for 5 eval 'docker logs cc | grep -qx said'
	[ "$(docker exec cc cat /proc/1/comm)" = sh ]
	[ "$(echo through | docker exec -i cc cat)" = through ]
	run docker exec cc sh -c 'exit 7'
	[ "$status" -eq 7 ]
	run docker exec cc no-such-command
	[ "$status" -eq 126 ]
	run script -qec "docker exec -it cc tty" /dev/null </dev/null
	[[ "$output" == */dev/pts/* ]]
	# a failed exec has harmed nothing
	[ "$(docker inspect -f '{{.State.Running}}' cc)" = true ]
}

@test "exec with user, environment and folder" {
	vmrun -d --name cc --network none box:1 sleep 1000
	[ "$(docker exec -u 1000:1000 -w /tmp -e A=b cc sh -c 'echo $(id -u) $A $PWD')" = "1000 b /tmp" ]
}

@test "kill -s, stop with and without a handler, rm -f" {
	vmrun -d --name hh --network none box:1 sh -c 'trap "exit 9" TERM; trap "echo usr" USR1; echo up; while :; do sleep 0.1; done'
	wait_for 5 eval 'docker logs hh | grep -qx up'
	docker kill -s USR1 hh
	wait_for 5 eval 'docker logs hh | grep -qx usr'
	docker stop -t 10 hh
	[ "$(docker inspect -f '{{.State.ExitCode}}' hh)" = 9 ]
	vmrun -d --name nn --network none box:1 sleep 1000
	docker stop -t 1 nn
	[ "$(docker inspect -f '{{.State.ExitCode}}' nn)" = 137 ]
	docker start nn
	docker rm -f nn
	run docker inspect nn
	[ "$status" -ne 0 ]
}

@test "bridge network: address, ping to the gateway, a published port, a server outside" {
	vmrun -d --name web -p 127.0.0.1:28080:80 box:1 sh -c 'echo served >/tmp/index.html; exec httpd -f -p 80 -h /tmp'
	wait_for 10 eval 'curl -s -m 3 http://127.0.0.1:28080 | grep -qx served'
	docker exec web ping -c 1 -W 3 "$NET.1"
	docker exec web ip route | grep -F "default via $NET.1"
	[ "$(docker exec web cat /sys/class/net/eth0/address)" = "$(docker inspect -f '{{.NetworkSettings.MacAddress}}' web)" ]
	mkdir "$T/srv"
	echo outside >"$T/srv/f"
	busybox httpd -f -p "$NET.1:28081" -h "$T/srv" 3>&- &
	run docker exec web wget -q -O - "http://$NET.1:28081/f"
	kill %1
	[ "$output" = outside ]
}

@test "no interface is there that the engine did not give" {
	run vmrun --rm box:1 sh -c 'ls /sys/class/net | tr "\n" " "'
	[ "$output" = "eth0 lo " ]
}

@test "host networking is refused in words" {
	run vmrun --rm --network host box:1 true
	[ "$status" -eq 125 ]
	[[ "$output" == *"host networking is not possible"* ]]
}

@test "volumes: writable, read-only, a file; both directions" {
	mkdir "$T/v"
	echo host >"$T/v/f"
	run vmrun --rm --network none -v "$T/v:/data" -v "$T/v:/ro:ro" -v "$T/v/f:/one:ro" box:1 \
		sh -c 'cat /data/f /one; echo guest >/data/g; echo x >/ro/x; echo x >>/one; ls /ro'
	[[ "$output" == *"Read-only file system"* ]]
	[ "$(cat "$T/v/g")" = guest ]
	[ "$(cat "$T/v/f")" = host ]
	[ ! -e "$T/v/x" ]
}

@test "files of two volumes are not taken for one" {
	mkdir "$T/v1" "$T/v2"
	mount -t tmpfs none "$T/v1"
	mount -t tmpfs none "$T/v2"
	echo one >"$T/v1/f"
	echo two >"$T/v2/f"
	run vmrun --rm --network none -v "$T/v1:/a" -v "$T/v2:/b" box:1 sh -c 'cp /a/f /b/f && cat /b/f; stat -c %d /a /b | sort -u | wc -l'
	umount "$T/v1" "$T/v2"
	[ "${lines[0]}" = one ]
	[ "${lines[1]}" = 2 ]
}

@test "hostname, environment, user, folder, tmpfs, read-only root" {
	run --separate-stderr vmrun --rm --network none --hostname box --env A=b --user 1000:1000 --workdir /tmp \
		--tmpfs /scratch --read-only box:1 sh -c 'hostname; echo $A $(id -u) $PWD; touch /x; grep -c " /scratch tmpfs" /proc/mounts'
	[ "${lines[0]}" = box ]
	[ "${lines[1]}" = "b 1000 /tmp" ]
	[ "${lines[2]}" = 1 ]
	# shellcheck disable=SC2154 # bats sets stderr
	[[ "$stderr" == *"Read-only file system"* ]]
}

@test "a disk image as a volume is a disk in the guest, in one VM at a time" {
	truncate -s 120M "$T/disk"
	mkfs.btrfs -q "$T/disk" >/dev/null
	run vmrun --rm --network none -v "$T/disk:/mnt" box:1 sh -c 'grep " /mnt " /proc/mounts; echo kept >/mnt/f'
	[ "$status" -eq 0 ]
	[[ "$output" == "/dev/vd"*btrfs* ]]
	vmrun -d --name cc --network none -v "$T/disk:/mnt" box:1 sleep 1000
	[ "$(docker exec cc cat /mnt/f)" = kept ]
	run vmrun --rm --network none -v "$T/disk:/mnt" box:1 true
	[ "$status" -eq 125 ]
	[[ "$output" == *lock* ]]
	run vmrun --rm --network none -v "$T/disk:/mnt:ro" box:1 true
	docker rm -f cc
	btrfs check "$T/disk"
	run losetup -j "$T/disk"
	[ -z "$output" ]
}

@test "a block root: read-only below a writable overlay in memory; the image stays as it is" {
	mkfs.erofs "$T/root.erofs" "$T/rootfs" >/dev/null 2>&1
	sum=$(sha256sum <"$T/root.erofs")
	run vmrun --rm --network none -v "$T/root.erofs:/.dink-root:ro" box:1 \
		sh -c 'grep " / " /proc/mounts; echo x >/new; cat /new; ls -a / | grep -c dink'
	[ "${lines[0]%% *}" = overlay ]
	[ "${lines[1]}" = x ]
	[ "${lines[2]}" = 0 ]
	# nothing of it went to the engine's own copy, and nothing shared it
	run vmrun --rm --network none -v "$T/root.erofs:/.dink-root:ro" box:1 \
		sh -c 'ls /new; grep -c virtiofs /proc/mounts'
	[[ "$output" == *"/new: No such file"* ]]
	[ "$sum" = "$(sha256sum <"$T/root.erofs")" ]
}

@test "a block root with an upper disk keeps what was written" {
	mkfs.erofs "$T/root2.erofs" "$T/rootfs" >/dev/null 2>&1
	truncate -s 120M "$T/upper"
	mkfs.btrfs -q "$T/upper" >/dev/null
	set -- -v "$T/root2.erofs:/.dink-root:ro" -v "$T/upper:/.dink-upper" box:1
	vmrun --rm --network none "$@" sh -c 'echo kept >/etc/new; rm /etc/group'
	run vmrun --rm --network none "$@" sh -c 'cat /etc/new; ls /etc'
	[ "${lines[0]}" = kept ]
	[[ "$output" != *group* ]]
	btrfs check "$T/upper"
}

@test "files of a volume: open after unlink, rename over, append, links, sparse, truncate" {
	mkdir "$T/vv"
	vmrun --rm --network none -v "$T/vv:/v" -w /v box:1 sh -ec '
		echo one >a; exec 5<>a; rm a; echo two >&5; [ "$(stat -Lc %h /proc/self/fd/5)" = 0 ]
		[ "$(cat /proc/self/fd/5)" = two ]; exec 5>&-
		echo old >b; echo new >c; mv c b; echo more >>b
		ln b hard; [ "$(stat -c %h b)" = 2 ]; ln -s b soft; [ "$(readlink soft)" = b ]
		truncate -s 1048576 sparse; [ "$(stat -c %s,%b sparse)" = 1048576,0 ]; truncate -s 3 b
		chown 12:34 hard; chmod 4750 hard; mkfifo pipe; touch -d @1000000000 sparse'
	[ "$(cat "$T/vv/hard")" = new ]
	[ "$(stat -c %a,%u,%g "$T/vv/b")" = 4750,12,34 ]
	[ "$(stat -c %Y "$T/vv/sparse")" = 1000000000 ]
	[ -p "$T/vv/pipe" ] && [ ! -e "$T/vv/a" ]
}

# the long form: make conformance CONFORMANCE=volume
@test "a volume under an exerciser: POSIX cases, a file against a model, a tree that two processes change" {
	mkdir "$T/fs"
	cc -std=gnu17 -D_GNU_SOURCE -O2 -static -I"$ROOT_DIR" -o "$T/exerciser" "$ROOT_DIR"/tests/fs/*.c
	vmrun -d --name fs --network none -v "$T/fs:/v" -v "$T/exerciser:/exerciser:ro" box:1 sleep 300
	docker exec fs sh -c '/exerciser cases /v && /exerciser model /v 400 && /exerciser tree /v 150 1 2' >"$T/fs.out" ||
		{ cat "$T/fs.out"; false; }
	# nothing more and nothing less than docs/dink-vm.md says
	diff <(grep '^lacks' "$T/fs.out") - <<-END
		lacks  O_TMPFILE
		lacks  POSIX access lists decide
	END
	docker exec fs /exerciser digest /v >"$T/fs.inside"
	[ "$(wc -l <"$T/fs.inside")" -ge 30 ]
	"$T/exerciser" digest "$T/fs" | diff "$T/fs.inside" -
	# inotify: its own changes, and none of the host's
	docker exec fs /exerciser watch /v 4 >"$T/fs.seen" &
	wait_for 5 grep -q ready "$T/fs.seen"
	touch "$T/fs/by-host"
	docker exec fs touch /v/by-guest
	wait $!
	grep -q "created by-guest" "$T/fs.seen"
	run ! grep by-host "$T/fs.seen"
	docker exec fs test -e /v/by-host
}

@test "a write by another user takes the set-user-id bit away, also in a volume" {
	mkdir -m 777 "$T/suid"
	for name in small large cut; do
		echo program >"$T/suid/$name"
		chmod 6777 "$T/suid/$name"
	done
	vmrun --rm --network none --user 1000:1000 -v "$T/suid:/v" -w /v box:1 sh -ec '
		echo x >>small; dd if=/dev/zero of=large bs=64k count=4 conv=notrunc 2>/dev/null; : >cut'
	[ "$(stat -c %a "$T"/suid/small "$T"/suid/large "$T"/suid/cut | sort -u)" = 777 ]
}

@test "connect: a unix socket in the container through control.sock, both ways, with half-close" {
	mkdir "$T/tools"
	cc -std=gnu17 -D_GNU_SOURCE -static -o "$T/tools/sock" "$ROOT_DIR/tests/e2e/tools/sock.c"
	vmrun -d --name cc --network none -v "$T/tools:/t:ro" box:1 \
		sh -c '/t/sock echo /tmp/s && echo served; sleep 1000; :'
	# in its folder, for sun_path is short
	cd "$T"/exec/runtime-*/moby/"$(docker inspect -f '{{.Id}}' cc)"
	run "$T/tools/sock" call control.sock /tmp/missing
	[ "$status" -eq 1 ]
	[[ "$output" == *'"ok":false'*'"errno":2'* ]]
	wait_for 5 docker exec cc test -S /tmp/s
	head -c 3000000 /dev/urandom >"$T/sent"
	timeout 20 "$T/tools/sock" call control.sock /tmp/s <"$T/sent" >"$T/back"
	echo end >>"$T/sent"
	cmp "$T/sent" "$T/back"
	wait_for 5 eval 'docker logs cc | grep -qx served'
}

@test "two networks: two cards in the engine's order, each with its address" {
	docker network create --subnet 172.31.253.0/24 -o com.docker.network.bridge.name="${BRIDGE}b" second
	docker create --name two --runtime=dink-vm box:1 sh -c 'ip -o -4 addr | sed "s/.*: \(eth.\) *inet \([^ ]*\).*/\1 \2/"'
	docker network connect --ip 172.31.253.9 second two
	run docker start -a two
	[ "$status" -eq 0 ]
	[[ "$output" == *"eth0 $NET."* ]]
	[[ "$output" == *"eth1 172.31.253.9/24"* ]]
	docker rm -f two
	docker network rm second
}

@test "a network connected and disconnected while the container runs" {
	docker network create --subnet 172.31.253.0/24 -o com.docker.network.bridge.name="${BRIDGE}b" second
	vmrun -d --name run box:1 sleep 1000
	# Docker calls it eth1, then eth2
	for _ in 1 2; do
		docker network connect --ip 172.31.253.9 second run
		run -0 docker exec run sh -c 'ip -o -4 addr; ping -c 1 -W 3 172.31.253.1; ping -c 1 -W 3 '"$NET.1"
		[[ "$output" == *"172.31.253.9/24"*" 0% packet loss"*" 0% packet loss"* ]]
		docker network disconnect second run
		run -0 docker exec run ls /sys/class/net
		[ "$output" = $'eth0\nlo' ]
	done
	docker rm -f run
	docker network rm second
}

@test "more networks than the VM has cards: refused in words, and no VM is left" {
	local n
	docker create --name many --runtime=dink-vm box:1 true
	for n in 1 2 3; do
		docker network create --subnet "172.31.25$n.0/24" -o com.docker.network.bridge.name="${BRIDGE}$n" "more$n"
		docker network connect "more$n" many
	done
	run docker start many
	[ "$status" -ne 0 ]
	[[ "$output" == *"4 network links for a VM with 3 network cards"* ]]
	id=$(docker inspect -f '{{.Id}}' many)
	no_vm() { [ -z "$(pgrep -f -- "-name $id")" ]; }
	wait_for 5 no_vm
	docker rm -f many
	for n in 1 2 3; do docker network rm "more$n"; done
}

@test "a failed exec says one thing once, as with runc" {
	vmrun -d --name cc --network none box:1 sleep 1000
	run -126 docker exec cc no-such-command
	[ "${#lines[@]}" -eq 1 ]
	[[ "$output" == *'exec: "no-such-command": executable file not found in $PATH: unknown'* ]]
}

@test "limits make the size of the VM" {
	run vmrun --rm --network none -m 256m --cpus 2 box:1 sh -c 'nproc; awk "/MemTotal/{print (\$2 > 230000 && \$2 < 400000)}" /proc/meminfo; cat /sys/fs/cgroup/memory.max'
	[ "${lines[0]}" = 2 ]
	[ "${lines[1]}" = 1 ]
}

@test "pause, unpause, update, top, stats" {
	vmrun -d --name cc --network none box:1 sleep 1000
	docker pause cc
	[[ "$(docker ps --format '{{.Status}}')" == *Paused* ]]
	docker unpause cc
	docker update --memory 100m --memory-swap 100m cc
	docker top cc | grep 'sleep 1000$'
	docker stats --no-stream --format '{{.MemUsage}}' cc | grep -q MiB
	[ "$(docker exec cc echo alive)" = alive ]
}

# folder of a container's own cgroup: of the memory controller, or the one of version 2
group_of() {
	find /sys/fs/cgroup -type d -path "*/docker/$1" | grep -E '^/sys/fs/cgroup/(memory/)?docker/'
}

@test "a cgroup on the host with QEMU in it, its limits, lack of memory told; gone with rm" {
	local id group qemu cpu
	id=$(vmrun -d --name cc --network none -m 64m --memory-swap 64m --cpus 1 box:1 sleep 1000)
	group=$(group_of "$id")
	qemu=$(pgrep -f "qemu-system.*$T/guest")
	grep -qx "$qemu" "$group/cgroup.procs"
	grep -qx "$(docker inspect -f '{{.State.Pid}}' cc)" "$group/cgroup.procs"
	if [ -e "$group/memory.max" ]; then
		[ "$(cat "$group/memory.max")" -gt 167772160 ]
		docker update --cpus 0.5 cc
		[ "$(cat "$group/cpu.max")" = "60000 100000" ]
	else
		[ "$(cat "$group/memory.limit_in_bytes")" -gt 167772160 ]
		[ "$(cat "$group/memory.limit_in_bytes")" -lt 1073741824 ]
		cpu=$(dirname "$(find /sys/fs/cgroup -path "*/docker/$id/cpu.cfs_quota_us")")
		[ "$(cat "$cpu/cpu.cfs_quota_us")" = 110000 ]
		docker update --cpus 0.5 cc
		[ "$(cat "$cpu/cpu.cfs_quota_us")" = 60000 ]
		grep -qx "$qemu" "$cpu/cgroup.procs"
	fi
	# the guest's kernel kills it, the VM goes on, and its engine hears of it at the end
	run -137 docker exec cc tail /dev/zero
	[ "$(docker exec cc echo alive)" = alive ]
	docker kill cc
	[ "$(docker wait cc)" = 137 ]
	[ "$(docker inspect -f '{{.State.OOMKilled}}' cc)" = true ]
	docker rm cc
	[ -z "$(find /sys/fs/cgroup -type d -name "$id")" ]
}

@test "cp in and out of a running container" {
	vmrun -d --name cc --network none box:1 sleep 1000
	echo in >"$T/f"
	docker cp "$T/f" cc:/tmp/f
	[ "$(docker exec cc cat /tmp/f)" = in ]
	docker exec cc sh -c 'echo out >/tmp/g'
	docker cp cc:/tmp/g "$T/g"
	[ "$(cat "$T/g")" = out ]
}

@test "--init, and a restart" {
	run vmrun --rm --network none --init box:1 cat /proc/1/comm
	[ "$status" -eq 0 ] && [ "$output" != cat ]
	vmrun -d --name cc --network none box:1 sleep 1000
	docker restart -t 0 cc
	[ "$(docker exec cc echo again)" = again ]
}

@test "SIGKILL of QEMU, virtiofsd or the monitor: the engine says so, nothing is left" {
	for victim in qemu virtiofsd monitor; do
		vmrun -d --name kk box:1 sleep 1000
		id=$(docker inspect -f '{{.Id}}' kk)
		case $victim in
		qemu) pid=$(pgrep -f "^/usr/bin/qemu-system.*-name $id") ;;
		virtiofsd) pid=$(pgrep -f "virtiofsd.*$id" | head -n 1) ;;
		monitor) pid=$(docker inspect -f '{{.State.Pid}}' kk) ;;
		esac
		kill -KILL "$pid"
		[ "$(timeout 10 docker wait kk)" = 137 ]
		docker rm -f kk
		assert_nothing_left
	done
}

@test "an exec ends with its VM" {
	vmrun -d --name kk --network none box:1 sleep 1000
	timeout 20 docker exec kk sleep 1000 3>&- &
	wait_for 5 docker exec kk sh -c 'ps | grep -v grep | grep "sleep 1000" | wc -l | grep -x 2'
	docker kill kk
	status=0
	wait %1 || status=$?
	[ "$status" -eq 137 ]
}
