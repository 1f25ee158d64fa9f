/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream of relayed name lookups, as a guest may write it. Must hold: no memory error, nothing
 * handed on beyond the bounds, and the reader ends.
 */
#include "provision/vm/dgram.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(void *ctx, uint16_t slot, const uint8_t *data, size_t len)
{
	static volatile uint8_t sink;

	(void)ctx;
	if (slot >= DINK_DGRAM_SLOTS || len > DINK_DGRAM_MAX)
		abort();
	for (size_t i = 0; i < len; i++)
		sink = data[i];
	(void)sink;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dink_dgram_buf buf = {};
	int pair[2];

	if (size > 64 << 10 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	if (send(pair[0], data, size, MSG_DONTWAIT) == (ssize_t)size) {
		close(pair[0]);
		while (dink_dgram_read(&buf, pair[1], check, NULL) == 0)
			;
	} else {
		close(pair[0]);
	}
	close(pair[1]);
	return 0;
}
