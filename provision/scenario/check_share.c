/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What layers have from elsewhere: files that are handed to them, and other layers that they call by
 * name. A layer reaches only what is written above it, so that there is an order to start them in.
 */
#include "provision/scenario/table.h"

struct share {
	const struct dink_scenario *s;
	struct dink_report *report;
	size_t n_reached;
};

static void check_file_spec(const struct share *c, const struct dink_file_spec *f)
{
	if (!f->source || f->sha256 || dink_field_refused(&dink_table_file, f, "sha256") ||
	    !dink_file_is_url(f->source))
		return;
	if (dink_report_at(c->report, f->source_mark,
			   "file '%s' is fetched from elsewhere but has no 'sha256'",
			   dink_shown(f->name).s))
		dink_report_hint(c->report, "its maker publishes it, or sha256sum FILE prints it");
}

static void check_files(const struct share *c, const struct dink_layer *l)
{
	for (size_t i = 0; i < l->n_files; i++) {
		const struct dink_layer_file *f = &l->files[i];

		if (dink_scenario_file(c->s, f->file) || !dink_name_is_valid(f->file))
			continue;
		if (dink_report_at(c->report, f->mark, "file '%s' is not defined",
				   dink_shown(f->file).s))
			dink_check_hint_definition(c->s, c->report, "files", f->file);
	}
}

/* The layer of that name in whose sight l is: beside it, or beside a layer around it. */
static const struct dink_layer *find_seen(const struct share *c, const struct dink_layer *l,
					  const char *name, bool *ret_above)
{
	for (; l; l = l->parent) {
		struct dink_layer *const *beside = l->parent ? l->parent->children : c->s->layers;
		size_t n = l->parent ? l->parent->n_children : c->s->n_layers;
		const struct dink_layer *found = NULL;
		bool above = true;

		*ret_above = false;
		for (size_t i = 0; i < n; i++) {
			if (beside[i] == l)
				above = false;
			if (!found && STREQ(beside[i]->name, name)) {
				found = beside[i];
				*ret_above = above;
			}
		}
		if (found)
			return found;
	}
	return NULL;
}

static bool is_around(const struct dink_layer *outer, const struct dink_layer *l)
{
	while (l && l != outer)
		l = l->parent;
	return l != NULL;
}

static void check_reached(const struct share *c, const struct dink_layer *l, const char *name)
{
	bool above = false;
	const struct dink_layer *to = find_seen(c, l, name, &above);

	if (!to) {
		if (dink_report_at(
			    c->report, l->reach_mark,
			    "layer '%s' cannot reach '%s': no layer of that name is beside it "
			    "or beside one around it",
			    dink_shown(l->name).s, dink_shown(name).s))
			dink_report_hint(c->report, "a layer inside another one is not seen from "
						    "outside it");
	} else if (is_around(to, l)) {
		dink_report_at(c->report, l->reach_mark, "layer '%s' cannot reach '%s': it is %s",
			       dink_shown(l->name).s, dink_shown(name).s,
			       to == l ? "that layer" : "inside that layer");
	} else if (to->count > 1) {
		if (dink_report_at(c->report, l->reach_mark,
				   "layer '%s' cannot reach '%s': there are %u of it",
				   dink_shown(l->name).s, dink_shown(name).s, to->count))
			dink_report_hint(c->report, "write the layers one by one");
	} else if (!above) {
		if (dink_report_at(c->report, l->reach_mark,
				   "layer '%s' cannot reach '%s', which comes after it",
				   dink_shown(l->name).s, dink_shown(name).s))
			dink_report_hint(c->report,
					 "move '%s' (line %u) up: what is reached is "
					 "written first",
					 dink_shown(name).s, to->mark.line);
	}
}

static void check_layers(struct share *c, struct dink_layer *const *layers, size_t n, int depth)
{
	for (size_t i = 0; i < n && depth <= DINK_LAYER_DEPTH_MAX; i++) {
		const struct dink_layer *l = layers[i];

		check_files(c, l);
		for (size_t k = 0; k < l->reach.n && c->n_reached < DINK_LAYERS_MAX; k++) {
			check_reached(c, l, l->reach.v[k]);
			/* each takes a look at all layers beside it */
			if (++c->n_reached == DINK_LAYERS_MAX)
				dink_report_at(c->report, l->reach_mark,
					       "a scenario has at most %d names in reach:",
					       DINK_LAYERS_MAX - 1);
		}
		check_layers(c, l->children, l->n_children, depth + 1);
	}
}

void dink_check_share(const struct dink_scenario *s, struct dink_report *report)
{
	struct share c = {.s = s, .report = report};

	for (size_t i = 0; i < s->n_files; i++)
		check_file_spec(&c, &s->files[i]);
	check_layers(&c, s->layers, s->n_layers, 1);
}
