/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forwarder: a plain unix socket on the host for a socket deep inside.
 *
 * One loop relays all connections; each dial, which may wait for a VM, runs in a thread of its own
 * and hands its stream back through a pipe. What one side has sent and the other not yet taken is
 * bounded per direction (then the sender is not read). An end of one direction is passed on as
 * such: `docker exec -i` and `docker load` need the half-close.
 */
#include "provision/engine/engine.h"

#include "provision/base/file.h"
#include "provision/base/log.h"
#include "provision/base/loop.h"
#include "provision/base/proc.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { BUFFER = 64 << 10, DIALS_MAX = 64 };

struct server;

/* A listening socket. */
struct door {
	struct server *server;
	const struct dink_forward *forward;
	int fd;
	struct dink_source *source;
};

/* A direction: what was read from `from` and waits for the other end. */
struct flow {
	char buf[BUFFER];
	size_t have, done;
	bool eof;  /* the sender ended */
	bool shut; /* and that was passed on, or the receiver is gone */
};

struct end {
	struct link *link;
	int fd;
	struct dink_source *source;
	uint32_t events; /* as registered */
};

/* One connection: ends[0] is the client, ends[1] the layer; flows[i] is read from ends[i]. */
struct link {
	struct server *server;
	struct end ends[2];
	struct flow flows[2];
	struct link *next, *prev;
};

struct server {
	struct dink_loop *loop;
	struct door *doors;
	size_t n_doors;
	struct link *links;
	int dialed[2]; /* pipe: struct dial * */
	int dials;
	bool full; /* the doors are closed until a dial ends */
};

struct dial {
	const struct dink_forward *forward;
	int client;
	int stream; /* -1: it failed */
	int report; /* the pipe's writing end, not owned */
};

static void *run_dial(void *arg)
{
	struct dial *d = arg;
	struct dink_err err = {};

	if (dink_dial(d->forward->place, d->forward->path, &d->stream, &err) < 0)
		dink_debug("forward", "%s: %s", d->forward->listen, err.msg);
	dink_err_clear(&err);
	/* a pointer is far below PIPE_BUF: written at once or not at all */
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): the pointer itself is handed over */
	while (write(d->report, &d, sizeof(d)) < 0 && errno == EINTR)
		;
	return NULL;
}

static void on_end(void *ctx, int fd, uint32_t events);

static void free_link(struct link *l)
{
	for (int i = 0; i < 2; i++) {
		dink_source_remove(l->ends[i].source);
		close(l->ends[i].fd);
	}
	if (l->next)
		l->next->prev = l->prev;
	if (l->prev)
		l->prev->next = l->next;
	else
		l->server->links = l->next;
	free(l);
}

/*
 * Watches an end for just what can be done with it. With nothing to do it is not watched at all:
 * epoll would report a hang-up without end.
 */
static void watch_end(struct link *l, int i)
{
	struct end *e = &l->ends[i];
	const struct flow *out = &l->flows[i], *in = &l->flows[!i];
	uint32_t want = 0;

	if (!out->eof && out->have == out->done)
		want |= EPOLLIN;
	if (in->done < in->have && !in->shut)
		want |= EPOLLOUT;
	if (want == e->events && (want == 0) == !e->source)
		return;
	e->events = want;
	if (want == 0) {
		dink_source_remove(e->source);
		e->source = NULL;
	} else if (e->source) {
		dink_source_events(e->source, want);
	} else {
		e->source = dink_loop_add(l->server->loop, e->fd, want, on_end, e);
	}
}

/* Reads from end i as far as its buffer takes it. */
static void read_end(struct link *l, int i)
{
	struct flow *f = &l->flows[i];
	ssize_t n;

	if (f->eof || f->have > f->done)
		return;
	n = recv(l->ends[i].fd, f->buf, sizeof(f->buf), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	f->done = 0;
	f->have = n > 0 ? (size_t)n : 0;
	f->eof = n <= 0;
}

/* Writes to end i what the other one sent, and its end. */
static void write_end(struct link *l, int i)
{
	struct flow *f = &l->flows[!i];

	if (f->done < f->have && !f->shut) {
		ssize_t n = send(l->ends[i].fd, f->buf + f->done, f->have - f->done,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
			f->done += (size_t)n;
		else if (n < 0 && errno != EAGAIN && errno != EINTR)
			f->shut = true; /* it reads no more */
	}
	if (f->shut) { /* nor need the sender go on */
		f->have = f->done = 0;
		f->eof = true;
		(void)shutdown(l->ends[!i].fd, SHUT_RD);
	} else if (f->eof && f->done == f->have) {
		f->shut = true;
		(void)shutdown(l->ends[i].fd, SHUT_WR);
	}
}

static void on_end(void *ctx, int fd _unused_, uint32_t events)
{
	struct end *e = ctx;
	struct link *l = e->link;
	int i = e == &l->ends[1];

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_end(l, i);
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		write_end(l, i);
	write_end(l, !i); /* most often it takes it at once */
	if (l->flows[0].shut && l->flows[1].shut) {
		free_link(l);
		return;
	}
	watch_end(l, 0);
	watch_end(l, 1);
}

static void add_link(struct server *s, int client, int stream)
{
	struct link *l = xcalloc(1, sizeof(*l));
	int fds[2] = {client, stream};

	l->server = s;
	l->next = s->links;
	if (l->next)
		l->next->prev = l;
	s->links = l;
	for (int i = 0; i < 2; i++) {
		l->ends[i].link = l;
		l->ends[i].fd = fds[i];
	}
	for (int i = 0; i < 2; i++)
		watch_end(l, i);
}

static void set_doors(struct server *s)
{
	bool full = s->dials >= DIALS_MAX;

	for (size_t i = 0; full != s->full && i < s->n_doors; i++)
		dink_source_events(s->doors[i].source, full ? 0 : EPOLLIN);
	s->full = full;
}

static void on_dialed(void *ctx, int fd, uint32_t events _unused_)
{
	struct server *s = ctx;
	struct dial *d;

	/* NOLINTNEXTLINE(bugprone-sizeof-expression): see run_dial() */
	if (read(fd, &d, sizeof(d)) != sizeof(d))
		return;
	s->dials--;
	if (d->stream >= 0)
		add_link(s, d->client, d->stream);
	else
		close(d->client); /* what a daemon that is not there looks like */
	free(d);
	set_doors(s);
}

static void on_door(void *ctx, int fd, uint32_t events _unused_)
{
	struct door *door = ctx;
	struct server *s = door->server;
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	pthread_attr_t attr;
	pthread_t thread;
	struct dial *d;
	int r;

	if (client < 0) /* it went again, or we have no descriptors: epoll will tell once more */
		return;
	d = xcalloc(1, sizeof(*d));
	*d = (struct dial){door->forward, client, -1, s->dialed[1]};
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &attr, run_dial, d);
	pthread_attr_destroy(&attr);
	if (r != 0) {
		close(client);
		free(d);
		return;
	}
	s->dials++;
	set_doors(s);
}

static void on_interrupt(void *ctx, int fd _unused_, uint32_t events _unused_)
{
	dink_loop_quit(((struct server *)ctx)->loop, 0);
}

/* A socket file that nobody listens on any more is one of a forwarder that was killed. */
static int clear_stale(const char *path, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_close_ int fd = -1;

	if (!dink_exists(path))
		return 0;
	if (dink_unix_connect(path, &fd, &ignored) >= 0)
		return dink_err_set(err, DINK_E_BUSY, EADDRINUSE, "listen on %s", path);
	return dink_rm_rf(path, err);
}

static int open_doors(struct server *s, const struct dink_forward *f, size_t n,
		      struct dink_err *err)
{
	s->doors = xcalloc(n, sizeof(*s->doors));
	for (size_t i = 0; i < n; i++) {
		struct door *d = &s->doors[i];
		int r = clear_stale(f[i].listen, err);

		if (r < 0)
			return r;
		d->server = s;
		d->forward = &f[i];
		r = dink_unix_listen(f[i].listen, 0600, &d->fd, err);
		if (r < 0)
			return r;
		s->n_doors++;
		if (fcntl(d->fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
			return dink_err_set(err, DINK_E_BUG, errno, "set %s up", f[i].listen);
		d->source = dink_loop_add(s->loop, d->fd, EPOLLIN, on_door, d);
		if (!d->source)
			return dink_err_set(err, DINK_E_BUG, errno, "watch %s", f[i].listen);
	}
	return 0;
}

static void close_doors(struct server *s)
{
	while (s->links)
		free_link(s->links); /* NOLINT(clang-analyzer-unix.Malloc): the first has no prev */
	for (size_t i = 0; i < s->n_doors; i++) {
		(void)unlink(s->doors[i].forward->listen);
		close(s->doors[i].fd);
	}
	free(s->doors);
}

int dink_forward_serve(const struct dink_forward *f, size_t n, int ready_fd, struct dink_err *err)
{
	struct server s = {.loop = dink_loop_new(), .dialed = {-1, -1}};
	int r = 0;

	dink_catch_interrupts();
	if (!s.loop || pipe2(s.dialed, O_CLOEXEC) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "start the forwarder");
	if (!dink_loop_add(s.loop, s.dialed[0], EPOLLIN, on_dialed, &s) ||
	    !dink_loop_add(s.loop, dink_interrupt_fd(), EPOLLIN, on_interrupt, &s))
		r = dink_err_set(err, DINK_E_BUG, errno, "start the forwarder");
	if (r == 0)
		r = open_doors(&s, f, n, err);
	if (r == 0 && ready_fd >= 0)
		r = dink_fd_write_all(ready_fd, "ready\n", 6);
	if (r == 0)
		r = dink_loop_run(s.loop);
	else if (!dink_err_is_set(err))
		r = dink_err_set(err, DINK_E_HOST, -r, "tell that the forwarder is ready");
	close_doors(&s);
	/* threads that still dial use the pipe; both ends go with the process */
	dink_loop_free(s.loop);
	return r;
}
