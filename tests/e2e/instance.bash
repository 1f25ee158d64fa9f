# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What the files share that bring one instance ($name) up for all of their tests, with folders of
# their own in the file's.

instance_folders() {
	export DINK_STATE_DIR=${BATS_FILE_TMPDIR:?}/state DINK_RUN_DIR=$BATS_FILE_TMPDIR/run
	unset DOCKER_HOST
}

# instance_down: and nothing of it may be left
instance_down() {
	local left
	[ -n "${dink:-}" ] || return 0
	if [ -d "$DINK_STATE_DIR/instances/${name:?}" ]; then
		"$dink" down --quiet --wait --volumes "$name"
	fi
	left=$(
		pgrep -af "$BATS_FILE_TMPDIR/(state|run)"
		grep -F "$DINK_STATE_DIR" /proc/self/mountinfo
		losetup -a | grep -F "$DINK_STATE_DIR"
	)
	[ -z "$left" ] || { echo "left behind: $left"; return 1; }
}

# of LAYER COMMAND...: by the user's own client
of() {
	local layer=$1
	shift
	(eval "$("$dink" env "$name/$layer")" && "$@")
}
