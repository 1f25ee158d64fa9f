/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words about work that takes over a second. A library is handed a reporter by its caller (NULL =
 * silence) and never prints; cmd/dink decides what a terminal, a pipe or --json makes of it.
 */
#pragma once

#include <stdint.h>

struct dink_progress {
	/*
	 * @what: "building kernel", "loading image debian"; short, lower case
	 * @done, @total: same unit (bytes, files); total 0 = unknown
	 */
	void (*report)(void *ctx, const char *what, uint64_t done, uint64_t total);
	void *ctx;
};

static inline void dink_progress(const struct dink_progress *p, const char *what, uint64_t done,
				 uint64_t total)
{
	if (p && p->report)
		p->report(p->ctx, what, done, total);
}
