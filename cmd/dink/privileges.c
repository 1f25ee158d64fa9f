/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dink privileges explain: what each layer is granted beyond its engine's default, why, and what
 * the original docker-in-kata granted in its place.
 *
 * How it counts: one for each capability, device, mount, sysctl and system call. For
 * seccomp=unconfined that is every call that our profile denies, and those that we grant.
 * Namespaces and limits that are set bound a layer and count as nothing.
 */
#include "cmd/dink/privileges.h"

#include "provision/base/json.h"

struct options {
	const char *facts;
	const char *against;
	bool seccomp, oci, apparmor;
	struct dink_strv without;
};

/* One layer explained. */
struct explained {
	struct dink_privileges *ours;
	char *profile;	/* its seccomp profile; NULL: the base is not there */
	bool has_count; /* the base profile was there */
	struct dink_seccomp_count calls;
	const struct dink_privileges
		*other; /* compared with; NULL: the original has no such level */
	unsigned int n_ours, n_other;
	struct dink_privilege_score ours_score, other_score;
};

/* What all layers share. */
struct context {
	const struct priv_source *src;
	const struct options *opts;
	/* what to compare with, NULL = the original, where that has such a level */
	const struct dink_privileges *against;
	const char *only;	  /* a path, NULL = all */
	struct json_object *list; /* with --json */
	size_t n_shown;
};

/* A limit that is lifted ("memlock=-1:-1") is a power, one that is set is a bound. */
static bool counts(const struct dink_grant *g)
{
	if (g->kind == DINK_GRANT_RLIMIT)
		return strstr(g->what, "=-1") != NULL;
	return g->kind != DINK_GRANT_NAMESPACE;
}

static unsigned int count_kind(const struct dink_privileges *p, enum dink_grant_kind k)
{
	unsigned int n = 0;

	for (size_t i = 0; i < p->n_grants; i++)
		n += p->grants[i].kind == k;
	return n;
}

/* "*" is expanded to the calls that our profile denies and those that ours grants. */
static unsigned int count_grants(const struct dink_privileges *p, const struct explained *e)
{
	unsigned int n = 0;

	for (size_t i = 0; i < p->n_grants; i++) {
		if (!counts(&p->grants[i]))
			continue;
		if (STREQ(p->grants[i].what, "*"))
			n += e->calls.denied + count_kind(e->ours, DINK_GRANT_SYSCALL);
		else
			n++;
	}
	return n;
}

/* "KIND WHAT" */
static int leave_out(struct dink_privileges *p, const char *path, const char *word,
		     struct dink_err *err)
{
	const char *what = strchr(word, ' ');
	_cleanup_free_ char *kind = xstrndup(word, strcspn(word, " "));

	if (what && dink_privileges_leave_out(p, dink_grant_kind_from_name(kind), what + 1))
		return 0;
	dink_err_set(err, DINK_E_USAGE, 0, "--without %s: %s has no such grant", word, path);
	return dink_err_hint(err, "KIND WHAT, such as \"capability CAP_NET_ADMIN\"");
}

static int explain(const struct context *c, const struct dink_layer *l, const char *path,
		   struct explained *e, struct dink_err *err)
{
	const struct priv_source *src = c->src;
	int r = dink_privileges_of(src->s, l, path, src->f, src->f->kata.ok, &e->ours, err);

	for (size_t i = 0; r == 0 && i < c->opts->without.n; i++)
		r = leave_out(e->ours, path, c->opts->without.v[i], err);
	if (r < 0)
		return r;
	if (src->base) {
		r = dink_privileges_seccomp(e->ours, src->base, src->base_len, &e->profile, err);
		if (r == 0)
			r = dink_seccomp_count(e->ours, e->profile, strlen(e->profile), &e->calls,
					       err);
		if (r < 0)
			return dink_err_push(err, "read %s", priv_base_profile);
		e->has_count = true;
	}
	e->n_ours = count_grants(e->ours, e);
	/* the original's two outer levels are those with a daemon; its inner one is a plain one */
	e->other = c->against;
	if (!e->other && l->daemon != DINK_DAEMON_NONE)
		e->other = dink_privileges_original();
	r = dink_privileges_score(e->ours, src->base, src->base_len, &e->ours_score, err);
	if (r == 0 && e->other) {
		e->n_other = count_grants(e->other, e);
		r = dink_privileges_score(e->other, src->base, src->base_len, &e->other_score, err);
	}
	return r;
}

/* ---- for people ---- */

static void print_reasons(const struct dink_grant *g)
{
	for (size_t i = 0; i < g->reasons.n; i++)
		printf("                 %s\n", g->reasons.v[i]);
}

static void print_other_grant(const struct explained *e, const struct dink_grant *g)
{
	bool both = dink_privileges_have(e->ours, g->kind, g->what);
	const char *kind = dink_grant_kind_name(g->kind);

	if (!STREQ(g->what, "*"))
		printf("    %-12s %-30s %s\n", kind, g->what, both ? "ours too" : "not here");
	else if (g->kind != DINK_GRANT_SYSCALL)
		printf("    %-12s %-30s not here\n", kind, "all");
	else if (e->has_count)
		printf("    %-12s %-30s not here: %u calls stay denied\n", kind,
		       "all (seccomp=unconfined)", e->calls.denied);
	else
		printf("    %-12s %-30s not here\n", kind, "all (seccomp=unconfined)");
}

static void print_other(const struct context *c, const struct explained *e)
{
	const char *name = c->opts->against ? c->opts->against : "original";

	if (STREQ(name, "original"))
		printf("  the original gave this level:\n");
	else
		printf("  %s:\n", name);
	for (size_t i = 0; i < e->other->n_grants; i++)
		print_other_grant(e, &e->other->grants[i]);
	if (!e->has_count)
		printf("  the calls could not be counted: %s is not there "
		       "(apt-get install golang-github-containers-common)\n",
		       priv_base_profile);
	else if (STREQ(name, "original"))
		printf("  %u grants against the original's %u: %u fewer\n", e->n_ours, e->n_other,
		       e->n_other - e->n_ours);
	priv_print_scores("this layer", &e->ours_score, name, &e->other_score);
}

static void print_layer(const struct context *c, const struct dink_layer *l, const char *path,
			const struct explained *e)
{
	bool guest = false;

	for (const struct dink_layer *a = l; a; a = a->parent)
		guest |= a->runtime == DINK_RUNTIME_DINK_VM || a->runtime == DINK_RUNTIME_KATA;
	printf("%s (%s%s): ", path, dink_runtime_name(l->runtime), guest ? ", inside a guest" : "");
	if (!e->ours->n_grants) {
		printf("the engine's default and nothing more\n");
		if (c->against)
			print_other(c, e);
		return;
	}
	printf("%u grants beyond the engine's default\n", e->n_ours);
	for (size_t i = 0; i < e->ours->n_grants; i++) {
		const struct dink_grant *g = &e->ours->grants[i];

		printf("    %-12s %s%s\n", dink_grant_kind_name(g->kind), g->what,
		       counts(g) ? "" : "  (a bound, not counted)");
		print_reasons(g);
	}
	if (e->has_count)
		printf("    %-12s %u system calls allowed, %u denied\n", "seccomp",
		       e->calls.allowed, e->calls.denied);
	if (e->other)
		print_other(c, e);
}

/* ---- for programs ---- */

static int print_profile(const struct explained *e, struct dink_err *err)
{
	if (!e->profile) {
		dink_err_set(err, DINK_E_HOST, ENOENT, "%s", priv_base_profile);
		return dink_err_hint(err, "apt-get install golang-github-containers-common");
	}
	printf("%s\n", e->profile);
	return 0;
}

static int print_oci(const struct context *c, const struct explained *e, struct dink_err *err)
{
	struct json_object *o = NULL;
	int r = dink_privileges_oci(e->ours, c->src->base, c->src->base_len, &o, err);

	if (r == 0)
		cmd_print_json(o);
	return r;
}

static void print_apparmor(const char *path, const struct explained *e)
{
	_cleanup_free_ char *text = dink_privileges_apparmor(e->ours, path);

	printf("%s", text);
}

static struct json_object *layer_to_json(const struct context *c, const char *path,
					 const struct explained *e)
{
	struct json_object *o = dink_json_new(), *calls = dink_json_new();

	dink_json_set_str(o, "layer", path);
	dink_json_set(o, "grants", dink_privileges_to_json(e->ours));
	dink_json_set_int(o, "count", e->n_ours);
	if (e->has_count) {
		dink_json_set_int(calls, "allowed", e->calls.allowed);
		dink_json_set_int(calls, "denied", e->calls.denied);
		dink_json_set(o, "syscalls", calls);
	} else {
		json_object_put(calls);
	}
	dink_json_set(o, "score", dink_score_to_json(&e->ours_score));
	if (!e->other)
		return o;
	if (c->against) {
		dink_json_set_str(o, "against", c->opts->against);
	} else {
		dink_json_set(o, "original", dink_privileges_to_json(e->other));
		dink_json_set_int(o, "original_count", e->n_other);
		dink_json_set_int(o, "fewer", (int64_t)e->n_other - e->n_ours);
	}
	dink_json_set(o, "against_score", dink_score_to_json(&e->other_score));
	return o;
}

static int show(struct context *c, const struct dink_layer *l, const char *path,
		struct dink_err *err)
{
	struct explained e = {};
	int r = explain(c, l, path, &e, err);

	if (r == 0 && c->opts->seccomp) {
		r = print_profile(&e, err);
	} else if (r == 0 && c->opts->oci) {
		r = print_oci(c, &e, err);
	} else if (r == 0 && c->opts->apparmor) {
		print_apparmor(path, &e);
	} else if (r == 0 && c->list) {
		json_object_array_add(c->list, layer_to_json(c, path, &e));
	} else if (r == 0) {
		if (c->n_shown)
			printf("\n");
		print_layer(c, l, path, &e);
	}
	dink_privileges_free(e.ours);
	free(e.profile);
	c->n_shown++;
	return r;
}

static int walk(struct context *c, const struct dink_layer *l, const char *path,
		struct dink_err *err)
{
	int r = show(c, l, path, err);

	for (size_t i = 0; r == 0 && i < l->n_children; i++) {
		_cleanup_free_ char *child = xasprintf("%s/%s", path, l->children[i]->name);

		r = walk(c, l->children[i], child, err);
	}
	return r;
}

static int run_walk(struct context *c, const char *layer, struct dink_err *err)
{
	const struct dink_scenario *s = c->src->s;
	const struct dink_layer *l = NULL;
	_cleanup_free_ char *only = NULL;
	int r = 0;

	if (layer) {
		r = priv_find(c->src, layer, &l, &only, err);
		return r < 0 || !l ? r : show(c, l, only, err);
	}
	for (size_t i = 0; r == 0 && i < s->n_layers; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", s->name, s->layers[i]->name);

		r = walk(c, s->layers[i], path, err);
	}
	return r;
}

static int check_options(const struct options *o, const char *layer, struct context *c,
			 struct dink_err *err)
{
	int alone = o->seccomp + o->oci + o->apparmor;

	if (alone > 1)
		return dink_err_set(err, DINK_E_USAGE, 0,
				    "--seccomp, --oci and --apparmor: only one of them");
	if (alone && !layer)
		return dink_err_set(err, DINK_E_USAGE, 0, "--%s takes one layer: SCENARIO/LAYER",
				    o->seccomp ? "seccomp"
				    : o->oci   ? "oci"
					       : "apparmor");
	if (!o->against)
		return 0;
	c->against = dink_privileges_reference(o->against);
	if (c->against)
		return 0;
	dink_err_set(err, DINK_E_USAGE, 0, "--against %s: there is no such set", o->against);
	return dink_err_hint(err, "one of: original, privileged, docker-default");
}

static int run_explain(struct dink_args *args, struct dink_err *err)
{
	const struct options *opts = args->opts;
	_cleanup_priv_ struct priv_source src = {};
	_cleanup_free_ char *layer = NULL;
	_cleanup_free_ char *file = args->n ? priv_split(args->v[0], &layer) : NULL;
	_cleanup_json_ struct json_object *list = NULL;
	struct context c = {.src = &src, .opts = opts};
	int r = check_options(opts, layer, &c, err);

	if (r == 0)
		r = priv_open(args, file, opts->facts, &src, err);
	if (r < 0)
		return r;
	if (args->json && !opts->seccomp && !opts->oci && !opts->apparmor)
		c.list = list = json_object_new_array();
	r = run_walk(&c, layer, err);
	if (r == 0 && list)
		cmd_print_json(TAKE_PTR(list));
	return r;
}

static const struct dink_opt explain_opts[] = {
	{0, "facts", DINK_OPT_STRING, offsetof(struct options, facts), "FILE",
	 "a host saved by dink doctor --save instead of this one", DINK_COMPLETE_FILE},
	{0, "seccomp", DINK_OPT_FLAG, offsetof(struct options, seccomp), NULL,
	 "print the layer's seccomp profile alone, as an engine takes it", DINK_COMPLETE_NONE},
	{0, "oci", DINK_OPT_FLAG, offsetof(struct options, oci), NULL,
	 "print the part of config.json that one layer's set becomes", DINK_COMPLETE_NONE},
	{0, "apparmor", DINK_OPT_FLAG, offsetof(struct options, apparmor), NULL,
	 "print an AppArmor profile for one layer", DINK_COMPLETE_NONE},
	{0, "without", DINK_OPT_STRV, offsetof(struct options, without), "GRANT",
	 "what it is without a grant, \"KIND WHAT\"", DINK_COMPLETE_NONE},
	{0, "against", DINK_OPT_STRING, offsetof(struct options, against), "SET",
	 "compare with original, privileged or docker-default", DINK_COMPLETE_NONE},
	{},
};

const struct dink_command cmd_privileges_explain = {
	.name = "privileges explain",
	.operands = "[SCENARIO[/LAYER]]",
	.summary = "say what each layer is granted, and why",
	.examples = "  dink privileges explain scenarios/docker-in-kata.yaml\n"
		    "  dink privileges explain scenarios/docker-in-kata.yaml/proxy --json\n"
		    "  dink privileges explain scenarios/docker-in-kata.yaml/proxy --against "
		    "privileged\n"
		    "  dink privileges explain scenarios/docker-in-kata.yaml/proxy --oci\n",
	.opts = explain_opts,
	.opts_size = sizeof(struct options),
	.max_args = 1,
	.has_json = true,
	.complete = DINK_COMPLETE_FILE,
	.run = run_explain,
};
