/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of great sparse files: shared blocks where the file system can, else only what is data. */
#pragma once

#include "provision/base/err.h"
#include "provision/base/progress.h"

/*
 * dink_clone_fd() - all of in to the empty file out (both regular files, positions do not matter)
 * @what: names it in errors
 * @progress: may be NULL; bytes of data. DINK_E_INTR at a signal that is caught (proc.h)
 */
int dink_clone_fd(int in, int out, const char *what, const struct dink_progress *progress,
		  struct dink_err *err) _must_check_;
/*
 * dink_clone_fd_flushing() - for a file that is synced afterwards: what is copied goes out at once, and
 * zeros become holes
 */
int dink_clone_fd_flushing(int in, int out, const char *what, const struct dink_progress *progress,
			   struct dink_err *err) _must_check_;
