#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A guest kernel's build as an ordinary user, cut off: kernel sources are unpacked for it, which takes
# most of a minute.

bats_require_minimum_version 1.5.0

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	export NO_COLOR=1
	dink=$PWD/build/dink
}

# as_user COMMAND... - in place of this shell, as a user without a name, a home or any privilege
as_user() {
	exec env -i PATH="$PATH" HOME=/nonexistent NO_COLOR=1 XDG_CACHE_HOME="$user_dir/xdg" \
		XDG_STATE_HOME="$user_dir/xdg" XDG_RUNTIME_DIR="$user_dir/xdg" \
		setpriv --reuid 54321 --regid 54321 --clear-groups --no-new-privs "$@"
}

@test "an ordinary user's build of a tarball ends at a signal, and leaves nothing" {
	[ "$(id -u)" -eq 0 ] || skip "needs root to become another user"
	deb=$(find "${DINK_CACHE_DIR:-/var/cache/dink}/kernels/sources" -name 'linux-source-*.deb' |
		sort | tail -n 1)
	[ -n "$deb" ] || skip "no downloaded sources"
	user_dir=$(mktemp -d /tmp/dink-kernel-test.XXXXXX)
	mkdir "$user_dir/build" "$user_dir/xdg"
	cp "$dink" "$user_dir/build/"
	cp -R kernel-configs "$user_dir/"
	dpkg-deb --fsys-tarfile "$deb" | tar -xO --wildcards '*/linux-source-*.tar.xz' \
		>"$user_dir/linux.tar.xz"
	chown -R 54321:54321 "$user_dir"
	sum=$(sha256sum "$user_dir/linux.tar.xz" | cut -d' ' -f1)
	# a background job of a shell ignores SIGINT, one of a terminal does not
	as_user env --default-signal=INT "$user_dir/build/dink" kernel build \
		--source "$user_dir/linux.tar.xz" --sha256 "$sum" >"$user_dir/out" 2>&1 &
	pid=$!
	for _ in $(seq 3000); do
		grep -q 'building kernel' "$user_dir/out" && break
		kill -0 "$pid" || break
		sleep 0.1
	done
	kill -INT "$pid"
	status=0
	wait "$pid" || status=$?
	cat "$user_dir/out"
	left=$(find "$user_dir/xdg/dink/kernels" -mindepth 1 ! -name lock)
	processes=$(find /proc -maxdepth 1 -uid 54321 -name '[0-9]*' 2>/dev/null)
	grep -q 'unpacking kernel sources' "$user_dir/out"
	grep -q 'configuring kernel' "$user_dir/out"
	grep -q 'building kernel' "$user_dir/out"
	rm -rf "$user_dir"
	[ "$status" -eq 130 ]
	[ -z "$left" ]
	[ -z "$processes" ]
}
