/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Docker's old names of layers. The folder of a layer in an archive of Docker 1.10 to 24 is called
 * by a SHA-256 over the folder's file "json" without "id", with "parent" as a digest, and with
 * "layer_id", the chain id; all members in the order of their names (moby, image/v1 CreateID). The
 * file itself lacks just the chain id: so each candidate is tried. "os" came into the file after
 * the digest was made, but for the top layer, where it was there before.
 *
 * The values are taken as they are written, to the byte: a JSON library would write them anew.
 */
#include "images/cut.h"

#include "provision/base/hash.h"

enum { MEMBERS_MAX = 64 };

struct slice {
	const char *s;
	size_t n;
};

struct pair {
	struct slice key; /* with its quotes */
	struct slice value;
};

static void end_digest(struct dink_hash *h, char ret[72])
{
	char hex[65];

	dink_hash_end(h, hex);
	snprintf(ret, 72, "sha256:%s", hex);
}

void dink_chain_ids(const struct dink_strv *diff_ids, struct dink_strv *ret)
{
	char chain[72];

	for (size_t i = 0; i < diff_ids->n; i++) {
		if (i == 0) {
			dink_strv_add(ret, diff_ids->v[0]);
			continue;
		}
		struct dink_hash *h = dink_hash_new();

		dink_hash_add(h, ret->v[i - 1], strlen(ret->v[i - 1]));
		dink_hash_add(h, " ", 1);
		dink_hash_add(h, diff_ids->v[i], strlen(diff_ids->v[i]));
		end_digest(h, chain);
		dink_strv_add(ret, chain);
	}
}

/* The end of the string that begins at s (a quote); NULL if it has none. */
static const char *skip_string(const char *s, const char *end)
{
	for (s++; s < end; s++) {
		if (*s == '\\')
			s++;
		else if (*s == '"')
			return s + 1;
	}
	return NULL;
}

/* The end of a value: before the comma or brace of the object it is in. */
static const char *skip_value(const char *s, const char *end)
{
	size_t depth = 0;

	while (s && s < end) {
		if (*s == '"') {
			s = skip_string(s, end);
			continue;
		}
		if (depth == 0 && (*s == ',' || *s == '}'))
			return s;
		if (*s == '{' || *s == '[')
			depth++;
		else if ((*s == '}' || *s == ']') && depth-- == 0)
			return NULL;
		s++;
	}
	return NULL;
}

/* The members of one object, written without blanks as Go does; -1 if it is anything else. */
static int split_object(const char *s, size_t len, struct pair ret[MEMBERS_MAX])
{
	const char *end = s + len;
	int n = 0;

	if (len < 2 || *s++ != '{')
		return -1;
	while (s < end && *s == '"' && n < MEMBERS_MAX) {
		struct pair *p = &ret[n++];

		p->key.s = s;
		s = skip_string(s, end);
		if (!s || s >= end || *s != ':')
			return -1;
		p->key.n = (size_t)(s - p->key.s);
		p->value.s = ++s;
		s = skip_value(s, end);
		if (!s)
			return -1;
		p->value.n = (size_t)(s - p->value.s);
		if (*s == '}')
			return n;
		s++;
	}
	return -1;
}

static int compare_pairs(const void *a, const void *b)
{
	const struct slice *x = &((const struct pair *)a)->key, *y = &((const struct pair *)b)->key;
	/* without the closing quote, which would sort before most letters */
	size_t n = (x->n < y->n ? x->n : y->n) - 1;
	int r = memcmp(x->s, y->s, n);

	return r ? r : (x->n > y->n) - (x->n < y->n);
}

static bool is_key(const struct pair *p, const char *key)
{
	return p->key.n == strlen(key) + 2 && memcmp(p->key.s + 1, key, p->key.n - 2) == 0;
}

static void add_pair(struct dink_hash *h, bool *first, const struct pair *p)
{
	dink_hash_add(h, *first ? "{" : ",", 1);
	dink_hash_add(h, p->key.s, p->key.n);
	dink_hash_add(h, ":", 1);
	dink_hash_add(h, p->value.s, p->value.n);
	*first = false;
}

/* Whether the folder's name is the digest of these members with that chain id. */
static bool fits(const char *hex, const struct pair *pairs, int n, const char *chain_id,
		 bool with_os)
{
	struct dink_hash *h = dink_hash_new();
	char quoted[80], parent[80], got[65];
	bool first = true;

	snprintf(quoted, sizeof(quoted), "\"%s\"", chain_id);
	for (int i = 0; i < n; i++) {
		struct pair p = pairs[i];

		if (is_key(&p, "id") || (is_key(&p, "os") && !with_os))
			continue;
		if (is_key(&p, "layer_id")) {
			p.value = (struct slice){quoted, strlen(quoted)};
		} else if (is_key(&p, "parent")) {
			snprintf(parent, sizeof(parent), "\"sha256:%.*s\"", (int)p.value.n - 2,
				 p.value.s + 1);
			p.value = (struct slice){parent, strlen(parent)};
		}
		add_pair(h, &first, &p);
	}
	dink_hash_add(h, "}", 1);
	dink_hash_end(h, got);
	return STREQ(got, hex);
}

int dink_cut_v1(const char *hex, const char *json, size_t len, const struct dink_strv *chain_ids)
{
	static const char layer_id[] = "\"layer_id\"";
	struct pair pairs[MEMBERS_MAX + 1];
	int n = split_object(json, len, pairs);

	if (n < 0)
		return -1;
	for (int i = 0; i < n; i++)
		if (is_key(&pairs[i], "layer_id") ||
		    (is_key(&pairs[i], "parent") &&
		     (pairs[i].value.n != 66 || pairs[i].value.s[0] != '"')))
			return -1;
	pairs[n++] = (struct pair){{layer_id, sizeof(layer_id) - 1}, {"", 0}};
	qsort(pairs, (size_t)n, sizeof(pairs[0]), compare_pairs);
	for (size_t i = 0; i < chain_ids->n; i++)
		if (fits(hex, pairs, n, chain_ids->v[i], false) ||
		    fits(hex, pairs, n, chain_ids->v[i], true))
			return (int)i;
	return -1;
}
