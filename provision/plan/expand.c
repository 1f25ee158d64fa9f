/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scenario layers -> plan layers: counts multiplied (NAME-1 .. NAME-N), addresses and container
 * names given, images listed once each. Linear in the number of layers.
 */
#include "provision/plan/internal.h"

#include "provision/scenario/scenario.h"

struct expansion {
	struct dink_plan *plan;
	size_t cap;
};

/* A path of the scenario is relative to the scenario's own folder, as in a Makefile's include. */
static char *resolve_path(const struct dink_scenario *s, const char *where)
{
	const char *slash = s->file ? strrchr(s->file, '/') : NULL;

	if (where[0] == '/' || !slash)
		return xstrdup(where);
	return xasprintf("%.*s/%s", (int)(slash - s->file), s->file, where);
}

static int find_image(struct dink_plan *p, const char *name)
{
	const struct dink_image_spec *spec;
	struct dink_plan_image *img;

	for (size_t i = 0; i < p->n_images; i++)
		if (STREQ(p->images[i].name, name))
			return (int)i;
	p->images = xreallocarray(p->images, p->n_images + 1, sizeof(*p->images));
	img = &p->images[p->n_images];
	*img = (struct dink_plan_image){.name = xstrdup(name)};
	spec = dink_scenario_image(p->scenario, name);
	if (spec) {
		img->kind = spec->kind;
		img->where = spec->kind == DINK_IMAGE_REGISTRY
				     ? xstrdup(spec->where)
				     : resolve_path(p->scenario, spec->where);
	} else {
		img->kind = DINK_IMAGE_RECIPE;
		img->where = xasprintf("images/%s", name);
		img->shipped = true;
	}
	return (int)p->n_images++;
}

/* NAME.a.b for the address NAME/a/b: what engines accept as a container's name. */
static char *container_name(const char *path)
{
	char *name = xstrdup(path);

	for (char *c = name; *c; c++)
		if (*c == '/')
			*c = '.';
	return name;
}

static int add_layer(struct expansion *x, const struct dink_layer *spec, int parent,
		     uint32_t number, struct dink_err *err)
{
	struct dink_plan *p = x->plan;
	struct dink_plan_layer *l;

	if (p->n_layers == PLAN_LAYERS_MAX) {
		dink_scenario_problem(p->scenario, spec->mark, err,
				      "the scenario has over %d layers when its counts are "
				      "multiplied",
				      PLAN_LAYERS_MAX);
		return -EINVAL;
	}
	if (p->n_layers == x->cap) {
		x->cap = x->cap ? x->cap * 2 : 16;
		p->layers = xreallocarray(p->layers, x->cap, sizeof(*p->layers));
	}
	l = &p->layers[p->n_layers];
	*l = (struct dink_plan_layer){
		.spec = spec, .parent = parent, .kernel = -1, .guest_kernel = -1};
	l->name = number ? xasprintf("%s-%u", spec->name, number) : xstrdup(spec->name);
	l->path = xasprintf("%s/%s", parent < 0 ? p->scenario->name : p->layers[parent].path,
			    l->name);
	l->container = container_name(l->path);
	l->depth = parent < 0 ? 1 : p->layers[parent].depth + 1;
	l->image = find_image(p, spec->image);
	l->mtu = PLAN_MTU;
	return (int)p->n_layers++;
}

static int expand_layer(struct expansion *x, const struct dink_layer *spec, int parent,
			struct dink_err *err)
{
	uint32_t count = spec->count > 1 ? spec->count : 1;

	for (uint32_t i = 1; i <= count; i++) {
		int me = add_layer(x, spec, parent, count > 1 ? i : 0, err);

		if (me < 0)
			return me;
		for (size_t c = 0; c < spec->n_children; c++) {
			int r = expand_layer(x, spec->children[c], me, err);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

int dink_plan_expand(struct dink_plan *p, struct dink_err *err)
{
	struct expansion x = {.plan = p};

	for (size_t i = 0; i < p->scenario->n_layers; i++) {
		int r = expand_layer(&x, p->scenario->layers[i], -1, err);

		if (r < 0)
			return r;
	}
	return 0;
}
