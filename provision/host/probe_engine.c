/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Engines whose socket answers: GET /version and GET /info over the unix socket. HTTP/1.0 on
 * purpose: the answer then ends with the connection and is never chunked, so that no HTTP client
 * is needed below the engine module.
 */
#include "provision/host/probe.h"

#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/json.h"
#include "provision/base/units.h"

#include <limits.h>
#include <poll.h>
#include <sys/socket.h>

enum { ANSWER_MAX = 4 << 20, ANSWER_MS = 5000 };

/* Reads until EOF, the limit or the deadline; false unless EOF came first. */
static bool read_answer(int fd, struct dink_str *answer)
{
	uint64_t end = dink_now_ms() + ANSWER_MS;
	char buf[8192];

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		uint64_t now = dink_now_ms();

		if (now >= end || answer->len > ANSWER_MAX || poll(&p, 1, (int)(end - now)) <= 0)
			return false;
		ssize_t n = read(fd, buf, sizeof(buf));
		if (n == 0)
			return true;
		if (n < 0)
			return false;
		dink_str_addn(answer, buf, (size_t)n);
	}
}

/* GET path: the JSON of a 200 answer, or NULL. */
static struct json_object *http_get(const char *socket_path, const char *path)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *request =
		xasprintf("GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", path);
	_cleanup_str_ struct dink_str answer = {};
	_cleanup_close_ int fd = -1;
	struct json_object *o = NULL;

	if (dink_unix_connect(socket_path, &fd, &ignored) < 0 ||
	    send(fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request) ||
	    !read_answer(fd, &answer) || !answer.s)
		return NULL;
	if (!dink_starts_with(answer.s, "HTTP/1.") || strncmp(answer.s + 8, " 200", 4) != 0)
		return NULL;
	const char *body = strstr(answer.s, "\r\n\r\n");
	if (!body)
		return NULL;
	body += 4;
	if (dink_json_parse(body, answer.len - (size_t)(body - answer.s), path, &o, &ignored) < 0)
		return NULL;
	return o;
}

static bool is_podman(struct json_object *version)
{
	struct json_object *parts = dink_json_get(version, "Components");

	for (size_t i = 0; i < dink_json_len(version, "Components"); i++) {
		struct json_object *part = json_object_array_get_idx(parts, i);

		if (strstr(dink_json_str_or(part, "Name", ""), "Podman"))
			return true;
	}
	return false;
}

static void probe_socket(struct dink_facts *f, const char *path)
{
	_cleanup_json_ struct json_object *version = NULL, *info = NULL;
	struct dink_engine_fact *e;

	if (access(path, R_OK | W_OK) < 0)
		return;
	version = http_get(path, "/version");
	if (!version)
		return;
	info = http_get(path, "/info");
	f->engines = xreallocarray(f->engines, f->n_engines + 1, sizeof(*f->engines));
	e = &f->engines[f->n_engines++];
	*e = (struct dink_engine_fact){
		.kind = is_podman(version) ? DINK_ENGINE_PODMAN : DINK_ENGINE_DOCKER,
		.socket = xstrdup(path),
		.version = xstrdup(dink_json_str_or(version, "Version", "unknown")),
		.api_version = xstrdup(dink_json_str_or(version, "ApiVersion", "unknown")),
		.storage_driver =
			xstrdup(info ? dink_json_str_or(info, "Driver", "unknown") : "unknown"),
	};
	struct json_object *runtimes = info ? dink_json_get(info, "Runtimes") : NULL;
	if (runtimes && json_object_is_type(runtimes, json_type_object)) {
		json_object_object_foreach(runtimes, name, value)
		{
			(void)value;
			dink_strv_add(&e->runtimes, name);
		}
	}
	dink_strv_sort(&e->runtimes);
}

/* What the user names is used or is an error: another engine is not what was asked for. */
static void probe_named(struct dink_facts *f, const char *host)
{
	_cleanup_free_ char *own = xasprintf("unix://%s/", dink_run_dir());

	if (!dink_starts_with(host, "unix://")) {
		f->docker_host_why = xasprintf("DOCKER_HOST=%s is no unix:// socket: layers are "
					       "reached through the host's own /proc",
					       host);
		return;
	}
	/* what `dink env LAYER` sets, in the same shell */
	if (dink_starts_with(host, own)) {
		f->docker_host_why = xasprintf(
			"DOCKER_HOST=%s is the engine of a layer, not of this host", host);
		return;
	}
	probe_socket(f, host + strlen("unix://"));
	if (!f->n_engines)
		f->docker_host_why = xasprintf("no engine answers at DOCKER_HOST=%s", host);
}

void dink_probe_engines(struct dink_facts *f)
{
	_cleanup_strv_ struct dink_strv candidates = {}, seen = {};
	const char *host = getenv("DOCKER_HOST"), *run = getenv("XDG_RUNTIME_DIR");

	if (host && host[0])
		return probe_named(f, host);
	dink_strv_addl(&candidates, "/run/docker.sock", "/var/run/docker.sock",
		       "/run/podman/podman.sock", NULL);
	if (run && run[0] == '/') {
		dink_strv_addf(&candidates, "%s/docker.sock", run);
		dink_strv_addf(&candidates, "%s/podman/podman.sock", run);
	}
	for (size_t i = 0; i < candidates.n; i++) {
		char real[PATH_MAX];

		if (!realpath(candidates.v[i], real) || dink_strv_has(&seen, real))
			continue;
		dink_strv_add(&seen, real);
		probe_socket(f, candidates.v[i]);
	}
}
