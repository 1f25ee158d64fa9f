#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# dink-vm in a container of dink-vm: the outer by TCG, which emulates an AMD processor's SVM; the
# inner by KVM, which is so run for real on machines whose own KVM is of no use.
# shellcheck disable=SC2016 # words for a shell in a container stay in single quotes

load vm
bats_require_minimum_version 1.5.0

setup_file() {
	need "root" test "$(id -u)" = 0
	need "mkfs.erofs (apt-get install erofs-utils)" command -v mkfs.erofs
	vm_prepare
	# what the outer container sees as /in: the programs, a guest, a root and bundles for the inner
	mkdir -p "$T/in/guest" "$T/in/counts" "$T/in/asks"
	cp -L "$T/guest/vmlinux" "$T/guest/initramfs.cpio" "$T/in/guest"
	cp "$ROOT_DIR/build/dink-vm" "$ROOT_DIR/build/dink" "$T/in"
	mkfs.erofs "$T/in/root.erofs" "$T/rootfs" >/dev/null 2>&1
	cp -a "$T/rootfs" "$T/in/rootfs"
	inner_bundle counts 'i=0; while :; do echo $i; i=$((i+1)); sleep 0.2; done'
	inner_bundle asks 'dmesg | grep -m 1 -o "Hypervisor detected: .*"; grep -c -w -e svm -e vmx /proc/cpuinfo; cat; exit 7'
	outer_bundle
	# its cgroup of the outer container, cgroups being of version 2 there
	jq '.linux.cgroupsPath = "/inner/b" | .linux.resources = {memory: {limit: 33554432}, cpu: {quota: 90000, period: 100000}}' \
		<"$T/in/counts/config.json" >"$T/new"
	mkdir "$T/in/limited"
	mv "$T/new" "$T/in/limited/config.json"
	run_vm create --bundle "$T/outer" outer </dev/null >"$T/outer.out" 2>&1
	run_vm start outer
	# as an engine in a container does: a cgroup with processes of its own has no controllers to give
	outer sh -c 'mkdir /sys/fs/cgroup/init; for p in $(cat /sys/fs/cgroup/cgroup.procs); do echo $p >/sys/fs/cgroup/init/cgroup.procs; done 2>/dev/null; echo +cpu +memory +pids >/sys/fs/cgroup/cgroup.subtree_control'
}

teardown_file() {
	[ -n "${T:-}" ] || return 0
	run_vm delete --force outer
	assert_nothing_left
	rm -rf "$T"
}

run_vm() { timeout 60 "$T/dink-vm" --root "$T/state" --memory 1500M "$@"; }
outer() { timeout 60 "$T/dink-vm" --root "$T/state" exec outer "$@"; }
inner() { outer /in/dink-vm --memory 160M "$@"; }

all_capabilities() {
	local n
	for n in $(seq 0 40); do capsh "--decode=$(printf '%x' $((1 << n)))"; done |
		sed 's/.*=\(.*\)/"\U\1"/' | paste -sd,
}

# the host's programs, read-only, and what dink-vm needs: capabilities within the outer guest's
# kernel, /dev/net/tun, and /dev/kvm, by which it asks for a processor with virtualization
outer_bundle() {
	local dir
	mkdir -p "$T/outer/rootfs"/{usr,in,dev,proc,sys,run,tmp}
	for dir in bin lib lib64 sbin; do ln -s usr/$dir "$T/outer/rootfs/$dir"; done
	run_vm spec --bundle "$T/outer"
	jq --arg in "$T/in" --argjson capabilities "[$(all_capabilities)]" \
		'.root.readonly = false | .process.terminal = false | .process.args = ["sleep", "1000"]
		 | .process.capabilities |= map_values($capabilities)
		 | .linux.devices = [{path: "/dev/kvm", type: "c", major: 10, minor: 232, fileMode: 384},
			{path: "/dev/net/tun", type: "c", major: 10, minor: 200, fileMode: 384}]
		 | .mounts += [{destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup"},
			{destination: "/usr", type: "bind", source: "/usr", options: ["rbind", "ro"]},
			{destination: "/in", type: "bind", source: $in, options: ["rbind", "ro"]},
			{destination: "/run", type: "tmpfs", source: "tmpfs"},
			{destination: "/tmp", type: "tmpfs", source: "tmpfs"}]' \
		<"$T/outer/config.json" >"$T/outer/new"
	mv "$T/outer/new" "$T/outer/config.json"
}

# inner_bundle NAME COMMAND - on a block root, with nothing of the outer container's
inner_bundle() {
	"$T/dink-vm" spec --bundle "$T/in/$1"
	jq --arg command "$2" \
		'.root.path = "/in/rootfs" | .process.terminal = false | .process.args = ["sh", "-c", $command]
		 | .mounts += [{destination: "/.dink-root", type: "bind", source: "/in/root.erofs", options: ["rbind", "ro"]}]' \
		<"$T/in/$1/config.json" >"$T/new"
	mv "$T/new" "$T/in/$1/config.json"
}

@test "virtualization is there for who asks for /dev/kvm" {
	run outer grep -c -w svm /proc/cpuinfo
	[ "$output" -ge 1 ]
	outer test -c /dev/kvm
}

@test "without /dev/kvm there is none" {
	mkdir "$T/plain"
	jq '.linux.devices |= map(select(.path != "/dev/kvm"))
	    | .process.args = ["sh", "-c", "grep -c -w svm /proc/cpuinfo; test -e /dev/kvm; echo $?"]' \
		<"$T/outer/config.json" >"$T/plain/config.json"
	ln -s "$T/outer/rootfs" "$T/plain/rootfs"
	run run_vm run --bundle "$T/plain" plain </dev/null
	[ "$output" = $'0\n1' ]
}

@test "the probe says yes, and --accel auto means KVM from then on" {
	outer /in/dink doctor >"$T/doctor" || [ $? -le 1 ]
	run outer cat /run/dink/kvm-probe.json
	[ "$(jq .ok <<<"$output")" = true ]
	run inner run --bundle /in/asks a <<<"from outside"
	[ "$output" = $'Hypervisor detected: KVM\n0\nfrom outside' ]
	[ "$status" -eq 7 ]
}

@test "by KVM: create, start, exec, exit codes, signals" {
	outer sh -c 'exec /in/dink-vm --accel kvm --memory 160M create --bundle /in/limited b >/run/b.out </dev/null'
	inner start b
	[ "$(inner state b | jq -r .status)" = running ]
	run inner exec b sh -c 'echo in the inner guest; exit 9'
	[ "$output" = "in the inner guest" ]
	[ "$status" -eq 9 ]
	wait_for 20 outer grep -qx 3 /run/b.out
	# its VM is in a cgroup of its own, with its limits, and lack of memory in it is told there
	outer sh -c 'grep -qx "$(pgrep qemu-system)" /sys/fs/cgroup/inner/b/cgroup.procs'
	[ "$(outer cat /sys/fs/cgroup/inner/b/memory.max)" -gt 167772160 ]
	[ "$(outer cat /sys/fs/cgroup/inner/b/cpu.max)" = "100000 100000" ]
	outer grep -qx 'oom_kill 0' /sys/fs/cgroup/inner/b/memory.events
	run -137 inner exec b tail /dev/zero
	inner kill b KILL
	wait_for 20 outer sh -c '/in/dink-vm state b | grep -q stopped'
	outer grep -qx 'oom_kill 1' /sys/fs/cgroup/inner/b/memory.events
	inner delete b
	run outer ls -d /sys/fs/cgroup/inner/b
	[ "$status" -ne 0 ]
}

@test "by KVM: checkpoint, and two restored from it go on counting" {
	outer sh -c 'exec /in/dink-vm --accel kvm --memory 160M create --bundle /in/counts c >/run/c.out </dev/null'
	inner start c
	wait_for 20 outer grep -qx 5 /run/c.out
	inner checkpoint --image-path /run/image c
	inner delete c
	for id in d e; do
		outer sh -c "exec /in/dink-vm restore --detach --bundle /in/counts --image-path /run/image $id >/run/$id.out </dev/null"
	done
	for id in d e; do
		wait_for 20 outer sh -c "[ \$(wc -l </run/$id.out) -ge 3 ]"
		first=$(outer head -n 1 /run/$id.out)
		[ "$first" -ge 5 ]
		outer head -n 3 /run/$id.out | diff - <(seq "$first" $((first + 2)))
		run inner exec $id hostname
		[ "$output" = dink-vm ]
		inner delete --force $id
	done
	# nothing of any inner container is left
	run outer sh -c 'pgrep -l qemu-system; ls /run/dink-vm'
	[ "$output" = "" ]
}
