/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/base/mem.h"

#include <stdint.h>

static void *or_abort(void *p)
{
	if (!p) {
		static const char msg[] = "dink: out of memory\n";
		ssize_t n = write(STDERR_FILENO, msg, sizeof(msg) - 1);

		(void)n;
		abort();
	}
	return p;
}

void *xmalloc(size_t size)
{
	return or_abort(malloc(size ? size : 1));
}

void *xcalloc(size_t n, size_t size)
{
	return or_abort(calloc(n ? n : 1, size ? size : 1));
}

void *xrealloc(void *p, size_t size)
{
	return or_abort(realloc(p, size ? size : 1));
}

void *xreallocarray(void *p, size_t n, size_t size)
{
	return or_abort(reallocarray(p, n ? n : 1, size ? size : 1));
}

char *xstrdup(const char *s)
{
	return or_abort(strdup(s));
}

char *xstrndup(const char *s, size_t n)
{
	return or_abort(strndup(s, n));
}

void *xmemdup(const void *p, size_t n)
{
	void *copy = xmalloc(n);

	if (n)
		memcpy(copy, p, n);
	return copy;
}

char *xvasprintf(const char *fmt, va_list ap)
{
	char *s = NULL;

	if (vasprintf(&s, fmt, ap) < 0)
		or_abort(NULL);
	return s;
}

char *xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	s = xvasprintf(fmt, ap);
	va_end(ap);
	return s;
}

void dink_str_addn(struct dink_str *str, const void *bytes, size_t n)
{
	if (str->cap - str->len < n + 1) {
		size_t cap = str->cap ? str->cap : 64;

		while (cap - str->len < n + 1) {
			if (cap > SIZE_MAX / 2)
				or_abort(NULL);
			cap *= 2;
		}
		str->s = xrealloc(str->s, cap);
		str->cap = cap;
	}
	if (n)
		memcpy(str->s + str->len, bytes, n);
	str->len += n;
	str->s[str->len] = '\0';
}

void dink_str_add(struct dink_str *str, const char *text)
{
	dink_str_addn(str, text, strlen(text));
}

void dink_str_addc(struct dink_str *str, char c)
{
	dink_str_addn(str, &c, 1);
}

void dink_str_addf(struct dink_str *str, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	dink_str_add(str, text);
}

char *dink_str_take(struct dink_str *str)
{
	char *s = str->s ? str->s : xstrdup("");

	*str = (struct dink_str){};
	return s;
}

void dink_str_clear(struct dink_str *str)
{
	free(str->s);
	*str = (struct dink_str){};
}

void dink_strv_own(struct dink_strv *sv, char *s)
{
	if (sv->n + 1 >= sv->cap) {
		sv->cap = sv->cap ? sv->cap * 2 : 8;
		sv->v = xreallocarray(sv->v, sv->cap, sizeof(*sv->v));
	}
	sv->v[sv->n++] = s;
	sv->v[sv->n] = NULL;
}

void dink_strv_add(struct dink_strv *sv, const char *s)
{
	dink_strv_own(sv, xstrdup(s));
}

void dink_strv_addf(struct dink_strv *sv, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	dink_strv_own(sv, xvasprintf(fmt, ap));
	va_end(ap);
}

void dink_strv_addl(struct dink_strv *sv, ...)
{
	va_list ap;
	const char *s;

	va_start(ap, sv);
	while ((s = va_arg(ap, const char *)))
		dink_strv_add(sv, s);
	va_end(ap);
}

void dink_strv_addv(struct dink_strv *sv, char *const *v)
{
	for (; v && *v; v++)
		dink_strv_add(sv, *v);
}

bool dink_strv_has(const struct dink_strv *sv, const char *s)
{
	for (size_t i = 0; i < sv->n; i++)
		if (STREQ(sv->v[i], s))
			return true;
	return false;
}

char *dink_strv_join(const struct dink_strv *sv, const char *sep)
{
	struct dink_str out = {};

	for (size_t i = 0; i < sv->n; i++) {
		if (i)
			dink_str_add(&out, sep);
		dink_str_add(&out, sv->v[i]);
	}
	return dink_str_take(&out);
}

static int compare_strings(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void dink_strv_sort(struct dink_strv *sv)
{
	if (sv->n > 1)
		qsort(sv->v, sv->n, sizeof(*sv->v), compare_strings);
}

void dink_strv_clear(struct dink_strv *sv)
{
	for (size_t i = 0; i < sv->n; i++)
		free(sv->v[i]);
	free(sv->v);
	*sv = (struct dink_strv){};
}

bool dink_starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool dink_ends_with(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	return n >= m && STREQ(s + n - m, suffix);
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/* Levenshtein distance of words up to 63 bytes; longer ones are never near. */
static unsigned edit_distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	unsigned row[64], above_left, above;

	if (n > 63 || m > 63)
		return 64;
	for (size_t j = 0; j <= m; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		above_left = row[0];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			above = row[j];
			row[j] = min3(row[j] + 1, row[j - 1] + 1,
				      above_left + (a[i - 1] != b[j - 1]));
			above_left = above;
		}
	}
	return row[m];
}

const char *dink_nearest(const char *word, const char *const *names)
{
	const char *best = NULL;
	unsigned best_distance = 3;

	for (; names && *names; names++) {
		unsigned d = edit_distance(word, *names);

		/* a word of two letters is not "near" everything */
		if (d < best_distance && d < strlen(*names)) {
			best = *names;
			best_distance = d;
		}
	}
	return best;
}
