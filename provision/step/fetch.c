/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files from elsewhere. A server is not to be trusted: what it sends is bounded in size and in time,
 * lies in the cache under a name of its own until its digest is right, and is removed otherwise. The
 * finished file is called by its digest, which is looked at again at each use (file.c).
 */
#include "provision/step/fetch.h"

#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/hash.h"
#include "provision/base/proc.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <sys/stat.h>

enum {
	REDIRECTS_MAX = 5,
	CONNECT_S = 30,
	SLOW_BYTES_S = 1000, /* slower than this for so long is no answer */
	SLOW_S = 60,
};
#define SIZE_MAX_BYTES (4LL << 30)

struct fetch {
	int fd;
	uint64_t bytes;
	const char *what;
	const struct dink_progress *progress;
	struct dink_hash *hash;
	int failed; /* -errno of writing, -EFBIG */
	char words[CURL_ERROR_SIZE];
};

static size_t take_bytes(char *bytes, size_t one, size_t n, void *ctx)
{
	struct fetch *f = ctx;

	n *= one;
	f->bytes += n;
	f->failed = f->bytes > SIZE_MAX_BYTES ? -EFBIG : dink_fd_write_all(f->fd, bytes, n);
	dink_hash_add(f->hash, bytes, n);
	return f->failed < 0 ? 0 : n;
}

static int tell_progress(void *ctx, curl_off_t total, curl_off_t now, curl_off_t up_total,
			 curl_off_t up_now)
{
	struct fetch *f = ctx;

	(void)up_total;
	(void)up_now;
	dink_progress(f->progress, f->what, (uint64_t)now, total > 0 ? (uint64_t)total : 0);
	return dink_interrupted() != 0;
}

static void set_options(CURL *c, struct fetch *f, const char *url)
{
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, f->words);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https,file");
	curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
	curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "dink");
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, (long)SLOW_BYTES_S);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)SLOW_S);
	curl_easy_setopt(c, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)SIZE_MAX_BYTES);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_bytes);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, f);
	curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, tell_progress);
	curl_easy_setopt(c, CURLOPT_XFERINFODATA, f);
}

static int transfer(struct fetch *f, const char *url, struct dink_err *err)
{
	CURL *c = curl_easy_init();
	CURLcode code;

	if (!c)
		return dink_err_set(err, DINK_E_BUG, ENOMEM, "curl_easy_init");
	set_options(c, f, url);
	code = curl_easy_perform(c);
	curl_easy_cleanup(c);
	if (code == CURLE_OK)
		return 0;
	if (dink_interrupted())
		return dink_err_set(err, DINK_E_INTR, EINTR, "fetch %s", url);
	if (f->failed < 0 && f->failed != -EFBIG)
		return dink_err_set(err, DINK_E_HOST, f->failed, "write what comes from %s", url);
	dink_err_set(err, DINK_E_CHILD, 0, "fetch %s: %s", url,
		     f->failed == -EFBIG ? "it is larger than 4 GiB"
		     : f->words[0]	 ? f->words
					 : curl_easy_strerror(code));
	return dink_err_hint(err, "fetch it by other means and name the file: source: /PATH");
}

int dink_fetch_differs(const char *what, const char *is, const char *wanted, struct dink_err *err)
{
	dink_err_set(err, DINK_E_CHILD, 0, "%s is not the file that the scenario names", what);
	return dink_err_hint(err, "its sha256 is  %s\n        wanted is     %s", is, wanted);
}

/* Into the temporary file of that name, and then called by its digest. */
static int fetch_into(struct fetch *f, const char *tmp, const char *path, const char *url,
		      const char *sha256, struct dink_err *err)
{
	char hex[65];
	int r;

	f->hash = dink_hash_new();
	r = transfer(f, url, err);
	dink_hash_end(f->hash, hex);
	if (r < 0)
		return r;
	if (!STREQ(hex, sha256))
		return dink_fetch_differs(url, hex, sha256, err);
	if (fchmod(f->fd, 0444) < 0 || fsync(f->fd) < 0 || rename(tmp, path) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "keep %s", path);
	return 0;
}

int dink_fetch(const char *url, const char *sha256, const struct dink_progress *progress,
	       char **ret_path, struct dink_err *err)
{
	_cleanup_free_ char *dir = xasprintf("%s/files", dink_cache_dir());
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, sha256);
	_cleanup_free_ char *tmp = xasprintf("%s/.fetching.XXXXXX", dir);
	_cleanup_free_ char *what = xasprintf("fetching %s", strrchr(url, '/') + 1);
	_cleanup_close_ int fd = -1;
	struct fetch f = {.what = what, .progress = progress};
	int r = 0;

	if (!dink_exists(path)) {
		r = dink_mkdir_p(dir, 0755, err);
		if (r < 0)
			return r;
		f.fd = fd = mkostemp(tmp, O_CLOEXEC);
		if (fd < 0)
			return dink_err_set(err, DINK_E_HOST, errno, "make a file in %s", dir);
		r = fetch_into(&f, tmp, path, url, sha256, err);
		if (r < 0)
			(void)unlink(tmp);
	}
	if (r == 0)
		*ret_path = TAKE_PTR(path);
	return r;
}
