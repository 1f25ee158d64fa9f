/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/base/caret.h"

enum {
	SHOWN_MAX = 96,	 /* characters of a source line that are printed */
	SHOWN_LEFT = 56, /* of them, at most so many before the caret of a cut line */
	MARKED_MAX = 64, /* length of ^~~~ */
};

struct range {
	uint32_t first, last;
};

/* What terminals draw two columns wide (East Asian Wide and Fullwidth, emoji). */
static const struct range wide[] = {
	{0x1100, 0x115f},   {0x2e80, 0x303e},	{0x3041, 0x33ff}, {0x3400, 0x4dbf},
	{0x4e00, 0x9fff},   {0xa000, 0xa4cf},	{0xac00, 0xd7a3}, {0xf900, 0xfaff},
	{0xfe30, 0xfe6f},   {0xff00, 0xff60},	{0xffe0, 0xffe6}, {0x1f300, 0x1f64f},
	{0x1f900, 0x1f9ff}, {0x20000, 0x3fffd},
};

/* What takes no column: combining marks, joiners, the byte order mark. */
static const struct range zero[] = {
	{0x0300, 0x036f}, {0x200b, 0x200f}, {0x20d0, 0x20ff},
	{0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xfeff, 0xfeff},
};

static int is_in(const struct range *r, size_t n, uint32_t c)
{
	for (size_t i = 0; i < n; i++) {
		if (c >= r[i].first && c <= r[i].last)
			return 1;
	}
	return 0;
}

/* One character: its bytes are p[0..return), its code point 0 where it is not fit to print. */
static size_t next_char(const unsigned char *p, uint32_t *ret_code)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
	uint32_t code;

	*ret_code = 0;
	if (n == 0 || p[0] > 0xf4)
		return 1;
	code = n == 1 ? p[0] : p[0] & (0x7fU >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 1;
		code = code << 6 | (p[i] & 0x3f);
	}
	if (code == '\t' || (code >= 0x20 && code != 0x7f && !(code >= 0x80 && code < 0xa0)))
		*ret_code = code;
	return n;
}

static uint32_t count_chars(const char *text)
{
	uint32_t n = 0, code;

	while (*text) {
		text += next_char((const unsigned char *)text, &code);
		n++;
	}
	return n;
}

/* Column `col` (from 1) of the line: what stands there, and what pads the line below it. */
static void add_padding(struct dink_str *pad, uint32_t code, char fill)
{
	if (code == '\t')
		dink_str_addc(pad, fill == ' ' ? '\t' : fill);
	else if (is_in(wide, ARRAY_SIZE(wide), code))
		dink_str_addf(pad, "%c%c", fill, fill);
	else if (!is_in(zero, ARRAY_SIZE(zero), code))
		dink_str_addc(pad, fill);
}

static void add_mark(struct dink_str *below, uint32_t code, bool is_first)
{
	if (!is_first) {
		add_padding(below, code, '~');
		return;
	}
	dink_str_addc(below, '^');
	if (is_in(wide, ARRAY_SIZE(wide), code))
		dink_str_addc(below, '~');
}

void dink_caret_add(struct dink_str *out, const struct dink_src *src)
{
	_cleanup_str_ struct dink_str line = {}, below = {};
	uint32_t total, first = 1, last, col = 1, end, code;

	if (!src->text || !src->line || !src->col)
		return;
	total = count_chars(src->text);
	last = total;
	if (total > SHOWN_MAX) {
		first = src->col > SHOWN_LEFT ? src->col - SHOWN_LEFT : 1;
		if (first + SHOWN_MAX > total + 1)
			first = total + 1 - SHOWN_MAX;
		last = first + SHOWN_MAX - 1;
	}
	end = src->endcol > src->col ? src->endcol : src->col + 1;
	if (end - src->col > MARKED_MAX)
		end = src->col + MARKED_MAX;
	if (first > 1) {
		dink_str_add(&line, "...");
		dink_str_add(&below, "   ");
	}
	for (const char *p = src->text; *p && col <= last; col++) {
		size_t n = next_char((const unsigned char *)p, &code);

		if (col >= first) {
			dink_str_addn(&line, code ? p : "?", code ? n : 1);
			if (col < src->col)
				add_padding(&below, code, ' ');
			else if (col < end)
				add_mark(&below, code, col == src->col);
		}
		p += n;
	}
	if (src->col > total)
		dink_str_addc(&below, '^');
	if (last < total)
		dink_str_add(&line, "...");
	dink_str_addf(out, "    %s\n    %s\n", line.s ? line.s : "", below.s ? below.s : "");
}
