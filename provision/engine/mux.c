/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/engine/mux.h"

#include "provision/base/macro.h"

int dink_mux_feed(struct dink_mux *m, const char *bytes, size_t n, dink_mux_fn fn, void *ctx)
{
	while (n > 0) {
		size_t take;

		if (m->left == 0) {
			const uint8_t *h = m->header;

			m->header[m->have++] = (uint8_t)*bytes++;
			n--;
			if (m->have < sizeof(m->header))
				continue;
			if (h[0] > 3 || h[1] || h[2] || h[3])
				return -EPROTO;
			m->left = (uint32_t)h[4] << 24 | (uint32_t)h[5] << 16 |
				  (uint32_t)h[6] << 8 | h[7];
			m->have = 0;
			continue;
		}
		take = n < m->left ? n : m->left;
		m->left -= (uint32_t)take;
		if (fn) {
			int r = fn(ctx, m->header[0] == 0 ? 1 : m->header[0], bytes, take);

			if (r < 0)
				return r;
		}
		bytes += take;
		n -= take;
	}
	return 0;
}
