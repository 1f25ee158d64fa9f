/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anybody's log into the catalogue of errors. Must hold: no memory error, bounded answers, what is
 * shown has no control characters, an entry that is found in a text is found in its line alone.
 */
#include "provision/base/mem.h"
#include "provision/explain/explain.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct dink_explanation *x)
{
	if (x->n > DINK_EXPLAIN_MATCHES)
		abort();
	for (size_t i = 0; i < x->n; i++) {
		const struct dink_explain_match *m = &x->v[i];

		if (!m->entry || m->count == 0 || m->line == 0 || strlen(m->text) > 403)
			abort();
		for (const char *c = m->text; *c; c++)
			if ((unsigned char)*c < ' ' || *c == 0x7f)
				abort();
		for (size_t k = 0; k < i; k++)
			if (x->v[k].entry == m->entry)
				abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_explanation_ struct dink_explanation x = {}, again = {};
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_free_ char *text = size ? xmemdup(data, size) : xstrdup("");

	dink_explain_text(text, size, NULL, &x);
	check(&x);
	o = dink_explanation_json(&x);
	dink_explain_text(text, size, NULL, &again);
	if (again.n != x.n)
		abort();
	if (size < 4096) {
		_cleanup_free_ char *words = xstrndup(text, size);

		(void)dink_err_set(&err, DINK_E_CHILD, 0, "x");
		dink_err_detail(&err, words);
		dink_explain_err(&err);
	}
	return 0;
}
