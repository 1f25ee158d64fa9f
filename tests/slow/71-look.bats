#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Looking into layers: trace, kernel check --in, inspect --oci and image why in a nest of containers
# and in a virtual machine; and an up that fails, which explains itself, now and later.

# shellcheck disable=SC2154 # stderr is set by run --separate-stderr
bats_require_minimum_version 1.5.0
load ../e2e/up

setup() { up_setup; }
teardown() { up_teardown; }

# The capabilities of a command, as the kernel has them.
caps() { "$@" grep CapEff /proc/self/status | grep -o '^CapEff.*'; }

@test "an up that fails explains itself, and dink explain still can" {
	# the image's dockerd with a configuration that contradicts dink's command line
	echo '{"storage-driver": "vfs"}' >"$BATS_TEST_TMPDIR/daemon.json"
	cat >"$BATS_TEST_TMPDIR/bad.yaml" <<-END
	dink: 1
	name: $name
	layers:
	  docker:
	    image: docker-host
	    daemon: docker
	    mounts: ["$BATS_TEST_TMPDIR/daemon.json:/etc/docker/daemon.json:ro"]
	END
	run -5 "$dink" up "$BATS_TEST_TMPDIR/bad.yaml"
	[[ $output == *"explain: dockerd-flag-conflict (engine): "* ]]
	[[ $output == *"explain: fix: "* ]]
	no_residue "the failed up"
	run -0 "$dink" explain --json "$name"
	[ "$(jq -r '.matches[0] | .name + " from " + .from' <<<"$output")" = "dockerd-flag-conflict from the last up" ]
	# it runs, and its log with that error is there
	run -5 "$dink" up --keep "$BATS_TEST_TMPDIR/bad.yaml"
	run -0 "$dink" explain --json "$name/docker"
	[ "$(jq -r '[.matches[] | .from] | join(", ")' <<<"$output")" = "the last up, log of $name/docker" ]
	run -0 "$dink" down -q "$name"
	[ ! -e "$DINK_STATE_DIR/failures" ]
	run -1 "$dink" explain "$name"
	no_residue down
}

@test "containers: trace, kernel check, inspect and image why at each level" {
	"$dink" up -q "$scenario"
	local outer=$name/docker inner=$name/docker/inner tool
	tool=$(command -v strace)
	[ -n "$tool" ]
	# no more capabilities than without it; the exit code is the command's; nothing stays
	for l in "$outer" "$inner"; do
		[ "$(caps "$dink" trace -e trace=none "$l" -- 2>/dev/null)" = "$(caps "$dink" exec "$l" --)" ]
		run -7 --separate-stderr "$dink" trace -e trace=exit_group "$l" -- sh -c 'exit 7'
		[[ $stderr == *"exit_group(7)"* ]]
		[ -z "$("$dink" exec "$l" -- ls /tmp)" ]
	done
	run -1 --separate-stderr "$dink" trace -e trace=openat "$inner" -- cat /no/such
	[[ $stderr == *'"/no/such", O_RDONLY'*"ENOENT"* ]]
	# the kernel is the host's
	run -0 "$dink" kernel check --in "$inner" --features overlay
	run -4 "$dink" kernel check --in "$inner" --features ia32,devicemapper,wireguard --json
	[ "$(jq '.missing | length > 0' <<<"$output")" = true ]
	# what the runtime was given
	[ "$("$dink" inspect --oci "$inner" | jq -c .process.args)" = '["sleep","infinity"]' ]
	[ "$("$dink" inspect --oci "$outer" | jq '.process.capabilities.bounding | index("CAP_SYS_ADMIN") != null')" = true ]
	[ "$("$dink" inspect --json "$inner" | jq -r .Path)" = sleep ]
	# the union
	"$dink" exec "$inner" -- sh -c 'rm /etc/issue; echo x >>/etc/motd; echo y >/etc/new'
	why() { "$dink" image why --json "$inner" "$1" | jq -r '.layer_itself + ", " + .layers[0].what'; }
	[ "$(why /etc/issue)" = "whited out, has it" ]
	[ "$(why /etc/motd)" = "copied up and changed, has it" ]
	[ "$(why /etc/new)" = "made, -" ]
	[ "$(why /bin/sh)" = "untouched, has it" ]
	run -1 "$dink" explain "$inner"
	run -0 "$dink" down -q --volumes "$name"
	no_residue down
}

@test "a virtual machine: trace, kernel check, inspect and image why" {
	name=vm
	"$dink" up -q scenarios/vm.yaml
	[ "$(caps "$dink" trace -e trace=none vm/box -- 2>/dev/null)" = "$(caps "$dink" exec vm/box --)" ]
	run -7 --separate-stderr "$dink" trace -e trace=exit_group vm/box -- sh -c 'exit 7'
	[[ $stderr == *"exit_group(7)"* ]]
	[ -z "$("$dink" exec vm/box -- ls /tmp)" ]
	run -0 "$dink" kernel check --in vm/box
	run -4 "$dink" kernel check --in vm/box --features wireguard
	[[ $output == *CONFIG_WIREGUARD* ]]
	[ "$("$dink" inspect --oci vm/box | jq -r '.process.args[0]')" = /usr/bin/tini ]
	[ "$("$dink" image why --json vm/box /etc/os-release | jq -c '[.layer_itself, .layers[0].what]')" = '[null,"has it"]' ]
	run -0 "$dink" down -q --volumes vm
	no_residue down
}
