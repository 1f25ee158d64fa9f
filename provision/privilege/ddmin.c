/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delta debugging by leaving out. Chunks alone are not tried, as the original algorithm does: of
 * computed privileges nearly all are needed, and a chunk of them alone never works.
 */
#include "provision/privilege/ddmin.h"

struct search {
	size_t n;
	dink_ddmin_trial trial;
	dink_ddmin_ahead ahead; /* NULL: one trial at a time */
	size_t jobs;
	void *ctx;
};

static size_t count_kept(const bool *keep, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		kept += keep[i];
	return kept;
}

/* Without the kept items number from .. to-1, counted among the kept. */
static void leave_out(const bool *keep, size_t n, size_t from, size_t to, bool *ret)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		ret[i] = keep[i] && (k < from || k >= to);
		k += keep[i];
	}
}

/*
 * Nearly every trial fails, so the next ones are those without the chunks that come next: the rest of
 * this pass, and of those by smaller chunks, for a round takes as long with fewer.
 */
static int look_ahead(const struct search *s, const bool *keep, size_t from, size_t size,
		      struct dink_err *err)
{
	size_t kept = count_kept(keep, s->n), n = 0;
	bool **sets;
	int r;

	if (!s->ahead || s->jobs < 2)
		return 0;
	sets = xcalloc(s->jobs, sizeof(*sets));
	for (; n < s->jobs && (from < kept || size > 1); from += size) {
		if (from >= kept) {
			size = (size + 1) / 2;
			from = 0;
		}
		sets[n] = xcalloc(s->n, sizeof(**sets));
		leave_out(keep, s->n, from, from + size, sets[n++]);
	}
	r = s->ahead(s->ctx, sets, n, s->n, err);
	while (n > 0)
		free(sets[--n]);
	free(sets);
	return r;
}

/*
 * One pass over all chunks of a size; what can go, goes at once. The pass goes on behind what was
 * left out, so that each chunk of it is tried once.
 */
static int reduce_by(const struct search *s, size_t size, bool *keep, bool *ret_any,
		     struct dink_err *err)
{
	size_t n = s->n;
	_cleanup_free_ bool *without = xcalloc(n, sizeof(*without));
	size_t from = 0, kept = count_kept(keep, n);

	*ret_any = false;
	while (from < kept) {
		bool works = false;
		int r = look_ahead(s, keep, from, size, err);

		leave_out(keep, n, from, from + size, without);
		if (r == 0)
			r = s->trial(s->ctx, without, n, &works, err);
		if (r < 0)
			return r;
		if (!works) {
			from += size;
			continue;
		}
		for (size_t i = 0; i < n; i++)
			keep[i] = without[i];
		kept = count_kept(keep, n);
		*ret_any = true;
	}
	return 0;
}

int dink_ddmin_jobs(bool *keep, size_t n, dink_ddmin_trial trial, dink_ddmin_ahead ahead,
		    size_t jobs, void *ctx, struct dink_err *err)
{
	const struct search s = {n, trial, ahead, jobs, ctx};
	size_t size = (count_kept(keep, n) + 1) / 2;

	while (size > 0) {
		bool any = false;
		int r = reduce_by(&s, size, keep, &any, err);

		if (r < 0)
			return r;
		/* what could not go before may go now that others went: single items again */
		if (size == 1 && any)
			continue;
		if (size == 1)
			break;
		size = (size + 1) / 2;
	}
	return 0;
}

/* ---- the book of trials ---- */

char *dink_trials_text(const bool *keep, size_t n)
{
	char *text = xmalloc(n + 1);

	for (size_t i = 0; i < n; i++)
		text[i] = keep[i] ? '1' : '0';
	text[n] = '\0';
	return text;
}

bool dink_trials_add(struct dink_trials *t, const char *text, bool works)
{
	if (strlen(text) != t->n || strspn(text, "01") != t->n)
		return false;
	dink_strv_add(works ? &t->worked : &t->failed, text);
	return true;
}

/* Whether every item of a is in b. */
static bool is_within(const char *a, const char *b)
{
	for (; *a; a++, b++)
		if (*a == '1' && *b == '0')
			return false;
	return true;
}

enum dink_known dink_trials_know(const struct dink_trials *t, const bool *keep)
{
	_cleanup_free_ char *text = dink_trials_text(keep, t->n);

	for (size_t i = 0; i < t->worked.n; i++)
		if (is_within(t->worked.v[i], text))
			return DINK_KNOWN_WORKS;
	for (size_t i = 0; i < t->failed.n; i++)
		if (is_within(text, t->failed.v[i]))
			return DINK_KNOWN_FAILS;
	return DINK_KNOWN_NOT;
}

void dink_trials_clear(struct dink_trials *t)
{
	dink_strv_clear(&t->worked);
	dink_strv_clear(&t->failed);
}
