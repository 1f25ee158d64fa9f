# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # wall is set, and ours and peer are read, by lib.bash
# Disks: made, cloned, and a daemon's store that goes to others with its disk. ROWS says which rows
# are wanted (create clone sparse replicate), DAEMONS how many daemons get a store (16), STORE_MIB how
# much is in the store that is cloned (4096; a quarter of it without reflinks, but five times).
# $TMPDIR is on the filesystem without reflinks.

disks_rows=${ROWS:-create clone sparse replicate}
store_mib=${STORE_MIB:-4096}

# A filesystem with reflinks, for the time of the benchmark: btrfs on a loop device.
disks_reflink_up() {
	[ ! -d "$bench_dir/reflink" ] || return 0
	storage_undo+=(disks_reflink_down)
	build/dink disk create -q -s 24GiB "$bench_dir/reflink.img" >/dev/null
	mkdir "$bench_dir/reflink"
	build/dink disk mount -q "$bench_dir/reflink.img" "$bench_dir/reflink"
}

disks_reflink_down() {
	! mountpoint -q "$bench_dir/reflink" || build/dink disk unmount "$bench_dir/reflink"
	rm -f "$bench_dir/reflink.img"
}

disks_unfill() { ! mountpoint -q "$bench_dir/fill" || build/dink disk unmount "$bench_dir/fill"; }

# disks_fill FILE - noise of $store_mib in a disk that is half as large again
disks_fill() {
	mkdir -p "$bench_dir/fill"
	storage_undo+=(disks_unfill)
	build/dink disk create -q -s "$((store_mib * 3 / 2 + 256))MiB" "$1" >/dev/null
	build/dink disk mount -q "$1" "$bench_dir/fill"
	head -c "${store_mib}M" /dev/urandom >"$bench_dir/fill/data"
	build/dink disk unmount "$bench_dir/fill"
	sync "$1"
}

create_ours() { rm -f "$bench_dir/new.img"; build/dink disk create -q -s 10GiB "$bench_dir/new.img"; }
create_peer() {
	dd if=/dev/zero of="$bench_dir/old.img" bs=1M count=10240 status=none
	mkfs.btrfs -q "$bench_dir/old.img"
}
disks_create() {
	median_of 5 create_ours
	ours=$wall
	clock create_peer
	peer=$wall
	rm -f "$bench_dir/new.img" "$bench_dir/old.img"
	quicker "a btrfs image of 10 GiB" 100 "dd if=/dev/zero, mkfs.btrfs"
}

# ours is on the disk when it ends; the peer's pages may still be in memory
clone_ours() { build/dink disk clone -q --force "$at/store.img" "$at/ours.img"; }
clone_peer() { cp --reflink=never "$at/store.img" "$at/peer.img"; }
disks_clone() {
	disks_reflink_up
	at=$bench_dir/reflink
	disks_fill "$at/store.img"
	median_of 5 clone_ours
	ours=$wall
	clock clone_peer
	peer=$wall
	rm "$at"/*.img
	quicker "clone of a store of $store_mib MiB, reflinks" 100 "cp --reflink=never"
}

# sparse_peer - as long as it takes until it is on the disk, as ours is
sparse_ours() { rm -f "$at/ours.img"; build/dink disk clone -q "$at/store.img" "$at/ours.img"; }
sparse_peer() { rm -f "$at/peer.img"; cp --sparse=always "$at/store.img" "$at/peer.img"; sync "$at/peer.img"; }
disks_sparse() {
	local store_mib=$((store_mib / 4))
	at=$bench_dir/plain
	mkdir "$at"
	disks_fill "$at/store.img"
	pair_of 5 sparse_ours sparse_peer
	quicker "clone of a store of $store_mib MiB, no reflinks ($(stat -f -c %T "$at"))" 1.0 \
		"cp --sparse=always, sync"
	against "  room that it takes" "$(stat -c %b "$at/ours.img")" "$(stat -c %b "$at/peer.img")" 1.001 blocks
	rm -r "$at"
}

# One daemon's store, prepared once: the image is loaded into a dockerd whose data is on a disk.
replicate_prepare() {
	daemon_start "$bench_dir/prepare" btrfs "$bench_dir/m"
	docker -H "$source_socket" save "$bench_image" | docker -H "unix://$bench_dir/prepare/s" load -q
	daemon_stop "$bench_dir/prepare"
	build/dink disk unmount "$bench_dir/m"
}

replicate_ours() {
	local i
	for ((i = 0; i < n_daemons; i++)); do
		build/dink disk clone -q "$at/store.img" "$at/store.$i.img"
	done
}

replicate_start() {
	local i
	for ((i = 0; i < n_daemons; i++)); do
		mkdir -p "$bench_dir/m$i"
		build/dink disk mount -q "$at/store.$i.img" "$bench_dir/m$i"
		daemon_start "$bench_dir/r$i" btrfs "$bench_dir/m$i"
	done
}

plain_start() {
	local i
	for ((i = 0; i < n_daemons; i++)); do daemon_start "$bench_dir/p$i"; done
}

replicate_peer() {
	local i
	for ((i = 0; i < n_daemons; i++)); do
		docker -H "$source_socket" save "$bench_image" | docker -H "unix://$bench_dir/p$i/s" load -q
	done
}

# Each of the daemons answers, has the image, and is on a filesystem of its own.
replicate_proof() {
	local i want
	want=$(docker -H "$source_socket" inspect -f '{{.Id}}' "$bench_image")
	for ((i = 0; i < n_daemons; i++)); do
		[ "$(docker -H "unix://$bench_dir/r$i/s" inspect -f '{{.Id}}' "$bench_image")" = "$want" ] &&
			blkid -p -o value -s UUID "$at/store.$i.img"
	done | sort -u | wc -l
}

replicate_down() {
	local m
	daemon_stop "$bench_dir"/{source,prepare} "$bench_dir"/[rp][0-9]*
	for m in "$bench_dir/m" "$bench_dir"/m[0-9]*; do
		! mountpoint -q "$m" || build/dink disk unmount "$m"
	done
}

# What is in: ours, the clones, until each is on the disk; the peer, `docker save` piped to `docker
# load` for each daemon in turn. What is out of both: the daemons' start. Out of ours: the one time
# that the store is prepared, which is told.
disks_replicate() {
	local archive prepare start
	n_daemons=${DAEMONS:-16}
	disks_reflink_up
	storage_undo+=(replicate_down)
	at=$bench_dir/reflink
	archive=$(build/dink image build -q docker-host --json | jq -r '.[0].archive')
	daemon_start "$bench_dir/source"
	source_socket=unix://$bench_dir/source/s
	docker -H "$source_socket" load -q -i "$archive"
	image_make "$source_socket"
	build/dink disk create -q -s 10GiB "$at/store.img" >/dev/null
	mkdir "$bench_dir/m"
	build/dink disk mount -q "$at/store.img" "$bench_dir/m"
	clock replicate_prepare
	prepare=$wall
	clock replicate_ours
	ours=$wall
	clock replicate_start
	start=$wall
	[ "$(replicate_proof)" -eq "$n_daemons" ] || fail "$n_daemons daemons with the image, each with a UUID"
	daemon_stop "$bench_dir"/r[0-9]*
	row "a store with an image of 500 MB, prepared once" "$prepare"
	row "$n_daemons daemons start on clones of it" "$start"
	clock plain_start
	row "$n_daemons daemons start with nothing" "$wall"
	clock replicate_peer
	peer=$wall
	quicker "$n_daemons daemons get an image of 500 MB: clones of a store" 20 "$n_daemons x save | load"
	ours=$(awk -v a="$ours" -v b="$prepare" 'BEGIN { print a + b }')
	row "  the same with the store's preparation" "$ours"
}

storage_disks() {
	local r
	for r in create clone sparse replicate; do
		[[ " $disks_rows " != *" $r "* ]] || "disks_$r"
	done
}
