/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/dink/privileges.h"

#include "provision/base/file.h"

const char priv_base_profile[] = "/usr/share/containers/seccomp.json";

enum { PROFILE_MAX = 4 << 20 };

char *priv_split(const char *operand, char **ret_layer)
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

void priv_read_base(struct priv_source *src)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};

	/* without the base profile everything but the number of calls can be told */
	if (dink_file_read(priv_base_profile, PROFILE_MAX, &src->base, &src->base_len, &ignored) <
	    0)
		src->base = NULL;
}

int priv_open(struct dink_args *args, const char *file, const char *facts, struct priv_source *ret,
	      struct dink_err *err)
{
	int r = cmd_load_scenario(file, &ret->s, err);

	if (r < 0)
		return r;
	if (facts)
		r = dink_facts_load(facts, &ret->f, err);
	else
		r = dink_facts_probe(0, &args->progress, &ret->f, err);
	if (r < 0)
		return r;
	priv_read_base(ret);
	return 0;
}

void priv_clear(struct priv_source *src)
{
	dink_scenario_free(src->s);
	dink_facts_free(src->f);
	free(src->base);
}

/* @at: the part of layer that is not one of these */
static int no_layer(const struct priv_source *src, const char *layer, const char *at,
		    struct dink_layer *const *layers, size_t n, struct dink_err *err)
{
	_cleanup_free_ char *name = xstrndup(at, strcspn(at, "/")), *list = NULL;
	_cleanup_strv_ struct dink_strv names = {};
	const char *near;
	int r = dink_err_set(err, DINK_E_USAGE, 0, "%s has no layer %s", src->s->name, layer);

	for (size_t i = 0; i < n; i++)
		dink_strv_add(&names, layers[i]->name);
	if (n == 0)
		return r;
	near = dink_nearest(name, (const char *const *)names.v);
	if (near)
		return dink_err_hint(err, "did you mean %.*s%s?", (int)(at - layer), layer, near);
	list = dink_strv_join(&names, ", ");
	return dink_err_hint(err, "the layers there are: %s", list);
}

int priv_find(const struct priv_source *src, const char *layer, const struct dink_layer **ret,
	      char **ret_path, struct dink_err *err)
{
	size_t n = strlen(src->s->name);
	bool named = strncmp(layer, src->s->name, n) == 0 && layer[n] == '/';
	const char *rest = named ? layer + n + 1 : layer;
	struct dink_layer *const *layers = src->s->layers;
	size_t n_layers = src->s->n_layers;
	const struct dink_layer *found = NULL;

	for (const char *at = rest; at;) {
		size_t len = strcspn(at, "/");

		found = NULL;
		for (size_t i = 0; i < n_layers && !found; i++)
			if (strlen(layers[i]->name) == len &&
			    strncmp(layers[i]->name, at, len) == 0)
				found = layers[i];
		if (!found)
			return no_layer(src, layer, at, layers, n_layers, err);
		layers = found->children;
		n_layers = found->n_children;
		at = at[len] ? at + len + 1 : NULL;
	}
	*ret = found;
	*ret_path = xasprintf("%s/%s", src->s->name, rest);
	return 0;
}

static void print_score(const char *name, const struct dink_privilege_score *s)
{
	char calls[16] = "?", devices[16] = "all";

	if (s->syscalls)
		snprintf(calls, sizeof(calls), "%u", s->syscalls);
	if (!s->all_devices)
		snprintf(devices, sizeof(devices), "%u", s->devices);
	printf("  %-40s %12u %12s %8s %13u%s\n", name, s->capabilities, calls, devices,
	       s->kernel_paths, s->may_remount ? " +" : "");
}

void priv_print_scores(const char *name_a, const struct dink_privilege_score *a, const char *name_b,
		       const struct dink_privilege_score *b)
{
	printf("  %-40s %12s %12s %8s %13s\n", "", "capabilities", "system calls", "devices",
	       "kernel paths");
	print_score(name_a, a);
	print_score(name_b, b);
	if (a->may_remount || b->may_remount)
		printf("  + and with CAP_SYS_ADMIN what is write-protected can be remounted\n");
}
