#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A disk with one podman's store gives another its images (image_store: true): what dink plans for
# such a layer, carried out by the host's podman on the same disk, and such a layer itself. Needs root,
# podman and dockerd.

bats_require_minimum_version 1.5.0
load scenario

setup() {
	dink=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)/build/dink
	export NO_COLOR=1
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	command -v podman >/dev/null || skip "needs podman"
	cd "$BATS_TEST_TMPDIR" || return
	mkdir base own tree run-a run-b
	"$dink" disk create -q -s 256MiB -t ext4 base.img >/dev/null
	"$dink" disk create -q -s 256MiB -t ext4 own.img >/dev/null
}

teardown() {
	cd "$BATS_TEST_TMPDIR" || return
	local m
	for m in base own; do
		! mountpoint -q $m || umount --recursive $m
	done
}

# What the plan has podman begin with, for a store at ./base and one of its own at ./own
planned() {
	cat >x.yaml <<-END
		dink: 1
		name: x
		disks:
		  base: {size: 256MiB, filesystem: ext4}
		  own: {size: 256MiB, filesystem: ext4}
		layers:
		  a: {image: docker-host, daemon: podman, disks: {own: /var/lib/containers,
		      base: {target: $PWD/base, read_only: true, image_store: true}}}
	END
	"$dink" plan --json --facts "$BATS_TEST_DIRNAME/../hosts/debian12-tcg.json" x.yaml |
		jq -r '.layers[0].command | .[index("podman") + 1:index("system")][]'
}

@test "another podman's images are there without a copy, and stay as they are" {
	"$dink" disk mount -q base.img base
	mkdir tree/bin
	cp /bin/busybox tree/bin/busybox
	tar -C tree -c . | podman --root "$PWD/base/storage" --runroot "$PWD/run-a" \
		--storage-driver overlay import - tiny:1
	umount base/storage/overlay 2>/dev/null || [ -d base/storage/overlay ]
	"$dink" disk unmount base
	sum=$(sha256sum <base.img)
	"$dink" disk mount -q --read-only base.img base
	"$dink" disk mount -q own.img own
	mapfile -t flags < <(planned)
	[[ "${flags[*]}" == *"overlay.imagestore=$PWD/base/storage"* ]]
	pod() { podman --cgroup-manager cgroupfs --events-backend none --runtime runc --root "$PWD/own/storage" --runroot "$PWD/run-b" "${flags[@]}" "$@"; }
	run -0 --separate-stderr pod images --format '{{.Repository}} {{.ReadOnly}}'
	[ "$output" = "localhost/tiny true" ]
	run --separate-stderr pod run --rm --network none --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 \
		tiny:1 /bin/busybox sh -c 'echo new >/file; cat /file'
	# shellcheck disable=SC2154 # bats sets stderr
	[ "$output" = new ] || { echo "$stderr"; return 1; }
	# its own store has no copy of it
	[ "$(du -sk own/storage | cut -f1)" -lt 1000 ]
	# a writer of the base is refused meanwhile, and so is this reader beside a writer
	run -6 "$dink" disk mount base.img tree
	umount own/storage/overlay 2>/dev/null || [ -d own/storage/overlay ]
	"$dink" disk unmount own
	"$dink" disk unmount base
	[ "$(sha256sum <base.img)" = "$sum" ]
	"$dink" disk mount -q base.img base
	run -6 "$dink" disk mount --read-only base.img tree
}

# a podman layer whose daemon has the disk named $1, other disks of the layer $2, both of ext4
podman_layer() {
	cat <<-END
		dink: 1
		name: $name
		disks:
		  base: {size: 512MiB, filesystem: ext4}
		  own: {size: 512MiB, filesystem: ext4}
		layers:
		  pod:
		    image: podman-host
		    daemon: podman
		    disks: {$1: /var/lib/containers$2}
		    layers:
		      inner: {image: debian, command: [sleep, infinity]}
	END
}

@test "a podman layer has the other one's images, for its API, its own command and its children" {
	local scenario name=image-store pod=image-store/pod
	scenario=$BATS_TEST_TMPDIR/x.yaml
	podman_layer base >"$scenario"
	scenario_up
	# shellcheck disable=SC2153 # scenario.bash sets it
	"$DINK" down -q --wait $name
	podman_layer own ", base: {target: /srv/base, read_only: true, image_store: true}" >"$scenario"
	scenario_start
	sum=$("$DINK" disk show "$DINK_STATE_DIR/instances/$name/disks/base.img" --json | jq .allocated_bytes)
	images=$("$DINK" image ls $pod --json | jq -r '.[].names[]')
	listed=$(dx $pod -- podman images --format '{{.Repository}} {{.ReadOnly}}')
	root=$(dx $pod -- grep -o 'lowerdir=/srv/base/storage/overlay[^:,]*' /proc/mounts | wc -l)
	own=$(dx $pod -- du -skx /var/lib/containers/storage | cut -f1)
	inner=$(dx $pod/inner -- cat /etc/debian_version)
	run -5 "$DINK" image rm $pod:debian
	refused=$output
	after=$("$DINK" disk show "$DINK_STATE_DIR/instances/$name/disks/base.img" --json | jq .allocated_bytes)
	scenario_down
	[ "$images" = localhost/debian:latest ]
	[ "$listed" = "localhost/debian true" ]
	[ "$root" -ge 1 ]
	[ "$own" -lt 1000 ]
	[[ $inner == 12* ]]
	[[ $refused == *"read-only image"* ]]
	[ "$after" -eq "$sum" ]
}
