/* SPDX-License-Identifier: Apache-2.0 */
/* The journal: what is written is read back, a torn end is dropped, damage elsewhere is refused. */
#include "tests/unit/unit.h"

#include "provision/step/step.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define INTENT                                                                                     \
	"{\"seq\":1,\"event\":\"intent\",\"step\":1,\"key\":\"a\",\"kind\":\"k\",\"params\":{}}\n"
#define DONE "{\"seq\":2,\"event\":\"done\",\"step\":1,\"identity\":{\"id\":\"x\"},\"ms\":5}\n"

static int parse(const char *text, struct dink_journal **ret, size_t *good, struct dink_err *err)
{
	return dink_journal_parse(text, strlen(text), "journal", ret, good, err);
}

static void test_round_trip(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_journal_freep) struct dink_journal *j = NULL, *again = NULL;
	_cleanup_json_ struct json_object *params = dink_json_new(), *id = dink_json_new();
	_cleanup_free_ char *path = xasprintf("%s/journal", (char *)*state);
	struct dink_record *one, *two, *found;

	dink_json_set_str(params, "name", "line\nbreak \"quoted\"");
	dink_json_set_str(id, "id", "42");
	assert_int_equal(dink_journal_open(path, &j, &err), 0);
	assert_int_equal(dink_journal_intent(j, "one", "k", params, &one, &err), 0);
	assert_int_equal(dink_journal_done(j, one, id, 7, &err), 0);
	assert_int_equal(dink_journal_intent(j, "two", "k", params, &two, &err), 0);
	assert_int_equal(dink_journal_undone(j, one, &err), 0);
	assert_null(dink_journal_live(j, "one"));

	assert_int_equal(dink_journal_load(path, &again, &err), 0);
	assert_int_equal(again->n_records, 2);
	assert_null(dink_journal_live(again, "one"));
	found = dink_journal_live(again, "two");
	assert_non_null(found);
	assert_false(found->done);
	assert_false(found->fresh);
	assert_string_equal(dink_json_str_or(found->params, "name", ""), "line\nbreak \"quoted\"");
	assert_string_equal(dink_json_str_or(again->records[0]->identity, "id", ""), "42");
	assert_int_equal(again->records[0]->ms, 7);
	assert_int_equal(again->seq, 4);
}

static void test_torn_end(void **state)
{
	static const char *const ends[] = {"{\"seq\":3,\"ev", "{\"seq\":3}\n", "\xff\xfe\n", "}\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		_cleanup_(dink_err_clear) struct dink_err err = {};
		_cleanup_(dink_journal_freep) struct dink_journal *j = NULL;
		_cleanup_free_ char *text = xasprintf(INTENT DONE "%s", ends[i]);
		size_t good = 0;

		assert_int_equal(parse(text, &j, &good, &err), 0);
		assert_int_equal(good, strlen(INTENT DONE));
		assert_true(dink_journal_live(j, "a")->done);
	}
}

static void test_damaged_middle(void **state)
{
	static const char *const middles[] = {
		"garbage\n",
		"{\"seq\":9,\"event\":\"done\",\"step\":7}\n",
		("{\"seq\":9,\"event\":\"intent\",\"step\":9,\"key\":\"b\",\"kind\":\"k\","
		 "\"params\":{}}\n"),
		"{\"seq\":9,\"event\":\"intent\",\"step\":2,\"key\":\"b\",\"params\":{}}\n",
		"{\"seq\":9,\"event\":\"dance\",\"step\":1}\n",
		"[]\n",
		"\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(middles); i++) {
		_cleanup_(dink_err_clear) struct dink_err err = {};
		_cleanup_free_ char *text = xasprintf(INTENT "%s" DONE, middles[i]);
		struct dink_journal *j = NULL;

		assert_true(parse(text, &j, NULL, &err) < 0);
		assert_int_equal(err.code, DINK_E_STATE);
		assert_non_null(strstr(err.msg, "journal:2:"));
		assert_non_null(err.hint);
		assert_null(j);
	}
}

static void test_append_after_torn_end(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_journal_freep) struct dink_journal *j = NULL, *again = NULL;
	_cleanup_json_ struct json_object *params = dink_json_new();
	_cleanup_free_ char *path = xasprintf("%s/torn", (char *)*state);
	struct dink_record *r;
	const char text[] = INTENT "{\"seq\":2,\"event\":\"do";

	assert_int_equal(dink_file_write(path, text, strlen(text), 0600, &err), 0);
	assert_int_equal(dink_journal_open(path, &j, &err), 0);
	assert_int_equal(dink_journal_intent(j, "b", "k", params, &r, &err), 0);
	assert_int_equal(dink_journal_load(path, &again, &err), 0);
	assert_int_equal(again->n_records, 2);
}

/* A disk that fills up in the middle of a line: that line is lost, and no other. */
static void test_full_disk(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {}, full = {};
	_cleanup_(dink_journal_freep) struct dink_journal *j = NULL, *again = NULL;
	_cleanup_json_ struct json_object *params = dink_json_new();
	_cleanup_free_ char *path = xasprintf("%s/full", (char *)*state);
	struct dink_record *a, *b;
	struct rlimit old, less;
	struct stat st;

	assert_int_equal(dink_journal_open(path, &j, &err), 0);
	assert_int_equal(dink_journal_intent(j, "a", "k", params, &a, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	less = (struct rlimit){.rlim_cur = (rlim_t)st.st_size + 10, .rlim_max = old.rlim_max};
	assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &less), 0);
	assert_int_equal(dink_journal_intent(j, "b", "k", params, &b, &full), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(dink_journal_undone(j, a, &err), 0);
	assert_int_equal(dink_journal_intent(j, "c", "k", params, &b, &err), 0);
	assert_int_equal(dink_journal_load(path, &again, &err), 0);
	assert_int_equal(again->n_records, 2);
	assert_null(dink_journal_live(again, "a"));
	assert_non_null(dink_journal_live(again, "c"));
}

static void test_missing(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *path = xasprintf("%s/none", (char *)*state);
	struct dink_journal *j = NULL;

	assert_int_equal(dink_journal_load(path, &j, &err), -ENOENT);
	assert_false(dink_err_is_set(&err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_torn_end),
		cmocka_unit_test(test_damaged_middle), cmocka_unit_test(test_append_after_torn_end),
		cmocka_unit_test(test_missing),	       cmocka_unit_test(test_full_disk),
	};

	return cmocka_run_group_tests(tests, unit_tmpdir, unit_rmdir);
}
