/* SPDX-License-Identifier: Apache-2.0 */
/* provision/engine/feed.h: one stream to many readers that are quick, slow, dead. */
#include "provision/engine/feed.h"

#include "provision/base/mem.h"
#include "provision/base/units.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <unistd.h>

enum { READERS = 4, BUFFER = 64 << 10, PIECE = 8 << 10, PIECES = 400, PATIENCE_MS = 400 };

struct reader {
	struct dink_feed *feed;
	size_t number;
	useconds_t pause;     /* between two takes */
	uint64_t leave_after; /* bytes, 0 = never */
	uint64_t got, sum;
	int error;
	pthread_t thread;
};

static void *read_feed(void *arg)
{
	struct reader *r = arg;
	char buf[5000];
	ssize_t n;

	while ((n = dink_feed_take(r->feed, r->number, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			r->sum = r->sum * 31 + (unsigned char)buf[i];
		r->got += (uint64_t)n;
		if (r->leave_after && r->got >= r->leave_after)
			break;
		usleep(r->pause);
	}
	r->error = n < 0 ? (int)n : 0;
	dink_feed_leave(r->feed, r->number);
	return NULL;
}

/* All pieces to all readers; what the last put for each said. */
static void feed_all(struct dink_feed *f, struct reader r[READERS], int ret[READERS], int end)
{
	char piece[PIECE];

	for (size_t i = 0; i < READERS; i++) {
		r[i].feed = f;
		r[i].number = i;
		ret[i] = 0;
		assert_int_equal(pthread_create(&r[i].thread, NULL, read_feed, &r[i]), 0);
	}
	for (int k = 0; k < PIECES; k++) {
		struct dink_feed_block *b;

		memset(piece, k, sizeof(piece));
		b = dink_feed_block_new(piece, sizeof(piece));
		for (size_t i = 0; i < READERS; i++)
			if (ret[i] == 0)
				ret[i] = dink_feed_put(f, i, b, 10, PIECE - 10);
		dink_feed_block_unref(b);
	}
	for (size_t i = 0; i < READERS; i++) {
		dink_feed_end(f, i, end);
		pthread_join(r[i].thread, NULL);
	}
}

static void test_one_dies_one_lags(void **state)
{
	struct dink_feed *f = dink_feed_new(READERS, BUFFER, PATIENCE_MS);
	struct reader r[READERS] = {{}, {.leave_after = 100000}, {.pause = 50000}, {}};
	uint64_t since = dink_now_ms();
	int ret[READERS];

	(void)state;
	feed_all(f, r, ret, 0);
	/* the dead one and the slow one did not keep the others from all of it, the same */
	assert_int_equal(ret[0], 0);
	assert_int_equal(r[0].got, (uint64_t)PIECES * (PIECE - 10));
	assert_int_equal(r[3].got, r[0].got);
	assert_int_equal(r[3].sum, r[0].sum);
	assert_int_equal(r[0].error, 0);
	assert_int_equal(ret[1], -EPIPE);
	assert_int_equal(ret[2], -ETIME);
	assert_int_equal(r[2].error, -ETIME);
	assert_in_range(r[2].got, 1, r[0].got - 1);
	/* at 50 ms for 5000 bytes it would have been 32 s */
	assert_in_range(dink_now_ms() - since, 1, 15000);
	dink_feed_free(f);
}

static void test_slow_alone_is_waited_for(void **state)
{
	struct dink_feed *f = dink_feed_new(READERS, BUFFER, 100);
	struct reader r[READERS] = {
		{.pause = 1500}, {.leave_after = 1}, {.leave_after = 1}, {.leave_after = 1}};
	int ret[READERS];

	(void)state;
	feed_all(f, r, ret, 0);
	assert_int_equal(ret[0], 0);
	assert_int_equal(r[0].got, (uint64_t)PIECES * (PIECE - 10));
	dink_feed_free(f);
}

static void test_a_broken_source_ends_everybody(void **state)
{
	struct dink_feed *f = dink_feed_new(READERS, BUFFER, PATIENCE_MS);
	struct reader r[READERS] = {{.pause = 200}, {.pause = 200}, {.pause = 200}, {.pause = 200}};
	int ret[READERS];

	(void)state;
	feed_all(f, r, ret, ECONNRESET);
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(r[i].error, -ECONNRESET);
	dink_feed_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_dies_one_lags),
		cmocka_unit_test(test_slow_alone_is_waited_for),
		cmocka_unit_test(test_a_broken_source_ends_everybody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
