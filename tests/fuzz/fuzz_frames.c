/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hostile guest may write: the input goes to the host's end of a channel that has a pending
 * request, two tied streams, one untied and one that was reset. The first byte says in how small
 * pieces. Must hold: no memory error, pending replies exactly once, nothing after on_closed.
 */
#include "provision/vm/chan.h"
#include "provision/vm/proto.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
	struct dink_chan *c;
	int replies;
	int closed;
};

static void on_event(void *ctx, struct json_object *msg)
{
	struct world *w = ctx;

	if (w->closed)
		abort();
	/* what the monitor does with events: read members by path */
	if (STREQ(dink_json_str_or(msg, "event", ""), "exit"))
		(void)dink_json_int_or(msg, "status", -1);
}

static void on_closed(void *ctx, const char *why)
{
	struct world *w = ctx;

	if (w->closed++ || !why || !why[0])
		abort();
}

static void on_reply(void *ctx, struct json_object *msg)
{
	struct world *w = ctx;

	w->replies++;
	if (msg)
		(void)dink_json_bool_or(msg, "ok", false);
}

static void open_streams(struct dink_chan *c, int null)
{
	uint32_t reset;

	/* ids 2 to 5: id 1 is the request */
	dink_chan_stream(c, dink_chan_new_stream(c), dup(null), -1, NULL, NULL);
	dink_chan_stream(c, dink_chan_new_stream(c), -1, open("/dev/zero", O_RDONLY | O_CLOEXEC),
			 NULL, NULL);
	(void)dink_chan_new_stream(c);
	reset = dink_chan_new_stream(c);
	dink_chan_stream_reset(c, reset);
}

static void drop_bytes(int fd)
{
	static uint8_t sink[1 << 20];

	while (read(fd, sink, sizeof(sink)) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct dink_chan_ops ops = {.on_event = on_event, .on_closed = on_closed};
	struct world w = {};
	struct dink_loop *loop;
	int fds[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	size_t step, at = 1;

	if (size < 2 || size > (1 << 20) || null < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0) {
		if (null >= 0)
			close(null);
		return 0;
	}
	signal(SIGPIPE, SIG_IGN);
	step = data[0] ? data[0] : size;
	loop = dink_loop_new();
	w.c = dink_chan_new(loop, fds[0], true, &ops, &w);
	dink_chan_request(w.c, dink_json_new(), on_reply, &w);
	open_streams(w.c, null);
	while (at < size && !w.closed) {
		size_t n = size - at < step ? size - at : step;
		ssize_t k = write(fds[1], data + at, n);

		at += k > 0 ? (size_t)k : 0;
		dink_loop_once(loop, 0);
		drop_bytes(fds[1]);
	}
	for (int i = 0; i < 4; i++)
		dink_loop_once(loop, 0);
	dink_chan_free(w.c);
	if (w.replies != 1)
		abort();
	dink_loop_free(loop);
	close(fds[1]);
	close(null);
	return 0;
}
