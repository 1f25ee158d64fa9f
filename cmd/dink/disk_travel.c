/* SPDX-License-Identifier: Apache-2.0 */
/* dink disk snapshot, export, import, mount, unmount: images through time, machines and the kernel. */
#include "cmd/dink/cmd.h"

#include "loopdev/loopdev.h"
#include "loopdev/whole.h"
#include "provision/base/json.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

struct force_opts {
	bool force;
};

/* --- snapshot --- */

static void print_snapshot(struct json_object *o)
{
	_cleanup_free_ char *used =
		dink_format_size((uint64_t)dink_json_int_or(o, "allocated_bytes", 0));
	time_t at = (time_t)dink_json_int_or(o, "made_at", 0);
	struct tm tm;
	char when[32] = "";

	if (localtime_r(&at, &tm))
		(void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	printf("%-24s %-20s %10s  %s\n", dink_json_str_or(o, "name", ""), when, used,
	       dink_json_str_or(o, "path", ""));
}

static int list_snapshots(struct dink_args *args, struct dink_err *err)
{
	_cleanup_json_ struct json_object *all = dink_disk_snapshots(args->v[1]);
	size_t n = json_object_array_length(all);
	/* snapshots of an image that is gone are worth a list */
	int r = n == 0 ? cmd_check_file(args->v[1], err) : 0;

	if (r < 0)
		return r;
	if (args->json) {
		cmd_print_json(TAKE_PTR(all));
		return 0;
	}
	if (n == 0)
		printf("%s has no snapshot\n", args->v[1]);
	else
		printf("%-24s %-20s %10s  %s\n", "SNAPSHOT", "MADE", "ON HOST", "FILE");
	for (size_t i = 0; i < n; i++)
		print_snapshot(json_object_array_get_idx(all, i));
	return 0;
}

static int wrong_words(struct dink_err *err)
{
	dink_err_set(err, DINK_E_USAGE, 0, "what to do with which image's snapshots?");
	return dink_err_hint(err, "dink disk snapshot list FILE, or create, rollback or delete "
				  "FILE NAME");
}

static int run_disk_snapshot(struct dink_args *args, struct dink_err *err)
{
	const char *verb = args->v[0], *file = args->v[1], *name = args->v[2];

	if (STREQ(verb, "list") && args->n == 2)
		return list_snapshots(args, err);
	if (args->n != 3)
		return wrong_words(err);
	dink_catch_interrupts();
	if (STREQ(verb, "create"))
		return dink_disk_snapshot(file, name, &args->progress, err);
	if (STREQ(verb, "rollback"))
		return dink_disk_rollback(file, name, &args->progress, err);
	if (STREQ(verb, "delete"))
		return dink_disk_snapshot_remove(file, name, err);
	return wrong_words(err);
}

/* --- export, import --- */

static int export_to_file(const char *path, const char *to, bool force,
			  const struct dink_progress *progress, struct dink_err *err)
{
	_cleanup_(dink_whole_clear) struct dink_whole w = {};
	int r = dink_whole_begin(&w, to, force, err);

	if (r < 0)
		return r;
	return dink_whole_end(&w, dink_disk_export(path, w.fd, progress, err), err);
}

static int run_disk_export(struct dink_args *args, struct dink_err *err)
{
	const struct force_opts *o = args->opts;
	const char *to = args->n > 1 ? args->v[1] : "-";

	dink_catch_interrupts();
	if (!STREQ(to, "-"))
		return export_to_file(args->v[0], to, o->force, &args->progress, err);
	if (isatty(STDOUT_FILENO)) {
		dink_err_set(err, DINK_E_USAGE, 0, "an archive is nothing for a terminal");
		return dink_err_hint(err, "name a file, or send it on: dink disk export %s | ...",
				     args->v[0]);
	}
	return dink_disk_export(args->v[0], STDOUT_FILENO, &args->progress, err);
}

static int run_disk_import(struct dink_args *args, struct dink_err *err)
{
	const struct force_opts *o = args->opts;
	_cleanup_close_ int fd = -1;
	struct stat st;

	dink_catch_interrupts();
	fd = STREQ(args->v[0], "-") ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
				    : open(args->v[0], O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return dink_err_set(err, DINK_E_USAGE, errno, "open %s", args->v[0]);
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		return dink_err_set(err, DINK_E_USAGE, EISDIR, "read %s", args->v[0]);
	return dink_disk_import(fd, args->v[1], o->force, &args->progress, err);
}

/* --- mount, unmount --- */

struct mount_opts {
	bool read_only;
};

static int run_disk_mount(struct dink_args *args, struct dink_err *err)
{
	const struct mount_opts *o = args->opts;
	struct dink_loop_id id;
	int r = dink_disk_mount(args->v[0], args->v[1], "nosuid,nodev", o->read_only, &id, err);

	if (r == 0 && args->json)
		cmd_print_json(dink_loop_id_to_json(&id));
	else if (r == 0 && !args->quiet)
		printf("%s on %s\n", id.path, args->v[1]);
	return r;
}

static int run_disk_unmount(struct dink_args *args, struct dink_err *err)
{
	return dink_disk_unmount_at(args->v[0], err);
}

const struct dink_command cmd_disk_snapshot = {
	.name = "disk snapshot",
	.operands = "list|create|rollback|delete FILE [NAME]",
	.summary = "keep what an image is now beside it, and bring it back",
	.examples = "  dink disk snapshot create store.img before-upgrade\n"
		    "  dink disk snapshot list store.img\n"
		    "  dink disk snapshot rollback store.img before-upgrade\n",
	.min_args = 2,
	.max_args = 3,
	.has_json = true,
	.complete = DINK_COMPLETE_FILE,
	.run = run_disk_snapshot,
};

static const struct dink_opt export_opts[] = {
	{.short_name = 'f',
	 .long_name = "force",
	 .kind = DINK_OPT_FLAG,
	 .offset = offsetof(struct force_opts, force),
	 .help = "overwrite what is there"},
	{},
};

const struct dink_command cmd_disk_export = {
	.name = "disk export",
	.operands = "FILE [ARCHIVE|-]",
	.summary = "an image as an archive in which holes take no room",
	.examples = "  dink disk export store.img store.tar.zst\n"
		    "  dink disk export store.img | ssh other dink disk import - store.img\n",
	.opts = export_opts,
	.opts_size = sizeof(struct force_opts),
	.min_args = 1,
	.n_files = 1,
	.max_args = 2,
	.complete = DINK_COMPLETE_FILE,
	.run = run_disk_export,
};

const struct dink_command cmd_disk_import = {
	.name = "disk import",
	.operands = "ARCHIVE|- FILE",
	.summary = "the image in an archive that disk export made",
	.examples = "  dink disk import store.tar.zst store.img\n",
	.opts = export_opts,
	.opts_size = sizeof(struct force_opts),
	.min_args = 2,
	.max_args = 2,
	.complete = DINK_COMPLETE_FILE,
	.run = run_disk_import,
};

static const struct dink_opt mount_opts[] = {
	{.short_name = 'r',
	 .long_name = "read-only",
	 .kind = DINK_OPT_FLAG,
	 .offset = offsetof(struct mount_opts, read_only),
	 .help = "change nothing; others may read the image meanwhile"},
	{},
};

const struct dink_command cmd_disk_mount = {
	.name = "disk mount",
	.operands = "FILE FOLDER",
	.summary = "mount an image that you trust: this machine's kernel reads it",
	.examples = "  dink disk mount data.img /mnt\n",
	.opts = mount_opts,
	.opts_size = sizeof(struct mount_opts),
	.min_args = 2,
	.n_files = 1,
	.max_args = 2,
	.has_json = true,
	.complete = DINK_COMPLETE_FILE,
	.run = run_disk_mount,
};

const struct dink_command cmd_disk_unmount = {
	.name = "disk unmount",
	.operands = "FOLDER",
	.summary = "unmount an image, and free its loop device",
	.examples = "  dink disk unmount /mnt\n",
	.min_args = 1,
	.max_args = 1,
	.complete = DINK_COMPLETE_DIR,
	.run = run_disk_unmount,
};
