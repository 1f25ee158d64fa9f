/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a scenario. Must hold: no crash, no leak (the sanitizers see to it), the same
 * answer twice, problems in order and each with words, and a model that, written back as JSON,
 * is read as the same model again.
 */
#include "provision/base/json.h"
#include "provision/scenario/scenario.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)

/* What was answered, as one text: the model or the problems. */
static char *answer(const char *text, size_t len, int *ret_r)
{
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = NULL;
	_cleanup_(dink_problems_clear) struct dink_problems p = {};
	_cleanup_json_ struct json_object *o = NULL;
	struct dink_str out = {};

	*ret_r = dink_scenario_parse("fuzz.yaml", text, len, &s, &p);
	MUST(*ret_r == 0 || *ret_r == -EINVAL);
	MUST((*ret_r == 0) == (s != NULL) && (*ret_r == 0) == (p.n == 0));
	if (s) {
		o = dink_scenario_to_json(s);
		dink_str_add(&out,
			     json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE));
	}
	for (size_t i = 0; i < p.n; i++) {
		_cleanup_free_ char *words = dink_err_format(&p.list[i]);

		MUST(p.list[i].code == DINK_E_SCENARIO && p.list[i].msg[0]);
		MUST(i == 0 || p.list[i - 1].src.line <= p.list[i].src.line);
		dink_str_add(&out, words);
	}
	return dink_str_take(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *first = NULL, *second = NULL, *again = NULL;
	int r1, r2, r3;

	first = answer((const char *)data, size, &r1);
	second = answer((const char *)data, size, &r2);
	MUST(r1 == r2 && STREQ(first, second));
	if (r1 < 0)
		return 0;
	/* escaped and with all defaults it may be over the limit of size, else it is the same */
	if (strlen(first) > DINK_SCENARIO_BYTES_MAX)
		return 0;
	again = answer(first, strlen(first), &r3);
	MUST(r3 == 0 && STREQ(first, again));
	return 0;
}
