/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as a recipe. Must hold: an error has words, and what was accepted has a suite and
 * packages that no program can take for an option, and globs that answer for any path.
 */
#include "images/recipe.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct dink_recipe *r)
{
	if (!r->suite || r->suite[0] == '-')
		abort();
	for (size_t i = 0; i < r->packages.n; i++)
		if (!r->packages.v[i][0] || r->packages.v[i][0] == '-' ||
		    strpbrk(r->packages.v[i], ", \t"))
			abort();
	for (size_t i = 0; i < r->env.n; i++)
		if (!strchr(r->env.v[i], '='))
			abort();
	for (size_t i = 0; i < r->remove.n; i++)
		if (r->remove.v[i][0] != '/')
			abort();
	(void)dink_recipe_removes(r, "");
	(void)dink_recipe_removes(r, "usr/share/doc/bash/copyright");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_recipe_clear) struct dink_recipe r = {};
	/* as dink_file_read() hands it over: NUL at the end, and maybe before */
	_cleanup_free_ char *text = xstrndup((const char *)data, size);

	if (dink_recipe_parse("fuzz", text, &r, &err) == 0) {
		check(&r);
		return 0;
	}
	if (err.code != DINK_E_SCENARIO || !err.msg[0])
		abort();
	_cleanup_free_ char *words = dink_err_format(&err);
	if (!words[0])
		abort();
	return 0;
}
