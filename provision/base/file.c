/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/base/file.h"

#include "provision/base/mem.h"
#include "provision/base/proc.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>

enum { LOCK_AGAIN_MS = 20 };

int dink_fd_read_all(int fd, size_t max_bytes, char **ret_text, size_t *ret_len,
		     struct dink_err *err)
{
	_cleanup_str_ struct dink_str text = {};
	char buf[16384];

	for (;;) {
		ssize_t n = read(fd, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return dink_err_set(err, DINK_E_HOST, errno, "read");
		if (n == 0)
			break;
		if (text.len + (size_t)n > max_bytes)
			return dink_err_set(err, DINK_E_HOST, EFBIG, "more than %zu bytes",
					    max_bytes);
		dink_str_addn(&text, buf, (size_t)n);
	}
	if (ret_len)
		*ret_len = text.len;
	*ret_text = dink_str_take(&text);
	return 0;
}

int dink_file_read(const char *path, size_t max_bytes, char **ret_text, size_t *ret_len,
		   struct dink_err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", path);
	if (dink_fd_read_all(fd, max_bytes, ret_text, ret_len, err) < 0)
		return dink_err_push(err, "reading %s", path);
	return 0;
}

int dink_fd_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* A rename is only lasting once its folder is on disk. */
static int sync_folder_of(const char *path)
{
	_cleanup_free_ char *dir = xstrdup(path);
	_cleanup_close_ int fd = -1;
	char *slash = strrchr(dir, '/');

	if (slash)
		*(slash == dir ? slash + 1 : slash) = '\0';
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int dink_file_write(const char *path, const void *data, size_t len, mode_t mode,
		    struct dink_err *err)
{
	_cleanup_free_ char *tmp = xasprintf("%s.XXXXXX", path);
	_cleanup_close_ int fd = mkostemp(tmp, O_CLOEXEC);
	int r;

	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make a temporary file beside %s",
				    path);
	r = dink_fd_write_all(fd, data, len);
	if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(tmp, path) < 0))
		r = -errno;
	if (r < 0) {
		unlink(tmp);
		return dink_err_set(err, DINK_E_HOST, r, "write %s", path);
	}
	(void)sync_folder_of(path); /* some filesystems cannot fsync a folder */
	return 0;
}

int dink_fd_copy(int in, int out, uint64_t *ret_bytes)
{
	_cleanup_free_ char *buf = NULL;
	const size_t size = 1 << 18;
	uint64_t total = 0;
	int r;

	buf = xmalloc(size);
	for (;;) {
		ssize_t n = read(in, buf, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		r = dink_fd_write_all(out, buf, (size_t)n);
		if (r < 0)
			return r;
		total += (uint64_t)n;
	}
	if (ret_bytes)
		*ret_bytes = total;
	return 0;
}

int dink_mkdir_p(const char *path, mode_t mode, struct dink_err *err)
{
	_cleanup_free_ char *p = xstrdup(path);
	struct stat st;

	for (char *s = p + 1; *s; s++) {
		if (*s != '/')
			continue;
		*s = '\0';
		if (mkdir(p, mode) < 0 && errno != EEXIST)
			return dink_err_set(err, DINK_E_HOST, errno, "make folder %s", p);
		*s = '/';
	}
	if (mkdir(p, mode) < 0 && errno != EEXIST)
		return dink_err_set(err, DINK_E_HOST, errno, "make folder %s", p);
	if (stat(p, &st) < 0 || !S_ISDIR(st.st_mode))
		return dink_err_set(err, DINK_E_HOST, ENOTDIR, "make folder %s", p);
	return 0;
}

/* Removes what is in dirfd's folder; stays on device dev, never follows a link. Takes dirfd. */
static int empty_folder(int dirfd, dev_t dev)
{
	_cleanup_closedir_ DIR *dir = fdopendir(dirfd);
	struct dirent *e;
	struct stat st;

	if (!dir) {
		close(dirfd);
		return -errno;
	}
	while ((errno = 0, e = readdir(dir))) {
		int sub, r;

		if (STREQ(e->d_name, ".") || STREQ(e->d_name, ".."))
			continue;
		/* who else removes it meanwhile does what we want */
		if (unlinkat(dirfd, e->d_name, 0) == 0 || errno == ENOENT)
			continue;
		if (errno != EISDIR && errno != EPERM)
			return -errno;
		sub = openat(dirfd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0 && errno == ENOENT)
			continue;
		if (sub < 0)
			return -errno;
		if (fstat(sub, &st) < 0 || st.st_dev != dev) {
			close(sub);
			return -EXDEV; /* something is mounted there */
		}
		r = empty_folder(sub, dev);
		if (r < 0)
			return r;
		if (unlinkat(dirfd, e->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			return -errno;
	}
	return -errno;
}

int dink_rm_rf(const char *path, struct dink_err *err)
{
	struct stat st;
	int fd, r;

	if (unlink(path) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return dink_err_set(err, DINK_E_HOST, errno, "remove %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return dink_err_set(err, DINK_E_HOST, r, "remove %s", path);
	}
	r = empty_folder(fd, st.st_dev);
	if (r == 0 && rmdir(path) < 0 && errno != ENOENT)
		r = -errno;
	if (r == -EXDEV)
		return dink_err_set(err, DINK_E_BUSY, EBUSY,
				    "remove %s: something is mounted in it", path);
	if (r < 0)
		return dink_err_set(err, DINK_E_HOST, r, "remove %s", path);
	return 0;
}

bool dink_has_room(const char *path, uint64_t bytes)
{
	struct statvfs vfs;

	return statvfs(path, &vfs) == 0 && (uint64_t)vfs.f_bavail * vfs.f_frsize >= bytes;
}

bool dink_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

char *dink_which(const char *program)
{
	const char *path = getenv("PATH");

	if (strchr(program, '/'))
		return access(program, X_OK) == 0 ? xstrdup(program) : NULL;
	/* daemons live in sbin, which an ordinary user's PATH lacks */
	_cleanup_free_ char *all =
		xasprintf("%s:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin", path ? path : "");
	for (char *p = all; *p;) {
		size_t n = strcspn(p, ":");
		_cleanup_free_ char *full = xasprintf("%.*s/%s", (int)n, p, program);

		if (n > 0 && access(full, X_OK) == 0)
			return TAKE_PTR(full);
		p += n + (p[n] == ':');
	}
	return NULL;
}

/* Fills addr so that the socket NAME in the folder of dirfd is meant, whatever the path's length.
 */
static int addr_in_folder(int dirfd, const char *name, struct sockaddr_un *addr)
{
	int n;

	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = snprintf(addr->sun_path, sizeof(addr->sun_path), "/proc/self/fd/%d/%s", dirfd, name);
	return n < 0 || (size_t)n >= sizeof(addr->sun_path) ? -ENAMETOOLONG : 0;
}

static int open_folder_of(const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir = NULL;

	*ret_name = slash ? slash + 1 : path;
	dir = slash ? xstrndup(path, slash == path ? 1 : (size_t)(slash - path)) : xstrdup(".");
	return open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

int dink_unix_connect(const char *path, int *ret_fd, struct dink_err *err)
{
	_cleanup_close_ int dirfd = -1, fd = -1;
	struct sockaddr_un addr;
	const char *name;
	int r;

	dirfd = open_folder_of(path, &name);
	if (dirfd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "connect to %s", path);
	r = addr_in_folder(dirfd, name, &addr);
	if (r < 0)
		return dink_err_set(err, DINK_E_HOST, r, "connect to %s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make a socket");
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "connect to %s", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int dink_unix_listen(const char *path, mode_t mode, int *ret_fd, struct dink_err *err)
{
	_cleanup_close_ int dirfd = -1, fd = -1;
	struct sockaddr_un addr;
	const char *name;
	int r;

	dirfd = open_folder_of(path, &name);
	if (dirfd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "listen on %s", path);
	r = addr_in_folder(dirfd, name, &addr);
	if (r < 0)
		return dink_err_set(err, DINK_E_HOST, r, "listen on %s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make a socket");
	/* the mode is set before anybody can connect: fchmod() on the socket decides the node's */
	if (fchmod(fd, mode) < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(fd, 128) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "listen on %s", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* mountinfo writes blanks and the like as \ooo. */
static void unescape_mount(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

int dink_mount_points(struct dink_strv *ret, struct dink_err *err)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	size_t cap = 0;

	if (!f)
		return dink_err_set(err, DINK_E_HOST, errno, "read /proc/self/mountinfo");
	while (getline(&line, &cap, f) > 0) {
		char *save = NULL, *word = strtok_r(line, " ", &save);

		for (int i = 0; word && i < 4; i++)
			word = strtok_r(NULL, " ", &save);
		if (!word)
			continue;
		unescape_mount(word);
		dink_strv_add(ret, word);
	}
	return 0;
}

int dink_lock(const char *path, bool wait, int *ret_fd, struct dink_err *err)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open lock %s", path);
	/* asked again and again: a signal that another thread takes would not end a waiting flock() */
	while ((r = flock(fd, LOCK_EX | LOCK_NB)) < 0 && errno == EWOULDBLOCK && wait) {
		struct pollfd p = {.fd = dink_interrupt_fd(), .events = POLLIN};

		if (dink_interrupted())
			return dink_err_set(err, DINK_E_INTR, EINTR,
					    "interrupted while another process had the lock %s",
					    path);
		(void)poll(&p, 1, LOCK_AGAIN_MS);
	}
	if (r < 0 && errno == EWOULDBLOCK)
		return dink_err_set(err, DINK_E_BUSY, EWOULDBLOCK,
				    "%s is locked by another process", path);
	if (r < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "lock %s", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

union fd_control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int dink_send_fd(int sock, char byte, int fd)
{
	struct iovec iov = {&byte, 1};
	union fd_control control = {};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	return sendmsg(sock, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int dink_recv_fd(int sock)
{
	char byte;
	struct iovec iov = {&byte, 1};
	union fd_control control = {};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *c;
	int fd;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) <= 0)
		return errno ? -errno : -ECONNRESET;
	c = CMSG_FIRSTHDR(&msg);
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(c), sizeof(int));
	return fd;
}
