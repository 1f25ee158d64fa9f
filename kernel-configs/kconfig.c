/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading, merging and writing kernel configurations. The text may be anybody's: it is bounded,
 * and what is no configuration is refused with its place.
 */
#include "kernel-configs/kconfig.h"

#include "provision/base/file.h"
#include "provision/base/proc.h"

#include <ctype.h>

/* What a "#:" directive said, for the next line only. */
struct pending {
	uint32_t since, until;
	bool optional;
};

struct parser {
	const char *name;
	uint32_t line;
	bool directives;
	struct pending pending;
	struct dink_kconfig *kc;
};

uint32_t dink_kernel_version(const char *text)
{
	uint32_t part[3] = {}, n = 0;

	while (n < 3 && isdigit((unsigned char)*text)) {
		char *end;
		unsigned long v = strtoul(text, &end, 10);

		part[n++] = v > 255 ? 255 : (uint32_t)v;
		if (*end != '.')
			break;
		text = end + 1;
	}
	return n < 2 ? 0 : part[0] << 16 | part[1] << 8 | part[2];
}

static void clear_line(struct dink_kconfig_line *l)
{
	free(l->symbol);
	free(l->value);
	free(l->file);
}

void dink_kconfig_clear(struct dink_kconfig *kc)
{
	for (size_t i = 0; i < kc->n; i++)
		clear_line(&kc->lines[i]);
	free(kc->lines);
	*kc = (struct dink_kconfig){};
}

static struct dink_kconfig_line *add_line(struct dink_kconfig *kc)
{
	if (kc->n == kc->cap) {
		kc->cap = kc->cap ? 2 * kc->cap : 256;
		kc->lines = xreallocarray(kc->lines, kc->cap, sizeof(*kc->lines));
	}
	kc->lines[kc->n] = (struct dink_kconfig_line){};
	return &kc->lines[kc->n++];
}

/* Length of the symbol name at s. */
static size_t symbol_len(const char *s)
{
	size_t n = 0;

	while (isalnum((unsigned char)s[n]) || s[n] == '_')
		n++;
	return n;
}

static bool value_is_valid(const char *v)
{
	size_t n = strlen(v);

	if (STREQ(v, "y") || STREQ(v, "m") || STREQ(v, "n"))
		return true;
	if (v[0] == '"')
		return n >= 2 && v[n - 1] == '"';
	if (v[0] == '-')
		v++;
	if (v[0] == '0' && (v[1] == 'x' || v[1] == 'X') && v[2])
		return v[2 + strspn(v + 2, "0123456789abcdefABCDEF")] == '\0';
	return v[0] && v[strspn(v, "0123456789")] == '\0';
}

static int refuse_line(struct parser *p, const char *text, uint32_t col, const char *what,
		       struct dink_err *err)
{
	int r = dink_err_set(err, DINK_E_USAGE, 0, "%s", what);

	dink_err_at(err, p->name, p->line, col, 0, text);
	return r;
}

static void store_line(struct parser *p, const char *symbol, size_t len, const char *value)
{
	struct dink_kconfig_line *l = add_line(p->kc);

	l->symbol = xstrndup(symbol, len);
	l->value = xstrdup(value);
	l->file = xstrdup(p->name);
	l->line = p->line;
	l->since = p->pending.since;
	l->until = p->pending.until;
	l->optional = p->pending.optional;
	p->pending = (struct pending){};
}

static int take_directive(struct parser *p, const char *text, struct dink_err *err)
{
	const char *s = text + 2;
	uint32_t *version = NULL;

	s += strspn(s, " \t");
	if (STREQ(s, "optional")) {
		p->pending.optional = true;
		return 0;
	}
	if (dink_starts_with(s, "since "))
		version = &p->pending.since;
	else if (dink_starts_with(s, "until "))
		version = &p->pending.until;
	if (version)
		*version = dink_kernel_version(s + strlen("since "));
	if (!version || !*version)
		return refuse_line(p, text, (uint32_t)(s - text) + 1,
				   "no directive: expected since X.Y, until X.Y or optional", err);
	/* "until 6.8" means all of 6.8.x */
	if (version == &p->pending.until && (*version & 0xff) == 0)
		*version |= 0xff;
	return 0;
}

/* "# Linux/x86 6.1.192 Kernel Configuration" */
static void take_version(struct parser *p, const char *text)
{
	const char *slash;

	if (p->kc->version || !dink_starts_with(text, "# Linux/"))
		return;
	slash = strchr(text, ' ') + 1;
	slash += strcspn(slash, " ");
	p->kc->version = dink_kernel_version(slash + strspn(slash, " "));
}

static int take_comment(struct parser *p, const char *text, struct dink_err *err)
{
	const char *s = text + 1;
	size_t n;

	if (p->directives && text[1] == ':')
		return take_directive(p, text, err);
	s += strspn(s, " \t");
	if (dink_starts_with(s, "CONFIG_")) {
		s += strlen("CONFIG_");
		n = symbol_len(s);
		if (n && STREQ(s + n, " is not set"))
			store_line(p, s, n, "n");
		return 0;
	}
	take_version(p, text);
	return 0;
}

static int take_line(struct parser *p, char *text, struct dink_err *err)
{
	size_t end = strlen(text), n;
	char *s;

	while (end > 0 && isspace((unsigned char)text[end - 1]))
		text[--end] = '\0';
	if (!*text)
		return 0;
	if (*text == '#')
		return take_comment(p, text, err);
	if (!dink_starts_with(text, "CONFIG_"))
		return refuse_line(p, text, 1,
				   "no kernel configuration: expected CONFIG_NAME=VALUE", err);
	s = text + strlen("CONFIG_");
	n = symbol_len(s);
	if (n == 0 || s[n] != '=')
		return refuse_line(p, text, (uint32_t)(s + n - text) + 1,
				   "expected = after the symbol's name", err);
	if (!value_is_valid(s + n + 1))
		return refuse_line(p, text, (uint32_t)(s + n - text) + 2,
				   "expected y, m, n, a number or a string in quotes", err);
	store_line(p, s, n, s + n + 1);
	return 0;
}

int dink_kconfig_parse(const char *text, size_t len, const char *name, bool directives,
		       struct dink_kconfig *ret, struct dink_err *err)
{
	_cleanup_kconfig_ struct dink_kconfig kc = {};
	struct parser p = {.name = name, .directives = directives, .kc = &kc};
	const char *end = text + len;

	if (len > DINK_KCONFIG_MAX)
		return dink_err_set(err, DINK_E_USAGE, EFBIG, "read %s", name);
	if (memchr(text, '\0', len))
		return dink_err_set(err, DINK_E_USAGE, 0,
				    "%s is no kernel configuration: it holds zero bytes", name);
	while (text < end) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		size_t n = (size_t)((nl ? nl : end) - text);
		_cleanup_free_ char *line = xstrndup(text, n);
		int r;

		p.line++;
		r = take_line(&p, line, err);
		if (r < 0)
			return r;
		text += n + (nl ? 1 : 0);
	}
	*ret = kc;
	kc = (struct dink_kconfig){};
	return 0;
}

static int read_gzip(const char *path, char **ret_text, size_t *ret_len, struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	int r;

	dink_cmd_argv(&cmd, "gzip", "-dc", path, NULL);
	cmd.capture_max = DINK_KCONFIG_MAX;
	r = dink_cmd_run(&cmd, err);
	if (r < 0)
		return dink_err_push(err, "unpacking %s", path);
	*ret_len = cmd.output_len;
	*ret_text = TAKE_PTR(cmd.output);
	return 0;
}

int dink_kconfig_load(const char *path, bool directives, struct dink_kconfig *ret,
		      struct dink_err *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int r;

	if (dink_ends_with(path, ".gz"))
		r = read_gzip(path, &text, &len, err);
	else
		r = dink_file_read(path, DINK_KCONFIG_MAX, &text, &len, err);
	if (r < 0)
		return r;
	return dink_kconfig_parse(text, len, path, directives, ret, err);
}

const struct dink_kconfig_line *dink_kconfig_find(const struct dink_kconfig *kc, const char *symbol)
{
	for (size_t i = kc->n; i > 0; i--)
		if (STREQ(kc->lines[i - 1].symbol, symbol))
			return &kc->lines[i - 1];
	return NULL;
}

const char *dink_kconfig_value(const struct dink_kconfig *kc, const char *symbol)
{
	const struct dink_kconfig_line *l = dink_kconfig_find(kc, symbol);

	return l ? l->value : "n";
}

static void copy_line(struct dink_kconfig_line *to, const struct dink_kconfig_line *from)
{
	*to = *from;
	to->symbol = xstrdup(from->symbol);
	to->value = xstrdup(from->value);
	to->file = xstrdup(from->file);
}

void dink_kconfig_merge(struct dink_kconfig *into, const struct dink_kconfig *from)
{
	for (size_t i = 0; i < from->n; i++) {
		struct dink_kconfig_line *old = NULL;

		for (size_t k = 0; k < into->n && !old; k++)
			if (STREQ(into->lines[k].symbol, from->lines[i].symbol))
				old = &into->lines[k];
		if (!old)
			old = add_line(into);
		else
			clear_line(old);
		copy_line(old, &from->lines[i]);
	}
}

char *dink_kconfig_text(const struct dink_kconfig *kc)
{
	_cleanup_str_ struct dink_str s = {};

	for (size_t i = 0; i < kc->n; i++) {
		const struct dink_kconfig_line *l = &kc->lines[i];

		if (STREQ(l->value, "n"))
			dink_str_addf(&s, "# CONFIG_%s is not set\n", l->symbol);
		else
			dink_str_addf(&s, "CONFIG_%s=%s\n", l->symbol, l->value);
	}
	return dink_str_take(&s);
}
