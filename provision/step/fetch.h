/* SPDX-License-Identifier: Apache-2.0 */
/* Files from elsewhere, by URL and digest, kept in the cache. */
#pragma once

#include "provision/base/err.h"
#include "provision/base/progress.h"

/*
 * dink_fetch() - the file in the cache that has this digest; fetched if it is not there
 * @url: http:, https: or file:
 * @sha256: 64 hexadecimal digits; anything else that comes is refused and not kept
 * @ret_path: caller frees
 */
int dink_fetch(const char *url, const char *sha256, const struct dink_progress *progress,
	       char **ret_path, struct dink_err *err) _must_check_;
/* dink_fetch_differs() - the error of a file that is not the one with that digest */
int dink_fetch_differs(const char *what, const char *is, const char *wanted, struct dink_err *err);
