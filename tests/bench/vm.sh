#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# dink-vm below a Docker daemon of the benchmark's own, beside runc below the same daemon and beside
# what a bare QEMU needs to boot the same kernel. Kata 1.9.1 on such a machine: 4.11 s and 0.98 s.
# shellcheck source=tests/bench/lib.bash
. tests/bench/lib.bash
need_root
dockerd_pid=

end() {
	if [ -n "$dockerd_pid" ]; then
		docker ps -aq | xargs -r docker rm -f >/dev/null
		kill "$dockerd_pid"
		while kill -0 "$dockerd_pid" 2>/dev/null; do sleep 0.1; done
	fi
	awk -v d="$bench_dir" 'index($2, d) == 1 { print $2 }' /proc/self/mounts | sort -r |
		while read -r m; do umount -l "$m"; done
	rm -rf "$bench_dir"
}
trap end EXIT

guest=$(build/dink kernel bundle -q)
# an engine's name for a runtime carries no flags in Docker 20.10
printf '#!/bin/sh\nexec %s/build/dink-vm --guest %s "$@"\n' "$PWD" "$guest" >"$bench_dir/dink-vm"
chmod +x "$bench_dir/dink-vm"
export DOCKER_HOST=unix://$bench_dir/docker.sock
dockerd --data-root "$bench_dir/data" --exec-root "$bench_dir/exec" -H "$DOCKER_HOST" \
	--pidfile "$bench_dir/docker.pid" --bridge none --iptables=false --ip-masq=false \
	--add-runtime "dink-vm=$bench_dir/dink-vm" >"$bench_dir/dockerd.log" 2>&1 &
dockerd_pid=$!
wait_for 60 docker info

mkdir -p "$bench_dir/root/bin"
cp /bin/busybox "$bench_dir/root/bin/"
for applet in sh true sleep cat; do ln -s busybox "$bench_dir/root/bin/$applet"; done
tar -C "$bench_dir/root" -c . | docker import - tiny:1 >/dev/null

bare() {
	qemu-system-x86_64 -machine q35 -accel tcg -cpu qemu64 -m 512 -nodefaults -no-user-config \
		-display none -no-reboot -kernel "$guest/vmlinux" \
		-append "quiet panic=-1 root=none mitigations=off nokaslr"
}

run() { docker run --rm --network none "--runtime=$1" tiny:1 true; }

for runtime in runc dink-vm; do
	bar_run='' bar_exec=''
	[ "$runtime" = runc ] || { bar_run=2.2 bar_exec=0.2; }
	if median_of 7 run "$runtime"; then
		row "docker run --rm --network none, $runtime, median of 7" "$wall" "$bar_run"
	else
		fail "docker run --rm --network none, $runtime"
		continue
	fi
	id=$(docker run -d --network none "--runtime=$runtime" tiny:1 sleep 1000)
	clock docker exec "$id" true # the first one pays for caches
	if median_of 7 docker exec "$id" true; then
		row "docker exec true, $runtime, median of 7" "$wall" "$bar_exec"
	else
		fail "docker exec true, $runtime"
	fi
	if clock sh -c "head -c 100000000 /dev/zero | docker exec -i $id sh -c 'cat >/dev/null'"; then
		row "100 MB of standard input into docker exec, $runtime" "$wall"
	else
		fail "100 MB of standard input into docker exec, $runtime"
	fi
	docker rm -f "$id" >/dev/null
done

# the floor: this kernel until it finds no root and ends QEMU
median_of 7 bare
row "QEMU alone, the same kernel to its end, median of 7" "$wall"
row "  of that CPU time" "$cpu"

# nothing of a VM is left
sleep 1
if pgrep -af "$bench_dir.* monitor |guest.*$bench_dir" >"$bench_dir/left"; then
	cat "$bench_dir/left"
	fail "processes are left"
fi
exit "$bench_missed"
