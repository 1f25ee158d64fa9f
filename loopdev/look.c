/* SPDX-License-Identifier: Apache-2.0 */
#include "loopdev/look.h"

#include "loopdev/watch.h"
#include "loopdev/whole.h"
#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/log.h"
#include "provision/base/proc.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/stat.h>

#define LIBRARY "libguestfs.so.0"

typedef struct guestfs_h guestfs_h;
typedef void (*event_fn)(guestfs_h *g, void *ctx, uint64_t event, int handle, int flags,
			 const char *buf, size_t len, const uint64_t *array, size_t n);
typedef void (*error_fn)(guestfs_h *g, void *ctx, const char *text);

/* guestfs(3): a library's ABI does not change, so its constants are these for good. */
enum {
	EVENT_PROGRESS = 0x0008,
	DRIVE_READONLY = 0,
	DRIVE_FORMAT = 1,
	DRIVE_DISCARD = 10,
	RESIZE_SIZE = 0,
};

/*
 * How long a guest may take, many times what it needs on a busy machine under TCG: a hostile image can
 * keep the kernel that reads it busy for ever. The first start of a kernel builds its appliance, too.
 * What moves data has a second more for each MiB of the image.
 */
enum { START_S = 900, ANSWER_S = 300, BULK_MAX_S = 1 << 20 };

/* What is called of the library, by its names without "guestfs_". */
#define CALLS(X)                                                                                   \
	X(create, guestfs_h *, (void))                                                             \
	X(close, void, (guestfs_h *))                                                              \
	X(set_error_handler, void, (guestfs_h *, error_fn, void *))                                \
	X(set_event_callback, int, (guestfs_h *, event_fn, uint64_t, int, void *))                 \
	X(set_cachedir, int, (guestfs_h *, const char *))                                          \
	X(set_tmpdir, int, (guestfs_h *, const char *))                                            \
	X(config, int, (guestfs_h *, const char *, const char *))                                  \
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
	X(umount_all, int, (guestfs_h *))                                                          \
	X(dmesg, char *, (guestfs_h *))                                                            \
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
	char *dir; /* the library's temporary files; locked while they are used */
	int dir_lock, lease;
	struct dink_watch *watch;
	uint32_t bulk_s; /* the limit of what moves data */
	char *why;	 /* the last error's own words; NULL = none in this call */
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

/*
 * Before each call. A copy returns success where the guest's end of it failed (copy_in and copy_out
 * of 1.48 drop that result), so what counts is whether there was an error.
 */
static void begin(struct dink_look *i, uint32_t seconds)
{
	free(TAKE_PTR(i->why));
	dink_watch_limit(i->watch, seconds);
}

static void note_error(_unused_ guestfs_h *g, void *ctx, const char *text)
{
	struct dink_look *i = ctx;

	/* the first one is the cause */
	if (!i->why)
		i->why = xstrdup(text);
}

static int fail(struct dink_look *i, const char *what, struct dink_err *err)
{
	const char *why = i->why ? i->why : "libguestfs failed";
	size_t line = strcspn(why, "\n");
	uint32_t expired = dink_watch_expired(i->watch);

	if (dink_interrupted())
		return dink_err_set(err, DINK_E_INTR, 0, "interrupted");
	if (expired) {
		dink_err_set(err, DINK_E_CHILD, ETIMEDOUT, "no answer of the VM in %u s", expired);
	} else {
		dink_err_set(err, DINK_E_CHILD, 0, "%.*s", (int)line, why);
		/* how to debug the library is for who does */
		if (why[line] && !strstr(why, "LIBGUESTFS_DEBUG"))
			dink_err_detail(err, why + line + 1);
	}
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

/* What a dink that was killed had there. */
static void sweep_folders(const char *dir)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		_cleanup_(dink_err_clear) struct dink_err ignored = {};
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, e->d_name);
		_cleanup_close_ int fd = -1;

		if (strncmp(e->d_name, "look-", 5) != 0)
			continue;
		fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && dink_rm_rf(path, &ignored) < 0)
			continue; /* it stays for the next one */
	}
}

static int make_folder(struct dink_look *i, const char *dir, struct dink_err *err)
{
	_cleanup_free_ char *lock = xasprintf("%s/lock", dir);
	_cleanup_free_ char *path = xasprintf("%s/look-XXXXXX", dir);
	_cleanup_close_ int held = -1;
	int r = dink_lock(lock, true, &held, err);

	if (r < 0)
		return r;
	sweep_folders(dir);
	if (!mkdtemp(path))
		return dink_err_set(err, DINK_E_HOST, errno, "make a folder in %s", dir);
	i->dir = TAKE_PTR(path);
	i->dir_lock = open(i->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (i->dir_lock < 0 || flock(i->dir_lock, LOCK_EX | LOCK_NB) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "lock %s", i->dir);
	return 0;
}

static int prepare_vm(struct dink_look *i, const char *image, const struct dink_look_how *how,
		      const char *dir, struct dink_err *err)
{
	_cleanup_free_ char *real = realpath(image, NULL);
	struct stat st;
	off_t mib;

	if (!real || stat(real, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", image);
	mib = st.st_size >> 20;
	i->bulk_s = ANSWER_S + (uint32_t)(mib < BULK_MAX_S ? mib : BULK_MAX_S);
	/*
	 * Raw, always: a guest could write another format's header to its disk. And where the host has
	 * no room the guest is to be told; QEMU's own way is to let it stand still until there is some.
	 */
	if (i->call.set_cachedir(i->g, dir) < 0 || i->call.set_tmpdir(i->g, i->dir) < 0 ||
	    i->call.config(i->g, "-global", "scsi-hd.werror=report") < 0 ||
	    i->call.add_drive_opts(i->g, real, DRIVE_READONLY, how->writable ? 0 : 1, DRIVE_FORMAT,
				   "raw", DRIVE_DISCARD, how->discards ? "enable" : "disable",
				   -1) < 0)
		return fail(i, "preparing a look", err);
	return 0;
}

static int launch(struct dink_look *i, const char *image, const struct dink_look_how *how,
		  const char *dir, struct dink_err *err)
{
	int r = lend_modules(i, err);

	if (r == 0)
		r = make_folder(i, dir, err);
	if (r == 0)
		r = prepare_vm(i, image, how, dir, err);
	if (r < 0)
		return r;
	dink_progress(i->progress, "starting a VM to read the disk in", 0, 0);
	begin(i, START_S);
	if (i->call.launch(i->g) < 0) {
		r = fail(i, "starting a VM to look", err);
		return dink_err_hint(err, "libguestfs-test-tool tells more");
	}
	begin(i, i->bulk_s);
	if ((how->writable ? i->call.mount : i->call.mount_ro)(i->g, "/dev/sda", "/") < 0)
		return fail(i, "mounting what is", err);
	return 0;
}

int dink_look_open(const char *image, const struct dink_look_how *how, struct dink_look **ret,
		   struct dink_err *err)
{
	_cleanup_(dink_look_freep) struct dink_look *i = xcalloc(1, sizeof(*i));
	_cleanup_free_ char *dir = NULL;

	i->lease = i->dir_lock = -1;
	i->image = xstrdup(how->name ? how->name : image);
	i->progress = how->progress;
	int r = how->leased ? 0 : dink_disk_lease(image, how->writable, &i->lease, err);
	if (r == 0)
		r = load_library(i, err);
	if (r == 0)
		r = prepare_appliance(how, &dir, err);
	if (r == 0)
		r = dink_watch_start(&i->watch, err);
	if (r < 0 || !dir)
		return r;
	i->g = i->call.create();
	if (!i->g)
		return dink_err_set(err, DINK_E_HOST, errno, "libguestfs");
	i->call.set_error_handler(i->g, note_error, i);
	(void)i->call.set_event_callback(i->g, report, EVENT_PROGRESS, 0, i);
	r = launch(i, image, how, dir, err);
	take_modules_back(i);
	if (r == 0)
		*ret = TAKE_PTR(i);
	return r;
}

int dink_look_names(struct dink_look *i, const char *path, struct dink_strv *ret,
		    struct dink_err *err)
{
	char **names;

	begin(i, ANSWER_S);
	names = i->call.ls(i->g, path);
	if (!names)
		return fail(i, "listing a folder", err);
	for (char **n = names; *n; n++)
		dink_strv_own(ret, *n);
	free(names);
	return 0;
}

int dink_look_listing(struct dink_look *i, const char *path, char **ret, struct dink_err *err)
{
	begin(i, ANSWER_S);
	*ret = i->call.ll(i->g, path);
	return *ret ? 0 : fail(i, "listing a folder", err);
}

int dink_look_download(struct dink_look *i, const char *path, const char *to, struct dink_err *err)
{
	begin(i, i->bulk_s);
	return i->call.download(i->g, path, to) < 0 ? fail(i, "reading a file", err) : 0;
}

int dink_look_copy_out(struct dink_look *i, const char *path, const char *dir, struct dink_err *err)
{
	begin(i, i->bulk_s);
	return i->call.copy_out(i->g, path, dir) < 0 || i->why ? fail(i, "copying out", err) : 0;
}

int dink_look_copy_in(struct dink_look *i, const char *file, const char *dir, struct dink_err *err)
{
	begin(i, i->bulk_s);
	return i->call.copy_in(i->g, file, dir) < 0 || i->why ? fail(i, "copying in", err) : 0;
}

int dink_look_resize_btrfs(struct dink_look *i, uint64_t bytes, struct dink_err *err)
{
	begin(i, i->bulk_s);
	return i->call.btrfs_filesystem_resize(i->g, "/", RESIZE_SIZE, (int64_t)bytes, -1) < 0
		       ? fail(i, "resizing the btrfs", err)
		       : 0;
}

int dink_look_trim(struct dink_look *i, struct dink_err *err)
{
	begin(i, i->bulk_s);
	return i->call.fstrim(i->g, "/", -1) < 0 ? fail(i, "trimming what is", err) : 0;
}

int dink_look_read(struct dink_look *i, const char *path, size_t max_bytes, char **ret,
		   size_t *ret_len, struct dink_err *err)
{
	int64_t size = 0;
	int there;

	*ret = NULL;
	*ret_len = 0;
	begin(i, ANSWER_S);
	there = i->call.is_file(i->g, path);
	if (there > 0)
		size = i->call.filesize(i->g, path);
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
	int there;

	begin(i, ANSWER_S);
	there = i->call.is_dir(i->g, path);
	return there < 0 ? fail(i, "looking for a folder", err) : there;
}

/*
 * The guest writes when it likes to, and unmounting says nothing of what was lost then: its kernel
 * does. "critical space allocation error, dev sda, sector 4711", "I/O error, dev sda, ..."
 */
static int check_writes(struct dink_look *i, struct dink_err *err)
{
	_cleanup_free_ char *log = i->call.dmesg(i->g);

	if (!log)
		return fail(i, "asking what was written", err);
	if (!strstr(log, " error, dev sda"))
		return 0;
	dink_err_set(err, DINK_E_HOST, EIO, "write what is changed to %s", i->image);
	return dink_err_hint(err, "has its file system room? df %s", i->image);
}

int dink_look_end(struct dink_look *i, struct dink_err *err)
{
	int r;

	begin(i, i->bulk_s);
	if (i->call.umount_all(i->g) < 0)
		return fail(i, "writing out what was changed", err);
	r = check_writes(i, err);
	if (i->call.shutdown(i->g) < 0 && r == 0)
		r = fail(i, "writing out what was changed", err);
	return r;
}

/* Ends the VM while it is watched: what the library does afterwards starts programs that may end. */
static void stop_vm(struct dink_look *i)
{
	if (i->watch) {
		begin(i, i->bulk_s);
		(void)i->call.shutdown(i->g);
		dink_watch_free(TAKE_PTR(i->watch));
	}
	i->call.close(i->g);
}

/* What cannot be removed is left for the next look. */
static void remove_folder(struct dink_look *i)
{
	_cleanup_(dink_err_clear) struct dink_err why = {};

	if (i->dir && dink_rm_rf(i->dir, &why) < 0)
		dink_debug("disk", "%s stays: %s", i->dir, why.msg);
	if (i->dir_lock >= 0)
		close(i->dir_lock);
	free(i->dir);
}

void dink_look_free(struct dink_look *i)
{
	if (!i)
		return;
	if (i->g)
		stop_vm(i);
	dink_watch_free(i->watch);
	remove_folder(i);
	take_modules_back(i);
	if (i->lease >= 0)
		close(i->lease);
	if (i->library)
		dlclose(i->library);
	free(i->why);
	free(i->image);
	free(i);
}
