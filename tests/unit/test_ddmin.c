/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delta debugging: it finds exactly what is needed, whatever that is, in few trials, and a book of
 * trials spares those whose outcome follows.
 */
#include "tests/unit/unit.h"

#include "provision/privilege/ddmin.h"

enum { MANY = 40 };

/* Something that works while all of `needed` is there; or while one of a pair is. */
struct thing {
	bool needed[MANY];
	bool either; /* items 0 and 1: one of both is enough */
	size_t trials;
	size_t fail_at; /* the trial that cannot be made; 0 = none */
	struct dink_trials *book;
	size_t made; /* trials that the book did not know */
	size_t rounds;
};

static bool works_with(const struct thing *t, const bool *keep, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (t->needed[i] && !keep[i])
			return false;
	return !t->either || keep[0] || keep[1];
}

static int try_it(void *ctx, const bool *keep, size_t n, bool *ret_works, struct dink_err *err)
{
	struct thing *t = ctx;
	enum dink_known known = t->book ? dink_trials_know(t->book, keep) : DINK_KNOWN_NOT;
	_cleanup_free_ char *text = dink_trials_text(keep, n);

	if (++t->trials == t->fail_at)
		return dink_err_set(err, DINK_E_CHILD, 0, "the trial could not be made");
	*ret_works = works_with(t, keep, n);
	if (known != DINK_KNOWN_NOT) {
		assert_int_equal(known == DINK_KNOWN_WORKS, *ret_works);
		return 0;
	}
	t->made++;
	if (t->book)
		assert_true(dink_trials_add(t->book, text, *ret_works));
	return 0;
}

static void all(bool *keep, size_t n)
{
	for (size_t i = 0; i < n; i++)
		keep[i] = true;
}

static void run(struct thing *t, bool *keep, size_t n)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	all(keep, n);
	if (dink_ddmin_jobs(keep, n, try_it, NULL, 1, t, &err) < 0)
		fail_msg("%s", err.msg);
}

/* Every set of needed items among ten: exactly that set is left. */
static void test_finds_the_needed(void **state _unused_)
{
	for (unsigned int set = 0; set < 1u << 10; set++) {
		struct thing t = {};
		bool keep[MANY];

		for (size_t i = 0; i < 10; i++)
			t.needed[i] = set & 1u << i;
		run(&t, keep, 10);
		for (size_t i = 0; i < 10; i++)
			assert_int_equal(keep[i], t.needed[i]);
		/* all needed: 2n; few needed: far fewer than one each, twice */
		assert_in_range(t.trials, 1, 40);
	}
}

static void test_sizes(void **state _unused_)
{
	for (size_t n = 0; n <= MANY; n++) {
		struct thing none = {}, last = {}, every = {};
		bool keep[MANY + 1] = {};

		run(&none, keep, n);
		for (size_t i = 0; i < n; i++)
			assert_false(keep[i]);
		if (n > 0)
			last.needed[n - 1] = true;
		run(&last, keep, n);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(keep[i], i == n - 1);
		all(every.needed, n);
		run(&every, keep, n);
		for (size_t i = 0; i < n; i++)
			assert_true(keep[i]);
		assert_in_range(every.trials, 0, 2 * n + 12);
	}
}

/* Two of which either is enough: one of them stays, and it cannot be left out any more. */
static void test_alternatives(void **state _unused_)
{
	struct thing t = {.either = true};
	bool keep[MANY];

	run(&t, keep, 7);
	assert_int_equal(keep[0] + keep[1], 1);
	for (size_t i = 2; i < 7; i++)
		assert_false(keep[i]);
}

static void test_error_ends_it(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct thing t = {.fail_at = 3};
	bool keep[MANY];

	all(keep, 9);
	all(t.needed, 9);
	assert_true(dink_ddmin_jobs(keep, 9, try_it, NULL, 1, &t, &err) < 0);
	assert_int_equal(t.trials, 3);
	assert_string_equal(err.msg, "the trial could not be made");
}

/* The book is right whenever it knows (try_it checks), and spares trials; a second run makes none. */
static void test_book(void **state _unused_)
{
	_cleanup_(dink_trials_clear) struct dink_trials book = {.n = 12};
	struct thing t = {.book = &book};
	bool keep[MANY];
	size_t first;

	for (size_t i = 0; i < 12; i += 2)
		t.needed[i] = true;
	run(&t, keep, 12);
	first = t.made;
	assert_in_range(first, 6, t.trials - 1);
	run(&t, keep, 12);
	assert_int_equal(t.made, first);
	for (size_t i = 0; i < 12; i++)
		assert_int_equal(keep[i], i % 2 == 0);
}

/* Several at once, into the book: what is found is the same, and the search asks for nothing else. */
static int try_ahead(void *ctx, bool *const *sets, size_t n_sets, size_t n, struct dink_err *err)
{
	struct thing *t = ctx;
	bool works;

	assert_in_range(n_sets, 1, 4);
	if (dink_trials_know(t->book, sets[0]) != DINK_KNOWN_NOT)
		return 0;
	t->rounds++;
	for (size_t i = 0; i < n_sets; i++)
		if (try_it(t, sets[i], n, &works, err) < 0)
			return -EINVAL;
	return 0;
}

static void test_several_at_once(void **state _unused_)
{
	for (unsigned int set = 0; set < 1u << 10; set++) {
		_cleanup_(dink_trials_clear) struct dink_trials book = {.n = 10};
		_cleanup_(dink_err_clear) struct dink_err err = {};
		struct thing t = {.book = &book};
		bool keep[MANY];

		for (size_t i = 0; i < 10; i++)
			t.needed[i] = set & 1u << i;
		all(keep, 10);
		assert_int_equal(dink_ddmin_jobs(keep, 10, try_it, try_ahead, 4, &t, &err), 0);
		for (size_t i = 0; i < 10; i++)
			assert_int_equal(keep[i], t.needed[i]);
		/* all are needed: 18 trials, four at once */
		if (set == (1u << 10) - 1)
			assert_int_equal(t.rounds, 5);
	}
}

static void test_book_refuses(void **state _unused_)
{
	_cleanup_(dink_trials_clear) struct dink_trials book = {.n = 3};

	assert_false(dink_trials_add(&book, "11", true));
	assert_false(dink_trials_add(&book, "1111", true));
	assert_false(dink_trials_add(&book, "1x1", true));
	assert_true(dink_trials_add(&book, "101", false));
	assert_int_equal(dink_trials_know(&book, (const bool[]){true, false, false}),
			 DINK_KNOWN_FAILS);
	assert_int_equal(dink_trials_know(&book, (const bool[]){true, true, false}),
			 DINK_KNOWN_NOT);
	assert_true(dink_trials_add(&book, "110", true));
	assert_int_equal(dink_trials_know(&book, (const bool[]){true, true, true}),
			 DINK_KNOWN_WORKS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_finds_the_needed),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_alternatives),
		cmocka_unit_test(test_error_ends_it),
		cmocka_unit_test(test_book),
		cmocka_unit_test(test_several_at_once),
		cmocka_unit_test(test_book_refuses),
	};

	return cmocka_run_group_tests_name("ddmin", tests, NULL, NULL);
}
