#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `dink up` of docker-in-kata, three levels, with artifacts warm (kernel, images, guest folder in the
# cache) and everything else fresh: state folder, run folder, empty disks. Then `dink down`, and a
# look for what it may have left. Kata 1.9.1 needs 42.5 s for its level alone.
# shellcheck source=tests/bench/lib.bash
. tests/bench/lib.bash
need_root
export DINK_STATE_DIR=$bench_dir/state DINK_RUN_DIR=$bench_dir/run
unset DOCKER_HOST
scenario=scenarios/docker-in-kata.yaml
name=docker-in-kata
runs=${RUNS:-3}

end() {
	if [ -d "$DINK_STATE_DIR/instances/$name" ]; then
		build/dink down -q --wait --volumes "$name"
	fi
	rm -rf "$bench_dir"
}
trap end EXIT

links() { ip -o link | awk -F': ' '$2 ~ /^dink(br|tap)/ { print $1, $2 }' | sort; }

# What an instance may leave nowhere.
left() {
	losetup -a | awk -v d="$bench_dir" 'index($0, d)'
	awk -v d="$bench_dir" 'index($2, d) == 1' /proc/self/mounts
	ps -e -o pid=,args= | awk -v d="$bench_dir" -v self="$$" 'index($0, d) && !/awk/ && $1 != self'
	links | comm -13 "$bench_dir/links" -
	mkdir -p "$DINK_STATE_DIR/instances"
	find "$DINK_STATE_DIR/instances" "$DINK_RUN_DIR" -mindepth 1 ! -path '*/lock*' ! -name kvm-probe.json
}

# artifacts warm: built now if they are not there
build/dink image build -q >/dev/null
build/dink kernel bundle -q >/dev/null
# the KVM probe is once per boot of the host and no part of `up`
mkdir -p "$DINK_RUN_DIR"
build/dink doctor -q >/dev/null || [ $? -eq 4 ]

links >"$bench_dir/links"
walls=()
for ((i = 1; i <= runs; i++)); do
	if ! clock build/dink up --timings "$scenario"; then
		fail "dink up $name, run $i"
		break
	fi
	walls+=("$wall")
	cat "$bench_dir/err" "$bench_dir/out" >"$bench_dir/timings"
	clock build/dink exec "$name/proxy/kata/inner" -- cat /etc/os-release
	grep -q '^NAME=' "$bench_dir/out" || fail "exec in the innermost layer"
	[ "$i" -gt 1 ] || row "first dink exec cat, three levels deep" "$wall"
	if [ "$i" -eq "$runs" ]; then
		clock build/dink exec "$name/proxy/kata/inner" -- true
		row "second dink exec true, three levels deep" "$wall"
		clock build/dink up "$scenario"
		row "dink up again, which changes nothing" "$wall"
	fi
	clock build/dink down --volumes "$name"
	row "dink down --volumes, run $i" "$wall"
	rest=$(left)
	[ -z "$rest" ] || { fail "run $i left something"; printf '%s\n' "$rest"; }
done
if [ "${#walls[@]}" -eq "$runs" ]; then
	row "dink up $name, median of $runs (${walls[*]})" \
		"$(printf '%s\n' "${walls[@]}" | sort -n | sed -n "$(((runs + 1) / 2))p")" 40
	printf '\nthe last run, step by step:\n'
	cat "$bench_dir/timings"
fi
exit "$bench_missed"
