/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue's search: folds lines and patterns alike, then looks for the patterns' pieces. */
#include "provision/explain/explain.h"

#include "provision/base/mem.h"

static const struct dink_explain_table *const tables[] = {
	&dink_explain_runtimes, &dink_explain_engines, &dink_explain_vms,
	&dink_explain_storage,	&dink_explain_network,
};

static const struct {
	const char *name, *words;
} levels[] = {
	[DINK_EXPLAIN_WORKLOAD] = {"workload", "what was to be started: image, command, options"},
	[DINK_EXPLAIN_ENGINE] = {"engine", "the daemon or runtime: its configuration and state"},
	[DINK_EXPLAIN_LAYER] = {"layer", "the layer it runs in: what its parent grants it"},
	[DINK_EXPLAIN_KERNEL] = {"kernel", "the kernel below: the host's, or the nearest VM's"},
	[DINK_EXPLAIN_HOST] = {"host", "the machine: devices, limits, room"},
};

const struct dink_explain_entry *dink_explain_entry_at(size_t i)
{
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		if (i < tables[t]->n)
			return &tables[t]->v[i];
		i -= tables[t]->n;
	}
	return NULL;
}

const struct dink_explain_entry *dink_explain_entry_find(const char *name)
{
	const struct dink_explain_entry *e;

	for (size_t i = 0; (e = dink_explain_entry_at(i)); i++)
		if (STREQ(e->name, name))
			return e;
	return NULL;
}

const char *dink_explain_level_text(enum dink_explain_level level, const char **ret_words)
{
	if (ret_words)
		*ret_words = levels[level].words;
	return levels[level].name;
}

/* How many bytes at p are a quotation mark, 0 if it is none: programs and loggers disagree on them. */
static size_t quote_len(const char *p, size_t n)
{
	if (*p == '"' || *p == '\'' || *p == '`')
		return 1;
	/* U+2018 to U+201D */
	if (n >= 3 && memcmp(p, "\xe2\x80", 2) == 0 && (unsigned char)p[2] >= 0x98 &&
	    (unsigned char)p[2] <= 0x9d)
		return 3;
	return 0;
}

/* Backslashes go; a line's end that a logger wrote as \n is a blank. */
static size_t escape_len(const char *p, size_t n)
{
	size_t k = 0;

	while (k < n && p[k] == '\\')
		k++;
	return k;
}

/* One line as patterns see it; out has room for n + 1 bytes. */
static size_t fold_line(const char *line, size_t n, char *out)
{
	size_t w = 0;

	for (size_t i = 0; i < n;) {
		size_t skip = quote_len(line + i, n - i);
		unsigned char c = (unsigned char)line[i];

		if (skip) {
			i += skip;
			continue;
		}
		if (c == '\\') {
			i += escape_len(line + i, n - i);
			if (i == n || (line[i] != 'n' && line[i] != 't'))
				continue;
			c = ' ';
		}
		i++;
		if (c <= ' ' || c == 0x7f)
			c = ' ';
		if (c == ' ' && (w == 0 || out[w - 1] == ' '))
			continue;
		out[w++] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
	}
	out[w] = '\0';
	return w;
}

/* How many bytes of the line a pattern gives; 0: it does not fit. */
static size_t match_pattern(const char *line, size_t n, const char *pattern)
{
	const char *at = line, *end = line + n;
	size_t given = 0;

	if (*pattern == '^') { /* from the line's beginning */
		size_t k = strcspn(++pattern, "*");

		if (n < k || memcmp(line, pattern, k) != 0)
			return 0;
	}
	while (*pattern) {
		size_t k = strcspn(pattern, "*");
		const char *found = memmem(at, (size_t)(end - at), pattern, k);

		if (!found)
			return 0;
		at = found + k;
		given += k;
		pattern += k + (pattern[k] == '*');
	}
	return given;
}

static const struct dink_explain_entry *find_best(const char *line, size_t n)
{
	const struct dink_explain_entry *best = NULL, *e;
	size_t most = 0;

	for (size_t i = 0; (e = dink_explain_entry_at(i)); i++) {
		for (size_t k = 0; k < DINK_EXPLAIN_PATTERNS && e->patterns[k]; k++) {
			size_t given = match_pattern(line, n, e->patterns[k]);

			if (given > most) {
				most = given;
				best = e;
			}
		}
	}
	return best;
}

/* What people are shown of a line: it may be a guest's, and long. */
static char *quote_line(const char *line, size_t n)
{
	enum { SHOWN = 400 };
	char *s = xasprintf("%.*s%s", (int)(n > SHOWN ? SHOWN : n), line, n > SHOWN ? "..." : "");

	for (char *c = s; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
	return s;
}

static bool same_from(const char *a, const char *b)
{
	return a && b ? STREQ(a, b) : a == b;
}

static void add_match(struct dink_explanation *x, const struct dink_explain_entry *e,
		      const char *from, const char *line, size_t n, size_t number)
{
	for (size_t i = 0; i < x->n; i++) {
		if (x->v[i].entry == e && same_from(x->v[i].from, from)) {
			x->v[i].count++;
			return;
		}
	}
	if (x->n == DINK_EXPLAIN_MATCHES)
		return;
	x->v[x->n++] = (struct dink_explain_match){
		.entry = e,
		.from = from ? xstrdup(from) : NULL,
		.text = quote_line(line, n),
		.line = number,
		.count = 1,
	};
}

/* What a logger itself calls no error is none; a warning counts where nothing else is known. */
enum severity { TOLD, WARNED, FAILED };

static enum severity severity_of(const char *folded)
{
	if (strstr(folded, "level=info") || strstr(folded, "level=debug"))
		return TOLD;
	return strstr(folded, "level=warning") ? WARNED : FAILED;
}

static void explain_lines(const char *text, size_t len, const char *from, enum severity wanted,
			  struct dink_explanation *ret)
{
	_cleanup_free_ char *folded = xmalloc(DINK_EXPLAIN_LINE_MAX + 1);
	size_t number = 0;

	while (len > 0) {
		const char *nl = memchr(text, '\n', len);
		size_t n = nl ? (size_t)(nl - text) : len, taken = nl ? n + 1 : n, k;
		const struct dink_explain_entry *e = NULL;

		if (n > DINK_EXPLAIN_LINE_MAX)
			n = taken = DINK_EXPLAIN_LINE_MAX;
		number++;
		k = fold_line(text, n, folded);
		if (severity_of(folded) == wanted)
			e = find_best(folded, k);
		if (e)
			add_match(ret, e, from, text, n, number);
		text += taken;
		len -= taken;
	}
}

void dink_explain_text(const char *text, size_t len, const char *from, struct dink_explanation *ret)
{
	size_t before = ret->n;

	if (len > DINK_EXPLAIN_TEXT_MAX) {
		text += len - DINK_EXPLAIN_TEXT_MAX;
		len = DINK_EXPLAIN_TEXT_MAX;
	}
	explain_lines(text, len, from, FAILED, ret);
	if (ret->n == before)
		explain_lines(text, len, from, WARNED, ret);
}

void dink_explanation_clear(struct dink_explanation *x)
{
	for (size_t i = 0; i < x->n; i++) {
		free(x->v[i].from);
		free(x->v[i].text);
	}
	*x = (struct dink_explanation){};
}

void dink_explain_err(struct dink_err *err)
{
	_cleanup_explanation_ struct dink_explanation x = {};
	_cleanup_str_ struct dink_str hint = {};

	if (err->msg)
		dink_explain_text(err->msg, strlen(err->msg), NULL, &x);
	if (err->detail)
		dink_explain_text(err->detail, strlen(err->detail), NULL, &x);
	if (x.n == 0)
		return;
	if (err->hint)
		dink_str_add(&hint, err->hint);
	for (size_t i = 0; i < x.n && i < 3; i++) {
		const struct dink_explain_entry *e = x.v[i].entry;

		dink_str_addf(&hint, "%sexplain: %s (%s): %s", hint.len ? "\n  " : "", e->name,
			      levels[e->level].name, e->cause);
		dink_str_addf(&hint, "\n  explain: fix: %s", e->fix);
		if (e->scenario)
			dink_str_addf(&hint, " (scenario: %s)", e->scenario);
	}
	(void)dink_err_hint(err, "%s", hint.s);
}

struct json_object *dink_explain_entry_json(const struct dink_explain_entry *e)
{
	struct json_object *o = dink_json_new();

	dink_json_set_str(o, "name", e->name);
	dink_json_set_str(o, "program", e->program);
	dink_json_set_str(o, "level", levels[e->level].name);
	dink_json_set_str(o, "cause", e->cause);
	dink_json_set_str(o, "fix", e->fix);
	dink_json_set_str(o, "scenario", e->scenario);
	dink_json_set_str(o, "source", e->source);
	return o;
}

struct json_object *dink_explanation_json(const struct dink_explanation *x)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < x->n; i++) {
		struct json_object *o = dink_explain_entry_json(x->v[i].entry);

		dink_json_set_str(o, "from", x->v[i].from);
		dink_json_set_int(o, "line", (int64_t)x->v[i].line);
		dink_json_set_int(o, "count", (int64_t)x->v[i].count);
		dink_json_set_str(o, "text", x->v[i].text);
		json_object_array_add(list, o);
	}
	return list;
}
