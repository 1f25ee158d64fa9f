# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What the scenarios' tests share: one `dink up` for the file with folders of its own, a look at what
# is left after `dink down`. A test file sets `name` (of scenarios/NAME.yaml), then calls these.

missing() {
	local p
	[ "$(id -u)" -eq 0 ] || { echo "needs root" && return; }
	for p in dockerd docker jq "$@"; do
		command -v "$p" >/dev/null || { echo "needs $p" && return; }
	done
}

# scenario_setup [PROGRAM...] - folders of its own: bats' may be long, and a socket's name may not
scenario_setup() {
	local why
	cd "$BATS_TEST_DIRNAME/../.." || return
	why=$(missing "$@")
	[ -z "$why" ] || skip "$why"
	T=$(mktemp -d -t dink-slow.XXXXXX)
	export T DINK=${DINK:-$PWD/build/dink} NO_COLOR=1
	export scenario=${scenario:-$PWD/scenarios/${name:?}.yaml}
	export DINK_STATE_DIR=$T/state DINK_RUN_DIR=$T/run
	unset DOCKER_HOST DOCKER_CONTEXT
	mkdir -p "$T/run"
	# what the host can do was found out once for this boot
	if [ -e /run/dink/kvm-probe.json ]; then cp /run/dink/kvm-probe.json "$T/run/"; fi
}

scenario_up() {
	scenario_setup "$@"
	scenario_start
}

# what is left of scenario_up() where a test changes $scenario first
scenario_start() {
	"$DINK" up --timings "$scenario" </dev/null >"$T/up" 2>"$T/up.err" || {
		cat "$T/up" "$T/up.err" >&2
		scenario_down
		return 1
	}
}

# of all layers, and of the engine that dink started
scenario_residue() {
	pgrep -af "$T"
	losetup -a | grep -F "$T"
	grep -F "$T" /proc/self/mounts
	find "$DINK_RUN_DIR" -mindepth 1 -maxdepth 1 '(' -name "$name" -o -name engine ')'
	return 0 # what was found is what was printed
}

scenario_down() {
	local left status=0
	[ -n "${T:-}" ] || return 0
	if [ -d "$DINK_STATE_DIR/instances/$name" ]; then
		"$DINK" down -q --wait --volumes "$name" || status=1
	fi
	left=$(scenario_residue)
	[ -z "$left" ] || { printf 'left behind:\n%s\n' "$left"; status=1; }
	rm -rf "$T"
	return "$status"
}

dx() { "$DINK" exec "$@"; }
