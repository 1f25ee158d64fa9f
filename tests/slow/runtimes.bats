#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# crun and runc under Podman, a dockerd in a container, one in a VM, and one in a container of that
# VM; and what crun takes of the layer around it.

bats_require_minimum_version 1.5.0
load scenario

name=runtimes
daemons=("$name/proxy" "$name/kata" "$name/kata/deep")

setup_file() { scenario_up qemu-system-x86_64; }
teardown_file() { scenario_down; }

# container LAYER CHILD - what the engine of LAYER calls it
container() { tr / . <<<"$1.$2"; }

@test "each engine has both runtimes, and says which container has which" {
	for l in "${daemons[@]}"; do
		run -0 dx "$l" -- docker info -f '{{json .Runtimes}}'
		[ "$(jq -r '.crun.path, .runc.path' <<<"$output")" = $'/usr/local/sbin/layer-crun\nrunc' ]
		for r in crun runc; do
			run -0 dx "$l" -- docker inspect -f '{{.HostConfig.Runtime}} {{.State.Running}}' \
				"$(container "$l" by-$r)"
			[ "$output" = "$r true" ]
		done
	done
	run -0 dx "$name/pod" -- podman inspect -f '{{.OCIRuntime}}' runtimes.pod.by-runc
	[ "$output" = runc ]
	run -0 dx "$name/userpod" -- podman inspect -f '{{.OCIRuntime}}' runtimes.userpod.by-crun
	[ "$output" = crun ]
}

# crun keeps a file `status` for each container, runc a `state.json`
@test "it was that program which made the container" {
	local id
	for l in "${daemons[@]}"; do
		for r in crun runc; do
			id=$(dx "$l" -- docker inspect -f '{{.Id}}' "$(container "$l" by-$r)")
			run -0 dx "$l" -- ls "/run/docker/runtime-runc/moby/$id"
			if [ $r = crun ]; then
				[[ $output == *status* && $output != *state.json* ]]
			else
				[[ $output == *state.json* && $output != *status* ]]
			fi
		done
	done
}

@test "containers of both have exit codes, a network, and Docker's sysctls" {
	run -7 dx "$name/pod/by-runc" -- sh -c 'grep -q eth0 /proc/net/dev && exit 7'
	run -7 dx "$name/userpod/by-crun" -- sh -c 'exit 7'
	for l in "${daemons[@]}"; do
		for r in crun runc; do
			run -7 dx "$l/by-$r" -- sh -c 'grep -q eth0 /proc/net/dev && exit 7'
			run -0 dx "$l/by-$r" -- cat /proc/sys/net/ipv4/ip_unprivileged_port_start
			[ "$output" = 0 ]
		done
	done
}

@test "/proc/sys stays read-only in the layers and in what crun started" {
	for l in "${daemons[@]}"; do
		for i in "$l" "$l/by-crun"; do
			run -0 dx "$i" -- grep ' /proc/sys ' /proc/self/mounts
			[[ $output == *" ro,"* ]]
			run ! dx "$i" -- sh -c 'echo 1 >/proc/sys/kernel/panic'
		done
	done
}

@test "without CAP_SYS_PTRACE the daemon of a layer starts nothing with crun" {
	cat >"$T/one.yaml" <<-END
	dink: 1
	name: one-crun
	layers:
	  proxy:
	    image: crun-host
	    daemon: docker
	    layers:
	      in: {image: debian, runtime: crun, command: [sleep, infinity]}
	END
	"$DINK" up -q "$T/one.yaml"
	run -0 dx one-crun/proxy/in -- true
	"$DINK" down -q --volumes one-crun
	run -5 "$DINK" up -q --without "proxy:capability CAP_SYS_PTRACE" "$T/one.yaml"
	[[ $output == *"error executing hook"* ]]
	[ ! -d "$DINK_STATE_DIR/instances/one-crun" ]
}
