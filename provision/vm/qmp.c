/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/vm/qmp.h"

#include "provision/base/file.h"

#include <fcntl.h>
#include <sys/epoll.h>

struct pending {
	int64_t id;
	dink_qmp_reply_fn fn;
	void *ctx;
};

struct dink_qmp {
	struct dink_loop *loop;
	struct dink_source *source;
	const struct dink_qmp_ops *ops;
	void *ctx;
	int fd;
	bool greeted, ready, dead, busy, freed;
	int64_t next_id;
	struct dink_str line;
	struct pending pending[DINK_QMP_PENDING_MAX];
	int n_pending;
};

static void fail_qmp(struct dink_qmp *q, const char *why)
{
	if (q->dead)
		return;
	q->dead = true;
	dink_source_remove(TAKE_PTR(q->source));
	while (q->n_pending > 0) {
		struct pending p = q->pending[--q->n_pending];
		if (p.fn)
			p.fn(p.ctx, NULL, why);
	}
	if (q->ops->on_closed)
		q->ops->on_closed(q->ctx, why);
}

int dink_qmp_send(struct dink_qmp *q, const char *command, struct json_object *args,
		  dink_qmp_reply_fn reply, void *ctx)
{
	return dink_qmp_send_fd(q, command, args, -1, reply, ctx);
}

int dink_qmp_send_fd(struct dink_qmp *q, const char *command, struct json_object *args, int fd,
		     dink_qmp_reply_fn reply, void *ctx)
{
	_cleanup_json_ struct json_object *msg = dink_json_new();

	dink_json_set_str(msg, "execute", command);
	if (args)
		dink_json_set(msg, "arguments", args);
	if (q->dead)
		return -ENOTCONN;
	if (q->n_pending == DINK_QMP_PENDING_MAX)
		return -EBUSY;
	q->pending[q->n_pending++] = (struct pending){++q->next_id, reply, ctx};
	dink_json_set_int(msg, "id", q->next_id);
	const char *text = json_object_to_json_string_ext(msg, JSON_C_TO_STRING_PLAIN);
	/* commands are short and QEMU reads at once: a full socket means that it hangs */
	int r = 0;
	if (fd >= 0 && q->fd >= 0)
		r = dink_send_fd(q->fd, *text++, fd);
	if (r == 0 && q->fd >= 0)
		r = dink_fd_write_all(q->fd, text, strlen(text));
	if (r == 0 && q->fd >= 0)
		r = dink_fd_write_all(q->fd, "\n", 1);
	if (r < 0)
		q->n_pending--;
	return r;
}

static void take_reply(struct dink_qmp *q, struct json_object *msg)
{
	int64_t id = dink_json_int_or(msg, "id", -1);
	struct json_object *result = NULL;

	for (int i = 0; i < q->n_pending; i++) {
		if (q->pending[i].id != id)
			continue;
		struct pending p = q->pending[i];
		memmove(&q->pending[i], &q->pending[i + 1],
			sizeof(p) * (size_t)(q->n_pending - i - 1));
		q->n_pending--;
		bool ok = json_object_object_get_ex(msg, "return", &result);
		if (p.fn)
			p.fn(p.ctx, ok ? result : NULL,
			     ok ? NULL : dink_json_str_or(msg, "error.desc", "refused"));
		return;
	}
}

static void take_ready(void *ctx, struct json_object *result, _unused_ const char *error)
{
	struct dink_qmp *q = ctx;

	if (!result)
		return;
	q->ready = true;
	if (q->ops->on_ready)
		q->ops->on_ready(q->ctx);
}

static int take_line(struct dink_qmp *q, const char *text, size_t len)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_json_ struct json_object *msg = NULL;

	if (dink_json_parse(text, len, "QMP", &msg, &err) < 0 ||
	    !json_object_is_type(msg, json_type_object))
		return -EPROTO;
	if (!q->greeted) {
		if (!dink_json_get(msg, "QMP"))
			return -EPROTO;
		q->greeted = true;
		return dink_qmp_send(q, "qmp_capabilities", NULL, take_ready, q);
	}
	const char *event = dink_json_str_or(msg, "event", NULL);
	if (event) {
		if (q->ops->on_event)
			q->ops->on_event(q->ctx, event, dink_json_get(msg, "data"));
	} else {
		take_reply(q, msg);
	}
	return 0;
}

int dink_qmp_feed(struct dink_qmp *q, const char *bytes, size_t n)
{
	int r = 0;

	q->busy = true;
	while (n > 0 && r == 0 && !q->freed) {
		const char *nl = memchr(bytes, '\n', n);
		size_t take = nl ? (size_t)(nl - bytes) : n;
		if (q->line.len + take > DINK_QMP_LINE_MAX) {
			r = -EMSGSIZE;
			break;
		}
		dink_str_addn(&q->line, bytes, take);
		if (!nl)
			break;
		bytes += take + 1;
		n -= take + 1;
		_cleanup_free_ char *text = dink_str_take(&q->line);
		size_t len = strlen(text);
		while (len > 0 && text[len - 1] == '\r')
			len--;
		if (len > 0)
			r = take_line(q, text, len);
	}
	q->busy = false;
	if (q->freed) {
		q->freed = false;
		dink_qmp_free(q);
		return -ECANCELED;
	}
	return r;
}

static void read_qmp(void *ctx, int fd, _unused_ uint32_t events)
{
	struct dink_qmp *q = ctx;
	char buf[16384];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		fail_qmp(q, "QEMU closed its control socket");
		return;
	}
	int r = dink_qmp_feed(q, buf, (size_t)n);
	if (r < 0 && r != -ECANCELED)
		fail_qmp(q, "QEMU broke the control protocol");
}

struct dink_qmp *dink_qmp_new(struct dink_loop *loop, int fd, const struct dink_qmp_ops *ops,
			      void *ctx)
{
	struct dink_qmp *q = xcalloc(1, sizeof(*q));

	q->loop = loop;
	q->fd = fd;
	q->ops = ops;
	q->ctx = ctx;
	if (loop)
		q->source = dink_loop_add(loop, fd, EPOLLIN, read_qmp, q);
	return q;
}

void dink_qmp_free(struct dink_qmp *q)
{
	if (!q)
		return;
	if (q->busy) {
		q->freed = true;
		return;
	}
	dink_source_remove(q->source);
	if (q->fd >= 0)
		close(q->fd);
	dink_str_clear(&q->line);
	free(q);
}
