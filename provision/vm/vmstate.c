/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/vm/vmstate.h"

#include "provision/base/file.h"
#include "provision/base/units.h"
#include "provision/vm/cgroup.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { LINE_MAX_BYTES = 5 << 20, FDS_MAX = 3 };

int dink_vmstate_check_id(const char *id, struct dink_err *err)
{
	size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.");

	if (n == 0 || n > 255 || id[n] || id[0] == '.' || id[0] == '-')
		return dink_err_set(err, DINK_E_USAGE, 0, "invalid container id \"%.80s\"", id);
	return 0;
}

static struct dink_vmstate *make_state(const char *root, const char *id)
{
	struct dink_vmstate *s = xcalloc(1, sizeof(*s));

	s->id = xstrdup(id);
	s->dir = xasprintf("%s/%s", root, id);
	return s;
}

int dink_vmstate_new(const char *root, const char *id, struct dink_vmstate **ret,
		     struct dink_err *err)
{
	int r = dink_vmstate_check_id(id, err);
	if (r == 0)
		r = dink_mkdir_p(root, 0711, err);
	if (r < 0)
		return r;
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *s = make_state(root, id);
	if (mkdir(s->dir, 0711) < 0) {
		if (errno == EEXIST)
			return dink_err_set(err, DINK_E_BUSY, 0,
					    "container with given ID already exists: %s", id);
		return dink_err_set(err, DINK_E_HOST, errno, "make %s", s->dir);
	}
	s->doc = dink_json_new();
	*ret = TAKE_PTR(s);
	return 0;
}

int dink_vmstate_load(const char *root, const char *id, struct dink_vmstate **ret,
		      struct dink_err *err)
{
	int r = dink_vmstate_check_id(id, err);
	if (r < 0)
		return r;
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *s = make_state(root, id);
	if (!dink_exists(s->dir))
		return dink_err_set(err, DINK_E_USAGE, ENOENT, "container %s does not exist", id);
	_cleanup_free_ char *path = xasprintf("%s/state.json", s->dir);
	if (!dink_exists(path)) {
		/* a create that was killed before it had a monitor: there is only the folder */
		s->doc = dink_json_new();
		*ret = TAKE_PTR(s);
		return 0;
	}
	r = dink_json_parse_file(path, &s->doc, err);
	if (r < 0)
		return dink_err_push(err, "loading the state of container %s", id);
	s->monitor.pid = (pid_t)dink_json_int_or(s->doc, "pid", 0);
	s->monitor.start = (uint64_t)dink_json_int_or(s->doc, "start", 0);
	*ret = TAKE_PTR(s);
	return 0;
}

int dink_vmstate_save(struct dink_vmstate *s, struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/state.json", s->dir);

	dink_json_set_int(s->doc, "pid", s->monitor.pid);
	dink_json_set_int(s->doc, "start", (int64_t)s->monitor.start);
	_cleanup_free_ char *text = dink_json_text(s->doc);
	return dink_file_write(path, text, strlen(text), 0644, err);
}

bool dink_vmstate_alive(const struct dink_vmstate *s)
{
	return s->monitor.pid > 0 && dink_pid_alive(&s->monitor);
}

int dink_vmstate_remove(struct dink_vmstate *s, struct dink_err *err)
{
	/* first: nobody finds the group again without the state */
	int group = dink_cgroup_remove(dink_json_get(s->doc, "cgroup"), err);
	_cleanup_(dink_err_clear) struct dink_err more = {};
	int r = dink_exists(s->dir) ? dink_rm_rf(s->dir, group < 0 ? &more : err) : 0;

	return group < 0 ? group : r;
}

int dink_vmstate_connect(const struct dink_vmstate *s, int *ret_fd, struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/control.sock", s->dir);

	if (!dink_vmstate_alive(s))
		return dink_err_set(err, DINK_E_HOST, ESRCH, "container not running: %s", s->id);
	return dink_unix_connect(path, ret_fd, err);
}

int dink_vm_send(int fd, struct json_object *msg, const int *fds, int n_fds, struct dink_err *err)
{
	_cleanup_str_ struct dink_str line = {};
	char control[CMSG_SPACE(sizeof(int) * FDS_MAX)] = {};

	dink_str_add(&line, json_object_to_json_string_ext(msg, JSON_C_TO_STRING_PLAIN));
	dink_str_addc(&line, '\n');
	struct iovec iov = {.iov_base = line.s, .iov_len = line.len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	if (n_fds > 0) {
		mh.msg_control = control;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n_fds);
		struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)n_fds);
	}
	ssize_t n;
	do
		n = sendmsg(fd, &mh, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	int r = n < 0 ? -errno : 0;
	if (n >= 0 && (size_t)n < line.len)
		r = dink_fd_write_all(fd, line.s + n, line.len - (size_t)n);
	return r < 0 ? dink_err_set(err, DINK_E_HOST, -r, "write to the monitor") : 0;
}

/* Byte by byte: what follows the line belongs to whoever reads next (a connect's stream). */
int dink_vm_recv(int fd, uint32_t timeout_ms, struct json_object **ret, struct dink_err *err)
{
	_cleanup_str_ struct dink_str line = {};
	uint64_t end = dink_now_ms() + timeout_ms;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		uint64_t now = dink_now_ms();
		int left = !timeout_ms ? -1 : now >= end ? 0 : (int)(end - now);
		int k = poll(&p, 1, left);
		if (k < 0 && errno == EINTR)
			continue;
		if (k == 0)
			return dink_err_set(err, DINK_E_HOST, ETIMEDOUT,
					    "the monitor does not answer");
		char chunk[4096];
		ssize_t n = recv(fd, chunk, sizeof(chunk), MSG_PEEK);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return dink_err_set(err, DINK_E_HOST, n < 0 ? errno : ECONNRESET,
					    "the monitor is gone");
		char *nl = memchr(chunk, '\n', (size_t)n);
		size_t take = nl ? (size_t)(nl - chunk) + 1 : (size_t)n;
		n = recv(fd, chunk, take, 0);
		if (n <= 0)
			continue;
		dink_str_addn(&line, chunk, (size_t)n);
		if (line.len > LINE_MAX_BYTES)
			return dink_err_set(err, DINK_E_HOST, EMSGSIZE, "read from the monitor");
		if (line.s[line.len - 1] == '\n')
			return dink_json_parse(line.s, line.len - 1, "the monitor's answer", ret,
					       err);
	}
}

int dink_vmstate_call(const struct dink_vmstate *s, struct json_object *req, uint32_t timeout_ms,
		      struct json_object **ret, struct dink_err *err)
{
	_cleanup_close_ int fd = -1;
	_cleanup_json_ struct json_object *msg = req;
	_cleanup_json_ struct json_object *answer = NULL;
	int r = dink_vmstate_connect(s, &fd, err);

	if (r == 0)
		r = dink_vm_send(fd, msg, NULL, 0, err);
	if (r == 0)
		r = dink_vm_recv(fd, timeout_ms, &answer, err);
	if (r < 0)
		return r;
	if (!dink_json_bool_or(answer, "ok", false)) {
		int e = (int)dink_json_int_or(answer, "errno", 0);
		const char *text = dink_json_str_or(answer, "error", "the monitor refused");
		/* its words name the errno already */
		dink_err_set(err, DINK_E_CHILD, 0, "%s", text);
		return e > 0 && e < 4096 ? -e : -EINVAL;
	}
	if (ret)
		*ret = TAKE_PTR(answer);
	return 0;
}

void dink_vmstate_free(struct dink_vmstate *s)
{
	if (!s)
		return;
	free(s->id);
	free(s->dir);
	json_object_put(s->doc);
	free(s);
}
