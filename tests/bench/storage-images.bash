# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # wall is set, and ours and peer are read, by lib.bash
# Images between levels. DAEMONS says how many plain dockerds get one at once (16), ROWS which rows
# are wanted (plain base_there many vm).

images_rows=${ROWS:-plain base_there many vm}

images_scenario() {
	cat >"$bench_dir/images.yaml" <<-END
		dink: 1
		name: bench-images
		kernels:
		  guest: {source: debian, features: [containers, btrfs]}
		disks:
		  one: {size: 10GiB, filesystem: btrfs}
		  two: {size: 10GiB, filesystem: btrfs}
		layers:
		  plain: {image: docker-host, daemon: docker, disks: {one: /var/lib/docker}}
	END
	[[ " $images_rows " != *" vm "* ]] || cat >>"$bench_dir/images.yaml" <<-END
		  vm: {image: docker-host, runtime: kata, kernel: guest, cpus: 2, memory: 2GiB,
		       daemon: docker, disks: {two: /var/lib/docker}}
	END
}

images_down() { build/dink down -q --wait --volumes bench-images; }

# The host's engine is the instance's own; the image is made in it.
images_up() {
	images_scenario
	storage_undo+=(images_down)
	build/dink up -q "$bench_dir/images.yaml"
	host_socket=$(build/dink env bench-images --json | jq -r .DOCKER_HOST)
	plain_socket=$(build/dink env bench-images/plain --json | jq -r .DOCKER_HOST)
	image_make "$host_socket"
}

# What a row leaves in a daemon must not help the next one.
images_forget() {
	local s
	for s; do
		docker -H "$s" rmi -f "$bench_image" "$bench_base" >/dev/null 2>&1 || continue
	done
}

plain_ours() { build/dink image copy -q "bench-images:$bench_image" bench-images/plain; }
plain_peer() { docker -H "$host_socket" save "$bench_image" | docker -H "$plain_socket" load -q; }
images_plain() {
	local i as=() bs=()
	for ((i = 0; i < ${RUNS:-3}; i++)); do
		images_forget "$plain_socket"
		clock plain_ours
		as+=("$wall")
		images_forget "$plain_socket"
		clock plain_peer
		bs+=("$wall")
	done
	ours=$(printf '%s\n' "${as[@]}" | median)
	peer=$(printf '%s\n' "${bs[@]}" | median)
	# the ratio is the peer's to ours: how many times quicker
	quicker "500 MB, host to a runc layer" 1.0
}

images_base_there() {
	local new before
	images_forget "$plain_socket"
	build/dink image copy -q "bench-images:$bench_base" bench-images/plain
	tests/e2e/tools/relay.py "$bench_dir/relay" "${plain_socket#unix://}" "$bench_dir/count" &
	relay_pid=$!
	wait_for 10 test -S "$bench_dir/relay"
	build/dink image copy -q "bench-images:$bench_image" "unix://$bench_dir/relay"
	kill "$relay_pid"
	before=$(cat "$bench_dir/count")
	new=$(docker -H "$host_socket" history --human=false --format '{{.Size}}' "$bench_image" | head -1)
	against "a copy whose base is there: bytes on the channel" "$before" "$new" 1.05 bytes
}

vm_ours() { build/dink image copy -q "bench-images:$bench_image" bench-images/vm; }
vm_peer() {
	docker -H "$host_socket" save "$bench_image" |
		docker -H "$host_socket" exec -i bench-images.vm docker load -q
}
# What each way into a daemon's store has to do at least: dockerd digests each byte and writes it.
# shellcheck disable=SC2317 # called by clock
vm_digest() { build/dink exec bench-images/vm -- sh -c 'head -c 500000000 /dev/zero | sha256sum'; }
vm_write() {
	build/dink exec bench-images/vm -- sh -c \
		'head -c 500000000 /dev/zero >/var/lib/docker/floor && sync /var/lib/docker/floor && rm /var/lib/docker/floor'
}
images_vm() {
	local vm_socket floor
	vm_socket=$(build/dink env bench-images/vm --json | jq -r .DOCKER_HOST)
	images_forget "$vm_socket"
	clock vm_peer
	peer=$wall
	images_forget "$vm_socket"
	clock vm_ours
	ours=$wall
	quicker "500 MB, host to a VM layer, TCG, against docker exec -i" 5
	clock vm_digest
	floor=$wall
	clock vm_write
	awk -v p="$peer" -v d="$floor" -v w="$wall" 'BEGIN {
		printf "  as many bytes there: SHA-256 %s s, writing %s s; one after the other %.2fx\n", d, w, p / (d + w) }'
}

daemons_start() {
	local i
	daemons=()
	storage_undo+=(daemons_stop)
	for ((i = 0; i < n_daemons; i++)); do
		daemon_start "$bench_dir/d$i"
		daemons+=("unix://$bench_dir/d$i/s")
	done
}

daemons_stop() { daemon_stop "$bench_dir"/d[0-9]*; }

daemons_ours() {
	local list
	list=$(IFS=, && echo "${daemons[*]}")
	build/dink image copy -q "bench-images:$bench_image" "$list"
}
daemons_peer() {
	local s
	for s in "${daemons[@]}"; do
		docker -H "$host_socket" save "$bench_image" | docker -H "$s" load -q
	done
}
# The seconds of CPU time that the daemons, and the helpers they waited for, have taken so far.
daemons_cpu() {
	local i
	for ((i = 0; i < n_daemons; i++)); do
		cut -d' ' -f14-17 "/proc/$(cat "$bench_dir/d$i/pid")/stat"
	done | awk -v hz="$(getconf CLK_TCK)" '{ s += $1 + $2 + $3 + $4 } END { printf "%.2f", s / hz }'
}
images_many() {
	local before floor
	n_daemons=${DAEMONS:-16}
	daemons_start
	before=$(daemons_cpu)
	clock daemons_ours
	ours=$wall
	# what is left if everything else costs nothing
	floor=$(awk -v a="$before" -v b="$(daemons_cpu)" -v n="$(nproc)" 'BEGIN { printf "%.2f", (b - a) / n }')
	images_forget "${daemons[@]}"
	clock daemons_peer
	peer=$wall
	quicker "500 MB to $n_daemons daemons at once, against $n_daemons pipes" 4
	awk -v p="$peer" -v f="$floor" -v n="$(nproc)" 'BEGIN {
		printf "  their own work alone takes %s s on %d processors: at most %.2fx\n", f, n, p / f }'
	images_forget "${daemons[@]}"
}

storage_images() {
	local r up=
	for r in plain base_there many vm; do
		[[ " $images_rows " == *" $r "* ]] || continue
		[ -n "$up" ] || images_up
		up=1
		"images_$r"
	done
}
