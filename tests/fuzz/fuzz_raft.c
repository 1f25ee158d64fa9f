/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the log of a swarm's manager, which a guest writes. Must hold: what has been read to its
 * end has the same end with more behind it; a log cut short is never more than the whole.
 */
#include "provision/step/raft.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dink_raft_end whole, part;
	int r = dink_raft_read(data, size, &whole);

	if (r != 0 && r != 1 && r != -EBADMSG)
		abort();
	/* at the exact size, so that reading beyond it is seen */
	uint8_t *half = malloc(size / 2 + 1);
	if (size > 0)
		memcpy(half, data, size / 2);
	int cut = dink_raft_read(half, size / 2, &part);
	free(half);
	if (cut < 0 && r >= 0)
		abort();
	if (cut == 1 && (r != 1 || part.term != whole.term || part.index != whole.index))
		abort();
	return 0;
}
