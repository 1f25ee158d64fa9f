#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# dink doctor and dink privileges explain: on saved hosts word for word, on this one by its claims.

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || exit 1
	export DINK_RUN_DIR=$BATS_FILE_TMPDIR/run
	kata=scenarios/docker-in-kata.yaml
}

@test "each saved host gets exactly the words kept for it" {
	local f n=0
	for f in tests/golden/hosts/*.txt; do
		diff -u "$f" <(tests/golden/hosts/transcript "$f")
		n=$((n + 1))
	done
	[ "$n" -ge 20 ]
}

@test "each saved host has words kept for it, and at least ten cannot run docker-in-kata" {
	local f bad=0
	for f in tests/hosts/*.json; do
		[ -s "tests/golden/hosts/$(basename "$f" .json).txt" ]
	done
	for f in tests/golden/hosts/*.txt; do
		if sed -n '2,/^\[exit/p' "$f" | grep -q '^\[exit 4'; then
			bad=$((bad + 1))
		fi
	done
	[ "$bad" -ge 10 ]
}

@test "at least twelve hosts are refused at plan time, each with a reason of its own and what mends it" {
	local refused
	refused=$(grep -hA1 '^\$ dink plan scenarios/docker-in-kata.yaml' tests/golden/hosts/*.txt | grep '^dink: ' | sort -u)
	[ "$(wc -l <<<"$refused")" -ge 12 ]
	for f in full-disk read-only-cache arm64 old-kernel no-iptables no-mmdebstrap no-engine no-tun \
		no-cap-sys-admin no-cgroups no-kernel-tools not-root; do
		run build/dink plan --quiet --facts "tests/hosts/$f.json" "$kata"
		[ "$status" -eq 4 ]
		[[ "$output" == *"hint: "* ]]
	done
}

@test "doctor and plan refuse the same hosts" {
	local f plan doctor
	for f in tests/hosts/*.json; do
		plan=0 doctor=0
		build/dink plan --quiet --facts "$f" "$kata" >/dev/null 2>&1 || plan=$?
		build/dink doctor --quiet --facts "$f" "$kata" >/dev/null 2>&1 || doctor=$?
		echo "$f: plan $plan, doctor $doctor"
		[ "$plan" -eq "$doctor" ]
	done
}

@test "every warning and failure says what it affects" {
	build/dink doctor --quiet --json --facts tests/hosts/plain-container.json "$kata" >"$BATS_TEST_TMPDIR/o" || [ $? -eq 4 ]
	jq -e '[.checks[] | select(.state != "ok")] | length >= 5' "$BATS_TEST_TMPDIR/o"
	jq -e '[.checks[] | select(.state != "ok" and (.affects == null or .mend == null))] == []' "$BATS_TEST_TMPDIR/o"
	jq -e '.usable == false and .scenario == "docker-in-kata" and .facts.dink_facts == 1' "$BATS_TEST_TMPDIR/o"
}

@test "without a scenario nothing is needed, so nothing fails" {
	run build/dink doctor --quiet --facts tests/hosts/plain-container.json
	[ "$status" -eq 0 ]
	[[ "$output" != *FAIL* ]]
	[[ "$output" == *"[warn] tun"* ]]
}

@test "what this host is said to be able to do can be saved and judged again, the same" {
	local code=0
	build/dink doctor --quiet --save "$BATS_TEST_TMPDIR/here.json" "$kata" >"$BATS_TEST_TMPDIR/a" || code=$?
	[ "$code" -eq 0 ] || [ "$code" -eq 4 ]
	run build/dink doctor --quiet --facts "$BATS_TEST_TMPDIR/here.json" "$kata"
	[ "$status" -eq "$code" ]
	[ "$output" = "$(cat "$BATS_TEST_TMPDIR/a")" ]
}

@test "KVM is called usable only if a guest booted, and is not tried twice in one boot" {
	build/dink doctor --quiet --json >"$BATS_TEST_TMPDIR/o"
	local ok
	ok=$(jq .facts.usable.kvm.ok "$BATS_TEST_TMPDIR/o")
	if [ -e "$DINK_RUN_DIR/kvm-probe.json" ]; then
		[ "$(jq .ok "$DINK_RUN_DIR/kvm-probe.json")" = "$ok" ]
		[ "$(jq -r .boot_id "$DINK_RUN_DIR/kvm-probe.json")" = "$(cat /proc/sys/kernel/random/boot_id)" ]
		# a guest takes seconds: two of a second would be a third and fourth boot
		timeout 5 build/dink doctor --quiet --json >"$BATS_TEST_TMPDIR/again"
		[ "$(jq .facts.usable.kvm "$BATS_TEST_TMPDIR/again")" = "$(jq .facts.usable.kvm "$BATS_TEST_TMPDIR/o")" ]
	else
		[ "$ok" = false ]
		jq -e '.facts.usable.kvm.why | test("/dev/kvm|not proven")' "$BATS_TEST_TMPDIR/o"
	fi
}

@test "probing leaves this host's own network and mounts as they were" {
	build/dink doctor --quiet >/dev/null
	[[ "$(ip -o link; cat /proc/self/mountinfo; losetup -a)" != *dink-probe* ]]
}

@test "no colour where the output is no terminal, colour on one, none with NO_COLOR" {
	local facts=tests/hosts/no-tun.json
	[[ "$(build/dink doctor --quiet --facts $facts)" != *$'\033'* ]]
	[[ "$(script -qec "build/dink doctor --quiet --facts $facts" /dev/null)" == *$'\033'* ]]
	[[ "$(NO_COLOR=1 script -qec "build/dink doctor --quiet --facts $facts" /dev/null)" != *$'\033'* ]]
}

@test "saved facts that are damaged or of another version are refused with their place" {
	sed 's/"dink_facts": 1/"dink_facts": 9/' tests/hosts/no-tun.json >"$BATS_TEST_TMPDIR/f.json"
	run build/dink doctor --quiet --facts "$BATS_TEST_TMPDIR/f.json"
	[ "$status" -eq 7 ]
	[[ "$output" == *"f.json: dink_facts: version 9 of saved facts is not known here (1 is)"* ]]
}

@test "explain: no layer is unconfined or has CAP_SYS_RESOURCE, and the proxy has fewer grants than the original's" {
	build/dink privileges explain --quiet --json --facts tests/hosts/debian12-tcg.json "$kata" >"$BATS_TEST_TMPDIR/o"
	jq -e 'length == 3' "$BATS_TEST_TMPDIR/o"
	jq -e '[.[].grants[].what] | all(. != "CAP_SYS_RESOURCE" and . != "*" and (contains("unconfined") | not))' "$BATS_TEST_TMPDIR/o"
	jq -e '[.[].grants[].reasons | length] | all(. >= 1)' "$BATS_TEST_TMPDIR/o"
	jq -e '.[0] | .layer == "docker-in-kata/proxy" and .count == 8' "$BATS_TEST_TMPDIR/o"
	jq -e '.[2].grants == []' "$BATS_TEST_TMPDIR/o"
	[ ! -e /usr/share/containers/seccomp.json ] || jq -e '.[0] | .fewer > 40 and .syscalls.denied > 40' "$BATS_TEST_TMPDIR/o"
}

@test "explain of one layer names only that one, and an unknown one is refused" {
	run build/dink privileges explain --quiet --facts tests/hosts/debian12-tcg.json "$kata/proxy/kata"
	[ "$status" -eq 0 ]
	[[ "$output" == "docker-in-kata/proxy/kata (kata, inside a guest): "* ]]
	[[ "$output" != *"/dev/net/tun rw                ours too"* ]]
	run build/dink privileges explain --quiet --facts tests/hosts/debian12-tcg.json "$kata/proxy/kate"
	[ "$status" -eq 2 ]
	[[ "$output" == *"docker-in-kata has no layer proxy/kate"* ]]
}
