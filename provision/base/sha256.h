/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 (FIPS 180-4) for dink-vm, which is static and carries no libcrypto: to name files, not to
 * keep secrets. dink itself uses hash.h.
 */
#pragma once

#include "provision/base/err.h"

#include <stdint.h>

struct dink_sha256 {
	uint32_t h[8];
	uint64_t bytes;
	uint8_t block[64];
};

void dink_sha256_start(struct dink_sha256 *s);
void dink_sha256_add(struct dink_sha256 *s, const void *data, size_t n);
void dink_sha256_end(struct dink_sha256 *s, char ret_hex[65]);

/* dink_sha256_of() - of a file's content */
int dink_sha256_of(const char *path, char ret_hex[65], struct dink_err *err) _must_check_;
