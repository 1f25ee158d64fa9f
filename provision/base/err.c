/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/base/err.h"

#ifdef __clang_analyzer__
#undef dink_err_set
#undef dink_err_push
#undef dink_err_hint
#endif

#include "provision/base/caret.h"
#include "provision/base/json.h"
#include "provision/base/mem.h"

#include <assert.h>

int dink_err_set(struct dink_err *err, int code, int errnum, const char *fmt, ...)
{
	va_list ap;

	assert(!dink_err_is_set(err));
	err->code = code;
	err->errnum = errnum < 0 ? -errnum : errnum;
	va_start(ap, fmt);
	err->msg = xvasprintf(fmt, ap);
	va_end(ap);
	return err->errnum ? -err->errnum : -EINVAL;
}

static int err_return(const struct dink_err *err)
{
	return err->errnum ? -err->errnum : -EINVAL;
}

int dink_err_push(struct dink_err *err, const char *fmt, ...)
{
	va_list ap;

	if (err->n_frames < DINK_ERR_FRAMES) {
		va_start(ap, fmt);
		err->frames[err->n_frames++] = xvasprintf(fmt, ap);
		va_end(ap);
	}
	return err_return(err);
}

int dink_err_hint(struct dink_err *err, const char *fmt, ...)
{
	va_list ap;

	free(err->hint);
	va_start(ap, fmt);
	err->hint = xvasprintf(fmt, ap);
	va_end(ap);
	return err_return(err);
}

void dink_err_detail(struct dink_err *err, const char *text)
{
	free(err->detail);
	err->detail = text && *text ? xstrdup(text) : NULL;
}

void dink_err_at(struct dink_err *err, const char *file, uint32_t line, uint32_t col,
		 uint32_t endcol, const char *text)
{
	free(err->src.file);
	free(err->src.text);
	err->src = (struct dink_src){
		.file = file ? xstrdup(file) : NULL,
		.text = text ? xstrdup(text) : NULL,
		.line = line,
		.col = col,
		.endcol = endcol,
	};
}

void dink_err_move(struct dink_err *dst, struct dink_err *src)
{
	assert(!dink_err_is_set(dst));
	*dst = *src;
	memset(src, 0, sizeof(*src));
}

void dink_err_clear(struct dink_err *err)
{
	free(err->msg);
	free(err->hint);
	free(err->detail);
	free(err->src.file);
	free(err->src.text);
	for (int i = 0; i < err->n_frames; i++)
		free(err->frames[i]);
	memset(err, 0, sizeof(*err));
}

static void add_lines(struct dink_str *out, const char *prefix, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n");

		dink_str_add(out, prefix);
		dink_str_addn(out, text, n);
		dink_str_addc(out, '\n');
		text += n + (text[n] == '\n');
	}
}

/* Part of the text may be a guest's or a program's: it gets no say over the terminal. */
static void disarm(char *text)
{
	unsigned char *w = (unsigned char *)text;

	for (const unsigned char *p = w; *p; p++) {
		if (*p == '\r')
			continue;
		if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
			p++; /* C1 controls in UTF-8 */
		else if ((*p >= 0x20 && *p != 0x7f) || *p == '\n' || *p == '\t') {
			*w++ = *p;
			continue;
		}
		*w++ = '?';
	}
	*w = '\0';
}

char *dink_err_format(const struct dink_err *err)
{
	struct dink_str out = {};

	if (err->src.file) {
		dink_str_add(&out, err->src.file);
		if (err->src.line)
			dink_str_addf(&out, ":%u:%u", err->src.line, err->src.col);
		dink_str_add(&out, ": ");
	}
	dink_str_add(&out, err->msg ? err->msg : "no error");
	if (err->errnum && !err->src.line)
		dink_str_addf(&out, ": %s", strerror(err->errnum));
	dink_str_addc(&out, '\n');
	dink_caret_add(&out, &err->src);
	for (int i = 0; i < err->n_frames; i++)
		dink_str_addf(&out, "  while %s\n", err->frames[i]);
	if (err->detail)
		add_lines(&out, "  | ", err->detail);
	if (err->hint)
		dink_str_addf(&out, "  hint: %s\n", err->hint);
	disarm(out.s);
	return dink_str_take(&out);
}

struct json_object *dink_err_to_json(const struct dink_err *err)
{
	struct json_object *o = dink_json_new(), *frames;

	dink_json_set_int(o, "code", err->code);
	dink_json_set_int(o, "errno", err->errnum);
	dink_json_set_str(o, "message", err->msg);
	if (err->src.file) {
		dink_json_set_str(o, "file", err->src.file);
		dink_json_set_int(o, "line", err->src.line);
		dink_json_set_int(o, "column", err->src.col);
	}
	frames = json_object_new_array();
	for (int i = 0; i < err->n_frames; i++)
		json_object_array_add(frames, json_object_new_string(err->frames[i]));
	dink_json_set(o, "frames", frames);
	dink_json_set_str(o, "detail", err->detail);
	dink_json_set_str(o, "hint", err->hint);
	return o;
}
