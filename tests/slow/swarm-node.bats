#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What a node of a swarm takes beyond a daemon: one VM alone, with the grant and without.

# shellcheck disable=SC2154 # scenario comes from scenario.bash
bats_require_minimum_version 1.5.0
load scenario

name=swarm-node

setup() {
	scenario_setup qemu-system-x86_64
	scenario=$T/one.yaml
	sed "s/^name: .*/name: $name/; s/count: 3/count: 1/" scenarios/swarm-in-kata.yaml >"$scenario"
}

teardown() { scenario_down; }

# One task; whether the service's own address in the overlay network takes a connection there.
service_answers() {
	local task
	export DOCKER_HOST=unix://$DINK_RUN_DIR/$name/host.sock
	docker network create -d overlay mesh
	docker service create -d -q --name web --network mesh \
		"$(docker image inspect -f '{{.Id}}' debian)" \
		perl -e 'use IO::Socket::INET; $SIG{TERM} = sub { exit 0 };
			my $s = IO::Socket::INET->new(LocalPort => 80, Listen => 9) or die;
			while (my $c = $s->accept) { print $c "here\n"; close $c }'
	for _ in $(seq 120); do
		task=$(docker ps -q --filter label=com.docker.swarm.service.name=web)
		[ -z "$task" ] || break
		sleep 2
	done
	try() {
		docker exec "$task" perl -e 'use IO::Socket::INET; my $s = IO::Socket::INET->new(
			PeerAddr => $ARGV[0], PeerPort => 80, Timeout => 20) or exit 9; print <$s>' "$1"
	}
	[ "$(try tasks.web)" = here ]
	for _ in $(seq 15); do
		[ "$(try web)" != here ] || return 0
		sleep 2
	done
	return 9
}

@test "a node of a swarm has services with addresses of their own" {
	"$DINK" up -q "$scenario"
	service_answers
}

@test "with a read-only /proc/sys a service has no address of its own" {
	"$DINK" up -q --without "host:unmask /proc/sys" "$scenario"
	run -9 service_answers
	"$DINK" logs $name/host >"$T/logs" 2>&1
	grep -F '/proc/sys/net/ipv4/vs/conntrack: read-only file system' "$T/logs"
}
