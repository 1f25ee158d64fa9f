# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2034,SC2154 # shared with run and the cases
# The engines of tests/conformance/run: how each is started and stopped, and what the scripts of the
# cases call it (use). All that they keep is below $T; $NET is the /24 of their bridge.

start_docker() {
	BR=cbr$(($$ % 10000))
	ip link add "$BR" type bridge && ip addr add "$NET.1/24" dev "$BR" && ip link set "$BR" up
	mkdir -p "$T/data"
	mount --bind "$T/data" "$T/data" # overlay2 wants a mount of its own to be private
	mount --make-private "$T/data"
	printf '{"runtimes": {"dink-vm": {"path": "%s/dink-vm"}}, "experimental": true}\n' "$T" \
		>"$T/daemon.json"
	# of a session of its own: a Ctrl-C is this script's to act on, and the daemon is needed to clean up
	setsid dockerd --config-file "$T/daemon.json" --data-root "$T/data" --exec-root "$T/exec" \
		--pidfile "$T/pid" --host "unix://$T/docker.sock" --bridge "$BR" \
		--storage-driver overlay2 >"$T/dockerd.log" 2>&1 &
	wait_for 30 curl -sf --unix-socket "$T/docker.sock" http://d/_ping || exit 1
	tar -C "$T/rootfs" -c . | docker -H "unix://$T/docker.sock" import -c 'ENV PATH=/bin' - box:1 >/dev/null
}

stop_docker() {
	[ -n "${BR:-}" ] || return 0
	local pid
	if [ -s "$T/pid" ]; then
		pid=$(cat "$T/pid")
		kill "$pid"
		while [ -d "/proc/$pid" ]; do sleep 0.1; done
	fi
	umount "$T/data"
	ip link delete "$BR"
	BR=
}

use_docker() {
	E="docker -H unix://$T/docker.sock" R=--runtime=$1 NOW='' NETNAME=bridge
	BR_OPT="-o com.docker.network.bridge.name=${BR}n"
}

# --- Podman ---

# a default network of its own: another Podman of the host may take the usual one away meanwhile
write_cni() {
	mkdir "$T/cni"
	cat >"$T/cni/$PODNET.conflist" <<-END
		{"cniVersion": "0.4.0", "name": "$PODNET", "plugins": [
		  {"type": "bridge", "bridge": "cpb$(($$ % 10000))", "isGateway": true, "ipMasq": true,
		   "hairpinMode": true, "ipam": {"type": "host-local", "routes": [{"dst": "0.0.0.0/0"}],
		   "ranges": [[{"subnet": "$NET.0/24", "gateway": "$NET.1"}]]}},
		  {"type": "portmap", "capabilities": {"portMappings": true}},
		  {"type": "firewall"}, {"type": "tuning"}]}
	END
	printf '[network]\nnetwork_backend="cni"\nnetwork_config_dir="%s"\ndefault_network="%s"\n' \
		"$T/cni" "$PODNET"
}

write_netavark() {
	mkdir "$T/networks"
	printf '[network]\nnetwork_backend="netavark"\nnetwork_config_dir="%s"\ndefault_network="%s"\ndefault_subnet="%s.0/24"\n' \
		"$T/networks" "$PODNET" "$NET"
}

# a program, so that script(1) and the like can start it
write_podman() {
	printf '#!/bin/sh\nPODMAN_IGNORE_CGROUPSV1_WARNING=1 CONTAINERS_CONF=%s exec podman --root %s --runroot %s --runtime %s "$@"\n' \
		"$T/containers.conf" "$T/pod" "$T/podrun" "$2" >"$T/podman-$1"
	chmod +x "$T/podman-$1"
}

start_podman() {
	PODNET=dinkconf$(($$ % 10000))
	# Podman's own defaults are beyond the hard limits of many a machine
	{
		printf '[containers]\nlog_driver="k8s-file"\ndefault_ulimits=["nofile=1024:1024", "nproc=1024:1024"]\n[engine]\ncgroup_manager="cgroupfs"\nevents_logger="file"\n'
		if [ "$label" = podman ]; then write_cni; else write_netavark; fi
	} >"$T/containers.conf"
	write_podman runc runc
	write_podman dink-vm "$T/dink-vm"
	tar -C "$T/rootfs" -c . | "$T/podman-runc" import -q -c 'ENV PATH=/bin' - box:1 >/dev/null
}

stop_podman() {
	[ -n "${PODNET:-}" ] || return 0
	ip link delete "cpb$(($$ % 10000))" 2>/dev/null
	rm -rf "/var/lib/cni/networks/$PODNET"
	PODNET=
}

use_podman() {
	E=$T/podman-$1 R='' BR_OPT='' NOW='-t 0' NETNAME=$PODNET
}

# --- containerd, by its own client ---

# a docker archive of the small root
write_archive() {
	local dir=$T/archive sum
	mkdir "$dir"
	tar -C "$T/rootfs" -cf "$dir/layer.tar" .
	sum=$(sha256sum "$dir/layer.tar" | cut -d' ' -f1)
	printf '{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":["sh"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
		"$sum" >"$dir/config.json"
	printf '[{"Config":"config.json","RepoTags":["box:1"],"Layers":["layer.tar"]}]' >"$dir/manifest.json"
	tar -C "$dir" -cf "$T/box.tar" manifest.json config.json layer.tar
	rm -rf "$dir"
}

start_ctr() {
	printf 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n' >"$T/containerd.toml"
	setsid containerd --config "$T/containerd.toml" --address "$T/cd.sock" --root "$T/cd" \
		--state "$T/cd.run" >"$T/containerd.log" 2>&1 &
	CD_PID=$!
	wait_for 30 ctr -a "$T/cd.sock" version || exit 1
	write_archive
	ctr -a "$T/cd.sock" -n conf images import "$T/box.tar" >/dev/null
}

stop_ctr() {
	[ -n "${CD_PID:-}" ] || return 0
	kill "$CD_PID"
	wait "$CD_PID"
	CD_PID=
}

use_ctr() {
	local program
	[ "$1" = runc ] && program=$(command -v runc) || program=$T/dink-vm
	E="ctr -a $T/cd.sock -n conf" I=docker.io/library/box:1 NETNAME='' BR_OPT='' NOW=''
	R="--snapshotter native --runtime io.containerd.runc.v2 --runc-binary $program"
}

sweep_ctr() {
	local id
	for id in $($E tasks ls -q); do $E tasks kill -s KILL "$id"; $E tasks delete -f "$id"; done
	for id in $($E containers ls -q); do $E containers delete "$id"; done
}

states_ctr() {
	$E tasks ls | awk 'NR > 1 {print $1, $3}'
	$E containers ls -q
}

# what follows `ctr run`: options, the image, the id, the command
once() { $E run --rm $R "$@"; }
stay() { $E run -d $R "$@"; }
job() { $E task "$@"; }
