#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# scenarios/vm.yaml on the real thing: a virtual machine as the first layer, on the private engine,
# its store a btrfs disk, and the user's own docker command in it. Needs root, dockerd and QEMU.

bats_require_minimum_version 1.5.0

setup_file() {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	command -v dockerd >/dev/null || skip "needs dockerd"
	cd "$BATS_TEST_DIRNAME/../.." || return
	export dink=$PWD/build/dink NO_COLOR=1
	export DINK_STATE_DIR=$BATS_FILE_TMPDIR/state DINK_RUN_DIR=$BATS_FILE_TMPDIR/run
	unset DOCKER_HOST
	"$dink" up --quiet scenarios/vm.yaml
}

teardown_file() {
	[ -n "${dink:-}" ] || return 0
	if [ -d "$DINK_STATE_DIR/instances/vm" ]; then
		"$dink" down --quiet --wait --volumes vm
	fi
	no_residue
}

# Processes, mounts, loop devices and the bridge of the engine that dink started.
residue() {
	pgrep -af "(qemu|virtiofsd|dockerd|containerd|dink-vm|dink forward).*$BATS_FILE_TMPDIR"
	grep -F "$DINK_STATE_DIR" /proc/self/mountinfo
	losetup -a | grep -F "$DINK_STATE_DIR"
	ip -o link show type bridge | grep -F " $(jq -r .bridge "$BATS_FILE_TMPDIR/engine.json"):"
	find "$DINK_RUN_DIR" -path "$DINK_RUN_DIR/vm*"
	return 0 # what was found is what was printed
}

no_residue() {
	local left
	left=$(residue)
	[ -z "$left" ] || { echo "left behind: $left"; return 1; }
}

setup() {
	cp "$DINK_STATE_DIR/engine/engine.json" "$BATS_FILE_TMPDIR/engine.json"
}

# The layer's own engine, as the user has it from `dink env`.
in_box() {
	(eval "$("$dink" env vm/box)" && "$@")
}

@test "the layer runs its own kernel, not the host's, and is PID 1 of little" {
	run -0 --separate-stderr "$dink" exec vm/box -- uname -r
	[[ $output == *-dink ]]
	[ "$output" != "$(uname -r)" ]
	run -0 --separate-stderr "$dink" exec vm/box -- cat /proc/1/comm
	[ "$output" = tini ]
	run -7 "$dink" exec vm/box -- sh -c 'exit 7'
	[ "$(echo through | "$dink" exec -i vm/box -- cat)" = through ]
}

@test "its size is what was asked" {
	run -0 --separate-stderr "$dink" exec vm/box -- nproc
	[ "$output" = 1 ]
	run -0 --separate-stderr "$dink" exec vm/box -- grep MemTotal /proc/meminfo
	read -r _ output _ <<<"$output"
	output=$((output / 1024))
	echo "$output MiB"
	[ "$output" -gt 850 ] && [ "$output" -le 1200 ] # the guest itself takes some
}

@test "its daemon's store is the btrfs disk, mounted by the guest alone" {
	run -0 in_box docker info --format '{{.Driver}} {{.CgroupVersion}}'
	[ "$output" = "btrfs 2" ]
	run -0 --separate-stderr "$dink" exec vm/box -- stat -f -c %T /var/lib/docker
	[ "$output" = btrfs ]
	[[ $(losetup -a) != *"$DINK_STATE_DIR"* ]]
	[[ $(cat /proc/self/mountinfo) != *"$DINK_STATE_DIR/instances"* ]]
}

@test "docker load and docker run in it, with the user's own client" {
	local dir=$BATS_TEST_TMPDIR layer config
	mkdir -p "$dir/root/bin" "$dir/out"
	cp "$(command -v busybox)" "$dir/root/bin/busybox"
	tar -C "$dir/root" -cf "$dir/out/layer.tar" .
	layer=$(sha256sum "$dir/out/layer.tar" | cut -d' ' -f1)
	jq -n --arg l "sha256:$layer" '{architecture: "amd64", os: "linux",
		config: {Env: ["PATH=/bin"]}, rootfs: {type: "layers", diff_ids: [$l]}}' >"$dir/config"
	config=$(sha256sum "$dir/config" | cut -d' ' -f1)
	mv "$dir/config" "$dir/out/$config.json"
	jq -n --arg c "$config.json" '[{Config: $c, RepoTags: ["tiny:1"], Layers: ["layer.tar"]}]' \
		>"$dir/out/manifest.json"
	tar -C "$dir/out" -cf "$dir/tiny.tar" .
	run -0 in_box docker load -i "$dir/tiny.tar"
	[[ $output == *"Loaded image: tiny:1"* ]]
	run -0 in_box docker run --rm --hostname deep tiny:1 busybox sh -c \
		'busybox uname -r; busybox hostname; busybox ip -o -4 addr show eth0'
	[[ ${lines[0]} == *-dink ]]
	[ "${lines[1]}" = deep ]
	[[ ${lines[2]} == *" 10.213.1."* ]]
	run -3 in_box docker run --rm --network none tiny:1 busybox sh -c 'exit 3'
	[ -z "$(in_box docker ps -aq)" ]
}

@test "a second up changes nothing" {
	run -0 --separate-stderr "$dink" up --json scenarios/vm.yaml
	[ "$(jq '[.steps[] | select(.was_there | not) | select(.step != "up")] | length' <<<"$output")" = 0 ]
}

@test "down leaves nothing but the disk, and what is on it survives" {
	in_box docker volume create kept
	run -0 "$dink" down vm
	no_residue
	[ -f "$DINK_STATE_DIR/instances/vm/disks/store.img" ]
	# nothing of it was ever written by the host's kernel: the file is a btrfs of its own
	[ "$(blkid -o value -s TYPE "$DINK_STATE_DIR/instances/vm/disks/store.img")" = btrfs ]
	"$dink" up --quiet scenarios/vm.yaml
	run -0 in_box docker volume ls -q
	[ "$output" = kept ]
	run -0 "$dink" down --volumes vm
	[ ! -e "$DINK_STATE_DIR/instances/vm" ]
}
