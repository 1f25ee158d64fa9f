/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places: how the inside of a layer is reached from the host, and the one primitive on them.
 *
 * Between the host (or a VM) and the next VM inward all hops are /proc/PID/root, taken by
 * descriptors; a VM is one line of JSON to its monitor's control socket, which itself is dialed in
 * the VM's parent. So any nesting of both composes.
 */
#include "provision/engine/place.h"

#include "provision/base/file.h"
#include "provision/base/log.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"
#include "provision/engine/inside.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/socket.h>

enum {
	CONTROL_LINE_MAX = 64 << 10,
	CONTROL_TIMEOUT_MS = 30000,
	HOLD_TIMEOUT_MS = 150000,
	PLACES_MAX = 32
};

int dink_wait_fd(int fd, short events, uint64_t deadline_ms)
{
	for (;;) {
		struct pollfd p[2] = {{.fd = fd, .events = events},
				      {.fd = dink_interrupt_fd(), .events = POLLIN}};
		int64_t left = -1;
		int n;

		if (deadline_ms > 0) {
			left = (int64_t)deadline_ms - (int64_t)dink_now_ms();
			if (left <= 0)
				return -ETIMEDOUT;
			if (left > INT32_MAX)
				left = INT32_MAX;
		}
		n = poll(p, 2, (int)left);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && p[1].revents)
			return -EINTR;
		if (n > 0 && p[0].revents)
			return 0;
	}
}

struct dink_place *dink_place_host(void)
{
	struct dink_place *p = xcalloc(1, sizeof(*p));

	p->procfd = -1;
	return p;
}

bool dink_place_has_vm(const struct dink_place *p)
{
	for (; p; p = p->parent)
		if (p->kind == DINK_PLACE_VM)
			return true;
	return false;
}

int dink_place_root(const struct dink_place *p)
{
	if (dink_place_has_vm(p))
		return -EOPNOTSUPP;
	if (p->kind == DINK_PLACE_HOST) {
		int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

		return fd < 0 ? -errno : fd;
	}
	if (p->procfd < 0)
		return -ESRCH;
	return dink_inside_hop(p->procfd, "root");
}

/* The /proc/PID folder in the parent; -1 if it is not to be had. */
static int open_procfd(const struct dink_place *parent, pid_t pid)
{
	_cleanup_close_ int root = dink_place_root(parent);
	char path[32];
	int fd;

	if (root < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	fd = dink_inside_open(root, path, O_RDONLY | O_DIRECTORY);
	return fd < 0 ? -1 : fd;
}

struct dink_place *dink_place_container(const struct dink_place *parent, pid_t pid)
{
	struct dink_place *p = xcalloc(1, sizeof(*p));

	p->kind = DINK_PLACE_CONTAINER;
	p->parent = parent;
	p->pid = pid;
	p->procfd = open_procfd(parent, pid);
	return p;
}

/* "... --root ROOT ... monitor ID": ROOT/ID/control.sock; NULL if it is no monitor. */
static char *control_from_cmdline(const char *text, size_t len)
{
	const char *root = NULL, *id = NULL, *end = text + len;

	for (const char *a = text; a < end; a += strlen(a) + 1) {
		const char *next = a + strlen(a) + 1;

		if (STREQ(a, "--root") && next < end)
			root = next;
		else if (dink_starts_with(a, "--root="))
			root = a + strlen("--root=");
		else if (STREQ(a, "monitor") && next < end)
			id = next;
	}
	if (!root || root[0] != '/' || !id || !id[0] || strchr(id, '/') || id[0] == '.')
		return NULL;
	return xasprintf("%s/%s/control.sock", root, id);
}

int dink_place_vm(const struct dink_place *parent, pid_t pid, struct dink_place **ret,
		  struct dink_err *err)
{
	_cleanup_(dink_place_freep) struct dink_place *p = dink_place_container(parent, pid);
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	p->kind = DINK_PLACE_VM;
	if (dink_place_has_vm(parent)) {
		/* no files can be read there, but the monitor's folder is its working directory */
		p->control = xasprintf("/proc/%d/cwd/control.sock", (int)pid);
		*ret = TAKE_PTR(p);
		return 0;
	}
	if (p->procfd >= 0)
		fd = openat(p->procfd, "cmdline", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, ESRCH, "find the VM's monitor, process %d",
				    (int)pid);
	r = dink_fd_read_all(fd, 1 << 20, &text, &len, err);
	if (r < 0)
		return dink_err_push(err, "reading the command line of process %d", (int)pid);
	p->control = control_from_cmdline(text, len);
	if (!p->control)
		return dink_err_set(err, DINK_E_HOST, EINVAL,
				    "process %d is no dink-vm monitor: its command line names no "
				    "state folder",
				    (int)pid);
	*ret = TAKE_PTR(p);
	return 0;
}

void dink_place_free(struct dink_place *p)
{
	if (!p)
		return;
	if (p->owns_parent)
		dink_place_free((struct dink_place *)p->parent);
	if (p->procfd >= 0)
		close(p->procfd);
	free(p->control);
	free(p);
}

/* One line from the control socket, not a byte more: what follows is the stream. */
static int read_line(int fd, uint64_t deadline_ms, char *buf, size_t size)
{
	size_t len = 0;

	while (len < size - 1) {
		const char *nl;
		ssize_t n;
		size_t take;
		int r = dink_wait_fd(fd, POLLIN, deadline_ms);

		if (r < 0)
			return r;
		n = recv(fd, buf + len, size - 1 - len, MSG_PEEK | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ECONNRESET;
		nl = memchr(buf + len, '\n', (size_t)n);
		take = nl ? (size_t)(nl - (buf + len)) + 1 : (size_t)n;
		n = recv(fd, buf + len, take, MSG_DONTWAIT);
		if (n < 0)
			return -errno;
		len += (size_t)n;
		if (nl) {
			buf[len] = '\0';
			return (int)len;
		}
	}
	return -EMSGSIZE;
}

static int send_line(int fd, const char *text, size_t len, uint64_t deadline_ms)
{
	while (len > 0) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n < 0) {
			int r = dink_wait_fd(fd, POLLOUT, deadline_ms);

			if (r < 0)
				return r;
			continue;
		}
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/*
 * Asks the monitor behind fd for something; takes ask.
 * @what: what is wanted, for errors: "connect to /run/docker.sock"
 */
static int ask_monitor(int fd, struct json_object *ask, const char *what, uint32_t timeout_ms,
		       struct dink_err *err)
{
	_cleanup_json_ struct json_object *question = ask, *answer = NULL;
	_cleanup_free_ char *line = NULL, *buf = xmalloc(CONTROL_LINE_MAX);
	uint64_t deadline = dink_now_ms() + timeout_ms;
	int r, e;

	line = xasprintf("%s\n", json_object_to_json_string_ext(question, JSON_C_TO_STRING_PLAIN));
	r = send_line(fd, line, strlen(line), deadline);
	if (r == 0)
		r = read_line(fd, deadline, buf, CONTROL_LINE_MAX);
	if (r == -EINTR)
		return dink_err_set(err, DINK_E_INTR, EINTR, "%s in the VM", what);
	if (r < 0)
		return dink_err_set(err, DINK_E_HOST, -r, "ask the VM's monitor to %s", what);
	r = dink_json_parse(buf, (size_t)r, "the VM monitor's answer", &answer, err);
	if (r < 0)
		return r;
	if (dink_json_bool_or(answer, "ok", false))
		return 0;
	e = (int)dink_json_int_or(answer, "errno", EIO);
	return dink_err_set(err, DINK_E_HOST, e > 0 && e < 4096 ? e : EIO, "%s in the VM (%.200s)",
			    what, dink_json_str_or(answer, "error", "no reason given"));
}

static int ask_connect(int fd, const char *path, struct dink_err *err)
{
	_cleanup_free_ char *what = xasprintf("connect to %s", path);
	struct json_object *ask = dink_json_new();

	dink_json_set_str(ask, "op", "connect");
	dink_json_set_str(ask, "path", path);
	return ask_monitor(fd, ask, what, CONTROL_TIMEOUT_MS, err);
}

int dink_place_hold(const struct dink_place *place, int *ret_fd, struct dink_err *err)
{
	struct json_object *ask;
	_cleanup_close_ int fd = -1;
	int r;

	if (place->kind != DINK_PLACE_VM)
		return dink_err_set(err, DINK_E_BUG, EINVAL, "hold what is no VM");
	r = dink_dial(place->parent, place->control, &fd, err);
	if (r < 0)
		return r;
	ask = dink_json_new();
	dink_json_set_str(ask, "op", "hold");
	r = ask_monitor(fd, ask, "come to rest", HOLD_TIMEOUT_MS, err);
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

int dink_place_grow(const struct dink_place *place, const char *name, uint64_t bytes,
		    struct dink_err *err)
{
	struct json_object *ask;
	_cleanup_close_ int fd = -1;
	int r;

	if (place->kind != DINK_PLACE_VM)
		return dink_err_set(err, DINK_E_BUG, EINVAL, "a disk of what is no VM");
	r = dink_dial(place->parent, place->control, &fd, err);
	if (r < 0)
		return r;
	ask = dink_json_new();
	dink_json_set_str(ask, "op", "grow");
	dink_json_set_str(ask, "name", name);
	dink_json_set_int(ask, "bytes", (int64_t)bytes);
	return ask_monitor(fd, ask, "let a disk grow", HOLD_TIMEOUT_MS, err);
}

int dink_dial(const struct dink_place *place, const char *path, int *ret_fd, struct dink_err *err)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *inner = xstrdup(path);
	const struct dink_place *p = place;
	int r;

	if (path[0] != '/')
		return dink_err_set(err, DINK_E_BUG, EINVAL, "dial %s: not absolute", path);
	if (!dink_place_has_vm(place)) {
		_cleanup_close_ int root = dink_place_root(place);

		if (root < 0)
			return dink_err_set(err, DINK_E_HOST, -root,
					    "connect to %s in the container of process %d", path,
					    (int)place->pid);
		return dink_inside_connect(root, path, ret_fd, err);
	}
	for (; p->kind == DINK_PLACE_CONTAINER; p = p->parent) {
		char *deeper = xasprintf("/proc/%d/root%s", (int)p->pid, inner);

		free(inner);
		inner = deeper;
	}
	dink_debug("dial", "VM of process %d: %s", (int)p->pid, inner);
	r = dink_dial(p->parent, p->control, &fd, err);
	if (r == 0)
		r = ask_connect(fd, inner, err);
	if (r < 0)
		return dink_err_push(err, "reaching into the VM of process %d", (int)p->pid);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Field 22 of /proc/PID/stat through its folder; 0 if unknown. */
static uint64_t start_ticks(int procfd)
{
	_cleanup_close_ int fd = procfd < 0 ? -1 : openat(procfd, "stat", O_RDONLY | O_CLOEXEC);
	char buf[1024], *s;
	ssize_t n;
	uint64_t start;

	n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	if (n <= 0)
		return 0;
	buf[n] = '\0';
	s = strrchr(buf, ')'); /* the name may hold anything */
	for (int field = 2; s && field < 22; field++)
		s = strchr(s + 1, ' ');
	return s && sscanf(s, " %" SCNu64, &start) == 1 ? start : 0;
}

char *dink_place_text(const struct dink_place *place)
{
	const struct dink_place *chain[PLACES_MAX];
	struct dink_str s = {};
	int n = 0;

	for (const struct dink_place *p = place; p && n < PLACES_MAX; p = p->parent)
		chain[n++] = p;
	while (n-- > 0) {
		const struct dink_place *p = chain[n];

		if (p->kind == DINK_PLACE_HOST)
			dink_str_add(&s, "host");
		else
			dink_str_addf(&s, "/%s:%d@%" PRIu64,
				      p->kind == DINK_PLACE_VM ? "vm" : "container", (int)p->pid,
				      start_ticks(p->procfd));
	}
	return dink_str_take(&s);
}

int dink_place_parse(const char *text, struct dink_place **ret, struct dink_err *err)
{
	_cleanup_free_ char *copy = xstrdup(text);
	_cleanup_(dink_place_freep) struct dink_place *place = NULL;
	char *save = NULL, *word = strtok_r(copy, "/", &save);
	int r;

	if (!word || !STREQ(word, "host"))
		return dink_err_set(err, DINK_E_USAGE, 0, "place '%s' does not begin with host",
				    text);
	place = dink_place_host();
	while ((word = strtok_r(NULL, "/", &save))) {
		struct dink_place *next = NULL;
		char kind[16], extra;
		uint64_t start, now;
		int pid;

		if (sscanf(word, "%15[a-z]:%d@%" SCNu64 "%c", kind, &pid, &start, &extra) != 3 ||
		    pid <= 0 || (!STREQ(kind, "vm") && !STREQ(kind, "container")))
			return dink_err_set(err, DINK_E_USAGE, 0, "place '%s': '%s' is no hop",
					    text, word);
		if (STREQ(kind, "vm")) {
			r = dink_place_vm(place, pid, &next, err);
			if (r < 0)
				return r;
		} else {
			next = dink_place_container(place, pid);
		}
		next->owns_parent = true;
		place = next; /* which owns what place was */
		now = start_ticks(place->procfd);
		if (start != 0 && now != start)
			return dink_err_set(err, DINK_E_STATE, ESRCH,
					    "process %d is not the one the place was made for",
					    pid);
	}
	*ret = TAKE_PTR(place);
	return 0;
}
