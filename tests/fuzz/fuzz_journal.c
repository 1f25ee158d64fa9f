/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A journal as any bytes. Must hold: no memory error; what was accepted has a good length within
 * the input, and parsing just that length gives the same records again.
 */
#include "provision/step/step.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_journal_freep) struct dink_journal *j = NULL, *again = NULL;
	size_t good = 0, same = 0;

	if (dink_journal_parse((const char *)data, size, "journal", &j, &good, &err) < 0) {
		if (j || err.code != DINK_E_STATE)
			abort();
		return 0;
	}
	if (good > size ||
	    dink_journal_parse((const char *)data, good, "journal", &again, &same, &err) < 0)
		abort();
	if (same != good || again->n_records != j->n_records)
		abort();
	for (size_t i = 0; i < j->n_records; i++) {
		struct dink_record *r = j->records[i];

		if (r->step != i + 1 || !r->key || !r->kind || !r->params)
			abort();
		(void)dink_journal_live(j, r->key);
	}
	(void)dink_journal_is_live(j);
	return 0;
}
