/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's record of capability checks, line by line: what a process calls itself cannot make
 * a check of another's.
 */
#include "tests/unit/unit.h"

#include "provision/privilege/trace.h"

static void test_lines(void **state _unused_)
{
	static const struct {
		const char *line;
		int tid, cap;
		bool granted;
	} good[] = {
		{"              sh-4242    [001] .....   12.345678: cap_capable: cred 00000000a1, "
		 "target_ns 00000000b2, capable_ns 00000000c3, cap 21, ret 0",
		 4242, 21, true},
		{"           <...>-7       [000] .....   12.345678: cap_capable: cred 00000000a1, "
		 "target_ns 00000000b2, capable_ns 0000000000000000, cap 0, ret -1",
		 7, 0, false},
		/* names are the process's own choice */
		{"        a-1 [000]-99     [001] .....   12.3: cap_capable: cred 00000000a1, "
		 "target_ns 00000000b2, capable_ns 00000000c3, cap 12, ret 0",
		 99, 12, true},
		{" : cap_capable: -31     [001] .....   12.3: cap_capable: cred 00000000a1, "
		 "target_ns 00000000b2, capable_ns 00000000c3, cap 12, ret 0",
		 31, 12, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct trace_check k = {};

		assert_true(trace_caps_parse(good[i].line, &k));
		assert_int_equal(k.tid, good[i].tid);
		assert_int_equal(k.cap, good[i].cap);
		assert_int_equal(k.granted, good[i].granted);
		assert_string_equal(k.cred, "00000000a1");
		assert_string_equal(k.ns, "00000000b2");
	}
}

static void test_refuses(void **state _unused_)
{
	static const char *const bad[] = {
		"",
		"# tracer: nop",
		"CPU:1 [LOST 12 EVENTS]",
		"sh-1 [001] ..... 12.3: sys_enter: NR 1",
		"sh-1 [001] ..... 12.3: cap_capable: cred a, target_ns b, capable_ns c, cap x, ret "
		"0",
		"sh-1 [001] ..... 12.3: cap_capable: cred a, target_ns b, capable_ns c, cap 64, "
		"ret 0",
		"sh-1 [001] ..... 12.3: cap_capable: cred a, target_ns b, capable_ns c, cap -1, "
		"ret 0",
		"sh1 [001] ..... 12.3: cap_capable: cred a, target_ns b, capable_ns c, cap 1, ret "
		"0",
		"sh-1111111111 [001] .... 1.3: cap_capable: cred a, target_ns b, capable_ns c, cap "
		"1, "
		"ret 0",
		": cap_capable: cred a, target_ns b, capable_ns c, cap 1, ret 0",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct trace_check k = {};

		if (trace_caps_parse(bad[i], &k))
			fail_msg("taken: %s", bad[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_refuses),
	};

	return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
