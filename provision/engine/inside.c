/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/engine/inside.h"

#include <ctype.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/vfs.h>

enum { CONNECT_TIMEOUT_S = 10 };

int dink_inside_open(int rootfd, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	do {
		/* EAGAIN: a rename raced with ".."; the kernel asks to try again */
		fd = syscall(SYS_openat2, rootfd, path, &how, sizeof(how));
	} while (fd < 0 && (errno == EAGAIN || errno == EINTR));
	return fd < 0 ? -errno : (int)fd;
}

int dink_inside_hop(int procfd, const char *link)
{
	struct statfs fs;
	int fd;

	if (fstatfs(procfd, &fs) < 0)
		return -errno;
	if (fs.f_type != PROC_SUPER_MAGIC)
		return -EXDEV;
	fd = openat(procfd, link, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * The length of a leading "/proc/N/root" or "/proc/N/cwd" that ends at a slash; 0 if there is none.
 * *ret_dir is the length of its "/proc/N".
 */
static size_t leading_hop(const char *path, size_t *ret_dir)
{
	static const char *const links[] = {"/root/", "/cwd/"};
	size_t n = strlen("/proc/");

	if (strncmp(path, "/proc/", n) != 0 || !isdigit((unsigned char)path[n]))
		return 0;
	while (isdigit((unsigned char)path[n]))
		n++;
	*ret_dir = n;
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		size_t len = strlen(links[i]);

		if (strncmp(path + n, links[i], len) == 0)
			return n + len - 1;
	}
	return 0;
}

/* Walks the hops in front of *path; *fd is replaced by the innermost root. */
static int take_hops(int *fd, const char **path)
{
	size_t dir, hop;

	while ((hop = leading_hop(*path, &dir)) > 0) {
		char proc[64], link[8];
		_cleanup_close_ int procfd = -1;
		int next;

		if (dir >= sizeof(proc))
			return -ENAMETOOLONG;
		memcpy(proc, *path, dir);
		proc[dir] = '\0';
		memcpy(link, *path + dir + 1, hop - dir - 1);
		link[hop - dir - 1] = '\0';
		procfd = dink_inside_open(*fd, proc, O_PATH | O_DIRECTORY);
		if (procfd < 0)
			return procfd;
		next = dink_inside_hop(procfd, link);
		if (next < 0)
			return next;
		close(*fd);
		*fd = next;
		*path += hop;
	}
	return 0;
}

static int connect_node(int node, int *ret_fd)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = CONNECT_TIMEOUT_S}, none = {};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d", node);
	/* a listener with a full backlog would hold us for ever */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none)) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int dink_inside_find(int rootfd, const char *path)
{
	_cleanup_close_ int root = fcntl(rootfd, F_DUPFD_CLOEXEC, 3);
	int r;

	if (root < 0)
		return -errno;
	r = take_hops(&root, &path);
	return r < 0 ? r : dink_inside_open(root, path, O_PATH);
}

int dink_inside_connect(int rootfd, const char *path, int *ret_fd, struct dink_err *err)
{
	_cleanup_close_ int node = dink_inside_find(rootfd, path);
	struct stat st;
	int r;

	if (node < 0)
		return dink_err_set(err, DINK_E_HOST, -node, "connect to %s", path);
	if (fstat(node, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "connect to %s", path);
	if (!S_ISSOCK(st.st_mode))
		return dink_err_set(err, DINK_E_HOST, ENOTSOCK, "connect to %s", path);
	r = connect_node(node, ret_fd);
	if (r < 0)
		return dink_err_set(err, DINK_E_HOST, -r, "connect to %s", path);
	return 0;
}
