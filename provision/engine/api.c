/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Engine API's plain calls: JSON in, JSON out. Written against Docker 20.10 and Podman 4.3's
 * Docker-compatible API, which differs where a comment here says so.
 */
#include "provision/engine/engine.h"

#include "provision/base/proc.h"
#include "provision/base/units.h"
#include "provision/engine/http.h"
#include "provision/engine/place.h"

#include <poll.h>

static int take_text(void *ctx, const char *bytes, size_t n, struct dink_err *err)
{
	struct dink_str *s = ctx;

	if (n > DINK_JSON_MAX - s->len)
		return dink_err_set(err, DINK_E_CHILD, EFBIG,
				    "the engine's answer is over %d bytes", DINK_JSON_MAX);
	dink_str_addn(s, bytes, n);
	return 0;
}

static int call(struct dink_engine *e, const char *method, const char *path,
		struct json_object *body, uint32_t timeout_ms, struct json_object **ret,
		long *ret_status, struct dink_err *err)
{
	_cleanup_str_ struct dink_str text = {};
	struct dink_http h = DINK_HTTP_INIT;
	int r;

	h.method = method;
	h.path = path;
	h.body = body ? json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN) : NULL;
	h.sink = take_text;
	h.ctx = &text;
	h.timeout_ms = timeout_ms;
	r = dink_http_run(e, &h, err);
	if (ret_status)
		*ret_status = h.status;
	if (r < 0)
		return r;
	if (!ret)
		return 0;
	if (text.len == 0) {
		*ret = NULL;
		return 0;
	}
	return dink_json_parse(text.s, text.len, path, ret, err);
}

int dink_engine_call(struct dink_engine *e, const char *method, const char *path,
		     struct json_object *body, struct json_object **ret, long *ret_status,
		     struct dink_err *err)
{
	return call(e, method, path, body, 0, ret, ret_status, err);
}

static void sleep_ms(uint32_t ms)
{
	struct pollfd p = {.fd = dink_interrupt_fd(), .events = POLLIN};

	(void)poll(&p, 1, (int)ms);
}

int dink_engine_wait_ready(struct dink_engine *e, uint32_t timeout_ms, struct dink_err *err)
{
	uint64_t end = dink_now_ms() + timeout_ms;
	uint32_t pause = 20;

	for (;;) {
		_cleanup_(dink_err_clear) struct dink_err why = {};
		struct dink_http h = DINK_HTTP_INIT;
		uint64_t now = dink_now_ms();
		int r;

		h.method = "GET";
		h.path = "/_ping";
		h.timeout_ms = now < end ? (uint32_t)(end - now) : 1;
		r = dink_http_run(e, &h, &why);
		if (r == 0)
			return 0;
		now = dink_now_ms();
		if (dink_interrupted() || why.code == DINK_E_INTR)
			return dink_err_set(err, DINK_E_INTR, EINTR, "waiting for the engine");
		/* a process that is gone does not come back */
		if (now >= end || r == -ESRCH) {
			_cleanup_free_ char *text = dink_err_format(&why);

			(void)dink_err_set(err, DINK_E_CHILD, r == -ESRCH ? ESRCH : ETIMEDOUT,
					   "the engine does not answer");
			dink_err_detail(err, text);
			return r == -ESRCH ? r : -ETIMEDOUT;
		}
		sleep_ms(pause);
		/* a nested daemon takes seconds; a short pause at first, since a warm one is there
		 */
		pause = pause < 200 ? pause * 2 : 200;
	}
}

int dink_engine_info(struct dink_engine *e, struct json_object **ret, struct dink_err *err)
{
	return dink_engine_call(e, "GET", "/info", NULL, ret, NULL, err);
}

int dink_engine_image_id(struct dink_engine *e, const char *ref, char **ret, struct dink_err *err)
{
	_cleanup_free_ char *name = dink_url_escape(ref);
	_cleanup_free_ char *path = xasprintf("/images/%s/json", name);
	_cleanup_(dink_err_clear) struct dink_err why = {};
	_cleanup_json_ struct json_object *o = NULL;
	const char *id;
	long status = 0;
	int r;

	r = dink_engine_call(e, "GET", path, NULL, &o, &status, &why);
	if (r < 0 && status == 404) {
		*ret = NULL;
		return 0;
	}
	if (r < 0) {
		dink_err_move(err, &why);
		return r;
	}
	r = dink_json_need_str(o, "the image", "Id", &id, err);
	if (r < 0)
		return r;
	*ret = xstrdup(id);
	return 0;
}

int dink_engine_create(struct dink_engine *e, const char *name, struct json_object *spec,
		       char **ret_id, struct dink_err *err)
{
	_cleanup_free_ char *query = name ? dink_url_escape(name) : NULL;
	_cleanup_free_ char *path =
		xasprintf("/containers/create%s%s", query ? "?name=" : "", query ? query : "");
	_cleanup_json_ struct json_object *o = NULL;
	const char *id;
	int r;

	r = dink_engine_call(e, "POST", path, spec, &o, NULL, err);
	if (r >= 0)
		r = dink_json_need_str(o, "the created container", "Id", &id, err);
	if (r < 0) {
		(void)dink_err_push(err, "creating container %s", name ? name : "");
		return r;
	}
	*ret_id = xstrdup(id);
	return 0;
}

/* "METHOD /containers/ID SUFFIX"; the daemon's 304 (already so) is fine. */
static int container_call(struct dink_engine *e, const char *method, const char *id,
			  const char *suffix, uint32_t timeout_ms, struct json_object **ret,
			  long *ret_status, struct dink_err *err)
{
	_cleanup_free_ char *name = dink_url_escape(id);
	_cleanup_free_ char *path = xasprintf("/containers/%s%s", name, suffix);

	return call(e, method, path, NULL, timeout_ms, ret, ret_status, err);
}

int dink_engine_start(struct dink_engine *e, const char *id, uint32_t timeout_ms,
		      struct dink_err *err)
{
	int r = container_call(e, "POST", id, "/start", timeout_ms, NULL, NULL, err);

	if (r < 0)
		(void)dink_err_push(err, "starting container %.12s", id);
	return r;
}

int dink_engine_inspect(struct dink_engine *e, const char *id, struct json_object **ret,
			struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err why = {};
	long status = 0;
	int r = container_call(e, "GET", id, "/json", 0, ret, &status, &why);

	if (r < 0 && status == 404)
		return -ENOENT;
	if (r < 0)
		dink_err_move(err, &why);
	return r;
}

int dink_engine_stop(struct dink_engine *e, const char *id, uint32_t grace_s, struct dink_err *err)
{
	_cleanup_free_ char *suffix = xasprintf("/stop?t=%u", grace_s);
	uint32_t limit = grace_s < 3600 ? grace_s * 1000 : 3600000;
	int r = container_call(e, "POST", id, suffix, limit + DINK_HTTP_TIMEOUT_MS, NULL, NULL,
			       err);

	if (r < 0)
		(void)dink_err_push(err, "stopping container %.12s", id);
	return r;
}

int dink_engine_remove(struct dink_engine *e, const char *id, struct dink_err *err)
{
	uint64_t end = dink_now_ms() + DINK_HTTP_TIMEOUT_MS;

	for (;;) {
		_cleanup_(dink_err_clear) struct dink_err why = {};
		_cleanup_json_ struct json_object *o = NULL;
		long status = 0;
		int r = container_call(e, "DELETE", id, "?force=1&v=1", 0, &o, &status, &why);

		if (r == 0 || status == 404)
			return 0;
		/* somebody else (--rm, an earlier call of ours) is at it: wait until it is gone */
		if (status == 409 && dink_now_ms() < end && !dink_interrupted() &&
		    strstr(why.msg, "already in progress")) {
			sleep_ms(100);
			continue;
		}
		dink_err_move(err, &why);
		(void)dink_err_push(err, "removing container %.12s", id);
		return r;
	}
}
