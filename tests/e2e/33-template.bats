#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# dink-vm's templates: containers that are loaded from a booted guest, by the OCI command line.
# shellcheck disable=SC2016 # words for a shell in the container stay in single quotes

load vm
load oci
bats_require_minimum_version 1.5.0

setup_file() {
	oci_prepare
	echo from-the-host >"$T/volume/file"
}

teardown_file() { [ -z "${T:-}" ] || rm -rf "$T"; }

teardown() {
	local id
	for id in a b c d e f; do run_vm delete --force "$id"; done
	assert_nothing_left
}

templates() { find "$T/templates" -name manifest.json 2>/dev/null | wc -l; }
was_loaded() { grep -q '\] loaded$' "$T/state/$1/monitor.log"; }

@test "the first container makes a template, those after it are loaded from it" {
	bundle one 'cat /volume/file; echo written >/volume/back; uname -r'
	run run_vm run --bundle "$T/one" a </dev/null
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = from-the-host ]
	[ "$(cat "$T/volume/back")" = written ]
	[ "$(templates)" -eq 1 ]
	block_bundle two 'sleep 1000'
	for id in b c; do
		run_vm create --bundle "$T/two" $id </dev/null >/dev/null
		was_loaded $id
	done
	[ "$(templates)" -eq 1 ]
}

@test "clones have numbers and a clock of their own" {
	bundle one 'cat /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | od -An -tx1; date +%s'
	run_vm run --bundle "$T/one" a </dev/null >"$T/a.out"
	run_vm run --bundle "$T/one" b </dev/null >"$T/b.out"
	[ "$(wc -l <"$T/a.out")" -eq 3 ]
	[ "$(sed -n 1p "$T/a.out")" != "$(sed -n 1p "$T/b.out")" ]
	[ "$(sed -n 2p "$T/a.out")" != "$(sed -n 2p "$T/b.out")" ]
	late=$(($(date +%s) - $(sed -n 3p "$T/b.out")))
	[ "$late" -ge 0 ]
	[ "$late" -le 2 ]
}

@test "a clone with a block root can be saved, and restored more than once" {
	block_bundle two 'i=0; while :; do echo $i; i=$((i+1)); sleep 0.1; done'
	run_vm create --bundle "$T/two" a </dev/null >"$T/a.out"
	was_loaded a
	run_vm start a
	wait_for 5 eval '[ "$(wc -l <"$T/a.out")" -ge 3 ]'
	run_vm checkpoint --image-path "$T/image" a
	for id in b c; do
		run_vm restore --detach --image-path "$T/image" --bundle "$T/two" $id </dev/null >"$T/$id.out"
	done
	for id in b c; do
		wait_for 5 eval '[ "$(wc -l <"$T/'$id'.out")" -ge 3 ]'
		[ "$(head -n 1 "$T/$id.out")" -ge 3 ]
	done
	rm -rf "$T/image"
}

@test "--template-dir none boots" {
	bundle one 'sleep 1000'
	timeout 60 "$T/dink-vm.bin" --guest "$T/guest" --root "$T/state" --template-dir none \
		create --bundle "$T/one" a </dev/null >/dev/null
	run was_loaded a
	[ "$status" -ne 0 ]
	grep -q '\] hello$' "$T/state/a/monitor.log"
	[ ! -e "$T/state/.templates" ]
}

@test "six at once on a machine without a template: one is made" {
	rm -rf "$T/templates"
	bundle one 'echo ran'
	for id in a b c d e f; do
		run_vm run --bundle "$T/one" $id </dev/null >"$T/$id.out" &
	done
	for pid in $(jobs -p); do wait "$pid"; done
	[ "$(cat "$T"/[a-f].out | grep -cx ran)" -eq 6 ]
	[ "$(templates)" -eq 1 ]
}

@test "a damaged template is told of, goes, and the next container runs" {
	truncate -s 1000 "$T"/templates/*/state
	bundle one 'echo ran'
	run run_vm run --bundle "$T/one" a </dev/null
	[ "$status" -ne 0 ]
	[[ "$output" == *"QEMU does not load the template"*"the template is gone now"* ]]
	run run_vm run --bundle "$T/one" a </dev/null
	[ "$output" = ran ]
	[ "$(templates)" -eq 1 ]
}

@test "a template that cannot be made costs nothing but time" {
	rm -rf "$T/templates"
	mkdir "$T/templates"
	mount -t tmpfs -o size=16M small "$T/templates"
	bundle one 'echo ran'
	run --separate-stderr run_vm --debug run --bundle "$T/one" a </dev/null
	umount "$T/templates"
	[ "$output" = ran ]
	# shellcheck disable=SC2154 # bats sets stderr
	[[ "$stderr" == *"no template: "* ]]
	# and the time of each stage
	[[ "$stderr" == *"] hello"*"] created"*"] started"*"] exited"* ]]
}

@test "a maker that is killed leaves nothing that stands in the way" {
	rm -rf "$T/templates"
	bundle one 'echo ran'
	"$T/dink-vm.bin" --guest "$T/guest" --root "$T/state" --template-dir "$T/templates" \
		create --bundle "$T/one" a </dev/null >/dev/null 3>&- &
	maker=$!
	wait_for 5 eval 'ls "$T"/templates/*.vm/monitor.log'
	sleep 0.2
	kill -9 $maker
	wait $maker || [ $? -eq 137 ]
	run_vm delete --force a
	run run_vm run --bundle "$T/one" b </dev/null
	[ "$output" = ran ]
	[ "$(templates)" -eq 1 ]
	[ -z "$(find "$T/templates" -name '*.vm' -o -name '*.new')" ]
}

@test "no more than four are kept: the one used longest ago goes" {
	rm -rf "$T/templates"
	bundle one 'echo ran'
	for memory in 256 264 272 280; do
		run_vm --memory ${memory}M run --bundle "$T/one" a </dev/null
		[ $memory != 256 ] || oldest=$(basename "$(find "$T/templates" -mindepth 1 -type d)")
	done
	[ "$(templates)" -eq 4 ]
	run_vm --memory 256M run --bundle "$T/one" a </dev/null # used again
	run_vm --memory 288M run --bundle "$T/one" a </dev/null
	[ "$(templates)" -eq 4 ]
	[ -e "$T/templates/$oldest/manifest.json" ]
}
