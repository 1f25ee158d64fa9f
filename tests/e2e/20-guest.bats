#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The guest agent in a real guest (QEMU, TCG): protocol, streams, container, network, end.

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return 1
	CACHE=${DINK_CACHE_DIR:-/var/cache/dink}
	HOST=$BATS_TEST_TMPDIR/guest_host
}

# need WHAT PATH - skip where it is missing, fail where everything must work
need() {
	[ -n "$2" ] && [ -e "$2" ] && return 0
	[ "${DINK_MUST_WORK:-}" = 1 ] && { echo "missing: $1" >&2; return 1; }
	skip "missing: $1"
}

# best KEY FILE... - the file with the greatest KEY (a find -printf directive), of those that exist
best() {
	local key=$1
	shift
	find "$@" -maxdepth 0 -printf "$key %p\n" 2>/dev/null | sort -n | tail -n 1 | cut -d' ' -f2-
}

@test "the agent serves a container in a guest" {
	kernel=$(best %T@ "$CACHE"/kernels/*/vmlinux)
	root=$(best -%s "$CACHE"/images/*/root.erofs)
	need "a guest kernel in $CACHE (make one: build/dink kernel build)" "$kernel"
	need "an EROFS root in $CACHE/images (make one: build/dink image build debian)" "$root"
	need "build/dink-agent (make)" build/dink-agent
	cc -std=gnu17 -D_GNU_SOURCE -O1 -I. -o "$HOST" tests/e2e/guest_host.c build/libdink.a \
		-ljson-c -lcrypto
	run timeout 400 "$HOST" "$kernel" build/dink-agent "$root"
	echo "$output"
	echo "$output" | grep '^# ' >&3
	[ "$status" -eq 0 ]
	echo "$output" | grep -q '^1\.\.69$'
}

@test "a test leaves no file behind" {
	run ls /tmp/dink-guest-test.*
	[ "$status" -ne 0 ]
}
