#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `dink plan` of 1,000 layers, as a whole process: start, parse, look at this host, plan, print.
# shellcheck source=tests/bench/lib.bash
. tests/bench/lib.bash
trap 'rm -rf "$bench_dir"' EXIT
export DINK_STATE_DIR=$bench_dir/state DINK_RUN_DIR=$bench_dir/run

# scenario N - N layers: daemons with nine containers each, every one written out
scenario() {
	local i k
	printf 'dink: 1\nname: many\nlayers:\n'
	for ((i = 0; i < $1 / 10; i++)); do
		printf '  d%d:\n    image: docker-host\n    runtime: runc\n    daemon: docker\n    layers:\n' "$i"
		for ((k = 1; k < 10; k++)); do
			printf '      c%d: {image: debian, hostname: c%d-%d, command: [sleep, infinity], env: {N: "%d"}}\n' "$k" "$i" "$k" "$k"
		done
	done
}

scenario 1000 >"$bench_dir/many.yaml"
printf 'dink: 1\nname: counted\nlayers:\n  a: {image: docker-host, daemon: docker, layers: {c: {image: debian, count: 999}}}\n' >"$bench_dir/counted.yaml"

median_of 7 build/dink plan -q "$bench_dir/many.yaml"
[ "$(grep -c 'image debian' "$bench_dir/out")" -eq 900 ] || fail "the plan has 900 inner layers"
row "dink plan, 1000 layers, median of 7" "$wall" 0.2
row "  of that CPU time" "$cpu" 0.2
median_of 7 build/dink plan -q --json "$bench_dir/many.yaml"
row "dink plan --json, 1000 layers, median of 7" "$wall" 0.2
median_of 7 build/dink plan -q "$bench_dir/counted.yaml"
row "dink plan, 1000 layers by count:, median of 7" "$wall" 0.2
median_of 7 build/dink validate "$bench_dir/many.yaml"
row "dink validate, 1000 layers, median of 7" "$wall"
exit "$bench_missed"
