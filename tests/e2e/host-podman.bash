# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Podman's service as the engine of the host, in $T: started, and stopped with all that it leaves.

answers() {
	for _ in $(seq 150); do
		if curl -sf --unix-socket "$1" http://d/_ping >/dev/null; then return 0; fi
		sleep 0.2
	done
	return 1
}

# The service, its containers' processes, and the mounts of its storage.
start_podman() {
	local dir=$T/podman
	mkdir -p "$dir"
	printf '[engine]\ncgroup_manager = "cgroupfs"\nruntime = "runc"\nevents_logger = "file"\n' \
		>"$dir/containers.conf"
	CONTAINERS_CONF=$dir/containers.conf podman --root "$dir/root" --runroot "$dir/runroot" \
		system service --time=0 "unix://$dir/sock" >"$dir/log" 2>&1 3>&- &
	echo $! >"$T/podman.pid"
	answers "$dir/sock"
}

# end_conmons FOLDER - of each exec one stays for five minutes, as podman's client would want its exit
# code; ended by force, since its exit command would mount the storage again
end_conmons() {
	local p
	for p in $(pgrep -f "^/usr/bin/conmon .*$1"); do kill -KILL "$p"; done
}

stop_podman() {
	local p
	docker -H "unix://$T/podman/sock" ps -aq | xargs -r docker -H "unix://$T/podman/sock" rm -f
	end_conmons "$T/podman"
	kill "$(cat "$T/podman.pid")"
	wait "$(cat "$T/podman.pid")" || [ $? -ge 128 ]
	rm "$T/podman.pid"
	# podman's own bind mount of its storage goes with MNT_DETACH, and what is in it
	for p in $(awk -v d="$T/podman" 'index($5, d) == 1 {print $5}' /proc/self/mountinfo | sort -u -r); do
		while grep -q " $p " /proc/self/mountinfo; do umount "$p"; done
	done
}
