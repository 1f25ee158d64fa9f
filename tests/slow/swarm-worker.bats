#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A swarm of one manager and one worker, each a VM: the worker joins as one, and runs what it is given.

# shellcheck disable=SC2154 # scenario comes from scenario.bash
bats_require_minimum_version 1.5.0
load scenario

name=swarm-worker
RECOVERY_S=480 # without KVM, beside others: as a rule it takes a third

setup_file() {
	scenario_setup qemu-system-x86_64
	scenario=$T/scenario.yaml
	node='image: docker-host, runtime: kata, kernel: guest, cpus: 1, memory: 768MiB, daemon: docker'
	cat >"$scenario" <<-END
	dink: 1
	name: $name
	kernels:
	  guest: {source: debian, features: [containers, btrfs, iptables, nftables, vxlan]}
	layers:
	  boss: {$node, swarm: manager}
	  hand: {$node, swarm: worker, layers: {inner: {image: debian, command: [sleep, infinity]}}}
	END
	scenario_start
}

teardown_file() { scenario_down; }

at() {
	local layer=$1
	shift
	DOCKER_HOST=unix://$DINK_RUN_DIR/$name/$layer.sock docker "$@"
}

@test "up makes a swarm of a manager and a worker" {
	run -0 at boss node ls --format '{{.Hostname}} {{.Status}} {{.ManagerStatus}}'
	[ "$(sort <<<"$output")" = $'boss Ready Leader\nhand Ready ' ]
	run -1 at hand node ls
	[[ $output == *"This node is not a swarm manager"* ]]
}

@test "a service runs on the worker" {
	local id
	id=$(at hand image inspect -f '{{.Id}}' debian)
	at boss service create -d -q --name work --constraint node.role==worker "$id" sleep infinity
	for _ in $(seq $((RECOVERY_S / 2))); do
		run at hand ps -q --filter label=com.docker.swarm.service.name=work
		[ -z "$output" ] || break
		sleep 2
	done
	[ "$(at hand exec "$output" echo at work)" = "at work" ]
	[ -z "$(at boss ps -q --filter label=com.docker.swarm.service.name=work)" ]
	run -0 at boss service ps work -f desired-state=running --format '{{.Node}}'
	[ "$output" = hand ]
}

@test "up again finds nothing to do" {
	run -0 --separate-stderr "$DINK" up --json "$scenario"
	[ "$(jq '[.steps[] | select(.was_there | not) | select(.step != "up")] | length' <<<"$output")" -eq 0 ]
}
