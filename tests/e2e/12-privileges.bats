#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# dink privileges without a container: what it computes and prints, and that every row of the needs
# table has a proof. No root, no engine; what the grants do is 25-privileges.bats and its longer
# part in tests/slow.

bats_require_minimum_version 1.5.0

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	dink=$PWD/build/dink
	facts=(--quiet --facts tests/hosts/debian12-tcg.json)
	kata=scenarios/docker-in-kata.yaml
	t=$BATS_TEST_TMPDIR
	export NO_COLOR=1
}

# tests/proofs: NEED TAB KIND TAB WHAT TAB FILE TAB NAME OF THE TEST, or "-" and why there is none
@test "every grant of the needs table has a proof, and every proof is a test that is there" {
	"$dink" privileges needs --json |
		jq -r '.[] | .need as $n | if .grants == [] then [$n, "none", "-"] else (.grants[] | [$n, .kind, .what]) end | @tsv' |
		sort >"$t/rows"
	grep -v '^#' tests/proofs | cut -f 1-3 | sort >"$t/proved"
	diff -u "$t/rows" "$t/proved"
	[ "$(wc -l <"$t/rows")" -ge 44 ]
	local bad=0
	while IFS=$'\t' read -r need kind what file name; do
		[ "$file" != - ] || continue
		grep -qxF "@test \"$name\" {" "$file" || { echo "$need $kind $what: no test '$name' in $file"; bad=1; }
	done < <(grep -v '^#' tests/proofs)
	[ $bad -eq 0 ]
	# what is without a proof says why, and is little
	[ "$(awk -F'\t' '$4 == "-"' tests/proofs | wc -l)" -le 9 ]
	[ -z "$(awk -F'\t' '$4 == "-" && length($5) < 10' tests/proofs)" ]
	# docs/privileges.md states the numbers
	grep -qF "$(wc -l <"$t/rows") rows, $(awk -F'\t' '!/^#/ && $4 != "-"' tests/proofs | wc -l) of them proved" docs/privileges.md
}

@test "what a layer's needs: names is granted, and an unknown need is refused with the nearest" {
	printf 'dink: 1\nname: u\nlayers:\n  box: {image: debian, needs: [rootless-daemon]}\n' >"$t/u.yaml"
	"$dink" privileges explain "${facts[@]}" --json "$t/u.yaml" >"$t/o"
	jq -e '.[0].grants | any(.kind == "unmask" and .what == "/proc")' "$t/o"
	jq -e '.[0].grants | all(.what != "CAP_SYS_ADMIN")' "$t/o"
	sed -i s/rootless-daemon/rootles-daemon/ "$t/u.yaml"
	run -3 "$dink" validate "$t/u.yaml"
	[[ "$output" == *rootless-daemon* ]]
}

@test "diff says what only one of two layers has, and the four numbers of both" {
	"$dink" privileges diff "${facts[@]}" --json "$kata/proxy" scenarios/docker-in-docker.yaml/docker >"$t/d"
	jq -e '.a.only | any(.what == "/dev/net/tun rw")' "$t/d"
	jq -e '.b.only == []' "$t/d"
	jq -e '.a.score.capabilities == 16 and .a.score.devices == 1 and .b.score.devices == 0' "$t/d"
	"$dink" privileges diff "${facts[@]}" --json "$kata/proxy" privileged >"$t/d"
	jq -e '.b.score.capabilities == 41 and .b.score.devices == "all" and .b.score.kernel_paths == 7' "$t/d"
	jq -e '.a.score.syscalls < .b.score.syscalls' "$t/d"
	run -0 "$dink" privileges diff "${facts[@]}" "$kata/proxy" "$kata/proxy"
	[[ "$output" == *"the same grants"* ]]
	run -2 "$dink" privileges diff "${facts[@]}" "$kata" privileged
	[[ "$output" == *"names no layer"* ]]
}

@test "explain --against compares with another set, and refuses one that is none" {
	run -0 "$dink" privileges explain "${facts[@]}" --against privileged "$kata/proxy"
	[[ "$output" == *"privileged "*" 41 "*" all "* ]]
	"$dink" privileges explain "${facts[@]}" --against docker-default --json "$kata" >"$t/o"
	jq -e 'all(.against == "docker-default" and .against_score.capabilities == 14)' "$t/o"
	run -2 "$dink" privileges explain "${facts[@]}" --against docker "$kata/proxy"
	[[ "$output" == *"docker-default"* ]]
}

@test "--oci is the part of config.json that the set becomes" {
	"$dink" privileges explain "${facts[@]}" --oci "$kata/proxy" >"$t/o"
	jq -e '.process.capabilities.bounding | length == 16 and any(. == "CAP_SYS_ADMIN")' "$t/o"
	jq -e '.linux.devices == [{path: "/dev/net/tun", type: "c", major: 10, minor: 200}]' "$t/o"
	jq -e '.linux.resources.devices[0].access == "rw"' "$t/o"
	jq -e '.linux.readonlyPaths | any(. == "/proc/sys")' "$t/o"
	jq -e '.linux.sysctl["net.ipv4.ip_forward"] == "1"' "$t/o"
	jq -e '.mounts | any(.destination == "/run" and .type == "tmpfs")' "$t/o"
	jq -e '.linux.seccomp.defaultAction == "SCMP_ACT_ERRNO"' "$t/o"
	jq -e '[.linux.seccomp.syscalls[] | select(.action == "SCMP_ACT_ALLOW") | .names[]] | any(. == "keyctl")' "$t/o"
	run -2 "$dink" privileges explain "${facts[@]}" --oci "$kata"
	run -2 "$dink" privileges explain "${facts[@]}" --oci --apparmor "$kata/proxy"
}

@test "--apparmor is a profile that apparmor_parser takes, and it keeps what was not granted" {
	command -v apparmor_parser >/dev/null || skip "needs apparmor_parser (apt-get install apparmor)"
	printf 'dink: 1\nname: u\nlayers:\n  box: {image: debian, needs: [rootless-daemon, trace-child]}\n' >"$t/u.yaml"
	for layer in "$kata/proxy" "$kata/proxy/kata/inner" scenarios/runtimes.yaml/proxy "$t/u.yaml/box"; do
		"$dink" privileges explain "${facts[@]}" --apparmor "$layer" >"$t/profile"
		run -0 apparmor_parser -QK "$t/profile"
	done
	[[ "$(cat "$t/profile")" != *"deny /proc/sys"* ]]
	"$dink" privileges explain "${facts[@]}" --apparmor "$kata/proxy" >"$t/profile"
	grep -qF 'capability sys_admin,' "$t/profile"
	grep -qF 'deny /proc/sys/{[^n],n[^e],ne[^t]}** wklx,' "$t/profile"
	grep -qxF '  mount,' "$t/profile"
	run ! grep -qE 'capability sys_(resource|module)' "$t/profile"
	# and it does say no to what is no profile
	sed -i 's/capability sys_admin,/capability sys_adminn,/' "$t/profile"
	run ! apparmor_parser -QK "$t/profile"
}
