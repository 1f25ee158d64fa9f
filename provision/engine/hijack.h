/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that stop being HTTP: exec and attach. For the other files of this module. */
#pragma once

#include "provision/engine/engine.h"

enum { DINK_HEAD_MAX = 16 << 10 };

/* The head of an HTTP/1.1 answer. */
struct dink_http_head {
	size_t size; /* bytes, the empty line included */
	long status;
	int64_t content_length; /* -1 = not said */
	bool chunked;
};

/* dink_http_head_parse() - 1 parsed, 0 more bytes are needed, -EPROTO no HTTP (or over the bound)
 */
int dink_http_head_parse(const char *bytes, size_t n, struct dink_http_head *ret);

/*
 * dink_hijack() - POST with "Upgrade: tcp"; on 101 or 200 the connection is the stream
 * @body: JSON text, NULL = none
 * @ret_early: stream bytes that came with the head; owned by the caller
 */
int dink_hijack(struct dink_engine *e, const char *path, const char *body, int *ret_fd,
		struct dink_str *ret_early, struct dink_err *err) _must_check_;

/* One hijacked stream against our descriptors, until the engine ends it. */
struct dink_stream {
	int sock;		/* made non-blocking */
	struct dink_str *early; /* consumed first */
	bool raw;		/* a tty: no frames */
	int in, out, errfd;	/* -1 = none; no fd of ours is made non-blocking: others share it */
	/*
	 * Output that begins with one of `refusals` (NULL-terminated) may be the engine's and not
	 * the command's: it is kept from our descriptors, in `refused`, for the caller to look at.
	 * NULL = pass everything.
	 */
	const char *const *refusals;
	struct dink_str *refused;
	struct dink_str *capture; /* instead of out and errfd */
	size_t capture_max;
	int winch_fd;
	void (*on_winch)(void *ctx);
	/* a signal was caught; 0 goes on, negative ends the relay with it */
	int (*on_interrupt)(void *ctx, int sig);
	/* called every tick_ms from the start until it returns false; NULL = never */
	bool (*on_tick)(void *ctx);
	int tick_ms;
	uint64_t deadline_ms; /* of dink_now_ms(): -ETIMEDOUT without an error's text; 0 = none */
	void *ctx;
};
/* dink_stream_run() - 0 at the stream's end; -EPIPE: nobody reads our output any more */
int dink_stream_run(struct dink_stream *s, struct dink_err *err) _must_check_;
