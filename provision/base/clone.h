/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of great sparse files: shared blocks where the file system can, else only what is data. */
#pragma once

#include "provision/base/err.h"

/*
 * dink_clone_fd() - all of in to the empty file out (both regular files, positions do not matter)
 * @what: names it in errors
 */
int dink_clone_fd(int in, int out, const char *what, struct dink_err *err) _must_check_;
