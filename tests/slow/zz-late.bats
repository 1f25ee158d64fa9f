#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A swarm that no majority can begin: all hosts have other addresses than before, and the first of
# them was away while the others went on. What they did meanwhile must not be lost.

# shellcheck disable=SC2154 # scenario comes from scenario.bash
bats_require_minimum_version 1.5.0
load scenario

name=swarm-late

setup_file() {
	scenario_setup qemu-system-x86_64
	scenario=$T/scenario.yaml
	sed "s/^name: .*/name: $name/; /^    layers:/,\$d" scenarios/swarm-in-kata.yaml >"$scenario"
	scenario_start
}

teardown_file() { scenario_down; }

at() {
	local n=$1
	shift
	DOCKER_HOST=unix://$DINK_RUN_DIR/$name/host-$n.sock docker "$@"
}

engine() { docker -H "unix://$DINK_RUN_DIR/engine/docker.sock" "$@"; }

addresses() { engine inspect -f '{{.NetworkSettings.IPAddress}}' $name.host-2 $name.host-3; }

@test "what the others did while the first was away is in the swarm that begins anew" {
	monitor=$(engine inspect -f '{{.State.Pid}}' $name.host-1)
	kill -9 "$(pgrep -P "$monitor" qemu)"
	for _ in $(seq 120); do
		! echo late | at 2 config create late - || break
		sleep 2
	done
	[ "$(at 3 config ls --format '{{.Name}}')" = late ]
	before=$(addresses)
	"$DINK" down -q --wait $name
	# two that start before them, since they are to be reached, have their addresses
	other='{image: debian, command: [sleep, infinity]}'
	sed -i "s/^layers:/&\n  first: $other\n  second: $other/; s/swarm: manager/&\n    reach: [first, second]/" \
		"$scenario"
	DINK_DEBUG=step "$DINK" up -q "$scenario" 2>"$T/up.err"
	cp "$T/up.err" /var/tmp/h-rob/late.up.err; { echo "$before"; addresses; } >/var/tmp/h-rob/late.addr
	[ "$(addresses)" != "$before" ]
	grep -E "the log of $name/host-[123] ends at [0-9]+\.[0-9]+" "$T/up.err"
	for n in 1 2 3; do
		[ "$(at $n config ls --format '{{.Name}}')" = late ]
	done
	run -0 at 1 node ls --format '{{.Status}} {{.ManagerStatus}}'
	[ "$(grep -c -e Leader -e Reachable <<<"$output")" -eq 3 ]
}
