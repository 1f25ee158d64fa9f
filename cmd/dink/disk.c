/* SPDX-License-Identifier: Apache-2.0 */
/* dink disk: disk images by hand, as `up` makes them from a scenario. */
#include "cmd/dink/cmd.h"

#include "loopdev/loopdev.h"
#include "loopdev/whole.h"
#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/json.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"
#include "provision/step/instance.h"
#include "provision/step/store.h"

#include <dirent.h>

struct create_opts {
	uint64_t size_bytes;
	const char *filesystem;
	const char *label;
	bool force;
};

static const struct dink_opt create_opts[] = {
	{.short_name = 's',
	 .long_name = "size",
	 .kind = DINK_OPT_SIZE,
	 .offset = offsetof(struct create_opts, size_bytes),
	 .metavar = "SIZE",
	 .help = "apparent size; the file takes only what is written (default 10GiB)"},
	{.short_name = 't',
	 .long_name = "filesystem",
	 .kind = DINK_OPT_STRING,
	 .offset = offsetof(struct create_opts, filesystem),
	 .metavar = "TYPE",
	 .help = "btrfs or ext4 (default btrfs)"},
	{.short_name = 'L',
	 .long_name = "label",
	 .kind = DINK_OPT_STRING,
	 .offset = offsetof(struct create_opts, label),
	 .metavar = "LABEL",
	 .help = "name of the filesystem"},
	{.short_name = 'f',
	 .long_name = "force",
	 .kind = DINK_OPT_FLAG,
	 .offset = offsetof(struct create_opts, force),
	 .help = "overwrite what the file holds"},
	{},
};

static struct json_object *disk_to_json(const char *path, const struct dink_disk_probe *p)
{
	struct json_object *o = dink_json_new(), *loops = json_object_new_array();
	struct dink_loop_id id[16];
	int n = dink_loop_find(path, id, ARRAY_SIZE(id));

	dink_json_set_str(o, "path", path);
	dink_json_set_int(o, "size_bytes", (int64_t)p->size_bytes);
	dink_json_set_int(o, "allocated_bytes", (int64_t)p->allocated_bytes);
	dink_json_set_str(o, "type", p->type);
	dink_json_set_str(o, "usage", p->usage);
	dink_json_set_str(o, "label", p->label);
	dink_json_set_str(o, "uuid", p->uuid);
	dink_json_set_str(o, "partition_table", p->partition_table);
	dink_json_set_bool(o, "ambiguous", p->ambiguous);
	for (int i = 0; i < n; i++)
		json_object_array_add(loops, json_object_new_string(id[i].path));
	dink_json_set(o, "loop_devices", loops);
	return o;
}

static void print_disk(const char *path, const struct dink_disk_probe *p)
{
	_cleanup_free_ char *size = dink_format_size(p->size_bytes);
	_cleanup_free_ char *used = dink_format_size(p->allocated_bytes);
	struct dink_loop_id id[16];
	int n = dink_loop_find(path, id, ARRAY_SIZE(id));

	printf("%s\n", path);
	printf("  size        %s (%s on the host)\n", size, used);
	printf("  holds       %s%s\n", p->type ? p->type : "nothing that libblkid knows",
	       p->ambiguous ? ", and other signatures" : "");
	if (p->partition_table)
		printf("  partitions  %s\n", p->partition_table);
	if (p->label)
		printf("  label       %s\n", p->label);
	if (p->uuid)
		printf("  uuid        %s\n", p->uuid);
	for (int i = 0; i < n; i++)
		printf("  attached    %s\n", id[i].path);
}

static int show(const char *path, bool json, struct dink_err *err)
{
	_cleanup_(dink_disk_probe_clear) struct dink_disk_probe p = {};

	int r = dink_disk_probe(path, &p, err);
	if (r < 0)
		return r;
	if (json)
		cmd_print_json(disk_to_json(path, &p));
	else
		print_disk(path, &p);
	return 0;
}

static int run_disk_create(struct dink_args *args, struct dink_err *err)
{
	const struct create_opts *o = args->opts;
	const struct dink_disk_make make = {
		.size_bytes = o->size_bytes ? o->size_bytes : 10ULL << 30,
		.filesystem = o->filesystem ? o->filesystem : "btrfs",
		.label = o->label,
		.force = o->force,
	};

	dink_catch_interrupts();
	int r = dink_disk_create(args->v[0], &make, err);
	return r < 0 ? r : show(args->v[0], args->json, err);
}

static int run_disk_show(struct dink_args *args, struct dink_err *err)
{
	return show(args->v[0], args->json, err);
}

/* --- list --- */

static int add_disk(struct json_object *all, const char *instance, const char *dir,
		    const char *name, struct dink_err *err)
{
	_cleanup_(dink_disk_probe_clear) struct dink_disk_probe p = {};
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	_cleanup_free_ char *disk = xstrndup(name, strlen(name) - strlen(".img"));
	int r = dink_disk_probe(path, &p, err);

	if (r < 0)
		return r;
	struct json_object *o = disk_to_json(path, &p);
	dink_json_set_str(o, "instance", instance);
	dink_json_set_str(o, "disk", disk);
	dink_json_set_bool(o, "in_use", dink_disk_has_writer(path));
	json_object_array_add(all, o);
	return 0;
}

static int add_instance(struct json_object *all, const char *instance, struct dink_err *err)
{
	_cleanup_free_ char *dir = xasprintf("%s/instances/%s/disks", dink_state_dir(), instance);
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *e;
	int r = 0;

	while (r == 0 && d && (e = readdir(d)))
		if (dink_ends_with(e->d_name, ".img"))
			r = add_disk(all, instance, dir, e->d_name, err);
	return r;
}

static void print_line(struct json_object *o)
{
	_cleanup_free_ char *size =
		dink_format_size((uint64_t)dink_json_int_or(o, "size_bytes", 0));
	_cleanup_free_ char *used =
		dink_format_size((uint64_t)dink_json_int_or(o, "allocated_bytes", 0));
	_cleanup_free_ char *name = xasprintf("%s/%s", dink_json_str_or(o, "instance", ""),
					      dink_json_str_or(o, "disk", ""));

	printf("%-30s %-6s %10s %10s  %-6s %s\n", name, dink_json_str_or(o, "type", "-"), size,
	       used, dink_json_bool_or(o, "in_use", false) ? "in use" : "free",
	       dink_json_str_or(o, "path", ""));
}

static int run_disk_list(struct dink_args *args, struct dink_err *err)
{
	_cleanup_json_ struct json_object *all = json_object_new_array();
	_cleanup_strv_ struct dink_strv names = {};
	int r = dink_instance_list(&names, err);

	for (size_t i = 0; r == 0 && i < names.n; i++)
		r = add_instance(all, names.v[i], err);
	if (r < 0)
		return r;
	if (args->json) {
		cmd_print_json(TAKE_PTR(all));
		return 0;
	}
	if (json_object_array_length(all) == 0)
		puts("no instance has a disk");
	else
		printf("%-30s %-6s %10s %10s  %-6s %s\n", "DISK", "TYPE", "SIZE", "ON HOST",
		       "STATE", "FILE");
	for (size_t i = 0; i < json_object_array_length(all); i++)
		print_line(json_object_array_get_idx(all, i));
	return 0;
}

/* --- clone, check, rm --- */

struct force_opts {
	bool force;
};

static int run_disk_clone(struct dink_args *args, struct dink_err *err)
{
	const struct force_opts *o = args->opts;
	_cleanup_close_ int held = -1;
	int r;

	dink_catch_interrupts();
	r = dink_disk_rest(args->v[0], &held, err);
	if (r == 0) {
		const struct dink_disk_clone_how how = {
			.force = o->force, .at_rest = held >= 0, .progress = &args->progress};
		r = dink_disk_clone(args->v[0], args->v[1], &how, err);
	}
	/* the VM goes on before anything is printed */
	if (held >= 0)
		close(TAKE_FD(held));
	return r < 0 ? r : show(args->v[1], args->json, err);
}

static int run_disk_check(struct dink_args *args, struct dink_err *err)
{
	dink_catch_interrupts();
	int r = dink_disk_check(args->v[0], err);
	if (r == 0 && !args->quiet)
		printf("%s: no faults\n", args->v[0]);
	return r;
}

static int run_disk_rm(struct dink_args *args, struct dink_err *err)
{
	const struct force_opts *o = args->opts;
	int r = 0;

	for (int i = 0; r == 0 && i < args->n; i++)
		r = dink_disk_remove(args->v[i], o->force, err);
	return r;
}

const struct dink_command cmd_disk_create = {
	.name = "disk create",
	.operands = "FILE",
	.summary = "make a disk image: a sparse file with a filesystem",
	.examples = "  dink disk create store.img                         10 GiB of btrfs\n"
		    "  dink disk create -s 2GiB -t ext4 -L data data.img\n",
	.opts = create_opts,
	.opts_size = sizeof(struct create_opts),
	.min_args = 1,
	.max_args = 1,
	.has_json = true,
	.complete = DINK_COMPLETE_FILE,
	.run = run_disk_create,
};

const struct dink_command cmd_disk_show = {
	.name = "disk show",
	.operands = "FILE",
	.summary = "what a disk image holds, and where it is attached",
	.examples = "  dink disk show store.img --json\n",
	.min_args = 1,
	.n_files = 1,
	.max_args = 1,
	.has_json = true,
	.complete = DINK_COMPLETE_FILE,
	.run = run_disk_show,
};

const struct dink_command cmd_disk_list = {
	.name = "disk list",
	.operands = "",
	.summary = "the disks of all instances, and which are in use",
	.examples = "  dink disk list --json\n",
	.max_args = 0,
	.has_json = true,
	.run = run_disk_list,
};

static const struct dink_opt clone_opts[] = {
	{.short_name = 'f',
	 .long_name = "force",
	 .kind = DINK_OPT_FLAG,
	 .offset = offsetof(struct force_opts, force),
	 .help = "overwrite what the new file holds"},
	{},
};

const struct dink_command cmd_disk_clone = {
	.name = "disk clone",
	.operands = "FILE NEW",
	.summary = "a copy of an image with a UUID of its own; blocks are shared where they can be",
	.examples = "  dink disk clone store.img store-2.img\n"
		    "  dink disk clone /var/lib/dink/instances/net/disks/store.img now.img    "
		    "of a VM that runs\n",
	.opts = clone_opts,
	.opts_size = sizeof(struct force_opts),
	.min_args = 2,
	.n_files = 1,
	.max_args = 2,
	.has_json = true,
	.complete = DINK_COMPLETE_FILE,
	.run = run_disk_clone,
};

const struct dink_command cmd_disk_check = {
	.name = "disk check",
	.operands = "FILE",
	.summary = "look for faults in an image's filesystem; changes nothing",
	.examples = "  dink disk check store.img\n",
	.min_args = 1,
	.n_files = 1,
	.max_args = 1,
	.complete = DINK_COMPLETE_FILE,
	.run = run_disk_check,
};

static const struct dink_opt rm_opts[] = {
	{.short_name = 'f',
	 .long_name = "force",
	 .kind = DINK_OPT_FLAG,
	 .offset = offsetof(struct force_opts, force),
	 .help = "also a file that holds no filesystem, and its snapshots"},
	{},
};

const struct dink_command cmd_disk_rm = {
	.name = "disk rm",
	.operands = "FILE...",
	.summary = "remove images that nothing uses",
	.examples = "  dink disk rm store-2.img\n",
	.opts = rm_opts,
	.opts_size = sizeof(struct force_opts),
	.min_args = 1,
	.n_files = -1,
	.max_args = -1,
	.complete = DINK_COMPLETE_FILE,
	.run = run_disk_rm,
};
