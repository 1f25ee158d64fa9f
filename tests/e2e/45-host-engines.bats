#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# dink on the user's own engine: a dockerd named by DOCKER_HOST, one at its usual place, Podman's
# service. What was in the engine stays as it is; what dink made in it is gone after `down`, but
# for the images, which are kept as in the cache. Then what an ordinary user can do.

bats_require_minimum_version 1.5.0
load host-podman

setup_file() {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	command -v dockerd >/dev/null || skip "needs dockerd"
	cd "$BATS_TEST_DIRNAME/../.." || return
	export dink=$PWD/build/dink NO_COLOR=1 T=$BATS_FILE_TMPDIR name=docker-in-docker
	export DINK_STATE_DIR=$T/state DINK_RUN_DIR=$T/run
	unset DOCKER_HOST
	make_tiny "$T/tiny.tar"
	# a bridge of its own, and no firewall rules: other daemons may run beside this test
	export bridge=dinkusr$((BASHPID % 1000))
	ip link add "$bridge" type bridge
	ip addr add 10.198.77.1/24 dev "$bridge"
	ip link set "$bridge" up
	dockerd --data-root "$T/data" --exec-root "$T/exec" --pidfile "$T/pid" \
		--host "unix://$T/docker.sock" --bridge "$bridge" --iptables=false --ip-masq=false \
		--storage-driver overlay2 >"$T/dockerd.log" 2>&1 3>&- &
	answers "$T/docker.sock"
	docker -H "unix://$T/docker.sock" load -q -i "$T/tiny.tar"
	docker -H "unix://$T/docker.sock" run -d --name mine --stop-signal KILL -v mine:/data tiny:1 busybox sleep 100000
	docker -H "unix://$T/docker.sock" network create --subnet 10.198.78.0/24 mine
}

teardown_file() {
	[ -n "${dink:-}" ] || return 0
	if [ -d "$DINK_STATE_DIR/instances/$name" ]; then
		"$dink" down -q --wait --volumes "$name"
	fi
	# a daemon that ends leaves the bridges of its networks
	docker -H "unix://$T/docker.sock" rm -f mine
	docker -H "unix://$T/docker.sock" network rm mine
	stop_daemon "$T/pid"
	stop_daemon "$T/usual.pid"
	if [ -s "$T/podman.pid" ]; then
		stop_podman
	fi
	if ip link show "$bridge" >/dev/null 2>&1; then
		ip link delete "$bridge"
	fi
	[[ $(cat /proc/self/mountinfo) != *"$T"* ]]
	run pgrep -af "(dockerd|containerd|podman|conmon).*$T"
	echo "$output"
	[ "$status" -eq 1 ]
}

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	scenario=scenarios/docker-in-docker.yaml
}

teardown() {
	if [ -d "$DINK_STATE_DIR/instances/$name" ]; then
		"$dink" down -q --wait --volumes "$name"
	fi
}

make_tiny() {
	local dir=$T/tiny layer config
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
	tar -C "$dir/out" -cf "$1" .
}

stop_daemon() {
	local pid
	[ -s "$1" ] || return 0
	pid=$(cat "$1")
	kill "$pid"
	while [ -d "/proc/$pid" ]; do sleep 0.1; done
}

# Everything in an engine but images: the user's own things, and nothing else.
contents() {
	docker -H "unix://$1" ps -a --no-trunc --format '{{.ID}} {{.Names}} {{.State}}'
	docker -H "unix://$1" volume ls -q
	docker -H "unix://$1" network ls --no-trunc --format '{{.ID}} {{.Name}}'
	docker -H "unix://$1" info --format '{{.Driver}} {{json .Runtimes}} {{.DefaultRuntime}}'
}

host_residue() {
	[[ $(losetup -a) != *"$DINK_STATE_DIR"* ]]
	[[ $(cat /proc/self/mountinfo) != *"$DINK_STATE_DIR/instances"* ]]
	run -1 pgrep -af "dink forward .*$DINK_RUN_DIR"
	[ ! -e "$DINK_RUN_DIR/$name" ]
	[ ! -e "$DINK_STATE_DIR/engine/engine.json" ]
}

# up, use, status and down on the engine at $1.
whole_life() {
	contents "$1" >"$BATS_TEST_TMPDIR/before"
	"$dink" up -q "$scenario"
	docker -H "unix://$1" ps --format '{{.Names}}' | grep -x "$name.docker"
	[ ! -e "$DINK_STATE_DIR/engine/engine.json" ] # no private one was started
	run -0 --separate-stderr "$dink" status --json "$name"
	[ "$(jq -r '[.[0].layers[].state] | unique | join(",")' <<<"$output")" = running ]
	run -0 --separate-stderr "$dink" exec "$name/docker/inner" -- hostname
	[ "$output" = inner ]
	[ "$(echo through | "$dink" exec -i "$name/docker/inner" -- cat)" = through ]
	run -7 "$dink" exec "$name/docker" -- sh -c 'exit 7'
	run -0 env DOCKER_HOST="unix://$DINK_RUN_DIR/$name/docker.sock" docker info --format '{{.Driver}}'
	[ "$output" = btrfs ]
	"$dink" down -q --volumes "$name"
	diff "$BATS_TEST_TMPDIR/before" <(contents "$1")
	host_residue
}

@test "on a dockerd that DOCKER_HOST names" {
	export DOCKER_HOST=unix://$T/docker.sock
	run -0 "$dink" plan -q "$scenario"
	[[ $output == *"docker 20.10."*" answers at $T/docker.sock"* ]]
	whole_life "$T/docker.sock"
	# what dink leaves: its images, so that the next up does not send them again
	run -0 docker images --format '{{.Repository}}'
	[[ $output == *docker-host* ]]
}

@test "what DOCKER_HOST names is used or is an error, never passed over" {
	DOCKER_HOST=unix://$T/nowhere.sock run -4 "$dink" up -q "$scenario"
	[[ $output == *"no engine answers at DOCKER_HOST=unix://$T/nowhere.sock"* ]]
	[[ $output == *"unset DOCKER_HOST"* ]]
	DOCKER_HOST=tcp://127.0.0.1:2375 run -4 "$dink" plan -q "$scenario"
	[[ $output == *"is no unix:// socket"* ]]
	DOCKER_HOST=unix://$DINK_RUN_DIR/vm/box.sock run -4 "$dink" plan -q "$scenario"
	[[ $output == *"is the engine of a layer, not of this host"* ]]
	host_residue
}

@test "an engine without the runtime that is asked for is passed over, and the plan says why" {
	export DOCKER_HOST=unix://$T/docker.sock
	run -0 "$dink" plan -q scenarios/vm.yaml
	[[ $output == *"the engine at $T/docker.sock has no runtime named dink-vm"* ]]
	[[ $output == *"dink starts a dockerd of its own"* ]]
}

@test "on a dockerd at its usual place, found without being named" {
	[ ! -e /run/docker.sock ] || skip "/run/docker.sock is taken"
	dockerd --data-root "$T/usual.data" --exec-root "$T/usual.exec" --pidfile "$T/usual.pid" \
		--bridge "$bridge" --iptables=false --ip-masq=false --storage-driver overlay2 \
		>"$T/usual.log" 2>&1 3>&- &
	answers /run/docker.sock
	run -0 "$dink" plan -q "$scenario"
	[[ $output == *" answers at /run/docker.sock"* ]]
	whole_life /run/docker.sock
	stop_daemon "$T/usual.pid"
	[ ! -e /run/docker.sock ]
}

@test "on Podman's service, with the limits and the one device that Docker in Podman takes" {
	command -v podman >/dev/null || skip "needs podman"
	start_podman
	export DOCKER_HOST=unix://$T/podman/sock
	docker load -q -i "$T/tiny.tar"
	docker run -d --name mine --network host --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 \
		-v mine:/data tiny:1 busybox sleep 100000
	run -0 "$dink" plan -q "$scenario"
	[[ $output == *"podman "*" answers at $T/podman/sock"* ]]
	[[ $output == *"device      /dev/console rwm"* ]]
	whole_life "$T/podman/sock"
	run -0 "$dink" plan -q scenarios/vm.yaml
	[[ $output == *"the engine at $T/podman/sock is Podman, which starts all"*"own runtime, not with dink-vm"* ]]
	stop_podman
}

# As a user who is in no group and has no capability; $HOME is hers.
as_user() {
	env -u DINK_STATE_DIR -u DOCKER_HOST HOME="$T/home" XDG_RUNTIME_DIR="$T/home/xdg" \
		DINK_RUN_DIR="$T/home/run" setpriv --reuid 4321 --regid 4321 --clear-groups --inh-caps=-all "$@"
}

@test "an ordinary user can validate, plan for a host, judge this one, make disks, check kernels" {
	mkdir -p "$T/home/xdg"
	chmod 700 "$T/home/xdg"
	chown -R 4321:4321 "$T/home"
	chmod o+x "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/file" "$T"
	run -0 as_user "$dink" validate -q scenarios/docker-in-kata.yaml
	run -0 as_user "$dink" plan -q --facts tests/hosts/debian12-tcg.json scenarios/docker-in-kata.yaml
	run -0 as_user "$dink" doctor -q
	[[ $output == *"uid 4321 is not root"* ]]
	run -4 as_user "$dink" doctor -q "$scenario"
	[[ $output == *"[FAIL] user"* ]]
	run -0 as_user "$dink" disk create -q --size 200MiB --filesystem ext4 "$T/home/d.img"
	[ "$(stat -c %u "$T/home/d.img")" = 4321 ]
	run -0 as_user "$dink" kernel list
	config=$(find "${DINK_CACHE_DIR:-/var/cache/dink}/kernels" -mindepth 2 -maxdepth 2 -name config | head -n 1)
	run -0 as_user "$dink" kernel check "$config" --features containers
}

@test "where nothing works without root, up says what is missing and leaves nothing" {
	run -4 as_user "$dink" up -q "$scenario"
	echo "$output"
	[[ $output == *"hint: "* ]]
	[[ $output == *"root"* ]]
	[ -z "$(find "$T/home" -path '*instances/*')" ]
	# without a disk that the host mounts: it is the engine that is missing
	printf 'dink: 1\nname: plain\nlayers:\n  a: {image: debian, command: [sleep, infinity]}\n' >"$T/plain.yaml"
	run -4 as_user "$dink" up -q "$T/plain.yaml"
	echo "$output"
	[[ $output == *"no container engine for the first layer: no engine answers on this host"* ]]
	[[ $output == *"uid 4321 has no range in /etc/subuid"*"hint: run dink as root, or: usermod --add-subuids"* ]]
	[ -z "$(find "$T/home" -path '*instances/*')" ]
}
