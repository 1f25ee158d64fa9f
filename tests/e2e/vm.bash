# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Shared by the dink-vm tests: a guest folder, a small root, an engine of their own, residue checks.
# Everything lives below $T, so that what is left of a test is what still names $T.

ROOT_DIR=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
export ROOT_DIR

# need WHAT TEST... - skip where TEST fails, fail where everything must work
need() {
	local what=$1
	shift
	"$@" && return 0
	[ "${DINK_MUST_WORK:-}" = 1 ] && { echo "missing: $what" >&2; return 1; }
	skip "missing: $what"
}

vm_prepare() {
	T=$(mktemp -d "${TMPDIR:-/tmp}/dink-vm-test.XXXXXX")
	export T
	local cache=${DINK_CACHE_DIR:-/var/cache/dink} kernel
	kernel=$(find "$cache"/kernels -name vmlinux -printf '%T@ %p\n' 2>/dev/null |
		sort -rn | head -n 1 | cut -d' ' -f2-)
	need "a guest kernel in $cache (make one: build/dink kernel build)" test -n "$kernel"
	need "busybox (apt-get install busybox-static)" test -x /bin/busybox
	mkdir "$T/guest"
	ln -s "$kernel" "$T/guest/vmlinux"
	cc -std=gnu17 -D_GNU_SOURCE -I"$ROOT_DIR" -o "$T/make_guest" \
		"$ROOT_DIR/tests/e2e/tools/make_guest.c" "$ROOT_DIR/build/libdink.a" -ljson-c -lcrypto
	"$T/make_guest" "$T/guest/initramfs.cpio" "$ROOT_DIR/build/dink-agent" "$(command -v crun)" \
		"$ROOT_DIR/build/guest-lib"
	# a copy: a build that goes on meanwhile takes the program away for a moment
	cp "$ROOT_DIR/build/dink-vm" "$T/dink-vm.bin"
	# an engine's name for a runtime carries no flags in Docker 20.10
	printf '#!/bin/sh\nexec %s/dink-vm.bin --guest %s/guest --template-dir %s/templates "$@"\n' "$T" "$T" "$T" >"$T/dink-vm"
	chmod +x "$T/dink-vm"
	make_root "$T/rootfs"
}

make_root() {
	local r=$1 applet
	mkdir -p "$r"/bin "$r"/proc "$r"/sys "$r"/dev "$r"/etc "$r"/tmp "$r"/data
	cp /bin/busybox "$r/bin/busybox"
	for applet in $(/bin/busybox --list); do
		[ -e "$r/bin/$applet" ] || ln -s busybox "$r/bin/$applet"
	done
	printf 'root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n' >"$r/etc/passwd"
	printf 'root:x:0:\nuser:x:1000:\n' >"$r/etc/group"
	chmod 1777 "$r/tmp"
}

# wait_for SECONDS COMMAND... - until it succeeds
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { echo "not in time: $*" >&2; return 1; }
		sleep 0.1
	done
}

processes_of() { pgrep -f -- "$1" | grep -vx -e $$ -e "$BASHPID" | while read -r p; do
	# a zombie has no command line and is its parent's business
	tr '\0' ' ' <"/proc/$p/cmdline" 2>/dev/null | grep -F -- "$1"
done; return 0; }

# vm_left - what is still there of any VM started from $T; nothing is right
vm_left() {
	local d
	processes_of "$T/guest/vmlinux"
	processes_of "$T.*/share"
	pgrep -af -- "dink-vm --root $T.* monitor "
	grep -F "$T" /proc/self/mounts | grep -F /share
	ip -o link | grep -F dinktap
	losetup -a | grep -F "$T"
	for d in "$T"/exec/runtime-*/moby/* "$T"/state/*; do
		[ ! -e "$d" ] || echo "$d"
	done
	return 0
}

nothing_left() { [ -z "$(vm_left)" ]; }

assert_nothing_left() {
	wait_for 5 nothing_left || { vm_left >&2; return 1; }
}
