/* SPDX-License-Identifier: Apache-2.0 */
/* dink disk ls, cat, docker, copy-in, copy-out, resize, trim: an image without mounting it here. */
#include "cmd/dink/cmd.h"

#include "kernel-configs/kernel.h"
#include "loopdev/look.h"
#include "loopdev/loopdev.h"
#include "loopdev/store.h"
#include "provision/base/json.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"
#include "provision/step/store.h"

/* The kernel that images are read with; how borrows from k. */
static int get_kernel(struct dink_args *args, struct dink_kernel *k, struct dink_look_how *how,
		      struct dink_err *err)
{
	const struct dink_kernel_want want = {};
	int r;

	dink_catch_interrupts();
	r = dink_kernel_get(&want, &args->progress, k, err);
	*how = (struct dink_look_how){
		.bzimage = k->bzimage,
		.release = k->release,
		.key = k->key,
		.progress = args->quiet ? NULL : &args->progress,
	};
	return r;
}

/* What a VM could not look into either is told before there is a kernel and a VM. */
static int check_image(const char *path, struct dink_err *err)
{
	_cleanup_(dink_disk_probe_clear) struct dink_disk_probe p = {};
	int r = dink_disk_probe(path, &p, err);

	if (r < 0 || (p.type && STREQ(p.usage ? p.usage : "", "filesystem")))
		return r;
	dink_err_set(err, DINK_E_USAGE, 0, "%s holds no filesystem", path);
	return dink_err_hint(err, "dink disk show %s", path);
}

static int open_image(struct dink_args *args, struct dink_look **ret, struct dink_err *err)
{
	_cleanup_(dink_kernel_clear) struct dink_kernel k = {};
	struct dink_look_how how;
	int r = check_image(args->v[0], err);

	if (r == 0)
		r = get_kernel(args, &k, &how, err);
	return r < 0 ? r : dink_look_open(args->v[0], &how, ret, err);
}

static int check_absolute(const char *path, struct dink_err *err)
{
	if (path[0] == '/')
		return 0;
	dink_err_set(err, DINK_E_USAGE, 0, "'%s' is no absolute path", path);
	return dink_err_hint(err, "paths in an image begin at its root: /%s", path);
}

/* Operands from..to-1 are paths in the image. */
static int check_paths(struct dink_args *args, int from, int to, struct dink_err *err)
{
	int r = 0;

	for (int i = from; r == 0 && i < to; i++)
		r = check_absolute(args->v[i], err);
	return r;
}

/* Operands from..to-1 are files or folders here. */
static int check_local(struct dink_args *args, int from, int to, struct dink_err *err)
{
	int r = 0;

	for (int i = from; r == 0 && i < to; i++)
		r = cmd_check_file(args->v[i], err);
	return r;
}

static int run_disk_resize(struct dink_args *args, struct dink_err *err)
{
	_cleanup_(dink_kernel_clear) struct dink_kernel k = {};
	_cleanup_(dink_disk_probe_clear) struct dink_disk_probe p = {};
	struct dink_look_how how = {};
	uint64_t bytes;
	int r;

	if (dink_parse_size(args->v[1], &bytes) < 0)
		return dink_err_set(err, DINK_E_USAGE, 0, "'%s' is no size (2GiB, 512M)",
				    args->v[1]);
	r = dink_disk_grow(args->v[0], bytes, err);
	if (r != 0)
		return r < 0 ? r : 0;
	r = dink_disk_probe(args->v[0], &p, err);
	if (r == 0 && p.type && STREQ(p.type, "btrfs"))
		r = get_kernel(args, &k, &how, err);
	return r < 0 ? r : dink_disk_resize(args->v[0], bytes, &how, err);
}

static int run_disk_trim(struct dink_args *args, struct dink_err *err)
{
	_cleanup_(dink_kernel_clear) struct dink_kernel k = {};
	_cleanup_(dink_disk_probe_clear) struct dink_disk_probe before = {}, after = {};
	_cleanup_free_ char *was = NULL, *is = NULL;
	struct dink_look_how how;
	int r = check_image(args->v[0], err);

	if (r == 0)
		r = dink_disk_probe(args->v[0], &before, err);
	if (r == 0)
		r = get_kernel(args, &k, &how, err);
	if (r == 0)
		r = dink_disk_trim(args->v[0], &how, err);
	if (r == 0)
		r = dink_disk_probe(args->v[0], &after, err);
	if (r < 0 || args->quiet)
		return r;
	was = dink_format_size(before.allocated_bytes);
	is = dink_format_size(after.allocated_bytes);
	printf("%s: %s on the host, %s before\n", args->v[0], is, was);
	return 0;
}

struct docker_opts {
	const char *root;
};

static void print_image(struct json_object *o)
{
	cmd_print_cell(32, dink_json_str_or(o, "name", ""));
	printf("%-12.12s %6lld  ", dink_json_str_or(o, "id", "") + strlen("sha256:"),
	       (long long)dink_json_int_or(o, "layers", 0));
	cmd_print_cell(0, dink_json_str_or(o, "created", ""));
	putchar('\n');
}

static void print_container(struct json_object *o)
{
	cmd_print_cell(32, dink_json_str_or(o, "name", ""));
	printf("%-12.12s %-8s ", dink_json_str_or(o, "id", ""), dink_json_str_or(o, "state", ""));
	cmd_print_cell(0, dink_json_str_or(o, "image", ""));
	putchar('\n');
}

static void print_volume(struct json_object *o)
{
	cmd_print_cell(0, json_object_get_string(o));
	putchar('\n');
}

static void print_each(struct json_object *list, void (*print)(struct json_object *o))
{
	for (size_t i = 0; i < json_object_array_length(list); i++)
		print(json_object_array_get_idx(list, i));
}

static void print_store(struct json_object *store)
{
	printf("storage driver ");
	cmd_print_cell(0, dink_json_str_or(store, "driver", ""));
	printf("\n\n%-32s %-12s %6s  %s\n", "IMAGE", "ID", "LAYERS", "CREATED");
	print_each(dink_json_get(store, "images"), print_image);
	printf("\n%-32s %-12s %-8s %s\n", "CONTAINER", "ID", "STATE", "IMAGE");
	print_each(dink_json_get(store, "containers"), print_container);
	printf("\nVOLUME\n");
	print_each(dink_json_get(store, "volumes"), print_volume);
}

static int run_disk_docker(struct dink_args *args, struct dink_err *err)
{
	_cleanup_(dink_look_freep) struct dink_look *in = NULL;
	_cleanup_json_ struct json_object *store = NULL;
	const struct docker_opts *o = args->opts;
	const char *root = o->root ? o->root : "/";
	int r = check_absolute(root, err);

	if (r == 0)
		r = open_image(args, &in, err);
	if (r == 0)
		r = dink_store_read(in, root, &store, err);
	if (r < 0)
		return dink_err_push(err, "reading the store in %s", args->v[0]);
	if (args->json)
		cmd_print_json(TAKE_PTR(store));
	else
		print_store(store);
	return 0;
}

struct ls_opts {
	bool as_list;
};

/* A pipe gets the names as they are, as from ls(1); a terminal would obey them. */
static void print_name(const char *name, const char *end)
{
	if (isatty(STDOUT_FILENO))
		cmd_print_cell(0, name);
	else
		fputs(name, stdout);
	fputs(end, stdout);
}

static int print_names(struct dink_look *in, const char *path, bool json, struct dink_err *err)
{
	_cleanup_strv_ struct dink_strv names = {};
	int r = dink_look_names(in, path, &names, err);

	if (r < 0)
		return r;
	if (json)
		cmd_print_json(dink_json_strv(&names));
	for (size_t i = 0; !json && i < names.n; i++)
		print_name(names.v[i], "\n");
	return 0;
}

static int run_disk_ls(struct dink_args *args, struct dink_err *err)
{
	_cleanup_(dink_look_freep) struct dink_look *in = NULL;
	const struct ls_opts *o = args->opts;
	const char *path = args->n > 1 ? args->v[1] : "/";
	_cleanup_free_ char *text = NULL;
	int r = check_absolute(path, err);

	if (r == 0)
		r = open_image(args, &in, err);
	if (r < 0)
		return r;
	if (!o->as_list)
		return print_names(in, path, args->json, err);
	r = dink_look_listing(in, path, &text, err);
	for (char *line, *rest = text; r == 0 && (line = strsep(&rest, "\n"));)
		print_name(line, rest ? "\n" : "");
	return r;
}

static int run_disk_cat(struct dink_args *args, struct dink_err *err)
{
	_cleanup_(dink_look_freep) struct dink_look *in = NULL;
	int r = check_paths(args, 1, args->n, err);

	if (r == 0)
		r = open_image(args, &in, err);
	for (int i = 1; r == 0 && i < args->n; i++)
		r = dink_look_download(in, args->v[i], "/dev/stdout", err);
	return r;
}

static int run_disk_copy_out(struct dink_args *args, struct dink_err *err)
{
	_cleanup_(dink_look_freep) struct dink_look *in = NULL;
	int r = check_paths(args, 1, args->n - 1, err);

	if (r == 0)
		r = check_local(args, args->n - 1, args->n, err);
	if (r == 0)
		r = open_image(args, &in, err);
	for (int i = 1; r == 0 && i < args->n - 1; i++)
		r = dink_look_copy_out(in, args->v[i], args->v[args->n - 1], err);
	return r;
}

static int run_disk_copy_in(struct dink_args *args, struct dink_err *err)
{
	_cleanup_(dink_kernel_clear) struct dink_kernel k = {};
	struct dink_look_how how;
	const int last = args->n - 1;
	int r = check_absolute(args->v[last], err);

	if (r == 0)
		r = check_local(args, 1, last, err);
	if (r == 0)
		r = check_image(args->v[0], err);
	if (r == 0)
		r = get_kernel(args, &k, &how, err);
	return r < 0 ? r
		     : dink_disk_copy_in(args->v[0], args->v + 1, (size_t)last - 1, args->v[last],
					 &how, err);
}

static const struct dink_opt ls_opts[] = {
	{.short_name = 'l',
	 .long_name = "long",
	 .kind = DINK_OPT_FLAG,
	 .offset = offsetof(struct ls_opts, as_list),
	 .help = "with modes, owners, sizes and dates"},
	{},
};

const struct dink_command cmd_disk_ls = {
	.name = "disk ls",
	.operands = "FILE [PATH]",
	.summary = "names in a folder of an image, which is read in a VM of its own",
	.examples = "  dink disk ls store.img /image/overlay2\n",
	.opts = ls_opts,
	.opts_size = sizeof(struct ls_opts),
	.min_args = 1,
	.n_files = 1,
	.max_args = 2,
	.has_json = true,
	.complete = DINK_COMPLETE_FILE,
	.run = run_disk_ls,
};

const struct dink_command cmd_disk_cat = {
	.name = "disk cat",
	.operands = "FILE PATH...",
	.summary = "files of an image to standard output",
	.examples = "  dink disk cat store.img /image/btrfs/repositories.json\n",
	.min_args = 2,
	.n_files = 1,
	.max_args = -1,
	.complete = DINK_COMPLETE_FILE,
	.run = run_disk_cat,
};

const struct dink_command cmd_disk_copy_out = {
	.name = "disk copy-out",
	.operands = "FILE PATH... FOLDER",
	.summary = "files and folders of an image into a folder here",
	.examples = "  dink disk copy-out store.img /containers /tmp/look\n",
	.min_args = 3,
	.n_files = 1,
	.max_args = -1,
	.complete = DINK_COMPLETE_FILE,
	.run = run_disk_copy_out,
};

const struct dink_command cmd_disk_copy_in = {
	.name = "disk copy-in",
	.operands = "FILE LOCAL... FOLDER",
	.summary = "files and folders from here into a folder of an image that nothing uses",
	.examples = "  dink disk copy-in data.img ./etc /\n",
	.min_args = 3,
	.n_files = 1,
	.max_args = -1,
	.complete = DINK_COMPLETE_FILE,
	.run = run_disk_copy_in,
};

const struct dink_command cmd_disk_resize = {
	.name = "disk resize",
	.operands = "FILE SIZE",
	.summary = "make an image and its filesystem larger, or smaller if what is in it fits",
	.examples = "  dink disk resize store.img 20GiB\n",
	.min_args = 2,
	.n_files = 1,
	.max_args = 2,
	.complete = DINK_COMPLETE_FILE,
	.run = run_disk_resize,
};

const struct dink_command cmd_disk_trim = {
	.name = "disk trim",
	.operands = "FILE",
	.summary = "give the blocks that an image's filesystem does not use back to the host",
	.examples = "  dink disk trim store.img\n",
	.min_args = 1,
	.n_files = 1,
	.max_args = 1,
	.complete = DINK_COMPLETE_FILE,
	.run = run_disk_trim,
};

static const struct dink_opt docker_opts[] = {
	{.long_name = "root",
	 .kind = DINK_OPT_STRING,
	 .offset = offsetof(struct docker_opts, root),
	 .metavar = "PATH",
	 .help = "the daemon's data root in the image (default /)"},
	{},
};

const struct dink_command cmd_disk_docker = {
	.name = "disk docker",
	.operands = "FILE",
	.summary = "the images, containers and volumes of the Docker daemon whose store it is",
	.examples = "  dink disk docker store.img\n"
		    "  dink disk docker --json store.img | jq '.images[].name'\n",
	.opts = docker_opts,
	.opts_size = sizeof(struct docker_opts),
	.min_args = 1,
	.n_files = 1,
	.max_args = 1,
	.has_json = true,
	.complete = DINK_COMPLETE_FILE,
	.run = run_disk_docker,
};
