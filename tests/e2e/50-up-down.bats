#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# up, status, down, gc on the real thing: a layer with its own dockerd on a btrfs disk, a container
# in it. Needs root, dockerd, loop devices, btrfs. Each test leaves nothing.
# Its tests run two at a time, each with an engine of its own.

# shellcheck disable=SC2154 # set by up_setup
# shellcheck disable=SC2030,SC2031 # each test has its own environment
bats_require_minimum_version 1.5.0

load up

setup() {
	up_setup
}

teardown() {
	up_teardown
}

# Ids, start times and restarts of all containers at both levels.
starts() {
	local s
	for s in "unix://$DINK_RUN_DIR/engine/docker.sock" "unix://$sock"; do
		docker -H "$s" ps -q --no-trunc | xargs docker -H "$s" inspect \
			--format '{{.Id}} {{.State.StartedAt}} {{.RestartCount}}'
	done
}

@test "up, use at each level, up again, down" {
	"$dink" up "$scenario" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err"
	grep -qx "  build/dink shell $name/docker/inner" "$BATS_TEST_TMPDIR/out"

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
	started=$(starts)
	run -0 --separate-stderr "$dink" up --json "$scenario"
	[ "$(jq '[.steps[] | select(.was_there | not) | select(.step != "up")] | length' <<<"$output")" = 0 ]
	[ "$id" = "$(env DOCKER_HOST="unix://$sock" docker ps -q)" ]
	[ "$started" = "$(starts)" ]
	[ "$before" = "$("$dink" status --json "$name")" ]

	# its images: from the layer out, and what was taken from a daemon comes back
	image=$(env DOCKER_HOST="unix://$sock" docker image inspect --format '{{.Id}}' debian)
	run -0 "$dink" image copy "$name/docker:debian" "$name" --as from-inside:1
	run -0 --separate-stderr "$dink" image ls "$name" --json
	[ "$(jq -r '.[] | select(.names | index("from-inside:1")).id' <<<"$output")" = "$image" ]
	env DOCKER_HOST="unix://$sock" docker tag debian other
	run -0 "$dink" image rm "$name/docker:debian"
	run -0 --separate-stderr "$dink" image sync "$scenario" --json
	[ "$(jq -r '[.[].result] | unique | join(",")' <<<"$output")" = "there already" ]
	[ "$image" = "$(env DOCKER_HOST="unix://$sock" docker image inspect --format '{{.Id}}' debian)" ]

	run -0 "$dink" down "$name"
	no_residue down kept
	[ -f "$DINK_STATE_DIR/instances/$name/disks/store.img" ]
}

@test "data on a disk survives down, and --volumes removes it" {
	"$dink" up -q "$scenario"
	sock=$("$dink" status --json "$name" | jq -r '.[0].layers[0].socket')
	env DOCKER_HOST="unix://$sock" docker volume create kept
	"$dink" down -q "$name"
	no_residue down kept
	run -0 --separate-stderr "$dink" status --json "$name"
	[ "$(jq -r '.[0].state' <<<"$output")" = down ]

	# the daemon's store can be read while nothing runs
	run -0 --separate-stderr "$dink" disk docker --json "$DINK_STATE_DIR/instances/$name/disks/store.img"
	[ "$(jq -r '.driver' <<<"$output")" = btrfs ]
	[ "$(jq -r '.containers[].name' <<<"$output")" = "$name.docker.inner" ]
	[[ $(jq -r '.volumes[]' <<<"$output") == *kept* ]]
	[[ $(jq -r '.images[] | "\(.name) \(.layers)"' <<<"$output") == *debian*" 1" ]]

	"$dink" up -q "$scenario"
	run -0 env DOCKER_HOST="unix://$sock" docker volume ls -q
	[[ $output == *kept* ]]
	# the instance's own copy of the scenario is not needed either
	rm "$DINK_STATE_DIR/instances/$name/scenario.yaml"
	run -0 "$dink" down --volumes "$name"
	no_residue down
	[ ! -e "$DINK_STATE_DIR/instances/$name" ]
	run -0 "$dink" status
	[ "$output" = "nothing is up" ]
}

@test "of two ups of one name one wins, the other is told or waits" {
	"$dink" up -q "$scenario" &
	first=$!
	until [ -e "$DINK_RUN_DIR/locks/$name" ]; do sleep 0.02; done
	run -6 "$dink" up -q "$scenario"
	[[ $output == *"another dink is at work on $name"* ]]
	[[ $output == *--wait* ]]
	run -6 "$dink" down -q "$name"
	"$dink" up --wait --json "$scenario" >"$BATS_TEST_TMPDIR/second" 2>/dev/null
	wait "$first"
	# the second one found all done
	[ "$(jq '[.steps[] | select(.was_there | not) | select(.step != "up")] | length' "$BATS_TEST_TMPDIR/second")" = 0 ]
	[ "$(docker -H "unix://$DINK_RUN_DIR/engine/docker.sock" ps -aq | wc -l)" -eq 1 ]
	[ "$(docker -H "unix://$(socket_of "$name")" ps -aq | wc -l)" -eq 1 ]

	# who waits can be interrupted, and that undoes nothing of the other's
	exec 9<>"$DINK_RUN_DIR/locks/$name"
	python3 -c 'import fcntl, time; fcntl.lockf(9, fcntl.LOCK_EX); time.sleep(60)' 9<&9 3>&- &
	holder=$!
	exec 9>&-
	until grep -q "POSIX .*$holder " /proc/locks; do sleep 0.02; done
	"$dink" up -q --wait "$scenario" 3>&- &
	waiter=$!
	until grep -q -- "-> POSIX .* $waiter " /proc/locks; do sleep 0.02; done
	kill -INT "$waiter"
	status=0
	wait "$waiter" || status=$?
	[ "$status" -eq 130 ]
	kill "$holder"
	wait "$holder" || true_status=$?
	[ "$true_status" -eq 143 ]
	[ "$(state_of "$name")" = up ]
	run -0 "$dink" down -q --volumes "$name"
	no_residue down
}

# stopped_in LINE SIGNAL: `up` gets the signal once it has said LINE, in the middle of what follows.
stopped_in() {
	local pid status=0
	"$dink" up "$scenario" 2>"$BATS_TEST_TMPDIR/err" 3>&- &
	pid=$!
	until grep -q "$1" "$BATS_TEST_TMPDIR/err"; do sleep 0.02; done
	sleep 0.2
	kill "-$2" "$pid"
	wait "$pid" || status=$?
	[ "$status" -eq 130 ] || { echo "$2 after \"$1\": exit $status"; cat "$BATS_TEST_TMPDIR/err"; return 1; }
	no_residue "$2 after \"$1\""
}

@test "a signal undoes what up did, in each slow phase" {
	# a store without images: the load takes long
	export DINK_STATE_DIR=$BATS_TEST_TMPDIR/state
	stopped_in "looking at the host" TERM
	stopped_in " start a private engine" INT
	"$dink" up -q "$scenario"
	"$dink" down -q --volumes "$name"
	stopped_in " start $name/docker " INT
	stopped_in " wait for the engine" TERM
	stopped_in " image debian into" INT
	rm -r "$DINK_STATE_DIR"
}

@test "a signal to an up that finds all done takes nothing away" {
	"$dink" up -q "$scenario"
	for ms in 05 10 15 20 30 40; do
		timeout -s INT "0.$ms" "$dink" up -q "$scenario" || [ "$?" -eq 124 ]
		[ "$(state_of "$name")" = up ]
	done
	run -0 "$dink" down -q --volumes "$name"
	no_residue down
}

@test "a step's failure with \"busy\" is undone like any other" {
	"$dink" up -q "$scenario"
	"$dink" down -q "$name"
	# the name of the layer's container is taken by another's
	"$dink" up -q --keep "$scenario"
	engine=unix://$DINK_RUN_DIR/engine/docker.sock
	docker -H "$engine" rm -f "$name.docker"
	docker -H "$engine" create --name "$name.docker" docker-host:latest true
	run -6 "$dink" up -q "$scenario"
	[[ $output == *"has a container named $name.docker that is not this instance's"* ]]
	docker -H "$engine" rm "$name.docker"
	run -0 "$dink" down -q --volumes "$name"
	no_residue down
}

@test "a disk with another filesystem than asked is refused, not replaced" {
	"$dink" up -q "$scenario"
	"$dink" down -q "$name"
	sum=$(cksum <"$DINK_STATE_DIR/instances/$name/disks/store.img")
	sed 's/filesystem: btrfs/filesystem: ext4/' "$scenario" >"$BATS_TEST_TMPDIR/other.yaml"
	run -6 "$dink" up -q "$BATS_TEST_TMPDIR/other.yaml"
	[[ $output == *"disk store carries btrfs, and the scenario asks for ext4"* ]]
	[[ $output == *"dink down --volumes $name"* ]]
	[ "$sum" = "$(cksum <"$DINK_STATE_DIR/instances/$name/disks/store.img")" ]
	no_residue "refused" kept
	run -0 "$dink" down -q --volumes "$name"
	no_residue down
}

@test "a disk whose journal was lost is used again, and a failure does not remove it" {
	"$dink" up -q "$scenario"
	docker -H "unix://$(socket_of "$name")" volume create kept
	"$dink" down -q "$name"
	rm "$DINK_STATE_DIR/instances/$name/journal"
	run -5 env DINK_FAIL_AT=7 "$dink" up -q "$scenario"
	[ -f "$DINK_STATE_DIR/instances/$name/disks/store.img" ]
	"$dink" up -q "$scenario"
	run -0 docker -H "unix://$(socket_of "$name")" volume ls -q
	[[ $output == *kept* ]]
	run -0 "$dink" down -q --volumes "$name"
	no_residue down
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
	no_residue down
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
	no_residue down
}
