/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams over a byte stream: whole ones come out, however they are cut on the way. */
#include "tests/unit/unit.h"

#include "provision/vm/dgram.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

struct seen {
	int count;
	uint16_t slot;
	uint8_t data[DINK_DGRAM_MAX];
	size_t len;
};

static void see(void *ctx, uint16_t slot, const uint8_t *data, size_t len)
{
	struct seen *s = ctx;

	s->count++;
	s->slot = slot;
	s->len = len;
	memcpy(s->data, data, len);
}

struct wire {
	int in, out;
	struct dink_dgram_buf buf;
	struct seen seen;
};

static struct wire *make_wire(void)
{
	struct wire *w = xcalloc(1, sizeof(*w));
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	w->in = pair[0];
	w->out = pair[1];
	return w;
}

static void free_wire(struct wire *w)
{
	close(w->in);
	close(w->out);
	free(w);
}

static int read_wire(struct wire *w)
{
	return dink_dgram_read(&w->buf, w->out, see, &w->seen);
}

static void push(struct wire *w, const void *bytes, size_t n)
{
	assert_int_equal(write(w->in, bytes, n), n);
}

static void test_round_trip(_unused_ void **state)
{
	struct wire *w = make_wire();
	uint8_t largest[DINK_DGRAM_MAX + 1];

	memset(largest, 0xa5, sizeof(largest));
	assert_int_equal(read_wire(w), 0); /* nothing there is no end */
	assert_int_equal(dink_dgram_send(w->in, 63, largest, DINK_DGRAM_MAX), 0);
	assert_int_equal(read_wire(w), 0);
	assert_int_equal(w->seen.count, 1);
	assert_int_equal(w->seen.slot, 63);
	assert_int_equal(w->seen.len, DINK_DGRAM_MAX);
	assert_memory_equal(w->seen.data, largest, DINK_DGRAM_MAX);
	/* one that is too long is lost, and those after it are not */
	assert_int_equal(dink_dgram_send(w->in, 1, largest, sizeof(largest)), 0);
	assert_int_equal(dink_dgram_send(w->in, 2, largest, 0), 0);
	assert_int_equal(dink_dgram_send(w->in, 3, (const uint8_t *)"abc", 3), 0);
	assert_int_equal(read_wire(w), 0);
	assert_int_equal(w->seen.count, 3);
	assert_int_equal(w->seen.slot, 3);
	assert_memory_equal(w->seen.data, "abc", 3);
	free_wire(w);
}

static void test_byte_by_byte(_unused_ void **state)
{
	static const uint8_t bytes[] = {7, 0, 3, 0, 'a', 'b', 'c', 8, 0, 1, 0, 'd'};
	struct wire *w = make_wire();

	for (size_t i = 0; i < sizeof(bytes); i++) {
		push(w, bytes + i, 1);
		assert_int_equal(read_wire(w), 0);
		assert_int_equal(w->seen.count, (i >= 6) + (i >= 11));
	}
	assert_int_equal(w->seen.slot, 8);
	assert_int_equal(w->seen.len, 1);
	free_wire(w);
}

static void refuses(const uint8_t header[4])
{
	struct wire *w = make_wire();

	push(w, header, 4);
	assert_int_equal(read_wire(w), -EPROTO);
	assert_int_equal(w->seen.count, 0);
	free_wire(w);
}

static void test_hostile(_unused_ void **state)
{
	refuses((const uint8_t[]){DINK_DGRAM_SLOTS, 0, 1, 0}); /* a slot past the last */
	refuses((const uint8_t[]){0, 1, 1, 0});
	refuses((const uint8_t[]){0, 0, 1, 0x10}); /* one byte more than fits */
	refuses((const uint8_t[]){0, 0, 0xff, 0xff});
}

static void test_end(_unused_ void **state)
{
	struct wire *w = make_wire();

	push(w, "\0\0\5\0abc", 7);
	assert_int_equal(shutdown(w->in, SHUT_WR), 0);
	assert_int_equal(read_wire(w), 0);
	assert_int_equal(read_wire(w), -ECONNRESET);
	assert_int_equal(w->seen.count, 0);
	free_wire(w);
}

/* a reader that does not read costs datagrams, never the stream */
static void test_full(_unused_ void **state)
{
	struct wire *w = make_wire();
	uint8_t data[1000] = {};
	int sent = 0;

	for (; sent < 1000; sent++)
		assert_int_equal(dink_dgram_send(w->in, (uint16_t)(sent % 64), data, sizeof(data)),
				 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(read_wire(w), 0);
	assert_in_range(w->seen.count, 1, 999);
	assert_int_equal(w->seen.len, sizeof(data));
	free_wire(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_byte_by_byte),
		cmocka_unit_test(test_hostile),	   cmocka_unit_test(test_end),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
