/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest says of its processes, for `docker top`. Must hold: no memory error; the stand-ins
 * that would be forked are a forest, within their bounds, each forked once.
 */
#include "cmd/dink-vm/standin.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* stand(), without the forks */
static size_t count(const struct standin *all, size_t n, int index, size_t depth)
{
	size_t found = 0;

	if (depth > STANDINS_MAX)
		abort();
	for (size_t i = 0; i < n; i++) {
		if (all[i].parent == index)
			found += 1 + count(all, n, (int)i, depth + 1);
	}
	return found;
}

static void check_argv(struct json_object *process)
{
	_cleanup_strv_ struct dink_strv argv = {};
	size_t bytes = 0;

	make_argv(process, dink_json_str_or(process, "name", ""), &argv);
	for (size_t i = 0; i < argv.n; i++)
		bytes += strlen(argv.v[i]) + 1;
	/* without arguments it is the name that stands there */
	if (argv.n < 1 || argv.n > ARGS_MAX || (argv.n > 1 && bytes > ARGS_BYTES))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_json_ struct json_object *answer = NULL;
	_cleanup_free_ struct standin *all = xcalloc(STANDINS_MAX, sizeof(*all));

	if (dink_json_parse((const char *)data, size, "fuzz", &answer, &err) < 0)
		return 0;
	size_t n = list_standins(dink_json_get(answer, "processes"), all);
	if (n > STANDINS_MAX || count(all, n, -1, 0) > n)
		abort();
	for (size_t i = 0; i < n; i++)
		check_argv(all[i].process);
	return 0;
}
