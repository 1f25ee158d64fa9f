#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Fault runs: dink is killed, or a step fails, at each step in turn; then nothing may be left. The
# moment is `after` (applied, not in the journal yet: the worst); DINK_FAULT_ALL=1 adds the others.

bats_require_minimum_version 1.5.0

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	dink=$PWD/build/dink
	scenario=$PWD/scenarios/docker-in-docker.yaml
	name=docker-in-docker
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	command -v dockerd >/dev/null || skip "needs dockerd"
	export NO_COLOR=1
	export DINK_STATE_DIR=${BATS_FILE_TMPDIR:?}/state DINK_RUN_DIR=$BATS_FILE_TMPDIR/run
	unset DOCKER_HOST
	moments=(after)
	[ "${DINK_FAULT_ALL:-}" != 1 ] || moments=(before after "done")
}

residue() {
	losetup -a | grep -F "$DINK_STATE_DIR"
	grep -F "$DINK_STATE_DIR/instances" /proc/self/mounts
	pgrep -af "dink forward .*$DINK_RUN_DIR"
	pgrep -af "dockerd .*$DINK_STATE_DIR"
	find "$DINK_STATE_DIR/instances" "$DINK_RUN_DIR" -mindepth 1 -maxdepth 1 -name "$name"
	find "$DINK_RUN_DIR/locks" -type f
	true
}

# How many steps the scenario has.
count_steps() {
	"$dink" up -q --json "$scenario" | jq '.steps | length'
	"$dink" down -q --volumes "$name"
}

@test "SIGKILL at each step, then down: nothing is left" {
	total=$(count_steps)
	[ "$total" -gt 8 ]
	for n in $(seq 1 "$total"); do
		for when in "${moments[@]}"; do
			status=0
			DINK_KILL_AT=$n:$when "$dink" up -q "$scenario" || status=$?
			[ "$status" -eq 137 ] || { echo "step $n $when: up ended with $status"; return 1; }
			"$dink" down -q --volumes "$name" || { echo "step $n $when: down failed"; return 1; }
			left=$(residue)
			[ -z "$left" ] || { echo "step $n $when left: $left"; return 1; }
		done
	done
}

@test "a failure at each step: up undoes all it did" {
	total=$(count_steps)
	for n in $(seq 1 "$total"); do
		for when in "${moments[@]}"; do
			status=0
			DINK_FAIL_AT=$n:$when "$dink" up -q "$scenario" || status=$?
			[ "$status" -eq 5 ] || { echo "step $n $when: up ended with $status"; return 1; }
			left=$(residue)
			[ -z "$left" ] || { echo "step $n $when left: $left"; return 1; }
		done
	done
}

@test "a container and an engine killed behind dink's back are put back by up" {
	"$dink" up -q "$scenario"
	sock=$("$dink" status --json "$name" | jq -r '.[0].layers[0].socket')
	env DOCKER_HOST="unix://$sock" docker rm -f "$name.docker.inner"
	run -0 "$dink" status --json "$name"
	[ "$(jq -r '.[0].state' <<<"$output")" = partial ]
	run -0 "$dink" up -q "$scenario"
	run -0 "$dink" status --json "$name"
	[ "$(jq -r '.[0].state' <<<"$output")" = up ]
	run -0 "$dink" down -q --volumes "$name"
	[ -z "$(residue)" ]
}
