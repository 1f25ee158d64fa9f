/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A limit for calls of a library that waits for its own child processes and cannot be told to stop:
 * past it, or when the user wants to end, the children are killed, and the library sees its peer gone.
 */
#pragma once

#include "provision/base/err.h"

#include <stdint.h>

struct dink_watch;

/* dink_watch_start() - by the thread that is to call the library; without a limit so far */
int dink_watch_start(struct dink_watch **ret, struct dink_err *err) _must_check_;
/* dink_watch_limit() - the children may live so long from now on; 0 = as long as they like */
void dink_watch_limit(struct dink_watch *w, uint32_t seconds);
/* dink_watch_expired() - the limit that they were killed for, 0 = none */
uint32_t dink_watch_expired(struct dink_watch *w);
void dink_watch_free(struct dink_watch *w);
