/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel configurations as text: our fragments and anybody's .config.
 *
 * A fragment is a .config with directives that bind to the line after them:
 *
 *	#: since 6.17      the symbol exists from this version on
 *	#: until 6.9       the symbol exists up to this version, itself included
 *	#: optional        if it is lost, only time or comfort is lost
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/mem.h"

#include <stdbool.h>
#include <stdint.h>

/* Enough for the largest distribution's .config several times over. */
enum { DINK_KCONFIG_MAX = 4 << 20 };

struct dink_kconfig_line {
	char *symbol; /* without CONFIG_ */
	char *value;  /* "y", "m", "n" (is not set), a number, or a string with its quotes */
	char *file;   /* where it was said */
	uint32_t line;
	uint32_t since, until; /* dink_kernel_version(); 0 = no limit */
	bool optional;
};

struct dink_kconfig {
	struct dink_kconfig_line *lines; /* in order of first appearance after a merge */
	size_t n, cap;
	uint32_t version; /* of "# Linux/x86 6.1.192 Kernel Configuration", 0 if it does not say */
};

/* A version as one number that orders: 6.1.192 -> 0x0601c0; 0 if the text is none. */
uint32_t dink_kernel_version(const char *text);

/*
 * dink_kconfig_parse() - every line of a text
 * @name: names the text in errors
 * @directives: whether "#:" lines are directives (fragments) or comments
 *
 * Anything but assignments, "is not set", comments and blank lines is an error with its place.
 */
int dink_kconfig_parse(const char *text, size_t len, const char *name, bool directives,
		       struct dink_kconfig *ret, struct dink_err *err) _must_check_;

/* dink_kconfig_load() - a file, also one that ends in .gz (as /proc/config.gz) */
int dink_kconfig_load(const char *path, bool directives, struct dink_kconfig *ret,
		      struct dink_err *err) _must_check_;

/* dink_kconfig_find() - the last line about a symbol, NULL if there is none */
const struct dink_kconfig_line *dink_kconfig_find(const struct dink_kconfig *kc,
						  const char *symbol);

/* dink_kconfig_value() - its value, "n" where nothing is said; borrowed */
const char *dink_kconfig_value(const struct dink_kconfig *kc, const char *symbol);

/* dink_kconfig_merge() - from's lines into `into`: a later word about a symbol replaces an earlier
 */
void dink_kconfig_merge(struct dink_kconfig *into, const struct dink_kconfig *from);

/* dink_kconfig_text() - as a .config; caller frees */
char *dink_kconfig_text(const struct dink_kconfig *kc);

void dink_kconfig_clear(struct dink_kconfig *kc);
#define _cleanup_kconfig_ _cleanup_(dink_kconfig_clear)
