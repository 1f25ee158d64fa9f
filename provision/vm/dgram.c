/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/vm/dgram.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int dink_dgram_send(int fd, uint16_t slot, const uint8_t *data, size_t len)
{
	uint8_t out[DINK_DGRAM_HEADER + DINK_DGRAM_MAX];

	if (len > DINK_DGRAM_MAX)
		return 0;
	out[0] = slot & 0xff;
	out[1] = (uint8_t)(slot >> 8);
	out[2] = len & 0xff;
	out[3] = (uint8_t)(len >> 8);
	memcpy(out + DINK_DGRAM_HEADER, data, len);
	ssize_t n = send(fd, out, DINK_DGRAM_HEADER + len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	/* half a datagram would make nonsense of all that follow */
	return (size_t)n == DINK_DGRAM_HEADER + len ? 0 : -EPIPE;
}

/* take_whole() - hand on what is complete; -EPROTO if there can be no such datagram */
static int take_whole(struct dink_dgram_buf *b, dink_dgram_fn fn, void *ctx)
{
	while (b->have >= DINK_DGRAM_HEADER) {
		uint16_t slot = (uint16_t)(b->data[0] | b->data[1] << 8);
		size_t len = (size_t)(b->data[2] | b->data[3] << 8);
		size_t whole = DINK_DGRAM_HEADER + len;

		if (len > DINK_DGRAM_MAX || slot >= DINK_DGRAM_SLOTS)
			return -EPROTO;
		if (b->have < whole)
			return 0;
		fn(ctx, slot, b->data + DINK_DGRAM_HEADER, len);
		b->have -= whole;
		memmove(b->data, b->data + whole, b->have);
	}
	return 0;
}

int dink_dgram_read(struct dink_dgram_buf *b, int fd, dink_dgram_fn fn, void *ctx)
{
	/* never full here: a whole one was taken out of it */
	ssize_t n = recv(fd, b->data + b->have, sizeof(b->data) - b->have, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	b->have += (size_t)n;
	return take_whole(b, fn, ctx);
}
