/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation that aborts when memory is gone, and growing strings and argument vectors. */
#pragma once

#include "provision/base/macro.h"

#include <stdarg.h>
#include <stdbool.h>

void *xmalloc(size_t size) _must_check_;
void *xcalloc(size_t n, size_t size) _must_check_;
void *xrealloc(void *p, size_t size) _must_check_;
void *xreallocarray(void *p, size_t n, size_t size) _must_check_;
char *xstrdup(const char *s) _must_check_;
char *xstrndup(const char *s, size_t n) _must_check_;
void *xmemdup(const void *p, size_t n) _must_check_;
char *xasprintf(const char *fmt, ...) _printf_(1, 2) _must_check_;
char *xvasprintf(const char *fmt, va_list ap) _printf_(1, 0) _must_check_;

/* A growing byte string; `s` is always NUL-terminated once something was added. */
struct dink_str {
	char *s;
	size_t len;
	size_t cap;
};

void dink_str_add(struct dink_str *str, const char *text);
void dink_str_addn(struct dink_str *str, const void *bytes, size_t n);
void dink_str_addc(struct dink_str *str, char c);
void dink_str_addf(struct dink_str *str, const char *fmt, ...) _printf_(2, 3);
/* dink_str_take() - the text (never NULL), owned by the caller; str is empty afterwards */
char *dink_str_take(struct dink_str *str) _must_check_;
void dink_str_clear(struct dink_str *str);
#define _cleanup_str_ _cleanup_(dink_str_clear)

/* A NULL-terminated vector of owned strings: argv, env, lists of names. */
struct dink_strv {
	char **v; /* NULL while empty, else v[n] == NULL */
	size_t n;
	size_t cap;
};

void dink_strv_add(struct dink_strv *sv, const char *s);
void dink_strv_addf(struct dink_strv *sv, const char *fmt, ...) _printf_(2, 3);
/* dink_strv_addl() - several, ended by NULL */
void dink_strv_addl(struct dink_strv *sv, ...) __attribute__((sentinel));
/* dink_strv_addv() - all of a NULL-terminated array (NULL = none) */
void dink_strv_addv(struct dink_strv *sv, char *const *v);
/* dink_strv_own() - add a string that the vector then owns */
void dink_strv_own(struct dink_strv *sv, char *s);
bool dink_strv_has(const struct dink_strv *sv, const char *s);
char *dink_strv_join(const struct dink_strv *sv, const char *sep) _must_check_;
void dink_strv_sort(struct dink_strv *sv);
void dink_strv_clear(struct dink_strv *sv);
#define _cleanup_strv_ _cleanup_(dink_strv_clear)

bool dink_starts_with(const char *s, const char *prefix);
bool dink_ends_with(const char *s, const char *suffix);

/*
 * dink_nearest() - the candidate with the smallest edit distance to word, at most 2
 * @names: NULL-terminated
 * Return: one of names, or NULL if none is near
 */
const char *dink_nearest(const char *word, const char *const *names);
