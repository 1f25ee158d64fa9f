#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A program that layers are handed: fetched by URL or taken from a path, used if it is the one that the
# scenario names, refused otherwise.

bats_require_minimum_version 1.5.0
load scenario

name=files

setup_file() {
	local d line
	scenario_setup gcc /usr/bin/python3
	# a cache of its own for what is fetched; images are those of the machine
	export DINK_CACHE_DIR=$T/cache web=$T/web
	mkdir "$T/cache" "$web" "$T/scn"
	for d in images kernels; do ln -s "/var/cache/dink/$d" "$T/cache/$d"; done
	cat >"$T/hello.c" <<-END
		#include <stdio.h>
		#include <unistd.h>
		int main(int argc, char **argv)
		{
			(void)argv;
			printf("hello\n");
			fflush(stdout);
			return argc > 1 ? pause() : 7;
		}
	END
	gcc -static -o "$web/hello" "$T/hello.c"
	cp "$web/hello" "$T/scn/hello"
	cat >"$T/scn/hello.conf" <<-END
		[program:hello]
		command=/usr/local/bin/hello for-ever
	END
	/usr/bin/python3 -u -m http.server 0 --bind 127.0.0.1 -d "$web" >"$T/server" 2>&1 3>&- &
	echo $! >"$T/server.pid"
	for _ in $(seq 100); do
		line=$(grep -o 'port [0-9]*' "$T/server") && break
		sleep 0.1
	done
	export port=${line#port }
	sum=$(sha256sum <"$web/hello")
	export sum=${sum%% *}
}

teardown_file() {
	local status=0
	[ -n "${T:-}" ] || return 0
	if [ -e "$T/server.pid" ]; then kill "$(cat "$T/server.pid")"; fi
	wait
	scenario_down || status=1
	return "$status"
}

# write SOURCE SHA256 - the scenario, with the program from there
write() {
	scenario=$T/scn/files.yaml
	cat >"$scenario" <<-END
		dink: 1
		name: files
		files:
		  hello: {source: "$1"${2:+, sha256: $2}, executable: true}
		  service: {source: ./hello.conf}
		layers:
		  box:
		    image: docker-host-supervisord
		    daemon: docker
		    init: supervisord
		    files: {hello: /usr/local/bin/hello, service: /etc/supervisor/conf.d/hello.conf}
		    layers:
		      inner: {image: debian, files: {hello: /bin/hello}, command: [/bin/hello, for-ever]}
	END
}

up() { "$DINK" up "$scenario" </dev/null; }
down() { "$DINK" down -q --wait --volumes "$name"; }

# what is left where a file was refused: nothing, in the cache neither
nothing_left() {
	[ ! -e "$DINK_RUN_DIR/engine" ] && [ ! -e "$DINK_STATE_DIR/instances/$name" ]
	[ -z "$(find "$T/cache/files" "$DINK_STATE_DIR/instances" "$DINK_RUN_DIR" -type f \
		! -name kvm-probe.json ! -path '*/locks/*' ! -name lock 2>/dev/null)" ]
}

other=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855

@test "another sha256, by URL or by path: refused with both, before anything runs, and nothing is kept" {
	local from
	for from in "http://127.0.0.1:$port/hello" "file://$web/hello" ./hello; do
		write "$from" "$other"
		run -5 up
		[[ $output == *"is not the file that the scenario names"* ]]
		[[ $output == *"sha256 is  $sum"* && $output == *"wanted is     $other"* ]]
		[[ $output == *"while file hello"* ]]
		nothing_left
	done
}

@test "what is not there, what is no file, and a server that does not answer" {
	write "http://127.0.0.1:$port/nothing" "$sum"
	run -5 up
	[[ $output == *"404"* ]]
	nothing_left
	write ./nothing
	run -4 up
	[[ $output == *"nothing: No such file or directory"* ]]
	write ./
	run -3 up
	[[ $output == *"is no regular file"* ]]
	write "http://127.0.0.1:1/hello" "$sum"
	run -5 up
	[[ $output == *"fetch http://127.0.0.1:1/hello"* ]]
	nothing_left
}

@test "a server cannot lead to a file of the host" {
	cat >"$T/lead.py" <<-END
		import http.server, sys
		class H(http.server.BaseHTTPRequestHandler):
		    def do_GET(self):
		        self.send_response(302)
		        self.send_header("Location", "file://$web/hello")
		        self.end_headers()
		s = http.server.HTTPServer(("127.0.0.1", 0), H)
		print(s.server_port, flush=True)
		s.handle_request()
	END
	/usr/bin/python3 "$T/lead.py" >"$T/lead" 2>/dev/null 3>&- &
	for _ in $(seq 100); do
		[ ! -s "$T/lead" ] || break
		sleep 0.1
	done
	write "http://127.0.0.1:$(cat "$T/lead")/hello" "$sum"
	run -5 up
	[[ $output == *"fetch http://127.0.0.1"* ]]
	nothing_left
}

@test "the right one is fetched once, and runs at each level; supervisord runs it beside the daemon" {
	write "http://127.0.0.1:$port/hello" "$sum"
	run -0 up
	run -7 dx files/box -- hello
	[ "$output" = hello ]
	run -7 dx files/box/inner -- /bin/hello
	[ "$output" = hello ]
	run -0 dx files/box -- supervisorctl -c /run/layer/supervisord.conf status
	[[ $output == *"hello "*"RUNNING"* ]]
	for l in box box/inner; do
		run dx "files/$l" -- sh -c 'echo bad >/usr/local/bin/hello; echo bad >/bin/hello'
		[[ $output == *"Read-only file system"* || $output == *"busy"* ]]
	done
	down
	[ "$(grep -c 'GET /hello ' "$T/server")" -eq 2 ]
	run -0 up
	down
	[ "$(grep -c 'GET /hello ' "$T/server")" -eq 2 ]
}

@test "a file of the cache that is damaged is fetched again" {
	write "http://127.0.0.1:$port/hello" "$sum"
	chmod u+w "$T/cache/files/$sum"
	echo damage >>"$T/cache/files/$sum"
	run -0 up
	run -7 dx files/box -- hello
	down
	[ "$(sha256sum <"$T/cache/files/$sum")" = "$sum  -" ]
	[ "$(grep -c 'GET /hello ' "$T/server")" -eq 3 ]
}

@test "by path, without the server: with its sha256 it stays what it was when the path has another" {
	write ./hello "$sum"
	run -0 up
	echo other >"$T/scn/hello"
	run -7 dx files/box -- hello
	run -0 up
	down
	run -5 up
	[[ $output == *"is not the file"* ]]
}
