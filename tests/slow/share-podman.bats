#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# files: and reach: where the host's engine is Podman: root's service, and a user's.

bats_require_minimum_version 1.5.0
load scenario
load ../e2e/host-podman

# shellcheck disable=SC2034 # scenario.bash uses it
name=share

setup_file() {
	scenario=/dev/null scenario_setup podman slirp4netns newuidmap || return
	mkdir "$T/scn"
	echo from-the-host >"$T/scn/note"
	cat >"$T/scn/leaves.yaml" <<-'END'
		dink: 1
		name: share
		files:
		  note: {source: ./note}
		layers:
		  web:
		    image: debian
		    command: [perl, -MIO::Socket::INET, -e, 'my $s = IO::Socket::INET->new(Listen => 5,
		      LocalPort => 80) or die; while (my $c = $s->accept) { print $c "from-web\n"; close $c }']
		  box: {image: debian, files: {note: /etc/note}, reach: [web], command: [sleep, infinity]}
	END
	sed -e '/^  box/,$d' "$T/scn/leaves.yaml" >"$T/scn/nest.yaml"
	cat >>"$T/scn/nest.yaml" <<-'END'
		  box:
		    image: docker-host
		    daemon: docker
		    files: {note: /etc/note}
		    reach: [web]
		    layers:
		      in: {image: debian, files: {note: /etc/note}, reach: [web], command: [sleep, infinity]}
	END
	chmod 755 "$T" "$T/scn"
}

teardown_file() {
	local status=0
	[ -n "${T:-}" ] || return 0
	if [ -s "$T/podman.pid" ]; then
		[ ! -d "$DINK_STATE_DIR/instances/$name" ] ||
			DOCKER_HOST=unix://$T/podman/sock "$DINK" down -q --wait --volumes "$name" || status=1
		stop_podman
	fi
	end_users
	scenario_down || status=1
	return "$status"
}

# What a layer sees: the file, which it cannot write, and the other layer by its name.
look='cat /etc/note; cat </dev/tcp/web/80; echo bad >/etc/note'

@test "root's Podman: files and names at both levels, and the second up finds all in place" {
	start_podman
	export DOCKER_HOST=unix://$T/podman/sock
	"$DINK" up -q "$T/scn/nest.yaml"
	for l in box box/in; do
		run -1 dx "share/$l" -- bash -c "$look"
		[[ $output == *from-the-host*from-web*"Read-only file system"* ]]
	done
	id=$(docker inspect -f '{{.Id}}' share.box)
	"$DINK" up -q "$T/scn/nest.yaml"
	[ "$(docker inspect -f '{{.Id}}' share.box)" = "$id" ]
	"$DINK" down -q --volumes share
	stop_podman
}

# All that is that user's, whom this file alone has: without root the service is two processes, of which
# the one that was told may leave the other, and a third one holds the namespaces for the next podman.
end_users() {
	local p
	end_conmons "$T/home"
	for p in $(pgrep -u 4321); do
		kill "$p" 2>/dev/null || continue # gone with another
		while kill -0 "$p" 2>/dev/null; do sleep 0.1; done
	done
}

# In a mount namespace with a user of its own, who has ids to give to containers.
@test "a user's Podman: files and names" {
	local f
	mkdir -p "$T/etc" "$T/home/xdg" "$T/home/cache" "$T/home/.config/containers"
	for f in passwd group subuid subgid; do cp "/etc/$f" "$T/etc/$f"; done
	echo "share:x:4321:4321::$T/home:/bin/sh" >>"$T/etc/passwd"
	echo 'share:x:4321:' >>"$T/etc/group"
	echo 'share:800000:65536' | tee -a "$T/etc/subuid" >>"$T/etc/subgid"
	# crun, Podman's own choice, refuses hybrid cgroups
	printf '%s\n' '[engine]' 'cgroup_manager = "cgroupfs"' 'runtime = "runc"' 'events_logger = "file"' \
		'[containers]' 'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]' \
		>"$T/home/.config/containers/containers.conf"
	ln -s "${DINK_CACHE_DIR:-/var/cache/dink}/images" "$T/home/cache/images" # the first test made them
	chown -hR 4321:4321 "$T/home"
	chmod 700 "$T/home/xdg"
	cat >"$T/life" <<-END
		set -eu
		cd "\$HOME"
		podman system service --time=0 "unix://\$HOME/xdg/sock" >log 2>&1 &
		trap "kill \$!; wait \$! || :" EXIT
		for _ in \$(seq 100); do [ -S xdg/sock ] && break; sleep 0.1; done
		export DOCKER_HOST=unix://\$HOME/xdg/sock
		"$DINK" plan "$T/scn/leaves.yaml"
		"$DINK" up -q "$T/scn/leaves.yaml"
		"$DINK" exec share/box -- bash -c "$look" || echo "status \$?"
		"$DINK" down -q --volumes share
		podman unshare rm -rf .local
	END
	# shellcheck disable=SC2016 # words for the other shell
	run -0 unshare --mount bash -ec 'for f in passwd group subuid subgid; do
			mount --bind "$T/etc/$f" "/etc/$f"
		done
		exec env -u DINK_STATE_DIR -u DINK_RUN_DIR HOME="$T/home" XDG_RUNTIME_DIR="$T/home/xdg" TMPDIR="$T/home" \
			DINK_CACHE_DIR="$T/home/cache" \
			setpriv --reuid 4321 --regid 4321 --init-groups --inh-caps=-all bash "$T/life" 3>&-'
	end_users
	echo "$output"
	[[ $output == *"podman "*" answers at $T/home/xdg/sock"* ]]
	[[ $output == *from-the-host*from-web*"Read-only file system"*"status 1"* ]]
}
