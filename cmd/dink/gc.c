/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/dink/cmd.h"

#include "provision/base/json.h"
#include "provision/step/gc.h"

struct gc_opts {
	bool force, volumes;
};

static const struct dink_opt gc_options[] = {
	{'f', "force", DINK_OPT_FLAG, offsetof(struct gc_opts, force), NULL,
	 "remove what is found; without it, it is only listed", DINK_COMPLETE_NONE},
	{0, "volumes", DINK_OPT_FLAG, offsetof(struct gc_opts, volumes), NULL,
	 "with --force: folders with disks in them, too", DINK_COMPLETE_NONE},
	{},
};

static struct json_object *to_json(const struct dink_leftovers *l)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < l->n; i++) {
		struct json_object *o = dink_json_new();

		dink_json_set_str(o, "kind", dink_leftover_kind_name(l->v[i].kind));
		dink_json_set_str(o, "instance", l->v[i].instance);
		dink_json_set_str(o, "what", l->v[i].what);
		json_object_array_add(list, o);
	}
	return list;
}

/* All are tried; the first error is the command's. */
static int remove_all(const struct dink_leftovers *l, bool volumes, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err first = {};
	int r = 0;

	for (size_t i = 0; i < l->n; i++) {
		_cleanup_(dink_err_clear) struct dink_err one = {};
		int rc = dink_gc_remove(&l->v[i], volumes, &one);

		if (rc < 0 && r == 0) {
			r = rc;
			dink_err_move(&first, &one);
		}
	}
	if (r < 0)
		dink_err_move(err, &first);
	return r;
}

static int run_gc(struct dink_args *args, struct dink_err *err)
{
	const struct gc_opts *o = args->opts;
	_cleanup_(dink_leftovers_clear) struct dink_leftovers l = {};
	int r = dink_gc_find(&l, err);

	if (r < 0)
		return r;
	if (args->json) {
		cmd_print_json(to_json(&l));
	} else {
		for (size_t i = 0; i < l.n; i++)
			printf("%-11s %s (of %s)\n", dink_leftover_kind_name(l.v[i].kind),
			       l.v[i].what, l.v[i].instance);
		if (l.n == 0)
			puts("nothing is left over");
		else if (!o->force)
			puts("dink gc --force removes them");
	}
	return o->force ? remove_all(&l, o->volumes, err) : 0;
}

const struct dink_command cmd_gc = {
	.name = "gc",
	.operands = "",
	.summary = "find what no instance owns any more",
	.examples = "  dink gc            list it\n"
		    "  dink gc --force    remove it\n",
	.opts = gc_options,
	.opts_size = sizeof(struct gc_opts),
	.has_json = true,
	.run = run_gc,
};
