/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request by hand, since libcurl does not hand an upgraded connection over with its buffered
 * bytes. Head and error body are bounded; the daemon may be a nested one that we do not trust.
 */
#include "provision/engine/hijack.h"

#include "provision/base/file.h"
#include "provision/base/log.h"
#include "provision/base/units.h"
#include "provision/engine/http.h"
#include "provision/engine/place.h"

#include <poll.h>
#include <strings.h>
#include <sys/socket.h>

enum { HEAD_TIMEOUT_MS = 120000, REFUSAL_TIMEOUT_MS = 10000 };

/* Whether a header line is `name`; *ret_value points behind the colon and blanks. */
static bool is_header(const char *line, size_t n, const char *name, const char **ret_value)
{
	size_t len = strlen(name);

	if (n <= len || strncasecmp(line, name, len) != 0 || line[len] != ':')
		return false;
	len++;
	while (len < n && (line[len] == ' ' || line[len] == '\t'))
		len++;
	*ret_value = line + len;
	return true;
}

static int parse_length(const char *v, const char *end, int64_t *ret)
{
	int64_t n = 0;

	if (v == end)
		return -EPROTO;
	for (; v < end && *v >= '0' && *v <= '9'; v++) {
		if (n > INT64_MAX / 10 - 10)
			return -EPROTO;
		n = n * 10 + (*v - '0');
	}
	if (v != end)
		return -EPROTO;
	*ret = n;
	return 0;
}

static int parse_line(const char *line, size_t n, struct dink_http_head *head)
{
	const char *v;

	if (is_header(line, n, "Content-Length", &v))
		return parse_length(v, line + n, &head->content_length);
	if (is_header(line, n, "Transfer-Encoding", &v))
		head->chunked = (size_t)(line + n - v) >= 7 && strncasecmp(v, "chunked", 7) == 0;
	return 0;
}

int dink_http_head_parse(const char *bytes, size_t n, struct dink_http_head *ret)
{
	struct dink_http_head head = {.content_length = -1};
	const char *end = memmem(bytes, n, "\r\n\r\n", 4), *p = bytes;
	const char *nl;

	if (n > 0 && strncmp(bytes, "HTTP/1.", n < 7 ? n : 7) != 0)
		return -EPROTO;
	if (!end)
		return n >= DINK_HEAD_MAX ? -EPROTO : 0;
	head.size = (size_t)(end - bytes) + 4;
	if (head.size > DINK_HEAD_MAX || head.size < 16 || p[8] != ' ')
		return -EPROTO;
	for (int i = 9; i < 12; i++) {
		if (p[i] < '0' || p[i] > '9')
			return -EPROTO;
		head.status = head.status * 10 + (p[i] - '0');
	}
	p = (const char *)memmem(p, head.size, "\r\n", 2) + 2;
	for (; p < end; p = nl + 2) {
		nl = memmem(p, (size_t)(end - p) + 2, "\r\n", 2);
		if (parse_line(p, (size_t)(nl - p), &head) < 0)
			return -EPROTO;
	}
	*ret = head;
	return 1;
}

static int send_all(int fd, const char *text, size_t n)
{
	uint64_t deadline = dink_now_ms() + HEAD_TIMEOUT_MS;

	while (n > 0) {
		ssize_t sent = send(fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		int r;

		if (sent < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (sent < 0) {
			r = dink_wait_fd(fd, POLLOUT, deadline);
			if (r < 0)
				return r;
			continue;
		}
		text += sent;
		n -= (size_t)sent;
	}
	return 0;
}

/* Appends what there is; the count, 0 at EOF, -errno. */
static ssize_t receive_some(int fd, struct dink_str *s, uint64_t deadline)
{
	char buf[16 << 10];
	ssize_t n;
	int r;

	do {
		r = dink_wait_fd(fd, POLLIN, deadline);
		if (r < 0)
			return r;
		n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	} while (n < 0 && (errno == EAGAIN || errno == EINTR));
	if (n < 0)
		return -errno;
	dink_str_addn(s, buf, (size_t)n);
	return n;
}

/* The rest of a refusal's body, as far as it is had within the bounds. */
static void receive_refusal(int fd, const struct dink_http_head *head, struct dink_str *s)
{
	uint64_t deadline = dink_now_ms() + REFUSAL_TIMEOUT_MS;

	while (s->len < DINK_HTTP_ERROR_MAX) {
		if (head->content_length >= 0 && s->len >= (uint64_t)head->content_length)
			return;
		if (head->chunked && s->len >= 5 && memcmp(s->s + s->len - 5, "0\r\n\r\n", 5) == 0)
			break;
		if (receive_some(fd, s, deadline) <= 0)
			break;
	}
	if (head->chunked && s->len > 0) {
		/* a refusal is one small JSON object: what is between the first { and the last } */
		char *from = memchr(s->s, '{', s->len), *to = memrchr(s->s, '}', s->len);

		if (from && to && from < to) {
			struct dink_str body = {};

			dink_str_addn(&body, from, (size_t)(to - from) + 1);
			dink_str_clear(s);
			*s = body;
		}
	}
}

static int receive_head(int fd, struct dink_str *s, struct dink_http_head *ret)
{
	uint64_t deadline = dink_now_ms() + HEAD_TIMEOUT_MS;
	int r;

	while ((r = dink_http_head_parse(s->s ? s->s : "", s->len, ret)) == 0) {
		ssize_t n = receive_some(fd, s, deadline);

		if (n < 0)
			return (int)n;
		if (n == 0)
			return -ECONNRESET;
	}
	return r < 0 ? r : 0;
}

int dink_hijack(struct dink_engine *e, const char *path, const char *body, int *ret_fd,
		struct dink_str *ret_early, struct dink_err *err)
{
	_cleanup_close_ int fd = -1;
	_cleanup_str_ struct dink_str ask = {}, got = {}, rest = {};
	struct dink_http_head head;
	int r = dink_engine_dial(e, &fd, err);

	if (r < 0)
		return r;
	dink_str_addf(&ask,
		      "POST %s HTTP/1.1\r\nHost: dink\r\nUser-Agent: dink\r\n"
		      "Content-Type: application/json\r\nConnection: Upgrade\r\n"
		      "Upgrade: tcp\r\nContent-Length: %zu\r\n\r\n%s",
		      path, body ? strlen(body) : 0, body ? body : "");
	r = send_all(fd, ask.s, ask.len);
	if (r >= 0)
		r = receive_head(fd, &got, &head);
	if (r == -EINTR)
		return dink_err_set(err, DINK_E_INTR, EINTR, "POST %.*s", (int)strcspn(path, "?"),
				    path);
	if (r < 0)
		return dink_err_set(err, DINK_E_CHILD, -r, "POST %.*s: no answer from the engine",
				    (int)strcspn(path, "?"), path);
	dink_debug("engine", "POST %s: %ld (stream)", path, head.status);
	dink_str_addn(&rest, got.s + head.size, got.len - head.size);
	if (head.status != 101 && head.status != 200) {
		receive_refusal(fd, &head, &rest);
		return dink_http_refused("POST", path, head.status, rest.s, rest.len, err);
	}
	*ret_early = rest;
	rest = (struct dink_str){};
	*ret_fd = TAKE_FD(fd);
	return 0;
}
