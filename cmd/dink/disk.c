/* SPDX-License-Identifier: Apache-2.0 */
/* dink disk create, dink disk show: disk images by hand, as `up` makes them from a scenario. */
#include "cmd/dink/cmd.h"

#include "loopdev/loopdev.h"
#include "provision/base/json.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"

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
	.max_args = 1,
	.has_json = true,
	.complete = DINK_COMPLETE_FILE,
	.run = run_disk_show,
};
