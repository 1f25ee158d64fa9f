/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP by libcurl over a dialed stream. Each engine keeps one connection alive: through a VM every
 * new one costs a dial. All is bounded: the time in which nothing happens, the size of answers
 * (by the sinks), of error texts. A SIGINT or SIGTERM ends a call at once.
 *
 * Paths have no version prefix: the daemon then takes its own newest.
 *
 * How a dialed stream gets into libcurl: CURL_SOCKOPT_ALREADY_CONNECTED is what it has for that,
 * but 7.88 (Debian 12) calls connect() all the same, and fails. So curl is handed a placeholder
 * which it connects to a listener of ours, and before the request is sent (CURLOPT_PREREQFUNCTION)
 * the dialed stream is put in the placeholder's place by dup3().
 */
#include "provision/engine/http.h"

#include "provision/base/log.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"
#include "provision/engine/place.h"

#include <ctype.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

struct dink_engine {
	const struct dink_place *place;
	char *socket;
	CURL *curl;
	CURLM *multi;
	int listener;  /* for placeholders */
	char name[16]; /* its name in the abstract namespace */
};

/* What the callbacks of one exchange share. */
struct exchange {
	struct dink_engine *e;
	struct dink_http *h;
	struct dink_err *err; /* filled by a callback that ended the exchange */
	struct dink_str refusal;
	uint64_t last_ms; /* when a byte last moved */
	int dialed;	  /* the stream until it took its place, else -1 */
	int placeholder;  /* curl's descriptor, not ours to close */
};

struct dink_engine *dink_engine_new(const struct dink_place *place, const char *socket)
{
	struct dink_engine *e = xcalloc(1, sizeof(*e));
	static bool initialised;

	if (!initialised && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		abort();
	initialised = true;
	e->place = place;
	e->socket = xstrdup(socket);
	e->listener = -1;
	return e;
}

void dink_engine_free(struct dink_engine *e)
{
	if (!e)
		return;
	if (e->curl)
		curl_easy_cleanup(e->curl);
	if (e->multi)
		curl_multi_cleanup(e->multi);
	if (e->listener >= 0)
		close(e->listener);
	free(e->socket);
	free(e);
}

const struct dink_place *dink_engine_place(const struct dink_engine *e)
{
	return e->place;
}

int dink_engine_dial(const struct dink_engine *e, int *ret_fd, struct dink_err *err)
{
	int r = dink_dial(e->place, e->socket, ret_fd, err);

	if (r == -ECONNREFUSED)
		(void)dink_err_hint(err, "the socket is there but no daemon listens on it");
	return r;
}

char *dink_url_escape(const char *s)
{
	struct dink_str out = {};

	for (; *s; s++) {
		if (isalnum((unsigned char)*s) || strchr("-._~", *s))
			dink_str_addc(&out, *s);
		else
			dink_str_addf(&out, "%%%02X", (unsigned)(unsigned char)*s);
	}
	return dink_str_take(&out);
}

static int errno_of_status(long status)
{
	switch (status) {
	case 400:
		return EINVAL;
	case 401:
	case 403:
		return EACCES;
	case 404:
		return ENOENT;
	case 409:
		return EEXIST;
	default:
		return EREMOTEIO;
	}
}

int dink_http_refused(const char *method, const char *path, long status, const char *body,
		      size_t len, struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *text = xstrndup(body ? body : "", len);
	const char *message = NULL;
	int e = errno_of_status(status);

	/* no errno in the text: the daemon's words say it better */
	if (dink_json_parse(text, len, "answer", &o, &ignored) == 0)
		message = dink_json_str_or(o, "message", NULL);
	if (!message)
		message = text;
	(void)dink_err_set(err, DINK_E_CHILD, 0, "the engine refused %s %.*s (%ld): %.4000s",
			   method, (int)strcspn(path, "?"), path, status,
			   message[0] ? message : "it gave no reason");
	return -e;
}

/* A listener with a name that the kernel chooses; kept, since curl reuses connections by name. */
static int open_listener(struct dink_engine *e)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(addr);
	size_t head = offsetof(struct sockaddr_un, sun_path) + 1;

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr.sun_family)) < 0 ||
	    listen(fd, 64) < 0 || getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return -errno;
	if (len <= head || len - head >= sizeof(e->name))
		return -ENAMETOOLONG;
	memcpy(e->name, addr.sun_path + 1, len - head);
	e->name[len - head] = '\0';
	e->listener = TAKE_FD(fd);
	return 0;
}

/* Those of before, closed long ago: left to wait, they would fill the listener's queue. */
static void drop_placeholders(const struct dink_engine *e)
{
	int fd;

	while ((fd = accept4(e->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		close(fd);
}

static curl_socket_t open_socket(void *ctx, curlsocktype purpose _unused_,
				 struct curl_sockaddr *addr _unused_)
{
	struct exchange *x = ctx;
	int fd;

	/* a dead connection of before may make curl dial twice in one exchange */
	if (x->dialed >= 0)
		close(TAKE_FD(x->dialed));
	if (dink_err_is_set(x->err) || dink_engine_dial(x->e, &x->dialed, x->err) < 0)
		return CURL_SOCKET_BAD;
	drop_placeholders(x->e);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		(void)dink_err_set(x->err, DINK_E_HOST, errno, "make a socket");
		return CURL_SOCKET_BAD;
	}
	x->placeholder = fd;
	return fd;
}

static int put_stream(void *ctx, char *to _unused_, char *from _unused_, int to_port _unused_,
		      int from_port _unused_)
{
	struct exchange *x = ctx;
	int flags;

	if (x->dialed < 0) /* a connection of before */
		return CURL_PREREQFUNC_OK;
	flags = fcntl(x->dialed, F_GETFL);
	if (flags < 0 || fcntl(x->dialed, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    dup3(x->dialed, x->placeholder, O_CLOEXEC) < 0) {
		(void)dink_err_set(x->err, DINK_E_BUG, errno, "put the stream in place");
		return CURL_PREREQFUNC_ABORT;
	}
	close(TAKE_FD(x->dialed));
	return CURL_PREREQFUNC_OK;
}

static size_t take_body(char *bytes, size_t size, size_t n, void *ctx)
{
	struct exchange *x = ctx;
	long status = 0;

	n *= size;
	x->last_ms = dink_now_ms();
	curl_easy_getinfo(x->e->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status >= 400) {
		size_t room = DINK_HTTP_ERROR_MAX - x->refusal.len;

		dink_str_addn(&x->refusal, bytes, n < room ? n : room);
		return n;
	}
	if (x->h->sink && x->h->sink(x->h->ctx, bytes, n, x->err) < 0)
		return n == 0 ? 1 : 0;
	x->last_ms = dink_now_ms(); /* the sink may have waited for its own reader */
	return n;
}

static size_t take_header(char *bytes, size_t size, size_t n, void *ctx)
{
	struct exchange *x = ctx;
	const char *want = x->h->want_header;
	size_t len = want ? strlen(want) : 0;

	n *= size;
	if (len > 0 && n > len + 1 && strncasecmp(bytes, want, len) == 0 && bytes[len] == ':') {
		const char *v = bytes + len + 1, *end = bytes + n;

		while (v < end && (*v == ' ' || *v == '\t'))
			v++;
		while (end > v && isspace((unsigned char)end[-1]))
			end--;
		free(x->h->header);
		x->h->header = xstrndup(v, (size_t)(end - v));
	}
	return n;
}

/* What somebody hands us as we ask for it. */
static size_t give_given(struct exchange *x, char *buf, size_t n)
{
	ssize_t got = x->h->give(x->h->give_ctx, buf, n, x->err);

	if (got < 0)
		return CURL_READFUNC_ABORT;
	x->last_ms = dink_now_ms();
	return (size_t)got;
}

static size_t give_body(char *buf, size_t size, size_t n, void *ctx)
{
	struct exchange *x = ctx;
	ssize_t got;
	int r;

	if (x->h->give)
		return give_given(x, buf, size * n);
	do {
		r = dink_wait_fd(x->h->fd, POLLIN, 0);
		if (r < 0 && r != -EINTR)
			(void)dink_err_set(x->err, DINK_E_HOST, -r, "wait for what is to be sent");
		if (r < 0)
			return CURL_READFUNC_ABORT;
		got = read(x->h->fd, buf, size * n);
	} while (got < 0 && (errno == EINTR || errno == EAGAIN));
	if (got < 0) {
		(void)dink_err_set(x->err, DINK_E_HOST, errno, "read what is to be sent");
		return CURL_READFUNC_ABORT;
	}
	x->last_ms = dink_now_ms();
	return (size_t)got;
}

static void set_body(CURL *c, const struct dink_http *h, struct exchange *x)
{
	if (h->fd >= 0 || h->give) {
		curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(c, CURLOPT_READFUNCTION, give_body);
		curl_easy_setopt(c, CURLOPT_READDATA, x);
	} else if (h->body || STREQ(h->method, "POST") || STREQ(h->method, "PUT")) {
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, h->body ? h->body : "");
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE,
				 (curl_off_t)(h->body ? strlen(h->body) : 0));
	}
	if (STREQ(h->method, "HEAD"))
		curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	else
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, h->method);
}

/* All options anew for each exchange; reset keeps the live connection. */
static struct curl_slist *set_options(struct exchange *x, const char *url)
{
	CURL *c = x->e->curl;
	const struct dink_http *h = x->h;
	_cleanup_free_ char *type = NULL;
	struct curl_slist *headers;

	curl_easy_reset(c);
	type = xasprintf("Content-Type: %s",
			 h->content_type ? h->content_type : "application/json");
	headers = curl_slist_append(NULL, "Host: dink");
	headers = curl_slist_append(headers, "Expect:"); /* no round trip before the body */
	headers = curl_slist_append(headers, type);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(c, CURLOPT_PROXY, ""); /* whatever $http_proxy says */
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "dink");
	curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, x);
	curl_easy_setopt(c, CURLOPT_ABSTRACT_UNIX_SOCKET, x->e->name);
	curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, put_stream);
	curl_easy_setopt(c, CURLOPT_PREREQDATA, x);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, x);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 256L << 10);
	curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
	set_body(c, h, x);
	return headers;
}

static uint32_t timeout_of(const struct dink_http *h)
{
	return h->timeout_ms ? h->timeout_ms : DINK_HTTP_TIMEOUT_MS;
}

/* Turns the crank until the exchange ended; 0 with *ret_code, -EINTR, -ETIMEDOUT. */
static int drive(struct exchange *x, CURLcode *ret_code)
{
	uint32_t timeout_ms = timeout_of(x->h);
	int running = 1, left;

	x->last_ms = dink_now_ms();
	for (;;) {
		struct curl_waitfd intr = {.fd = dink_interrupt_fd(), .events = CURL_WAIT_POLLIN};
		CURLMsg *m;

		if (curl_multi_perform(x->e->multi, &running) != CURLM_OK)
			return -EIO;
		while ((m = curl_multi_info_read(x->e->multi, &left))) {
			if (m->msg == CURLMSG_DONE) {
				*ret_code = m->data.result;
				return 0;
			}
		}
		if (dink_interrupted())
			return -EINTR;
		if (!x->h->no_timeout && dink_now_ms() - x->last_ms > timeout_ms)
			return -ETIMEDOUT;
		(void)curl_multi_poll(x->e->multi, &intr, intr.fd >= 0 ? 1 : 0,
				      timeout_ms < 1000 ? (int)timeout_ms : 1000, NULL);
	}
}

static int explain(struct exchange *x, int r, CURLcode code, struct dink_err *err)
{
	const struct dink_http *h = x->h;
	int plain = (int)strcspn(h->path, "?");

	if (dink_err_is_set(x->err)) {
		r = x->err->errnum > 0 ? -x->err->errnum : -EIO;
		(void)dink_err_push(err, "%s %.*s on %s", h->method, plain, h->path, x->e->socket);
		return r;
	}
	if (r == -EINTR || dink_interrupted())
		return dink_err_set(err, DINK_E_INTR, EINTR, "%s %.*s", h->method, plain, h->path);
	if (r == -ETIMEDOUT)
		return dink_err_set(err, DINK_E_CHILD, ETIMEDOUT,
				    "the engine at %s did not answer %s %.*s, after %u s",
				    x->e->socket, h->method, plain, h->path, timeout_of(h) / 1000);
	return dink_err_set(err, DINK_E_CHILD, ECONNRESET, "%s %.*s on %s: %s", h->method, plain,
			    h->path, x->e->socket, curl_easy_strerror(code));
}

int dink_http_run(struct dink_engine *e, struct dink_http *h, struct dink_err *err)
{
	_cleanup_free_ char *url = xasprintf("http://127.0.0.1%s", h->path);
	struct exchange x = {.e = e, .h = h, .err = err, .dialed = -1, .placeholder = -1};
	CURLcode code = CURLE_OK;
	struct curl_slist *headers;
	int r;

	if (!e->curl) {
		e->curl = curl_easy_init();
		e->multi = curl_multi_init();
		if (!e->curl || !e->multi)
			abort();
	}
	if (e->listener < 0 && (r = open_listener(e)) < 0)
		return dink_err_set(err, DINK_E_HOST, -r, "make a socket");
	h->status = 0;
	h->header = NULL;
	headers = set_options(&x, url);
	curl_multi_add_handle(e->multi, e->curl);
	r = drive(&x, &code);
	curl_easy_getinfo(e->curl, CURLINFO_RESPONSE_CODE, &h->status);
	curl_multi_remove_handle(e->multi, e->curl);
	curl_slist_free_all(headers);
	if (x.dialed >= 0)
		close(x.dialed);
	dink_debug("engine", "%s %s: %ld %s", h->method, h->path, h->status,
		   curl_easy_strerror(code));
	/* a daemon may refuse before it read all that was to be sent: its words matter more */
	if (h->status >= 400 && !dink_err_is_set(err))
		r = dink_http_refused(h->method, h->path, h->status, x.refusal.s, x.refusal.len,
				      err);
	else if (r < 0 || code != CURLE_OK)
		r = explain(&x, r, code, err);
	dink_str_clear(&x.refusal);
	if (r < 0) {
		free(h->header);
		h->header = NULL;
	}
	return r;
}
