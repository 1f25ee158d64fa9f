/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/scenario/table.h"

#include "provision/base/units.h"

/* Where a struct is being filled: for messages and for marking what was refused. */
struct place {
	struct dink_reader *rd;
	const struct dink_table *table;
	const struct dink_node *key; /* what names the struct, NULL at the top */
	void *obj;
};

void *dink_field_member(const struct dink_field *f, const void *obj, size_t i)
{
	void *array = *(void **)dink_field_at(f, obj);

	return f->table->is_pointer ? ((void **)array)[i] : (char *)array + i * f->table->size;
}

bool dink_field_refused(const struct dink_table *t, const void *obj, const char *key)
{
	uint64_t bits = *(const uint64_t *)((const char *)obj + t->refused_offset);

	for (size_t i = 0; t->fields[i].key; i++) {
		if (STREQ(t->fields[i].key, key))
			return bits >> i & 1;
	}
	return false;
}

/* "of layer 'kata'", "of a mount", "" at the top */
static struct dink_shown owner_words(const struct place *pl)
{
	struct dink_shown out = {}, name;

	if (!pl->key)
		return out;
	if (pl->table->name_rule && pl->key->text) {
		name = dink_shown(pl->key->text);
		if (snprintf(out.s, sizeof(out.s), " of %s '%s'", pl->table->noun, name.s) <
		    (int)sizeof(out.s))
			return out;
	}
	(void)snprintf(out.s, sizeof(out.s), " of a %s", pl->table->noun);
	return out;
}

/* An empty value, and null as YAML writes it: no field has a use for it. */
static bool is_nothing(const struct dink_node *node)
{
	static const char *const null[] = {"", "~", "null", "Null", "NULL"};

	if (node->kind != DINK_NODE_SCALAR || !node->plain)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(null); i++) {
		if (STREQ(node->text, null[i]))
			return true;
	}
	return false;
}

static struct dink_shown node_words(const struct dink_node *node)
{
	struct dink_shown out, text;

	switch (node->kind) {
	case DINK_NODE_LIST:
		return dink_shown(node->n ? "a list" : "an empty list");
	case DINK_NODE_MAP:
		return dink_shown(node->n ? "a map" : "an empty map");
	default:
		break;
	}
	if (is_nothing(node))
		return dink_shown("nothing");
	text = dink_shown(node->text);
	if (snprintf(out.s, sizeof(out.s), "'%s'", text.s) >= (int)sizeof(out.s))
		return text;
	return out;
}

/* Where to point: an empty value has no place of its own, a block's first line says nothing. */
static struct dink_mark value_mark(const struct dink_node *key, const struct dink_node *value)
{
	bool block = value->kind != DINK_NODE_SCALAR && !value->braced;
	bool is_empty = value->kind == DINK_NODE_SCALAR && value->plain && !value->text[0];

	return is_empty || (block && value->mark.line != key->mark.line) ? key->mark : value->mark;
}

static void refuse_field(const struct place *pl, const struct dink_field *f)
{
	if (pl->table->refused_offset)
		*(uint64_t *)((char *)pl->obj + pl->table->refused_offset) |=
			1ULL << (f - pl->table->fields);
}

/* "'cpus' of layer 'x' wants a whole number, not 'two'"; returns whether a hint can be added */
static bool refuse_value(const struct place *pl, const struct dink_field *f,
			 const struct dink_node *key, const struct dink_node *value,
			 const char *wants)
{
	refuse_field(pl, f);
	if (value->kind == DINK_NODE_REFUSED)
		return false;
	if (!dink_report_at(pl->rd->report, value_mark(key, value), "'%s'%s wants %s, not %s",
			    f->key, owner_words(pl).s, wants, node_words(value).s))
		return false;
	if (f->example)
		dink_report_hint(pl->rd->report, "for instance: %s", f->example);
	return true;
}

/* "./x" to FOLDER/x; of folder "." it stays "./x". */
static void resolve_path(const char *base, char **path)
{
	_cleanup_free_ char *old = NULL;
	const char *rest;

	if (!*path || (*path)[0] != '.' || STREQ(base, "."))
		return;
	old = *path;
	rest = old;
	while (dink_starts_with(rest, "./"))
		rest += 2;
	*path = xasprintf("%s%s%s%s", base[0] == '/' || dink_starts_with(base, "./") ? "" : "./",
			  base, STREQ(base, "/") ? "" : "/", rest);
}

static void read_text(const struct place *pl, const struct dink_field *f,
		      const struct dink_node *key, const struct dink_node *value)
{
	char **to = dink_field_at(f, pl->obj);
	size_t n;

	if (value->kind != DINK_NODE_SCALAR || is_nothing(value) || !f->rule->ok(value->text)) {
		_cleanup_free_ char *better = NULL;

		if (!refuse_value(pl, f, key, value, f->rule->wants) ||
		    value->kind != DINK_NODE_SCALAR || is_nothing(value))
			return;
		if (f->rule == &dink_rule_name)
			better = dink_name_suggest(value->text);
		if (better)
			dink_report_hint(pl->rd->report, "for instance: %s: %s", f->key, better);
		else if (f->rule->hint)
			dink_report_hint(pl->rd->report, "%s", f->rule->hint);
		return;
	}
	n = strlen(value->text);
	while (f->rule == &dink_rule_target && n > 1 && value->text[n - 1] == '/')
		n--;
	*to = xstrndup(value->text, n);
	if (f->kind == DINK_FIELD_PATH)
		resolve_path(pl->rd->base, to);
}

static char *join_choices(const char *const *choices)
{
	struct dink_str out = {};

	for (size_t i = 0; choices[i]; i++)
		dink_str_addf(&out, "%s%s",
			      i == 0	       ? ""
			      : choices[i + 1] ? ", "
					       : " or ",
			      choices[i]);
	return dink_str_take(&out);
}

static void read_choice(const struct place *pl, const struct dink_field *f,
			const struct dink_node *key, const struct dink_node *value)
{
	_cleanup_free_ char *all = NULL;
	const char *near;

	for (int i = 0; value->kind == DINK_NODE_SCALAR && f->choices[i]; i++) {
		if (!STREQ(f->choices[i], value->text))
			continue;
		*(int *)dink_field_at(f, pl->obj) = i;
		return;
	}
	all = join_choices(f->choices);
	if (!refuse_value(pl, f, key, value, all) || value->kind != DINK_NODE_SCALAR)
		return;
	near = dink_nearest(value->text, f->choices);
	if (near && value->text[0])
		dink_report_hint(pl->rd->report, "did you mean '%s'?", near);
}

static void read_bool(const struct place *pl, const struct dink_field *f,
		      const struct dink_node *key, const struct dink_node *value)
{
	static const char *const yes[] = {"yes", "on", "True", "TRUE", "y", "1"};
	static const char *const no[] = {"no", "off", "False", "FALSE", "n", "0"};
	bool *to = dink_field_at(f, pl->obj);

	if (value->kind == DINK_NODE_SCALAR && value->plain) {
		if (STREQ(value->text, "true") || STREQ(value->text, "false")) {
			*to = value->text[0] == 't';
			return;
		}
	}
	if (!refuse_value(pl, f, key, value, "true or false") || value->kind != DINK_NODE_SCALAR)
		return;
	if (!value->plain)
		dink_report_hint(pl->rd->report, "without quotes");
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (STREQ(value->text, yes[i]) || STREQ(value->text, no[i]))
			dink_report_hint(pl->rd->report, "write %s: %s", f->key,
					 STREQ(value->text, yes[i]) ? "true" : "false");
	}
}

static void read_number(const struct place *pl, const struct dink_field *f,
			const struct dink_node *key, const struct dink_node *value)
{
	_cleanup_free_ char *wants = NULL;
	const char *s = value->text;
	uint64_t n = 0;

	wants = f->min == f->max ? xasprintf("%ju", (uintmax_t)f->min)
				 : xasprintf("a whole number from %ju to %ju", (uintmax_t)f->min,
					     (uintmax_t)f->max);
	if (value->kind == DINK_NODE_SCALAR && value->plain && *s && strlen(s) <= 10 &&
	    strspn(s, "0123456789") == strlen(s) && (s[0] != '0' || !s[1])) {
		for (; *s; s++)
			n = n * 10 + (uint64_t)(*s - '0');
		if (n >= f->min && n <= f->max) {
			*(uint32_t *)dink_field_at(f, pl->obj) = (uint32_t)n;
			return;
		}
	}
	if (refuse_value(pl, f, key, value, wants) && value->kind == DINK_NODE_SCALAR &&
	    !value->plain)
		dink_report_hint(pl->rd->report, "without quotes");
}

static void read_size(const struct place *pl, const struct dink_field *f,
		      const struct dink_node *key, const struct dink_node *value)
{
	_cleanup_free_ char *least = dink_format_size(f->min), *most = dink_format_size(f->max);
	_cleanup_free_ char *wants = NULL;
	uint64_t bytes;

	if (value->kind != DINK_NODE_SCALAR || dink_parse_size(value->text, &bytes) < 0) {
		refuse_value(pl, f, key, value,
			     "a size, a whole number with a unit (KiB MiB GiB TiB)");
		return;
	}
	if (bytes >= f->min && bytes <= f->max) {
		*(uint64_t *)dink_field_at(f, pl->obj) = bytes;
		return;
	}
	wants = xasprintf("a size from %s to %s", least, most);
	if (refuse_value(pl, f, key, value, wants) && bytes < f->min &&
	    strspn(value->text, "0123456789") == strlen(value->text))
		dink_report_hint(pl->rd->report, "a number without a unit counts bytes: %sMiB?",
				 dink_shown(value->text).s);
}

static void hint_split_words(const struct place *pl, const struct dink_field *f, const char *text)
{
	_cleanup_str_ struct dink_str out = {};

	for (;;) {
		size_t n;

		text += strspn(text, " \t\n");
		n = strcspn(text, " \t\n");
		if (!n || out.len > 60)
			break;
		dink_str_addf(&out, "%s%.*s", out.len ? ", " : "", (int)n, text);
		text += n;
	}
	if (!*text && out.len)
		dink_report_hint(pl->rd->report, "write %s: [%s]", f->key, dink_shown(out.s).s);
}

/* One member of a list of words; false if it was refused. */
static bool check_word(const struct place *pl, const struct dink_field *f,
		       const struct dink_node *item)
{
	const char *near;

	if (item->kind == DINK_NODE_REFUSED)
		return false;
	if (item->kind != DINK_NODE_SCALAR || is_nothing(item)) {
		if (dink_report_at(pl->rd->report, item->mark, "'%s'%s wants texts, not %s", f->key,
				   owner_words(pl).s, node_words(item).s) &&
		    is_nothing(item))
			dink_report_hint(pl->rd->report, "an empty text is written \"\"");
		return false;
	}
	if (!f->words)
		return true;
	for (const char *const *w = f->words(); *w; w++) {
		if (STREQ(*w, item->text))
			return true;
	}
	if (dink_report_at(pl->rd->report, item->mark, "'%s'%s: there is no %s", f->key,
			   owner_words(pl).s, node_words(item).s)) {
		_cleanup_free_ char *all = join_choices(f->words());

		near = dink_nearest(item->text, f->words());
		if (near && item->text[0])
			dink_report_hint(pl->rd->report, "did you mean '%s'?", near);
		else
			dink_report_hint(pl->rd->report, "known are %s", all);
	}
	return false;
}

static void read_words(const struct place *pl, const struct dink_field *f,
		       const struct dink_node *key, const struct dink_node *value)
{
	struct dink_strv *to = dink_field_at(f, pl->obj);

	if (value->kind != DINK_NODE_LIST) {
		if (refuse_value(pl, f, key, value, "a list of texts") &&
		    value->kind == DINK_NODE_SCALAR && !is_nothing(value))
			hint_split_words(pl, f, value->text);
		return;
	}
	if (value->n < f->min) {
		refuse_value(pl, f, key, value, "a list with something in it");
		return;
	}
	for (const struct dink_node *item = value->first; item; item = item->next) {
		if (check_word(pl, f, item))
			dink_strv_add(to, item->text);
		else
			refuse_field(pl, f);
	}
}

static void refuse_env_again(void *ctx, const struct dink_once *later,
			     const struct dink_once *first)
{
	const struct place *pl = ctx;

	if (dink_report_at(pl->rd->report, later->mark, "variable '%s' is set twice",
			   dink_shown(later->text).s))
		dink_report_hint(pl->rd->report, "the first time in line %u", first->mark.line);
}

/* NAME=VALUE of one member, NULL if it is no good (and complained about); caller frees */
static char *read_env_member(const struct place *pl, const struct dink_node *item, bool is_map)
{
	_cleanup_free_ char *text = NULL;

	if (item->kind == DINK_NODE_REFUSED ||
	    (is_map && (item->kind != DINK_NODE_SCALAR || !item->value)) ||
	    (item->value && item->value->kind == DINK_NODE_REFUSED))
		return NULL;
	if (is_map && (item->value->kind != DINK_NODE_SCALAR || is_nothing(item->value))) {
		if (dink_report_at(pl->rd->report, value_mark(item, item->value),
				   "variable '%s'%s wants a text, not %s", dink_shown(item->text).s,
				   owner_words(pl).s, node_words(item->value).s) &&
		    is_nothing(item->value))
			dink_report_hint(pl->rd->report, "an empty value is written \"\"");
		return NULL;
	}
	if (item->kind == DINK_NODE_SCALAR)
		text = is_map ? xasprintf("%s=%s", item->text, item->value->text)
			      : xstrdup(item->text);
	if (text && dink_env_is_valid(text) && (!is_map || !strchr(item->text, '=')))
		return TAKE_PTR(text);
	if (dink_report_at(pl->rd->report, item->mark, "'env'%s wants %s, not %s",
			   owner_words(pl).s, is_map ? "names of variables" : "NAME=VALUE",
			   node_words(item).s))
		dink_report_hint(pl->rd->report, "a name is letters, digits and '_', the first no "
						 "digit: [PATH=/usr/bin] or {PATH: /usr/bin}");
	return NULL;
}

static void read_env(const struct place *pl, const struct dink_field *f,
		     const struct dink_node *key, const struct dink_node *value)
{
	struct dink_strv *to = dink_field_at(f, pl->obj);
	bool is_map = value->kind == DINK_NODE_MAP;
	_cleanup_strv_ struct dink_strv names = {};
	_cleanup_free_ struct dink_once *list = NULL;
	size_t n = 0;

	if (!is_map && value->kind != DINK_NODE_LIST) {
		refuse_value(pl, f, key, value, "a map NAME: VALUE or a list of NAME=VALUE");
		return;
	}
	list = xcalloc(value->n + 1, sizeof(*list));
	for (const struct dink_node *item = value->first; item; item = item->next) {
		char *text = read_env_member(pl, item, is_map);

		if (!text)
			continue;
		dink_strv_own(&names, xstrndup(text, strcspn(text, "=")));
		list[n] = (struct dink_once){.mark = item->mark, .text = names.v[n]};
		n++;
		dink_strv_own(to, text);
	}
	if (!is_map)
		dink_once_check(list, n, refuse_env_again, (void *)pl);
}

/* A member of a list or map, in its long or its short form. */
static void read_member(const struct place *pl, const struct dink_field *f,
			const struct dink_node *key, const struct dink_node *value, void *member)
{
	const struct dink_table *t = f->table;
	const struct dink_node *owner = t->name_rule ? key : value;
	struct dink_report *report = pl->rd->report;
	const char *wants;

	if (t->mark_offset)
		*(struct dink_mark *)((char *)member + t->mark_offset) = owner->mark;
	if (value->kind == DINK_NODE_REFUSED)
		return;
	if (value->kind == DINK_NODE_MAP && t->fields[0].key) {
		dink_table_read(pl->rd, t, owner, value, member);
		return;
	}
	if (value->kind == DINK_NODE_SCALAR && t->read_short && !is_nothing(value)) {
		wants = t->read_short(member, value->text);
		for (const struct dink_field *p = t->fields; !wants && p->key; p++) {
			if (p->kind == DINK_FIELD_PATH)
				resolve_path(pl->rd->base, dink_field_at(p, member));
		}
		if (!wants)
			return;
		if (dink_report_at(report, value->mark, "%s %s wants %s", t->noun,
				   node_words(value).s, wants) &&
		    t->short_example)
			dink_report_hint(report, "for instance: %s", t->short_example);
		return;
	}
	if (!dink_report_at(report, value_mark(owner, value), "%s%s%s%s wants %s, not %s", t->noun,
			    t->name_rule ? " '" : "", t->name_rule ? dink_shown(key->text).s : "",
			    t->name_rule ? "'" : "",
			    !t->fields[0].key ? "a text"
			    : t->read_short   ? "a text or a map"
					      : "a map of its keys",
			    node_words(value).s))
		return;
	if (t->short_example)
		dink_report_hint(report, "for instance: %s", t->short_example);
}

static bool read_name(const struct place *pl, const struct dink_field *f,
		      const struct dink_node *key, void *member)
{
	const struct dink_table *t = f->table;
	_cleanup_free_ char *better = NULL;

	*(char **)((char *)member + t->name_offset) = xstrdup(key->text);
	if (t->name_rule->ok(key->text))
		return true;
	if (dink_report_at(pl->rd->report, key->mark, "%s '%s' wants another name: %s", t->noun,
			   dink_shown(key->text).s, t->name_rule->wants)) {
		better = dink_name_suggest(key->text);
		if (better)
			dink_report_hint(pl->rd->report, "for instance: %s", better);
	}
	return false;
}

static void read_members(const struct place *pl, const struct dink_field *f,
			 const struct dink_node *key, const struct dink_node *value)
{
	const struct dink_table *t = f->table;
	bool is_map = f->kind == DINK_FIELD_MAP;
	size_t *count = (size_t *)((char *)pl->obj + f->count_offset);
	_cleanup_free_ char *wants = NULL;
	void **array = dink_field_at(f, pl->obj);

	if (value->kind != (is_map ? DINK_NODE_MAP : DINK_NODE_LIST) || value->n < f->min) {
		wants = is_map ? xasprintf("a map of %s by name", t->plural)
			       : xasprintf("a list of %s", t->plural);
		refuse_value(pl, f, key, value, wants);
		return;
	}
	if (value->n == 0)
		return;
	*array = xcalloc(value->n, t->is_pointer ? sizeof(void *) : t->size);
	for (const struct dink_node *item = value->first; item; item = item->next) {
		void *member;

		if (is_map && item->kind != DINK_NODE_SCALAR)
			continue;
		if (t->is_pointer)
			((void **)*array)[*count] = xcalloc(1, t->size);
		member = dink_field_member(f, pl->obj, *count);
		++*count;
		if (t->start)
			t->start(member, pl->obj, pl->table);
		if (is_map)
			read_name(pl, f, item, member);
		read_member(pl, f, item, is_map ? item->value : item, member);
	}
}

static void read_field(const struct place *pl, const struct dink_field *f,
		       const struct dink_node *key, const struct dink_node *value)
{
	if (f->mark_offset) {
		bool members = f->kind == DINK_FIELD_MAP || f->kind == DINK_FIELD_LIST;

		*(struct dink_mark *)((char *)pl->obj + f->mark_offset) =
			members ? key->mark : value_mark(key, value);
	}
	switch (f->kind) {
	case DINK_FIELD_TEXT:
	case DINK_FIELD_PATH:
		read_text(pl, f, key, value);
		break;
	case DINK_FIELD_CHOICE:
		read_choice(pl, f, key, value);
		break;
	case DINK_FIELD_BOOL:
		read_bool(pl, f, key, value);
		break;
	case DINK_FIELD_NUMBER:
		read_number(pl, f, key, value);
		break;
	case DINK_FIELD_SIZE:
		read_size(pl, f, key, value);
		break;
	case DINK_FIELD_WORDS:
		read_words(pl, f, key, value);
		break;
	case DINK_FIELD_ENV:
		read_env(pl, f, key, value);
		break;
	case DINK_FIELD_LIST:
	case DINK_FIELD_MAP:
		read_members(pl, f, key, value);
		break;
	}
}

static const struct dink_table *const all_tables[] = {
	&dink_table_scenario,	&dink_table_kernel, &dink_table_disk,
	&dink_table_image,	&dink_table_layer,  &dink_table_mount,
	&dink_table_layer_disk, &dink_table_file,   NULL,
};

static const struct dink_field *find_field(const struct dink_table *t, const char *key)
{
	for (const struct dink_field *f = t->fields; f->key; f++) {
		if (STREQ(f->key, key))
			return f;
	}
	return NULL;
}

/* "disk" is rather "disks" than "dink": the beginning of a word says more than its length */
static const char *near_name(const char *key, const char *const *names)
{
	size_t n = strlen(key);

	for (size_t i = 0; n >= 3 && names[i]; i++) {
		if (strncmp(names[i], key, n) == 0 || dink_starts_with(key, names[i]))
			return names[i];
	}
	return n ? dink_nearest(key, names) : NULL;
}

/* Return: the field it was probably meant to be, NULL if unknown */
static const struct dink_field *refuse_key(const struct place *pl, const struct dink_node *key)
{
	struct dink_report *report = pl->rd->report;
	const char *names[65];
	_cleanup_free_ char *all = NULL;
	const char *near;
	size_t n = 0;

	if (!dink_report_at(report, key->mark, "unknown key '%s'%s%s", dink_shown(key->text).s,
			    pl->key ? " in" : "", pl->key ? owner_words(pl).s + 3 /* " of" */ : ""))
		return NULL;
	for (const struct dink_field *f = pl->table->fields; f->key; f++)
		names[n++] = f->key;
	names[n] = NULL;
	near = near_name(key->text, names);
	if (near) {
		dink_report_hint(report, "did you mean '%s'?", near);
		return find_field(pl->table, near);
	}
	for (const struct dink_table *const *t = all_tables; *t; t++) {
		if (!find_field(*t, key->text))
			continue;
		dink_report_hint(report, "'%s' belongs into a %s", key->text, (*t)->noun);
		return NULL;
	}
	all = join_choices(names);
	dink_report_hint(report, "the keys%s%s are %s", pl->key ? " of a " : "",
			 pl->key ? pl->table->noun : "", all);
	return NULL;
}

static void check_missing(const struct place *pl, const struct dink_node *node, uint64_t seen,
			  bool has_refused)
{
	const struct dink_table *t = pl->table;
	struct dink_mark at = pl->key ? pl->key->mark : node->mark;

	for (size_t i = 0; t->fields[i].key && !has_refused; i++) {
		const struct dink_field *f = &t->fields[i];

		if (!f->required || seen >> i & 1)
			continue;
		if (dink_report_at(pl->rd->report, at, "'%s'%s is missing", f->key,
				   owner_words(pl).s) &&
		    f->example)
			dink_report_hint(pl->rd->report, "for instance: %s", f->example);
	}
	if (t->is_exactly_one && !has_refused && (!seen || seen & (seen - 1))) {
		_cleanup_str_ struct dink_str all = {};

		for (size_t i = 0; t->fields[i].key; i++)
			dink_str_addf(&all, "%s%s", i ? ", " : "", t->fields[i].key);
		dink_report_at(pl->rd->report, at, "%s '%s' wants exactly one of %s", t->noun,
			       dink_shown(pl->key->text).s, all.s);
	}
}

void dink_table_read(struct dink_reader *rd, const struct dink_table *t,
		     const struct dink_node *key, const struct dink_node *node, void *obj)
{
	struct place pl = {.rd = rd, .table = t, .key = key, .obj = obj};
	bool has_refused = false;
	uint64_t seen = 0;

	for (const struct dink_node *k = node->first; k; k = k->next) {
		const struct dink_field *f;

		if (k->kind != DINK_NODE_SCALAR) {
			has_refused = true;
			continue;
		}
		f = find_field(t, k->text);
		if (!f) {
			/* what is misspelled is not missing */
			f = refuse_key(&pl, k);
			seen |= f ? 1ULL << (f - t->fields) : 0;
			continue;
		}
		seen |= 1ULL << (f - t->fields);
		read_field(&pl, f, k, k->value);
	}
	check_missing(&pl, node, seen, has_refused);
}

static void clear_members(const struct dink_field *f, void *obj)
{
	void **array = dink_field_at(f, obj);
	size_t n = dink_field_count(f, obj);

	for (size_t i = 0; i < n; i++) {
		void *member = dink_field_member(f, obj, i);

		dink_table_clear(f->table, member);
		if (f->table->clear)
			f->table->clear(member);
		if (f->table->is_pointer)
			free(member);
	}
	free(*array);
}

void dink_table_clear(const struct dink_table *t, void *obj)
{
	if (t->name_rule)
		free(*(char **)((char *)obj + t->name_offset));
	for (const struct dink_field *f = t->fields; f->key; f++) {
		switch (f->kind) {
		case DINK_FIELD_TEXT:
		case DINK_FIELD_PATH:
			free(*(char **)dink_field_at(f, obj));
			break;
		case DINK_FIELD_WORDS:
		case DINK_FIELD_ENV:
			dink_strv_clear(dink_field_at(f, obj));
			break;
		case DINK_FIELD_LIST:
		case DINK_FIELD_MAP:
			clear_members(f, obj);
			break;
		default:
			break;
		}
	}
}
