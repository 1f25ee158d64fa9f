#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Under fire: dink is killed, or a step fails, at each step in turn; what it made is removed behind
# its back. Then nothing may be left, and `up` works again.
# Its tests run two at a time, each with an engine of its own.

# shellcheck disable=SC2154 # set by up_setup
# shellcheck disable=SC2030,SC2031 # each test has its own environment
bats_require_minimum_version 1.5.0
load up

setup() {
	up_setup
	moments=(before after 'done')
	# a failing `up` undoes itself
	fail_moments=(after)
	[ "${DINK_FAULT_ALL:-}" != 1 ] || fail_moments=("${moments[@]}")
}

teardown() {
	up_teardown
}

# How many steps the scenario has.
count_steps() {
	"$dink" up -q --json "$scenario" | jq '.steps | length'
	"$dink" down -q --volumes "$name"
}

# killed_at N:MOMENT: `up` dies there; `down` by name leaves the disk, with --volumes nothing.
# That `up` works again is shown by the next round, which comes to a later step.
killed_at() {
	local status=0
	DINK_KILL_AT=$1 "$dink" up -q "$scenario" || status=$?
	[ "$status" -eq 137 ] || { echo "step $1: up ended with $status"; return 1; }
	"$dink" down -q "$name" || { echo "step $1: down failed"; return 1; }
	no_residue "step $1, down" kept || return
	if [ -e "$DINK_STATE_DIR/instances/$name" ]; then
		"$dink" down -q --volumes "$name" || { echo "step $1: down --volumes failed"; return 1; }
	fi
	no_residue "step $1, down --volumes"
}

# killed_at_each FIRST: every other step from there, so that two tests have all of them; each at one
# of its moments, in turn, and at all of them with DINK_FAULT_ALL=1
killed_at_each() {
	total=$(count_steps)
	[ "$total" -gt 8 ]
	for n in $(seq "$1" 2 "$total"); do
		local at=("${moments[n % 3]}")
		[ "${DINK_FAULT_ALL:-}" != 1 ] || at=("${moments[@]}")
		for when in "${at[@]}"; do
			killed_at "$n:$when"
		done
	done
}

@test "SIGKILL before, after or at the end of the odd steps, then down: nothing is left" {
	killed_at_each 1
}

@test "SIGKILL before, after or at the end of the even steps, then down: nothing is left" {
	killed_at_each 2
}

@test "a failure at each step: up says so and undoes all it did" {
	total=$(count_steps)
	for n in $(seq 1 "$total"); do
		for when in "${fail_moments[@]}"; do
			run -5 env DINK_FAIL_AT="$n:$when" "$dink" up -q "$scenario"
			[[ $output == *"step $n was told to fail"* ]]
			no_residue "step $n $when"
		done
	done
}

@test "up --keep leaves what a failed run made, and down removes it" {
	total=$(count_steps)
	run -5 env DINK_FAIL_AT="$((total - 1))" "$dink" up -q --keep "$scenario"
	[[ $output == *"dink down $name"* ]]
	[ "$(state_of "$name")" = partial ]
	run -0 --separate-stderr "$dink" status --json "$name"
	[ "$(jq -r '.[0].layers[0].state' <<<"$output")" = running ]
	# what is there is used: the next `up` goes on from it
	run -0 --separate-stderr "$dink" up --json "$scenario"
	[ "$(jq -r '.steps[] | select(.step == "container:'"$name"'/docker") | .was_there' <<<"$output")" = true ]
	[ "$(state_of "$name")" = up ]
	run -0 "$dink" down -q --volumes "$name"
	no_residue "down"
}

# works: all is up, and the offered socket leads to the present engine with its one container.
works() {
	[ "$(state_of "$name")" = up ] || { echo "$1: $("$dink" status "$name")"; return 1; }
	run -0 env DOCKER_HOST="unix://$(socket_of "$name")" docker ps --format '{{.Names}}'
	[ "$output" = "$name.docker.inner" ] || { echo "$1: docker ps says: $output"; return 1; }
}

@test "what was removed behind dink's back is put back by up, and cleaned by down" {
	"$dink" up -q "$scenario"
	works "at first"

	env DOCKER_HOST="unix://$(socket_of "$name")" docker rm -f "$name.docker.inner"
	[ "$(state_of "$name")" = partial ]
	"$dink" up -q "$scenario"
	works "after docker rm of inner"

	private=unix://$DINK_RUN_DIR/engine/docker.sock
	env DOCKER_HOST="$private" docker rm -f "$name.docker"
	[ "$(state_of "$name")" = partial ]
	"$dink" up -q "$scenario"
	works "after docker rm of the layer around"

	# another process in the layer: the forwarder must not go on to the old one
	env DOCKER_HOST="$private" docker restart -t 1 "$name.docker"
	"$dink" up -q "$scenario"
	works "after docker restart"

	kill -KILL "$(jq .pid "$DINK_STATE_DIR/engine/engine.json")"
	"$dink" up -q "$scenario"
	works "after the private engine was killed"

	kill -KILL "$(jq .pid <(tac "$DINK_STATE_DIR/instances/$name/journal" |
		jq -c 'select(.identity.argv) | .identity' | head -n 1))"
	"$dink" up -q "$scenario"
	works "after the forwarder was killed"

	"$dink" down -q --volumes "$name"
	no_residue "down"
}

@test "down cleans up after a private engine that was killed" {
	"$dink" up -q "$scenario"
	kill -KILL "$(jq .pid "$DINK_STATE_DIR/engine/engine.json")"
	run -0 "$dink" down -q --volumes "$name"
	no_residue "down"
}

@test "down cleans up where the layers were removed behind its back" {
	"$dink" up -q "$scenario"
	env DOCKER_HOST="unix://$DINK_RUN_DIR/engine/docker.sock" docker rm -fv "$name.docker"
	run -0 "$dink" down -q --volumes "$name"
	no_residue "down"
}

@test "an engine that no record tells of is found by its folders" {
	"$dink" up -q "$scenario"
	rm "$DINK_STATE_DIR/engine/engine.json"
	run -0 "$dink" down -q --volumes "$name"
	no_residue "down"
}
