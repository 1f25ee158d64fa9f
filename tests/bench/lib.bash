# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034 # bench_missed, wall and cpu are read by the benchmarks
# Shared by the benchmarks: rows with verdicts, clocks, medians.
set -euo pipefail

bench_missed=0
bench_dir=$(mktemp -d /tmp/dink-bench.XXXXXX)
export NO_COLOR=1

# row WHAT FIGURE [BAR] [UNIT] - without a bar it is told and not judged
row() {
	local what=$1 figure=$2 bar=${3:-} unit=${4:-s} verdict=
	if [ -n "$bar" ]; then
		verdict=ok
		awk -v f="$figure" -v b="$bar" 'BEGIN { exit !(f + 0 <= b + 0) }' || { verdict=MISSED; bench_missed=1; }
		bar="<= $bar $unit"
	fi
	printf '%-58s | %12s | %-12s | %s\n' "$what" "$figure $unit" "$bar" "$verdict"
}

# fail WHY - what could not be measured is a missed bar, not a skipped one
fail() {
	printf '%-58s | %12s | %-12s | MISSED\n' "$1" "-" ""
	bench_missed=1
}

# clock COMMAND... - run it, output to $bench_dir/out; sets $wall and $cpu (user + system), seconds
clock() {
	local t
	TIMEFORMAT='%3R %3U %3S'
	t=$({ time "$@" >"$bench_dir/out" 2>"$bench_dir/err" </dev/null; } 2>&1) || {
		echo "failed: $*" >&2
		tail -n 5 "$bench_dir/err" >&2
		return 1
	}
	read -r wall user sys <<<"$t"
	cpu=$(awk -v u="$user" -v s="$sys" 'BEGIN { printf "%.3f", u + s }')
}

# median_of N COMMAND... - sets $wall and $cpu to medians of N runs
median_of() {
	local n=$1 i
	local walls=() cpus=()
	shift
	for ((i = 0; i < n; i++)); do
		clock "$@" || return 1
		walls+=("$wall")
		cpus+=("$cpu")
	done
	wall=$(printf '%s\n' "${walls[@]}" | sort -n | sed -n "$(((n + 1) / 2))p")
	cpu=$(printf '%s\n' "${cpus[@]}" | sort -n | sed -n "$(((n + 1) / 2))p")
}

# wait_for SECONDS COMMAND... - until it succeeds
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { echo "not in time: $*" >&2; return 1; }
		sleep 0.02
	done
}

need_root() {
	[ "$(id -u)" -eq 0 ] || { echo "dink: this benchmark needs root" >&2; exit 4; }
}
