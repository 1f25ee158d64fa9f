/* SPDX-License-Identifier: Apache-2.0 */
/* See cut.h. Knows of tar what Go's writer makes of it: ustar, pax, GNU's long names. */
#include "images/cut.h"

#include "images/cut_check.h"

enum { BLOCK = 512, HEX = 64 };

struct named {
	char *name;
	int layer;
};

enum state { AT_HEADER, IN_EXTRA, IN_DATA, AT_END };

struct dink_cut {
	dink_cut_fn fn, stub;
	void *ctx;
	struct dink_strv diff_ids, chain_ids;
	struct named *names;
	size_t n_names;
	uint32_t seen; /* layers recognised */
	uint32_t n_members;

	enum state state;
	char header[BLOCK];
	size_t have;	      /* of header */
	struct dink_str held; /* headers in front of the member that they tell of */
	struct dink_str text; /* the extra header or "json" at hand, while it comes in */
	char kind;	      /* of the extra header: x L K */
	uint64_t left;	      /* of the member, with its padding */
	uint64_t text_left;   /* of it, what belongs to text */
	int layer;	      /* whose bytes the member is */
	bool strict, has_manifest;
	char *allowed;	       /* with strict: the one name */
	char *checked;	       /* the file at hand that is looked at as a whole */
	char json_of[HEX + 1]; /* the folder whose "json" is coming in; "" = none */
	/* from extra headers, for the next member */
	char *long_name;
	bool long_link;
	int64_t long_size;  /* -1 = none */
	bool has_long_size; /* of the member at hand */
};

struct dink_cut *dink_cut_new(const struct dink_strv *diff_ids, dink_cut_fn fn, dink_cut_fn stub,
			      void *ctx)
{
	struct dink_cut *c = xcalloc(1, sizeof(*c));

	c->fn = fn;
	c->stub = stub;
	c->ctx = ctx;
	c->long_size = -1;
	for (size_t i = 0; i < diff_ids->n && i < DINK_CUT_LAYERS_MAX; i++)
		dink_strv_add(&c->diff_ids, diff_ids->v[i]);
	dink_chain_ids(&c->diff_ids, &c->chain_ids);
	return c;
}

void dink_cut_free(struct dink_cut *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_names; i++)
		free(c->names[i].name);
	free(c->names);
	dink_strv_clear(&c->diff_ids);
	dink_strv_clear(&c->chain_ids);
	dink_str_clear(&c->held);
	dink_str_clear(&c->text);
	free(c->long_name);
	free(c->allowed);
	free(c->checked);
	free(c);
}

void dink_cut_strict(struct dink_cut *c, const char *name)
{
	c->strict = true;
	free(c->allowed);
	c->allowed = name ? xstrdup(name) : NULL;
}

/* --- which layer a member is ---------------------------------------------------------------- */

/* The first place of this layer's diff id: archives hold it once, the other places link to it. */
static int first_of(const struct dink_cut *c, int layer)
{
	for (int i = 0; i < layer; i++)
		if (STREQ(c->diff_ids.v[i], c->diff_ids.v[layer]))
			return i;
	return layer;
}

void dink_cut_name(struct dink_cut *c, const char *name, int layer)
{
	if (layer < 0 || (size_t)layer >= c->diff_ids.n || c->n_names >= DINK_CUT_MEMBERS_MAX)
		return;
	c->names = xreallocarray(c->names, c->n_names + 1, sizeof(*c->names));
	c->names[c->n_names++] = (struct named){xstrdup(name), first_of(c, layer)};
}

int dink_cut_found(const struct dink_cut *c)
{
	return (int)c->seen;
}

static bool is_hex(const char *s)
{
	return strspn(s, "0123456789abcdef") >= HEX;
}

/* The layer whose diff id these 64 digits are; -1 if none. */
static int by_diff_id(const struct dink_cut *c, const char *hex)
{
	for (size_t i = 0; i < c->diff_ids.n; i++)
		if (dink_starts_with(c->diff_ids.v[i], "sha256:") &&
		    strncmp(c->diff_ids.v[i] + strlen("sha256:"), hex, HEX) == 0)
			return (int)i;
	return -1;
}

static int layer_of(const struct dink_cut *c, const char *name)
{
	static const char blobs[] = "blobs/sha256/";

	for (size_t i = 0; i < c->n_names; i++)
		if (STREQ(c->names[i].name, name))
			return c->names[i].layer;
	if (dink_starts_with(name, blobs) && is_hex(name + strlen(blobs)) &&
	    strlen(name) == strlen(blobs) + HEX)
		return by_diff_id(c, name + strlen(blobs));
	if (is_hex(name) && (STREQ(name + HEX, ".tar") || STREQ(name + HEX, "/layer.tar")))
		return by_diff_id(c, name);
	return -1;
}

/* A folder's "json" has come: from now on its layer.tar has a layer. */
static void learn_folder(struct dink_cut *c)
{
	_cleanup_free_ char *name = xasprintf("%s/layer.tar", c->json_of);
	int layer = dink_cut_v1(c->json_of, c->text.s ? c->text.s : "", c->text.len, &c->chain_ids);

	if (layer >= 0)
		dink_cut_name(c, name, layer);
}

/* --- tar ------------------------------------------------------------------------------------ */

static int broken(struct dink_err *err, const char *what)
{
	return dink_err_set(err, DINK_E_CHILD, EBADMSG, "the image's archive: %s", what);
}

/* A number of a header: octal with blanks and NULs around it, or base 256. -1: neither. */
static int64_t header_number(const char *s, size_t n)
{
	uint64_t v = 0;
	size_t i = 0;

	if ((unsigned char)s[0] == 0x80) {
		for (i = 1; i < n; i++) {
			if (v >> 52)
				return -1;
			v = v << 8 | (unsigned char)s[i];
		}
		return (int64_t)v;
	}
	while (i < n && s[i] == ' ')
		i++;
	/* Go skips NULs in front of the digits as well: none of that, or we would see another size */
	for (size_t k = i; i < n && s[i] == '\0' && k < n; k++)
		if (s[k] != '\0' && s[k] != ' ')
			return -1;
	for (; i < n && s[i] >= '0' && s[i] <= '7'; i++) {
		if (v >> 57)
			return -1;
		v = v << 3 | (uint64_t)(s[i] - '0');
	}
	return i == n || s[i] == '\0' || s[i] == ' ' ? (int64_t)v : -1;
}

static int64_t checksum_of(const char h[BLOCK])
{
	int64_t sum = 0;

	for (int i = 0; i < BLOCK; i++)
		sum += i >= 148 && i < 156 ? ' ' : (unsigned char)h[i];
	return sum;
}

static bool is_zero(const char h[BLOCK])
{
	for (int i = 0; i < BLOCK; i++)
		if (h[i])
			return false;
	return true;
}

/* Its name, without a leading "./"; caller frees. */
static char *member_name(struct dink_cut *c, const char h[BLOCK])
{
	_cleanup_free_ char *name = TAKE_PTR(c->long_name);
	const char *clean;

	if (!name && memcmp(h + 257, "ustar\0", 6) == 0 && h[345])
		name = xasprintf("%.155s/%.100s", h + 345, h);
	else if (!name)
		name = xstrndup(h, strnlen(h, 100));
	clean = name;
	while (clean[0] == '.' && clean[1] == '/')
		clean += 2;
	return xstrdup(clean);
}

/* One record "LENGTH KEY=VALUE\n" of a pax header; its length, 0 if it is none. */
static size_t take_record(struct dink_cut *c, const char *s, size_t n)
{
	size_t len = 0, i = 0;
	const char *value;

	for (; i < n && i < 8 && s[i] >= '0' && s[i] <= '9'; i++)
		len = len * 10 + (size_t)(s[i] - '0');
	if (i == 0 || i >= n || s[i] != ' ' || len <= i + 1 || len > n || s[len - 1] != '\n')
		return 0;
	value = memchr(s + i, '=', len - i);
	if (!value)
		return 0;
	value++;
	_cleanup_free_ char *text = xstrndup(value, (size_t)(s + len - 1 - value));
	/* an empty value takes an earlier one back, and a sparse file has another name */
	if (!text[0] || strlen(text) != (size_t)(s + len - 1 - value) ||
	    strncmp(s + i + 1, "GNU.sparse", 10) == 0)
		return c->strict ? 0 : len;
	if (strncmp(s + i + 1, "linkpath=", 9) == 0)
		c->long_link = true;
	if (strncmp(s + i + 1, "path=", 5) == 0) {
		free(c->long_name);
		c->long_name = TAKE_PTR(text);
	} else if (strncmp(s + i + 1, "size=", 5) == 0) {
		size_t digits = strspn(text, "0123456789");

		if (digits == 0 || digits > 16 || text[digits])
			return 0;
		c->long_size = (int64_t)strtoll(text, NULL, 10);
	}
	return len;
}

static int end_extra(struct dink_cut *c, struct dink_err *err)
{
	const char *s = c->text.s ? c->text.s : "";

	if (c->kind == 'K')
		c->long_link = true;
	if (c->kind == 'L') {
		free(c->long_name);
		c->long_name = xstrndup(s, c->text.len);
	}
	for (size_t at = 0, n; c->kind == 'x' && at < c->text.len; at += n) {
		n = take_record(c, s + at, c->text.len - at);
		if (n == 0)
			return broken(err, "a pax header that is none");
	}
	dink_str_clear(&c->text);
	c->state = AT_HEADER;
	return 0;
}

static int begin_extra(struct dink_cut *c, int64_t size, struct dink_err *err)
{
	if (size > DINK_CUT_EXTRA_MAX || c->held.len > 4 * DINK_CUT_EXTRA_MAX)
		return broken(err, "a name or pax header that is too long");
	c->state = IN_EXTRA;
	c->kind = c->header[156];
	c->text_left = (uint64_t)size;
	c->left = ((uint64_t)size + BLOCK - 1) / BLOCK * BLOCK;
	dink_str_addn(&c->held, c->header, BLOCK);
	return c->left ? 0 : end_extra(c, err);
}

/* What of a member with data is to be known of it. */
static void begin_file(struct dink_cut *c, const char *name, int64_t size)
{
	c->layer = layer_of(c, name);
	if (c->layer >= 0)
		c->seen++;
	if (is_hex(name) && STREQ(name + HEX, "/json") && size <= DINK_CUT_JSON_MAX) {
		memcpy(c->json_of, name, HEX);
		c->text_left = (uint64_t)size;
	}
	if (c->strict && dink_cut_is_checked(name)) {
		/* one that is too long is looked at in part, and so no JSON */
		c->checked = xstrdup(name);
		c->text_left = size < DINK_CUT_JSON_MAX ? (uint64_t)size : DINK_CUT_JSON_MAX;
	}
}

static int end_data(struct dink_cut *c, struct dink_err *err)
{
	_cleanup_free_ char *checked = TAKE_PTR(c->checked);
	int r;

	if (c->json_of[0])
		learn_folder(c);
	if (checked) {
		c->has_manifest = c->has_manifest || STREQ(checked, "manifest.json");
		r = dink_cut_check_text(checked, c->text.s ? c->text.s : "", c->text.len,
					c->allowed, err);
		if (r < 0)
			return r;
	}
	dink_str_clear(&c->text);
	c->json_of[0] = '\0';
	c->state = AT_HEADER;
	return 0;
}

/* The member without its data; not where a pax header says its size. */
static int emit_stub(struct dink_cut *c, struct dink_err *err)
{
	char h[BLOCK];
	int r = 0;

	memcpy(h, c->header, BLOCK);
	memcpy(h + 124, "00000000000", 12);
	snprintf(h + 148, 8, "%06o", (unsigned int)checksum_of(h));
	if (c->held.len)
		r = c->stub(c->ctx, c->layer, c->held.s, c->held.len, err);
	return r < 0 ? r : c->stub(c->ctx, c->layer, h, BLOCK, err);
}

static int emit_header(struct dink_cut *c, struct dink_err *err)
{
	int r = 0;

	if (c->layer >= 0 && c->stub && !c->has_long_size)
		r = emit_stub(c, err);
	if (r < 0)
		return r;
	if (c->held.len)
		r = c->fn(c->ctx, c->layer, c->held.s, c->held.len, err);
	dink_str_clear(&c->held);
	return r < 0 ? r : c->fn(c->ctx, c->layer, c->header, BLOCK, err);
}

static int begin_member(struct dink_cut *c, struct dink_err *err)
{
	const char *h = c->header;
	char type = h[156];
	int64_t size = header_number(h + 124, 12);
	_cleanup_free_ char *name = NULL;
	int r;

	c->have = 0;
	if (is_zero(h)) {
		c->state = AT_END;
		c->layer = -1;
		return c->held.len ? broken(err, "it ends within a member") : emit_header(c, err);
	}
	if (checksum_of(h) != header_number(h + 148, 8) || size < 0)
		return broken(err, "a header that is none");
	if (++c->n_members > DINK_CUT_MEMBERS_MAX)
		return broken(err, "too many members");
	if (type == 'x' || type == 'L' || type == 'K')
		return begin_extra(c, size, err);
	if (type == 'S' || (type == 'g' && c->strict))
		return broken(err, "a kind of member that no engine writes");
	name = member_name(c, h);
	r = c->strict ? dink_cut_check_member(name, type, h, c->long_link, err) : 0;
	if (r < 0)
		return r;
	c->long_link = false;
	c->has_long_size = c->long_size >= 0;
	if (c->has_long_size)
		size = c->long_size;
	c->long_size = -1;
	if (type >= '1' && type <= '6')
		size = 0; /* links, devices and folders have no data, whatever they say */
	c->layer = -1;
	c->text_left = 0;
	if (type == '0' || type == '\0')
		begin_file(c, name, size);
	c->state = IN_DATA;
	c->left = ((uint64_t)size + BLOCK - 1) / BLOCK * BLOCK;
	r = emit_header(c, err);
	return r < 0 || c->left ? r : end_data(c, err);
}

/* The part of a member's data that is at hand. */
static int take_data(struct dink_cut *c, const char *s, size_t n, struct dink_err *err)
{
	size_t text = n < c->text_left ? n : (size_t)c->text_left;

	if (text)
		dink_str_addn(&c->text, s, text);
	c->text_left -= text;
	c->left -= n;
	if (c->state == IN_EXTRA) {
		dink_str_addn(&c->held, s, n);
		return c->left ? 0 : end_extra(c, err);
	}
	int r = c->fn(c->ctx, c->layer, s, n, err);
	return r < 0 || c->left ? r : end_data(c, err);
}

int dink_cut_feed(struct dink_cut *c, const void *bytes, size_t n, struct dink_err *err)
{
	const char *s = bytes;
	int r = 0;

	while (r == 0 && n > 0) {
		size_t now = n;

		if (c->state == AT_END)
			return c->fn(c->ctx, -1, s, n, err);
		if (c->state == AT_HEADER) {
			if (now > BLOCK - c->have)
				now = BLOCK - c->have;
			memcpy(c->header + c->have, s, now);
			c->have += now;
			if (c->have == BLOCK)
				r = begin_member(c, err);
		} else {
			if (now > c->left)
				now = (size_t)c->left;
			r = take_data(c, s, now, err);
		}
		s += now;
		n -= now;
	}
	return r;
}

int dink_cut_end(struct dink_cut *c, struct dink_err *err)
{
	if (c->state != AT_END)
		return broken(err, "it was cut off");
	/* without one an engine would go by an older kind of list */
	if (c->strict && !c->has_manifest)
		return broken(err, "it has no manifest.json");
	return 0;
}
