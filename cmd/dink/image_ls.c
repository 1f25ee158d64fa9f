/* SPDX-License-Identifier: Apache-2.0 */
/* dink image ls, rm, prune: the images of one daemon at any depth. */
#include "cmd/dink/image.h"

#include "provision/base/json.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"

#include <time.h>

enum { NAME_SHOWN = 256 };

static void print_one(const char *name, struct json_object *o, int width)
{
	const char *id = dink_json_str_or(o, "Id", "");
	int64_t size = dink_json_int_or(o, "Size", 0);
	_cleanup_free_ char *text = dink_format_size(size > 0 ? (uint64_t)size : 0);
	time_t created = (time_t)dink_json_int_or(o, "Created", 0);
	struct tm tm = {};
	char day[32] = "";
	const char *hex = dink_starts_with(id, "sha256:") ? id + 7 : id;
	_cleanup_free_ char *shown = xstrndup(name, NAME_SHOWN);
	_cleanup_free_ char *short_id = xstrndup(hex, strspn(hex, "0123456789abcdef"));

	if (gmtime_r(&created, &tm))
		(void)strftime(day, sizeof(day), "%Y-%m-%d", &tm);
	cmd_print_cell(width, shown);
	printf(" %.12s  %10s  %s\n", short_id, text, day);
}

/* "<none>" of each kind that engines use for no name */
static const char *name_of(struct json_object *tags, size_t i)
{
	struct json_object *t = json_object_array_get_idx(tags, i);
	const char *s = json_object_is_type(t, json_type_string) ? json_object_get_string(t) : "";

	return s[0] ? s : "<none>:<none>";
}

static void print_images(struct json_object *list)
{
	int width = (int)strlen("<none>:<none>");

	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i);

		for (size_t k = 0; k < dink_json_len(o, "RepoTags"); k++) {
			int len = (int)strlen(name_of(dink_json_get(o, "RepoTags"), k));

			width = len > width && len < 80 ? len : width;
		}
	}
	printf("%-*s  %-12s  %10s  %s\n", width, "IMAGE", "ID", "SIZE", "CREATED");
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i);
		size_t n = dink_json_len(o, "RepoTags");

		if (n == 0)
			print_one("<none>:<none>", o, width);
		for (size_t k = 0; k < n; k++)
			print_one(name_of(dink_json_get(o, "RepoTags"), k), o, width);
	}
}

static struct json_object *images_to_json(struct json_object *list)
{
	struct json_object *out = json_object_new_array();

	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i), *e = dink_json_new();
		struct json_object *names = json_object_new_array();

		dink_json_set_str(e, "id", dink_json_str_or(o, "Id", ""));
		for (size_t k = 0; k < dink_json_len(o, "RepoTags"); k++) {
			const char *name = name_of(dink_json_get(o, "RepoTags"), k);

			if (!STREQ(name, "<none>:<none>"))
				json_object_array_add(names, json_object_new_string(name));
		}
		dink_json_set(e, "names", names);
		dink_json_set_int(e, "size_bytes", dink_json_int_or(o, "Size", 0));
		dink_json_set_int(e, "created", dink_json_int_or(o, "Created", 0));
		json_object_array_add(out, e);
	}
	return out;
}

static const char *first_name(struct json_object *image)
{
	struct json_object *tags = dink_json_get(image, "RepoTags");

	return dink_json_len(image, "RepoTags") > 0 ? name_of(tags, 0) : "<none>:<none>";
}

/* By name: an engine's own order, by age, is another each time where images are of one age. */
static int compare_images(const void *a, const void *b)
{
	struct json_object *x = *(struct json_object *const *)a;
	struct json_object *y = *(struct json_object *const *)b;
	int r = strcmp(first_name(x), first_name(y));

	return r ? r : strcmp(dink_json_str_or(x, "Id", ""), dink_json_str_or(y, "Id", ""));
}

static int run_ls(struct dink_args *args, struct dink_err *err)
{
	_cleanup_daemon_ struct cmd_daemon d = {};
	_cleanup_json_ struct json_object *list = NULL;
	int r;

	dink_catch_interrupts();
	r = cmd_daemon_open(args->n ? args->v[0] : "host", &d, err);
	if (r == 0)
		r = dink_engine_images(d.engine, &list, err);
	if (r < 0)
		return r;
	json_object_array_sort(list, compare_images);
	if (args->json)
		cmd_print_json(images_to_json(list));
	else
		print_images(list);
	return 0;
}

const struct dink_command cmd_image_ls = {
	.name = "image ls",
	.operands = "[LAYER]",
	.summary = "list the images of a layer's daemon (default: the host's)",
	.examples = "  dink image ls                              of the host's engine\n"
		    "  dink image ls docker-in-kata/proxy/kata    of a daemon in a VM\n"
		    "  dink image ls host --json\n",
	.min_args = 0,
	.max_args = 1,
	.has_json = true,
	.complete = DINK_COMPLETE_LAYER,
	.run = run_ls,
};

struct rm_opts {
	bool force;
};

static int run_rm(struct dink_args *args, struct dink_err *err)
{
	const struct rm_opts *o = args->opts;
	int r = 0;

	dink_catch_interrupts();
	for (int i = 0; r == 0 && i < args->n; i++) {
		_cleanup_daemon_ struct cmd_daemon d = {};
		_cleanup_free_ char *address = NULL;
		const char *image = NULL;

		r = cmd_image_split(args->v[i], &address, &image, err);
		if (r == 0)
			r = cmd_daemon_open(address, &d, err);
		if (r == 0)
			r = dink_engine_image_remove(d.engine, image, o->force, NULL, err);
		if (r < 0)
			return dink_err_push(err, "removing %s", args->v[i]);
		if (!args->quiet)
			printf("removed %s\n", args->v[i]);
	}
	return r;
}

static const struct dink_opt rm_options[] = {
	{'f', "force", DINK_OPT_FLAG, offsetof(struct rm_opts, force), NULL,
	 "also where a stopped container or another name uses it", DINK_COMPLETE_NONE},
	{},
};

const struct dink_command cmd_image_rm = {
	.name = "image rm",
	.operands = "LAYER:IMAGE...",
	.summary = "remove images from a layer's daemon",
	.examples = "  dink image rm docker-in-kata/proxy:debian:12\n"
		    "  dink image rm host:app:1 host:app:2\n",
	.opts = rm_options,
	.opts_size = sizeof(struct rm_opts),
	.min_args = 1,
	.max_args = -1,
	.complete = DINK_COMPLETE_LAYER,
	.run = run_rm,
};

struct prune_opts {
	bool all;
};

static int run_prune(struct dink_args *args, struct dink_err *err)
{
	const struct prune_opts *o = args->opts;
	_cleanup_daemon_ struct cmd_daemon d = {};
	_cleanup_json_ struct json_object *out = NULL;
	int64_t freed;
	size_t n;
	int r;

	dink_catch_interrupts();
	r = cmd_daemon_open(args->v[0], &d, err);
	if (r == 0)
		r = dink_engine_image_prune(d.engine, o->all, &out, err);
	if (r < 0)
		return r;
	freed = dink_json_int_or(out, "SpaceReclaimed", 0);
	n = dink_json_len(out, "ImagesDeleted");
	if (args->json) {
		struct json_object *json = dink_json_new();

		dink_json_set_int(json, "removed", (int64_t)n);
		dink_json_set_int(json, "freed_bytes", freed);
		cmd_print_json(json);
	} else {
		_cleanup_free_ char *size = dink_format_size(freed > 0 ? (uint64_t)freed : 0);

		printf("%s: %zu removed, %s freed\n", d.name, n, size);
	}
	return 0;
}

static const struct dink_opt prune_options[] = {
	{'a', "all", DINK_OPT_FLAG, offsetof(struct prune_opts, all), NULL,
	 "every image that no container uses, not only those without a name", DINK_COMPLETE_NONE},
	{},
};

const struct dink_command cmd_image_prune = {
	.name = "image prune",
	.operands = "LAYER",
	.summary = "remove what no container and no name holds from a layer's daemon",
	.examples =
		"  dink image prune docker-in-kata/proxy\n"
		"  dink image prune --all docker-in-kata/proxy/kata    also images with names\n",
	.opts = prune_options,
	.opts_size = sizeof(struct prune_opts),
	.min_args = 1,
	.max_args = 1,
	.has_json = true,
	.complete = DINK_COMPLETE_LAYER,
	.run = run_prune,
};
