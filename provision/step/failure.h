/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error that the last `up` of an instance ended with, kept in STATE/failures/NAME.json after its
 * undoing has removed everything else: `dink explain NAME` reads it. A run that succeeds, and `down`,
 * remove it.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/json.h"

/* dink_failure_save() - best effort: the error itself is what matters to the caller */
void dink_failure_save(const char *instance, const struct dink_err *failure);
/* dink_failure_load() - dink_err_to_json() with "time" (seconds since 1970); NULL if there is none */
struct json_object *dink_failure_load(const char *instance);
void dink_failure_forget(const char *instance);
