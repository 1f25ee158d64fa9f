/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a channel frame (proto.h): pure encoding and checking, no I/O.
 */
#pragma once

#include "provision/vm/proto.h"

#include <stdbool.h>
#include <stddef.h>

struct dink_frame {
	uint32_t len; /* payload bytes after the header */
	uint32_t id;
	uint8_t type; /* enum dink_frame_type */
};

/* dink_frame_put() - write DINK_FRAME_HEADER bytes */
void dink_frame_put(uint8_t *buf, uint8_t type, uint32_t id, uint32_t len);

/*
 * dink_frame_get() - read and check DINK_FRAME_HEADER bytes
 * @from_host: which side sent it; a guest sends no requests, a host no responses and events
 * @ret_why: words for what is wrong, static
 * Return: false when no honest peer sends such a header
 */
bool dink_frame_get(const uint8_t *buf, bool from_host, struct dink_frame *ret,
		    const char **ret_why);

/* Little-endian words, for credits. */
void dink_put_u32(uint8_t *buf, uint32_t v);
uint32_t dink_get_u32(const uint8_t *buf);
