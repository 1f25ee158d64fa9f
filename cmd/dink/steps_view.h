/* SPDX-License-Identifier: Apache-2.0 */
/* What people see of steps while they run, and the table of where the time went. */
#pragma once

#include "provision/step/step.h"

struct steps_view; /* opaque */

/* @quiet: nothing but failures */
struct steps_view *steps_view_new(bool quiet);
void steps_view_free(struct steps_view *v);
DEFINE_CLEANUP_PTR(struct steps_view, steps_view_free);
const struct dink_step_watch *steps_view_watch(struct steps_view *v);
/* steps_view_end() - the live line, if there is one, goes away */
void steps_view_end(struct steps_view *v);
/* steps_view_timings() - step by step, longest share visible; to stdout */
void steps_view_timings(const struct steps_view *v);
struct json_object *steps_view_to_json(const struct steps_view *v);
