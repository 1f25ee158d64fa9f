/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small epoll loop for the long-lived processes: dink-vm's monitor, dink-agent, the forwarder.
 * Single thread; callbacks may add, change and remove any source, their own included.
 */
#pragma once

#include "provision/base/macro.h"

#include <stdbool.h>
#include <stdint.h>

struct dink_loop;
struct dink_source;

/* @events: EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLERR as seen */
typedef void (*dink_loop_fd_fn)(void *ctx, int fd, uint32_t events);
typedef void (*dink_loop_timer_fn)(void *ctx);

struct dink_loop *dink_loop_new(void);
void dink_loop_free(struct dink_loop *l);

/* dink_loop_add() - watch fd (not owned); NULL with errno if epoll refuses it */
struct dink_source *dink_loop_add(struct dink_loop *l, int fd, uint32_t events, dink_loop_fd_fn fn,
				  void *ctx);
void dink_source_events(struct dink_source *s, uint32_t events); /* 0 = only HUP/ERR */
void dink_source_remove(struct dink_source *s);			 /* NULL is fine */

/* dink_loop_after() - once, ms from now; remove with dink_source_remove() if no longer wanted */
struct dink_source *dink_loop_after(struct dink_loop *l, uint32_t ms, dink_loop_timer_fn fn,
				    void *ctx);

/* dink_loop_run() - until dink_loop_quit(); returns its argument */
int dink_loop_run(struct dink_loop *l);
void dink_loop_quit(struct dink_loop *l, int value);
/* dink_loop_once() - one round of waiting (ms, -1 = for ever); for callers with their own end */
int dink_loop_once(struct dink_loop *l, int timeout_ms);
