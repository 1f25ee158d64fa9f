/* SPDX-License-Identifier: Apache-2.0 */
/* The guest channel: two ends over a socketpair, and a raw end that misbehaves. */
#include "provision/vm/chan.h"
#include "provision/vm/frame.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>

#include <cmocka.h>

struct ends {
	struct dink_loop *loop;
	struct dink_chan *host;
	struct dink_chan *guest;
	int raw; /* instead of the guest */
	char closed[200];
	char event[64];
	char reply[64];
	int replies;
	int done;
	uint32_t asked;
};

static void on_request(void *ctx, uint32_t id, struct json_object *msg)
{
	struct ends *e = ctx;
	struct json_object *o = dink_json_new();

	e->asked++;
	dink_json_set_bool(o, "ok", true);
	dink_json_set_str(o, "echo", dink_json_str_or(msg, "op", "?"));
	dink_chan_respond(e->guest, id, o);
}

static void on_event(void *ctx, struct json_object *msg)
{
	struct ends *e = ctx;

	snprintf(e->event, sizeof(e->event), "%s", dink_json_str_or(msg, "event", "?"));
}

static void on_closed(void *ctx, const char *why)
{
	struct ends *e = ctx;

	snprintf(e->closed, sizeof(e->closed), "%s", why);
}

static void on_guest_closed(void *ctx, const char *why)
{
	(void)ctx;
	(void)why;
}

static const struct dink_chan_ops host_ops = {.on_event = on_event, .on_closed = on_closed};
static const struct dink_chan_ops guest_ops = {.on_request = on_request,
					       .on_closed = on_guest_closed};

static void on_reply(void *ctx, struct json_object *msg)
{
	struct ends *e = ctx;

	e->replies++;
	snprintf(e->reply, sizeof(e->reply), "%s",
		 msg ? dink_json_str_or(msg, "echo", "?") : "none");
}

static void on_done(void *ctx, uint32_t id)
{
	struct ends *e = ctx;

	(void)id;
	e->done++;
}

static void make_pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
			 0);
}

static void open_ends(struct ends *e, bool raw)
{
	int fds[2];

	*e = (struct ends){.raw = -1};
	signal(SIGPIPE, SIG_IGN);
	make_pair(fds);
	e->loop = dink_loop_new();
	e->host = dink_chan_new(e->loop, fds[0], true, &host_ops, e);
	if (raw)
		e->raw = fds[1];
	else
		e->guest = dink_chan_new(e->loop, fds[1], false, &guest_ops, e);
}

static void close_ends(struct ends *e)
{
	dink_chan_free(e->host);
	dink_chan_free(e->guest);
	if (e->raw >= 0)
		close(e->raw);
	dink_loop_free(e->loop);
}

/* turn() - run the loop until nothing happens any more */
static void turn(struct ends *e)
{
	int quiet = 0;

	while (quiet < 3)
		quiet = dink_loop_once(e->loop, 5) > 0 ? 0 : quiet + 1;
}

static struct json_object *make_op(const char *op)
{
	struct json_object *o = dink_json_new();

	dink_json_set_str(o, "op", op);
	return o;
}

static void test_request_and_event(void **state)
{
	struct ends e;
	struct json_object *o = dink_json_new();

	(void)state;
	open_ends(&e, false);
	dink_chan_request(e.host, make_op("start"), on_reply, &e);
	dink_json_set_str(o, "event", "hello");
	dink_chan_event(e.guest, o);
	turn(&e);
	assert_string_equal(e.reply, "start");
	assert_string_equal(e.event, "hello");
	assert_int_equal(e.replies, 1);
	close_ends(&e);
}

static void test_great_message(void **state)
{
	struct ends e;
	struct json_object *o = make_op("create");
	char *text = xmalloc((3 << 20) + 1);

	(void)state;
	open_ends(&e, false);
	memset(text, 'x', 3 << 20);
	text[3 << 20] = 0;
	dink_json_set_str(o, "text", text);
	dink_chan_request(e.host, o, on_reply, &e);
	turn(&e);
	assert_string_equal(e.reply, "create");
	/* one that is too long is answered at once and not sent */
	o = make_op("create");
	dink_json_set_str(o, "a", text);
	dink_json_set_str(o, "b", text);
	dink_chan_request(e.host, o, on_reply, &e);
	assert_string_equal(e.reply, "none");
	turn(&e);
	assert_int_equal(e.asked, 1);
	assert_string_equal(e.closed, "");
	free(text);
	close_ends(&e);
}

static void test_pending_fail_with_channel(void **state)
{
	struct ends e;

	(void)state;
	open_ends(&e, true);
	dink_chan_request(e.host, make_op("start"), on_reply, &e);
	assert_int_equal(e.replies, 0);
	close(e.raw);
	e.raw = -1;
	turn(&e);
	assert_string_equal(e.reply, "none");
	assert_int_equal(e.replies, 1);
	assert_true(e.closed[0] != 0);
	close_ends(&e);
}

/* a stream both ways through sockets: every byte, in order, then half-close each way */
static void test_stream_both_ways(void **state)
{
	struct ends e;
	int h[2], g[2];
	uint32_t id;
	size_t sent = 0, got = 0;
	const size_t total = 3 << 20;
	static uint8_t out[8192], in[8192];

	(void)state;
	open_ends(&e, false);
	make_pair(h);
	make_pair(g);
	id = dink_chan_new_stream(e.host);
	dink_chan_stream(e.host, id, h[1], h[1], on_done, &e);
	dink_chan_stream(e.guest, id, g[1], g[1], on_done, &e);
	while (got < total) {
		ssize_t n;

		for (size_t i = 0; i < sizeof(out); i++)
			out[i] = (uint8_t)((sent + i) * 7 >> 3);
		n = sent < total ? send(h[0], out, sizeof(out), MSG_NOSIGNAL) : 0;
		sent += n > 0 ? (size_t)n : 0;
		dink_loop_once(e.loop, 0);
		while ((n = read(g[0], in, sizeof(in))) > 0) {
			for (ssize_t i = 0; i < n; i++)
				assert_int_equal(in[i], (uint8_t)((got + (size_t)i) * 7 >> 3));
			got += (size_t)n;
		}
		assert_string_equal(e.closed, "");
	}
	assert_int_equal(write(g[0], "back", 4), 4);
	shutdown(h[0], SHUT_WR);
	turn(&e);
	assert_int_equal(read(g[0], in, sizeof(in)), 0);
	assert_int_equal(read(h[0], in, sizeof(in)), 4);
	assert_int_equal(e.done, 0);
	shutdown(g[0], SHUT_WR);
	turn(&e);
	assert_int_equal(read(h[0], in, sizeof(in)), 0);
	assert_int_equal(e.done, 2);
	close(h[0]);
	close(g[0]);
	close_ends(&e);
}

/* a reader that does not read: the sender stops at the window and goes on later */
static void test_window_holds(void **state)
{
	struct ends e;
	int h[2], g[2];
	uint32_t id;
	size_t sent = 0, got = 0;
	static uint8_t block[65536];
	ssize_t n;

	(void)state;
	open_ends(&e, false);
	make_pair(h);
	assert_int_equal(pipe2(g, O_CLOEXEC | O_NONBLOCK), 0);
	id = dink_chan_new_stream(e.host);
	dink_chan_stream(e.host, id, -1, h[1], NULL, NULL);
	dink_chan_stream(e.guest, id, g[1], -1, on_done, &e);
	for (int i = 0; i < 200; i++) {
		n = send(h[0], block, sizeof(block), MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
		dink_loop_once(e.loop, 0);
	}
	turn(&e);
	/* window + socket buffer + pipe, not 200 * 64 KiB */
	assert_in_range(sent, DINK_WINDOW, DINK_WINDOW + (1 << 20));
	/* other streams and messages are not held up by it */
	dink_chan_request(e.host, make_op("ps"), on_reply, &e);
	turn(&e);
	assert_string_equal(e.reply, "ps");
	close(h[0]);
	while (got < sent) {
		n = read(g[0], block, sizeof(block));
		got += n > 0 ? (size_t)n : 0;
		dink_loop_once(e.loop, 1);
	}
	turn(&e);
	assert_int_equal(read(g[0], block, 1), 0);
	assert_int_equal(e.done, 1);
	close(g[0]);
	close_ends(&e);
}

/* the reader goes away: the sender's descriptor is closed, though it never sent a byte */
static void test_reader_gone(void **state)
{
	struct ends e;
	int h[2], g[2];
	uint32_t id;
	struct pollfd p;

	(void)state;
	open_ends(&e, false);
	assert_int_equal(pipe2(h, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pipe2(g, O_CLOEXEC | O_NONBLOCK), 0);
	id = dink_chan_new_stream(e.host);
	dink_chan_stream(e.host, id, -1, h[0], on_done, &e);
	dink_chan_stream(e.guest, id, g[1], -1, on_done, &e);
	turn(&e);
	assert_int_equal(e.done, 0);
	close(g[0]);
	turn(&e);
	assert_int_equal(e.done, 2);
	p = (struct pollfd){.fd = h[1], .events = POLLOUT};
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_true(p.revents & POLLERR);
	close(h[1]);
	close_ends(&e);
}

/* data, EOF and all may arrive before the host ties the stream */
static void test_late_tie(void **state)
{
	struct ends e;
	int g[2], h[2];
	uint32_t id;
	char text[16] = "";

	(void)state;
	open_ends(&e, false);
	make_pair(g);
	id = dink_chan_new_stream(e.host);
	dink_chan_stream(e.guest, id, -1, g[1], on_done, &e);
	assert_int_equal(write(g[0], "early", 5), 5);
	close(g[0]);
	turn(&e);
	assert_int_equal(e.done, 1);
	assert_int_equal(pipe2(h, O_CLOEXEC | O_NONBLOCK), 0);
	dink_chan_stream(e.host, id, h[1], -1, on_done, &e);
	assert_int_equal(e.done, 2);
	assert_int_equal(read(h[0], text, sizeof(text)), 5);
	assert_string_equal(text, "early");
	assert_int_equal(read(h[0], text, sizeof(text)), 0);
	close(h[0]);
	close_ends(&e);
}

static void test_regular_file(void **state)
{
	struct ends e;
	char path[] = "/tmp/dink-test-chan-XXXXXX";
	int file = mkstemp(path), g[2], null;
	static uint8_t block[65536];
	size_t got = 0;
	uint32_t id, id2;

	(void)state;
	open_ends(&e, false);
	for (int i = 0; i < 40; i++)
		assert_int_equal(write(file, block, sizeof(block)), (ssize_t)sizeof(block));
	lseek(file, 0, SEEK_SET);
	unlink(path);
	assert_int_equal(pipe2(g, O_CLOEXEC | O_NONBLOCK), 0);
	id = dink_chan_new_stream(e.host);
	dink_chan_stream(e.host, id, -1, file, NULL, NULL);
	dink_chan_stream(e.guest, id, g[1], -1, on_done, &e);
	while (!e.done) {
		ssize_t n = read(g[0], block, sizeof(block));

		got += n > 0 ? (size_t)n : 0;
		dink_loop_once(e.loop, 1);
	}
	for (ssize_t n; (n = read(g[0], block, sizeof(block))) > 0;)
		got += (size_t)n;
	assert_int_equal(got, 40 * sizeof(block));
	/* /dev/null as stdin */
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	id2 = dink_chan_new_stream(e.host);
	dink_chan_stream(e.host, id2, -1, null, on_done, &e);
	dink_chan_stream(e.guest, id2, -1, -1, NULL, NULL);
	turn(&e);
	assert_int_equal(e.done, 2);
	close(g[0]);
	close_ends(&e);
}

/* somebody keeps the pipe open after the program ended: silence ends the stream, not before */
static void test_drain(void **state)
{
	struct ends e;
	int g[2], h[2];
	uint32_t id;
	char text[16] = "";

	(void)state;
	open_ends(&e, false);
	assert_int_equal(pipe2(g, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pipe2(h, O_CLOEXEC | O_NONBLOCK), 0);
	id = dink_chan_new_stream(e.host);
	dink_chan_stream(e.host, id, h[1], -1, NULL, NULL);
	dink_chan_stream(e.guest, id, -1, g[0], on_done, &e);
	assert_int_equal(write(g[1], "last", 4), 4);
	dink_chan_stream_drain(e.guest, id, 30);
	for (int i = 0; i < 200 && !e.done; i++)
		dink_loop_once(e.loop, 5);
	turn(&e);
	assert_int_equal(e.done, 1);
	assert_int_equal(read(h[0], text, sizeof(text)), 4);
	assert_string_equal(text, "last");
	assert_int_equal(read(h[0], text, sizeof(text)), 0);
	close(g[1]);
	close(h[0]);
	close_ends(&e);
}

static void test_refused_stream(void **state)
{
	struct ends e;
	int h[2];
	uint32_t id;

	(void)state;
	open_ends(&e, false);
	make_pair(h);
	id = dink_chan_new_stream(e.host);
	dink_chan_stream(e.host, id, h[1], h[1], on_done, &e);
	assert_int_equal(write(h[0], "lost", 4), 4);
	dink_chan_stream(e.guest, id, -1, -1, NULL, NULL);
	turn(&e);
	dink_chan_stream_reset(e.host, id);
	turn(&e);
	assert_int_equal(e.done, 0);
	assert_string_equal(e.closed, "");
	/* all of it is forgotten: many more fit than may be open at once */
	for (int i = 0; i < DINK_STREAMS_MAX + 10; i++) {
		id = dink_chan_new_stream(e.host);
		assert_int_not_equal(id, 0);
		dink_chan_stream_reset(e.host, id);
		dink_chan_stream(e.guest, id, -1, -1, NULL, NULL);
		if (i % 64 == 0)
			turn(&e);
	}
	turn(&e);
	assert_string_equal(e.closed, "");
	close(h[0]);
	close_ends(&e);
}

/* --- a guest that breaks the rules --- */

static void send_frame(int fd, uint8_t type, uint32_t id, const void *payload, uint32_t len)
{
	uint8_t h[DINK_FRAME_HEADER];

	dink_frame_put(h, type, id, len);
	assert_int_equal(write(fd, h, sizeof(h)), (ssize_t)sizeof(h));
	if (len && payload)
		assert_int_equal(write(fd, payload, len), (ssize_t)len);
}

static const struct {
	const char *name;
	uint8_t type;
	uint32_t id, len;
	const char *payload;
	const char *says;
} bad_frames[] = {
	{"request", DINK_FRAME_REQUEST, 1, 2, "{}", "a request from the guest"},
	{"event with id", DINK_FRAME_EVENT, 1, 2, "{}", "an event with an id"},
	{"event no json", DINK_FRAME_EVENT, 0, 2, "{]", "no JSON object"},
	{"event array", DINK_FRAME_EVENT, 0, 2, "[]", "no JSON object"},
	{"event empty", DINK_FRAME_EVENT, 0, 0, "", "no JSON object"},
	{"event too long", DINK_FRAME_EVENT, 0, DINK_MSG_MAX + 1, NULL, "too long"},
	{"response nobody asked", DINK_FRAME_RESPONSE, 9, 2, "{}", "was not made"},
	{"response too long", DINK_FRAME_RESPONSE, 9, 0xffffffff, NULL, "too long"},
	{"data zero id", DINK_FRAME_DATA, 0, 1, "x", "without an id"},
	{"data empty", DINK_FRAME_DATA, 1, 0, "", "without data"},
	{"data too long", DINK_FRAME_DATA, 1, DINK_DATA_MAX + 1, NULL, "too long"},
	{"data unknown", DINK_FRAME_DATA, 77, 1, "x", "not there"},
	{"eof unknown", DINK_FRAME_EOF, 77, 0, "", "not there"},
	{"credit unknown", DINK_FRAME_CREDIT, 77, 4, "\1\0\0\0", "not there"},
	{"credit overflow", DINK_FRAME_CREDIT, 1, 4, "\1\0\0\0", "wrong credit"},
	{"credit zero", DINK_FRAME_CREDIT, 1, 4, "\0\0\0\0", "wrong credit"},
	{"credit short", DINK_FRAME_CREDIT, 1, 3, "\1\0\0", "wrong size"},
	{"eof long", DINK_FRAME_EOF, 1, 1, "x", "with a payload"},
	{"type zero", 0, 1, 0, "", "unknown type"},
	{"type unknown", 8, 1, 0, "", "unknown type"},
};

static void test_hostile_frames(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_frames); i++) {
		struct ends e;

		open_ends(&e, true);
		assert_int_equal(dink_chan_new_stream(e.host), 1);
		send_frame(e.raw, bad_frames[i].type, bad_frames[i].id, bad_frames[i].payload,
			   bad_frames[i].len);
		turn(&e);
		if (!strstr(e.closed, bad_frames[i].says))
			fail_msg("%s: '%s'", bad_frames[i].name, e.closed);
		close_ends(&e);
	}
}

static void test_hostile_padding(void **state)
{
	struct ends e;
	uint8_t h[DINK_FRAME_HEADER];

	(void)state;
	open_ends(&e, true);
	dink_frame_put(h, DINK_FRAME_EVENT, 0, 2);
	h[11] = 1;
	assert_int_equal(write(e.raw, h, sizeof(h)), (ssize_t)sizeof(h));
	turn(&e);
	assert_non_null(strstr(e.closed, "padding"));
	close_ends(&e);
}

static void test_hostile_flow(void **state)
{
	static uint8_t block[DINK_DATA_MAX];
	struct ends e;
	int h[2];

	(void)state;
	/* past the credit, on a stream that nobody reads */
	open_ends(&e, true);
	assert_int_equal(dink_chan_new_stream(e.host), 1);
	for (int i = 0; i < DINK_WINDOW / DINK_DATA_MAX; i++) {
		fcntl(e.raw, F_SETFL, 0);
		send_frame(e.raw, DINK_FRAME_DATA, 1, block, sizeof(block));
		turn(&e);
	}
	assert_string_equal(e.closed, "");
	send_frame(e.raw, DINK_FRAME_DATA, 1, block, 1);
	turn(&e);
	assert_non_null(strstr(e.closed, "credit"));
	close_ends(&e);
	/* data after the end, and the end twice */
	for (int twice = 0; twice < 2; twice++) {
		open_ends(&e, true);
		make_pair(h);
		dink_chan_stream(e.host, dink_chan_new_stream(e.host), h[1], h[1], NULL, NULL);
		send_frame(e.raw, DINK_FRAME_EOF, 1, NULL, 0);
		turn(&e);
		assert_string_equal(e.closed, "");
		send_frame(e.raw, twice ? DINK_FRAME_EOF : DINK_FRAME_DATA, 1, "x", !twice);
		turn(&e);
		assert_true(e.closed[0] != 0);
		close(h[0]);
		close_ends(&e);
	}
}

/* a guest that sends and never reads gets no more credit, so our queue does not grow with it */
static void test_hostile_never_reads(void **state)
{
	static uint8_t block[DINK_DATA_MAX];
	static char text[65536];
	struct ends e;
	int sent = 0;

	(void)state;
	open_ends(&e, true);
	dink_chan_stream(e.host, dink_chan_new_stream(e.host), -1, -1, NULL, NULL);
	/* fill the socket towards the guest and then our queue */
	memset(text, 'x', sizeof(text) - 1);
	for (int i = 0; i < 20; i++)
		dink_chan_request(e.host, make_op(text), NULL, NULL);
	fcntl(e.raw, F_SETFL, 0);
	while (!e.closed[0] && sent < 64) {
		send_frame(e.raw, DINK_FRAME_DATA, 1, block, sizeof(block));
		sent++;
		turn(&e);
	}
	assert_int_equal(sent, DINK_WINDOW / DINK_DATA_MAX + 1);
	assert_non_null(strstr(e.closed, "credit"));
	close_ends(&e);
}

static struct dink_chan *freed_inside;

static void free_on_event(void *ctx, struct json_object *msg)
{
	(void)ctx;
	(void)msg;
	dink_chan_free(freed_inside);
}

static void test_free_inside_callback(void **state)
{
	static const struct dink_chan_ops ops = {.on_event = free_on_event};
	struct ends e;
	int fds[2];
	struct dink_chan *c;

	(void)state;
	open_ends(&e, true);
	make_pair(fds);
	c = freed_inside = dink_chan_new(e.loop, fds[0], true, &ops, NULL);
	dink_chan_stream(c, dink_chan_new_stream(c), -1, -1, NULL, NULL);
	send_frame(fds[1], DINK_FRAME_EVENT, 0, "{}", 2);
	send_frame(fds[1], DINK_FRAME_EVENT, 0, "{}", 2);
	turn(&e);
	close(fds[1]);
	close_ends(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request_and_event),
		cmocka_unit_test(test_great_message),
		cmocka_unit_test(test_pending_fail_with_channel),
		cmocka_unit_test(test_stream_both_ways),
		cmocka_unit_test(test_window_holds),
		cmocka_unit_test(test_reader_gone),
		cmocka_unit_test(test_late_tie),
		cmocka_unit_test(test_regular_file),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_refused_stream),
		cmocka_unit_test(test_hostile_frames),
		cmocka_unit_test(test_hostile_padding),
		cmocka_unit_test(test_hostile_flow),
		cmocka_unit_test(test_hostile_never_reads),
		cmocka_unit_test(test_free_inside_callback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
