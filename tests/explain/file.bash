# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What a file of these reproductions is to bats; it sets `parts`, the files beside this one that it
# takes them from.

setup_file() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	. tests/explain/lib.bash
	explain_prepare
}

teardown_file() {
	. "$BATS_TEST_DIRNAME/../explain/lib.bash"
	explain_clean
}

setup() {
	local f
	cd "$BATS_TEST_DIRNAME/../.." || return
	# shellcheck disable=SC2034 # for the tests
	dink=$PWD/build/dink
	# shellcheck disable=SC2154 # set by the file
	for f in lib "${parts[@]}"; do
		. "tests/explain/$f.bash"
	done
}
