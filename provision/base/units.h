/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes ("10GiB", "512M", "4096") and durations ("30s", "2m") as people write them. */
#pragma once

#include "provision/base/macro.h"

#include <stdint.h>

/*
 * dink_parse_size() - "10GiB", "10G", "512MiB", "100k", "4096" (bytes); powers of 1024
 * Return: 0, -EINVAL (no size), -ERANGE (over 2^63-1)
 */
int dink_parse_size(const char *text, uint64_t *ret_bytes);

/* dink_parse_duration() - "500ms", "30s", "2m", "1h"; a bare number is seconds */
int dink_parse_duration(const char *text, uint64_t *ret_ms);

/* dink_format_size() - "10 GiB", "1.5 MiB", "512 B"; caller frees */
char *dink_format_size(uint64_t bytes);

/* dink_now_ms() - CLOCK_MONOTONIC in milliseconds */
uint64_t dink_now_ms(void);
