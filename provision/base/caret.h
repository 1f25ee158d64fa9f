/* SPDX-License-Identifier: Apache-2.0 */
/* A source line with a caret below the place that is meant, as compilers print it. */
#pragma once

#include "provision/base/err.h"
#include "provision/base/mem.h"

/*
 * dink_caret_add() - "    SOURCE LINE\n    ^~~~\n"
 *
 * Columns count characters. Tabs stay tabs, wide and combining characters take the columns a
 * terminal gives them, control characters and broken UTF-8 become '?', and a line too long for a
 * terminal is cut to the neighbourhood of the caret. Adds nothing if there is no text or line.
 */
void dink_caret_add(struct dink_str *out, const struct dink_src *src);
