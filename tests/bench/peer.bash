# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The peer of dink-vm's benchmarks: the same kernel in a plain QEMU, as someone would start it who
# wants a VM and no container. Needs $bench_dir and $guest.

# peer_archive NAME INIT [PROGRAM...] - $bench_dir/NAME.cpio: busybox, INIT and programs with their
# libraries
peer_archive() {
	local d=$bench_dir/$1.d name=$1 init=$2 program lib
	shift 2
	mkdir -p "$d"/{bin,proc,sys,dev,vol,usr/bin,tmp}
	cp /bin/busybox "$d/bin/"
	ln -s busybox "$d/bin/sh"
	mknod "$d/dev/console" c 5 1
	for program in "$@"; do
		cp "$program" "$d/usr/bin/"
		for lib in $(ldd "$program" | grep -o '/[^ ]*'); do
			mkdir -p "$d${lib%/*}"
			cp -L "$lib" "$d$lib"
		done
	done
	printf '%s\n' "$init" >"$d/init"
	chmod +x "$d/init"
	(cd "$d" && find . | cpio -o -H newc --quiet) >"$bench_dir/$name.cpio"
	rm -rf "$d"
}

# peer_qemu NAME [WORDS] [OPTION...] - boot NAME.cpio with the kernel words until it powers off; its
# console is standard output
peer_qemu() {
	local name=$1 words=${2:-}
	shift
	shift $(($# > 0))
	timeout 300 qemu-system-x86_64 -machine "q35${peer_machine:-}" -accel tcg -cpu qemu64 -m 512 \
		-nodefaults -no-user-config -display none -no-reboot -serial stdio \
		-kernel "$guest/vmlinux" -initrd "$bench_dir/$name.cpio" \
		-append "console=ttyS0 quiet panic=-1 mitigations=off nokaslr $words" "$@" </dev/null
}

# what makes a guest under TCG quick, and right with a share (docs/performance.md, docs/dink-vm.md): the
# peer of throughput has it too
peer_tuned='tsc=reliable no_timer_check norandmaps nolapic_timer init_on_alloc=1'

# shellcheck disable=SC2016 # for the guest's shell
peer_boot_init='#!/bin/busybox sh
/bin/busybox poweroff -f'

# shellcheck disable=SC2016
peer_net_init='#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t devtmpfs dev /dev
$b ip link set lo up; $b ip addr add $bench_ip dev eth0; $b ip link set eth0 up
/usr/bin/iperf3 -c $bench_to -t $bench_seconds -f m
$b poweroff -f'

# shellcheck disable=SC2016
peer_volume_init='#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t devtmpfs dev /dev
$b mount -t virtiofs bench /vol
$b sh /vol/volume.sh $bench_round
$b umount /vol
$b poweroff -f'

# What both sides run on the volume: 256 MiB written, 256 MiB read that this guest has not seen,
# 10,000 files of 4 bytes made and taken away. Prints "WHAT SECONDS".
# shellcheck disable=SC2016
volume_script='b=/bin/busybox
now() { read t _ </proc/uptime; echo "$t"; }
took() { $b awk -v what=$1 -v a=$2 -v b=$(now) "BEGIN { printf \"%s %.2f\n\", what, b - a }"; }
cd /vol || exit 1
t=$(now); $b dd if=/dev/zero of=write.$1 bs=1M count=256 conv=fsync 2>/dev/null; took write $t
t=$(now); $b dd if=read.$1 of=/dev/null bs=1M 2>/dev/null; took read $t
$b mkdir files.$1; cd files.$1; i=0; t=$(now)
while [ $i -lt 10000 ]; do echo abc >$i; i=$((i + 1)); done; took files $t
cd ..; $b rm -rf files.$1 write.$1'
