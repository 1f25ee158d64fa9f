/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 by libcrypto: cache keys and digests. Not linked into dink-vm or dink-agent. */
#pragma once

#include "provision/base/err.h"

struct dink_hash; /* opaque */

struct dink_hash *dink_hash_new(void);
void dink_hash_add(struct dink_hash *h, const void *bytes, size_t n);
/* dink_hash_adds() - a string and its NUL, so that ("ab","c") and ("a","bc") differ */
void dink_hash_adds(struct dink_hash *h, const char *s);
int dink_hash_add_file(struct dink_hash *h, const char *path, struct dink_err *err) _must_check_;
/* dink_hash_end() - 64 hex digits and NUL; h is freed */
void dink_hash_end(struct dink_hash *h, char ret_hex[65]);
void dink_hash_free(struct dink_hash *h);
int dink_sha256_file(const char *path, char ret_hex[65], struct dink_err *err) _must_check_;
