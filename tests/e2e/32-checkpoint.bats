#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# dink-vm checkpoint and restore, by the OCI command line: no engine.
# shellcheck disable=SC2016 # words for a shell in the container stay in single quotes

load vm
bats_require_minimum_version 1.5.0

setup_file() {
	need "root" test "$(id -u)" = 0
	need "mkfs.erofs (apt-get install erofs-utils)" command -v mkfs.erofs
	vm_prepare
	: >"$T/rootfs/etc/machine-id"
	mkfs.erofs "$T/root.erofs" "$T/rootfs" >/dev/null 2>&1
	bundle one
	bundle two
	run_vm create --bundle "$T/one" src </dev/null >"$T/src.out" 2>&1
	run_vm start src
	wait_for 10 counted src 3
	run_vm checkpoint --leave-running --image-path "$T/image" src
}

teardown_file() {
	[ -n "${T:-}" ] || return 0
	run_vm delete --force src
	rm -rf "$T"
}

teardown() {
	for id in a b; do run_vm delete --force "$id"; done
}

run_vm() { timeout 30 "$T/dink-vm" --root "$T/state" "$@"; }

# bundle NAME - a container of that host name that counts, on a block root, with no share
bundle() {
	mkdir -p "$T/$1/rootfs"
	cat >"$T/$1/config.json" <<-END
		{"ociVersion":"1.0.2","hostname":"$1","root":{"path":"rootfs"},
		"process":{"user":{"uid":0,"gid":0},"cwd":"/","env":["PATH=/bin"],"args":["sh","-c",
		"i=0; while :; do echo \$i \$(hostname) \$(cat /etc/machine-id); i=\$((i+1)); sleep 0.1; done"]},
		"mounts":[{"destination":"/proc","type":"proc","source":"proc"},
		{"destination":"/.dink-root","type":"bind","source":"$T/root.erofs","options":["rbind","ro"]}],
		"linux":{"namespaces":[{"type":"pid"},{"type":"ipc"},{"type":"uts"},{"type":"mount"},
		{"type":"network"}]}}
	END
}

counted() { [ "$(wc -l <"$T/$1.out")" -ge "$2" ]; }

restore() { run_vm restore --detach --image-path "$T/image" --bundle "$T/two" "$1" </dev/null >"$T/$1.out" 2>&1; }

@test "--leave-running: the original goes on" {
	before=$(wc -l <"$T/src.out")
	wait_for 5 counted src $((before + 3))
}

@test "a restored loop goes on counting, with a name and a machine id of its own" {
	restore a
	wait_for 5 counted a 5
	first=$(head -n 1 "$T/a.out" | cut -d' ' -f1)
	[ "$first" -ge 3 ]
	# no number is missing or there twice
	cut -d' ' -f1 "$T/a.out" | head -n 5 | diff - <(seq "$first" $((first + 4)))
	[[ "$(sed -n 4p "$T/a.out")" =~ ^[0-9]+\ two\ [0-9a-f]{32}$ ]]
}

@test "one image, two containers at once: each its own" {
	restore a &
	restore b
	wait %1
	wait_for 5 counted a 4
	wait_for 5 counted b 4
	[ "$(sed -n 4p "$T/a.out" | cut -d' ' -f3)" != "$(sed -n 4p "$T/b.out" | cut -d' ' -f3)" ]
}

@test "what does not fit is refused in words" {
	run run_vm checkpoint --image-path "$T/image" src
	[ "$status" -eq 1 ]
	[[ "$output" == *"there is a checkpoint in"* ]]
	run run_vm checkpoint --lazy-pages src
	[ "$status" -eq 1 ]
	[ "$output" = "dink-vm: unknown option --lazy-pages for checkpoint" ]
	cp -r --sparse=always "$T/image" "$T/other"
	sed -i 's/"qemu_version":.*/"qemu_version":"1.2.3",/' "$T/other/manifest.json"
	run run_vm restore --detach --image-path "$T/other" --bundle "$T/two" a </dev/null
	[ "$status" -eq 1 ]
	[[ "$output" == *"made by QEMU 1.2.3"* ]]
	rm -rf "$T/other"
	run run_vm restore --detach --image-path "$T/nowhere" --bundle "$T/two" a </dev/null
	[[ "$output" == *"no checkpoint in"* ]]
}
