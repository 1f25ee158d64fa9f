/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/scenario/problem.h"

static bool is_before(struct dink_mark a, struct dink_mark b)
{
	return a.line < b.line || (a.line == b.line && a.col < b.col);
}

bool dink_report_at(struct dink_report *r, struct dink_mark mark, const char *fmt, ...)
{
	size_t at = r->n;
	va_list ap;

	while (at > 0 && is_before(mark, r->list[at - 1].mark))
		at--;
	if (r->n == DINK_PROBLEMS_MAX) {
		r->more = true;
		if (at == DINK_PROBLEMS_MAX)
			return false;
		r->n--;
		free(r->list[r->n].msg);
		free(r->list[r->n].hint);
	}
	memmove(&r->list[at + 1], &r->list[at], (r->n - at) * sizeof(r->list[0]));
	r->n++;
	va_start(ap, fmt);
	r->list[at] = (struct dink_found){.mark = mark, .msg = xvasprintf(fmt, ap)};
	va_end(ap);
	r->last = at;
	return true;
}

void dink_report_hint(struct dink_report *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	free(r->list[r->last].hint);
	r->list[r->last].hint = xvasprintf(fmt, ap);
	va_end(ap);
}

/* Bytes of the line break at p (libyaml's: \n, \r, \r\n, NEL, LS, PS), 0 if there is none. */
static size_t break_at(const char *p, size_t left)
{
	const unsigned char *u = (const unsigned char *)p;

	if (u[0] == '\n')
		return 1;
	if (u[0] == '\r')
		return left > 1 && u[1] == '\n' ? 2 : 1;
	if (u[0] == 0xc2 && left > 1 && u[1] == 0x85)
		return 2;
	if (u[0] == 0xe2 && left > 2 && u[1] == 0x80 && (u[2] == 0xa8 || u[2] == 0xa9))
		return 3;
	return 0;
}

char *dink_source_line(const char *text, size_t len, uint32_t line)
{
	size_t start = 0, i = 0;

	if (!line)
		return NULL;
	for (uint32_t now = 1; i < len;) {
		size_t n = break_at(text + i, len - i);

		if (n && now == line)
			break;
		if (n) {
			now++;
			start = i + n;
		}
		i += n ? n : 1;
	}
	return xstrndup(text + start, i - start);
}

void dink_report_finish(struct dink_report *r, const char *file, const char *text, size_t len,
			struct dink_problems *problems)
{
	for (size_t i = 0; i < r->n; i++) {
		struct dink_found *f = &r->list[i];
		struct dink_err *err = &problems->list[i];
		_cleanup_free_ char *line = dink_source_line(text, len, f->mark.line);

		dink_err_set(err, DINK_E_SCENARIO, 0, "%s", f->msg);
		if (f->hint)
			dink_err_hint(err, "%s", f->hint);
		dink_err_at(err, file, f->mark.line, f->mark.col, f->mark.endcol, line);
		free(f->msg);
		free(f->hint);
	}
	problems->n = r->n;
	problems->more = r->more;
	memset(r, 0, sizeof(*r));
}

void dink_problems_clear(struct dink_problems *p)
{
	for (size_t i = 0; i < p->n; i++)
		dink_err_clear(&p->list[i]);
	p->n = 0;
	p->more = false;
}

struct dink_shown dink_shown(const char *text)
{
	struct dink_shown out = {};
	size_t n = 0;

	while (text[n] && n + 4 < sizeof(out.s)) {
		unsigned char c = (unsigned char)text[n];

		out.s[n++] = (c < 0x20 || c == 0x7f) ? '?' : (char)c;
	}
	if (text[n]) {
		/* do not cut a UTF-8 character in two */
		while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
			n--;
		memcpy(out.s + n, "...", 4);
	}
	return out;
}
