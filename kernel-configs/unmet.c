/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a symbol was lost: enough of the Kconfig language to find where a symbol is defined, the
 * conditions around it in that file, and the terms of them that do not hold. What is around a
 * `source` line in another file is not seen; then nothing is told rather than something wrong.
 */
#include "kernel-configs/internal.h"

#include "provision/base/file.h"

#include <ctype.h>
#include <ftw.h>

enum { SCOPES_MAX = 32, FILES_MAX = 4096, NESTING_MAX = 64, KCONFIG_FILE_MAX = 1 << 20 };

/* Expressions: values are false and true; m counts as true. */
struct expr {
	const char *s;
	const struct dink_kconfig *kc;
	int depth;
};

static bool eval_or(struct expr *e);

static void skip_space(struct expr *e)
{
	e->s += strspn(e->s, " \t");
}

/* An operand's text: a symbol, "text" or 'text'; "" at the end or at an operator. */
static char *take_operand(struct expr *e)
{
	const char *start;
	size_t n = 0;

	skip_space(e);
	start = e->s;
	if (*start == '"' || *start == '\'') {
		n = strcspn(start + 1, *start == '"' ? "\"" : "'");
		e->s = start + 1 + n + (start[1 + n] ? 1 : 0);
		return xstrndup(start + 1, n);
	}
	while (isalnum((unsigned char)start[n]) || start[n] == '_')
		n++;
	e->s = start + n;
	return xstrndup(start, n);
}

static const char *operand_value(const struct expr *e, const char *operand)
{
	if (STREQ(operand, "y") || STREQ(operand, "m") || STREQ(operand, "n"))
		return operand;
	return dink_kconfig_value(e->kc, operand);
}

static bool eval_compare(struct expr *e)
{
	_cleanup_free_ char *left = take_operand(e);
	bool differs;

	skip_space(e);
	if (*left == '\0') {
		/* a macro or an operator we do not know: believed, and the rest with it */
		e->s += strlen(e->s);
		return true;
	}
	differs = e->s[0] == '!' && e->s[1] == '=';
	if (differs || e->s[0] == '=') {
		_cleanup_free_ char *right = NULL;

		e->s += differs ? 2 : 1;
		right = take_operand(e);
		return STREQ(operand_value(e, left), operand_value(e, right)) != differs;
	}
	if (*e->s == '<' || *e->s == '>') {
		e->s += strlen(e->s);
		return true;
	}
	return !STREQ(operand_value(e, left), "n");
}

static bool eval_not(struct expr *e)
{
	bool v;

	skip_space(e);
	if (*e->s == '!' && e->s[1] != '=') {
		if (++e->depth > NESTING_MAX)
			return true;
		e->s++;
		return !eval_not(e);
	}
	if (*e->s != '(')
		return eval_compare(e);
	if (++e->depth > NESTING_MAX)
		return true;
	e->s++;
	v = eval_or(e);
	skip_space(e);
	if (*e->s == ')')
		e->s++;
	return v;
}

static bool eval_and(struct expr *e)
{
	bool v = eval_not(e);

	for (skip_space(e); e->s[0] == '&' && e->s[1] == '&'; skip_space(e)) {
		e->s += 2;
		v &= eval_not(e);
	}
	return v;
}

static bool eval_or(struct expr *e)
{
	bool v = eval_and(e);

	for (skip_space(e); e->s[0] == '|' && e->s[1] == '|'; skip_space(e)) {
		e->s += 2;
		v |= eval_and(e);
	}
	return v;
}

static bool holds(const char *text, const struct dink_kconfig *kc)
{
	struct expr e = {.s = text, .kc = kc};

	return eval_or(&e);
}

/* Length of the first term of an expression that is joined by && at its outermost level. */
static size_t term_len(const char *s)
{
	int depth = 0;
	size_t n;

	for (n = 0; s[n]; n++) {
		if (s[n] == '(')
			depth++;
		else if (s[n] == ')')
			depth--;
		else if (depth == 0 && s[n] == '&' && s[n + 1] == '&')
			break;
	}
	return n;
}

static bool has_outer_or(const char *s)
{
	int depth = 0;

	for (; *s; s++) {
		if (*s == '(')
			depth++;
		else if (*s == ')')
			depth--;
		else if (depth == 0 && s[0] == '|' && s[1] == '|')
			return true;
	}
	return false;
}

static char *trimmed(const char *s, size_t n)
{
	while (n > 0 && isspace((unsigned char)*s)) {
		s++;
		n--;
	}
	while (n > 0 && isspace((unsigned char)s[n - 1]))
		n--;
	return xstrndup(s, n);
}

/* Adds the terms of an expression that do not hold. */
static void collect_false(const char *text, const struct dink_kconfig *kc, struct dink_strv *out)
{
	if (holds(text, kc))
		return;
	if (has_outer_or(text)) {
		dink_strv_own(out, xasprintf("(%s)", text));
		return;
	}
	while (*text) {
		size_t n = term_len(text);
		_cleanup_free_ char *term = trimmed(text, n);

		if (!holds(term, kc) && !dink_strv_has(out, term))
			dink_strv_add(out, term);
		text += n + (text[n] ? 2 : 0);
	}
}

/* The walk through one Kconfig file. */
struct walk {
	const char *symbol;
	const struct dink_kconfig *kc;
	struct dink_strv scopes[SCOPES_MAX]; /* conditions of each open if, menu and choice */
	size_t n_scopes;
	bool in_scope_head; /* "depends on" now belongs to the innermost scope */
	bool in_symbol;
	bool defined, prompted;
	int help_indent; /* -1 = no help text, 0 = its first line is awaited */
	struct dink_strv unmet;
};

static const char *after_word(const char *s, const char *word)
{
	size_t n = strlen(word);

	if (strncmp(s, word, n) != 0 || (s[n] && !isspace((unsigned char)s[n]) && s[n] != '"'))
		return NULL;
	return s + n + strspn(s + n, " \t");
}

static void open_scope(struct walk *w, const char *condition)
{
	if (w->n_scopes < SCOPES_MAX) {
		w->scopes[w->n_scopes] = (struct dink_strv){};
		if (condition)
			dink_strv_add(&w->scopes[w->n_scopes], condition);
	}
	w->n_scopes++;
	w->in_symbol = false;
	w->in_scope_head = !condition;
}

static void close_scope(struct walk *w)
{
	if (w->n_scopes > 0 && --w->n_scopes < SCOPES_MAX)
		dink_strv_clear(&w->scopes[w->n_scopes]);
	w->in_symbol = w->in_scope_head = false;
}

static void enter_symbol(struct walk *w, const char *name)
{
	w->in_scope_head = false;
	w->in_symbol = STREQ(name, w->symbol);
	if (!w->in_symbol)
		return;
	w->defined = true;
	for (size_t i = 0; i < w->n_scopes && i < SCOPES_MAX; i++)
		for (size_t k = 0; k < w->scopes[i].n; k++)
			collect_false(w->scopes[i].v[k], w->kc, &w->unmet);
}

static void take_depends(struct walk *w, const char *condition)
{
	if (w->in_symbol)
		collect_false(condition, w->kc, &w->unmet);
	else if (w->in_scope_head && w->n_scopes > 0 && w->n_scopes <= SCOPES_MAX)
		dink_strv_add(&w->scopes[w->n_scopes - 1], condition);
}

static void take_statement(struct walk *w, const char *s)
{
	static const char *const types[] = {"bool", "tristate", "string", "int", "hex", "prompt"};
	const char *rest;

	if ((rest = after_word(s, "config")) || (rest = after_word(s, "menuconfig"))) {
		enter_symbol(w, rest);
	} else if ((rest = after_word(s, "if"))) {
		open_scope(w, rest);
	} else if (after_word(s, "menu") || after_word(s, "choice")) {
		open_scope(w, NULL);
	} else if (after_word(s, "endif") || after_word(s, "endmenu") ||
		   after_word(s, "endchoice")) {
		close_scope(w);
	} else if ((rest = after_word(s, "depends")) && (rest = after_word(rest, "on"))) {
		take_depends(w, rest);
	} else if (after_word(s, "help") || after_word(s, "---help---")) {
		w->help_indent = 0;
	} else if (after_word(s, "source") || after_word(s, "comment")) {
		w->in_symbol = w->in_scope_head = false;
	} else if (w->in_symbol) {
		for (size_t i = 0; i < ARRAY_SIZE(types); i++)
			if ((rest = after_word(s, types[i])) && (*rest == '"' || *rest == '\''))
				w->prompted = true;
	}
}

static int indent_of(const char *s)
{
	int n = 0;

	for (; *s == ' ' || *s == '\t'; s++)
		n = *s == '\t' ? (n + 8) / 8 * 8 : n + 1;
	return n;
}

static void take_kconfig_line(struct walk *w, const char *line)
{
	const char *s = line + strspn(line, " \t");
	_cleanup_free_ char *bare = NULL;
	int indent = indent_of(line);

	if (!*s || *s == '#')
		return;
	if (w->help_indent == 0 && indent > 0) {
		w->help_indent = indent;
		return;
	}
	if (w->help_indent > 0 && indent >= w->help_indent)
		return;
	w->help_indent = -1;
	bare = trimmed(s, strlen(s));
	take_statement(w, bare);
}

static char *tell(const struct walk *w)
{
	_cleanup_free_ char *terms = NULL;

	if (w->unmet.n > 0) {
		terms = dink_strv_join(&w->unmet, " && ");
		return xasprintf("depends on %s", terms);
	}
	if (!w->prompted)
		return xstrdup("cannot be set by hand, another symbol has to select it");
	return NULL;
}

char *dink_kernel_unmet_in(const char *text, const char *symbol, const struct dink_kconfig *kc,
			   bool *ret_defined)
{
	struct walk w = {.symbol = symbol, .kc = kc, .help_indent = -1};
	_cleanup_str_ struct dink_str line = {};
	char *told = NULL;

	while (*text) {
		size_t n = strcspn(text, "\n");
		bool joined = n > 0 && text[n - 1] == '\\';

		dink_str_addn(&line, text, joined ? n - 1 : n);
		text += n + (text[n] ? 1 : 0);
		if (joined && *text)
			continue;
		take_kconfig_line(&w, line.s ? line.s : "");
		dink_str_clear(&line);
	}
	while (w.n_scopes > 0)
		close_scope(&w);
	*ret_defined = w.defined;
	if (w.defined)
		told = tell(&w);
	dink_strv_clear(&w.unmet);
	return told;
}

/* nftw() has no context argument; one search at a time is all there is. */
static _Thread_local struct dink_strv *found_files;

static int note_file(const char *path, const struct stat *st _unused_, int type, struct FTW *ftw)
{
	const char *name = path + ftw->base;

	if (type == FTW_D && ftw->level == 1 &&
	    (STREQ(name, "Documentation") || STREQ(name, "tools")))
		return FTW_SKIP_SUBTREE;
	if (type == FTW_D && ftw->level == 2 && strstr(path, "/arch/") && !STREQ(name, "x86"))
		return FTW_SKIP_SUBTREE;
	if (type == FTW_F && dink_starts_with(name, "Kconfig") && found_files->n < FILES_MAX)
		dink_strv_add(found_files, path);
	return FTW_CONTINUE;
}

char *dink_kernel_unmet(const char *tree, const char *symbol, const struct dink_kconfig *kc)
{
	_cleanup_strv_ struct dink_strv files = {};
	_cleanup_free_ char *needle = xasprintf("config %s\n", symbol);
	bool known = false;
	int r;

	found_files = &files;
	r = nftw(tree, note_file, 32, FTW_PHYS | FTW_ACTIONRETVAL);
	found_files = NULL;
	if (r < 0)
		return NULL;
	dink_strv_sort(&files);
	for (size_t i = 0; i < files.n; i++) {
		_cleanup_(dink_err_clear) struct dink_err ignored = {};
		_cleanup_free_ char *text = NULL;
		bool defined = false;
		char *told;

		if (dink_file_read(files.v[i], KCONFIG_FILE_MAX, &text, NULL, &ignored) < 0 ||
		    !strstr(text, needle))
			continue;
		told = dink_kernel_unmet_in(text, symbol, kc, &defined);
		if (told)
			return told;
		known |= defined;
	}
	return known ? NULL : xstrdup("is not known to this kernel");
}
