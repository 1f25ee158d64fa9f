#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# dink image why on archives of several layers: owner, whiteouts, opaque folders, links; and what
# dink explain says where nothing is known. No root, no engine.

# shellcheck disable=SC2154 # stderr is set by run --separate-stderr
bats_require_minimum_version 1.5.0

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	dink=$PWD/build/dink
	export DINK_STATE_DIR=$BATS_TEST_TMPDIR/state DINK_RUN_DIR=$BATS_TEST_TMPDIR/run
	t=$BATS_TEST_TMPDIR
}

# layer FOLDER - the next layer of the image: what is in that folder
layer() {
	local sum
	tar -C "$1" -cf "$t/layer.tar" .
	sum=$(sha256sum "$t/layer.tar" | cut -d' ' -f1)
	mkdir -p "$t/image"
	mv "$t/layer.tar" "$t/image/$sum.tar"
	sums+=("$sum")
}

image() {
	printf '%s\n' "${sums[@]}" | jq -Rn '[inputs] | {os: "linux", config: {}, rootfs: {type: "layers", diff_ids: map("sha256:" + .)}}' >"$t/image/config.json"
	printf '%s\n' "${sums[@]}" | jq -Rn '[inputs] | [{Config: "config.json", RepoTags: ["x:1"], Layers: map(. + ".tar")}]' >"$t/image/manifest.json"
	tar -C "$t/image" -cf "$t/x.tar" .
}

three_layers() {
	sums=()
	mkdir -p "$t"/1/{usr/bin,etc,var/lib} "$t"/2/{etc,var/lib} "$t"/3/etc
	ln -s usr/bin "$t/1/bin"
	echo one >"$t/1/usr/bin/sh"
	for f in kept changed gone back; do echo 1 >"$t/1/etc/$f"; done
	echo 1 >"$t/1/var/lib/old"
	echo 22 >"$t/2/etc/changed"
	touch "$t/2/etc/.wh.gone" "$t/2/etc/.wh.back" "$t/2/var/lib/.wh..wh..opq"
	echo 333 >"$t/3/etc/back"
	layer "$t/1"
	layer "$t/2"
	layer "$t/3"
	image
}

# why PATH - the number of the owner, then what each layer says, the lowest first
why() {
	"$dink" image why --json "$t/x.tar" "$1" |
		jq -r '([.layers[].owner] | index(true) // -1 | . + 1 | tostring) + ": " + ([.layers[].what] | join(", "))'
}

@test "image why names the owner and what hides the others" {
	three_layers
	[ "$(why /etc/kept)" = "1: has it, -, -" ]
	[ "$(why /etc/changed)" = "2: has it, has it, -" ]
	[ "$(why etc/gone)" = "0: has it, whiteout, -" ]
	[ "$(why /etc/back)" = "3: has it, whiteout, has it" ]
	[ "$(why /var/lib/old)" = "0: has it, opaque folder, -" ]
	[ "$(why /etc/../nope)" = "0: -, -, -" ]
	run -0 "$dink" image why "$t/x.tar" /bin/sh
	[[ "$output" == *"/bin is a link: /bin/sh is /usr/bin/sh"* ]]
	[[ "$output" == *"->  1  sha256:"*"has it: file "* ]]
}

@test "image why refuses what is no image, and no layer" {
	echo no >"$t/no.tar"
	run -4 "$dink" image why "$t/no.tar" /x
	run -2 "$dink" image why nobody/box /x
	[[ "$output" == *"there is no instance nobody"* ]]
}

@test "explain: what is known, what is not, from where" {
	run -0 "$dink" explain --json "mount: /x: unknown filesystem type 'btrfs'."
	[ "$(jq -r '.matches[0] | .name + " " + .level + " " + .program' <<<"$output")" = "mount-unknown-fs kernel mount" ]
	run -0 "$dink" explain - <<<"mount: /x: unknown filesystem type 'btrfs'."
	[[ "$output" == *"scenario  kernels: {guest: {features: [btrfs]}}"* ]]
	run -0 "$dink" explain <<<"unknown filesystem type"
	run -0 "$dink" explain mount-unknown-fs
	run -1 --separate-stderr "$dink" explain nobody knows this
	[[ "$stderr" == *"nothing in the catalogue fits"* ]]
	run -1 --separate-stderr "$dink" explain --json </dev/null
	[ "$(jq '.matches | length' <<<"$output")" = 0 ]
	# what a guest writes gets no say over the terminal
	run -0 "$dink" explain - <<<$'\e[31munknown filesystem type\e]0;x\a'
	[[ "$output" != *$'\e'* ]]
}

@test "kernel check wants a configuration or a layer, not both" {
	run -2 "$dink" kernel check
	run -2 "$dink" kernel check --in a/b .config
	run -2 "$dink" kernel check --in nobody/box
}
