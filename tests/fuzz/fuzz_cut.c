/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the archive of an image on its way. Must hold: every byte goes to some layer or to
 * everybody, once and in order; how the bytes arrive makes no difference; an error has words.
 */
#include "images/cut.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LAYERS = 3 };

struct seen {
	struct dink_str all, by_layer[LAYERS + 1], stubs;
};

static int take(void *ctx, int layer, const void *bytes, size_t n, struct dink_err *err)
{
	struct seen *s = ctx;

	(void)err;
	if (layer < -1 || layer >= LAYERS || n == 0)
		abort();
	dink_str_addn(&s->all, bytes, n);
	dink_str_addn(&s->by_layer[layer + 1], bytes, n);
	return 0;
}

static int take_stub(void *ctx, int layer, const void *bytes, size_t n, struct dink_err *err)
{
	struct seen *s = ctx;

	(void)err;
	if (layer < 0 || layer >= LAYERS || n == 0)
		abort();
	dink_str_addn(&s->stubs, bytes, n);
	return 0;
}

static int run(const struct dink_strv *ids, const uint8_t *data, size_t size, size_t step,
	       struct seen *s)
{
	_cleanup_(dink_cut_freep) struct dink_cut *c = dink_cut_new(ids, take, take_stub, s);
	_cleanup_(dink_err_clear) struct dink_err err = {};
	int r = 0;

	if (data[0] & 1) /* of a header's first letter: both ways are met */
		dink_cut_strict(c, "app:1");
	for (size_t at = 0; r == 0 && at < size; at += step)
		r = dink_cut_feed(c, data + at, size - at < step ? size - at : step, &err);
	if (r == 0 && dink_cut_end(c, &err) == 0) {
		if (s->all.len != size || (size && memcmp(s->all.s, data, size) != 0))
			abort();
		return 0;
	}
	if (!dink_err_is_set(&err) || !err.msg[0])
		abort();
	/* what went out before the error is what came in */
	if (s->all.len > size || (s->all.len && memcmp(s->all.s, data, s->all.len) != 0))
		abort();
	return -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_strv_ struct dink_strv ids = {};
	struct seen a = {}, b = {};

	for (int i = 0; i < LAYERS; i++)
		dink_strv_addf(&ids, "sha256:%064x", i + 1);
	if (size == 0 || size > 1 << 20)
		return 0;
	int whole = run(&ids, data, size, size, &a);
	int parts = run(&ids, data, size, 1 + data[0], &b);
	if (whole != parts || a.all.len != b.all.len || a.stubs.len != b.stubs.len ||
	    (a.stubs.len && memcmp(a.stubs.s, b.stubs.s, a.stubs.len) != 0))
		abort();
	for (int i = 0; i <= LAYERS; i++) {
		if (a.by_layer[i].len != b.by_layer[i].len)
			abort();
		if (a.by_layer[i].len &&
		    memcmp(a.by_layer[i].s, b.by_layer[i].s, a.by_layer[i].len) != 0)
			abort();
		dink_str_clear(&a.by_layer[i]);
		dink_str_clear(&b.by_layer[i]);
	}
	dink_str_clear(&a.all);
	dink_str_clear(&a.stubs);
	dink_str_clear(&b.stubs);
	dink_str_clear(&b.all);
	return 0;
}
