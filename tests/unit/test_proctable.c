/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest says of its processes, as files of /proc. */
#include "tests/unit/unit.h"

#include "provision/vm/proctable.h"

#define MAX 8

static size_t read_table(const char *text, struct dink_proc *ret)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_json_ struct json_object *answer = NULL;

	assert_int_equal(dink_json_parse(text, strlen(text), "test", &answer, &err), 0);
	return dink_proctable_read(answer, ret, MAX);
}

static void clear(struct dink_proc *all, size_t n)
{
	for (size_t i = 0; i < n; i++)
		dink_proc_clear(&all[i]);
}

static size_t count_words(const char *text)
{
	size_t n = 0;

	for (const char *at = text; *at; at++)
		n += *at != ' ' && (at == text || at[-1] == ' ');
	return n;
}

/* Two of a container: its first and a child, as the guest's kernel numbers them. */
static const char two[] =
	"{\"processes\":["
	"{\"pid\":57,\"name\":\"sh\",\"args\":[\"sh\",\"-c\",\"x y\"],"
	"\"stat\":\"57 (sh) S 56 57 57 34816 57 4194560 1 2 3 4 5 6 7 8 20 0 1 0 1234 99 "
	"18446744073709551615\",\"status\":\"Name:\\tsh\\nState:\\tS (sleeping)\\nPPid:\\t56\\n"
	"Uid:\\t1000\\t1001\\t1002\\t1003\\nGid:\\t5\\t6\\t7\\t8\\nGroups:\\t5 10 "
	"\\nNSpid:\\t57\\t1\\n"
	"NSpgid:\\t57\\t1\\nNSsid:\\t57\\t1\\nVmRSS:\\t    12 kB\\nCapEff:\\t00000000a80425fb\\n"
	"Seccomp:\\t2\\n\"},"
	"{\"pid\":60,\"name\":\"a) R (b\\n\",\"args\":[],\"stat\":\"60 (a) R (b) R 57 60 57 0 -1\","
	"\"status\":\"State:\\tR (running)\\nPPid:\\t57\\nNSpid:\\t60\\t7\\nNSpgid:\\t60\\t7\\n"
	"NSsid:\\t57\\t1\\n\"}]}";

static void test_numbers_are_the_containers(_unused_ void **state)
{
	struct dink_proc all[MAX];

	assert_int_equal(read_table(two, all), 2);
	assert_int_equal(all[0].pid, 1);
	assert_int_equal(all[1].pid, 7);
	assert_ptr_equal(strstr(all[0].stat.s, "1 (sh) S 0 1 1 34816 57 "), all[0].stat.s);
	assert_non_null(strstr(all[0].stat.s, " 1234 99 18446744073709551615 0 "));
	assert_ptr_equal(strstr(all[1].stat.s, "7 (a? R ?b?) R 1 7 1 0 -1 "), all[1].stat.s);
	for (int i = 0; i < 2;
	     i++) /* as many as a kernel writes; a blank in the name is one more */
		assert_int_equal(count_words(all[i].stat.s), 52 + i * 2);
	assert_non_null(strstr(all[0].status.s, "\nPPid:\t0\n"));
	assert_non_null(strstr(all[1].status.s, "\nPPid:\t1\n"));
	clear(all, 2);
}

static void test_status_has_all_lines(_unused_ void **state)
{
	struct dink_proc all[MAX];

	assert_int_equal(read_table(two, all), 2);
	assert_non_null(strstr(all[0].status.s, "\nUid:\t1000\t1001\t1002\t1003\n"));
	assert_non_null(strstr(all[0].status.s, "\nGroups: 5 10\n"));
	assert_non_null(strstr(all[0].status.s, "\nVmRSS:\t12 kB\n"));
	assert_non_null(strstr(all[0].status.s, "\nCapEff:\t00000000a80425fb\n"));
	/* who reads it counts on these */
	assert_non_null(strstr(all[1].status.s, "\nUid:\t0\t0\t0\t0\n"));
	assert_non_null(strstr(all[1].status.s, "\nGroups:\n"));
	assert_non_null(strstr(all[1].status.s, "\nSeccomp:\t0\n"));
	assert_int_equal(all[0].cmdline.len, sizeof("sh\0-c\0x y"));
	assert_memory_equal(all[0].cmdline.s, "sh\0-c\0x y", sizeof("sh\0-c\0x y"));
	assert_int_equal(all[1].cmdline.len, 0);
	clear(all, 2);
}

static void test_no_line_of_the_guests_own(_unused_ void **state)
{
	static const char text[] =
		"{\"processes\":[{\"pid\":2,\"name\":\"x\\nUid:\\t7\",\"args\":[1,{},null],"
		"\"stat\":\"2 (x) S 1 $(id) 4 ../etc 99999999999999999999999 -\",\"status\":"
		"\"NSpid:\\t2\\t3\\nUid:\\t1\\tx\\t-2-\\t99999999999999999999999\\nCapEff:"
		"\\tzz\\n\"},"
		"{\"pid\":3,\"status\":\"NSpid:\\t3\\t3\\n\"},{\"pid\":4,\"status\":\"NSpid:"
		"\\t4\\n\"},"
		"{\"pid\":5,\"status\":\"NSpid:\\t5\\t-1\\n\"},{\"pid\":6,\"status\":7},{},7,null]"
		"}";
	struct dink_proc all[MAX];

	/* a number twice, none, and a bad one */
	assert_int_equal(read_table(text, all), 1);
	assert_int_equal(all[0].pid, 3);
	assert_null(strchr(all[0].stat.s, '$'));
	assert_null(strstr(all[0].stat.s, ".."));
	assert_null(strstr(all[0].stat.s, "99999999999999999999999"));
	assert_ptr_equal(strstr(all[0].status.s, "Name:\tx?Uid:?7\n"), all[0].status.s);
	assert_non_null(strstr(all[0].status.s, "\nUid:\t1\t0\t-2-\t0\n"));
	assert_non_null(strstr(all[0].status.s, "\nCapEff:\t0\n"));
	clear(all, 1);
	assert_int_equal(read_table("{}", all), 0);
	assert_int_equal(read_table("{\"processes\":{}}", all), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_are_the_containers),
		cmocka_unit_test(test_status_has_all_lines),
		cmocka_unit_test(test_no_line_of_the_guests_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
