# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What 50-up-down.bats and 51-fault.bats share: folders of their own, and a look at everything that
# an instance could leave on the machine. Others may use dink at the same time: only what is ours,
# or nobody's, counts.

# shellcheck disable=SC2034 # used by the tests
up_setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	dink=$PWD/build/dink
	scenario=$PWD/scenarios/docker-in-docker.yaml
	name=docker-in-docker
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	command -v dockerd >/dev/null || skip "needs dockerd"
	export NO_COLOR=1
	export DINK_STATE_DIR=${BATS_TEST_TMPDIR:?}/state DINK_RUN_DIR=$BATS_TEST_TMPDIR/run
	unset DOCKER_HOST DINK_KILL_AT DINK_FAIL_AT
	# these tests look at, and kill, the private engine
	if curl -s --max-time 2 --unix-socket /run/docker.sock http://d/_ping >/dev/null; then
		skip "needs a host without an engine of its own"
	fi
}

# After a failed test: whatever it left must not disturb the next one.
up_teardown() {
	local i
	for i in "$DINK_STATE_DIR"/instances/*; do
		[ ! -d "$i" ] || "$dink" down -q --wait --volumes "${i##*/}" || "$dink" gc --force --volumes
	done
	unset DINK_KILL_AT DINK_FAIL_AT
}

# Rules and cgroups bear the name of the private engine's bridge; without the bridge nobody owns
# them. Another dink may just be ending: what goes by itself in a moment is its.
orphans_of_bridges() {
	local i
	for i in $({
		iptables-save 2>/dev/null | grep -o 'dinkbr[0-9]*'
		find /sys/fs/cgroup -maxdepth 2 -type d -name 'dink-[0-9]*' 2>/dev/null |
			sed 's/.*dink-/dinkbr/'
	} | sort -u); do
		[ -e "/sys/class/net/$i" ] || echo "$i"
	done
}

lasting_orphans() {
	local first
	first=$(orphans_of_bridges)
	[ -n "$first" ] || return 0
	sleep 1
	comm -12 <(printf '%s\n' "$first") <(orphans_of_bridges) |
		sed 's/^/packet rules or a cgroup, but no bridge: /'
}

bridge_of_ours() {
	local mac=$BATS_TEST_TMPDIR/mac
	[ ! -e "$DINK_STATE_DIR/engine/engine.json" ] ||
		jq -r .mac "$DINK_STATE_DIR/engine/engine.json" >"$mac"
	[ ! -s "$mac" ] || ip -o link show type bridge | grep -F "$(cat "$mac")"
}

# residue [kept]: what an instance that is down left, one thing a line. With "kept", its folder
# with the journal of its disks and the disks are as they should be.
residue() {
	local files=("$DINK_RUN_DIR")
	losetup -a | grep -F "$DINK_STATE_DIR"
	grep -F -e "$DINK_STATE_DIR" -e "$DINK_RUN_DIR" /proc/self/mountinfo
	pgrep -af -- "$DINK_STATE_DIR|$DINK_RUN_DIR"
	pgrep -af "dink (up|down|forward)" | grep -F "$DINK_RUN_DIR"
	bridge_of_ours
	lasting_orphans
	if [ "${1:-}" = kept ]; then
		find "$DINK_STATE_DIR/instances" -mindepth 2 ! -path '*/disks' ! -path '*/disks/*.img' \
			! -name journal
	else
		files+=("$DINK_STATE_DIR/instances")
	fi
	[ ! -d "$DINK_STATE_DIR" ] || find "${files[@]}" -mindepth 1 ! -path '*/locks' \
		! -name kvm-probe.json 2>/dev/null # that is of the host's boot
	# of the private engine its images stay, and nothing else
	find "$DINK_STATE_DIR/engine" -maxdepth 1 -name engine.json 2>/dev/null
	find "$DINK_STATE_DIR/engine/users" "$DINK_STATE_DIR/engine/data/containers" \
		-mindepth 1 -maxdepth 1 2>/dev/null
	find "$DINK_STATE_DIR/engine/data/volumes" -mindepth 1 -maxdepth 1 -type d 2>/dev/null
	find "$DINK_STATE_DIR/engine/data/overlay2" -mindepth 1 -maxdepth 1 -name '*-init' 2>/dev/null
	return 0
}

# no_residue WHAT [kept]
no_residue() {
	local left
	left=$(residue "${2:-}")
	[ -z "$left" ] || { printf '%s left behind:\n%s\n' "$1" "$left"; return 1; }
}

state_of() {
	"$dink" status --json "$1" | jq -r '.[0].state'
}

# socket_of NAME [N]: the N-th layer's socket on the host
socket_of() {
	"$dink" status --json "$1" | jq -r ".[0].layers[${2:-0}].socket"
}
