#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What `dink disk` and `dink image` say of words, files and addresses that are wrong: exact words and
# exit codes, in tests/golden/cli. Nothing is changed, nothing is left. No root, no engine, no VM.
# Goldens are renewed by: DINK_GOLDEN=1 bats tests/e2e/12-bad-input.bats

bats_require_minimum_version 1.5.0

setup() {
	golden=$BATS_TEST_DIRNAME/../golden/cli
	real=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)/build/dink
	export NO_COLOR=1 LC_ALL=C
	export DINK_STATE_DIR=$BATS_TEST_TMPDIR/state DINK_RUN_DIR=$BATS_TEST_TMPDIR/run
	export DINK_CACHE_DIR=$BATS_TEST_TMPDIR/cache PATH=$PATH:/usr/sbin:/sbin
	unset DOCKER_HOST
	mkdir -p "$BATS_TEST_TMPDIR/w" && cd "$BATS_TEST_TMPDIR/w" || return
	mkdir folder
	echo text >text
	: >empty
	truncate -s 64M swap.img
	mkswap -q -L mine swap.img
	# 8 MiB of ext4
	"$real" disk create -s 8MiB -t ext4 -L data e.img >/dev/null
	"$real" disk export e.img e.tar.zst 2>/dev/null
	head -c 900 e.tar.zst >cut.tar.zst
	"$real" disk snapshot create e.img kept
	ln -s e.img link.img
	mkdir recipe && echo 'suite bookworm' >recipe/recipe
	tar -cf folder.tar folder
	printf 'dink: 1\nname: x\n' >bad.yaml
}

dink() { "$real" "$@" </dev/null; }

# replay NAME: each "$ COMMAND" line of the golden, with what it says and its exit code
replay() {
	local line status before
	before=$(find . -type f -exec sha256sum {} + | sort)
	while IFS= read -r line; do
		printf '%s\n' "$line"
		[[ $line == '$ '* ]] || continue
		status=0
		eval "${line#??}" 2>&1 || status=$?
		[ "$status" -ne 0 ] || echo "succeeded"
		echo "[$status]"
	done < <(grep -E '^(\$ |#|$)' "$golden/$1") >../said
	[ "${DINK_GOLDEN:-}" != 1 ] || cp ../said "$golden/$1"
	diff -u "$golden/$1" ../said
	! grep -qx -e succeeded -e '\[70\]' -e '\[1[23]..*\]' ../said
	[ "$(find . -type f -exec sha256sum {} + | sort)" = "$before" ]
}

@test "dink disk: each wrong input has its words" {
	replay disk
}

@test "dink image: each wrong input has its words" {
	replay image
}

@test "every command of the two has wrong inputs in the goldens" {
	local missing=0 command
	[ "$("$real" help | grep -cE '^  (disk|image) [a-z-]+')" -ge 20 ]
	while read -r command; do
		[ "$(grep -c "^\\$ dink $command\( \|$\)" "$golden/${command%% *}")" -ge 2 ] ||
			{ echo "not in the goldens: $command"; missing=1; }
	done < <("$real" help | grep -oE '^  (disk|image) [a-z-]+' | sort -u)
	[ $missing -eq 0 ]
}
