/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/dink/cmd.h"

#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/json.h"
#include "provision/scenario/scenario.h"

#include <glob.h>

static struct json_object *problems_to_json(const struct dink_problems *p)
{
	struct json_object *a = json_object_new_array();

	for (size_t i = 0; i < p->n; i++)
		json_object_array_add(a, dink_err_to_json(&p->list[i]));
	return a;
}

int cmd_check_images(const struct dink_scenario *s, struct dink_problems *problems)
{
	_cleanup_free_ char *folder = dink_data_file("images");
	_cleanup_closedir_ DIR *d = folder ? opendir(folder) : NULL;
	_cleanup_strv_ struct dink_strv shipped = {};
	struct dirent *e;

	/* without dink's data there is nothing to compare with: the build will tell */
	if (!d)
		return 0;
	while ((e = readdir(d))) {
		_cleanup_free_ char *recipe = xasprintf("%s/%s/recipe", folder, e->d_name);

		if (dink_name_is_valid(e->d_name) && dink_exists(recipe))
			dink_strv_add(&shipped, e->d_name);
	}
	dink_strv_sort(&shipped);
	return dink_scenario_check_images(s, &shipped, problems);
}

static size_t count_layers(struct dink_layer *const *layers, size_t n)
{
	size_t total = n;

	for (size_t i = 0; i < n; i++)
		total += count_layers(layers[i]->children, layers[i]->n_children);
	return total;
}

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

static void print_problems(const char *file, const struct dink_problems *p)
{
	for (size_t i = 0; i < p->n; i++) {
		_cleanup_free_ char *text = dink_err_format(&p->list[i]);

		fputs(text, stderr);
	}
	if (p->more)
		fprintf(stderr, "%s: only the first %d problems are shown\n", file,
			DINK_PROBLEMS_MAX);
}

/* Return: 0, or the exit code for this file. */
static int validate_one(const char *file, struct json_object *list)
{
	_cleanup_(dink_problems_clear) struct dink_problems problems = {};
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = NULL;
	int code = 0;

	if (dink_scenario_load(file, &s, &problems) < 0 || cmd_check_images(s, &problems) < 0)
		code = problems.list[0].code;
	if (list) {
		struct json_object *o = dink_json_new();

		dink_json_set_str(o, "file", file);
		dink_json_set_bool(o, "valid", code == 0);
		dink_json_set_str(o, "name", s ? s->name : NULL);
		dink_json_set(o, "problems", problems_to_json(&problems));
		dink_json_set_bool(o, "more", problems.more);
		json_object_array_add(list, o);
	} else if (code == 0) {
		size_t layers = count_layers(s->layers, s->n_layers);

		printf("%s: %s is valid: %zu layer%s, %zu disk%s, %zu kernel%s\n", file, s->name,
		       layers, plural(layers), s->n_disks, plural(s->n_disks), s->n_kernels,
		       plural(s->n_kernels));
	} else {
		print_problems(file, &problems);
	}
	return code;
}

/* Every scenario in this folder, by name. */
static void find_scenarios(struct dink_strv *ret)
{
	glob_t g = {};

	if (glob("*.yaml", 0, NULL, &g) == 0 || g.gl_pathc) {
		for (size_t i = 0; i < g.gl_pathc; i++) {
			_cleanup_fclose_ FILE *f = fopen(g.gl_pathv[i], "re");
			char line[256];
			bool found = false;

			while (f && !found && fgets(line, sizeof(line), f))
				found = dink_starts_with(line, "dink:");
			if (found)
				dink_strv_add(ret, g.gl_pathv[i]);
		}
	}
	globfree(&g);
}

static int run_validate(struct dink_args *args, struct dink_err *err)
{
	_cleanup_strv_ struct dink_strv files = {};
	struct json_object *list = NULL;
	int worst = 0;

	dink_strv_addv(&files, args->v);
	if (args->n == 0) {
		find_scenarios(&files);
		if (!files.n) {
			dink_err_set(err, DINK_E_USAGE, 0, "there is no scenario in this folder");
			return dink_err_hint(err, "name one: dink validate FILE");
		}
	}
	if (args->json)
		list = json_object_new_array();
	for (size_t i = 0; i < files.n; i++) {
		int code = validate_one(files.v[i], list);

		worst = code > worst ? code : worst;
	}
	if (list)
		cmd_print_json(list);
	return worst;
}

const struct dink_command cmd_validate = {
	.name = "validate",
	.operands = "[FILE]...",
	.summary = "check scenarios and show what is wrong where",
	.examples = "  dink validate               every scenario in this folder\n"
		    "  dink validate web.yaml      one; exit status 3 if it is wrong\n"
		    "  dink validate --json -      standard input, problems as JSON\n",
	.max_args = -1,
	.has_json = true,
	.complete = DINK_COMPLETE_FILE,
	.run = run_validate,
};
