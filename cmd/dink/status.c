/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/dink/cmd.h"

#include "provision/base/json.h"
#include "provision/step/instance.h"

struct status_opts {
	bool proof;
};

static const struct dink_opt status_options[] = {
	{0, "proof", DINK_OPT_FLAG, offsetof(struct status_opts, proof), NULL,
	 "ask each level for its kernel, PID 1, cgroups and engine", DINK_COMPLETE_NONE},
	{},
};

static struct json_object *to_json(const struct dink_instance *i)
{
	struct json_object *o = dink_json_new(), *list = json_object_new_array();

	dink_json_set_str(o, "name", i->name);
	dink_json_set_str(o, "state", i->state);
	for (size_t k = 0; k < i->n_layers; k++) {
		const struct dink_layer_state *l = &i->layers[k];
		struct json_object *x = dink_json_new();

		dink_json_set_str(x, "layer", l->address);
		dink_json_set_str(x, "parent", l->parent);
		dink_json_set_str(x, "container", l->container);
		dink_json_set_str(x, "state", l->state);
		dink_json_set_str(x, "image", l->image);
		dink_json_set_str(x, "runtime", l->runtime);
		dink_json_set_str(x, "daemon", l->daemon);
		dink_json_set_str(x, "socket", l->offered);
		json_object_array_add(list, x);
	}
	dink_json_set(o, "layers", list);
	dink_json_set(o, "disks", dink_json_strv(&i->disks));
	return o;
}

static void print_instance(const struct dink_instance *i)
{
	int width = 0;

	printf("%s: %s\n", i->name, i->state);
	for (size_t k = 0; k < i->n_layers; k++) {
		int n = (int)strlen(i->layers[k].address);

		width = n > width ? n : width;
	}
	for (size_t k = 0; k < i->n_layers; k++) {
		const struct dink_layer_state *l = &i->layers[k];

		printf("  %-*s  %-11s %-8s %s\n", width, l->address, l->state, l->runtime,
		       l->image);
		if (l->offered)
			printf("  %-*s  %s at unix://%s\n", width, "", l->daemon, l->offered);
	}
	for (size_t k = 0; k < i->disks.n; k++)
		printf("  disk %s\n", i->disks.v[k]);
}

static int show_proof(const char *name, bool json, struct dink_err *err)
{
	struct json_object *proof = dink_instance_proof(name, err);

	if (!proof)
		return -1;
	if (json) {
		cmd_print_json(proof);
		return 0;
	}
	cmd_print_proof(proof);
	json_object_put(proof);
	return 0;
}

static int show_one(const struct dink_args *args, const char *name, struct json_object *list,
		    struct dink_err *err)
{
	const struct status_opts *o = args->opts;
	_cleanup_(dink_instance_freep) struct dink_instance *i = NULL;
	int r;

	if (o->proof)
		return show_proof(name, args->json, err);
	r = dink_instance_load(name, &i, err);
	if (r < 0)
		return r;
	if (list)
		json_object_array_add(list, to_json(i));
	else
		print_instance(i);
	return 0;
}

static int run_status(struct dink_args *args, struct dink_err *err)
{
	const struct status_opts *o = args->opts;
	_cleanup_strv_ struct dink_strv names = {};
	_cleanup_json_ struct json_object *list = args->json ? json_object_new_array() : NULL;
	int r = 0;

	dink_strv_addv(&names, args->v);
	if (args->n == 0)
		r = dink_instance_list(&names, err);
	if (r < 0)
		return r;
	/* One that is damaged does not hide the others; the first error is the command's. */
	for (size_t k = 0; k < names.n; k++) {
		_cleanup_(dink_err_clear) struct dink_err one = {};
		int rc = show_one(args, names.v[k], list, &one);

		if (rc < 0 && r == 0) {
			r = rc;
			dink_err_move(err, &one);
		}
	}
	if (list && !o->proof)
		cmd_print_json(TAKE_PTR(list));
	if (r == 0 && names.n == 0 && !args->json)
		puts("nothing is up");
	return r;
}

const struct dink_command cmd_status = {
	.name = "status",
	.operands = "[NAME]...",
	.summary = "show instances and their layers",
	.examples = "  dink status\n"
		    "  dink status --proof docker-in-kata   each level in its own words\n",
	.opts = status_options,
	.opts_size = sizeof(struct status_opts),
	.max_args = -1,
	.has_json = true,
	.complete = DINK_COMPLETE_INSTANCE,
	.run = run_status,
};
