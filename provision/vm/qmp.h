/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QMP: the greeting, commands in order, events. Input: QEMU's stream, one JSON object a line,
 * bounded (a guest can make QEMU emit events). Lives in a dink_loop.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/json.h"
#include "provision/base/loop.h"

enum { DINK_QMP_LINE_MAX = 1 << 20, DINK_QMP_PENDING_MAX = 64 };

struct dink_qmp;

/* result is NULL when QEMU refused (error says why) or is gone */
typedef void (*dink_qmp_reply_fn)(void *ctx, struct json_object *result, const char *error);

struct dink_qmp_ops {
	void (*on_ready)(void *ctx); /* capabilities were negotiated */
	void (*on_event)(void *ctx, const char *name, struct json_object *data);
	void (*on_closed)(void *ctx, const char *why);
};

/* @fd: connected, owned; ops may have NULL members */
struct dink_qmp *dink_qmp_new(struct dink_loop *loop, int fd, const struct dink_qmp_ops *ops,
			      void *ctx);
void dink_qmp_free(struct dink_qmp *q);

/* dink_qmp_send() - @args taken, may be NULL; reply may be NULL; -EBUSY when too many wait */
int dink_qmp_send(struct dink_qmp *q, const char *command, struct json_object *args,
		  dink_qmp_reply_fn reply, void *ctx);

/* dink_qmp_send_fd() - the same with a descriptor beside it (getfd); not taken */
int dink_qmp_send_fd(struct dink_qmp *q, const char *command, struct json_object *args, int fd,
		     dink_qmp_reply_fn reply, void *ctx);

/* dink_qmp_feed() - bytes as QEMU sent them (also what the fuzzer calls); 0 or -errno */
int dink_qmp_feed(struct dink_qmp *q, const char *bytes, size_t n);
