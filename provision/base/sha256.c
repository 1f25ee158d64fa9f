/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/base/sha256.h"

#include "provision/base/mem.h"

#include <fcntl.h>

enum { CHUNK = 256 << 10 };

static const uint32_t round_words[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
	0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
	0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
	0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
	0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
	0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
	0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
	0xc67178f2,
};

static uint32_t turn(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

static void mix(uint32_t state[8], const uint8_t *p)
{
	uint32_t w[64], v[8];

	for (int i = 0; i < 16; i++, p += 4)
		w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
	for (int i = 16; i < 64; i++) {
		uint32_t a = w[i - 15], b = w[i - 2];
		w[i] = w[i - 16] + (turn(a, 7) ^ turn(a, 18) ^ a >> 3) + w[i - 7] +
		       (turn(b, 17) ^ turn(b, 19) ^ b >> 10);
	}
	memcpy(v, state, sizeof(v));
	for (int i = 0; i < 64; i++) {
		uint32_t t1 = v[7] + (turn(v[4], 6) ^ turn(v[4], 11) ^ turn(v[4], 25)) +
			      ((v[4] & v[5]) ^ (~v[4] & v[6])) + round_words[i] + w[i];
		uint32_t t2 = (turn(v[0], 2) ^ turn(v[0], 13) ^ turn(v[0], 22)) +
			      ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
		memmove(v + 1, v, 7 * sizeof(*v));
		v[4] += t1;
		v[0] = t1 + t2;
	}
	for (int i = 0; i < 8; i++)
		state[i] += v[i];
}

void dink_sha256_start(struct dink_sha256 *s)
{
	static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
					  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

	memcpy(s->h, first, sizeof(s->h));
	s->bytes = 0;
}

void dink_sha256_add(struct dink_sha256 *s, const void *data, size_t n)
{
	const uint8_t *p = data;

	while (n > 0) {
		size_t have = s->bytes % 64, take = 64 - have < n ? 64 - have : n;

		s->bytes += take;
		n -= take;
		if (take == 64) {
			mix(s->h, p);
		} else {
			memcpy(s->block + have, p, take);
			if (have + take == 64)
				mix(s->h, s->block);
		}
		p += take;
	}
}

void dink_sha256_end(struct dink_sha256 *s, char ret_hex[65])
{
	uint64_t bits = s->bytes * 8;
	uint8_t pad[64] = {0x80}, length[8];

	for (int i = 0; i < 8; i++)
		length[i] = (uint8_t)(bits >> (56 - 8 * i));
	dink_sha256_add(s, pad, 1 + (119 - s->bytes % 64) % 64);
	dink_sha256_add(s, length, sizeof(length));
	for (int i = 0; i < 8; i++)
		snprintf(ret_hex + (size_t)i * 8, 9, "%08x", s->h[i]);
}

int dink_sha256_of(const char *path, char ret_hex[65], struct dink_err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ uint8_t *buf = xmalloc(CHUNK);
	struct dink_sha256 s;
	ssize_t n;

	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", path);
	dink_sha256_start(&s);
	while ((n = read(fd, buf, CHUNK)) > 0)
		dink_sha256_add(&s, buf, (size_t)n);
	if (n < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "read %s", path);
	dink_sha256_end(&s, ret_hex);
	return 0;
}
