#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Programs from a share are what runs. virtiofsd writes files into the guest's memory where TCG does
# not see it, and with cache=auto each open() reads a file into other pages: if a translation of
# what was in such a page before is still run, some of these programs crash.

load vm

setup_file() {
	need "root" test "$(id -u)" = 0
	need "dash as /bin/sh" test "$(readlink -f /bin/sh)" = /usr/bin/dash
	vm_prepare
}

teardown_file() {
	[ -n "${T:-}" ] || return 0
	assert_nothing_left
	rm -rf "$T"
}

@test "programs and libraries from virtiofs, one after the other, in the same pages" {
	mkdir -p "$T/a/rootfs"/{usr,dev,proc,sys}
	for dir in bin lib lib64 sbin; do ln -s usr/$dir "$T/a/rootfs/$dir"; done
	"$T/dink-vm" spec --bundle "$T/a"
	cat >"$T/a/rootfs/loop" <<-'END'
		i=0 right=0
		while [ $i -lt 150 ]; do
			i=$((i + 1))
			[ "$(echo aXa | tr X b | sed s/a/c/)" = cba ] && right=$((right + 1))
		done
		echo $right
	END
	jq '.process.terminal = false | .process.args = ["sh", "/loop"]
	    | .mounts += [{destination: "/usr", type: "bind", source: "/usr", options: ["rbind", "ro"]}]' \
		<"$T/a/config.json" >"$T/new"
	mv "$T/new" "$T/a/config.json"
	run timeout 120 "$T/dink-vm" --root "$T/state" run --bundle "$T/a" a </dev/null
	echo "$output"
	[ "$output" = 150 ]
}
