/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/vm/chan.h"

#include "provision/base/log.h"
#include "provision/vm/chan_internal.h"

#include <stdarg.h>
#include <sys/epoll.h>

/* --- buffers --- */

uint8_t *chan_buf_room(struct chan_buf *b, size_t n)
{
	if (b->head == b->len)
		b->head = b->len = 0;
	if (b->len + n > b->cap && b->head) {
		memmove(b->data, b->data + b->head, b->len - b->head);
		b->len -= b->head;
		b->head = 0;
	}
	if (b->len + n > b->cap) {
		size_t cap = b->cap ? b->cap : 4096;

		while (cap < b->len + n)
			cap *= 2;
		b->data = xrealloc(b->data, cap);
		b->cap = cap;
	}
	return b->data + b->len;
}

void chan_buf_clear(struct chan_buf *b)
{
	free(b->data);
	*b = (struct chan_buf){};
}

/* --- life and death --- */

void chan_enter(struct dink_chan *c)
{
	c->depth++;
}

void chan_leave(struct dink_chan *c)
{
	if (--c->depth == 0 && c->freed)
		free(c);
}

static void fail_requests(struct dink_chan *c)
{
	struct chan_request *r;

	while ((r = c->requests)) {
		c->requests = r->next;
		c->n_requests--;
		if (r->reply)
			r->reply(r->ctx, NULL);
		free(r);
	}
}

static void report_death(void *ctx)
{
	struct dink_chan *c = ctx;

	chan_enter(c);
	c->death = NULL;
	fail_requests(c);
	if (!c->freed)
		chan_streams_stop(c);
	if (!c->freed && c->ops->on_closed)
		c->ops->on_closed(c->ctx, c->why);
	chan_leave(c);
}

void chan_break(struct dink_chan *c, const char *fmt, ...)
{
	va_list ap;

	if (c->dead)
		return;
	va_start(ap, fmt);
	vsnprintf(c->why, sizeof(c->why), fmt, ap);
	va_end(ap);
	dink_debug("chan", "broken: %s", c->why);
	c->dead = true;
	dink_source_remove(c->src);
	c->src = NULL;
	c->death = dink_loop_after(c->loop, 0, report_death, c);
}

/* --- sending --- */

static void arm_channel(struct dink_chan *c, uint32_t events)
{
	if (c->src && c->armed != events) {
		dink_source_events(c->src, events);
		c->armed = events;
	}
}

static size_t may_write(const struct dink_chan *c)
{
	size_t used = chan_buf_used(&c->out);

	return c->held && c->hold_left < used ? c->hold_left : used;
}

/* write_queue() - false once the peer takes no more for now (or is dead) */
static bool write_queue(struct dink_chan *c)
{
	while (!c->dead && may_write(c)) {
		ssize_t n = write(c->fd, c->out.data + c->out.head, may_write(c));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return false;
		if (n <= 0) {
			chan_break(c, "writing to the peer: %s", strerror(n < 0 ? errno : EPIPE));
			return false;
		}
		c->out.head += (size_t)n;
		if (c->held)
			c->hold_left -= (size_t)n;
	}
	return !c->dead;
}

void chan_flush(struct dink_chan *c)
{
	bool clear = write_queue(c);

	if (c->dead)
		return;
	if (!chan_is_full(c) && (c->credit_waits || c->stalled)) {
		chan_streams_resume(c);
		clear = write_queue(c);
	}
	arm_channel(c, clear ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

void chan_put(struct dink_chan *c, uint8_t type, uint32_t id, const void *payload, uint32_t len)
{
	uint8_t *to;

	if (c->dead)
		return;
	to = chan_buf_room(&c->out, DINK_FRAME_HEADER + len);
	dink_frame_put(to, type, id, len);
	if (len)
		memcpy(to + DINK_FRAME_HEADER, payload, len);
	c->out.len += DINK_FRAME_HEADER + len;
}

/* put_message() - takes msg; false if it is too long to be sent */
static bool put_message(struct dink_chan *c, uint8_t type, uint32_t id, struct json_object *msg)
{
	size_t len;
	const char *text = json_object_to_json_string_length(msg, JSON_C_TO_STRING_PLAIN, &len);
	bool fits = text && len <= DINK_MSG_MAX;

	if (fits)
		chan_put(c, type, id, text, (uint32_t)len);
	json_object_put(msg);
	return fits;
}

/* --- receiving --- */

static struct chan_request *take_request(struct dink_chan *c, uint32_t id)
{
	struct chan_request **at;

	for (at = &c->requests; *at; at = &(*at)->next) {
		if ((*at)->id == id) {
			struct chan_request *r = *at;

			*at = r->next;
			c->n_requests--;
			return r;
		}
	}
	return NULL;
}

static void take_response(struct dink_chan *c, uint32_t id, struct json_object *msg)
{
	struct chan_request *r = take_request(c, id);

	if (!r) {
		chan_break(c, "the guest answered a request that was not made");
		return;
	}
	if (r->reply)
		r->reply(r->ctx, msg);
	free(r);
}

static void refuse_request(struct dink_chan *c, uint32_t id, const char *text, int errnum)
{
	struct json_object *o = dink_json_new();

	dink_json_set_bool(o, "ok", false);
	dink_json_set_str(o, "error", text);
	dink_json_set_int(o, "errno", errnum);
	dink_chan_respond(c, id, o);
}

/* Short values cost a parser more than their text: looked at before it is let loose on them. */
static bool has_many_parts(const uint8_t *text, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += text[i] == ',' || text[i] == '[' || text[i] == '{';
	return n > CHAN_PARTS_MAX;
}

static void take_message(struct dink_chan *c, const struct dink_frame *f, const uint8_t *payload)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_json_ struct json_object *msg = NULL;

	if (c->host && has_many_parts(payload, f->len)) {
		chan_break(c, "the guest sent a message of too many parts");
		return;
	}

	if (dink_json_parse((const char *)payload, f->len, "message", &msg, &err) < 0 ||
	    !json_object_is_type(msg, json_type_object)) {
		/* the guest must outlive anything; the host gives up on a guest that babbles */
		if (f->type == DINK_FRAME_REQUEST)
			refuse_request(c, f->id, err.msg ? err.msg : "no JSON object", EINVAL);
		else
			chan_break(c, "the guest sent a message that is no JSON object");
		return;
	}
	switch (f->type) {
	case DINK_FRAME_REQUEST:
		if (c->ops->on_request)
			c->ops->on_request(c->ctx, f->id, msg);
		break;
	case DINK_FRAME_RESPONSE:
		take_response(c, f->id, msg);
		break;
	default:
		if (c->ops->on_event)
			c->ops->on_event(c->ctx, msg);
		break;
	}
}

/* take_frame() - false when no whole frame is there */
static bool take_frame(struct dink_chan *c)
{
	const uint8_t *at = c->in.data + c->in.head;
	struct dink_frame f;
	const char *why;

	if (chan_buf_used(&c->in) < DINK_FRAME_HEADER)
		return false;
	if (!dink_frame_get(at, !c->host, &f, &why)) {
		chan_break(c, "the peer sent %s", why);
		return false;
	}
	if (chan_buf_used(&c->in) < DINK_FRAME_HEADER + f.len)
		return false;
	if (f.type <= DINK_FRAME_EVENT)
		take_message(c, &f, at + DINK_FRAME_HEADER);
	else
		chan_streams_take(c, &f, at + DINK_FRAME_HEADER);
	c->in.head += DINK_FRAME_HEADER + f.len;
	return true;
}

static void read_frames(struct dink_chan *c)
{
	int rounds;

	for (rounds = 0; rounds < 16 && !c->dead && !c->freed; rounds++) {
		uint8_t *to = chan_buf_room(&c->in, DINK_DATA_MAX + DINK_FRAME_HEADER);
		ssize_t n = read(c->fd, to, DINK_DATA_MAX + DINK_FRAME_HEADER);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0) {
			chan_break(c, n < 0 ? "reading from the peer: %s" : "the peer is gone%s",
				   n < 0 ? strerror(errno) : "");
			return;
		}
		c->in.len += (size_t)n;
		while (!c->dead && !c->freed && take_frame(c))
			;
		/* a great message must not keep its memory for ever */
		if (!c->freed && !chan_buf_used(&c->in) && c->in.cap > 4 * DINK_DATA_MAX)
			chan_buf_clear(&c->in);
	}
}

static void on_channel(void *ctx, int fd, uint32_t events)
{
	struct dink_chan *c = ctx;

	(void)fd;
	chan_enter(c);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_frames(c);
	if (!c->freed && !c->dead)
		chan_flush(c);
	chan_leave(c);
}

/* --- the interface --- */

struct dink_chan *dink_chan_new(struct dink_loop *loop, int fd, bool host,
				const struct dink_chan_ops *ops, void *ctx)
{
	struct dink_chan *c = xcalloc(1, sizeof(*c));

	c->loop = loop;
	c->fd = fd;
	c->host = host;
	c->ops = ops;
	c->ctx = ctx;
	c->next_id = 1;
	c->armed = EPOLLIN;
	c->src = dink_loop_add(loop, fd, c->armed, on_channel, c);
	if (!c->src)
		chan_break(c, "watching the channel: %s", strerror(errno));
	return c;
}

void dink_chan_free(struct dink_chan *c)
{
	if (!c || c->freed)
		return;
	chan_enter(c);
	c->dead = c->freed = true;
	dink_source_remove(c->src);
	dink_source_remove(c->pump);
	dink_source_remove(c->death);
	c->src = c->pump = c->death = NULL;
	fail_requests(c);
	chan_streams_free(c);
	close(c->fd);
	chan_buf_clear(&c->out);
	chan_buf_clear(&c->in);
	chan_leave(c);
}

/* Callers can be made to ask for ever: engines look after a container's health. */
static void check_peer(struct dink_chan *c)
{
	if (c->n_requests >= CHAN_UNANSWERED_MAX)
		chan_break(c, "the peer left %d requests without an answer", CHAN_UNANSWERED_MAX);
	else if (chan_buf_used(&c->out) > CHAN_UNREAD_MAX)
		chan_break(c, "the peer does not read what it is sent");
}

static uint32_t take_id(struct dink_chan *c)
{
	if (c->next_id == UINT32_MAX) {
		chan_break(c, "all ids are used up");
		return 0;
	}
	return c->next_id++;
}

void dink_chan_request(struct dink_chan *c, struct json_object *msg, dink_chan_reply_fn reply,
		       void *ctx)
{
	struct chan_request *r;
	uint32_t id;

	check_peer(c);
	id = c->dead ? 0 : take_id(c);
	if (!id) {
		json_object_put(msg);
		if (reply)
			reply(ctx, NULL);
		return;
	}
	if (!put_message(c, DINK_FRAME_REQUEST, id, msg)) {
		if (reply)
			reply(ctx, NULL);
		return;
	}
	r = xcalloc(1, sizeof(*r));
	r->id = id;
	r->reply = reply;
	r->ctx = ctx;
	r->next = c->requests;
	c->requests = r;
	c->n_requests++;
	chan_flush(c);
}

void dink_chan_respond(struct dink_chan *c, uint32_t id, struct json_object *msg)
{
	if (put_message(c, DINK_FRAME_RESPONSE, id, msg))
		chan_flush(c);
	else
		refuse_request(c, id, "the answer is too long", EMSGSIZE);
}

void dink_chan_event(struct dink_chan *c, struct json_object *msg)
{
	if (put_message(c, DINK_FRAME_EVENT, 0, msg))
		chan_flush(c);
}

/* --- silence, for a checkpoint --- */

void dink_chan_mute(struct dink_chan *c)
{
	c->muted = true;
}

void dink_chan_hold(struct dink_chan *c)
{
	c->muted = c->held = true;
	c->hold_left = chan_buf_used(&c->out);
}

void dink_chan_release(struct dink_chan *c)
{
	c->muted = c->held = false;
	c->credit_waits = c->stalled = true;
	if (!c->dead)
		chan_flush(c);
}

bool dink_chan_waiting(const struct dink_chan *c)
{
	return c->requests;
}

struct json_object *dink_chan_export(struct dink_chan *c)
{
	struct json_object *o = dink_json_new(), *streams = json_object_new_array();

	dink_json_set_int(o, "next_id", c->next_id);
	chan_streams_export(c, streams);
	dink_json_set(o, "streams", streams);
	return o;
}

int dink_chan_import(struct dink_chan *c, struct json_object *state, struct dink_err *err)
{
	int64_t next = dink_json_int_or(state, "next_id", 0);

	if (next < 1 || next >= UINT32_MAX || c->next_id != 1)
		return dink_err_set(err, DINK_E_USAGE, EINVAL, "channel state: next_id %lld",
				    (long long)next);
	c->next_id = (uint32_t)next;
	return chan_streams_import(c, dink_json_get(state, "streams"), err);
}
