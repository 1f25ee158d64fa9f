/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dink privileges explain: what each layer is granted beyond its engine's default, why, and what
 * the original docker-in-kata granted in its place.
 *
 * How it counts: one for each capability, device, mount, sysctl and system call. For
 * seccomp=unconfined that is every call that our profile denies, and those that we grant.
 * Namespaces and limits that are set bound a layer and count as nothing.
 */
#include "cmd/dink/cmd.h"

#include "provision/base/file.h"
#include "provision/base/json.h"
#include "provision/privilege/privilege.h"

static const char base_profile[] = "/usr/share/containers/seccomp.json";

enum { PROFILE_MAX = 4 << 20 };

struct options {
	const char *facts;
	bool seccomp;
};

/* One layer explained. */
struct explained {
	struct dink_privileges *ours;
	char *profile;	/* its seccomp profile; NULL: the base is not there */
	bool has_count; /* the base profile was there */
	struct dink_seccomp_count calls;
	unsigned int n_ours, n_original; /* n_original 0: the original has no such level */
};

/* What all layers share. */
struct context {
	const struct dink_scenario *s;
	const struct dink_facts *facts;
	const char *only; /* a path, NULL = all */
	char *profile;	  /* NULL = not there */
	size_t profile_len;
	struct json_object *list; /* with --json */
	bool seccomp;		  /* print the profile alone */
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

static int explain(const struct context *c, const struct dink_layer *l, const char *path,
		   struct explained *e, struct dink_err *err)
{
	int r = dink_privileges_of(c->s, l, path, c->facts, c->facts->kata.ok, &e->ours, err);

	if (r < 0)
		return r;
	if (c->profile) {
		r = dink_privileges_seccomp(e->ours, c->profile, c->profile_len, &e->profile, err);
		if (r == 0)
			r = dink_seccomp_count(e->ours, e->profile, strlen(e->profile), &e->calls,
					       err);
		if (r < 0)
			return dink_err_push(err, "read %s", base_profile);
		e->has_count = true;
	}
	e->n_ours = count_grants(e->ours, e);
	/* the original's two outer levels are those with a daemon; its inner one is a plain one */
	if (l->daemon != DINK_DAEMON_NONE)
		e->n_original = count_grants(dink_privileges_original(), e);
	return 0;
}

/* ---- for people ---- */

static void print_reasons(const struct dink_grant *g)
{
	for (size_t i = 0; i < g->reasons.n; i++)
		printf("                 %s\n", g->reasons.v[i]);
}

static void print_original(const struct explained *e)
{
	const struct dink_privileges *o = dink_privileges_original();

	printf("  the original gave this level:\n");
	for (size_t i = 0; i < o->n_grants; i++) {
		const struct dink_grant *g = &o->grants[i];
		bool both = dink_privileges_have(e->ours, g->kind, g->what);

		if (!STREQ(g->what, "*"))
			printf("    %-12s %-30s %s\n", dink_grant_kind_name(g->kind), g->what,
			       both ? "ours too" : "not here");
		else if (e->has_count)
			printf("    %-12s %-30s not here: %u calls stay denied\n", "syscall",
			       "all (seccomp=unconfined)", e->calls.denied);
		else
			printf("    %-12s %-30s not here\n", "syscall", "all (seccomp=unconfined)");
	}
	if (e->has_count)
		printf("  %u grants against the original's %u: %u fewer\n", e->n_ours,
		       e->n_original, e->n_original - e->n_ours);
	else
		printf("  the calls could not be counted: %s is not there "
		       "(apt-get install golang-github-containers-common)\n",
		       base_profile);
}

static void print_layer(const struct dink_layer *l, const char *path, const struct explained *e)
{
	bool guest = false;

	for (const struct dink_layer *a = l; a; a = a->parent)
		guest |= a->runtime == DINK_RUNTIME_DINK_VM || a->runtime == DINK_RUNTIME_KATA;
	printf("%s (%s%s): ", path, dink_runtime_name(l->runtime), guest ? ", inside a guest" : "");
	if (!e->ours->n_grants) {
		printf("the engine's default and nothing more\n");
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
	if (e->n_original)
		print_original(e);
}

/* ---- for programs ---- */

static int print_profile(const struct explained *e, struct dink_err *err)
{
	if (!e->profile) {
		dink_err_set(err, DINK_E_HOST, ENOENT, "%s", base_profile);
		return dink_err_hint(err, "apt-get install golang-github-containers-common");
	}
	printf("%s\n", e->profile);
	return 0;
}

static struct json_object *layer_to_json(const char *path, const struct explained *e)
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
	if (e->n_original) {
		dink_json_set(o, "original", dink_privileges_to_json(dink_privileges_original()));
		dink_json_set_int(o, "original_count", e->n_original);
		dink_json_set_int(o, "fewer", (int64_t)e->n_original - e->n_ours);
	}
	return o;
}

static int walk(struct context *c, const struct dink_layer *l, const char *path,
		struct dink_err *err)
{
	int r = 0;

	if (!c->only || STREQ(c->only, path)) {
		struct explained e = {};

		r = explain(c, l, path, &e, err);
		if (r == 0 && c->seccomp)
			r = print_profile(&e, err);
		else if (r == 0 && c->list)
			json_object_array_add(c->list, layer_to_json(path, &e));
		else if (r == 0) {
			if (c->n_shown)
				printf("\n");
			print_layer(l, path, &e);
		}
		dink_privileges_free(e.ours);
		free(e.profile);
		c->n_shown++;
	}
	for (size_t i = 0; r == 0 && i < l->n_children; i++) {
		_cleanup_free_ char *child = xasprintf("%s/%s", path, l->children[i]->name);

		r = walk(c, l->children[i], child, err);
	}
	return r;
}

/*
 * "scenarios/x.yaml/proxy/kata": the longest part that is a file is the scenario, the rest a layer.
 * *ret_layer is NULL where nothing is left.
 */
static char *split_operand(const char *operand, char **ret_layer)
{
	char *file = xstrdup(operand);

	while (!dink_exists(file)) {
		char *slash = strrchr(file, '/');

		if (!slash) {
			free(file);
			return xstrdup(operand); /* loading it gives the error */
		}
		*slash = '\0';
	}
	if (operand[strlen(file)] == '/' && operand[strlen(file) + 1])
		*ret_layer = xstrdup(operand + strlen(file) + 1);
	return file;
}

static int run_walk(struct context *c, const char *layer, struct dink_err *err)
{
	_cleanup_free_ char *only = NULL;
	int r = 0;

	if (layer) {
		size_t n = strlen(c->s->name);
		bool named = strncmp(layer, c->s->name, n) == 0 && layer[n] == '/';

		only = named ? xstrdup(layer) : xasprintf("%s/%s", c->s->name, layer);
		c->only = only;
	}
	for (size_t i = 0; r == 0 && i < c->s->n_layers; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", c->s->name, c->s->layers[i]->name);

		r = walk(c, c->s->layers[i], path, err);
	}
	if (r == 0 && only && !c->n_shown)
		r = dink_err_set(err, DINK_E_USAGE, 0, "%s has no layer %s", c->s->name, layer);
	c->only = NULL;
	return r;
}

static int run_explain(struct dink_args *args, struct dink_err *err)
{
	const struct options *opts = args->opts;
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = NULL;
	_cleanup_(dink_facts_freep) struct dink_facts *f = NULL;
	_cleanup_free_ char *layer = NULL, *profile = NULL;
	_cleanup_free_ char *file = args->n ? split_operand(args->v[0], &layer) : NULL;
	_cleanup_json_ struct json_object *list = NULL;
	struct context c = {};
	int r;

	if (opts->seccomp && !layer)
		return dink_err_set(err, DINK_E_USAGE, 0,
				    "--seccomp takes one layer: SCENARIO/LAYER");
	r = cmd_load_scenario(file, &s, err);
	if (r < 0)
		return r;
	if (opts->facts)
		r = dink_facts_load(opts->facts, &f, err);
	else
		r = dink_facts_probe(0, &args->progress, &f, err);
	if (r < 0)
		return r;
	/* without the base profile everything but the number of calls can be told */
	if (dink_file_read(base_profile, PROFILE_MAX, &profile, &c.profile_len, &ignored) == 0)
		c.profile = profile;
	c.s = s;
	c.facts = f;
	c.seccomp = opts->seccomp;
	if (args->json && !c.seccomp)
		c.list = list = json_object_new_array();
	r = run_walk(&c, layer, err);
	if (r == 0 && list) {
		cmd_print_json(list);
		list = NULL;
	}
	return r;
}

static const struct dink_opt explain_opts[] = {
	{0, "facts", DINK_OPT_STRING, offsetof(struct options, facts), "FILE",
	 "a host saved by dink doctor --save instead of this one", DINK_COMPLETE_FILE},
	{0, "seccomp", DINK_OPT_FLAG, offsetof(struct options, seccomp), NULL,
	 "print the layer's seccomp profile alone, as an engine takes it", DINK_COMPLETE_NONE},
	{},
};

const struct dink_command cmd_privileges_explain = {
	.name = "privileges explain",
	.operands = "[SCENARIO[/LAYER]]",
	.summary = "say what each layer is granted, and why",
	.examples = "  dink privileges explain scenarios/docker-in-kata.yaml\n"
		    "  dink privileges explain scenarios/docker-in-kata.yaml/proxy --json\n",
	.opts = explain_opts,
	.opts_size = sizeof(struct options),
	.max_args = 1,
	.has_json = true,
	.complete = DINK_COMPLETE_FILE,
	.run = run_explain,
};
