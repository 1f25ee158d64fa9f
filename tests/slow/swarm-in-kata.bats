#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Three VMs, a Docker Swarm from `dink up`: a service whose tasks reach one another across VMs by
# name, the loss of a host, its return; and what it takes.

# shellcheck disable=SC2154 # scenario comes from scenario.bash
bats_require_minimum_version 1.5.0
load scenario

name=swarm-in-kata
RECOVERY_S=480 # without KVM, beside others: as a rule it takes a third

setup_file() { scenario_up qemu-system-x86_64; }
teardown_file() { scenario_down; }

# at N COMMAND...: docker of host-N, by the socket that dink offers
at() {
	local n=$1
	shift
	DOCKER_HOST=unix://$DINK_RUN_DIR/$name/host-$n.sock docker "$@"
}

engine() { docker -H "unix://$DINK_RUN_DIR/engine/docker.sock" "$@"; }

# Answers everyone on port 80 with its host's name. debian has Perl, and no other server.
server='use IO::Socket::INET; $SIG{TERM} = sub { exit 0 };
open my $f, "<", "/proc/sys/kernel/hostname"; my $name = <$f>;
my $s = IO::Socket::INET->new(LocalPort => 80, Listen => 9, ReuseAddr => 1) or die;
while (my $c = $s->accept) { print $c $name; close $c }'

# Prints what each address of a name answers.
client='use IO::Socket::INET; use Socket; my @a = gethostbyname($ARGV[0]) or die "no such name\n";
for (map { inet_ntoa($_) } @a[4..$#a]) {
	my $s = IO::Socket::INET->new(PeerAddr => $_, PeerPort => 80, Timeout => 20) or die "$_: $@\n";
	print scalar <$s>;
}'

# serve N: by its id the image is not looked for in a registry
serve() {
	local id
	id=$(at "$1" image inspect -f '{{.Id}}' debian)
	at "$1" network create -d overlay mesh
	at "$1" service create -d -q --name web --replicas 3 --network mesh --publish 8080:80 \
		--hostname '{{.Node.Hostname}}' --restart-delay 1s --stop-grace-period 1s \
		"$id" perl -e "$server"
}

# answers N: what the service's tasks answer on N, each by its own address on the overlay network
answers() {
	local task said
	task=$(at "$1" ps -q --filter label=com.docker.swarm.service.name=web | head -n 1)
	[ -n "$task" ] || return 1
	said=$(at "$1" exec "$task" perl -e "$client" "${2:-tasks.web}") || return 1
	sort <<<"$said"
}

# within SECONDS COMMAND...: how long it took, on standard output; then nothing
within() {
	local end=$((SECONDS + $1)) begun=$SECONDS
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || { echo "$* did not come true" >&2; return 1; }
		sleep 2
	done
	echo "# $*: after $((SECONDS - begun)) s" >&3
}

# where N: the hosts of the tasks that run, one a line, as N has it
where() {
	at "$1" service ps web -f desired-state=running --format '{{.Node}} {{.CurrentState}}' |
		awk '$2 == "Running" { print $1 }' | sort
}

# runs N HOST...: three tasks run, on two hosts at least, all of them of these
runs() {
	local n=$1 found
	shift
	found=$(where "$n")
	[ "$(wc -l <<<"$found")" -eq 3 ] && [ "$(sort -u <<<"$found" | wc -l)" -ge 2 ] &&
		[ -z "$(comm -23 <(sort -u <<<"$found") <(printf '%s\n' "$@"))" ]
}

@test "up makes one swarm of three managers" {
	run -0 at 1 node ls --format '{{.Hostname}} {{.Status}} {{.ManagerStatus}}'
	[ "$(sort <<<"$output" | cut -d ' ' -f 1,2)" = $'host-1 Ready\nhost-2 Ready\nhost-3 Ready' ]
	[ "$(grep -c Leader <<<"$output")" -eq 1 ]
	[ "$(grep -c Reachable <<<"$output")" -eq 2 ]
	# the tokens are nowhere
	run -1 grep -a SWMTKN "$DINK_STATE_DIR/instances/$name/journal" \
		"$DINK_STATE_DIR/instances/$name/plan.json"
}

@test "the tasks of a service reach one another across the VMs, by name" {
	serve 1
	within $RECOVERY_S runs 1 host-1 host-2 host-3
	for host in $(where 1 | sort -u); do
		within 60 answers "${host#host-}"
		[ "$(answers "${host#host-}")" = "$(where 1)" ]
		[[ $(answers "${host#host-}" web) == host-[123] ]]
	done
}

@test "a published port answers on every host" {
	for n in 1 2 3; do
		address=$(engine inspect -f '{{.NetworkSettings.IPAddress}}' $name.host-$n)
		said=$(timeout 60 bash -c "exec 3<>/dev/tcp/$address/8080; cat <&3")
		[[ $said == host-[123] ]]
	done
}

@test "the leader's QEMU is killed: the service goes on, on the two that are left" {
	run -0 at 1 node ls --format '{{.Hostname}} {{.ManagerStatus}}'
	lost=$(sed -n 's/^host-\(.\) Leader$/\1/p' <<<"$output")
	left=$((lost % 3 + 1))
	[ "$lost" -ge 1 ]
	monitor=$(engine inspect -f '{{.State.Pid}}' $name.host-"$lost")
	kill -9 "$(pgrep -P "$monitor" qemu)"
	echo "$lost" >"$T/lost"
	mapfile -t hosts < <(printf 'host-%s\n' 1 2 3 | grep -v "$lost")
	within $RECOVERY_S runs $left "${hosts[@]}"
	within 60 answers $left
	[ "$(answers $left)" = "$(where $left)" ]
	run -0 "$DINK" status --json $name
	[ "$(jq -r ".[0].layers[] | select(.layer == \"$name/host-$lost\") | .state" <<<"$output")" = exited ]
}

@test "up again brings the lost host back, as a manager, and the others go on" {
	lost=$(cat "$T/lost")
	left=$((lost % 3 + 1))
	before=$(engine inspect -f '{{.Id}}' $name.host-$left)
	run -0 --separate-stderr "$DINK" up --json "$scenario"
	[ "$(engine inspect -f '{{.Id}}' $name.host-$left)" = "$before" ]
	run -0 at "$lost" node ls --format '{{.Hostname}} {{.Status}} {{.ManagerStatus}}'
	[ "${#lines[@]}" -eq 3 ]
	[ "$(grep -c -e Leader -e Reachable <<<"$output")" -eq 3 ]
	[ "$(grep -c Ready <<<"$output")" -eq 3 ]
	[ "$(at "$lost" service ls --format '{{.Name}}')" = web ]
	# and then there is nothing left to do
	run -0 --separate-stderr "$DINK" up --json "$scenario"
	[ "$(jq '[.steps[] | select(.was_there | not) | select(.step != "up")] | length' <<<"$output")" -eq 0 ]
}

@test "down and up: the swarm and its service are on the hosts' disks" {
	"$DINK" down -q --wait $name
	[ -z "$(scenario_residue)" ]
	"$DINK" up -q "$scenario"
	run -0 at 2 node ls --format '{{.Hostname}} {{.Status}} {{.ManagerStatus}}'
	[ "$(grep -c Ready <<<"$output")" -eq 3 ]
	within $RECOVERY_S runs 2 host-1 host-2 host-3
}
