/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host, judged: `dink doctor` prints every check, the plan refuses a host that fails one.
 * Facts and scenario in, checks out; touches nothing.
 */
#pragma once

#include "provision/host/facts.h"
#include "provision/scenario/scenario.h"

enum dink_check_state { DINK_CHECK_OK, DINK_CHECK_WARN, DINK_CHECK_FAIL };

/* One fact, judged. */
struct dink_check {
	const char *name; /* "tun" */
	enum dink_check_state state;
	char *detail;	     /* what was found */
	const char *affects; /* what does not work, or worse, without it; NULL when ok */
	const char *mend;    /* a command, or words where no command can; NULL = nothing can */
};

struct dink_checks {
	struct dink_check *list;
	size_t n;
};

/* dink_check_host() - all checks, in a fixed order; @s may be NULL: then nothing is needed */
void dink_check_host(const struct dink_facts *f, const struct dink_scenario *s,
		     struct dink_checks *ret);
void dink_checks_clear(struct dink_checks *c);
/* dink_mend_user_namespaces() - the command that mends it, from why it is not usable */
const char *dink_mend_user_namespaces(const char *why);
/* dink_checks_refuse() - the first failure as DINK_E_HOST, with what mends it; 0 if none failed */
int dink_checks_refuse(const struct dink_checks *c, const char *scenario,
		       struct dink_err *err) _must_check_;
size_t dink_checks_count(const struct dink_checks *c, enum dink_check_state state);
