#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Guest kernels: `dink kernel build|check|list`, and what the built kernel is good for: booting by
# PVH, everything dockerd needs, /dev/kvm in the guest, the libguestfs appliance.
# The first run builds the kernel (minutes) into the shared cache.
# shellcheck disable=SC2030,SC2031 # each test has its own environment, which is meant

bats_require_minimum_version 1.5.0

setup_file() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	export NO_COLOR=1
	command -v qemu-system-x86_64 >/dev/null || skip "no qemu-system-x86_64"
	KERNEL=$(build/dink kernel build)
	export KERNEL
}

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	dink=$PWD/build/dink
}

# An initramfs whose /init says what it sees and powers off.
make_initramfs() {
	mkdir -p "$BATS_TEST_TMPDIR/root/dev" "$BATS_TEST_TMPDIR/root/proc"
	gcc -O2 -Wall -Wextra -static -o "$BATS_TEST_TMPDIR/root/init" tests/e2e/guest_init.c
	(cd "$BATS_TEST_TMPDIR/root" && find . | cpio -o -H newc --quiet) >"$BATS_TEST_TMPDIR/initramfs"
}

# boot CPU KERNEL [QEMU ARGUMENT...]
boot() {
	local cpu=$1 kernel=$2
	shift 2
	timeout 120 qemu-system-x86_64 -M q35,sata=off,smbus=off -accel tcg,thread=multi -cpu "$cpu" \
		-m 512 -nodefaults -no-user-config -display none -no-reboot -serial stdio \
		-kernel "$kernel" -initrd "$BATS_TEST_TMPDIR/initramfs" \
		-append "console=ttyS0 quiet tsc=reliable" "$@" </dev/null
}

@test "a kernel that was built is found in the cache within a second" {
	start=$(date +%s%N)
	run -0 --separate-stderr "$dink" kernel build
	end=$(date +%s%N)
	[ "$output" = "$KERNEL" ]
	echo "took $(((end - start) / 1000000)) ms"
	[ $((end - start)) -lt 1000000000 ]
	# features that are standard make no other kernel
	run -0 --separate-stderr "$dink" kernel build --features btrfs,containers --features nftables
	[ "$output" = "$KERNEL" ]
}

@test "the cache holds a kernel, its configuration and where it came from" {
	run -0 --separate-stderr "$dink" kernel build --json
	[ "$(jq -r .dir <<<"$output")" = "$KERNEL" ]
	[ "$(basename "$KERNEL")" = "$(jq -r .key "$KERNEL/manifest.json")" ]
	jq -e '.source | startswith("debian linux-source-")' "$KERNEL/manifest.json"
	[ "$(stat -c %s "$KERNEL/bzImage")" -le $((7 << 20)) ]
	grep -qx '# CONFIG_MODULES is not set' "$KERNEL/config"
	# PVH: an ELF note of type 18 (XEN_ELFNOTE_PHYS32_ENTRY) of Xen
	readelf -n "$KERNEL/vmlinux" | grep -q Xen
	# nothing is left of the build
	[ -z "$(find "$(dirname "$KERNEL")" -maxdepth 1 -name '.build-*')" ]
	run -0 --separate-stderr "$dink" kernel list
	[[ $output == *"$(basename "$KERNEL" | cut -c1-12)"* ]]
}

@test "its configuration has what each standard feature needs" {
	run -0 --separate-stderr "$dink" kernel check "$KERNEL/config"
	[ "$output" = "$KERNEL/config has everything" ]
}

@test "Moby's own check-config.sh misses nothing that dockerd needs" {
	script=/usr/share/docker.io/contrib/check-config.sh
	[ -f "$script" ] || skip "no $script"
	bash "$script" "$KERNEL/config" >"$BATS_TEST_TMPDIR/out" || echo "exit status $?"
	sed 's/\x1b\[[0-9;]*m//g' "$BATS_TEST_TMPDIR/out" >"$BATS_TEST_TMPDIR/plain"
	grep -q 'CONFIG_BRIDGE_NETFILTER: enabled' "$BATS_TEST_TMPDIR/plain"
	sed -n '/^Generally Necessary/,/^Optional Features/p' "$BATS_TEST_TMPDIR/plain" \
		>"$BATS_TEST_TMPDIR/necessary"
	[ "$(grep -c 'CONFIG_.*: enabled' "$BATS_TEST_TMPDIR/necessary")" -ge 20 ]
	run -1 grep CONFIG_.*missing "$BATS_TEST_TMPDIR/necessary"
	# optional ones that are left out on purpose, and no others
	grep -oP 'CONFIG_\w+(?=: missing)' "$BATS_TEST_TMPDIR/plain" | sort >"$BATS_TEST_TMPDIR/missing"
	cat >"$BATS_TEST_TMPDIR/left-out" <<-END
		CONFIG_AUFS_FS
		CONFIG_CGROUP_HUGETLB
		CONFIG_CGROUP_NET_PRIO
		CONFIG_CRYPTO_AEAD
		CONFIG_CRYPTO_GCM
		CONFIG_CRYPTO_GHASH
		CONFIG_CRYPTO_SEQIV
		CONFIG_DM_THIN_PROVISIONING
		CONFIG_INET_ESP
		CONFIG_MEMCG_SWAP
		CONFIG_NET_CLS_CGROUP
		CONFIG_RT_GROUP_SCHED
		CONFIG_XFRM
		CONFIG_XFRM_ALGO
		CONFIG_XFRM_USER
	END
	diff -u "$BATS_TEST_TMPDIR/left-out" "$BATS_TEST_TMPDIR/missing"
}

@test "each symbol that a configuration lacks is named with who asks for it" {
	sed -e 's/^CONFIG_BTRFS_FS=y/CONFIG_BTRFS_FS=m/' \
		-e 's/^CONFIG_VETH=y/# CONFIG_VETH is not set/' \
		-e 's/^CONFIG_64BIT=y/# CONFIG_64BIT is not set/' \
		"$KERNEL/config" >"$BATS_TEST_TMPDIR/config"
	cd "$BATS_TEST_TMPDIR"
	run -4 --separate-stderr "$dink" kernel check config --features containers,btrfs
	cat >expected <<-'END'
		CONFIG_64BIT is not set: guest (a 32-bit kernel cannot run dink-agent)
		CONFIG_BTRFS_FS is a module, and a guest loads none: btrfs (the btrfs storage driver, btrfs disks)
		CONFIG_VETH is not set: containers (container interfaces)
		config: 3 missing
	END
	diff -u expected - <<<"$output"
	gzip config
	run -4 --separate-stderr "$dink" kernel check config.gz --features btrfs --json
	jq -e '.ok == false and (.missing | map(.symbol)) == ["64BIT", "BTRFS_FS"]' <<<"$output"
	jq -e '.missing[1] | .found == "m" and .wanted == "y" and .feature == "btrfs"' <<<"$output"
}

@test "what is no configuration, and no feature, is refused" {
	echo 'features: [btrfs]' >"$BATS_TEST_TMPDIR/yaml"
	run -2 "$dink" kernel check "$BATS_TEST_TMPDIR/yaml"
	[[ $output == *"yaml:1:1: no kernel configuration: expected CONFIG_NAME=VALUE"* ]]
	run -2 "$dink" kernel check "$KERNEL/config" --features wiregard
	[[ $output == *'unknown kernel feature "wiregard"'*'did you mean "wireguard"?'* ]]
	run -2 "$dink" kernel check "$BATS_TEST_TMPDIR/nowhere"
}

@test "a tarball with the wrong sha256 is refused before it is unpacked" {
	mkdir -p "$BATS_TEST_TMPDIR/linux-9.9"
	tar -C "$BATS_TEST_TMPDIR" -cJf "$BATS_TEST_TMPDIR/linux-9.9.tar.xz" linux-9.9
	sum=$(sha256sum "$BATS_TEST_TMPDIR/linux-9.9.tar.xz" | cut -d' ' -f1)
	export DINK_CACHE_DIR=$BATS_TEST_TMPDIR/cache
	run -4 "$dink" kernel build --source "$BATS_TEST_TMPDIR/linux-9.9.tar.xz" --sha256 "${sum//[0-9]/0}"
	[[ $output == *"linux-9.9.tar.xz has sha256 $sum, not ${sum//[0-9]/0}"* ]]
	[ -z "$(find "$DINK_CACHE_DIR/kernels" -mindepth 1 -type d)" ]
	# the right sum, but no kernel in it
	run -4 "$dink" kernel build --source "$BATS_TEST_TMPDIR/linux-9.9.tar.xz" --sha256 "$sum"
	[[ $output == *"holds no kernel sources: no Kconfig in it"* ]]
	[ -z "$(find "$DINK_CACHE_DIR/kernels" -mindepth 1 -type d)" ]
	run -2 "$dink" kernel build --source "$BATS_TEST_TMPDIR/linux-9.9.tar.xz"
	[[ $output == *"needs its sha256"*"hint: sha256sum "* ]]
}

@test "without apt's lists the error says what to do" {
	mkdir -p "$BATS_TEST_TMPDIR/lists/partial" "$BATS_TEST_TMPDIR/archives/partial"
	cat >"$BATS_TEST_TMPDIR/apt.conf" <<-END
		Dir::State::lists "$BATS_TEST_TMPDIR/lists";
		Dir::Cache "$BATS_TEST_TMPDIR/archives";
		Dir::Etc::sourcelist "/dev/null";
		Dir::Etc::sourceparts "/dev/null";
	END
	export APT_CONFIG=$BATS_TEST_TMPDIR/apt.conf DINK_CACHE_DIR=$BATS_TEST_TMPDIR/cache
	run -4 "$dink" kernel build
	[[ $output == *"apt knows no package linux-source"*"hint: apt-get update"* ]]
}

@test "two builders of one kernel: the second waits, a signal ends its waiting" {
	export DINK_CACHE_DIR=$BATS_TEST_TMPDIR/cache
	mkdir -p "$DINK_CACHE_DIR/kernels"
	exec 8>"$DINK_CACHE_DIR/kernels/lock"
	flock 8
	"$dink" kernel build >"$BATS_TEST_TMPDIR/out" 2>&1 8>&- &
	pid=$!
	for _ in $(seq 100); do
		grep -q 'waiting for another kernel build' "$BATS_TEST_TMPDIR/out" && break
		sleep 0.1
	done
	kill -INT "$pid"
	status=0
	wait "$pid" || status=$?
	exec 8>&-
	[ "$status" -eq 130 ]
	grep -q 'waiting for another kernel build' "$BATS_TEST_TMPDIR/out"
	[ -z "$(find "$DINK_CACHE_DIR/kernels" -name '.build-*')" ]
}

@test "a bundle is all that another engine needs to start guests" {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	command -v dockerd >/dev/null || skip "no dockerd"
	[ -x /bin/busybox ] || skip "no busybox"
	b=$(mktemp -d /tmp/dink-bundle-test.XXXXXX)
	run -0 --separate-stderr "$dink" kernel bundle -o "$b/guest"
	[ "$output" = "$b/guest" ]
	cmp "$KERNEL/vmlinux" "$b/guest/vmlinux"
	[ -z "$(find "$b/guest" -type l)" ]
	# an engine's name for a runtime carries no flags in Docker 20.10
	printf '#!/bin/sh\nexec %s/guest/dink-vm --guest %s/guest "$@"\n' "$b" "$b" >"$b/vm"
	chmod +x "$b/vm"
	mkdir -p "$b/root/bin" "$b/root/proc" "$b/root/dev" "$b/root/sys"
	cp /bin/busybox "$b/root/bin/sh"
	dockerd -H "unix://$b/sock" --data-root "$b/data" --exec-root "$b/exec" --pidfile "$b/pid" \
		--bridge none --iptables=false --ip-masq=false --add-runtime "vm=$b/vm" \
		>"$b/log" 2>&1 3>&- &
	for _ in $(seq 300); do
		docker -H "unix://$b/sock" version >/dev/null 2>&1 && break
		sleep 0.1
	done
	tar -C "$b/root" -c . | docker -H "unix://$b/sock" import - box:1 >/dev/null
	status=0
	docker -H "unix://$b/sock" run --rm --runtime vm --network none box:1 \
		sh -c 'read -r _ _ release _ </proc/version; echo "$release"; exit 7' \
		>"$b/out" 2>"$b/err" || status=$?
	kill "$(cat "$b/pid")"
	wait
	said=$(cat "$b/out" "$b/err")
	grep -F "$b/" /proc/self/mounts | cut -d' ' -f2 | sort -r | while read -r m; do
		umount -l "$m"
	done
	rm -rf "$b"
	echo "$said"
	[ "$status" -eq 7 ]
	[ "$said" = "$(jq -r .release "$KERNEL/manifest.json")" ]
}

@test "it boots by PVH and from its bzImage, with one processor and with two" {
	make_initramfs
	for kernel in vmlinux bzImage; do
		for cpus in 1 2; do
			run -0 boot qemu64 "$KERNEL/$kernel" -smp "$cpus"
			[[ $output == *"cpus=$cpus "* ]]
			# never the HPET: each clock_gettime() would leave the guest
			[[ $output == *"clock=tsc"* ]]
		done
	done
}

@test "it boots with qboot" {
	make_initramfs
	run -0 boot qemu64 "$KERNEL/vmlinux" -bios qboot.rom
	[[ $output == *"cpus=1 "* ]]
}

@test "virtual machines can be started inside the guest" {
	make_initramfs
	run -0 boot qemu64,+svm,+npt "$KERNEL/vmlinux"
	[[ $output == *"kvm=12 "* ]]
	run -0 boot qemu64,-svm "$KERNEL/vmlinux"
	[[ $output == *"kvm=none "* ]]
}

@test "it boots the libguestfs appliance, which reads a btrfs image" {
	command -v guestfish >/dev/null || skip "no guestfish"
	command -v mkfs.btrfs >/dev/null || skip "no mkfs.btrfs"
	cd "$BATS_TEST_TMPDIR"
	mkdir -p tree/etc modules appliance
	echo "read by our kernel" >tree/etc/proof
	touch modules/modules.order modules/modules.builtin modules/modules.dep
	truncate -s 256M disk.img
	mkfs.btrfs -q --rootdir tree disk.img
	# libguestfs looks for this folder even when it is told of another
	made=
	if [ ! -d /lib/modules ]; then
		mkdir /lib/modules
		made=1
	fi
	status=0
	LIBGUESTFS_BACKEND=direct LIBGUESTFS_BACKEND_SETTINGS=force_tcg \
		SUPERMIN_KERNEL=$KERNEL/bzImage SUPERMIN_MODULES=$PWD/modules \
		SUPERMIN_KERNEL_VERSION=$(jq -r .release "$KERNEL/manifest.json") \
		LIBGUESTFS_CACHEDIR=$PWD/appliance TMPDIR=$PWD/appliance \
		timeout 300 guestfish --ro -a disk.img run : list-filesystems : mount-ro /dev/sda / : \
		cat /etc/proof >out 2>err || status=$?
	if [ -n "$made" ]; then
		rmdir /lib/modules
	fi
	cat out err
	[ "$status" -eq 0 ]
	grep -qx '/dev/sda: btrfs' out
	grep -qx 'read by our kernel' out
}
