#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What no journal owns is found by `dink gc`, which only reports unless it is told; and a journal
# that is damaged is said to be, with the way out.

# shellcheck disable=SC2154 # set by up_setup
# shellcheck disable=SC2030,SC2031 # each test has its own environment
bats_require_minimum_version 1.5.0
load up

setup() {
	up_setup
}

teardown() {
	[ -z "${foreign:-}" ] || ip link delete "$foreign"
	up_teardown
}

kinds() {
	"$dink" gc --json | jq -r '[.[].kind] | sort | unique | join(" ")'
}

@test "gc finds all that an instance without a journal left; told to, it removes it" {
	"$dink" up -q "$scenario"
	"$dink" up -q "$scenario"
	[ "$("$dink" gc)" = "nothing is left over" ]
	engine=unix://$DINK_RUN_DIR/engine/docker.sock
	# what is not ours: a container without our labels, a loop device on a file of somebody's
	docker -H "$engine" run -d --name other --network none docker-host:latest sleep infinity
	truncate -s 1M "$BATS_TEST_TMPDIR/other.img"
	other=$(losetup -f --show "$BATS_TEST_TMPDIR/other.img")
	ours=$(losetup -n -O NAME -j "$DINK_STATE_DIR/instances/$name/disks/store.img")

	rm "$DINK_STATE_DIR/instances/$name/journal"
	[ "$(kinds)" = "container engine folder loop device mount process sockets" ]
	# reporting changed nothing
	[ "$(docker -H "$engine" ps -q | wc -l)" -eq 2 ]
	losetup "$ours"
	run -0 "$dink" gc
	[[ $output == *"dink gc --force removes them"* ]]
	[[ $output != *"$other"* ]]

	# disks with data in them go only when that is said, too
	run -6 "$dink" gc --force
	[[ $output == *"dink gc --force --volumes"* ]]
	[ -f "$DINK_STATE_DIR/instances/$name/disks/store.img" ]
	run -0 "$dink" gc --force --volumes
	[ "$("$dink" gc)" = "nothing is left over" ]
	[ "$(losetup -n -O NAME -j "$BATS_TEST_TMPDIR/other.img")" = "$other" ]
	losetup -d "$other"
	# the engine went, as nobody used it; the other's container is in its store
	[ -d "$DINK_STATE_DIR/engine/data/containers" ]
	"$dink" up -q "$scenario"
	docker -H "$engine" inspect other >/dev/null
	docker -H "$engine" rm other
	run -0 "$dink" down -q --volumes "$name"
	no_residue gc
}

@test "gc finds an engine that nobody uses, and a disk whose file was removed" {
	"$dink" up -q "$scenario"
	docker -H "unix://$DINK_RUN_DIR/engine/docker.sock" rm -fv "$name.docker"
	# nothing is left that names the instance but a mount and its loop device
	rm -r "$DINK_STATE_DIR/engine/users/$name" "$DINK_STATE_DIR/instances/$name"/{journal,plan.json,disks}
	[ "$(kinds)" = "engine folder loop device mount process sockets" ]
	run -0 "$dink" gc
	[[ $output == *"process "*" on $DINK_STATE_DIR/engine/data"* ]]
	[[ $output == *"/mounts/store"* ]]
	run -0 "$dink" gc --force
	no_residue gc
}

@test "gc takes nothing of an instance that another dink is at work on" {
	mkdir -p "$DINK_STATE_DIR/instances/busy" "$DINK_RUN_DIR/locks"
	python3 -c 'import fcntl, sys, time
f = open(sys.argv[1], "w"); fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(60)' "$DINK_RUN_DIR/locks/busy" 3>&- &
	holder=$!
	until grep -q "POSIX .* $holder " /proc/locks; do sleep 0.02; done
	run -6 "$dink" gc --force
	[[ $output == *"another dink is at work on busy"* ]]
	[ -d "$DINK_STATE_DIR/instances/busy" ]
	kill "$holder"
	status=0
	wait "$holder" || status=$?
	[ "$status" -eq 143 ]
	run -0 "$dink" gc --force
	[ ! -e "$DINK_STATE_DIR/instances/busy" ]
	no_residue gc
}

@test "a journal with a damaged line: exit 7, and the way out works" {
	"$dink" up -q "$scenario"
	journal=$DINK_STATE_DIR/instances/$name/journal
	cp "$journal" "$BATS_TEST_TMPDIR/good"
	sed -i '4s/.*/{"seq":4,"eve/' "$journal"
	for command in "down $name" "up $scenario" "status $name"; do
		# shellcheck disable=SC2086 # words
		run -7 "$dink" $command
		[[ $output == *"$journal:4: the journal is damaged: a line that is no JSON object"* ]]
		[[ $output == *"hint: dink gc"* ]]
	done
	# one instance that is damaged does not hide the others
	mkdir -p "$DINK_STATE_DIR/instances/other"
	touch "$DINK_STATE_DIR/instances/other/journal"
	run -7 "$dink" status
	[[ $output == *"other: down"* ]]
	run -0 "$dink" down other
	run -0 "$dink" gc --force --volumes
	no_residue damaged
}

@test "a journal whose last line is torn is taken up to there" {
	"$dink" up -q "$scenario"
	journal=$DINK_STATE_DIR/instances/$name/journal
	truncate -s -5 "$journal"
	[ "$(state_of "$name")" = partial ] # the last line said that all was up
	run -0 "$dink" up -q "$scenario"
	[ "$(state_of "$name")" = up ]
	printf '{"seq":99,"ev' >>"$journal"
	run -0 "$dink" down -q --volumes "$name"
	no_residue torn
}

@test "an engine does nothing to the bridge that it had once and another has now" {
	cat >"$BATS_TEST_TMPDIR/one.yaml" <<-'EOF'
		dink: 1
		name: one
		layers:
		  box: {image: debian, command: [sleep, infinity]}
	EOF
	"$dink" up -q "$BATS_TEST_TMPDIR/one.yaml"
	once=$(jq -r .bridge "$DINK_STATE_DIR/engine/engine.json")
	"$dink" down -q one
	# as another dink makes it: no address yet
	ip link add "$once" type bridge
	foreign=$once
	"$dink" up -q "$BATS_TEST_TMPDIR/one.yaml"
	[ "$(jq -r .bridge "$DINK_STATE_DIR/engine/engine.json")" != "$once" ]
	[ -z "$(ip -o -4 address show dev "$once")" ]
	[[ $(ip -o link show dev "$once") != *",UP"* ]]
	"$dink" down -q one
	no_residue down
}
