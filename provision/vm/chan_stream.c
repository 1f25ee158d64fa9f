/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/vm/chan_internal.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* --- the table --- */

static struct chan_stream *find_stream(struct dink_chan *c, uint32_t id)
{
	struct chan_stream *s = c->hash[id % CHAN_HASH];

	while (s && s->id != id)
		s = s->hash_next;
	return s;
}

static void link_last(struct chan_stream *s)
{
	struct dink_chan *c = s->c;

	s->prev = c->last;
	s->next = NULL;
	if (c->last)
		c->last->next = s;
	else
		c->first = s;
	c->last = s;
}

static void unlink_stream(struct chan_stream *s)
{
	struct dink_chan *c = s->c;

	if (s->prev)
		s->prev->next = s->next;
	else
		c->first = s->next;
	if (s->next)
		s->next->prev = s->prev;
	else
		c->last = s->prev;
}

static struct chan_stream *add_stream(struct dink_chan *c, uint32_t id)
{
	struct chan_stream *s = xcalloc(1, sizeof(*s));

	s->c = c;
	s->id = id;
	s->in_fd = s->out_fd = -1;
	s->recv_credit = s->send_credit = DINK_WINDOW;
	s->hash_next = c->hash[id % CHAN_HASH];
	c->hash[id % CHAN_HASH] = s;
	link_last(s);
	c->n_streams++;
	return s;
}

static void close_in(struct chan_stream *s)
{
	dink_source_remove(s->in_src);
	s->in_src = NULL;
	if (s->in_fd >= 0)
		close(s->in_fd);
	s->in_fd = -1;
	chan_buf_clear(&s->buf);
}

static void close_out(struct chan_stream *s)
{
	dink_source_remove(s->out_src);
	dink_source_remove(s->quiet);
	s->out_src = s->quiet = NULL;
	if (s->out_fd >= 0)
		close(s->out_fd);
	s->out_fd = -1;
	s->out_pumped = false;
}

static void free_stream(struct chan_stream *s)
{
	struct dink_chan *c = s->c;
	struct chan_stream **at = &c->hash[s->id % CHAN_HASH];

	while (*at != s)
		at = &(*at)->hash_next;
	*at = s->hash_next;
	unlink_stream(s);
	c->n_streams--;
	close_in(s);
	close_out(s);
	free(s);
}

/*
 * settle_stream() - report and free what has ended; s (and after its callback the channel, unless
 * entered) must not be touched afterwards
 */
static void settle_stream(struct chan_stream *s)
{
	struct dink_chan *c = s->c;
	void (*done)(void *ctx, uint32_t id) = NULL;
	void *ctx = s->ctx;
	uint32_t id = s->id;

	if (!s->tied || s->in_fd >= 0 || s->out_fd >= 0)
		return;
	done = TAKE_PTR(s->on_done);
	if (s->in_eof && s->out_eof)
		free_stream(s);
	if (done && !c->freed)
		done(ctx, id);
}

/* --- peer -> in_fd --- */

static void note_credit(struct chan_stream *s, size_t n)
{
	s->credit_due += (uint32_t)n;
	if (s->credit_due >= CHAN_CREDIT_STEP && !s->in_eof)
		s->c->credit_waits = true;
}

/* break_in() - nobody reads what the peer sends: tell it, drop the rest */
static void break_in(struct chan_stream *s)
{
	if (!s->in_broken && !s->in_eof)
		chan_put(s->c, DINK_FRAME_RESET, s->id, NULL, 0);
	s->in_broken = true;
	note_credit(s, chan_buf_used(&s->buf));
	close_in(s);
}

static void end_in(struct chan_stream *s)
{
	if (s->in_fd >= 0 && s->same)
		shutdown(s->in_fd, SHUT_WR);
	close_in(s);
}

/* write_in() - bytes taken; -1 when in_fd will never take more */
static ssize_t write_in(struct chan_stream *s, const uint8_t *data, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t k = write(s->in_fd, data + done, n - done);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (k <= 0)
			return -1;
		done += (size_t)k;
	}
	note_credit(s, done);
	return (ssize_t)done;
}

/* push_in() - what waits goes onward; ends the direction when that was all */
static void push_in(struct chan_stream *s)
{
	if (s->in_fd >= 0 && chan_buf_used(&s->buf)) {
		ssize_t k = write_in(s, s->buf.data + s->buf.head, chan_buf_used(&s->buf));

		if (k < 0) {
			break_in(s);
			return;
		}
		s->buf.head += (size_t)k;
	}
	if (s->in_fd >= 0 && s->in_src)
		dink_source_events(s->in_src, chan_buf_used(&s->buf) ? EPOLLOUT : 0);
	if (s->in_eof && !chan_buf_used(&s->buf))
		end_in(s);
}

static void on_in(void *ctx, int fd, uint32_t events)
{
	struct chan_stream *s = ctx;
	struct dink_chan *c = s->c;

	(void)fd;
	chan_enter(c);
	push_in(s);
	/* its reader is gone: the sender should hear of it before it sends more */
	if (s->in_fd >= 0 && (events & (EPOLLERR | EPOLLHUP)))
		break_in(s);
	settle_stream(s);
	if (!c->freed)
		chan_flush(c);
	chan_leave(c);
}

static void take_data(struct chan_stream *s, const uint8_t *data, uint32_t n)
{
	ssize_t k = 0;

	if (s->in_eof || n > s->recv_credit) {
		chan_break(s->c, "the peer sent %s",
			   s->in_eof ? "data after its end" : "more data than it had credit for");
		return;
	}
	s->recv_credit -= n;
	if (s->in_broken || (s->tied && s->in_fd < 0)) {
		note_credit(s, n);
		return;
	}
	if (s->in_fd >= 0 && !chan_buf_used(&s->buf)) {
		k = write_in(s, data, n);
		if (k < 0) {
			note_credit(s, n);
			break_in(s);
			return;
		}
	}
	if ((uint32_t)k == n)
		return;
	memcpy(chan_buf_room(&s->buf, n - (size_t)k), data + k, n - (size_t)k);
	s->buf.len += n - (size_t)k;
	if (s->in_src)
		dink_source_events(s->in_src, EPOLLOUT);
}

/* --- out_fd -> peer --- */

static void end_out(struct chan_stream *s)
{
	if (!s->out_eof)
		chan_put(s->c, DINK_FRAME_EOF, s->id, NULL, 0);
	s->out_eof = true;
	close_out(s);
}

static void read_out(struct chan_stream *s);
static void turn_pump(void *ctx);

static void on_out(void *ctx, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	read_out(ctx);
}

static bool may_read(const struct chan_stream *s)
{
	return s->out_fd >= 0 && s->send_credit && !chan_is_full(s->c);
}

/*
 * arm_out() - watch out_fd exactly while it may be read: a source that is only muted still reports
 * a hang-up, again and again
 */
static void arm_out(struct chan_stream *s)
{
	struct dink_chan *c = s->c;

	if (!may_read(s)) {
		if (s->out_fd >= 0 && s->send_credit)
			c->stalled = true;
		dink_source_remove(s->out_src);
		s->out_src = NULL;
		return;
	}
	if (!s->out_src && !s->out_pumped) {
		s->out_src = dink_loop_add(c->loop, s->out_fd, EPOLLIN, on_out, s);
		s->out_pumped = !s->out_src;
	}
	if (s->out_pumped && !c->pump)
		c->pump = dink_loop_after(c->loop, 0, turn_pump, c);
}

static void read_out(struct chan_stream *s)
{
	struct dink_chan *c = s->c;

	chan_enter(c);
	if (may_read(s)) {
		size_t max = s->send_credit < CHAN_READ_MAX ? s->send_credit : CHAN_READ_MAX;
		uint8_t *to = chan_buf_room(&c->out, DINK_FRAME_HEADER + max);
		ssize_t n = read(s->out_fd, to + DINK_FRAME_HEADER, max);

		if (n > 0) {
			dink_frame_put(to, DINK_FRAME_DATA, s->id, (uint32_t)n);
			c->out.len += DINK_FRAME_HEADER + (size_t)n;
			s->send_credit -= (uint32_t)n;
			s->quiet_seen = true;
			/* the others get their turn first when room is scarce */
			unlink_stream(s);
			link_last(s);
		} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			/* EIO is how a pty says that nobody has it open any more */
			end_out(s);
		}
	}
	arm_out(s);
	settle_stream(s);
	if (!c->freed)
		chan_flush(c);
	chan_leave(c);
}

/* turn_pump() - regular files and /dev/null are always ready: one frame per turn of the loop */
static void turn_pump(void *ctx)
{
	struct dink_chan *c = ctx;
	struct chan_stream *s;

	c->pump = NULL;
	for (s = c->first; s; s = s->next) {
		if (s->out_pumped && may_read(s))
			break;
	}
	if (!s)
		return;
	chan_enter(c);
	read_out(s);
	if (!c->freed && !c->dead && !c->pump)
		c->pump = dink_loop_after(c->loop, 0, turn_pump, c);
	chan_leave(c);
}

/* --- frames --- */

void chan_streams_take(struct dink_chan *c, const struct dink_frame *f, const uint8_t *payload)
{
	struct chan_stream *s = find_stream(c, f->id);
	uint32_t credit;

	if (!s) {
		/*
		 * The last credit for a stream that ended is honest, and so is a second EOF: an
		 * agent whose request fails cannot know what it had ended before. Data after the
		 * end is not.
		 */
		if (c->host && (f->id >= c->next_id || f->type == DINK_FRAME_DATA))
			chan_break(c, "the guest sent a frame for a stream that is not there");
		return;
	}
	switch (f->type) {
	case DINK_FRAME_DATA:
		take_data(s, payload, f->len);
		break;
	case DINK_FRAME_EOF:
		if (s->in_eof) {
			chan_break(c, "the peer ended a stream twice");
			return;
		}
		s->in_eof = true;
		if (s->tied)
			push_in(s);
		break;
	case DINK_FRAME_CREDIT:
		credit = dink_get_u32(payload);
		if (!credit || credit > DINK_WINDOW - s->send_credit) {
			chan_break(c, "the peer gave a wrong credit of %u bytes", credit);
			return;
		}
		s->send_credit += credit;
		arm_out(s);
		break;
	default: /* DINK_FRAME_RESET */
		if (s->out_broken) {
			chan_break(c, "the peer refused a stream twice");
			return;
		}
		s->out_broken = true;
		if (s->tied)
			end_out(s);
		break;
	}
	settle_stream(s);
}

void chan_streams_resume(struct dink_chan *c)
{
	struct chan_stream *s;
	bool credit = c->credit_waits;

	c->credit_waits = c->stalled = false;
	for (s = c->first; s; s = s->next) {
		if (credit && s->credit_due >= CHAN_CREDIT_STEP && !s->in_eof) {
			uint8_t word[4];

			dink_put_u32(word, s->credit_due);
			chan_put(c, DINK_FRAME_CREDIT, s->id, word, sizeof(word));
			s->recv_credit += s->credit_due;
			s->credit_due = 0;
		}
		arm_out(s);
	}
}

/* rescue_in() - the channel is dead, but what was received may still reach its reader */
static void rescue_in(struct chan_stream *s)
{
	while (s->in_fd >= 0 && chan_buf_used(&s->buf)) {
		struct pollfd p = {.fd = s->in_fd, .events = POLLOUT};
		ssize_t k;

		if (poll(&p, 1, 200) <= 0)
			return;
		k = write_in(s, s->buf.data + s->buf.head, chan_buf_used(&s->buf));
		if (k < 0)
			return;
		s->buf.head += (size_t)k;
	}
}

void chan_streams_stop(struct dink_chan *c)
{
	while (!c->freed && c->first) {
		struct chan_stream *s = c->first;
		void (*done)(void *ctx, uint32_t id) = s->on_done;
		void *ctx = s->ctx;
		uint32_t id = s->id;

		rescue_in(s);
		free_stream(s);
		if (done)
			done(ctx, id);
	}
}

void chan_streams_free(struct dink_chan *c)
{
	while (c->first)
		free_stream(c->first);
}

/* --- the interface --- */

uint32_t dink_chan_new_stream(struct dink_chan *c)
{
	if (c->dead || c->n_streams >= DINK_STREAMS_MAX || c->next_id == UINT32_MAX)
		return 0;
	return add_stream(c, c->next_id++)->id;
}

/* own_fds() - non-blocking; one socket for both directions becomes two descriptors */
static void own_fds(struct chan_stream *s, int in_fd, int out_fd)
{
	if (in_fd >= 0 && in_fd == out_fd) {
		s->same = true;
		out_fd = fcntl(in_fd, F_DUPFD_CLOEXEC, 0);
		if (out_fd < 0)
			s->out_broken = true;
	}
	if (in_fd >= 0)
		fcntl(in_fd, F_SETFL, fcntl(in_fd, F_GETFL) | O_NONBLOCK);
	if (out_fd >= 0)
		fcntl(out_fd, F_SETFL, fcntl(out_fd, F_GETFL) | O_NONBLOCK);
	s->in_fd = in_fd;
	s->out_fd = out_fd;
}

void dink_chan_stream(struct dink_chan *c, uint32_t id, int in_fd, int out_fd,
		      void (*on_done)(void *ctx, uint32_t id), void *ctx)
{
	struct chan_stream *s = find_stream(c, id);

	if (!s && !c->host && !c->dead && id && c->n_streams < DINK_STREAMS_MAX)
		s = add_stream(c, id);
	if (!s || s->tied) {
		if (in_fd >= 0)
			close(in_fd);
		if (out_fd >= 0 && out_fd != in_fd)
			close(out_fd);
		if (on_done)
			on_done(ctx, id);
		return;
	}
	s->tied = true;
	s->on_done = on_done;
	s->ctx = ctx;
	own_fds(s, in_fd, out_fd);
	if (s->in_fd >= 0)
		s->in_src = dink_loop_add(c->loop, s->in_fd, 0, on_in, s);
	else
		note_credit(s, chan_buf_used(&s->buf));
	if (s->in_fd < 0)
		chan_buf_clear(&s->buf);
	push_in(s);
	if (s->out_fd < 0 || s->out_broken || s->out_eof)
		end_out(s);
	arm_out(s);
	chan_enter(c);
	settle_stream(s);
	if (!c->freed)
		chan_flush(c);
	chan_leave(c);
}

void dink_chan_stream_expect(struct dink_chan *c, uint32_t id)
{
	if (!c->host && !c->dead && id && c->n_streams < DINK_STREAMS_MAX && !find_stream(c, id))
		add_stream(c, id);
}

void dink_chan_stream_reset(struct dink_chan *c, uint32_t id)
{
	struct chan_stream *s = find_stream(c, id);

	if (!s)
		return;
	s->tied = true;
	s->on_done = NULL;
	break_in(s);
	end_out(s);
	settle_stream(s);
	chan_flush(c);
}

static void on_quiet(void *ctx);

static void wait_quiet(struct chan_stream *s)
{
	s->quiet_seen = false;
	s->quiet = dink_loop_after(s->c->loop, s->quiet_ms, on_quiet, s);
}

static void on_quiet(void *ctx)
{
	struct chan_stream *s = ctx;
	struct dink_chan *c = s->c;
	struct pollfd p = {.fd = s->out_fd, .events = POLLIN};

	s->quiet = NULL;
	/* silence counts only while we were able to listen */
	if (s->quiet_seen || !may_read(s) || (poll(&p, 1, 0) > 0 && (p.revents & POLLIN))) {
		wait_quiet(s);
		return;
	}
	chan_enter(c);
	end_out(s);
	settle_stream(s);
	if (!c->freed)
		chan_flush(c);
	chan_leave(c);
}

void dink_chan_stream_drain(struct dink_chan *c, uint32_t id, uint32_t quiet_ms)
{
	struct chan_stream *s = find_stream(c, id);

	if (!s || !s->tied)
		return;
	chan_enter(c);
	if (s->in_fd >= 0)
		break_in(s);
	if (s->out_fd >= 0 && !s->quiet) {
		s->quiet_ms = quiet_ms;
		wait_quiet(s);
	}
	settle_stream(s);
	if (!c->freed)
		chan_flush(c);
	chan_leave(c);
}

bool dink_chan_idle(struct dink_chan *c)
{
	struct chan_stream *s;

	if (chan_buf_used(&c->out))
		return false;
	for (s = c->first; s; s = s->next) {
		struct pollfd p = {.fd = s->out_fd, .events = POLLIN};

		if (s->out_fd >= 0 && poll(&p, 1, 0) > 0 && (p.revents & POLLIN))
			return false;
	}
	return true;
}

/* --- checkpoint and restore: the host side's view of each stream --- */

void chan_streams_export(struct dink_chan *c, struct json_object *ret)
{
	for (struct chan_stream *s = c->first; s; s = s->next) {
		struct json_object *o = dink_json_new();

		dink_json_set_int(o, "id", s->id);
		dink_json_set_int(o, "recv_credit", s->recv_credit);
		dink_json_set_int(o, "send_credit", s->send_credit);
		dink_json_set_bool(o, "in_eof", s->in_eof);
		dink_json_set_bool(o, "in_broken", s->in_broken);
		dink_json_set_bool(o, "out_eof", s->out_eof);
		dink_json_set_bool(o, "out_broken", s->out_broken);
		json_object_array_add(ret, o);
	}
}

static int import_stream(struct dink_chan *c, struct json_object *o, struct dink_err *err)
{
	int64_t id = dink_json_int_or(o, "id", 0);
	int64_t in = dink_json_int_or(o, "recv_credit", -1);
	int64_t out = dink_json_int_or(o, "send_credit", -1);

	if (id < 1 || id >= c->next_id || in < 0 || in > DINK_WINDOW || out < 0 ||
	    out > DINK_WINDOW || find_stream(c, (uint32_t)id))
		return dink_err_set(err, DINK_E_USAGE, EINVAL,
				    "channel state: stream %lld with credit %lld and %lld",
				    (long long)id, (long long)in, (long long)out);
	struct chan_stream *s = add_stream(c, (uint32_t)id);
	s->recv_credit = (uint32_t)in;
	s->send_credit = (uint32_t)out;
	s->in_eof = dink_json_bool_or(o, "in_eof", false);
	s->in_broken = dink_json_bool_or(o, "in_broken", false);
	s->out_eof = dink_json_bool_or(o, "out_eof", false);
	s->out_broken = dink_json_bool_or(o, "out_broken", false);
	/* what the other monitor had not written onward went to its own reader */
	s->credit_due = DINK_WINDOW - s->recv_credit;
	return 0;
}

int chan_streams_import(struct dink_chan *c, struct json_object *list, struct dink_err *err)
{
	size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

	if (n > DINK_STREAMS_MAX)
		return dink_err_set(err, DINK_E_USAGE, E2BIG, "channel state: %zu streams", n);
	for (size_t i = 0; i < n; i++) {
		int r = import_stream(c, json_object_array_get_idx(list, i), err);

		if (r < 0)
			return r;
	}
	return 0;
}

void dink_chan_drop_untied(struct dink_chan *c)
{
	struct chan_stream *s, *next;

	for (s = c->first; s; s = next) {
		next = s->next;
		if (!s->tied)
			dink_chan_stream_reset(c, s->id);
	}
}
