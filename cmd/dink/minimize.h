/* SPDX-License-Identifier: Apache-2.0 */
/* One trial of `dink privileges minimize`, and the book of them in the state folder. */
#pragma once

#include "cmd/dink/privileges.h"

#include "provision/privilege/ddmin.h"

enum { MINIMIZE_TIMEOUT_MS = 60 * 1000, MINIMIZE_JOBS_MAX = 16 };

struct minimize_item {
	char *word;  /* as `dink up --without` takes it */
	char *error; /* what it failed with when this alone was left out; NULL = not seen */
};

struct minimize {
	const char *file, *check; /* check: NULL = that it comes up is enough */
	uint64_t timeout_ms;
	bool quiet;
	struct minimize_item *items;
	size_t n_items;
	char *name;    /* of the instance that trials bring up */
	char *program; /* this one */
	char *state;   /* the book's file */
	struct dink_trials book;
	size_t n_trials;  /* of the book and made now */
	char *last_error; /* of the last trial that failed */
	size_t jobs;	  /* trials at once */
};

/* minimize_open() - names, and the book of an earlier run of the same question, if there is one */
int minimize_open(struct minimize *m, const struct dink_scenario *s, struct dink_err *err);

/* minimize_try() - a dink_ddmin_trial; ctx is the struct minimize */
int minimize_try(void *ctx, const bool *keep, size_t n, bool *ret_works, struct dink_err *err);
/* minimize_try_ahead() - a dink_ddmin_ahead: what the book does not know yet, all at once */
int minimize_try_ahead(void *ctx, bool *const *sets, size_t n_sets, size_t n, struct dink_err *err);
