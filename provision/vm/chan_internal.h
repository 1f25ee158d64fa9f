/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared between chan.c (framing, queue, requests) and chan_stream.c (streams, credit).
 *
 * Invariants:
 *  - a direction of a stream ends with exactly one EOF frame by its sender; RESET asks for it;
 *  - data is read from a local descriptor only while the peer gave credit and the queue is short,
 *    so the queue holds at most CHAN_QUEUE_HIGH + one frame of data, plus messages;
 *  - credit is turned into frames only while the queue is short: a peer that sends and never
 *    reads makes nothing grow.
 */
#pragma once

#include "provision/vm/chan.h"
#include "provision/vm/frame.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	CHAN_QUEUE_HIGH = 4 * DINK_DATA_MAX,
	/* a virtio port takes 32 KiB at a time: two writes with the header, not two and a bit */
	CHAN_READ_MAX = DINK_DATA_MAX - DINK_FRAME_HEADER,
	CHAN_CREDIT_STEP = DINK_WINDOW / 4,
	CHAN_HASH = 256,
	/* what a guest that does not read, or does not answer, may make the host keep */
	CHAN_UNREAD_MAX = 16 << 20,
	CHAN_UNANSWERED_MAX = 4096,
	CHAN_PARTS_MAX = 128 << 10, /* of a message of the guest's: each takes some 100 bytes */
};

/* Bytes that wait: [head, len) of data. */
struct chan_buf {
	uint8_t *data;
	size_t head;
	size_t len;
	size_t cap;
};

struct chan_stream {
	struct dink_chan *c;
	struct chan_stream *prev, *next; /* all streams, the one that sent last at the tail */
	struct chan_stream *hash_next;
	uint32_t id;
	bool tied;
	bool same; /* in_fd and out_fd are one socket: EOF is shutdown() */

	/* peer -> in_fd */
	int in_fd;
	struct dink_source *in_src;
	struct chan_buf buf;
	uint32_t recv_credit; /* bytes the peer may still send */
	uint32_t credit_due;  /* bytes written onward, not yet told */
	bool in_eof;	      /* the peer sent EOF */
	bool in_broken;	      /* we sent RESET: what still comes is dropped */

	/* out_fd -> peer */
	int out_fd;
	struct dink_source *out_src;
	bool out_pumped; /* epoll refuses it: read in turns of the loop */
	uint32_t send_credit;
	bool out_eof;	 /* EOF was queued */
	bool out_broken; /* the peer sent RESET */

	struct dink_source *quiet; /* dink_chan_stream_drain() */
	uint32_t quiet_ms;
	bool quiet_seen; /* data came since the timer was set */

	void (*on_done)(void *ctx, uint32_t id);
	void *ctx;
};

struct chan_request {
	struct chan_request *next;
	uint32_t id;
	dink_chan_reply_fn reply;
	void *ctx;
};

struct dink_chan {
	struct dink_loop *loop;
	int fd;
	bool host;
	const struct dink_chan_ops *ops;
	void *ctx;
	struct dink_source *src;
	struct dink_source *pump;  /* one turn for a stream that epoll refuses */
	struct dink_source *death; /* on_closed is called from here, never inside a caller */
	uint32_t armed;		   /* epoll events of src */
	char why[160];
	bool dead;
	bool freed;
	int depth; /* callbacks running: free() waits for them */
	uint32_t next_id;
	struct chan_buf in;
	struct chan_buf out;
	struct chan_request *requests;
	size_t n_requests;
	struct chan_stream *first, *last;
	struct chan_stream *hash[CHAN_HASH];
	size_t n_streams;
	bool credit_waits; /* some stream's credit_due is worth a frame */
	bool stalled;	   /* some stream stopped reading because the queue was full */
	bool muted;	   /* dink_chan_mute(): streams are not read */
	bool held;	   /* dink_chan_hold(): hold_left bytes of the queue may still go */
	size_t hold_left;
};

/* chan.c */
void chan_break(struct dink_chan *c, const char *fmt, ...) _printf_(2, 3);
uint8_t *chan_buf_room(struct chan_buf *b, size_t n); /* n bytes of room at the end */
void chan_buf_clear(struct chan_buf *b);
static inline size_t chan_buf_used(const struct chan_buf *b)
{
	return b->len - b->head;
}
void chan_put(struct dink_chan *c, uint8_t type, uint32_t id, const void *payload, uint32_t len);
void chan_flush(struct dink_chan *c);
void chan_enter(struct dink_chan *c);
void chan_leave(struct dink_chan *c); /* may free c */
static inline bool chan_is_full(const struct dink_chan *c)
{
	return c->dead || c->muted || chan_buf_used(&c->out) >= CHAN_QUEUE_HIGH;
}

/* chan_stream.c */
void chan_streams_take(struct dink_chan *c, const struct dink_frame *f, const uint8_t *payload);
void chan_streams_resume(struct dink_chan *c); /* the queue has room again */
void chan_streams_stop(struct dink_chan *c);   /* the channel died: close all, call on_done */
void chan_streams_free(struct dink_chan *c);
void chan_streams_export(struct dink_chan *c, struct json_object *ret); /* an array */
int chan_streams_import(struct dink_chan *c, struct json_object *list, struct dink_err *err);
