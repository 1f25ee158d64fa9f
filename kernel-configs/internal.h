/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of kernel-configs/ and their tests only. */
#pragma once

#include "kernel-configs/kernel.h"

/*
 * dink_kernel_unmet() - why a source tree does not let a symbol be set
 * @tree: the kernel's sources; its Kconfig files are searched
 * @kc: what is set
 *
 * Return: "depends on MODULES, which is not set", "is not known to this kernel", or NULL if the
 * dependencies could not be told apart; caller frees.
 */
char *dink_kernel_unmet(const char *tree, const char *symbol, const struct dink_kconfig *kc);

/*
 * dink_kernel_unmet_in() - the same for the text of one Kconfig file
 * @ret_defined: whether the symbol is defined there at all
 */
char *dink_kernel_unmet_in(const char *text, const char *symbol, const struct dink_kconfig *kc,
			   bool *ret_defined);

/* Where the sources of a kernel come from, known before anything is downloaded. */
struct dink_kernel_source {
	char *package;	/* "linux-source-6.1"; NULL for a tarball */
	char *version;	/* of the package */
	char *tarball;	/* path; NULL for debian */
	char *sha256;	/* of the tarball or of the .deb */
	char *identity; /* goes into the key */
	char *stamp;	/* state of apt's lists, if apt was asked; NULL = not */
};
int dink_kernel_source_find(const struct dink_kernel_want *w, struct dink_kernel_source *ret,
			    struct dink_err *err) _must_check_;
/*
 * dink_kernel_source_remember() - spare the next one to ask apt
 *
 * Finding alone writes nothing, for `dink plan` touches nothing. A cache that cannot be written is
 * no error.
 */
void dink_kernel_source_remember(const struct dink_kernel_source *s);
/* dink_kernel_source_unpack() - download if need be, verify, and unpack into dir */
int dink_kernel_source_unpack(const struct dink_kernel_source *s, const char *dir,
			      const struct dink_progress *p, struct dink_err *err) _must_check_;
void dink_kernel_source_clear(struct dink_kernel_source *s);

/* dink_kernel_newest() - "linux-source-6.1" of `apt-cache show linux-source`'s text; NULL if none
 */
char *dink_kernel_depends(const char *apt_show);

/* dink_kernel_key() - 64 hex digits over all inputs */
void dink_kernel_key(const char *identity, const char *merged, const char *compiler,
		     char ret_hex[65]);

/* The name of the cache's folder of kernels; caller frees. */
char *dink_kernel_cache(void);
