#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Podman and Docker as a user, each in an ordinary container of the host.

bats_require_minimum_version 1.5.0
load scenario

name=rootless-in-container

setup_file() { scenario_up podman; }
teardown_file() { scenario_down; }

@test "neither layer has root or a capability beyond the engine's default" {
	local l
	export DOCKER_HOST=unix://$DINK_RUN_DIR/engine/docker.sock
	for l in podman docker; do
		[ "$(dx "$name/$l" -- id -u)" = 1000 ]
		run -0 dx "$name/$l" -- sed -n 's/^Cap\(Eff\|Bnd\):\t//p' /proc/self/status
		[ "${lines[0]} ${lines[1]}" = "0000000000000000 00000000a80425fb" ]
		docker inspect "$name.$l" >"$T/it"
		[ "$(jq '.[0].HostConfig.Privileged' "$T/it")" = false ]
		[ "$(jq '.[0].HostConfig.CapAdd // [] | length' "$T/it")" = 0 ]
		[ "$(jq '[.[0].HostConfig.SecurityOpt[] | select(test("unconfined"))] | length' "$T/it")" = 0 ]
	done
}

@test "both engines say that they are rootless" {
	run -0 dx "$name/podman" -- podman info --format '{{.Host.Security.Rootless}} {{.Store.GraphDriverName}}'
	[ "$output" = "true overlay" ]
	eval "$("$DINK" env "$name/docker")"
	run -0 docker info --format '{{.Driver}} {{.SecurityOptions}}'
	[[ $output == "overlay2 "*name=rootless* ]]
}

@test "a container in each: root there, the user outside, a network" {
	local l
	for l in podman docker; do
		[ "$(dx "$name/$l/inner" -- id -u)" = 0 ]
		read -r inside outside _ < <(dx "$name/$l/inner" -- head -1 /proc/self/uid_map)
		[ "$inside $outside" = "0 1000" ]
		run -0 dx "$name/$l/inner" -- cat /proc/net/dev
		[[ $output == *eth0* ]]
		run -7 dx "$name/$l/inner" -- sh -c 'exit 7'
	done
}

@test "the user's own docker client: run, exit code, stdin" {
	eval "$("$DINK" env "$name/docker")"
	run -7 docker run --rm debian sh -c 'exit 7'
	[ "$(docker run --rm -i debian cat <<<through)" = through ]
	run -0 docker ps --format '{{.Names}}'
	[ "$output" = "$name.docker.inner" ]
}
