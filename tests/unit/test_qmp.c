/* SPDX-License-Identifier: Apache-2.0 */
/* QMP against a scripted peer on a socket pair. */
#include "tests/unit/unit.h"

#include "provision/vm/qmp.h"

#include <sys/socket.h>

struct seen {
	int ready, events, closed, replies;
	char event[64];
	char error[128];
	char why[128];
	bool got_result;
};

static void on_ready(void *ctx)
{
	((struct seen *)ctx)->ready++;
}

static void on_event(void *ctx, const char *name, struct json_object *data)
{
	struct seen *s = ctx;

	(void)data;
	s->events++;
	snprintf(s->event, sizeof(s->event), "%s", name);
}

static void on_closed(void *ctx, const char *why)
{
	struct seen *s = ctx;

	s->closed++;
	snprintf(s->why, sizeof(s->why), "%s", why);
}

static void on_reply(void *ctx, struct json_object *result, const char *error)
{
	struct seen *s = ctx;

	s->replies++;
	s->got_result = result != NULL;
	snprintf(s->error, sizeof(s->error), "%s", error ? error : "");
}

static const struct dink_qmp_ops ops = {on_ready, on_event, on_closed};

struct pair {
	struct dink_loop *loop;
	struct dink_qmp *q;
	struct seen seen;
	int peer;
};

static void open_pair(struct pair *p)
{
	int sv[2];

	memset(p, 0, sizeof(*p));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	p->loop = dink_loop_new();
	p->peer = sv[1];
	p->q = dink_qmp_new(p->loop, sv[0], &ops, &p->seen);
}

static void close_pair(struct pair *p)
{
	dink_qmp_free(p->q);
	if (p->peer >= 0)
		close(p->peer);
	dink_loop_free(p->loop);
}

static void say(struct pair *p, const char *text)
{
	assert_int_equal(dink_fd_write_all(p->peer, text, strlen(text)), 0);
	dink_loop_once(p->loop, 100);
}

static void hear(struct pair *p, const char *want)
{
	char buf[512];
	ssize_t n = recv(p->peer, buf, sizeof(buf) - 1, MSG_DONTWAIT);

	assert_true(n > 0);
	buf[n] = '\0';
	assert_non_null(strstr(buf, want));
}

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"

static void test_greeting_and_commands(void **state)
{
	struct pair p;

	(void)state;
	open_pair(&p);
	say(&p, GREETING);
	hear(&p, "qmp_capabilities");
	assert_int_equal(p.seen.ready, 0);
	say(&p, "{\"return\": {}, \"id\": 1}\n");
	assert_int_equal(p.seen.ready, 1);
	assert_int_equal(dink_qmp_send(p.q, "stop", NULL, on_reply, &p.seen), 0);
	assert_int_equal(dink_qmp_send(p.q, "cont", NULL, on_reply, &p.seen), 0);
	hear(&p, "\"stop\"");
	/* answers in another order, an event between, and in pieces */
	say(&p, "{\"return\": {\"x\":1}, \"id\": 3}\n{\"event\": \"STOP\", \"data\": {}}\n{\"err");
	assert_int_equal(p.seen.replies, 1);
	assert_true(p.seen.got_result);
	assert_string_equal(p.seen.event, "STOP");
	say(&p, "or\": {\"desc\": \"no way\"}, \"id\": 2}\n");
	assert_int_equal(p.seen.replies, 2);
	assert_false(p.seen.got_result);
	assert_string_equal(p.seen.error, "no way");
	/* an answer that nobody asked for is passed over */
	say(&p, "{\"return\": {}, \"id\": 99}\n");
	assert_int_equal(p.seen.closed, 0);
	close_pair(&p);
}

static void test_death_fails_what_waits(void **state)
{
	struct pair p;

	(void)state;
	open_pair(&p);
	say(&p, GREETING);
	assert_int_equal(dink_qmp_send(p.q, "stop", NULL, on_reply, &p.seen), 0);
	close(p.peer);
	p.peer = -1;
	for (int i = 0; i < 3; i++)
		dink_loop_once(p.loop, 50);
	assert_int_equal(p.seen.replies, 1);
	assert_non_null(strstr(p.seen.error, "closed"));
	assert_int_equal(p.seen.closed, 1);
	assert_int_equal(dink_qmp_send(p.q, "cont", NULL, NULL, NULL), -ENOTCONN);
	close_pair(&p);
}

static void test_bad_peers(void **state)
{
	static const char *const bad[] = {"no json\n", "[]\n", "{\"event\":\"X\"}\n", "\"s\"\n"};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct pair p;

		open_pair(&p);
		say(&p, bad[i]);
		assert_int_equal(p.seen.closed, 1);
		assert_non_null(strstr(p.seen.why, "broke"));
		close_pair(&p);
	}
}

static void test_bounds(void **state)
{
	struct pair p;
	_cleanup_free_ char *junk = xmalloc(65536);

	(void)state;
	open_pair(&p);
	memset(junk, 'a', 65536);
	int r = 0;
	for (int i = 0; i < 100 && r == 0; i++)
		r = dink_qmp_feed(p.q, junk, 65536);
	assert_int_equal(r, -EMSGSIZE);
	close_pair(&p);
	open_pair(&p);
	for (int i = 0; i < DINK_QMP_PENDING_MAX; i++)
		assert_int_equal(dink_qmp_send(p.q, "stop", NULL, NULL, NULL), 0);
	assert_int_equal(dink_qmp_send(p.q, "stop", NULL, NULL, NULL), -EBUSY);
	close_pair(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_greeting_and_commands),
		cmocka_unit_test(test_death_fails_what_waits),
		cmocka_unit_test(test_bad_peers),
		cmocka_unit_test(test_bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
