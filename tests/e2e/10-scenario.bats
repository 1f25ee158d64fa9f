#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The scenario language as a user meets it: `dink validate`, `dink schema`, the shipped scenarios.
# Needs no root. Goldens are renewed by: DINK_GOLDEN=1 bats tests/e2e/10-scenario.bats

bats_require_minimum_version 1.5.0

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	dink=$PWD/build/dink
	export NO_COLOR=1
}

# The second opinion: Debian's jsonschema and PyYAML know nothing of ours.
opinion() {
	/usr/bin/python3 "$BATS_TEST_DIRNAME/schema.py" "$@"
}

need_python() {
	/usr/bin/python3 -c 'import jsonschema, yaml' 2>/dev/null || skip "no python3-jsonschema, python3-yaml"
}

@test "each bad scenario is refused with its exact words" {
	cd tests/golden/bad
	[ "$(find . -name '*.yaml' | wc -l)" -ge 25 ]
	for f in *.yaml; do
		status=0
		"$dink" validate "$f" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" || status=$?
		if [ "${DINK_GOLDEN:-}" = 1 ]; then
			cp "$BATS_TEST_TMPDIR/err" "${f%.yaml}.expected"
		fi
		[ "$status" -eq 3 ] || { echo "$f: exit status $status"; return 1; }
		[ ! -s "$BATS_TEST_TMPDIR/out" ]
		diff -u "${f%.yaml}.expected" "$BATS_TEST_TMPDIR/err"
	done
}

@test "each golden belongs to a bad scenario, and names its line" {
	cd tests/golden/bad
	for f in *.expected; do
		[ -f "${f%.expected}.yaml" ]
		grep -qE "^${f%.expected}\.yaml:[0-9]+:[0-9]+: " "$f"
	done
}

@test "each shipped scenario is valid, and so says the schema" {
	run -0 "$dink" validate scenarios/*.yaml
	[ "${#lines[@]}" -eq "$(find scenarios -name '*.yaml' | wc -l)" ]
	need_python
	"$dink" schema >"$BATS_TEST_TMPDIR/schema.json"
	run -0 opinion "$BATS_TEST_TMPDIR/schema.json" scenarios/*.yaml
	for line in "${lines[@]}"; do
		[[ $line == *": valid" ]]
	done
}

@test "the schema refuses what is wrong in structure, and only that" {
	need_python
	"$dink" schema >"$BATS_TEST_TMPDIR/schema.json"
	cd tests/golden/bad
	run -0 opinion "$BATS_TEST_TMPDIR/schema.json" *.yaml
	[ "${#lines[@]}" -eq "$(find . -name '*.yaml' | wc -l)" ]
	for line in "${lines[@]}"; do
		# the first line of each file says what is wrong: syntax, structure, or the sense of
		# fields taken together, which a schema cannot see
		case $(head -n 1 "${line%%:*}") in
		"# wrong: syntax") [[ $line != *": valid" ]] ;;
		"# wrong: structure") [[ $line == *": refused: "* ]] ;;
		"# wrong: sense") [[ $line == *": valid" ]] ;;
		*) false ;;
		esac || { echo "$line"; return 1; }
	done
}

@test "whatever the schema refuses dink refuses too: 2000 mutants" {
	need_python
	"$dink" schema >"$BATS_TEST_TMPDIR/schema.json"
	mkdir "$BATS_TEST_TMPDIR/m"
	opinion mutants 2000 tests/fuzz/corpus/scenario/everything.yaml "$BATS_TEST_TMPDIR/m"
	cd "$BATS_TEST_TMPDIR/m"
	opinion ../schema.json *.yaml | sed -n 's/: refused: .*//p' >../schema-refuses
	"$dink" validate --json *.yaml >../dink.json || [ $? -eq 3 ]
	jq -r '.[] | select(.valid | not) | .file' ../dink.json >../dink-refuses
	comm -23 ../schema-refuses ../dink-refuses | tee ../only-schema
	[ ! -s ../only-schema ]
	# and both do refuse many, and not all
	[ "$(wc -l <../schema-refuses)" -ge 500 ]
	[ "$(jq '[.[] | select(.valid)] | length' ../dink.json)" -ge 50 ]
}

@test "--json: the same problems for programs" {
	cd tests/golden/bad
	run -3 "$dink" validate --json 12-unknown-keys.yaml ../../../scenarios/vm.yaml
	[ "$(jq length <<<"$output")" -eq 2 ]
	[ "$(jq -c '[.[0].problems[] | [.line, .column]]' <<<"$output")" = "[[4,1],[8,5],[9,5],[10,5]]" ]
	[ "$(jq -r '.[0].problems[1].hint' <<<"$output")" = "did you mean 'image'?" ]
	[ "$(jq -c '[.[] | .valid, .name]' <<<"$output")" = '[false,null,true,"vm"]' ]
}

@test "without a name: every scenario of the folder; standard input by -" {
	cp scenarios/vm.yaml scenarios/docker-in-docker.yaml "$BATS_TEST_TMPDIR"
	echo 'a: 1' >"$BATS_TEST_TMPDIR/other.yaml"
	cd "$BATS_TEST_TMPDIR"
	run -0 "$dink" validate
	[ "${#lines[@]}" -eq 2 ]
	run -0 "$dink" validate - <vm.yaml
	[[ $output == "-: vm is valid: "* ]]
	rm ./*.yaml
	run -2 "$dink" validate
	[[ $output == *"there is no scenario in this folder"* ]]
}

@test "a file that is not there is a mistake of usage" {
	run -2 "$dink" validate "$BATS_TEST_TMPDIR/none.yaml"
	[[ $output == *"No such file or directory"* ]]
}

@test "limits: bytes, values, nesting, NUL" {
	cd "$BATS_TEST_TMPDIR"
	{ cat "$OLDPWD/scenarios/vm.yaml"; head -c 1048577 /dev/zero | tr '\0' '#'; } >big.yaml
	run -3 "$dink" validate big.yaml
	[[ $output == *"big.yaml"*1048576* ]]
	{ printf 'dink: 1\nname: x\nlayers: {a: {image: debian, command: ['; head -c 420000 /dev/zero | sed 's/\x00/x,/g'; echo 'x]}}'; } >many.yaml
	run -3 "$dink" validate many.yaml
	[[ $output == *"at most 200000 values"* ]]
	head -c 10000 /dev/zero | tr '\0' '[' >deep.yaml
	run -3 "$dink" validate deep.yaml
	[[ $output == *"deep.yaml:1:33: nested more than 32 deep"* ]]
	printf 'dink: 1\nname: "\0"\n' >nul.yaml
	run -3 "$dink" validate nul.yaml
	[[ $output == *"nul.yaml:2:8: not a text: there is a NUL byte"* ]]
}

@test "a thousand layers take milliseconds" {
	cd "$BATS_TEST_TMPDIR"
	{
		printf 'dink: 1\nname: thousand\ndisks:\n'
		for i in $(seq 1000); do echo "  d$i: {size: 1GiB}"; done
		echo 'layers:'
		for i in $(seq 1000); do echo "  l$i: {image: debian, disks: {d$i: /data}, ports: [\"$((i + 1024)):80\"]}"; done
	} >thousand.yaml
	run -0 "$dink" validate thousand.yaml
	[[ $output == *"1000 layers"* ]]
	# processor time, not the clock: other things may be running
	ms=$( { TIMEFORMAT='%U %S'; time "$dink" validate thousand.yaml >/dev/null; } 2>&1 | awk '{print int(($1 + $2) * 1000)}')
	echo "$ms ms"
	[ "$ms" -le 100 ]
}

@test "the reference has every key that the schema has" {
	"$dink" schema --reference >"$BATS_TEST_TMPDIR/reference"
	"$dink" schema | jq -r '[.properties, (."$defs"[] | .properties)] | map(keys) | add | unique | .[]' >"$BATS_TEST_TMPDIR/keys"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/keys")" -ge 25 ]
	while read -r key; do
		grep -q "^\.It Cm $key " "$BATS_TEST_TMPDIR/reference" || { echo "no $key"; return 1; }
	done <"$BATS_TEST_TMPDIR/keys"
}

@test "dink-scenario(5) holds the reference as it is printed" {
	page=docs/man/dink-scenario.5
	sed -n '/^\.\\" begin of what dink schema/,/^\.\\" end of what dink schema/p' "$page" | sed '1d;$d' >"$BATS_TEST_TMPDIR/page"
	"$dink" schema --reference >"$BATS_TEST_TMPDIR/reference"
	# after a change of the tables: tests/golden/renew-man
	diff -u "$BATS_TEST_TMPDIR/reference" "$BATS_TEST_TMPDIR/page"
	command -v mandoc >/dev/null || skip "no mandoc"
	run -0 mandoc -T lint -W warning "$page"
}
