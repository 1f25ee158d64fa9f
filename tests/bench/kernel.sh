#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A build of the standard guest kernel from nothing but the downloaded sources: CPU time, sizes.
# shellcheck source=tests/bench/lib.bash
. tests/bench/lib.bash
trap 'rm -rf "$bench_dir"' EXIT

# the archive of the sources is taken along, the built kernels are not
shared=${DINK_CACHE_DIR:-/var/cache/dink}
export DINK_CACHE_DIR=$bench_dir/cache
mkdir -p "$DINK_CACHE_DIR"
[ ! -d "$shared/kernels/sources" ] || { mkdir -p "$DINK_CACHE_DIR/kernels" && cp -R "$shared/kernels/sources" "$DINK_CACHE_DIR/kernels/"; }

clock build/dink kernel build -q --json || { fail "dink kernel build"; exit 1; }
cp "$bench_dir/out" "$bench_dir/kernel.json"
bzimage=$(jq -r .bzimage "$bench_dir/kernel.json") vmlinux=$(jq -r .vmlinux "$bench_dir/kernel.json")
row "dink kernel build, CPU time" "$(awk -v c="$cpu" 'BEGIN { printf "%.2f", c / 60 }')" 10 min
row "dink kernel build, wall" "$(awk -v w="$wall" 'BEGIN { printf "%.2f", w / 60 }')" "" min
row "bzImage" "$(stat -c %s "$bzimage" | awk '{ printf "%.2f", $1 / 1e6 }')" 7 MB
row "vmlinux" "$(stat -c %s "$vmlinux" | awk '{ printf "%.2f", $1 / 1e6 }')" "" MB
row "symbols built in" "$(grep -c '=y$' "$(jq -r .config "$bench_dir/kernel.json")")" "" ""
clock build/dink kernel build -q
row "dink kernel build, found in the cache" "$wall"
exit "$bench_missed"
