#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The command line as a whole: help, man page and completion say the same as the tables, errors are
# helpful and machine-readable, an installed dink finds its files. No root, nothing is touched.

bats_require_minimum_version 1.5.0

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	dink=$PWD/build/dink
	export NO_COLOR=1
	export DINK_STATE_DIR=$BATS_TEST_TMPDIR/state DINK_RUN_DIR=$BATS_TEST_TMPDIR/run
}

# The commands that `dink help` shows, one a line.
commands() {
	"$dink" help | sed -n '/^Commands:$/,/^$/{s/^  \([a-z]\+\( [a-z-]\+\)\{0,1\}\) \{2,\}.*/\1/p}'
}

# options COMMAND - its options as help shows them: "-k --keep" or "--timings", one a line
options() {
	# shellcheck disable=SC2086  # a command may be two words
	"$dink" help $1 | sed -n '/^Options:$/,/^$/{s/^  \(-[a-zA-Z]\), \(--[a-z0-9-]\+\).*/\1 \2/p;s/^ \{6\}\(--[a-z0-9-]\+\).*/\1/p}'
}

# What dink.1 has about a command, as mdoc.
section() {
	awk -v want=".Ss $1" '/^\.S[sh] /{on = $0 == want} on' docs/man/dink.1
}

@test "every command has help, and --help and -h exit 0 everywhere" {
	[ "$(commands | wc -l)" -ge 20 ]
	while read -r c; do
		# shellcheck disable=SC2086
		run -0 --separate-stderr "$dink" help $c
		[[ "${lines[0]}" == "Usage: dink $c"* ]]
		help=$output
		for flag in --help -h; do
			# shellcheck disable=SC2086
			run -0 --separate-stderr "$dink" $c $flag
			[ "$output" = "$help" ]
		done
	done < <(commands; echo complete)
	for c in kernel image disk privileges; do
		run -0 "$dink" $c --help
		[[ "$output" == *"  $c "* ]]
		run -0 "$dink" help $c
	done
	run -0 "$dink" --help
	run -0 "$dink" -h
	run -0 "$dink" --version
	run -2 "$dink"
}

@test "dink.1 has every command and every option, short and long, and no others" {
	local missing=0
	while read -r c; do
		text=$(section "$c")
		[ -n "$text" ] || { echo "dink.1 has no section for: $c"; missing=1; continue; }
		while read -r short long; do
			[ -n "$long" ] || { long=$short; short=; }
			case $long in --help | --quiet) continue ;; esac
			[ -n "$short" ] && want=".It Fl ${short#-} , -${long#--}" || want=".It Fl -${long#--}"
			grep -qE "^${want}( |$)" <<<"$text" || { echo "dink.1, $c: no line '$want'"; missing=1; }
		done < <(options "$c")
		# and what it describes is there
		while read -r flag; do
			options "$c" | grep -qE -- "(^| )--$flag$" || { echo "dink.1, $c: --$flag is no option"; missing=1; }
		done < <(sed -n 's/^\.It Fl \([a-zA-Z] , \)\{0,1\}-\([a-z0-9-]\+\).*/\2/p' <<<"$text")
	done < <(commands)
	[ $missing -eq 0 ]
	while read -r _ _ s; do
		[ "$s" = complete ] || commands | grep -qx "$s"
	done < <(grep '^\.Ss ' docs/man/dink.1 | sed 's/^\.Ss /x x /')
}

@test "dink.1 has every environment variable that dink reads, and every exit code" {
	local missing=0
	while read -r v; do
		grep -qE "^\.It Ev (.* , )?$v( |$)" docs/man/dink.1 || { echo "dink.1: no $v"; missing=1; }
	done < <(grep -rhoE 'getenv\("[A-Z_]+"\)' cmd/dink provision loopdev kernel-configs images |
		grep -oE '[A-Z_]{3,}' | sort -u | grep -vxE 'PATH|HOME|DINK_VM_.*'
		grep -oE '"(DINK|XDG)_[A-Z_]+"' provision/base/dirs.c | tr -d '"' | sort -u)
	[ $missing -eq 0 ]
	while read -r code; do
		grep -qx "\.It $code" docs/man/dink.1
	done < <(sed -n 's/^\tDINK_E_[A-Z]* = \([0-9]*\),.*/\1/p' provision/base/err.h)
}

@test "man pages are clean" {
	command -v mandoc >/dev/null || skip "needs mandoc"
	for f in docs/man/*; do
		run -0 mandoc -T lint -W warning "$f"
		[ -z "$output" ]
	done
}

@test "completion offers every command and option" {
	while read -r c; do
		first=${c%% *}
		run -0 "$dink" complete words -- ""
		grep -qx -- "$first" <<<"$output"
		if [ "$first" != "$c" ]; then
			run -0 "$dink" complete words -- "$first" ""
			grep -qx -- "${c#* }" <<<"$output"
		fi
		# shellcheck disable=SC2086
		run -0 "$dink" complete words -- $c -
		offered=$output
		while read -r short long; do
			grep -qx -- "${long:-$short}" <<<"$offered"
		done < <(options "$c")
	done < <(commands)
}

# complete WORD... - what bash offers for the last word
complete_in_bash() {
	PATH=$PWD/build:$PATH bash --norc -c '
		source <(dink complete bash)
		[ "$(complete -p dink)" = "complete -F _dink dink" ] || exit 1
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		compopt() { echo "compopt $*"; }
		_dink
		printf "%s\n" "${COMPREPLY[@]}"' bash "$@"
}

@test "completion as bash calls it" {
	run -0 complete_in_bash dink ke
	[ "$(sort -u <<<"$output")" = kernel ]
	run -0 complete_in_bash dink kernel b
	[ "$(sort <<<"$output" | tr '\n' ' ')" = "build bundle " ]
	run -0 complete_in_bash dink up --ti
	[ "$(sort <<<"$output" | tr '\n' ' ')" = "--timeout --timings " ]
	run -0 complete_in_bash dink plan x
	[[ "$output" == *"compopt -o default"* ]]
	run -0 complete_in_bash dink kernel bundle --output x
	[[ "$output" == *"compopt -o dirnames"* ]]
	# what is up completes live: an instance as `up` leaves it
	mkdir -p "$DINK_STATE_DIR/instances/box"
	echo '{"layers": [{"path": "box/a"}, {"path": "box/a/b"}]}' >"$DINK_STATE_DIR/instances/box/plan.json"
	run -0 complete_in_bash dink down b
	[ "$output" = box ]
	run -0 complete_in_bash dink exec box/a/
	[ "$output" = box/a/b ]
}

@test "an unknown command or option exits 2 and names the nearest" {
	check() {
		local want=$1
		shift
		run -2 --separate-stderr "$dink" "$@"
		[ -z "$output" ]
		# shellcheck disable=SC2154
		[[ "$stderr" == *"$want"* ]] || { echo "dink $*: $stderr"; return 1; }
	}
	check "did you mean dink up?" upp
	check "did you mean dink kernel build?" kernel biuld
	check "did you mean dink kernel build?" kernal build
	check "one of: build, check, list, bundle" kernel
	check "dink help lists them" frobnicate
	check "did you mean dink status?" help statsu
	check "did you mean --facts?" plan --fact x
	check "did you mean --json?" plan --jsn
	check "did you mean --timings?" up --timing
	local facts=(--facts tests/hosts/debian12-tcg.json)
	check "did you mean proxy?" privileges explain "${facts[@]}" scenarios/docker-in-kata.yaml/prxy
	check "did you mean proxy/kata?" privileges explain "${facts[@]}" scenarios/docker-in-kata.yaml/proxy/kat
	check "the layers there are: kata" privileges explain "${facts[@]}" scenarios/docker-in-kata.yaml/proxy/x
	check "dink plan has no option -x" plan -x
	check "dink plan --help" plan -x
	check "wants a value" plan --facts
	check "takes no value" plan --json=yes
	check "wants a size" disk create --size many x.img
	check "too many arguments from 'b'" plan a b
	check "too few arguments" privileges diff
	# --json only where there is JSON
	check "has no option --json" down --json
}

@test "with --json errors are JSON on standard output" {
	check() {
		local code=$1
		shift
		run "-$code" --separate-stderr "$dink" "$@"
		[ "$(jq -r .error.code <<<"$output")" = "$code" ]
		[ -n "$(jq -r '.error.message // empty' <<<"$output")" ]
	}
	check 2 frobnicate --json
	check 2 plan --json --fact x
	check 2 plan --jsn --json
	check 2 plan --json a b
	check 3 plan --json tests/golden/bad/01-empty.yaml
	echo '{}' >"$BATS_TEST_TMPDIR/f.json"
	check 7 plan --json --facts "$BATS_TEST_TMPDIR/f.json" scenarios/docker-in-kata.yaml
	check 4 plan --json --facts tests/hosts/arm64.json scenarios/docker-in-kata.yaml
	check 2 disk show --json "$BATS_TEST_TMPDIR/nothing.img"
	check 2 doctor --json --facts "$BATS_TEST_TMPDIR/nothing.json"
}

@test "on a terminal what is printed does not follow on the line of the progress" {
	cd "$BATS_TEST_TMPDIR"
	"$dink" disk create -s 8MiB -t ext4 e.img
	script -qec "$dink disk clone e.img f.img" /dev/null >out </dev/null
	grep -q copying out
	grep -qP '^(.*\r\e\[K)?f\.img' out
}

@test "make install: everything is in its place, and the installed dink finds its files" {
	dest=$BATS_TEST_TMPDIR/root
	run -0 make -s install DESTDIR="$dest" PREFIX=/usr
	for f in bin/dink bin/dink-vm lib/dink/dink-agent share/dink/kernel-configs/base.config \
		share/dink/images/docker-host/recipe share/dink/scenarios/docker-in-kata.yaml \
		share/man/man1/dink.1 share/man/man5/dink-scenario.5 share/man/man8/dink-vm.8 \
		share/bash-completion/completions/dink; do
		[ -s "$dest/usr/$f" ] || { echo "not installed: $f"; return 1; }
	done
	[ -z "$(find "$dest" -name '*.[cho]')" ]
	[ -z "$(find "$dest" -type f ! -perm -a=r)" ]
	# away from the sources, so that nothing of the tree helps
	cd /
	dink=$dest/usr/bin/dink
	export DINK_CACHE_DIR=$BATS_TEST_TMPDIR/cache
	run -0 "$dink" plan -q --facts "$BATS_TEST_DIRNAME/../hosts/debian12-tcg.json" \
		"$dest/usr/share/dink/scenarios/docker-in-kata.yaml"
	[[ "$output" == *docker-in-kata* ]]
	run -0 --separate-stderr "$dink" kernel list --json
	[ "$(jq '.features | length' <<<"$output")" -ge 5 ]
	# the fragments: a check reads them
	gzip -dc /proc/config.gz >"$BATS_TEST_TMPDIR/config" 2>/dev/null || : >"$BATS_TEST_TMPDIR/config"
	run --separate-stderr "$dink" kernel check --json "$BATS_TEST_TMPDIR/config"
	[ "$(jq -r 'has("ok")' <<<"$output")" = true ]
	# the image recipes: an image that neither the scenario nor dink has is refused
	run -0 env -C "$BATS_TEST_TMPDIR" "$dink" validate "$dest/usr/share/dink/scenarios/docker-in-kata.yaml"
	printf 'dink: 1\nname: x\nlayers:\n  a: {image: dokcer-host}\n' >"$BATS_TEST_TMPDIR/x.yaml"
	run -3 "$dink" validate "$BATS_TEST_TMPDIR/x.yaml"
	[[ "$output" == *"docker-host"* ]]
}
