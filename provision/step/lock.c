/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record lock belongs to the process: it keeps out no thread of the same one, and goes with the
 * first descriptor of the file that is closed. So the names this process holds are listed, and a
 * file is opened only for a name that is not.
 *
 * The file is removed while it is locked. Who waited for it then holds a lock on a file without a
 * name, notices, and takes the lock on the new one.
 */
#include "provision/step/lock.h"

#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/mem.h"
#include "provision/base/proc.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

static pthread_mutex_t held_lock = PTHREAD_MUTEX_INITIALIZER;
static struct dink_strv held;

static char *lock_path(const char *name)
{
	return xasprintf("%s/locks/%s", dink_run_dir(), name);
}

static bool claim_name(const char *name)
{
	bool is_free;

	pthread_mutex_lock(&held_lock);
	is_free = !dink_strv_has(&held, name);
	if (is_free)
		dink_strv_add(&held, name);
	pthread_mutex_unlock(&held_lock);
	return is_free;
}

static void drop_name(const char *name)
{
	struct dink_strv rest = {};

	pthread_mutex_lock(&held_lock);
	for (size_t i = 0; i < held.n; i++)
		if (!STREQ(held.v[i], name))
			dink_strv_add(&rest, held.v[i]);
	dink_strv_clear(&held);
	held = rest;
	pthread_mutex_unlock(&held_lock);
}

static bool is_same_file(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino &&
	       a.st_dev == b.st_dev;
}

static int busy(const char *name, struct dink_err *err)
{
	dink_err_set(err, DINK_E_BUSY, EWOULDBLOCK, "another dink is at work on %s", name);
	return dink_err_hint(err, "wait for it to end, or give --wait");
}

static int set_lock(int fd, const char *name, bool wait, struct dink_err *err)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	while (fcntl(fd, wait ? F_SETLKW : F_SETLK, &l) < 0) {
		if (errno == EAGAIN || errno == EACCES)
			return busy(name, err);
		if (errno != EINTR)
			return dink_err_set(err, DINK_E_HOST, errno, "lock %s", name);
		if (dink_interrupted())
			return dink_err_set(err, DINK_E_INTR, EINTR,
					    "interrupted while waiting for another dink's work on "
					    "%s",
					    name);
	}
	return 0;
}

static int take_file(const char *name, bool wait, int *ret_fd, struct dink_err *err)
{
	_cleanup_free_ char *path = lock_path(name);

	for (;;) {
		_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		int r;

		if (fd < 0)
			return dink_err_set(err, DINK_E_HOST, errno, "open lock %s", path);
		r = set_lock(fd, name, wait, err);
		if (r < 0)
			return r;
		if (is_same_file(fd, path)) {
			*ret_fd = TAKE_FD(fd);
			return 0;
		}
	}
}

int dink_instance_lock(const char *name, bool wait, int *ret_fd, struct dink_err *err)
{
	_cleanup_free_ char *dir = xasprintf("%s/locks", dink_run_dir());
	int r = dink_mkdir_p(dir, 0700, err);

	if (r < 0)
		return r;
	if (!claim_name(name))
		return busy(name, err);
	r = take_file(name, wait, ret_fd, err);
	if (r < 0)
		drop_name(name);
	return r;
}

void dink_instance_unlock(const char *name, int fd)
{
	_cleanup_free_ char *path = lock_path(name);

	if (fd < 0)
		return;
	(void)unlink(path);
	close(fd);
	drop_name(name);
}
