/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan with a grant left out: how `dink privileges minimize`, and whoever doubts the needs table,
 * sees what a grant is for. Pure.
 */
#include "provision/plan/plan.h"

static int find_layer(const struct dink_plan *p, const char *word, struct dink_err *err)
{
	_cleanup_free_ char *path = xstrndup(word, strcspn(word, ":"));
	int i = dink_plan_find(p, path);
	_cleanup_free_ char *first = i < 0 ? xasprintf("%s-1", path) : NULL;

	if (i < 0)
		i = dink_plan_find(p, first); /* one of several copies */
	if (i < 0)
		dink_err_set(err, DINK_E_USAGE, 0, "--without %s: %s has no layer %s", word,
			     p->scenario->name, path);
	return i;
}

static int wrong_grant(const char *word, struct dink_err *err)
{
	dink_err_set(err, DINK_E_USAGE, 0, "--without %s: the layer has no such grant", word);
	return dink_err_hint(err, "LAYER:KIND WHAT, as dink privileges explain shows them");
}

int dink_plan_without(struct dink_plan *p, const char *word, struct dink_err *err)
{
	const char *colon = strchr(word, ':'), *what = colon ? strchr(colon, ' ') : NULL;
	_cleanup_free_ char *name = what ? xstrndup(colon + 1, (size_t)(what - colon - 1)) : NULL;
	enum dink_grant_kind kind = name ? dink_grant_kind_from_name(name) : DINK_GRANT_KIND_MAX_;
	int first;

	if (kind == DINK_GRANT_KIND_MAX_)
		return wrong_grant(word, err);
	first = find_layer(p, word, err);
	if (first < 0)
		return -EINVAL;
	if (kind == DINK_GRANT_NAMESPACE)
		return dink_err_set(err, DINK_E_USAGE, 0,
				    "--without %s: it is a bound of the layer, not a power", word);
	for (size_t i = 0; i < p->n_layers; i++)
		if (p->layers[i].spec == p->layers[first].spec &&
		    !dink_privileges_leave_out(p->layers[i].privileges, kind, what + 1))
			return wrong_grant(word, err);
	return 0;
}
