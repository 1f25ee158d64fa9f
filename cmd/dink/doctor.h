/* SPDX-License-Identifier: Apache-2.0 */
/* The checks of `dink doctor`, apart from how they are printed. Private to cmd/dink/doctor*.c. */
#pragma once

#include "provision/host/facts.h"
#include "provision/scenario/scenario.h"

enum check_state { CHECK_OK, CHECK_WARN, CHECK_FAIL };

/* One fact, judged. */
struct check {
	const char *name; /* "tun" */
	enum check_state state;
	char *detail;	     /* what was found */
	const char *affects; /* what does not work, or worse, without it; NULL when ok */
	const char *mend;    /* a command, or words where no command can; NULL = nothing can */
};

struct checks {
	struct check *list;
	size_t n;
};

/* check_host() - all checks, in a fixed order; @s may be NULL: then nothing is needed */
void check_host(const struct dink_facts *f, const struct dink_scenario *s, struct checks *ret);
void checks_clear(struct checks *c);
size_t checks_count(const struct checks *c, enum check_state state);
