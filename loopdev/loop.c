/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loop devices by identity.
 *
 * LOOP_CTL_GET_FREE only says which device was free: others may take it before we do, so EBUSY is
 * the normal way to lose and the search goes on. In a container /dev is a static copy, so the node
 * of a device that the kernel just made may be missing: it is made from sysfs.
 *
 * The loop device holds our open file description, and with it the flock() taken here: exclusive
 * for writing, shared for reading. It is the lease that keeps an image from being written in two
 * places, and goes away with the device, however it ends.
 */
#include "loopdev/loopdev.h"

#include "provision/base/file.h"
#include "provision/base/macro.h"
#include "provision/base/mem.h"
#include "provision/base/units.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#ifndef BLKGETDISKSEQ /* Linux 5.15 */
#define BLKGETDISKSEQ _IOR(0x12, 128, uint64_t)
#endif

enum { ATTACH_TIMEOUT_MS = 20000, LEASE_TIMEOUT_MS = 1000 };

static void pause_briefly(unsigned round)
{
	/* processes that collide must not stay in step */
	long ns = 200000L + (long)((getpid() * 7919u + round * 104729u) % 3000u) * 1000L;
	const struct timespec ts = {.tv_nsec = ns};

	nanosleep(&ts, NULL);
}

/* Opens /dev/loopN, making the node if /dev lacks it. -errno. */
static int open_node(int number, int flags)
{
	char node[32], sysfs[64], text[32] = "";
	unsigned maj, min;

	snprintf(node, sizeof(node), "/dev/loop%d", number);
	int fd = open(node, flags | O_CLOEXEC);
	if (fd >= 0 || errno != ENOENT)
		return fd >= 0 ? fd : -errno;
	snprintf(sysfs, sizeof(sysfs), "/sys/block/loop%d/dev", number);
	_cleanup_close_ int s = open(sysfs, O_RDONLY | O_CLOEXEC);
	if (s < 0)
		return -errno;
	if (read(s, text, sizeof(text) - 1) <= 0 || sscanf(text, "%u:%u", &maj, &min) != 2)
		return -EIO;
	if (mknod(node, S_IFBLK | 0600, makedev(maj, min)) < 0 && errno != EEXIST)
		return -errno;
	fd = open(node, flags | O_CLOEXEC);
	return fd >= 0 ? fd : -errno;
}

static int read_identity(int fd, int number, struct dink_loop_id *ret)
{
	struct loop_info64 info;
	struct dink_loop_id id = {};
	struct stat st;

	if (fstat(fd, &st) < 0 || ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
		return -errno;
	snprintf(id.path, sizeof(id.path), "/dev/loop%d", number);
	id.rdev = st.st_rdev;
	id.file_dev = (dev_t)info.lo_device;
	id.file_ino = (ino_t)info.lo_inode;
	if (ioctl(fd, BLKGETDISKSEQ, &id.diskseq) < 0)
		id.diskseq = 0;
	*ret = id;
	return 0;
}

/* Before LOOP_CONFIGURE (Linux 5.8) it took two calls. */
static int configure_old(int loop, int file, const struct loop_info64 *info)
{
	if (ioctl(loop, LOOP_SET_FD, file) < 0)
		return -errno;
	if (ioctl(loop, LOOP_SET_STATUS64, info) < 0) {
		int saved = errno;
		/* nobody else knows of this device yet */
		if (ioctl(loop, LOOP_CLR_FD, 0) < 0)
			return -errno;
		return -saved;
	}
	return 0;
}

static int configure(int loop, int file, bool read_only)
{
	struct loop_config config = {.fd = (uint32_t)file};

	config.info.lo_flags =
		LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO | (read_only ? LO_FLAGS_READ_ONLY : 0);
	if (ioctl(loop, LOOP_CONFIGURE, &config) == 0)
		return 0;
	if (errno == EINVAL) {
		/* some filesystems have no direct I/O and some kernels then refuse all */
		config.info.lo_flags &= ~(uint32_t)LO_FLAGS_DIRECT_IO;
		if (ioctl(loop, LOOP_CONFIGURE, &config) == 0)
			return 0;
	}
	if (errno != EINVAL && errno != ENOTTY)
		return -errno;
	config.info.lo_flags &= ~(uint32_t)LO_FLAGS_DIRECT_IO;
	return configure_old(loop, file, &config.info);
}

static int open_file(const char *file, bool read_only, int *ret_fd, struct dink_err *err)
{
	_cleanup_close_ int fd = open(file, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", file);
	if (fstat(fd, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "stat %s", file);
	if (!S_ISREG(st.st_mode))
		return dink_err_set(err, DINK_E_USAGE, 0, "%s is no regular file", file);
	/*
	 * A device that was just detached lives on while somebody else, in search of a free one,
	 * has it open; then so does its lease.
	 */
	const uint64_t deadline = dink_now_ms() + LEASE_TIMEOUT_MS;
	for (unsigned round = 0; flock(fd, (read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0;
	     round++) {
		if (errno != EWOULDBLOCK)
			return dink_err_set(err, DINK_E_HOST, errno, "lock %s", file);
		if (dink_now_ms() > deadline) {
			dink_err_set(err, DINK_E_BUSY, 0, "%s is attached already", file);
			return dink_err_hint(err, "losetup --associated %s", file);
		}
		pause_briefly(round);
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int no_loop_device(int errnum, struct dink_err *err)
{
	dink_err_set(err, DINK_E_HOST, errnum, "loop device");
	if (errnum == ENOENT || errnum == ENXIO)
		return dink_err_hint(err,
				     "modprobe loop; in a container, give it /dev/loop-control "
				     "and the device rule 'b 7:* rwm'");
	if (errnum == EPERM || errnum == EACCES)
		return dink_err_hint(err, "loop devices need root; in a container also the device "
					  "rules 'c 10:237 rwm' and 'b 7:* rwm'");
	return -errnum;
}

int dink_loop_attach(const char *file, bool read_only, struct dink_loop_id *ret, int *ret_fd,
		     struct dink_err *err)
{
	_cleanup_close_ int backing = -1, control = -1;

	int r = open_file(file, read_only, &backing, err);
	if (r < 0)
		return r;
	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (control < 0)
		return no_loop_device(errno, err);
	const uint64_t deadline = dink_now_ms() + ATTACH_TIMEOUT_MS;
	for (unsigned round = 0;; round++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);
		if (number < 0 && errno != EAGAIN)
			return no_loop_device(errno, err);
		_cleanup_close_ int loop = number < 0 ? -1 : open_node(number, O_RDWR);
		r = number < 0 ? -EBUSY : loop < 0 ? loop : configure(loop, backing, read_only);
		if (r == 0)
			r = read_identity(loop, number, ret);
		if (r == 0) {
			*ret_fd = TAKE_FD(loop);
			return 0;
		}
		/* taken, or removed, between the question and the answer */
		bool lost = r == -EBUSY || r == -ENXIO || r == -ENODEV || r == -EAGAIN;
		if (!lost)
			return no_loop_device(-r, err);
		if (dink_now_ms() > deadline)
			return dink_err_set(err, DINK_E_BUSY, -r, "no loop device in %d s",
					    ATTACH_TIMEOUT_MS / 1000);
		pause_briefly(round);
	}
}

int dink_loop_identify(int number, struct dink_loop_id *ret)
{
	_cleanup_close_ int fd = open_node(number, O_RDONLY);

	return fd < 0 ? fd : read_identity(fd, number, ret);
}

static int loop_number(const char *path)
{
	int n = -1;
	char tail;

	return sscanf(path, "/dev/loop%d%c", &n, &tail) == 1 && n >= 0 ? n : -1;
}

static bool same_loop(const struct dink_loop_id *a, const struct dink_loop_id *b)
{
	return a->rdev == b->rdev && a->file_dev == b->file_dev && a->file_ino == b->file_ino &&
	       (a->diskseq == b->diskseq || !a->diskseq || !b->diskseq);
}

int dink_loop_is(const struct dink_loop_id *id, int *ret_fd)
{
	int number = loop_number(id->path);
	struct dink_loop_id now = {};

	if (number < 0)
		return -EINVAL;
	_cleanup_close_ int fd = open_node(number, O_RDONLY);
	if (fd == -ENOENT || fd == -ENXIO || fd == -ENODEV)
		return 0;
	if (fd < 0)
		return fd;
	int r = read_identity(fd, number, &now);
	if (r == -ENXIO)
		return 0;
	if (r < 0)
		return r;
	if (!same_loop(id, &now))
		return 0;
	if (ret_fd)
		*ret_fd = TAKE_FD(fd);
	return 1;
}

/* Whether it has a file, and the same as then: a free device is the next one's at once. */
static bool is_attached(const struct dink_loop_id *id)
{
	_cleanup_free_ char *dir = xasprintf("/sys/block/%s", strrchr(id->path, '/') + 1);
	_cleanup_free_ char *backing = xasprintf("%s/loop/backing_file", dir);
	_cleanup_free_ char *seq = xasprintf("%s/diskseq", dir), *text = NULL;
	_cleanup_(dink_err_clear) struct dink_err ignored = {};

	if (!dink_exists(backing))
		return false;
	return !id->diskseq || dink_file_read(seq, 64, &text, NULL, &ignored) < 0 ||
	       strtoull(text, NULL, 10) == id->diskseq;
}

void dink_loop_await_free(const struct dink_loop_id *id)
{
	for (int i = 0; i < 2000 && is_attached(id); i++)
		usleep(10000);
}

int dink_loop_detach(const struct dink_loop_id *id, struct dink_err *err)
{
	_cleanup_close_ int fd = -1;

	int r = dink_loop_is(id, &fd);
	if (r < 0)
		return dink_err_set(err, DINK_E_HOST, -r, "look at %s", id->path);
	if (r == 0)
		return 0;
	/* ours is one of the openers: the kernel detaches when the last one is gone */
	if (ioctl(fd, LOOP_CLR_FD, 0) < 0 && errno != ENXIO)
		return dink_err_set(err, DINK_E_HOST, errno, "detach %s", id->path);
	return 0;
}

/* Whether loop device `number` is backed by that inode; its identity if so. */
static bool is_backed_by(int number, const struct stat *st, struct dink_loop_id *ret)
{
	char sysfs[64];
	_cleanup_free_ char *name = NULL;
	_cleanup_(dink_err_clear) struct dink_err ignored = {};

	snprintf(sysfs, sizeof(sysfs), "/sys/block/loop%d/loop/backing_file", number);
	if (dink_file_read(sysfs, 8192, &name, NULL, &ignored) < 0)
		return false;
	_cleanup_close_ int fd = open_node(number, O_RDONLY);
	if (fd >= 0)
		return read_identity(fd, number, ret) == 0 && ret->file_dev == st->st_dev &&
		       ret->file_ino == st->st_ino;
	/* without the right to open the device there is only the name, as the kernel shows it */
	struct stat named;
	name[strcspn(name, "\n")] = '\0';
	if (stat(name, &named) < 0 || named.st_dev != st->st_dev || named.st_ino != st->st_ino)
		return false;
	*ret = (struct dink_loop_id){.file_dev = st->st_dev, .file_ino = st->st_ino};
	snprintf(ret->path, sizeof(ret->path), "/dev/loop%d", number);
	return true;
}

int dink_loop_find(const char *file, struct dink_loop_id *ret, size_t n)
{
	_cleanup_closedir_ DIR *d = opendir("/sys/block");
	struct dirent *e;
	struct stat st;
	size_t found = 0;

	if (!d || stat(file, &st) < 0)
		return 0;
	while (found < n && (e = readdir(d))) {
		int number;
		char tail;
		if (sscanf(e->d_name, "loop%d%c", &number, &tail) != 1)
			continue;
		if (is_backed_by(number, &st, &ret[found]))
			found++;
	}
	return (int)found;
}

struct json_object *dink_loop_id_to_json(const struct dink_loop_id *id)
{
	struct json_object *o = dink_json_new();

	dink_json_set_str(o, "path", id->path);
	dink_json_set_int(o, "rdev", (int64_t)id->rdev);
	dink_json_set_int(o, "diskseq", (int64_t)id->diskseq);
	dink_json_set_int(o, "file_dev", (int64_t)id->file_dev);
	dink_json_set_int(o, "file_ino", (int64_t)id->file_ino);
	return o;
}

int dink_loop_id_from_json(struct json_object *o, struct dink_loop_id *ret, struct dink_err *err)
{
	struct dink_loop_id id = {};
	const char *path;

	int r = dink_json_need_str(o, "loop device", "path", &path, err);
	if (r < 0)
		return r;
	if (loop_number(path) < 0 || strlen(path) >= sizeof(id.path))
		return dink_err_set(err, DINK_E_STATE, EINVAL, "'%s' is no loop device", path);
	snprintf(id.path, sizeof(id.path), "%s", path);
	id.rdev = (dev_t)dink_json_int_or(o, "rdev", 0);
	id.diskseq = (uint64_t)dink_json_int_or(o, "diskseq", 0);
	id.file_dev = (dev_t)dink_json_int_or(o, "file_dev", 0);
	id.file_ino = (ino_t)dink_json_int_or(o, "file_ino", 0);
	*ret = id;
	return 0;
}
