/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock of an instance: a file in RUN/locks, removed when it is let go.
 *
 * A record lock, not flock(): that one is shared with a child until it executes its program, so a
 * killed dink's lock would be held a moment longer by whatever it was starting.
 */
#pragma once

#include "provision/base/err.h"

#include <stdbool.h>

/* dink_instance_lock() - DINK_E_BUSY if held and not to wait for; a signal ends the wait */
int dink_instance_lock(const char *name, bool wait, int *ret_fd, struct dink_err *err) _must_check_;
void dink_instance_unlock(const char *name, int fd);
