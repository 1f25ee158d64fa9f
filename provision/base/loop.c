/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/base/loop.h"

#include "provision/base/mem.h"
#include "provision/base/units.h"

#include <sys/epoll.h>

struct dink_source {
	struct dink_loop *loop;
	int fd; /* -1 for a timer */
	dink_loop_fd_fn fd_fn;
	dink_loop_timer_fn timer_fn;
	void *ctx;
	uint64_t due_ms;
	bool dead; /* removed; freed at the end of the round, since epoll may still name it */
	struct dink_source *next;
};

struct dink_loop {
	int epfd;
	bool quit;
	int value;
	struct dink_source *sources; /* all, dead ones included */
};

struct dink_loop *dink_loop_new(void)
{
	struct dink_loop *l = xcalloc(1, sizeof(*l));

	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0) {
		free(l);
		return NULL;
	}
	return l;
}

void dink_loop_free(struct dink_loop *l)
{
	if (!l)
		return;
	while (l->sources) {
		struct dink_source *s = l->sources;

		l->sources = s->next;
		free(s);
	}
	close(l->epfd);
	free(l);
}

static struct dink_source *new_source(struct dink_loop *l, void *ctx)
{
	struct dink_source *s = xcalloc(1, sizeof(*s));

	s->loop = l;
	s->fd = -1;
	s->ctx = ctx;
	s->next = l->sources;
	l->sources = s;
	return s;
}

struct dink_source *dink_loop_add(struct dink_loop *l, int fd, uint32_t events, dink_loop_fd_fn fn,
				  void *ctx)
{
	struct dink_source *s = new_source(l, ctx);
	struct epoll_event ev = {.events = events, .data.ptr = s};

	s->fd_fn = fn;
	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		s->dead = true;
		return NULL;
	}
	s->fd = fd;
	return s;
}

void dink_source_events(struct dink_source *s, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = s};

	if (s && !s->dead && s->fd >= 0)
		(void)epoll_ctl(s->loop->epfd, EPOLL_CTL_MOD, s->fd, &ev);
}

void dink_source_remove(struct dink_source *s)
{
	if (!s || s->dead)
		return;
	/* fails harmlessly if the caller closed the fd before */
	if (s->fd >= 0)
		(void)epoll_ctl(s->loop->epfd, EPOLL_CTL_DEL, s->fd, NULL);
	s->dead = true;
}

struct dink_source *dink_loop_after(struct dink_loop *l, uint32_t ms, dink_loop_timer_fn fn,
				    void *ctx)
{
	struct dink_source *s = new_source(l, ctx);

	s->timer_fn = fn;
	s->due_ms = dink_now_ms() + ms;
	return s;
}

static void free_dead(struct dink_loop *l)
{
	struct dink_source **p = &l->sources;

	while (*p) {
		struct dink_source *s = *p;

		if (s->dead) {
			*p = s->next;
			free(s);
		} else {
			p = &s->next;
		}
	}
}

/* Milliseconds until the next timer, at most timeout_ms (-1 = none). */
static int next_timeout(const struct dink_loop *l, int timeout_ms)
{
	uint64_t now = dink_now_ms();

	for (const struct dink_source *s = l->sources; s; s = s->next) {
		uint64_t left;

		if (s->dead || !s->timer_fn)
			continue;
		left = s->due_ms > now ? s->due_ms - now : 0;
		if (timeout_ms < 0 || left < (uint64_t)timeout_ms)
			timeout_ms = left > 1000000 ? 1000000 : (int)left;
	}
	return timeout_ms;
}

static void run_timers(struct dink_loop *l)
{
	uint64_t now = dink_now_ms();

	/* new sources go to the front, so this walk sees each old one once */
	for (struct dink_source *s = l->sources; s; s = s->next) {
		if (s->dead || !s->timer_fn || s->due_ms > now)
			continue;
		s->dead = true;
		s->timer_fn(s->ctx);
	}
}

int dink_loop_once(struct dink_loop *l, int timeout_ms)
{
	struct epoll_event events[64];
	int n = epoll_wait(l->epfd, events, ARRAY_SIZE(events), next_timeout(l, timeout_ms));

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		struct dink_source *s = events[i].data.ptr;

		if (!s->dead)
			s->fd_fn(s->ctx, s->fd, events[i].events);
	}
	run_timers(l);
	free_dead(l);
	return n;
}

int dink_loop_run(struct dink_loop *l)
{
	while (!l->quit) {
		int r = dink_loop_once(l, -1);

		if (r < 0)
			return r;
	}
	l->quit = false;
	return l->value;
}

void dink_loop_quit(struct dink_loop *l, int value)
{
	l->quit = true;
	l->value = value;
}
