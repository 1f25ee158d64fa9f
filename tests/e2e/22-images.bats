#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `dink image build`: recipes to archives and disk images in a content-keyed cache. The two shipped
# images come from the shared cache (built there if need be, about two minutes).
# Its tests run two at a time.

bats_require_minimum_version 1.5.0

setup() {
	top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	dink=$top/build/dink
	export NO_COLOR=1
	cd "$BATS_TEST_TMPDIR" || return
}

need_root() {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
}

@test "the shipped images are built once and found again" {
	need_root
	run -0 --separate-stderr "$dink" image build --json
	first=$output
	[ "$(jq -r '.[].ref' <<<"$first" | paste -sd' ')" = "debian:latest docker-host:latest" ]
	run -0 --separate-stderr "$dink" image build --json
	[ "$output" = "$first" ]
	[ -z "$stderr" ]
	for f in $(jq -r '.[] | .archive, .erofs, .block_root_archive' <<<"$first"); do
		[ -s "$f" ]
	done
	# small enough to be moved between layers
	[ "$(jq '.[0].archive_bytes' <<<"$first")" -lt 78643200 ]
	[ "$(jq '.[1].archive_bytes' <<<"$first")" -lt 367001600 ]
}

@test "the id is the digest of the config, and the diff id that of the layer" {
	need_root
	json=$("$dink" image build debian --json 2>/dev/null)
	archive=$(jq -r '.[0].archive' <<<"$json")
	tar -xf "$archive"
	config=$(jq -r '.[0].Config' manifest.json)
	[ "sha256:$(sha256sum "$config" | cut -d' ' -f1)" = "$(jq -r '.[0].id' <<<"$json")" ]
	layer=$(jq -r '.[0].Layers[0]' manifest.json)
	[ "sha256:$(sha256sum "$layer" | cut -d' ' -f1)" = "$(jq -r '.rootfs.diff_ids[0]' "$config")" ]
}

@test "the disk image carries the same root as the layer" {
	need_root
	json=$("$dink" image build debian --json 2>/dev/null)
	fsck.erofs "$(jq -r '.[0].erofs' <<<"$json")"
	mkdir root
	mount -t erofs -o loop,ro "$(jq -r '.[0].erofs' <<<"$json")" root
	cp root/etc/os-release os-release
	owner=$(stat -c %u:%a root/usr/bin/su)
	umount root
	grep -q '^ID=debian' os-release
	[ "$owner" = 0:4755 ]
}

@test "docker-host carries what a layer needs, and none of QEMU's other machines" {
	need_root
	json=$("$dink" image build docker-host --json 2>/dev/null)
	tar -xOf "$(jq -r '.[0].archive' <<<"$json")" --wildcards '*/layer.tar' | tar -t | sed 's,^\./,,' >list
	for f in usr/sbin/dockerd usr/bin/containerd usr/sbin/runc usr/bin/crun usr/bin/docker \
		usr/bin/qemu-system-x86_64 usr/lib/qemu/virtiofsd usr/bin/tini usr/bin/mount \
		usr/sbin/mkfs.ext4 usr/bin/btrfs usr/local/sbin/layer-init usr/share/qemu/pvh.bin; do
		grep -qx "$f" list || { echo "lacks $f"; return 1; }
	done
	run ! grep -q 'openbios\|usr/share/doc/\|keymaps' list
}

@test "a recipe's mistake is shown where it is" {
	mkdir r
	printf 'suite: bookworm\npackagse: bash\n' >r/recipe
	run -3 --separate-stderr "$dink" image build ./r
	[[ $stderr == *"r/recipe:2:1: unknown key"* ]]
	[[ $stderr == *"did you mean 'packages'"* ]]
}

@test "a docker archive is taken as it is" {
	need_root
	json=$("$dink" image build debian --json 2>/dev/null)
	cp "$(jq -r '.[0].block_root_archive' <<<"$json")" some.tar
	run -0 --separate-stderr "$dink" image build ./some.tar --json
	[ "$(jq -r '.[0].ref' <<<"$output")" = debian:block-root ]
	echo no >some.tar
	run -4 --separate-stderr "$dink" image build ./some.tar
}

@test "an interrupted build leaves nothing but its lock" {
	need_root
	mkdir r cache
	printf 'suite: bookworm\n' >r/recipe
	DINK_CACHE_DIR=$PWD/cache "$dink" image build ./r 3>&- >out 2>&1 &
	pid=$!
	for _ in {1..100}; do
		! compgen -G 'cache/images/.*.partial/tmp' >/dev/null || break
		sleep 0.1
	done
	sleep 1
	kill -TERM $pid
	status=0
	wait $pid || status=$?
	[ "$status" -eq 130 ]
	run find cache/images -mindepth 1 ! -name '.*.lock'
	[ -z "$output" ]
}

@test "two builds give one id, whatever the folder, the user and the temporary folder" {
	need_root
	[ -x /usr/bin/newuidmap ] || skip "needs uidmap"
	mkdir -m 1777 tmp
	first=$("$dink" image build debian --json 2>/dev/null)
	# as a user of no rights with a private home, by the ids that /etc/subuid gives
	user=dinkbats$$
	useradd --create-home --home-dir "$BATS_TEST_TMPDIR/home" --shell /bin/sh "$user"
	chmod 700 home
	chmod o+x "$BATS_RUN_TMPDIR" "${BATS_TEST_TMPDIR%/*}" "$BATS_TEST_TMPDIR"
	install -m 755 "$dink" tmp/dink
	status=0
	runuser -u "$user" -- env -i HOME="$PWD/home" PATH="$PATH" XDG_CACHE_HOME="$PWD/home/cache" \
		TMPDIR="$PWD/tmp" DINK_DATA_DIR="$top" "$PWD/tmp/dink" image build debian --json \
		>second 2>why || status=$?
	left=$(find home/cache -mindepth 1 -name '.*' ! -name '.*.lock')
	userdel "$user"
	cat why
	[ "$status" -eq 0 ]
	[ "$(jq -r '.[0].id' second)" = "$(jq -r '.[0].id' <<<"$first")" ]
	cmp "$(jq -r '.[0].erofs' second)" "$(jq -r '.[0].erofs' <<<"$first")"
	[ -z "$left" ]
}

@test "a damaged or incomplete cache entry is noticed and built again" {
	need_root
	# a mirror that is not there: what tries to build fails, and so tells that it tried
	whole=$(dirname "$("$dink" image build debian --json 2>/dev/null | jq -r '.[0].archive')")
	copy=$PWD/cache/images/${whole##*/}
	export DINK_CACHE_DIR=$PWD/cache
	export http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9
	for harm in "rm $copy/image.tar" "truncate -s -1 $copy/root.erofs" "rm $copy/manifest.json" \
		"truncate -s 0 $copy/manifest.json" "dd if=/dev/urandom of=$copy/root.erofs bs=4k count=1 seek=99 conv=notrunc"; do
		rm -rf cache
		mkdir -p cache/images
		cp -a --reflink=auto "$whole" cache/images/
		# shellcheck disable=SC2086 # a command and its words
		$harm
		run -5 --separate-stderr "$dink" image build debian
		[[ $stderr == *"damaged"* ]]
		[ ! -e "$copy" ]
	done
	# copied without its time stamps it is looked at closer, and found whole
	rm -rf cache
	mkdir -p cache/images
	cp -a --reflink=auto "$whole" cache/images/
	touch "$copy"/*
	run -0 --separate-stderr "$dink" image build debian
	[ "$(stat -c %Y "$copy/image.tar")" = 1735689600 ]
}

@test "a disk that is full is said so, and nothing is left on it" {
	need_root
	mkdir cache
	mount -t tmpfs -o size=48m tmpfs cache
	export DINK_CACHE_DIR=$PWD/cache
	run --separate-stderr "$dink" image build debian
	left=$(find cache/images -mindepth 1 ! -name '.*.lock')
	umount cache
	[ "$status" -eq 4 ]
	[[ $stderr == *"No space left on device"* ]]
	[[ $stderr == *"DINK_CACHE_DIR"* ]]
	[ -z "$left" ]
}

@test "layer-init says what is missing instead of going on" {
	need_root
	init=$top/images/docker-host/files/usr/local/sbin/layer-init
	run -1 "$init"
	[[ $output == *"usage: layer-init"* ]]
	# no right to remount, cgroups read-only: an engine would fail later and worse
	# shellcheck disable=SC2016 # for the inner shell
	run -1 unshare --mount sh -c 'for m in $(awk "\$0 ~ / - cgroup/ {print \$5}" /proc/self/mountinfo); do
		mount -o remount,bind,ro "$m"; done; mount -o remount,bind,ro /sys/fs/cgroup
		exec setpriv --bounding-set -sys_admin --inh-caps -sys_admin "$0" true' "$init"
	[[ $output == *"CAP_SYS_ADMIN"* ]]
}
