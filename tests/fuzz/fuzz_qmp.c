/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QMP as a guest's doings can shape it: the first byte says in how small pieces the rest arrives;
 * two commands wait. Must hold: no memory error, replies at most once.
 */
#include "provision/vm/qmp.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_reply(void *ctx, struct json_object *result, const char *error)
{
	int *replies = ctx;

	if (++*replies > 1 || (!result && !error))
		abort();
}

static void on_event(void *ctx, const char *name, struct json_object *data)
{
	(void)ctx;
	/* what the monitor does with one */
	if (strlen(name) > DINK_QMP_LINE_MAX)
		abort();
	(void)dink_json_str_or(data, "reason", "");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct dink_qmp_ops ops = {.on_event = on_event};
	int a = 0, b = 0, r = 0;

	if (size < 1)
		return 0;
	size_t step = data[0] ? data[0] : size;
	struct dink_qmp *q = dink_qmp_new(NULL, -1, &ops, NULL);
	if (dink_qmp_send(q, "stop", NULL, on_reply, &a) < 0 ||
	    dink_qmp_send(q, "cont", NULL, on_reply, &b) < 0)
		abort();
	for (size_t at = 1; at < size && r == 0; at += step) {
		size_t n = size - at < step ? size - at : step;
		r = dink_qmp_feed(q, (const char *)data + at, n);
	}
	dink_qmp_free(q);
	return 0;
}
