/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/engine/feed.h"

#include "provision/base/mem.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum {
	LOOK_MS = 200, /* how often a waiting thread looks whether it was interrupted */
	TAKE_MAX = 32, /* pieces handed to a reader at once */
};

struct dink_feed_block {
	atomic_uint refs;
	size_t n;
	char bytes[];
};

struct piece {
	struct dink_feed_block *block;
	size_t at, n;
};

struct reader {
	struct piece *ring;
	size_t head, count, cap; /* cap is a power of two */
	size_t bytes;		 /* queued */
	bool gone, ended;
	int error; /* why its end is no good one */
	uint64_t held_ms;
	pthread_cond_t wake;
};

struct dink_feed {
	pthread_mutex_t lock;
	pthread_cond_t room;
	size_t buffer;
	uint32_t patience_ms;
	size_t n;
	struct reader r[];
};

static void init_cond(pthread_cond_t *c)
{
	pthread_condattr_t a;

	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(c, &a);
	pthread_condattr_destroy(&a);
}

struct dink_feed *dink_feed_new(size_t readers, size_t buffer, uint32_t patience_ms)
{
	struct dink_feed *f = xcalloc(1, sizeof(*f) + readers * sizeof(f->r[0]));

	pthread_mutex_init(&f->lock, NULL);
	init_cond(&f->room);
	f->buffer = buffer;
	f->patience_ms = patience_ms;
	f->n = readers;
	for (size_t i = 0; i < readers; i++)
		init_cond(&f->r[i].wake);
	return f;
}

static void drop_pieces(struct reader *r)
{
	for (; r->count; r->count--) {
		dink_feed_block_unref(r->ring[r->head].block);
		r->head = (r->head + 1) & (r->cap - 1);
	}
	r->bytes = 0;
}

void dink_feed_free(struct dink_feed *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n; i++) {
		drop_pieces(&f->r[i]);
		free(f->r[i].ring);
		pthread_cond_destroy(&f->r[i].wake);
	}
	pthread_cond_destroy(&f->room);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

struct dink_feed_block *dink_feed_block_new(const void *bytes, size_t n)
{
	struct dink_feed_block *b = xmalloc(sizeof(*b) + n);

	atomic_init(&b->refs, 1);
	b->n = n;
	memcpy(b->bytes, bytes, n);
	return b;
}

void dink_feed_block_unref(struct dink_feed_block *b)
{
	if (b && atomic_fetch_sub(&b->refs, 1) == 1)
		free(b);
}

static void add_piece(struct reader *r, struct piece p)
{
	if (r->count == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 64;
		struct piece *ring = xreallocarray(NULL, cap, sizeof(*ring));

		for (size_t i = 0; i < r->count; i++)
			ring[i] = r->ring[(r->head + i) & (r->cap - 1)];
		free(r->ring);
		r->ring = ring;
		r->cap = cap;
		r->head = 0;
	}
	r->ring[(r->head + r->count++) & (r->cap - 1)] = p;
	r->bytes += p.n;
}

/* A short sleep under the lock; the time it took. */
static uint64_t wait_short(struct dink_feed *f, pthread_cond_t *c)
{
	struct timespec until;
	uint64_t before = dink_now_ms();

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += LOOK_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	(void)pthread_cond_timedwait(c, &f->lock, &until);
	return dink_now_ms() - before;
}

/* Whether somebody else has next to nothing left and could go on. */
static bool others_starve(const struct dink_feed *f, const struct reader *me)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct reader *r = &f->r[i];

		if (r != me && !r->gone && !r->ended && r->bytes < f->buffer / 4)
			return true;
	}
	return false;
}

int dink_feed_put(struct dink_feed *f, size_t reader, struct dink_feed_block *b, size_t at,
		  size_t n)
{
	struct reader *r = &f->r[reader];
	int ret = 0;

	pthread_mutex_lock(&f->lock);
	while (!r->gone && !r->ended && r->bytes > 0 && r->bytes + n > f->buffer) {
		bool starve = others_starve(f, r);
		uint64_t took = wait_short(f, &f->room);

		r->held_ms += starve ? took : 0;
		if (dink_interrupted()) {
			ret = -EINTR;
			break;
		}
		if (r->held_ms > f->patience_ms) {
			r->ended = true;
			r->error = ETIME;
			drop_pieces(r);
			pthread_cond_signal(&r->wake);
		}
	}
	if (ret == 0 && (r->gone || r->ended))
		ret = r->error == ETIME ? -ETIME : -EPIPE;
	if (ret == 0) {
		atomic_fetch_add(&b->refs, 1);
		add_piece(r, (struct piece){b, at, n});
		pthread_cond_signal(&r->wake);
	}
	pthread_mutex_unlock(&f->lock);
	return ret;
}

void dink_feed_end(struct dink_feed *f, size_t reader, int error)
{
	struct reader *r = &f->r[reader];

	pthread_mutex_lock(&f->lock);
	if (!r->ended) {
		r->ended = true;
		r->error = error;
		if (error)
			drop_pieces(r);
	}
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&f->lock);
}

/* Takes pieces off the queue, each with a reference to its block; the lock is held. */
static size_t take_pieces(struct reader *r, struct piece got[TAKE_MAX], size_t n)
{
	size_t k = 0;

	while (k < TAKE_MAX && n > 0 && r->count) {
		struct piece *p = &r->ring[r->head];

		got[k] = *p;
		if (p->n > n) {
			got[k].n = n;
			atomic_fetch_add(&p->block->refs, 1);
			p->at += n;
			p->n -= n;
		} else {
			r->head = (r->head + 1) & (r->cap - 1);
			r->count--;
		}
		r->bytes -= got[k].n;
		n -= got[k].n;
		k++;
	}
	return k;
}

ssize_t dink_feed_take(struct dink_feed *f, size_t reader, char *buf, size_t n)
{
	struct reader *r = &f->r[reader];
	struct piece got[TAKE_MAX];
	size_t k = 0, done = 0;
	int error = 0;

	pthread_mutex_lock(&f->lock);
	while (r->count == 0 && !r->ended && !dink_interrupted())
		(void)wait_short(f, &r->wake);
	if (r->error)
		error = r->error;
	else if (r->count == 0 && !r->ended)
		error = EINTR;
	else
		k = take_pieces(r, got, n);
	pthread_cond_signal(&f->room);
	pthread_mutex_unlock(&f->lock);
	/* the copying itself holds up nobody */
	for (size_t i = 0; i < k; i++) {
		memcpy(buf + done, got[i].block->bytes + got[i].at, got[i].n);
		done += got[i].n;
		dink_feed_block_unref(got[i].block);
	}
	return error ? -error : (ssize_t)done;
}

void dink_feed_leave(struct dink_feed *f, size_t reader)
{
	struct reader *r = &f->r[reader];

	pthread_mutex_lock(&f->lock);
	r->gone = true;
	drop_pieces(r);
	pthread_cond_signal(&f->room);
	pthread_mutex_unlock(&f->lock);
}
