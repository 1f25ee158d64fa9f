#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# dink matrix: the same layer under each runtime of this host; what it says is looked at once more.

bats_require_minimum_version 1.5.0
load scenario

# shellcheck disable=SC2034 # scenario.bash uses it
name=box

setup_file() {
	scenario=/dev/null scenario_setup qemu-system-x86_64 || return
	printf '%s\n' 'dink: 1' 'name: box' 'layers:' \
		'  box: {image: debian, memory: 256MiB, command: [sleep, infinity]}' >"$T/box.yaml"
	"$DINK" matrix --quiet --json "$T/box.yaml" -- cat /etc/os-release >"$T/matrix" 2>"$T/err"
}
teardown_file() { scenario_down; }

row() { jq -c --arg r "$1" '.[] | select(.runtime == $r)' "$T/matrix"; }

@test "each runtime has a row, in this order, and says why it does not work" {
	[ "$(jq -r '[.[].runtime] | join(" ")' "$T/matrix")" = "runc crun runsc dink-vm kata" ]
	[ "$(jq '[.[] | select((.works | not) and (.why == null))] | length' "$T/matrix")" = 0 ]
	[ "$(row runc | jq .works)" = true ]
	[ "$(row dink-vm | jq .works)" = true ]
	command -v containerd-shim-kata-v2 || [[ $(row kata | jq -r .why) == "not found: "* ]]
	if command -v runsc; then
		[ "$(row runsc | jq .works)" = true ]
	else
		[[ $(row runsc | jq -r .why) == *"runsc is not installed"* ]]
	fi
	# what failed by design is in its row and nowhere else
	[ ! -e "$DINK_STATE_DIR/failures" ]
}

@test "the figures: a VM takes longer and more memory; filters are read from the kernel" {
	[ "$(row dink-vm | jq .start_ms)" -gt "$(row runc | jq .start_ms)" ]
	[ "$(row dink-vm | jq .memory_bytes)" -gt $((32 << 20)) ]
	[ "$(row runc | jq .memory_bytes)" -lt $((32 << 20)) ]
	[ "$(row runc | jq .memory_bytes)" -gt 0 ]
	for r in runc dink-vm; do
		[ "$(row $r | jq .seccomp_filters)" -ge 1 ]
		[ "$(row $r | jq .calls_reached)" -ge 100 ]
		[ "$(row $r | jq .calls_denied)" -ge 10 ]
	done
}

@test "gVisor on the host: its kernel, a network, and why it has no network stack of its own" {
	command -v runsc || skip "needs runsc"
	printf '%s\n' 'dink: 1' 'name: box' 'layers:' \
		'  web:' '    image: debian' '    command: [perl, -MIO::Socket::INET, -e,' \
		"      'my \$s = IO::Socket::INET->new(Listen => 5, LocalPort => 80) or die;" \
		"      while (my \$c = \$s->accept) { print \$c \"from-web\\n\"; close \$c }']" \
		'  box: {image: debian, runtime: runsc, reach: [web], command: [sleep, infinity]}' \
		>"$T/net.yaml"
	run -0 "$DINK" plan -q "$T/net.yaml"
	if unshare --net test -e /proc/sys/net/core/rmem_default; then
		[[ $output == *"runsc: with --network=host, since "* ]]
	else
		[[ $output != *"--network=host"* ]]
	fi
	"$DINK" up -q "$T/net.yaml"
	run -0 "$DINK" exec box/box -- bash -c 'dmesg | head -n 1; cat </dev/tcp/web/80'
	[[ $output == *gVisor*from-web ]]
	"$DINK" down -q --volumes box
}

@test "a command that fails is a layer that does not work; nothing stays up" {
	run -0 --separate-stderr "$DINK" matrix --quiet --runtime runc "$T/box.yaml" -- sh -c 'exit 3'
	[[ $output == *"the command ended with 3"* ]]
	run -0 "$DINK" status
	[ "$output" = "nothing is up" ]
	run -2 "$DINK" matrix --runtime no-such "$T/box.yaml"
	run -2 "$DINK" matrix --layer no-such "$T/box.yaml"
}

@test "a layer inside another, by its path: works, why not, and what the host sees of it" {
	printf '%s\n' 'dink: 1' 'name: nest' 'layers:' '  proxy:' '    image: docker-host' \
		'    daemon: docker' '    layers:' \
		'      in: {image: debian, command: [sleep, infinity]}' >"$T/nest.yaml"
	"$DINK" matrix --quiet --json --layer proxy/in --runtime runc --runtime runsc --runtime kata \
		"$T/nest.yaml" -- cat /etc/os-release >"$T/matrix"
	[ "$(row runc | jq .works)" = true ]
	[ "$(row runc | jq .memory_bytes)" -gt 0 ]
	[ "$(row runc | jq .memory_bytes)" -lt $((32 << 20)) ]
	# its own filter and that of the layer around it
	[ "$(row runc | jq .seccomp_filters)" -ge 2 ]
	[ "$(row runsc | jq .works)" = false ]
	[[ $(row kata | jq -r .why) == *"engine of a layer knows no official Kata" ]]
	run -2 "$DINK" matrix --layer proxy/no-such "$T/nest.yaml"
	[[ $output == *"OUTER/INNER"* ]]
}
