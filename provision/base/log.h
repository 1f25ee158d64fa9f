/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debug words on stderr, chosen by DINK_DEBUG=module[,module...]|all. Programs print their own
 * results and errors; libraries only debug.
 */
#pragma once

#include "provision/base/macro.h"

#include <stdbool.h>

bool dink_debug_on(const char *module);
void dink_debug(const char *module, const char *fmt, ...) _printf_(2, 3);
