# SPDX-License-Identifier: Apache-2.0
# The engine client, dial, the private engine and the forwarder, on a real dockerd and a real podman.

bats_require_minimum_version 1.5.0
root=$BATS_TEST_DIRNAME/../..

# What must be the same before and after.
residue() {
	ip -brief link show type bridge | grep "^$1 " | awk '{print $1}'
	iptables-save | grep -- "--comment $1 " | sort
	grep " $BATS_FILE_TMPDIR" /proc/self/mountinfo | awk '{print $5}'
	find /sys/fs/cgroup -maxdepth 2 -name "dink-${1#dinkbr}"
	pgrep -af "^(containerd|dockerd|$tool).*$BATS_FILE_TMPDIR"
	return 0 # what was found is what was printed
}

setup_file() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	command -v dockerd >/dev/null || skip "needs dockerd"
	export DINK_STATE_DIR=$BATS_FILE_TMPDIR/state DINK_RUN_DIR=$BATS_FILE_TMPDIR/run
	export tool=$BATS_FILE_TMPDIR/engine-tool
	gcc -std=gnu17 -D_GNU_SOURCE -O1 -I"$root" -o "$tool" "$BATS_TEST_DIRNAME/tools/engine-tool.c" \
		"$root/build/libdink.a" -ljson-c -lcurl -lcrypto -larchive -lpthread
	make_image "$BATS_FILE_TMPDIR/tiny.tar"
	"$tool" use bats >"$BATS_FILE_TMPDIR/socket"
	export socket=$DINK_RUN_DIR/engine/docker.sock
	export bridge
	bridge=$(jq -r .bridge "$DINK_STATE_DIR/engine/engine.json")
	"$tool" at host "$socket" load "$BATS_FILE_TMPDIR/tiny.tar"
	"$tool" at host "$socket" create c1 '{"Image":"tiny:1","Cmd":["sleep","1000"]}'
	"$tool" at host "$socket" start c1
}

wait_gone() {
	local state
	while state=$(ps -o state= -p "$1") && [ "$state" != Z ]; do sleep 0.1; done
}

# The service that a failed test left: its containers' processes, its mounts.
stop_podman() {
	local dir=$BATS_FILE_TMPDIR/podman p
	[ -e "$dir/pid" ] || return 0
	"$tool" at host "$dir/sock" remove c1
	"$tool" at host "$dir/sock" remove c3
	# of each exec a conmon stays for five minutes, as podman's client would want its exit code;
	# ended by force, since its exit command would mount the storage again
	for p in $(pgrep -f "^/usr/bin/conmon .*$dir"); do kill -KILL "$p"; done
	p=$(cat "$dir/pid")
	kill "$p"
	wait_gone "$p"
	# podman's own bind mount of its storage goes with MNT_DETACH, and what is in it
	for p in $(awk -v d="$dir" 'index($5, d) == 1 {print $5}' /proc/self/mountinfo | sort -u -r); do
		while grep -q " $p " /proc/self/mountinfo; do umount "$p"; done
	done
	rm "$dir/pid"
}

teardown_file() {
	[ -n "${bridge:-}" ] || return 0
	stop_podman
	"$tool" at host "$socket" remove c1
	"$tool" release bats
	residue "$bridge" >"$BATS_FILE_TMPDIR/left"
	if [ -s "$BATS_FILE_TMPDIR/left" ]; then
		echo "left behind:" && cat "$BATS_FILE_TMPDIR/left"
		return 1
	fi
}

# A docker archive of busybox, made without any engine.
make_image() {
	local dir=$BATS_FILE_TMPDIR/image layer config name
	mkdir -p "$dir/root/bin" "$dir/root/tmp" "$dir/root/run" "$dir/root/etc" "$dir/out"
	cp "$(command -v busybox)" "$dir/root/bin/busybox"
	for name in $("$dir/root/bin/busybox" --list | grep -v -e / -e '^busybox$'); do
		ln -s busybox "$dir/root/bin/$name"
	done
	mkdir "$dir/root/var" && ln -s /run "$dir/root/var/run"
	echo 'root:x:0:0:root:/:/bin/sh' >"$dir/root/etc/passwd"
	tar -C "$dir/root" -cf "$dir/out/layer.tar" .
	layer=$(sha256sum "$dir/out/layer.tar" | cut -d' ' -f1)
	jq -n --arg l "sha256:$layer" '{architecture: "amd64", os: "linux",
		config: {Env: ["PATH=/bin"], Cmd: ["sh"]}, rootfs: {type: "layers", diff_ids: [$l]}}' \
		>"$dir/out/config.json"
	config=$(sha256sum "$dir/out/config.json" | cut -d' ' -f1)
	mv "$dir/out/config.json" "$dir/out/$config.json"
	jq -n --arg c "$config.json" '[{Config: $c, RepoTags: ["tiny:1"], Layers: ["layer.tar"]}]' \
		>"$dir/out/manifest.json"
	tar -C "$dir/out" -cf "$1" .
}

at() {
	"$tool" at "${place:-host}" "${where:-$socket}" "$@"
}

# In the background, $! being the tool itself.
at_bg() {
	"$tool" at "${place:-host}" "${where:-$socket}" "$@" 3>&- &
}

# Everything that exec promises, against the container $1.
check_exec() {
	local rc=0
	run --separate-stderr at exec-n "$1" sh -c 'echo out; echo err >&2; exit 7'
	# shellcheck disable=SC2154 # bats sets stderr
	[ "$status" = 7 ] && [ "$output" = out ] && [ "$stderr" = err ]
	run at capture "$1" sh -c 'echo both; echo streams >&2; exit 3'
	[ "$status" = 3 ] && [ "$(sort <<<"$output")" = $'both\nstreams' ]
	# stdin with its end, both directions of 20 MB
	[ "$(echo hello | at exec "$1" cat)" = hello ]
	[ "$(head -c 20000000 /dev/zero | at exec "$1" wc -c)" = 20000000 ]
	[ "$(at exec-n "$1" head -c 20000000 /dev/zero | wc -c)" = 20000000 ]
	# stdin is not waited for where none is passed
	run timeout 20 "$tool" at "${place:-host}" "${where:-$socket}" exec-n "$1" cat
	[ "$status" = 0 ]
	run at exec-n "$1" sh -c 'kill -9 $$'
	[ "$status" = 137 ]
	# the exit code also comes when the output ended long before
	run at exec-n "$1" sh -c 'exec >&- 2>&-; sleep 0.5; exit 5'
	[ "$status" = 5 ]
	# whoever reads us has enough: as in a pipeline
	at exec-n "$1" yes | head -n1 >/dev/null || rc=${PIPESTATUS[0]}
	[ "$rc" = 141 ] || [ "$rc" = 0 ]
}

# Until a process with these words is in the container.
runs_in() {
	local n
	for n in $(seq 100); do
		if at capture "$1" ps | grep -v "grep\|trap" | grep -q " $2\$"; then return 0; fi
	done
	return "$n"
}

# A signal to us is one to the command and its children; its own exit code comes back.
check_signals() {
	local pid rc=0
	at_bg exec-n "$1" sh -c 'sleep 4321 & wait'
	pid=$!
	runs_in "$1" "sleep 4321"
	kill -TERM "$pid"
	wait "$pid" || rc=$?
	[ "$rc" = 143 ]
	rc=0
	at_bg exec-n "$1" sh -c 'trap "exit 9" INT; while :; do sleep 0.1; done'
	pid=$!
	runs_in "$1" "sleep 0.1"
	kill -INT "$pid"
	wait "$pid" || rc=$?
	[ "$rc" = 9 ]
	run at capture "$1" ps
	[[ $output != *"sleep 4321"* ]]
}

check_copy() {
	local d=$BATS_TEST_TMPDIR
	mkdir -p "$d/src/sub" "$d/out"
	echo one >"$d/src/a" && echo two >"$d/src/sub/b" && ln -s a "$d/src/l" && truncate -s 3M "$d/src/big"
	for how in "" -tar; do
		at exec-n "$1" rm -rf /tmp/src /tmp/new
		at "in$how" "$d/src" "$1" /tmp/
		at "in$how" "$d/src/a" "$1" /tmp/new
		at "in$how" "$d/src/a" "$1" /var/run
		[ "$(at exec-n "$1" cat /tmp/src/sub/b /tmp/new /run/a)" = $'two\none\none' ]
		rm -rf "$d/out" && mkdir "$d/out"
		at "out$how" "$1" /tmp/src "$d/out"
		diff -r "$d/src" "$d/out/src"
		at "out$how" "$1" /tmp/src "$d/out/named"
		diff -r "$d/src" "$d/out/named"
		mkdir "$d/out/into"
		at "out$how" "$1" /tmp/src/. "$d/out/into"
		diff -r "$d/src" "$d/out/into"
		run at "out$how" "$1" /nowhere "$d/out"
		[ "$status" = 125 ]
		run at "in$how" "$d/src/a" "$1" /nowhere/x
		[ "$status" = 125 ] && [[ $output == *"there is no folder /nowhere in the layer"* ]]
		at exec-n "$1" sh -c 'mkdir -p /tmp/bad && rm -f /tmp/bad/* && mknod /tmp/bad/d c 1 3'
		run at "out$how" "$1" /tmp/bad "$d/out"
		[ "$status" = 125 ] && [[ $output == *"not copied"* ]]
	done
}

check_tty() {
	run python3 "$BATS_TEST_DIRNAME/tools/on-a-tty.py" "$tool" at "${place:-host}" \
		"${where:-$socket}" exec-t "$1" sh
	echo "$output"
	[ "$status" = 6 ]
	[[ $output == *"33 101"* ]]  # the size at the start
	[[ $output == *"44 122"* ]]  # and after SIGWINCH
	[[ $output == *"int=130"* ]] # ctrl-C is the command's
	[[ $output == *"mode restored"* ]]
}

check_logs() {
	local spec
	spec=$(jq -n --argjson h "${2:-{\}}" '{Image: "tiny:1", HostConfig: $h,
		Cmd: ["sh", "-c", "for i in 1 2 3; do echo o$i; echo e$i >&2; sleep 0.3; done; exit 3"]}')
	at create "$1" "$spec" && at start "$1"
	run --separate-stderr at logs "$1" follow all
	[ "$status" = 0 ] && [ "$output" = $'o1\no2\no3' ] && [ "$stderr" = $'e1\ne2\ne3' ]
	run --separate-stderr at logs "$1" no 2
	[ "$output" = o3 ] && [ "$stderr" = e3 ]
	at remove "$1" && at remove "$1"
	run at inspect "$1"
	[ "$status" = 125 ] && [ "$output" = "No such file or directory" ]
}

@test "private engine: exec" {
	check_exec c1
}

@test "private engine: signals" {
	check_signals c1
}

@test "private engine: a terminal" {
	check_tty c1
}

@test "private engine: copy" {
	check_copy c1
}

@test "private engine: logs, inspect, remove" {
	check_logs c3
}

@test "the daemon's own words are in the error" {
	run at create x '{"Image":"nosuch:1"}'
	[ "$status" = 125 ]
	[[ $output == *"the engine refused POST /containers/create (404): No such image: nosuch:1"* ]]
	run at image nosuch:1
	[ "$output" = none ]
	echo "no tar" >"$BATS_TEST_TMPDIR/bad"
	run at load "$BATS_TEST_TMPDIR/bad"
	[ "$status" = 125 ] && [[ $output == *"refused"* ]]
}

@test "a call is ended by SIGINT at once" {
	local rc=0 begin=$SECONDS
	at_bg call POST /containers/c1/wait
	sleep 0.5
	kill -INT $!
	wait $! || rc=$?
	[ "$rc" = 130 ] && [ $((SECONDS - begin)) -lt 3 ]
}

@test "containers reach the world, and their published ports are reached" {
	local gateway
	gateway=$(ip route show default | awk '{print $3}')
	run at exec-n c1 ping -c1 -W3 "$gateway"
	[ "$status" = 0 ]
	at create web '{"Image":"tiny:1","Cmd":["sh","-c","while :; do echo hi | nc -l -p 80; done"],
		"ExposedPorts":{"80/tcp":{}},"HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"18080"}]}}}'
	at start web
	run timeout 20 sh -c 'until socat -u TCP:127.0.0.1:18080 - | grep hi; do sleep 0.3; done'
	at remove web
	[ "$output" = hi ]
}

@test "a dockerd in a container: dial, load, exec and signals one level deeper, and forwarded" {
	local dir=$BATS_FILE_TMPDIR/hostish spec place
	[ -r /usr/share/containers/seccomp.json ] || skip "needs containers-common"
	mkdir -p "$dir"/{usr,etc,run,tmp,proc,sys,dev,var/lib}
	ln -s usr/bin usr/sbin usr/lib usr/lib64 "$dir"
	ln -s /run "$dir/var/run"
	tar -C "$dir" -c . | docker -H "unix://$socket" import - hostish:1
	spec=$(jq -n --arg s "$(cat /usr/share/containers/seccomp.json)" '{Image: "hostish:1",
		Cmd: ["sh", "-c", "mkdir /sys/fs/cgroup/x 2>/dev/null; exec dockerd --host unix:///run/docker.sock --iptables=false --bridge=none --storage-driver overlay2 --cgroup-parent=/dink-nest"],
		HostConfig: {CapAdd: ["NET_ADMIN", "SYS_ADMIN"], SecurityOpt: ["seccomp=" + $s],
			Tmpfs: {"/run": "", "/tmp": ""},
			Binds: ["/usr:/usr:ro", "/etc:/etc:ro", "/sys/fs/cgroup:/sys/fs/cgroup", "/var/lib/docker"]}}')
	at create nest "$(jq '.HostConfig.Binds |= map(select(. != "/var/lib/docker")) |
		.Volumes = {"/var/lib/docker": {}}' <<<"$spec")"
	at start nest
	place=$(at place nest)
	where=/var/run/docker.sock # a link to /run in there, as on the host: it must not lead here
	at ready 30000
	at load "$BATS_FILE_TMPDIR/tiny.tar"
	at create c1 '{"Image":"tiny:1","Cmd":["sleep","1000"],"HostConfig":{"NetworkMode":"none"}}'
	at start c1
	check_exec c1
	check_signals c1
	check_tty c1
	# the user's own client, through the forwarder
	"$tool" serve "$place" /run/docker.sock "$BATS_TEST_TMPDIR/f.sock" >"$BATS_TEST_TMPDIR/ready" 3>&- &
	forwarder=$!
	timeout 10 sh -c 'until grep -q ready "$1"; do sleep 0.05; done' sh "$BATS_TEST_TMPDIR/ready"
	[ "$(stat -c %a "$BATS_TEST_TMPDIR/f.sock")" = 600 ]
	[ "$(docker -H "unix://$BATS_TEST_TMPDIR/f.sock" ps --format '{{.Names}}')" = c1 ]
	[ "$(head -c 5000000 /dev/zero | docker -H "unix://$BATS_TEST_TMPDIR/f.sock" exec -i c1 wc -c)" = 5000000 ]
	at remove c1
	unset where
	place=host
	at remove nest
	# the target is gone: a client sees a closed connection, the forwarder lives
	run docker -H "unix://$BATS_TEST_TMPDIR/f.sock" ps
	[ "$status" != 0 ]
	kill -0 "$forwarder"
	kill "$forwarder"
	wait "$forwarder"
	[ ! -e "$BATS_TEST_TMPDIR/f.sock" ]
	find /sys/fs/cgroup -depth -path '*/dink-nest*' -type d -exec rmdir {} +
	find /sys/fs/cgroup -maxdepth 2 -name x -path '/sys/fs/cgroup/*' -empty -exec rmdir {} +
}

@test "a killed private engine is cleaned up after and started anew" {
	local pid
	pid=$(jq .pid "$DINK_STATE_DIR/engine/engine.json")
	kill -KILL "$pid"
	run "$tool" use bats
	[ "$status" = 0 ] && [ "$output" = "$socket" ]
	[ "$(jq .pid "$DINK_STATE_DIR/engine/engine.json")" != "$pid" ]
	[ "$(pgrep -fc "^containerd .*$DINK_RUN_DIR")" = 1 ]
	at start c1
	run at exec-n c1 echo again
	[ "$output" = again ]
	bridge=$(jq -r .bridge "$DINK_STATE_DIR/engine/engine.json")
	[ "$(ip -brief link show type bridge | grep -c "^$bridge ")" = 1 ]
}

@test "the private engine lives as long as one needs it, and takes runtimes meanwhile" {
	"$tool" use second
	"$tool" runtime dink-vm-test /bin/true --guest=/x
	[ "$(at call GET /info | jq -r '.Runtimes."dink-vm-test".runtimeArgs[0]')" = --guest=/x ]
	"$tool" release second
	at ready 1000
}

@test "podman's service, by the same code" {
	local dir=$BATS_FILE_TMPDIR/podman limits
	command -v podman >/dev/null || skip "needs podman"
	mkdir -p "$dir"
	printf '[containers]\nnetns = "host"\n[engine]\ncgroup_manager = "cgroupfs"\nruntime = "runc"\n' \
		>"$dir/containers.conf"
	CONTAINERS_CONF=$dir/containers.conf podman --root "$dir/root" --runroot "$dir/runroot" \
		system service --time=0 "unix://$dir/sock" >"$dir/log" 2>&1 3>&- &
	echo $! >"$dir/pid"
	where=$dir/sock
	limits='{"Ulimits":[{"Name":"nofile","Soft":1024,"Hard":1024},{"Name":"nproc","Soft":1024,"Hard":1024}]}'
	at ready 20000
	at load "$BATS_FILE_TMPDIR/tiny.tar"
	[[ $(at image tiny:1) == sha256:* ]]
	at create c1 "{\"Image\":\"tiny:1\",\"Cmd\":[\"sleep\",\"1000\"],\"HostConfig\":$limits}"
	at start c1
	check_exec c1
	check_signals c1
	check_tty c1
	check_copy c1
	check_logs c3 "$limits"
	at stop c1 0
	at remove c1
	stop_podman
}
