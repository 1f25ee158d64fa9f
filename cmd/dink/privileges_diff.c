/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dink privileges diff A B: what one layer is granted and another is not, and four numbers of
 * both. Either may be a set by name: original, privileged, docker-default.
 */
#include "cmd/dink/privileges.h"

#include "provision/base/json.h"

struct options {
	const char *facts;
};

struct side {
	struct priv_source src;
	struct dink_privileges *own; /* NULL where it is a set by name */
	const struct dink_privileges *p;
	char *name; /* to be shown */
	struct dink_privilege_score score;
};

static void clear_side(struct side *s)
{
	priv_clear(&s->src);
	if (s->own)
		dink_privileges_free(s->own);
	free(s->name);
}

static int open_layer(struct dink_args *args, const char *operand, const char *facts,
		      struct side *s, struct dink_err *err)
{
	_cleanup_free_ char *layer = NULL, *file = priv_split(operand, &layer);
	const struct dink_layer *l = NULL;
	int r = priv_open(args, file, facts, &s->src, err);

	if (r < 0)
		return r;
	if (!layer) {
		dink_err_set(err, DINK_E_USAGE, 0, "%s names no layer", operand);
		return dink_err_hint(err, "SCENARIO/LAYER, such as %s/%s", operand,
				     s->src.s->n_layers ? s->src.s->layers[0]->name : "LAYER");
	}
	r = priv_find(&s->src, layer, &l, &s->name, err);
	if (r == 0)
		r = dink_privileges_of(s->src.s, l, s->name, s->src.f, s->src.f->kata.ok, &s->own,
				       err);
	s->p = s->own;
	return r;
}

static int open_side(struct dink_args *args, const char *operand, struct side *s,
		     struct dink_err *err)
{
	const struct options *o = args->opts;

	s->p = dink_privileges_reference(operand);
	if (!s->p)
		return open_layer(args, operand, o->facts, s, err);
	s->name = xstrdup(operand);
	priv_read_base(&s->src);
	return 0;
}

/* What a has of this kind and name covers what b has. */
static bool covers(const struct dink_privileges *a, const struct dink_grant *g)
{
	return dink_privileges_have(a, g->kind, g->what) || dink_privileges_have(a, g->kind, "*");
}

static unsigned int print_missing(char sign, const struct dink_privileges *from,
				  const struct dink_privileges *in)
{
	unsigned int n = 0;

	for (size_t i = 0; i < from->n_grants; i++) {
		const struct dink_grant *g = &from->grants[i];

		if (covers(in, g))
			continue;
		printf("%c %-12s %s\n", sign, dink_grant_kind_name(g->kind),
		       STREQ(g->what, "*") ? "all" : g->what);
		n++;
	}
	return n;
}

static struct json_object *missing_to_json(const struct dink_privileges *from,
					   const struct dink_privileges *in)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < from->n_grants; i++) {
		struct json_object *o;

		if (covers(in, &from->grants[i]))
			continue;
		o = dink_json_new();
		dink_json_set_str(o, "kind", dink_grant_kind_name(from->grants[i].kind));
		dink_json_set_str(o, "what", from->grants[i].what);
		json_object_array_add(list, o);
	}
	return list;
}

static void print_sides(const struct side *a, const struct side *b)
{
	unsigned int n;

	printf("- %s\n+ %s\n\n", a->name, b->name);
	n = print_missing('-', a->p, b->p);
	n += print_missing('+', b->p, a->p);
	if (!n)
		printf("the same grants\n");
	printf("\n");
	priv_print_scores(a->name, &a->score, b->name, &b->score);
}

static struct json_object *side_to_json(const struct side *s, const struct side *other)
{
	struct json_object *o = dink_json_new();

	dink_json_set_str(o, "name", s->name);
	dink_json_set(o, "only", missing_to_json(s->p, other->p));
	dink_json_set(o, "score", dink_score_to_json(&s->score));
	return o;
}

static int run_diff(struct dink_args *args, struct dink_err *err)
{
	_cleanup_(clear_side) struct side a = {}, b = {};
	struct json_object *o;
	int r = open_side(args, args->v[0], &a, err);

	if (r == 0)
		r = open_side(args, args->v[1], &b, err);
	if (r < 0 || !a.p || !b.p)
		return r;
	r = dink_privileges_score(a.p, a.src.base, a.src.base_len, &a.score, err);
	if (r == 0)
		r = dink_privileges_score(b.p, b.src.base, b.src.base_len, &b.score, err);
	if (r < 0)
		return r;
	if (!args->json) {
		print_sides(&a, &b);
		return 0;
	}
	o = dink_json_new();
	dink_json_set(o, "a", side_to_json(&a, &b));
	dink_json_set(o, "b", side_to_json(&b, &a));
	cmd_print_json(o);
	return 0;
}

static const struct dink_opt diff_opts[] = {
	{0, "facts", DINK_OPT_STRING, offsetof(struct options, facts), "FILE",
	 "a host saved by dink doctor --save instead of this one", DINK_COMPLETE_FILE},
	{},
};

const struct dink_command cmd_privileges_diff = {
	.name = "privileges diff",
	.operands = "A B",
	.summary = "compare what two layers are granted",
	.examples = "  dink privileges diff scenarios/docker-in-kata.yaml/proxy "
		    "scenarios/docker-in-docker.yaml/docker\n"
		    "  dink privileges diff scenarios/docker-in-kata.yaml/proxy privileged\n",
	.opts = diff_opts,
	.opts_size = sizeof(struct options),
	.min_args = 2,
	.max_args = 2,
	.has_json = true,
	.complete = DINK_COMPLETE_FILE,
	.run = run_diff,
};
