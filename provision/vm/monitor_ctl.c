/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.sock: requests of the CLI and of dink, one JSON line each (docs/dink-vm.md).
 */
#include "provision/base/file.h"
#include "provision/base/units.h"
#include "provision/vm/monitor_internal.h"
#include "provision/vm/oci.h"
#include "provision/vm/vmstate.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
	REQUEST_MAX = 4 << 20,
	CLIENTS_MAX = 256,
	ACCEPT_AGAIN_MS = 200,
	HOLDERS_MS = 500,
	HOLDER_DIES_US = 3000
};

/* --- clients --- */

static void free_client(struct mon_client *c)
{
	struct monitor *m = c->m;

	for (struct mon_client **p = &m->clients; *p; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			break;
		}
	}
	for (int i = 0; i < c->n_fds; i++)
		close(c->fds[i]);
	dink_str_clear(&c->in);
	free(c);
}

/* Its descriptors must not wait for a guest that may never answer. */
static void reset_streams(const struct mon_exec *x)
{
	for (int i = 0; i < 3; i++) {
		if (x->streams[i] && (i == 0 || x->streams[i] != x->streams[i - 1]))
			dink_chan_stream_reset(x->m->chan, x->streams[i]);
	}
}

static void hang_up(struct mon_client *c)
{
	if (!c->dead) {
		c->dead = true;
		mon_ckpt_client_gone(c);
		dink_source_remove(TAKE_PTR(c->source));
		if (c->fd >= 0)
			close(TAKE_FD(c->fd));
		for (struct mon_exec *x = c->m->execs; x; x = x->next) {
			if (x->client != c)
				continue;
			/* its holder was killed, and the holder stands for the program */
			x->client = NULL;
			if (x->started)
				mon_signal(c->m, x->name, SIGKILL, false);
			else
				reset_streams(x);
		}
	}
	if (c->pending == 0)
		free_client(c);
}

void mon_answer(struct mon_client *c, struct json_object *msg)
{
	_cleanup_json_ struct json_object *owned = msg;
	_cleanup_(dink_err_clear) struct dink_err err = {};

	/* answers are short; a client that does not read them is dropped */
	if (!c->dead && dink_vm_send(c->fd, owned, NULL, 0, &err) < 0)
		shutdown(c->fd, SHUT_RDWR);
}

static void answer_ok(struct mon_client *c)
{
	struct json_object *msg = dink_json_new();

	dink_json_set_bool(msg, "ok", true);
	mon_answer(c, msg);
}

void mon_answer_error(struct mon_client *c, int e, const char *text)
{
	struct json_object *msg = dink_json_new();

	dink_json_set_bool(msg, "ok", false);
	dink_json_set_str(msg, "error", text);
	dink_json_set_int(msg, "errno", e);
	mon_answer(c, msg);
}

static void answer_err(struct mon_client *c, const struct dink_err *err)
{
	_cleanup_free_ char *text = dink_err_format(err);

	for (size_t n = strlen(text); n > 0 && text[n - 1] == '\n'; n--)
		text[n - 1] = '\0';
	mon_answer_error(c, err->errnum, text);
}

/* A reply of the guest for a client that may be gone by then. */
static bool client_back(struct mon_client *c)
{
	c->pending--;
	if (!c->dead)
		return true;
	if (c->pending == 0)
		free_client(c);
	return false;
}

static void pass_reply(struct mon_client *c, struct json_object *msg)
{
	if (!msg)
		mon_answer_error(c, ESRCH, "container not running: its VM is gone");
	else
		mon_answer(c, json_object_get(msg));
}

static void relay(void *ctx, struct json_object *msg)
{
	struct mon_client *c = ctx;

	if (client_back(c))
		pass_reply(c, msg);
}

void mon_client_relay(struct mon_client *c, struct json_object *msg)
{
	relay(c, msg);
}

static void ask_guest(struct mon_client *c, struct json_object *msg, dink_chan_reply_fn fn)
{
	c->pending++;
	dink_chan_request(c->m->chan, msg, fn, c);
}

/* --- start --- */

/* As with runc: engines count on it that what cannot be started ends by itself. */
static void end_unstarted(struct monitor *m, const char *why)
{
	if (m->status != MON_CREATED)
		return;
	mon_trace(m, why);
	mon_finish(m, 128 + SIGKILL);
}

static void take_start(void *ctx, struct json_object *msg)
{
	struct mon_client *c = ctx;
	struct monitor *m = c->m;

	if (msg && dink_json_bool_or(msg, "ok", false) && m->status == MON_CREATED) {
		m->status = MON_RUNNING;
		mon_trace(m, "started");
		relay(ctx, msg);
		return;
	}
	relay(ctx, msg);
	end_unstarted(m, "not started");
}

static void take_network(void *ctx, struct json_object *msg)
{
	struct mon_client *c = ctx;
	struct monitor *m = c->m;

	if (!msg || !dink_json_bool_or(msg, "ok", false)) {
		relay(ctx, msg);
		end_unstarted(m, "the guest refused its network");
		return;
	}
	c->pending--;
	struct json_object *req = dink_json_new();
	dink_json_set_str(req, "op", "start");
	ask_guest(c, req, take_start);
}

static void op_start(struct mon_client *c, _unused_ struct json_object *req)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct json_object *links = NULL;

	if (c->m->status != MON_CREATED) {
		mon_answer_error(c, EINVAL, "cannot start a container that is not created");
		return;
	}
	mon_trace(c->m, "start asked");
	mon_watch_links(c->m);
	if (mon_join_links(c->m, &links, &err) < 0) {
		answer_err(c, &err);
		end_unstarted(c->m, "links not joined");
		return;
	}
	struct json_object *msg = dink_json_new();
	dink_json_set_str(msg, "op", "network");
	dink_json_set(msg, "links", links);
	dink_json_set_bool(msg, "only", true);
	ask_guest(c, msg, take_network);
	mon_relay_dns(c->m);
}

/* --- exec --- */

static void free_exec(struct mon_exec *x)
{
	for (struct mon_exec **p = &x->m->execs; *p; p = &(*p)->next) {
		if (*p == x) {
			*p = x->next;
			break;
		}
	}
	free(x->name);
	free(x);
}

static void finish_exec(struct mon_exec *x)
{
	if (!x->started || !x->exited || x->waiting > 0)
		return;
	if (x->client) {
		struct json_object *msg = dink_json_new();
		dink_json_set_int(msg, "exit", x->status);
		mon_answer(x->client, msg);
	}
	free_exec(x);
}

void mon_exec_exited(struct monitor *m, const char *name, int status)
{
	for (struct mon_exec *x = m->execs; x; x = x->next) {
		if (STREQ(x->name, name)) {
			x->exited = true;
			x->status = status;
			finish_exec(x);
			return;
		}
	}
}

static void exec_stream_done(void *ctx, _unused_ uint32_t id)
{
	struct mon_exec *x = ctx;

	x->waiting--;
	finish_exec(x);
}

static void exec_stdin_done(_unused_ void *ctx, _unused_ uint32_t id)
{
}

struct exec_call {
	struct mon_client *client;
	struct mon_exec *exec;
};

static void take_exec(void *ctx, struct json_object *msg)
{
	struct exec_call *call = ctx;
	struct mon_client *c = call->client;
	struct mon_exec *x = call->exec;
	bool ok = msg && dink_json_bool_or(msg, "ok", false);
	bool there = client_back(c);

	free(call);
	if (ok) {
		if (there) {
			struct json_object *reply = json_object_get(msg);
			dink_json_set_str(reply, "exec", x->name);
			mon_answer(c, reply);
		} else {
			mon_signal(x->m, x->name, SIGKILL, false);
		}
		x->started = true;
		finish_exec(x);
		return;
	}
	reset_streams(x);
	free_exec(x);
	if (there)
		pass_reply(c, msg);
}

static void tie_exec(struct mon_exec *x, struct mon_client *c, bool terminal,
		     struct json_object *msg)
{
	static const char *const names[] = {"in", "out", "err"};
	struct dink_chan *chan = x->m->chan;

	if (terminal) {
		x->streams[0] = x->streams[1] = dink_chan_new_stream(chan);
		x->waiting = 1;
		int again = fcntl(c->fds[0], F_DUPFD_CLOEXEC, 10);
		dink_chan_stream(chan, x->streams[0], c->fds[0], again, exec_stream_done, x);
		for (int i = 1; i < c->n_fds; i++)
			close(c->fds[i]);
	} else {
		x->waiting = 2;
		for (int i = 0; i < 3; i++)
			x->streams[i] = mon_new_stream(x->m, c->fds[i]);
		dink_chan_stream(chan, x->streams[0], -1, c->fds[0], exec_stdin_done, x);
		dink_chan_stream(chan, x->streams[1], c->fds[1], -1, exec_stream_done, x);
		dink_chan_stream(chan, x->streams[2], c->fds[2], -1, exec_stream_done, x);
	}
	c->n_fds = 0;
	for (int i = 0; i < 3; i++)
		dink_json_set_int(msg, names[i], x->streams[i]);
}

static void op_exec(struct mon_client *c, struct json_object *req)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct monitor *m = c->m;
	struct json_object *process = dink_json_get(req, "process");

	if (m->status != MON_RUNNING) {
		mon_answer_error(c, EINVAL,
				 m->status == MON_PAUSED
					 ? "cannot exec in a paused container"
					 : "cannot exec in a container that is not running");
		return;
	}
	if (c->is_exec || dink_oci_adapt_process(process, &err) < 0) {
		mon_answer_error(c, EINVAL, c->is_exec ? "one exec a connection" : err.msg);
		return;
	}
	bool terminal = dink_json_bool_or(process, "terminal", false);
	/* what the engine connected before is there for this program */
	mon_see_links(m);
	if (c->n_fds < (terminal ? 1 : 3)) {
		mon_answer_error(c, EINVAL, "exec came without its descriptors");
		return;
	}
	struct mon_exec *x = xcalloc(1, sizeof(*x));
	x->m = m;
	x->client = c;
	x->name = xasprintf("exec-%llu", (unsigned long long)++m->exec_count);
	x->next = m->execs;
	m->execs = x;
	c->is_exec = true;
	struct json_object *msg = dink_json_new();
	dink_json_set_str(msg, "op", "exec");
	dink_json_set_str(msg, "exec", x->name);
	dink_json_set(msg, "process", json_object_get(process));
	tie_exec(x, c, terminal, msg);
	struct exec_call *call = xcalloc(1, sizeof(*call));
	*call = (struct exec_call){c, x};
	c->pending++;
	dink_chan_request(m->chan, msg, take_exec, call);
}

/* --- the others --- */

static const char *status_name(enum mon_status s)
{
	static const char *const names[] = {
		[MON_BOOTING] = "creating", [MON_CREATED] = "created",	 [MON_RUNNING] = "running",
		[MON_PAUSED] = "paused",    [MON_STOPPING] = "stopping",
	};
	return names[s];
}

static void op_state(struct mon_client *c, _unused_ struct json_object *req)
{
	struct json_object *msg = dink_json_new();

	dink_json_set_bool(msg, "ok", true);
	dink_json_set_str(msg, "status", status_name(c->m->status));
	mon_answer(c, msg);
}

static void op_signal(struct mon_client *c, struct json_object *req)
{
	int sig = (int)dink_json_int_or(req, "signal", 0);

	if (sig < 0 || sig > SIGRTMAX) {
		mon_answer_error(c, EINVAL, "no such signal");
		return;
	}
	/* one that is stopping takes it too, as with kill(2) and a process not waited for yet */
	if (sig)
		mon_signal(c->m, dink_json_str_or(req, "exec", NULL), sig,
			   dink_json_bool_or(req, "all", false));
	if (!c->is_exec)
		answer_ok(c);
}

/* connect: after the ok line the socket is the stream, and no client of ours any more */
struct connect_call {
	struct mon_client *client;
	uint32_t stream;
};

static void take_connect(void *ctx, struct json_object *msg)
{
	struct connect_call *call = ctx;
	struct mon_client *c = call->client;
	struct dink_chan *chan = c->m->chan;
	uint32_t stream = call->stream;
	bool ok = msg && dink_json_bool_or(msg, "ok", false);

	free(call);
	if (!client_back(c)) {
		dink_chan_stream_reset(chan, stream);
		return;
	}
	pass_reply(c, msg);
	if (!ok) {
		dink_chan_stream_reset(chan, stream);
		return;
	}
	int fd = TAKE_FD(c->fd);
	dink_source_remove(TAKE_PTR(c->source));
	dink_chan_stream(chan, stream, fd, fd, NULL, NULL);
	hang_up(c);
}

static void op_connect(struct mon_client *c, struct json_object *req)
{
	const char *path = dink_json_str_or(req, "path", "");

	if (path[0] != '/' || c->m->status != MON_RUNNING) {
		mon_answer_error(c, path[0] == '/' ? ENOTCONN : EINVAL,
				 path[0] == '/' ? "container not running" : "connect needs a path");
		return;
	}
	struct connect_call *call = xcalloc(1, sizeof(*call));
	*call = (struct connect_call){c, dink_chan_new_stream(c->m->chan)};
	struct json_object *msg = dink_json_new();
	dink_json_set_str(msg, "op", "connect");
	dink_json_set_str(msg, "path", path);
	dink_json_set_int(msg, "stream", call->stream);
	c->pending++;
	/* what the client sends early stays in its socket until the stream takes it over */
	dink_source_events(c->source, 0);
	dink_chan_request(c->m->chan, msg, take_connect, call);
}

static void take_freeze(void *ctx, struct json_object *msg)
{
	struct mon_client *c = ctx;
	struct monitor *m = c->m;

	if (msg && dink_json_bool_or(msg, "ok", false)) {
		if (m->status == MON_RUNNING)
			m->status = MON_PAUSED;
		else if (m->status == MON_PAUSED)
			m->status = MON_RUNNING;
	}
	relay(ctx, msg);
}

/* Ops that the guest answers as they are. */
static void op_guest(struct mon_client *c, struct json_object *req)
{
	const char *op = dink_json_str_or(req, "op", "");
	enum mon_status s = c->m->status;

	if (STREQ(op, "resize") && c->is_exec) {
		dink_chan_request(c->m->chan, json_object_get(req), NULL, NULL);
		return;
	}
	bool freeze = STREQ(op, "pause"), thaw = STREQ(op, "resume");
	if ((freeze && s != MON_RUNNING) || (thaw && s != MON_PAUSED) ||
	    (s != MON_CREATED && s != MON_RUNNING && s != MON_PAUSED)) {
		_cleanup_free_ char *text =
			xasprintf("cannot %s a container that is %s", op, status_name(s));
		mon_answer_error(c, EINVAL, text);
		return;
	}
	if (STREQ(op, "update"))
		dink_oci_adapt_resources(dink_json_get(req, "resources"));
	ask_guest(c, json_object_get(req), freeze || thaw ? take_freeze : relay);
}

static void op_delete(struct mon_client *c, _unused_ struct json_object *req)
{
	answer_ok(c);
	mon_finish(c->m, 128 + SIGKILL);
}

static const struct {
	const char *name;
	void (*fn)(struct mon_client *c, struct json_object *req);
} ops[] = {
	{"state", op_state},
	{"start", op_start},
	{"signal", op_signal},
	{"exec", op_exec},
	{"resize", op_guest},
	{"connect", op_connect},
	{"pause", op_guest},
	{"resume", op_guest},
	{"ps", op_guest},
	{"stats", op_guest},
	{"update", op_guest},
	{"delete", op_delete},
	{"checkpoint", mon_checkpoint},
	{"checkpointed", mon_checkpointed},
	{"hold", mon_hold},
	{"grow", mon_grow},
};

static void take_request(struct mon_client *c, const char *text, size_t len)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_json_ struct json_object *req = NULL;

	if (dink_json_parse(text, len, "request", &req, &err) < 0) {
		mon_answer_error(c, EINVAL, "the request is no JSON object");
		return;
	}
	const char *op = dink_json_str_or(req, "op", "");
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		if (STREQ(ops[i].name, op)) {
			ops[i].fn(c, req);
			return;
		}
	}
	mon_answer_error(c, ENOSYS, "no such request");
}

static ssize_t receive(struct mon_client *c, char *buf, size_t size)
{
	char control[CMSG_SPACE(sizeof(int) * 3)] __attribute__((aligned(8)));
	struct iovec iov = {.iov_base = buf, .iov_len = size};
	struct msghdr mh = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(c->fd, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	for (struct cmsghdr *h = n < 0 ? NULL : CMSG_FIRSTHDR(&mh); h; h = CMSG_NXTHDR(&mh, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
			if (c->n_fds < 3 && !c->is_exec)
				c->fds[c->n_fds++] = fd;
			else
				close(fd);
		}
	}
	return n;
}

static void read_client(void *ctx, _unused_ int fd, _unused_ uint32_t events)
{
	struct mon_client *c = ctx;
	char buf[16384];
	ssize_t n = receive(c, buf, sizeof(buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || c->in.len + (size_t)n > REQUEST_MAX) {
		hang_up(c);
		return;
	}
	dink_str_addn(&c->in, buf, (size_t)n);
	c->pending++; /* a handler may hang up: the struct stays until we are through */
	char *nl;
	while (!c->dead && c->in.len > 0 && (nl = memchr(c->in.s, '\n', c->in.len))) {
		size_t len = (size_t)(nl - c->in.s);
		_cleanup_free_ char *line = xstrndup(c->in.s, len);
		memmove(c->in.s, nl + 1, c->in.len - len - 1);
		c->in.len -= len + 1;
		c->in.s[c->in.len] = '\0';
		take_request(c, line, strlen(line));
	}
	c->pending--;
	if (c->dead && c->pending == 0)
		free_client(c);
}

static void accept_again(void *ctx)
{
	struct monitor *m = ctx;

	m->accept_timer = NULL;
	dink_source_events(m->control_source, EPOLLIN);
}

static void take_client(void *ctx, int fd, _unused_ uint32_t events)
{
	struct monitor *m = ctx;
	int n = 0, cfd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	if (cfd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM) &&
	    !m->accept_timer) {
		/* it stays readable: without a pause this were a busy loop */
		dink_source_events(m->control_source, 0);
		m->accept_timer = dink_loop_after(m->loop, ACCEPT_AGAIN_MS, accept_again, m);
	}
	if (cfd < 0)
		return;
	for (struct mon_client *c = m->clients; c; c = c->next)
		n += !c->dead; /* those wait for an answer of the guest */
	if (n >= CLIENTS_MAX) {
		close(cfd);
		return;
	}
	/* no client can make the monitor wait */
	const struct timeval limit = {.tv_sec = 2};
	(void)setsockopt(cfd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	struct mon_client *c = xcalloc(1, sizeof(*c));
	c->m = m;
	c->fd = cfd;
	c->next = m->clients;
	m->clients = c;
	c->source = dink_loop_add(m->loop, cfd, EPOLLIN, read_client, c);
	if (!c->source)
		hang_up(c);
}

int mon_listen(struct monitor *m, struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/control.sock", m->dir);
	int r = dink_unix_listen(path, 0600, &m->control_fd, err);

	if (r < 0)
		return r;
	if (fcntl(m->control_fd, F_SETFL, O_NONBLOCK) == 0)
		m->control_source = dink_loop_add(m->loop, m->control_fd, EPOLLIN, take_client, m);
	if (!m->control_source)
		return dink_err_set(err, DINK_E_HOST, errno, "watch %s", path);
	return 0;
}

/*
 * A pid namespace's programs are gone before its init is, and engines count on it: dockerd never
 * tells the client of an exec that ends after its container. The holders end at our word.
 */
static void wait_holders(const struct monitor *m)
{
	uint64_t end = dink_now_ms() + HOLDERS_MS;
	bool any = false;

	for (const struct mon_client *c = m->clients; c; c = c->next) {
		struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};
		uint64_t now = dink_now_ms();

		if (!c->is_exec || c->dead)
			continue;
		any = true;
		(void)poll(&p, 1, now < end ? (int)(end - now) : 0);
	}
	/* a process closes its sockets a moment before it is dead */
	if (any)
		usleep(HOLDER_DIES_US);
}

void mon_close_clients(struct monitor *m)
{
	/* an exec whose status is not known any more ends with the container */
	for (struct mon_exec *x = m->execs, *next; x; x = next) {
		next = x->next;
		if (!x->exited)
			x->status = 128 + SIGKILL;
		x->exited = true;
		x->waiting = 0;
		if (!x->started && x->client)
			mon_answer_error(x->client, ESRCH, "the VM is gone");
		finish_exec(x);
	}
	wait_holders(m);
}
