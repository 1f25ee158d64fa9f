/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots of an image: whole images beside it, FILE.snapshots/NAME.img, with the UUID it has. They
 * share their blocks with it where the file system can, and need nothing of the filesystem inside.
 */
#include "loopdev/loopdev.h"

#include "loopdev/whole.h"
#include "provision/base/clone.h"
#include "provision/base/file.h"

#include <sys/stat.h>

enum { NAME_MAX_BYTES = 64 };

static int check_name(const char *name, struct dink_err *err)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t n = strlen(name);

	if (n > 0 && n <= NAME_MAX_BYTES && name[0] != '.' && strspn(name, allowed) == n)
		return 0;
	dink_err_set(err, DINK_E_USAGE, 0, "'%s' is no name for a snapshot", name);
	return dink_err_hint(err, "letters, digits, '_', '-' and '.', at most %d of them",
			     NAME_MAX_BYTES);
}

static char *folder_of(const char *path)
{
	return xasprintf("%s.snapshots", path);
}

static char *file_of(const char *path, const char *name)
{
	return xasprintf("%s.snapshots/%s.img", path, name);
}

/* One that is not empty stays. */
static void drop_empty_folder(const char *path)
{
	_cleanup_free_ char *dir = folder_of(path);

	(void)rmdir(dir);
}

static int copy_image(const char *from, const char *to, bool force,
		      const struct dink_progress *progress, struct dink_err *err)
{
	_cleanup_(dink_whole_clear) struct dink_whole w = {};
	_cleanup_close_ int in = -1;
	int r = dink_disk_lease(from, false, &in, err);

	if (r == 0)
		r = dink_whole_begin(&w, to, force, err);
	if (r < 0)
		return r;
	return dink_whole_end(&w, dink_clone_fd_flushing(in, w.fd, from, progress, err), err);
}

int dink_disk_snapshot(const char *path, const char *name, const struct dink_progress *progress,
		       struct dink_err *err)
{
	_cleanup_free_ char *dir = folder_of(path);
	_cleanup_free_ char *file = file_of(path, name);
	int r = check_name(name, err);

	if (r == 0 && dink_exists(file)) {
		dink_err_set(err, DINK_E_BUSY, 0, "%s has a snapshot '%s' already", path, name);
		return dink_err_hint(err, "dink disk snapshot delete %s %s", path, name);
	}
	/* a folder for an image that is not there would outlive the error */
	if (r == 0 && !dink_exists(path))
		r = dink_err_set(err, DINK_E_HOST, ENOENT, "open %s", path);
	if (r == 0)
		r = dink_mkdir_p(dir, 0700, err);
	if (r < 0)
		return r;
	r = copy_image(path, file, false, progress, err);
	if (r == 0)
		return 0;
	drop_empty_folder(path);
	return dink_err_push(err, "making the snapshot %s of %s", name, path);
}

static int need_snapshot(const char *path, const char *name, const char *file, struct dink_err *err)
{
	int r = check_name(name, err);

	if (r < 0 || dink_exists(file))
		return r;
	dink_err_set(err, DINK_E_USAGE, 0, "%s has no snapshot '%s'", path, name);
	return dink_err_hint(err, "dink disk snapshot list %s", path);
}

int dink_disk_rollback(const char *path, const char *name, const struct dink_progress *progress,
		       struct dink_err *err)
{
	_cleanup_free_ char *file = file_of(path, name);
	int r = need_snapshot(path, name, file, err);

	if (r == 0)
		r = copy_image(file, path, true, progress, err);
	return r < 0 ? dink_err_push(err, "rolling back %s", path) : 0;
}

int dink_disk_snapshot_remove(const char *path, const char *name, struct dink_err *err)
{
	_cleanup_free_ char *file = file_of(path, name);
	int r = need_snapshot(path, name, file, err);

	if (r == 0)
		r = dink_disk_remove(file, true, err);
	if (r == 0)
		drop_empty_folder(path);
	return r;
}

static struct json_object *snapshot_to_json(const char *dir, const char *entry)
{
	_cleanup_free_ char *file = xasprintf("%s/%s", dir, entry);
	_cleanup_free_ char *name = xstrndup(entry, strlen(entry) - strlen(".img"));
	struct json_object *o;
	struct stat st;

	if (stat(file, &st) < 0)
		return NULL; /* removed meanwhile */
	o = dink_json_new();
	dink_json_set_str(o, "name", name);
	dink_json_set_str(o, "path", file);
	dink_json_set_int(o, "size_bytes", st.st_size);
	dink_json_set_int(o, "allocated_bytes", st.st_blocks * 512);
	dink_json_set_int(o, "made_at", st.st_mtime);
	return o;
}

static int by_age(const void *a, const void *b)
{
	int64_t x = dink_json_int_or(*(struct json_object *const *)a, "made_at", 0);
	int64_t y = dink_json_int_or(*(struct json_object *const *)b, "made_at", 0);

	return (x > y) - (x < y);
}

struct json_object *dink_disk_snapshots(const char *path)
{
	struct json_object *all = json_object_new_array();
	_cleanup_free_ char *dir = folder_of(path);
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		struct json_object *o =
			dink_ends_with(e->d_name, ".img") ? snapshot_to_json(dir, e->d_name) : NULL;
		if (o)
			json_object_array_add(all, o);
	}
	json_object_array_sort(all, by_age);
	return all;
}

int dink_disk_snapshots_remove(const char *path, struct dink_err *err)
{
	_cleanup_json_ struct json_object *all = dink_disk_snapshots(path);
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_object_array_length(all); i++)
		r = dink_disk_snapshot_remove(
			path, dink_json_str_or(json_object_array_get_idx(all, i), "name", ""), err);
	return r;
}
