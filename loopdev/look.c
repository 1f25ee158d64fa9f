/* SPDX-License-Identifier: Apache-2.0 */
#include "loopdev/look.h"

#include "loopdev/whole.h"
#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/proc.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>

#define LIBRARY "libguestfs.so.0"

typedef struct guestfs_h guestfs_h;
typedef void (*event_fn)(guestfs_h *g, void *ctx, uint64_t event, int handle, int flags,
			 const char *buf, size_t len, const uint64_t *array, size_t n);

/* guestfs(3): a library's ABI does not change, so its constants are these for good. */
enum {
	EVENT_PROGRESS = 0x0008,
	DRIVE_READONLY = 0,
	DRIVE_FORMAT = 1,
	DRIVE_DISCARD = 10,
	RESIZE_SIZE = 0,
};

/* What is called of the library, by its names without "guestfs_". */
#define CALLS(X)                                                                                   \
	X(create, guestfs_h *, (void))                                                             \
	X(close, void, (guestfs_h *))                                                              \
	X(set_error_handler, void, (guestfs_h *, void *, void *))                                  \
	X(last_error, const char *, (guestfs_h *))                                                 \
	X(set_event_callback, int, (guestfs_h *, event_fn, uint64_t, int, void *))                 \
	X(set_cachedir, int, (guestfs_h *, const char *))                                          \
	X(set_tmpdir, int, (guestfs_h *, const char *))                                            \
	X(add_drive_opts, int, (guestfs_h *, const char *, ...))                                   \
	X(launch, int, (guestfs_h *))                                                              \
	X(mount, int, (guestfs_h *, const char *, const char *))                                   \
	X(mount_ro, int, (guestfs_h *, const char *, const char *))                                \
	X(ls, char **, (guestfs_h *, const char *))                                                \
	X(ll, char *, (guestfs_h *, const char *))                                                 \
	X(download, int, (guestfs_h *, const char *, const char *))                                \
	X(copy_out, int, (guestfs_h *, const char *, const char *))                                \
	X(copy_in, int, (guestfs_h *, const char *, const char *))                                 \
	X(btrfs_filesystem_resize, int, (guestfs_h *, const char *, ...))                          \
	X(fstrim, int, (guestfs_h *, const char *, ...))                                           \
	X(is_file, int, (guestfs_h *, const char *))                                               \
	X(is_dir, int, (guestfs_h *, const char *))                                                \
	X(filesize, int64_t, (guestfs_h *, const char *))                                          \
	X(read_file, char *, (guestfs_h *, const char *, size_t *))                                \
	X(shutdown, int, (guestfs_h *))

struct calls {
	/* a type cannot stand in parentheses: NOLINTNEXTLINE(bugprone-macro-parentheses) */
#define MEMBER(name, type, args) type(*name) args;
	CALLS(MEMBER)
#undef MEMBER
};

struct dink_look {
	struct calls call;
	void *library;
	guestfs_h *g;
	char *image;
	int lease;
	const struct dink_progress *progress;
	bool made_modules; /* /lib/modules */
};

static int load_library(struct dink_look *i, struct dink_err *err)
{
	i->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!i->library) {
		dink_err_set(err, DINK_E_HOST, ENOENT, "%s", LIBRARY);
		return dink_err_hint(err, "apt-get install libguestfs0 supermin");
	}
	/* a function's address through void *: POSIX says it may be (dlsym(3p)) */
#define LOAD(name, type, args)                                                                     \
	*(void **)(void *)&i->call.name = dlsym(i->library, "guestfs_" #name);
	CALLS(LOAD)
#undef LOAD
#define NEED(name, type, args)                                                                     \
	if (!i->call.name)                                                                         \
		return dink_err_set(err, DINK_E_HOST, ENOSYS, "%s has no guestfs_%s", LIBRARY,     \
				    #name);
	CALLS(NEED)
#undef NEED
	return 0;
}

static int fail(struct dink_look *i, const char *what, struct dink_err *err)
{
	const char *why = i->call.last_error(i->g);

	if (dink_interrupted())
		return dink_err_set(err, DINK_E_INTR, 0, "interrupted");
	dink_err_set(err, DINK_E_CHILD, 0, "%s", why ? why : "libguestfs failed");
	return dink_err_push(err, "%s in %s", what, i->image);
}

static void report(_unused_ guestfs_h *g, void *ctx, _unused_ uint64_t event, _unused_ int handle,
		   _unused_ int flags, _unused_ const char *buf, _unused_ size_t len,
		   const uint64_t *array, size_t n)
{
	struct dink_look *i = ctx;

	/* procedure, serial, position, total */
	if (n >= 4)
		dink_progress(i->progress, "reading the disk in a VM", array[2], array[3]);
}

/*
 * Where the appliance of this kernel is kept, and what supermin(1) needs to make it of a kernel
 * without modules: an empty folder for them.
 */
static int prepare_appliance(const struct dink_look_how *how, char **ret_dir, struct dink_err *err)
{
	static const char *const empty[] = {"modules.order", "modules.builtin", "modules.dep"};
	_cleanup_free_ char *dir = xasprintf("%s/appliances/%s", dink_cache_dir(), how->key);
	_cleanup_free_ char *modules = xasprintf("%s/modules", dir);
	int r = dink_mkdir_p(modules, 0755, err);

	for (size_t k = 0; r == 0 && k < ARRAY_SIZE(empty); k++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", modules, empty[k]);
		r = dink_exists(path) ? 0 : dink_file_write(path, "", 0, 0644, err);
	}
	if (r < 0)
		return r;
	/* read by supermin and by the library, which have no other way to be told */
	if (setenv("SUPERMIN_KERNEL", how->bzimage, 1) < 0 ||
	    setenv("SUPERMIN_KERNEL_VERSION", how->release, 1) < 0 ||
	    setenv("SUPERMIN_MODULES", modules, 1) < 0 ||
	    setenv("LIBGUESTFS_BACKEND", "direct", 1) < 0 ||
	    setenv("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg", 0) < 0)
		return dink_err_set(err, DINK_E_BUG, errno, "setenv");
	*ret_dir = TAKE_PTR(dir);
	return 0;
}

/* supermin copies this folder also where it was told of another, so it has to be there. */
static int lend_modules(struct dink_look *i, struct dink_err *err)
{
	static const char path[] = "/lib/modules";

	if (mkdir(path, 0755) == 0) {
		i->made_modules = true;
		return 0;
	}
	if (errno == EEXIST)
		return 0;
	dink_err_set(err, DINK_E_HOST, errno, "make %s, which supermin wants", path);
	return dink_err_hint(err, "as root: mkdir %s (it may be empty)", path);
}

static void take_modules_back(struct dink_look *i)
{
	/* one that somebody filled meanwhile stays */
	if (i->made_modules)
		(void)rmdir("/lib/modules");
	i->made_modules = false;
}

static int launch(struct dink_look *i, const struct dink_look_how *how, const char *dir,
		  struct dink_err *err)
{
	_cleanup_free_ char *real = realpath(i->image, NULL);
	int r = lend_modules(i, err);

	if (r < 0)
		return r;
	/* raw, always: a guest could write another format's header to its disk */
	if (!real || i->call.set_cachedir(i->g, dir) < 0 || i->call.set_tmpdir(i->g, dir) < 0 ||
	    i->call.add_drive_opts(i->g, real, DRIVE_READONLY, how->writable ? 0 : 1, DRIVE_FORMAT,
				   "raw", DRIVE_DISCARD, how->discards ? "enable" : "disable",
				   -1) < 0)
		return fail(i, "preparing a look", err);
	dink_progress(i->progress, "starting a VM to read the disk in", 0, 0);
	if (i->call.launch(i->g) < 0) {
		r = fail(i, "starting a VM to look", err);
		return dink_err_hint(err, "libguestfs-test-tool tells more");
	}
	if ((how->writable ? i->call.mount : i->call.mount_ro)(i->g, "/dev/sda", "/") < 0)
		return fail(i, "mounting what is", err);
	return 0;
}

int dink_look_open(const char *image, const struct dink_look_how *how, struct dink_look **ret,
		   struct dink_err *err)
{
	_cleanup_(dink_look_freep) struct dink_look *i = xcalloc(1, sizeof(*i));
	_cleanup_free_ char *dir = NULL;

	i->lease = -1;
	i->image = xstrdup(image);
	i->progress = how->progress;
	int r = how->leased ? 0 : dink_disk_lease(image, how->writable, &i->lease, err);
	if (r == 0)
		r = load_library(i, err);
	if (r == 0)
		r = prepare_appliance(how, &dir, err);
	if (r < 0)
		return r;
	i->g = i->call.create();
	if (!i->g)
		return dink_err_set(err, DINK_E_HOST, errno, "libguestfs");
	i->call.set_error_handler(i->g, NULL, NULL);
	(void)i->call.set_event_callback(i->g, report, EVENT_PROGRESS, 0, i);
	r = launch(i, how, dir, err);
	take_modules_back(i);
	if (r == 0)
		*ret = TAKE_PTR(i);
	return r;
}

int dink_look_names(struct dink_look *i, const char *path, struct dink_strv *ret,
		    struct dink_err *err)
{
	char **names = i->call.ls(i->g, path);

	if (!names)
		return fail(i, "listing a folder", err);
	for (char **n = names; *n; n++)
		dink_strv_own(ret, *n);
	free(names);
	return 0;
}

int dink_look_listing(struct dink_look *i, const char *path, char **ret, struct dink_err *err)
{
	*ret = i->call.ll(i->g, path);
	return *ret ? 0 : fail(i, "listing a folder", err);
}

int dink_look_download(struct dink_look *i, const char *path, const char *to, struct dink_err *err)
{
	return i->call.download(i->g, path, to) < 0 ? fail(i, "reading a file", err) : 0;
}

int dink_look_copy_out(struct dink_look *i, const char *path, const char *dir, struct dink_err *err)
{
	return i->call.copy_out(i->g, path, dir) < 0 ? fail(i, "copying out", err) : 0;
}

int dink_look_copy_in(struct dink_look *i, const char *file, const char *dir, struct dink_err *err)
{
	return i->call.copy_in(i->g, file, dir) < 0 ? fail(i, "copying in", err) : 0;
}

int dink_look_resize_btrfs(struct dink_look *i, uint64_t bytes, struct dink_err *err)
{
	return i->call.btrfs_filesystem_resize(i->g, "/", RESIZE_SIZE, (int64_t)bytes, -1) < 0
		       ? fail(i, "resizing the btrfs", err)
		       : 0;
}

int dink_look_trim(struct dink_look *i, struct dink_err *err)
{
	return i->call.fstrim(i->g, "/", -1) < 0 ? fail(i, "trimming what is", err) : 0;
}

int dink_look_read(struct dink_look *i, const char *path, size_t max_bytes, char **ret,
		   size_t *ret_len, struct dink_err *err)
{
	int there = i->call.is_file(i->g, path);
	int64_t size = there > 0 ? i->call.filesize(i->g, path) : 0;

	*ret = NULL;
	*ret_len = 0;
	if (there < 0 || size < 0)
		return fail(i, "reading a file", err);
	if (there == 0)
		return 0;
	if ((uint64_t)size > max_bytes)
		return dink_err_set(err, DINK_E_HOST, EFBIG, "%s in %s", path, i->image);
	*ret = i->call.read_file(i->g, path, ret_len);
	return *ret ? 0 : fail(i, "reading a file", err);
}

int dink_look_has_folder(struct dink_look *i, const char *path, struct dink_err *err)
{
	int there = i->call.is_dir(i->g, path);

	return there < 0 ? fail(i, "looking for a folder", err) : there;
}

int dink_look_end(struct dink_look *i, struct dink_err *err)
{
	return i->call.shutdown(i->g) < 0 ? fail(i, "writing out what was changed", err) : 0;
}

void dink_look_free(struct dink_look *i)
{
	if (!i)
		return;
	if (i->g)
		i->call.close(i->g);
	take_modules_back(i);
	if (i->lease >= 0)
		close(i->lease);
	if (i->library)
		dlclose(i->library);
	free(i->image);
	free(i);
}
