/* SPDX-License-Identifier: Apache-2.0 */
/* Where a manager's log ends, and which of two managers has seen more of their swarm. */
#include "provision/base/mem.h"
#include "provision/step/raft.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void add_varint(struct dink_str *s, uint64_t v)
{
	for (; v > 0x7f; v >>= 7)
		dink_str_addc(s, (char)(v | 0x80));
	dink_str_addc(s, (char)v);
}

static void add_number(struct dink_str *s, unsigned field, uint64_t v)
{
	add_varint(s, field << 3);
	add_varint(s, v);
}

static void add_bytes(struct dink_str *s, unsigned field, const char *p, size_t n)
{
	add_varint(s, field << 3 | 2);
	add_varint(s, n);
	dink_str_addn(s, p, n);
}

/* As etcd writes it: the length, padded to a multiple of 8, type, checksum, data. */
static void add_record(struct dink_str *log, unsigned type, const struct dink_str *data)
{
	_cleanup_str_ struct dink_str r = {};
	uint64_t head, pad;

	add_number(&r, 1, type);
	add_number(&r, 2, 0xdeadbeef);
	add_bytes(&r, 3, data->s, data->len);
	pad = (8 - r.len % 8) % 8;
	head = r.len | (pad ? (UINT64_C(0x80) | pad) << 56 : 0);
	for (int i = 0; i < 8; i++)
		dink_str_addc(log, (char)(head >> (8 * i)));
	dink_str_addn(log, r.s, r.len);
	dink_str_addn(log, "\0\0\0\0\0\0\0", pad);
}

static void add_entry(struct dink_str *log, uint64_t term, uint64_t index)
{
	_cleanup_str_ struct dink_str e = {};

	add_number(&e, 1, 0);
	add_number(&e, 2, term);
	add_number(&e, 3, index);
	add_bytes(&e, 4, "secret", 6);
	add_record(log, 2, &e);
}

static void add_snapshot(struct dink_str *log, uint64_t term, uint64_t index)
{
	_cleanup_str_ struct dink_str s = {};

	add_number(&s, 1, index);
	add_number(&s, 2, term);
	add_record(log, 5, &s);
}

static void assert_end(const struct dink_str *log, int r, uint64_t term, uint64_t index)
{
	struct dink_raft_end end;

	assert_int_equal(dink_raft_read(log->s, log->len, &end), r);
	assert_int_equal(end.term, term);
	assert_int_equal(end.index, index);
}

static void the_last_entry_is_the_end(void **state _unused_)
{
	_cleanup_str_ struct dink_str log = {}, vote = {};

	add_number(&vote, 1, 99); /* a term that this one alone is in, without an entry */
	add_entry(&log, 2, 10);
	add_entry(&log, 2, 300);
	assert_end(&log, 0, 2, 300);
	add_record(&log, 3, &vote);
	assert_end(&log, 0, 2, 300);
	/* a new leader's takes the place of what was not agreed on */
	add_entry(&log, 3, 299);
	assert_end(&log, 0, 3, 299);
	add_snapshot(&log, 1, 200);
	assert_end(&log, 0, 3, 299);
	add_snapshot(&log, 4, 5000);
	assert_end(&log, 0, 4, 5000);
	dink_str_addn(&log, "\0\0\0\0\0\0\0\0rest", 12);
	assert_end(&log, 1, 4, 5000);
}

static void a_cut_log_goes_on_behind(void **state _unused_)
{
	_cleanup_str_ struct dink_str log = {};
	struct dink_raft_end end;
	size_t first;

	add_entry(&log, 1, 1);
	first = log.len;
	add_entry(&log, 7, 2);
	for (size_t n = 0; n < log.len; n++) {
		_cleanup_free_ char *cut = xmemdup(log.s, n ? n : 1);

		assert_int_equal(dink_raft_read(cut, n, &end), 0);
		assert_int_equal(end.term, n < first ? 0 : 1);
	}
}

static void any_bytes_are_safe(void **state _unused_)
{
	_cleanup_str_ struct dink_str log = {};
	struct dink_raft_end end;
	uint32_t seed = 1;

	add_entry(&log, 1, 1);
	add_snapshot(&log, 2, 2);
	for (int round = 0; round < 20000; round++) {
		_cleanup_free_ char *bad = xmemdup(log.s, log.len);
		int r;

		for (int i = 0; i < 3; i++) {
			seed = seed * 1664525 + 1013904223;
			bad[(seed >> 8) % log.len] = (char)(seed >> 24);
		}
		r = dink_raft_read(bad, log.len, &end);
		assert_true(r == 0 || r == 1 || r == -EBADMSG);
	}
	assert_int_equal(dink_raft_read("\xff\xff\xff\xff\xff\xff\xff\x7f", 8, &end), -EBADMSG);
}

static void later_terms_come_before_longer_logs(void **state _unused_)
{
	const struct dink_raft_end old = {.term = 2, .index = 900}, new = {.term = 3, .index = 40};
	const struct dink_raft_end more = {.term = 3, .index = 41}, none = {};

	assert_true(dink_raft_is_newer(&new, &old));
	assert_false(dink_raft_is_newer(&old, &new));
	assert_true(dink_raft_is_newer(&more, &new));
	assert_false(dink_raft_is_newer(&new, &new));
	assert_true(dink_raft_is_newer(&old, &none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_entry_is_the_end),
		cmocka_unit_test(a_cut_log_goes_on_behind),
		cmocka_unit_test(any_bytes_are_safe),
		cmocka_unit_test(later_terms_come_before_longer_logs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
