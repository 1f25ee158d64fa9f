/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream to a unix socket in the container: its path is resolved in the container's own root, and
 * from there by /proc/PID/root into containers of its own.
 */
#include "cmd/dink-agent/agent.h"

#include "provision/engine/inside.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static int open_root(const struct agent *a, struct dink_err *err)
{
	_cleanup_free_ char *path = a->init ? xasprintf("/proc/%d/root", a->init) : xstrdup("/");
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "the container's root");
	return fd;
}

static int connect_in_root(int root, const char *path, struct dink_err *err)
{
	_cleanup_close_ int at = dink_inside_find(root, path);
	_cleanup_close_ int fd = -1;
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct stat st;

	if (at < 0)
		return dink_err_set(err, DINK_E_HOST, -at, "connecting to %s", path);
	if (fstat(at, &st) < 0 || !S_ISSOCK(st.st_mode))
		return dink_err_set(err, DINK_E_HOST, ENOTSOCK, "connecting to %s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d", at);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "connecting to %s", path);
	return TAKE_FD(fd);
}

int agent_connect(struct agent *a, struct json_object *msg, struct dink_err *err)
{
	uint32_t stream = (uint32_t)dink_json_int_or(msg, "stream", 0);
	_cleanup_close_ int root = -1;
	const char *path;
	int fd = -1;

	if (dink_json_need_str(msg, "connect", "path", &path, err) == 0) {
		root = open_root(a, err);
		fd = root < 0 ? -1 : connect_in_root(root, path, err);
	}
	/* also when it failed: the stream is ended then */
	dink_chan_stream(a->chan, stream, fd < 0 ? -1 : fd, fd < 0 ? -1 : fd, NULL, NULL);
	return fd < 0 ? -EIO : 0;
}
