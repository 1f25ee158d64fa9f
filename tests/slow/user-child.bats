#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The proof of one row of the needs table: exec into a container that runs as a user, by an engine
# that is itself in a container.

bats_require_minimum_version 1.5.0
load scenario

name=user-child

setup_file() {
	scenario=/dev/null scenario_setup || return
	cat >"$T/it.yaml" <<-END
	dink: 1
	name: $name
	layers:
	  proxy:
	    image: docker-host
	    daemon: docker
	    layers:
	      box: {image: podman-host, daemon: podman, rootless: user}
	END
}
teardown_file() { scenario_down; }

@test "without CAP_SYS_PTRACE no command runs in a container of a user" {
	"$DINK" up -q "$T/it.yaml"
	run -0 dx "$name/proxy/box" -- id -u
	[ "$output" = 1000 ]
	"$DINK" down -q --volumes "$name"
	"$DINK" up -q --without "proxy:capability CAP_SYS_PTRACE" "$T/it.yaml"
	run ! dx "$name/proxy/box" -- id -u
	[[ $output == *"error executing setns process"* ]]
}
