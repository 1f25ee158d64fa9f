/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest kernels: features -> symbols -> .config -> build -> cache.
 *
 * Cache: CACHE/kernels/KEY/{vmlinux,bzImage,config,manifest.json}; KEY = SHA-256 over the source's
 * identity, the merged config, the compiler's version and the builder's own version.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/mem.h"
#include "provision/base/progress.h"

#include <stdbool.h>

struct dink_kernel_want {
	const char *source; /* "debian" (the newest linux-source package) or a tarball's path */
	const char *sha256; /* of the tarball, NULL for debian */
	const struct dink_strv *features; /* names in the feature table */
};
struct dink_kernel {
	char *dir;     /* cache folder */
	char *vmlinux; /* uncompressed ELF, PVH-bootable, stripped */
	char *bzimage;
	char *config;
	char *release; /* uname -r */
	char *key;
};
bool dink_kernel_feature_is_known(const char *name);
/* NULL-terminated, for suggestions and `dink kernel list` */
const char *const *dink_kernel_features(void);
/* dink_kernel_lookup() - from the cache; -ENOENT with err empty if it was not built yet */
int dink_kernel_lookup(const struct dink_kernel_want *w, struct dink_kernel *ret, struct dink_err *err)
	_must_check_;
/* dink_kernel_get() - from the cache or built (minutes); one builder at a time per key */
int dink_kernel_get(const struct dink_kernel_want *w, const struct dink_progress *p,
		    struct dink_kernel *ret, struct dink_err *err) _must_check_;
void dink_kernel_clear(struct dink_kernel *k);
