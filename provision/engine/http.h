/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP exchange with an engine; for the other files of this module. */
#pragma once

#include "provision/engine/engine.h"

enum {
	DINK_HTTP_TIMEOUT_MS = 300000, /* nothing at all happens for so long: the daemon is gone */
	DINK_HTTP_ERROR_MAX = 64 << 10,
};

struct dink_http {
	const char *method; /* GET, HEAD, PUT, POST, DELETE */
	const char *path;
	/* what is sent: body (text, with its type), or all of fd until EOF, or nothing */
	const char *body;
	const char *content_type; /* NULL: application/json */
	int fd;			  /* -1 = none */
	/*
	 * or what this gives: up to n bytes into buf, 0 = the end; it may wait. Negative: the exchange
	 * is cut off, so that the engine sees no whole body; `err` may be set.
	 */
	ssize_t (*give)(void *ctx, char *buf, size_t n, struct dink_err *err);
	void *give_ctx;
	/* what a good answer's body goes to; a negative errno ends the exchange, `err` then set */
	int (*sink)(void *ctx, const char *bytes, size_t n, struct dink_err *err);
	void *ctx;
	const char *want_header; /* keep this header of the answer */
	uint32_t timeout_ms;	 /* without a byte either way; 0 = DINK_HTTP_TIMEOUT_MS */
	bool no_timeout;	 /* a follow, a wait: as long as it takes */
	/* results */
	long status;  /* 0 where none came */
	char *header; /* value of want_header, NULL = not there; caller frees */
};
#define DINK_HTTP_INIT                                                                             \
	{                                                                                          \
		.fd = -1                                                                           \
	}

/*
 * dink_http_run() - a status of 400 and above is DINK_E_CHILD with the daemon's message and an
 * errno that callers can use: ENOENT 404, EEXIST 409, EINVAL 400, EACCES 401 and 403, else
 * EREMOTEIO
 */
int dink_http_run(struct dink_engine *e, struct dink_http *h, struct dink_err *err) _must_check_;

/* dink_http_refused() - the error for such a status; also for hijacked connections */
int dink_http_refused(const char *method, const char *path, long status, const char *body,
		      size_t len, struct dink_err *err);

/* dink_engine_dial() - a raw connection to the engine's socket */
int dink_engine_dial(const struct dink_engine *e, int *ret_fd, struct dink_err *err) _must_check_;
/* where the engine is; borrowed */
const struct dink_place *dink_engine_place(const struct dink_engine *e);
/* dink_url_escape() - one path segment or query value; caller frees */
char *dink_url_escape(const char *s) _must_check_;
