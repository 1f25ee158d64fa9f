/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delta debugging: the smallest part of a set with which something still works.
 *
 * Pure: what "works" means is the caller's trial. Two modules in one: the reduction itself, and a
 * book of trials that were made, so that one which was made before, or whose outcome follows from
 * another, is not made again (and a run that was interrupted goes on where it was).
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/mem.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * A trial: does it work with those items only whose keep[i] is true?
 * Returns 0 with *ret_works set; negative with err ends the search.
 */
typedef int (*dink_ddmin_trial)(void *ctx, const bool *keep, size_t n, bool *ret_works,
				struct dink_err *err);

/*
 * Trials that are likely to be asked for next, sets[0] first: a caller that can make several at once
 * makes them and remembers what came of each. Their outcomes are asked for by trial().
 */
typedef int (*dink_ddmin_ahead)(void *ctx, bool *const *sets, size_t n_sets, size_t n,
				struct dink_err *err);

/*
 * dink_ddmin_jobs() - leave out chunks of ever smaller size, down to single items
 * @keep: n flags; the caller sets those to begin with, with which it must be known to work
 * @ahead: called before trial() with up to `jobs` sets, of which it makes what it does not know; NULL
 * where trials are made one by one
 *
 * At the end no single item can be left out of keep: each such set was tried and failed. For n
 * items of which all are needed it takes about 2n trials, for k needed ones about k log n.
 */
int dink_ddmin_jobs(bool *keep, size_t n, dink_ddmin_trial trial, dink_ddmin_ahead ahead,
		    size_t jobs, void *ctx, struct dink_err *err) _must_check_;

/* Trials that were made, each a string of n '0' and '1' (kept). */
struct dink_trials {
	size_t n;
	struct dink_strv worked, failed;
};

/* dink_trials_text() - keep as such a string; caller frees */
char *dink_trials_text(const bool *keep, size_t n);
/* dink_trials_add() - false if the text is no set of n items */
bool dink_trials_add(struct dink_trials *t, const char *text, bool works);

enum dink_known { DINK_KNOWN_NOT, DINK_KNOWN_WORKS, DINK_KNOWN_FAILS };
/*
 * dink_trials_know() - the outcome, as far as it follows from those made: more privileges never
 * make a thing fail, so a set within a failed one fails, and one around a working one works
 */
enum dink_known dink_trials_know(const struct dink_trials *t, const bool *keep);
void dink_trials_clear(struct dink_trials *t);
