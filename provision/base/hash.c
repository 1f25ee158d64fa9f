/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/base/hash.h"

#include "provision/base/mem.h"

#include <fcntl.h>
#include <openssl/evp.h>

struct dink_hash {
	EVP_MD_CTX *md;
};

struct dink_hash *dink_hash_new(void)
{
	struct dink_hash *h = xcalloc(1, sizeof(*h));

	h->md = EVP_MD_CTX_new();
	if (!h->md || !EVP_DigestInit_ex(h->md, EVP_sha256(), NULL))
		abort();
	return h;
}

void dink_hash_add(struct dink_hash *h, const void *bytes, size_t n)
{
	if (!EVP_DigestUpdate(h->md, bytes, n))
		abort();
}

void dink_hash_adds(struct dink_hash *h, const char *s)
{
	dink_hash_add(h, s, strlen(s) + 1);
}

int dink_hash_add_file(struct dink_hash *h, const char *path, struct dink_err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *buf = NULL;
	const size_t size = 1 << 18;

	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", path);
	buf = xmalloc(size);
	for (;;) {
		ssize_t n = read(fd, buf, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return dink_err_set(err, DINK_E_HOST, errno, "read %s", path);
		if (n == 0)
			return 0;
		dink_hash_add(h, buf, (size_t)n);
	}
}

void dink_hash_end(struct dink_hash *h, char ret_hex[65])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned int n = 0;

	if (!EVP_DigestFinal_ex(h->md, sum, &n) || n != 32)
		abort();
	for (unsigned int i = 0; i < n; i++) {
		ret_hex[2 * i] = digits[sum[i] >> 4];
		ret_hex[2 * i + 1] = digits[sum[i] & 15];
	}
	ret_hex[64] = '\0';
	dink_hash_free(h);
}

void dink_hash_free(struct dink_hash *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->md);
	free(h);
}

int dink_sha256_file(const char *path, char ret_hex[65], struct dink_err *err)
{
	struct dink_hash *h = dink_hash_new();
	int r = dink_hash_add_file(h, path, err);

	if (r < 0) {
		dink_hash_free(h);
		return r;
	}
	dink_hash_end(h, ret_hex);
	return 0;
}
