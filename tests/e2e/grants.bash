# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What the proofs of grants share: a dockerd of their own (no bridge, no iptables rules outside) with
# an image, and a grant as an option of docker run.

# grants_dockerd RECIPE...: in $BATS_FILE_TMPDIR; the last of the recipes' images is loaded
grants_dockerd() {
	local t=${BATS_FILE_TMPDIR:?} archive
	build/dink image build "$@" --quiet --json >"$t/image.json"
	archive=$(jq -r '.[0].archive' "$t/image.json")
	dockerd --data-root "$t/data" --exec-root "$t/exec" --pidfile "$t/pid" \
		--host "unix://$t/docker.sock" --bridge none --iptables=false --storage-driver overlay2 \
		>"$t/dockerd.log" 2>&1 3>&- &
	for _ in $(seq 100); do
		if curl -sf --unix-socket "$t/docker.sock" http://d/_ping >/dev/null; then break; fi
		sleep 0.2
	done
	docker -H "unix://$t/docker.sock" load -q -i "$archive"
}

grants_dockerd_end() {
	local t=$BATS_FILE_TMPDIR pid
	if [ -s "$t/pid" ]; then
		pid=$(cat "$t/pid")
		kill "$pid"
		while [ -d "/proc/$pid" ]; do sleep 0.1; done
	fi
}

# add_grant KIND WHAT: to opts
add_grant() {
	case $1 in
	capability) opts+=(--cap-add "${2#CAP_}") ;;
	device) opts+=(--device "${2% *}:${2% *}:${2##* }") ;;
	mount) case $2 in
		tmpfs*) opts+=(--tmpfs "${2#tmpfs }") ;;
		volume*) opts+=(-v "${2#volume }") ;;
		esac ;;
	sysctl) opts+=(--sysctl "$2") ;;
	unmask) opts+=(--security-opt "systempaths=unconfined") ;;
	esac
}
