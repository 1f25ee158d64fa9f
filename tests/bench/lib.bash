# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is read by the benchmarks
# Shared by the benchmarks: rows with verdicts, clocks, medians.
set -euo pipefail

bench_missed=0
bench_dir=$(mktemp -d "${TMPDIR:-/tmp}/dink-bench.XXXXXX")
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

# against WHAT FIGURE PEER BAR [UNIT] [atleast] - FIGURE may be BAR times PEER's, or must be that
against() {
	local what=$1 figure=$2 peer=$3 bar=$4 unit=${5:-s} sense=${6:-atmost} sign='<=' ratio verdict=ok
	ratio=$(awk -v f="$figure" -v p="$peer" 'BEGIN { printf "%.2f", (p > 0 ? f / p : 0) }')
	[ "$sense" = atmost ] || sign='>='
	awk -v r="$ratio" -v b="$bar" -v s="$sense" -v p="$peer" \
		'BEGIN { exit !(p > 0 && (s == "atmost" ? r <= b : r >= b)) }' ||
		{ verdict=MISSED; bench_missed=1; }
	printf '%-58s | %12s | %-12s | %s\n' "$what" "$figure $unit" "" ""
	printf '%-58s | %12s | %-12s | %s\n' "  its peer $peer $unit: ratio" "${ratio}x" "$sign ${bar}x" "$verdict"
}

# quicker WHAT BAR [NOTE] - $ours against $peer, set by pair_of or by hand: $peer must be BAR times $ours
quicker() {
	local verdict=ok ratio
	ratio=$(awk -v o="$ours" -v p="$peer" 'BEGIN { printf "%.2f", (o > 0 ? p / o : 0) }')
	awk -v r="$ratio" -v b="$2" 'BEGIN { exit !(r >= b) }' || { verdict=MISSED; bench_missed=1; }
	printf '%-58s | %12s | %-12s | %s\n' "$1" "$ours s" "" ""
	printf '%-58s | %12s | %-12s | %s\n' "  ${3:-as a user would}: $peer s; times quicker" "${ratio}x" ">= ${2}x" "$verdict"
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

# median - of the numbers on standard input, one a line
median() { sort -n | awk '{ v[NR] = $1 } END { if (NR) print v[int((NR + 1) / 2)] }'; }

# pair_of N OURS PEER - two functions, in turn, so that load from outside meets both; sets $ours and
# $peer to the medians of their wall times
pair_of() {
	local n=$1 a=$2 b=$3 i
	local as=() bs=()
	for ((i = 0; i < n; i++)); do
		clock "$a" || return 1
		as+=("$wall")
		clock "$b" || return 1
		bs+=("$wall")
	done
	ours=$(printf '%s\n' "${as[@]}" | median)
	peer=$(printf '%s\n' "${bs[@]}" | median)
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

# daemon_start DIR [DRIVER [DATA]] - a plain dockerd with all that is its own in DIR: socket DIR/s
daemon_start() {
	local d=$1
	mkdir -p "$d"
	setsid dockerd --bridge=none --iptables=false --ip-forward=false -s "${2:-overlay2}" \
		--data-root "${3:-$d/data}" --exec-root "$d/exec" -p "$d/pid" -H "unix://$d/s" \
		--containerd-namespace "dink-${d##*/}" --containerd-plugins-namespace "dinkp-${d##*/}" \
		>"$d/log" 2>&1 </dev/null &
	wait_for 60 docker -H "unix://$d/s" version
}

# daemon_stop DIR... - and waits until they are gone
daemon_stop() {
	local d p
	for d; do
		[ -s "$d/pid" ] || continue
		p=$(cat "$d/pid")
		kill "$p"
		while kill -0 "$p" 2>/dev/null; do sleep 0.1; done
	done
}

# What is moved: docker-host, 320 MB of real files, with a layer of 180 MB of noise on it and one of
# 4 MB, 500 MB in all.
bench_image=dink-bench:1
bench_base=dink-bench-base:1
# image_make SOCKET - in a daemon that has docker-host
image_make() {
	mkdir "$bench_dir/context"
	head -c 180000000 /dev/urandom >"$bench_dir/context/noise"
	head -c 4000000 /dev/urandom >"$bench_dir/context/more"
	printf 'FROM docker-host\nCOPY noise /noise\n' |
		docker -H "$1" build -q -t "$bench_base" -f - "$bench_dir/context" >/dev/null
	printf 'FROM %s\nCOPY more /more\n' "$bench_base" |
		docker -H "$1" build -q -t "$bench_image" -f - "$bench_dir/context" >/dev/null
	rm -r "$bench_dir/context"
}

need_root() {
	[ "$(id -u)" -eq 0 ] || { echo "dink: this benchmark needs root" >&2; exit 4; }
}
