/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's multiplexed stream: frames of {type, 0, 0, 0, length (big-endian u32)} and payload;
 * type 1 is stdout, 2 stderr, 0 stdin (as written by some daemons: treated as stdout), 3 an error
 * of the daemon itself. Fed with any slicing of the bytes; keeps no payload, only the place in it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct dink_mux {
	uint8_t header[8];
	size_t have;   /* bytes of the header so far */
	uint32_t left; /* payload bytes to come */
};

/* @stream: 1 stdout, 2 stderr, 3 daemon error. A negative return ends dink_mux_feed() with it. */
typedef int (*dink_mux_fn)(void *ctx, int stream, const char *bytes, size_t n);

/* dink_mux_feed() - 0; -EPROTO where the bytes are no such stream; what fn returned */
int dink_mux_feed(struct dink_mux *m, const char *bytes, size_t n, dink_mux_fn fn, void *ctx);

/* dink_mux_is_whole() - whether the stream may end here */
static inline int dink_mux_is_whole(const struct dink_mux *m)
{
	return m->have == 0 && m->left == 0;
}
