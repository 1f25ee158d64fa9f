/* SPDX-License-Identifier: Apache-2.0 */
/* The needs table as data. Private to provision/privilege. */
#pragma once

#include "provision/privilege/privilege.h"

/* One grant that a need takes, and what for. */
struct dink_need_grant {
	enum dink_need need;
	enum dink_grant_kind kind;
	const char *what;
	const char *why;
};
extern const struct dink_need_grant dink_need_grants[];
extern const size_t dink_n_need_grants;

/* DINK_NEED_MAX_ if there is none of that name. */
enum dink_need dink_need_from_name(const char *name);

/* A bit for each need: with those that come with them ("rootless-daemon" with "userns-child"). */
uint32_t dink_need_with_implied(uint32_t needs);

/* The state folder of a daemon: its volume is not granted where a disk is mounted there. */
const char *dink_need_store(enum dink_need n);
