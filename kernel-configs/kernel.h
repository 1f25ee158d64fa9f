/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest kernels: features -> symbols -> .config -> build -> cache.
 *
 * Every kernel holds the standard features, so that nearly all scenarios share one; features that
 * are not standard (wireguard, hardening, ...) make another kernel.
 *
 * Cache: CACHE/kernels/KEY/{vmlinux,bzImage,config,manifest.json}; KEY = SHA-256 over the source's
 * identity, the merged config, the compiler's version and the builder's own version.
 */
#pragma once

#include "kernel-configs/kconfig.h"
#include "provision/base/err.h"
#include "provision/base/mem.h"
#include "provision/base/progress.h"

#include <stdbool.h>

struct dink_kernel_want {
	const char *source; /* "debian" (what its linux-source package depends on), "debian:6.12"
			     * (the package linux-source-6.12) or a tarball's path */
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
int dink_kernel_lookup(const struct dink_kernel_want *w, struct dink_kernel *ret,
		       struct dink_err *err) _must_check_;
/* dink_kernel_get() - from the cache or built (minutes); one builder at a time */
int dink_kernel_get(const struct dink_kernel_want *w, const struct dink_progress *p,
		    struct dink_kernel *ret, struct dink_err *err) _must_check_;
void dink_kernel_clear(struct dink_kernel *k);

/* A symbol that a feature cannot do without, and what fails if it is missing. */
struct dink_kernel_need {
	const char *symbol;
	const char *why;
	const char *since, *until; /* kernel versions that know it, NULL = all */
};
struct dink_kernel_feature {
	const char *name;
	const char *summary;		      /* also who asks, in messages */
	bool standard;			      /* part of every kernel that dink builds */
	const char *const *fragments;	      /* NULL-terminated, names without .config */
	const struct dink_kernel_need *needs; /* ended by symbol NULL */
};
const struct dink_kernel_feature *dink_kernel_feature_find(const char *name);

/* A symbol that is not what was asked for. */
struct dink_kernel_lack {
	char *symbol;
	char *wanted;  /* "y", or a value */
	char *found;   /* "y", "m", "n", a value */
	char *feature; /* who asked, the first of them */
	char *why;     /* what fails without it; the fragment's line where no need says more */
	char *unmet;   /* "depends on MODULES, which is not set"; NULL if it cannot be told */
};
struct dink_kernel_lacks {
	struct dink_kernel_lack *v;
	size_t n;
};

/*
 * dink_kernel_check() - the needs of features that a configuration does not meet
 * @kc: any .config; its version decides which needs apply
 * @features: names; "guest", what dink-vm itself needs, is always among them
 *
 * A module counts as missing: a guest loads none. Return: 0, also when something is missing.
 */
int dink_kernel_check(const struct dink_kconfig *kc, const struct dink_strv *features,
		      struct dink_kernel_lacks *ret, struct dink_err *err) _must_check_;
void dink_kernel_lacks_clear(struct dink_kernel_lacks *l);

/*
 * dink_kernel_lack_text() - the line that people read
 *
 *	CONFIG_BTRFS_FS is not set (wanted y) for btrfs: dockerd's btrfs storage driver; depends on
 *..
 */
char *dink_kernel_lack_text(const struct dink_kernel_lack *lack);

/*
 * dink_kernel_merge() - the fragments of the standard and of the named features, in table order
 * Unknown names are DINK_E_USAGE with the nearest known one.
 */
int dink_kernel_merge(const struct dink_strv *features, struct dink_kconfig *ret,
		      struct dink_err *err) _must_check_;

/*
 * dink_kernel_verify() - what `make olddefconfig` made of the merged configuration
 * @tree: the source tree, read for unmet dependencies; NULL = do not tell them
 * @ret: symbols asked for and lost; optional ones and those of other versions are no loss
 */
int dink_kernel_verify(const struct dink_kconfig *merged, const struct dink_kconfig *result,
		       const struct dink_strv *features, const char *tree,
		       struct dink_kernel_lacks *ret, struct dink_err *err) _must_check_;
