/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stream to many readers, each in a thread of its own, each with a bounded queue. The bytes are
 * held once, however many readers wait for them. A reader that ends stops nobody; one that keeps
 * the others waiting too long is taken off.
 */
#pragma once

#include "provision/base/macro.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct dink_feed;
/* @buffer: bytes that a reader may lag behind; @patience_ms: how long it may hold the others up */
struct dink_feed *dink_feed_new(size_t readers, size_t buffer, uint32_t patience_ms);
void dink_feed_free(struct dink_feed *f); /* when no reader is at it any more */

struct dink_feed_block;
struct dink_feed_block *dink_feed_block_new(const void *bytes, size_t n);
void dink_feed_block_unref(struct dink_feed_block *b);

/*
 * dink_feed_put() - a part of a block for one reader; waits for room
 * Return: 0; -EPIPE the reader is gone; -ETIME it was taken off; -EINTR
 */
int dink_feed_put(struct dink_feed *f, size_t reader, struct dink_feed_block *b, size_t at,
		  size_t n) _must_check_;
/* dink_feed_end() - nothing more comes for it; error: what it had is worth nothing (an errno) */
void dink_feed_end(struct dink_feed *f, size_t reader, int error);

/* dink_feed_take() - the reader's side: up to n bytes, 0 = the end, negative errno; waits */
ssize_t dink_feed_take(struct dink_feed *f, size_t reader, char *buf, size_t n) _must_check_;
/* dink_feed_leave() - the reader wants no more */
void dink_feed_leave(struct dink_feed *f, size_t reader);
