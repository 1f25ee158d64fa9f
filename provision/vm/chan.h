/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of the guest channel (proto.h): framing, requests, streams with flow control. The same
 * code runs in the monitor and in the agent; only hello and who may send requests differ.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/json.h"
#include "provision/base/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct dink_chan;

struct dink_chan_ops {
	/* a request (agent side); answer with dink_chan_respond(), now or later */
	void (*on_request)(void *ctx, uint32_t id, struct json_object *msg);
	/* an event (host side) */
	void (*on_event)(void *ctx, struct json_object *msg);
	/*
	 * the peer is gone or broke the protocol; the channel is dead, free it from here or later.
	 * Called from the loop, after all pending replies (with NULL) and on_dones.
	 */
	void (*on_closed)(void *ctx, const char *why);
};

typedef void (*dink_chan_reply_fn)(void *ctx, struct json_object *msg);

/* @fd: non-blocking, owned by the channel */
struct dink_chan *dink_chan_new(struct dink_loop *loop, int fd, bool host,
				const struct dink_chan_ops *ops, void *ctx);
void dink_chan_free(struct dink_chan *c); /* from any callback, too; pending replies get NULL */

/* dink_chan_request() - takes msg; reply is called once, with NULL if the channel dies first */
void dink_chan_request(struct dink_chan *c, struct json_object *msg, dink_chan_reply_fn reply,
		       void *ctx);
void dink_chan_respond(struct dink_chan *c, uint32_t id, struct json_object *msg); /* takes msg */
void dink_chan_event(struct dink_chan *c, struct json_object *msg);		   /* takes msg */

/* dink_chan_new_stream() - an id nobody used yet (host side); 0 when there are too many streams */
uint32_t dink_chan_new_stream(struct dink_chan *c);

/*
 * dink_chan_stream() - tie a stream's directions to descriptors
 * @in_fd: peer's data is written there (-1 = discarded); @out_fd: read and sent (-1 = EOF at once).
 * The same fd twice for a socket: EOF then is shutdown(). The fds are made non-blocking and owned;
 * regular files work too (epoll refuses them: then they are read in turns of the loop).
 * on_done (may be NULL) is called once, when both directions ended here: all of the peer's data
 * was written to in_fd (or in_fd broke) and EOF was queued for out_fd's. A stream without in_fd
 * ends with its out_fd. It may be called before dink_chan_stream() returns.
 *
 * Host side: the id comes from dink_chan_new_stream(); tie it before or after the request that
 * names it, what arrives meanwhile is kept. If the request fails: dink_chan_stream_reset().
 * Guest side: a stream named by a request is always tied, with -1, -1 if the request fails.
 * SIGPIPE must be ignored by the program.
 */
void dink_chan_stream(struct dink_chan *c, uint32_t id, int in_fd, int out_fd,
		      void (*on_done)(void *ctx, uint32_t id), void *ctx);
/*
 * dink_chan_stream_expect() - guest side: keep what arrives for a stream that is tied later (once
 * a process has its terminal), which must then happen
 */
void dink_chan_stream_expect(struct dink_chan *c, uint32_t id);
/* dink_chan_stream_reset() - close both directions now; on_done is not called */
void dink_chan_stream_reset(struct dink_chan *c, uint32_t id);
/*
 * dink_chan_stream_drain() - the program behind it is gone: drop what comes in, and end out_fd
 * (with EOF and on_done) at its end, or once it was silent for quiet_ms, since a daemonised
 * grandchild may hold it open for ever
 */
void dink_chan_stream_drain(struct dink_chan *c, uint32_t id, uint32_t quiet_ms);
/* dink_chan_idle() - no frame waits to be written and no stream has unread local output */
bool dink_chan_idle(struct dink_chan *c);

/*
 * Silence around a checkpoint, so that no frame is under way while the guest stands still:
 * dink_chan_mute() - streams are read no more, messages still go
 * dink_chan_hold() - mute; what is queued now is the last that is sent until dink_chan_release()
 * Both sides mute, the host sends a request and holds, the guest answers and holds. When the host
 * has that answer, both directions are empty.
 */
void dink_chan_mute(struct dink_chan *c);
void dink_chan_hold(struct dink_chan *c);
void dink_chan_release(struct dink_chan *c);
bool dink_chan_waiting(const struct dink_chan *c); /* a request has no answer yet */
/*
 * dink_chan_export() - host side, while held: {"next_id":N,"streams":[..]}
 * dink_chan_import() - into a new channel, before anything else; then streams are tied as usual,
 * and dink_chan_drop_untied() ends those nobody wants
 */
struct json_object *dink_chan_export(struct dink_chan *c);
int dink_chan_import(struct dink_chan *c, struct json_object *state,
		     struct dink_err *err) _must_check_;
void dink_chan_drop_untied(struct dink_chan *c);
