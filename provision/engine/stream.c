/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay between a hijacked connection and our descriptors. Both directions run on their own:
 * a reader of our output that stalls does not hold up stdin. What is held in between is bounded;
 * the rest waits in the kernel's buffers, here and in the daemon.
 */
#include "provision/base/file.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"
#include "provision/engine/hijack.h"
#include "provision/engine/mux.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum {
	CHUNK = 64 << 10,
	PENDING_MAX = 256 << 10, /* of output that our reader has not taken yet */
	REFUSED_MAX = 16 << 10,	 /* no engine says so much */
	PIPE_SAFE = 4096,	 /* never blocks in a pipe or tty after POLLOUT */
};

/* Output that waits for one of our descriptors. */
struct pending {
	int fd;
	size_t max_write;
	struct dink_str bytes;
	size_t done;
};

struct relay {
	struct dink_stream *s;
	struct dink_mux mux;
	struct pending out[2];
	char in[CHUNK];
	size_t in_have, in_done;
	bool in_open, sock_open, sock_writable, over, any_output;
	uint64_t next_tick;
	struct dink_err *err;
};

/* Keeps back what may be the engine's own message; false: it is output like any other. */
static bool hold_back(struct relay *rl, int stream, const char *bytes, size_t n)
{
	struct dink_str *held = rl->s->refused;
	const char *const *known = rl->s->refusals;
	bool first = !rl->any_output;

	rl->any_output = true;
	if (stream != 1 || !known || (!first && held->len == 0))
		return false;
	/* an engine writes it at once: so nothing of a command that begins alike has to wait */
	while (first && *known &&
	       (n < strlen(*known) || memcmp(bytes, *known, strlen(*known)) != 0))
		known++;
	if (first && !*known)
		return false;
	dink_str_addn(held, bytes, n);
	if (held->len <= REFUSED_MAX)
		return true;
	dink_str_addn(&rl->out[0].bytes, held->s, held->len);
	dink_str_clear(held);
	return true;
}

static int take_output(void *ctx, int stream, const char *bytes, size_t n)
{
	struct relay *rl = ctx;
	struct dink_str *cap = rl->s->capture;
	struct pending *p = &rl->out[stream == 1 ? 0 : 1];

	if (hold_back(rl, stream, bytes, n))
		return 0;
	if (cap) {
		size_t room = rl->s->capture_max - cap->len;

		if (n > room)
			rl->over = true;
		dink_str_addn(cap, bytes, n < room ? n : room);
	} else if (p->fd >= 0) {
		dink_str_addn(&p->bytes, bytes, n);
	}
	return 0;
}

static int feed(struct relay *rl, const char *bytes, size_t n)
{
	int r = rl->s->raw ? take_output(rl, 1, bytes, n)
			   : dink_mux_feed(&rl->mux, bytes, n, take_output, rl);

	if (r < 0)
		return dink_err_set(rl->err, DINK_E_CHILD, EPROTO, "the engine's stream is broken");
	return 0;
}

static int flush_output(struct pending *p)
{
	size_t left = p->bytes.len - p->done;
	ssize_t n = write(p->fd, p->bytes.s + p->done, left < p->max_write ? left : p->max_write);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	p->done += (size_t)n;
	/* the memory is kept for the next chunk, and never grows by what was written already */
	if (p->done == p->bytes.len || p->done >= CHUNK) {
		p->bytes.len -= p->done;
		memmove(p->bytes.s, p->bytes.s + p->done, p->bytes.len);
		p->done = 0;
	}
	return 0;
}

static int read_sock(struct relay *rl)
{
	char buf[CHUNK];
	ssize_t n = recv(rl->s->sock, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0 && errno != ECONNRESET)
		return dink_err_set(rl->err, DINK_E_CHILD, errno, "read the engine's stream");
	if (n <= 0) {
		rl->sock_open = false;
		return 0;
	}
	return feed(rl, buf, (size_t)n);
}

static void end_input(struct relay *rl)
{
	rl->in_open = false;
	if (rl->in_done == rl->in_have && rl->sock_writable) {
		rl->sock_writable = false;
		(void)shutdown(rl->s->sock, SHUT_WR);
	}
}

static void read_input(struct relay *rl)
{
	ssize_t n = read(rl->s->in, rl->in, sizeof(rl->in));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	rl->in_done = 0;
	rl->in_have = n > 0 ? (size_t)n : 0;
	if (n <= 0) /* EIO is a terminal that hung up: its end as well */
		end_input(rl);
}

static void write_sock(struct relay *rl)
{
	ssize_t n = send(rl->s->sock, rl->in + rl->in_done, rl->in_have - rl->in_done,
			 MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) { /* the command does not read any more; its output may still come */
		rl->sock_writable = false;
		rl->in_open = false;
		rl->in_have = rl->in_done = 0;
		return;
	}
	rl->in_done += (size_t)n;
	if (rl->in_done == rl->in_have && !rl->in_open)
		end_input(rl);
}

static size_t pending_bytes(const struct relay *rl)
{
	return rl->out[0].bytes.len - rl->out[0].done + rl->out[1].bytes.len - rl->out[1].done;
}

/* How long poll() may wait: until the next tick or the deadline, whichever is there and is first. */
static int run_tick(struct relay *rl)
{
	uint64_t now = dink_now_ms(), next = rl->s->deadline_ms;

	if (rl->next_tick && now >= rl->next_tick)
		rl->next_tick = rl->s->on_tick(rl->s->ctx) ? now + (uint64_t)rl->s->tick_ms : 0;
	if (rl->next_tick && (!next || rl->next_tick < next))
		next = rl->next_tick;
	if (!next)
		return -1;
	return next > now ? (int)(next - now) : 0;
}

enum { P_SOCK, P_IN, P_OUT, P_ERR, P_WINCH, P_INTR, P_COUNT };

static void set_polls(const struct relay *rl, struct pollfd p[P_COUNT])
{
	const struct dink_stream *s = rl->s;
	short sock = 0;

	for (int i = 0; i < P_COUNT; i++)
		p[i] = (struct pollfd){.fd = -1, .events = POLLIN};
	if (rl->sock_open && pending_bytes(rl) < PENDING_MAX)
		sock |= POLLIN;
	if (rl->in_done < rl->in_have && rl->sock_writable)
		sock |= POLLOUT;
	if (sock)
		p[P_SOCK] = (struct pollfd){.fd = s->sock, .events = sock};
	if (rl->in_open && rl->in_done == rl->in_have)
		p[P_IN].fd = s->in;
	for (int i = 0; i < 2; i++)
		if (rl->out[i].bytes.len > rl->out[i].done)
			p[P_OUT + i] = (struct pollfd){.fd = rl->out[i].fd, .events = POLLOUT};
	p[P_WINCH].fd = s->winch_fd;
	p[P_INTR].fd = dink_interrupt_fd();
}

static int handle_interrupt(struct relay *rl)
{
	int sig = dink_interrupted(), r;

	if (!rl->s->on_interrupt)
		return dink_err_set(rl->err, DINK_E_INTR, EINTR, "interrupted");
	dink_interrupt_reset();
	r = rl->s->on_interrupt(rl->s->ctx, sig);
	return r;
}

static int handle_polls(struct relay *rl, const struct pollfd p[P_COUNT])
{
	int r;

	if (p[P_INTR].revents || dink_interrupted()) {
		r = handle_interrupt(rl);
		if (r < 0)
			return r;
	}
	if (p[P_WINCH].revents & POLLIN && rl->s->on_winch)
		rl->s->on_winch(rl->s->ctx);
	for (int i = 0; i < 2; i++) {
		if (p[P_OUT + i].revents) {
			r = flush_output(&rl->out[i]);
			if (r < 0)
				return r == -EPIPE ? r
						   : dink_err_set(rl->err, DINK_E_HOST, -r,
								  "write the command's output");
		}
	}
	if (p[P_IN].revents)
		read_input(rl);
	if (p[P_SOCK].revents & (POLLOUT | POLLERR))
		write_sock(rl);
	if (p[P_SOCK].revents & (POLLIN | POLLHUP | POLLERR) && p[P_SOCK].events & POLLIN)
		return read_sock(rl);
	return 0;
}

static void set_pending(struct pending *p, int fd)
{
	struct stat st;

	p->fd = fd;
	p->max_write = PIPE_SAFE;
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		p->max_write = CHUNK;
}

static int run_relay(struct relay *rl)
{
	struct dink_stream *s = rl->s;
	int r = 0;

	if (s->early && s->early->len > 0)
		r = feed(rl, s->early->s, s->early->len);
	if (!rl->in_open)
		end_input(rl);
	while (r == 0 && (rl->sock_open || pending_bytes(rl) > 0)) {
		struct pollfd p[P_COUNT];
		int tick = run_tick(rl);

		set_polls(rl, p);
		if (poll(p, P_COUNT, tick) < 0) {
			if (errno != EINTR)
				return dink_err_set(rl->err, DINK_E_BUG, errno, "poll");
			memset(p, 0, sizeof(p));
		}
		r = handle_polls(rl, p);
		if (r == 0 && s->deadline_ms && dink_now_ms() >= s->deadline_ms)
			return -ETIMEDOUT;
	}
	if (r == 0 && !s->raw && !dink_mux_is_whole(&rl->mux))
		return dink_err_set(rl->err, DINK_E_CHILD, ECONNRESET,
				    "the engine cut the stream in the middle");
	if (r == 0 && rl->over)
		return dink_err_set(rl->err, DINK_E_CHILD, EFBIG,
				    "the command wrote more than %zu bytes", s->capture_max);
	return r;
}

int dink_stream_run(struct dink_stream *s, struct dink_err *err)
{
	struct relay *rl = xcalloc(1, sizeof(*rl));
	int r;

	rl->s = s;
	rl->err = err;
	rl->sock_open = rl->sock_writable = true;
	rl->in_open = s->in >= 0;
	rl->next_tick = s->on_tick ? dink_now_ms() : 0;
	set_pending(&rl->out[0], s->out);
	set_pending(&rl->out[1], s->errfd);
	r = run_relay(rl);
	dink_str_clear(&rl->out[0].bytes);
	dink_str_clear(&rl->out[1].bytes);
	free(rl);
	return r;
}
