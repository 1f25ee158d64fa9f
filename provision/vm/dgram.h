/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams over a byte stream, for the relay of name lookups between guest and host (proto.h, op
 * "dns"): u16 slot, u16 length, both little-endian, then the datagram. A slot stands for whoever
 * asked; there are DINK_DGRAM_SLOTS, taken in turn, so a late answer goes to a later asker, who
 * throws it away by the id in it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { DINK_DGRAM_SLOTS = 64, DINK_DGRAM_MAX = 4096, DINK_DGRAM_HEADER = 4 };

struct dink_dgram_buf {
	uint8_t data[DINK_DGRAM_HEADER + DINK_DGRAM_MAX];
	size_t have;
};

typedef void (*dink_dgram_fn)(void *ctx, uint16_t slot, const uint8_t *data, size_t len);

/* dink_dgram_send() - one that the socket has no room for is lost, as with UDP; 0 or -errno */
int dink_dgram_send(int fd, uint16_t slot, const uint8_t *data, size_t len);

/* dink_dgram_read() - what is there of fd; -errno if it ended or does not keep to the format */
int dink_dgram_read(struct dink_dgram_buf *b, int fd, dink_dgram_fn fn, void *ctx);
