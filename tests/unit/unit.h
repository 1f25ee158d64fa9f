/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka with its prerequisites, and a temporary folder as a fixture (*state is its path). */
#pragma once

#include "provision/base/err.h"
#include "provision/base/file.h"
#include "provision/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static inline int unit_tmpdir(void **state)
{
	char *dir = xstrdup("/tmp/dink-unit-XXXXXX");

	if (!mkdtemp(dir)) {
		free(dir);
		return -1;
	}
	*state = dir;
	return 0;
}

static inline int unit_rmdir(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	int r = dink_rm_rf(*state, &err);

	free(*state);
	return r;
}
