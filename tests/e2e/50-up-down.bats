#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# up, status, down, gc on the real thing: a layer with its own dockerd on a btrfs disk, a container
# in it. Needs root, dockerd, loop devices, btrfs. Each test leaves nothing.

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
}

teardown() {
	if [ -d "${DINK_STATE_DIR:-/nonexistent}/instances/$name" ]; then
		"$dink" down -q --wait --volumes "$name"
	fi
}

# What an instance may leave nowhere; its own folders are looked at by the caller.
no_residue() {
	! losetup -a | grep -F "$DINK_STATE_DIR"
	! grep -F "$DINK_STATE_DIR/instances" /proc/self/mounts
	! pgrep -af "dink forward .*$DINK_RUN_DIR"
	! pgrep -af "dockerd .*$DINK_STATE_DIR"
	[ ! -e "$DINK_RUN_DIR/$name" ]
}

@test "up, use at each level, up again, down" {
	"$dink" up "$scenario" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err"
	grep -q "^  dink shell $name/docker/inner$" "$BATS_TEST_TMPDIR/out"

	run -0 --separate-stderr "$dink" status --json "$name"
	[ "$(jq -r '.[0].state' <<<"$output")" = up ]
	[ "$(jq -r '[.[0].layers[].state] | unique | join(",")' <<<"$output")" = running ]
	sock=$(jq -r '.[0].layers[0].socket' <<<"$output")
	[ -S "$sock" ]
	[ "$(stat -c %a "$sock")" = 600 ]

	# the user's own client, through the offered socket
	run -0 env DOCKER_HOST="unix://$sock" docker info --format '{{.Driver}} {{.Containers}}'
	[ "$output" = "btrfs 1" ]
	run -0 env DOCKER_HOST="unix://$sock" docker ps --format '{{.Names}}'
	[ "$output" = "$name.docker.inner" ]

	run -0 --separate-stderr "$dink" status --proof --json "$name"
	[ "$(jq -r 'map(.layer) | join(" ")' <<<"$output")" = "host $name/docker $name/docker/inner" ]
	[ "$(jq -r '.[1].storage_driver' <<<"$output")" = btrfs ]
	[ "$(jq -r '.[2].hostname' <<<"$output")" = inner ]

	# a second up changes nothing
	before=$("$dink" status --json "$name")
	id=$(env DOCKER_HOST="unix://$sock" docker ps -q)
	run -0 --separate-stderr "$dink" up --json "$scenario"
	[ "$(jq '[.steps[] | select(.was_there | not) | select(.step != "up")] | length' <<<"$output")" = 0 ]
	[ "$id" = "$(env DOCKER_HOST="unix://$sock" docker ps -q)" ]
	[ "$before" = "$("$dink" status --json "$name")" ]

	run -0 "$dink" down "$name"
	no_residue
	[ -f "$DINK_STATE_DIR/instances/$name/disks/store.img" ]
}

@test "data on a disk survives down, and --volumes removes it" {
	"$dink" up -q "$scenario"
	sock=$("$dink" status --json "$name" | jq -r '.[0].layers[0].socket')
	env DOCKER_HOST="unix://$sock" docker volume create kept
	"$dink" down -q "$name"
	no_residue
	run -0 --separate-stderr "$dink" status --json "$name"
	[ "$(jq -r '.[0].state' <<<"$output")" = down ]

	"$dink" up -q "$scenario"
	run -0 env DOCKER_HOST="unix://$sock" docker volume ls -q
	[[ $output == *kept* ]]
	# the instance's own copy of the scenario is not needed either
	rm "$DINK_STATE_DIR/instances/$name/scenario.yaml"
	run -0 "$dink" down --volumes "$name"
	no_residue
	[ ! -e "$DINK_STATE_DIR/instances/$name" ]
	run -0 "$dink" status
	[ "$output" = "nothing is up" ]
}

@test "two ups of one name do not race" {
	"$dink" up -q "$scenario" &
	first=$!
	until [ -e "$DINK_RUN_DIR/locks/$name" ]; do sleep 0.05; done
	run -6 "$dink" up -q "$scenario"
	[[ $output == *"another dink is at work on $name"* ]]
	wait "$first"
	run -0 "$dink" down -q --volumes "$name"
	no_residue
}

@test "a signal undoes what up did" {
	"$dink" up "$scenario" 2>"$BATS_TEST_TMPDIR/err" &
	pid=$!
	until grep -q "start $name/docker " "$BATS_TEST_TMPDIR/err"; do sleep 0.05; done
	kill -TERM "$pid"
	status=0
	wait "$pid" || status=$?
	[ "$status" -eq 130 ]
	no_residue
	[ ! -e "$DINK_STATE_DIR/instances/$name" ]
}

@test "a layer that dies says its last words, and nothing is left" {
	printf 'echo last words\nexit 3\n' >"$BATS_TEST_TMPDIR/dockerd"
	chmod +x "$BATS_TEST_TMPDIR/dockerd"
	sed -i '1i#!/bin/sh' "$BATS_TEST_TMPDIR/dockerd"
	cat >"$BATS_TEST_TMPDIR/bad.yaml" <<-END
	dink: 1
	name: $name
	layers:
	  docker:
	    image: docker-host
	    daemon: docker
	    mounts: ["$BATS_TEST_TMPDIR/dockerd:/usr/sbin/dockerd:ro"]
	END
	run -5 "$dink" up "$BATS_TEST_TMPDIR/bad.yaml"
	[[ $output == *"the layer ended before its engine answered"* ]]
	[[ $output == *"last words"* ]]
	no_residue
	[ ! -e "$DINK_STATE_DIR/instances/$name" ]
}

@test "down and status of what is not there name what is" {
	run -2 "$dink" down nothing-like-it
	[[ $output == *"there is no instance nothing-like-it"* ]]
	run -2 "$dink" down
	run -2 "$dink" status nothing-like-it
}

@test "another version of the scenario is refused while up" {
	"$dink" up -q "$scenario"
	sed 's/sleep, infinity/sleep, 1000000/' "$scenario" >"$BATS_TEST_TMPDIR/other.yaml"
	run -6 "$dink" up -q "$BATS_TEST_TMPDIR/other.yaml"
	[[ $output == *"dink down $name"* ]]
	run -0 "$dink" down -q --volumes "$name"
	no_residue
}
