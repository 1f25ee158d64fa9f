#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Storage that travels, each row against what a user would type, in the same run. Its parts are the
# files storage-*.bash beside it; STORAGE="images" picks some.
# shellcheck source=tests/bench/lib.bash
. tests/bench/lib.bash
need_root
export DINK_STATE_DIR=$bench_dir/state DINK_RUN_DIR=$bench_dir/run
unset DOCKER_HOST

# Each part adds the names of functions that undo what it made; the last one made goes first.
storage_undo=()
# shellcheck disable=SC2317 # called by the trap
end() {
	local i
	for ((i = ${#storage_undo[@]} - 1; i >= 0; i--)); do "${storage_undo[i]}"; done
	rm -rf "$bench_dir"
}
trap end EXIT

for part in tests/bench/storage-*.bash; do
	name=${part#tests/bench/storage-}
	name=${name%.bash}
	case " ${STORAGE:-$name} " in
	*" $name "*)
		# shellcheck source=/dev/null
		. "$part"
		"storage_$name"
		;;
	esac
done
exit "$bench_missed"
