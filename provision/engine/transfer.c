/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams of bytes from and to an engine that are plain HTTP: image load, logs, tar archives of
 * container paths. Nothing is held in memory but the piece at hand.
 */
#include "provision/base/file.h"
#include "provision/engine/engine.h"
#include "provision/engine/http.h"
#include "provision/engine/mux.h"

enum { LOAD_OBJECT_MAX = 1 << 20 };

/* The load's answer: JSON objects one after the other; an error comes inside a status of 200. */
struct load {
	struct json_tokener *tok;
	size_t object_bytes;
	char *error;
};

static void take_message(struct load *l, struct json_object *o)
{
	const char *text = dink_json_str_or(o, "errorDetail.message", NULL);

	if (!text)
		text = dink_json_str_or(o, "error", NULL);
	if (text && !l->error)
		l->error = xstrndup(text, strnlen(text, 4096));
}

static int take_load_answer(void *ctx, const char *bytes, size_t n, struct dink_err *err)
{
	struct load *l = ctx;

	while (n > 0) {
		struct json_object *o = json_tokener_parse_ex(l->tok, bytes, (int)n);
		enum json_tokener_error e = json_tokener_get_error(l->tok);
		size_t used = json_tokener_get_parse_end(l->tok);

		if (e == json_tokener_continue) {
			l->object_bytes += n;
			if (l->object_bytes > LOAD_OBJECT_MAX)
				return dink_err_set(err, DINK_E_CHILD, EFBIG,
						    "the engine's answer to the load");
			return 0;
		}
		if (e != json_tokener_success) {
			json_object_put(o);
			return dink_err_set(err, DINK_E_CHILD, 0,
					    "the engine's answer to the load is no JSON: %s",
					    json_tokener_error_desc(e));
		}
		take_message(l, o);
		json_object_put(o);
		l->object_bytes = 0;
		bytes += used;
		n -= used;
		while (n > 0 && (*bytes == '\n' || *bytes == '\r' || *bytes == ' ')) {
			bytes++;
			n--;
		}
	}
	return 0;
}

int dink_engine_load(struct dink_engine *e,
		     ssize_t (*give)(void *ctx, char *buf, size_t n, struct dink_err *err),
		     void *ctx, struct dink_err *err)
{
	struct load l = {.tok = json_tokener_new_ex(16)};
	struct dink_http h = {
		.method = "POST",
		.path = "/images/load?quiet=1",
		.fd = -1,
		.content_type = "application/x-tar",
		.give = give,
		.give_ctx = ctx,
		.sink = take_load_answer,
		.ctx = &l,
	};
	int r;

	if (!l.tok)
		abort();
	r = dink_http_run(e, &h, err);
	json_tokener_free(l.tok);
	if (r >= 0 && l.error)
		r = dink_err_set(err, DINK_E_CHILD, 0, "the engine refused the image: %s", l.error);
	free(l.error);
	return r;
}

int dink_engine_save(struct dink_engine *e, const char *ref,
		     int (*sink)(void *ctx, const char *bytes, size_t n, struct dink_err *err),
		     void *ctx, struct dink_err *err)
{
	_cleanup_free_ char *name = dink_url_escape(ref);
	_cleanup_free_ char *path = xasprintf("/images/%s/get", name);
	struct dink_http h = DINK_HTTP_INIT;

	h.method = "GET";
	h.path = path;
	h.sink = sink;
	h.ctx = ctx;
	return dink_http_run(e, &h, err);
}

struct log_sink {
	struct dink_mux mux;
	bool raw;
	int out, errfd;
	int failed; /* errno of our own descriptor */
};

static int write_log(void *ctx, int stream, const char *bytes, size_t n)
{
	struct log_sink *s = ctx;
	int fd = stream == 1 ? s->out : s->errfd;
	int r = fd < 0 ? 0 : dink_fd_write_all(fd, bytes, n);

	if (r < 0)
		s->failed = -r;
	return r;
}

static int take_log(void *ctx, const char *bytes, size_t n, struct dink_err *err)
{
	struct log_sink *s = ctx;
	int r = s->raw ? write_log(s, 1, bytes, n) : dink_mux_feed(&s->mux, bytes, n, write_log, s);

	if (s->failed)
		return dink_err_set(err, DINK_E_HOST, s->failed, "write the logs");
	if (r < 0)
		return dink_err_set(err, DINK_E_CHILD, -r, "the engine's log stream is broken");
	return 0;
}

int dink_engine_logs(struct dink_engine *e, const char *container, bool follow, const char *tail,
		     int out, int errfd, struct dink_err *err)
{
	_cleanup_free_ char *name = dink_url_escape(container);
	_cleanup_free_ char *lines = dink_url_escape(tail ? tail : "all");
	_cleanup_free_ char *path = xasprintf(
		"/containers/%s/logs?stdout=1&stderr=1&follow=%d&tail=%s", name, follow, lines);
	_cleanup_json_ struct json_object *o = NULL;
	struct log_sink s = {.out = out, .errfd = errfd};
	struct dink_http h = DINK_HTTP_INIT;
	int r = dink_engine_inspect(e, container, &o, err);

	if (r == -ENOENT && !dink_err_is_set(err))
		return dink_err_set(err, DINK_E_CHILD, ENOENT, "find container %s", container);
	if (r < 0)
		return r;
	s.raw = dink_json_bool_or(o, "Config.Tty", false);
	h.method = "GET";
	h.path = path;
	h.sink = take_log;
	h.ctx = &s;
	h.no_timeout = follow;
	return dink_http_run(e, &h, err);
}

static int write_bytes(void *ctx, const char *bytes, size_t n, struct dink_err *err)
{
	int r = dink_fd_write_all(*(int *)ctx, bytes, n);

	return r < 0 ? dink_err_set(err, DINK_E_HOST, -r, "write the archive") : 0;
}

static char *archive_path(const char *container, const char *path)
{
	_cleanup_free_ char *name = dink_url_escape(container);
	_cleanup_free_ char *where = dink_url_escape(path);

	return xasprintf("/containers/%s/archive?path=%s", name, where);
}

int dink_engine_get_archive(struct dink_engine *e, const char *container, const char *path, int out,
			    struct dink_err *err)
{
	_cleanup_free_ char *url = archive_path(container, path);
	struct dink_http h = DINK_HTTP_INIT;

	h.method = "GET";
	h.path = url;
	h.sink = write_bytes;
	h.ctx = &out;
	return dink_http_run(e, &h, err);
}

int dink_engine_put_archive(struct dink_engine *e, const char *container, const char *dir, int in,
			    struct dink_err *err)
{
	_cleanup_free_ char *url = archive_path(container, dir);
	struct dink_http h = DINK_HTTP_INIT;

	h.method = "PUT";
	h.path = url;
	h.content_type = "application/x-tar";
	h.fd = in;
	return dink_http_run(e, &h, err);
}
