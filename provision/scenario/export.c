/* SPDX-License-Identifier: Apache-2.0 */
/* What is made from the field tables for others: JSON Schema, the manual's reference, the model. */
#include "provision/base/json.h"
#include "provision/base/units.h"
#include "provision/scenario/table.h"

static const struct dink_table *const tables[] = {
	&dink_table_scenario, &dink_table_kernel, &dink_table_disk,	  &dink_table_image,
	&dink_table_file,     &dink_table_layer,  &dink_table_layer_disk, &dink_table_layer_file,
	&dink_table_mount,    &dink_table_port,
};

/* Keys of $defs; the disk of a layer is another thing than a disk of the scenario. */
static const char *table_id(const struct dink_table *t)
{
	return t == &dink_table_layer_disk ? "layer_disk" : t->noun;
}

static struct json_object *strings_to_json(const char *const *list)
{
	struct json_object *a = json_object_new_array();

	for (; *list; list++)
		json_object_array_add(a, json_object_new_string(*list));
	return a;
}

/* An unquoted 123 or true is a text to us and a number to other readers of YAML. */
static void set_loose_text(struct json_object *o)
{
	static const char *const types[] = {"string", "number", "boolean", NULL};

	dink_json_set(o, "type", strings_to_json(types));
}

static struct json_object *table_ref(const struct dink_table *t)
{
	_cleanup_free_ char *ref = xasprintf("#/$defs/%s", table_id(t));
	struct json_object *o = dink_json_new();

	dink_json_set_str(o, "$ref", ref);
	return o;
}

static struct json_object *short_schema(const struct dink_table *t)
{
	struct json_object *o = dink_json_new();

	dink_json_set_str(o, "type", "string");
	dink_json_set_str(o, "pattern", t->short_pattern);
	dink_json_set_str(o, "description", t->short_doc);
	return o;
}

static struct json_object *member_schema(const struct dink_table *t)
{
	struct json_object *o, *any;

	if (!t->read_short)
		return table_ref(t);
	if (!t->fields[0].key)
		return short_schema(t);
	o = dink_json_new();
	any = json_object_new_array();
	json_object_array_add(any, short_schema(t));
	json_object_array_add(any, table_ref(t));
	dink_json_set(o, "anyOf", any);
	return o;
}

static void add_members_schema(struct json_object *o, const struct dink_field *f)
{
	struct json_object *names = dink_json_new();

	if (f->kind == DINK_FIELD_LIST) {
		json_object_put(names);
		dink_json_set_str(o, "type", "array");
		dink_json_set(o, "items", member_schema(f->table));
		return;
	}
	dink_json_set_str(o, "type", "object");
	dink_json_set_str(names, "pattern", f->table->name_rule->pattern);
	dink_json_set(o, "propertyNames", names);
	dink_json_set(o, "additionalProperties", member_schema(f->table));
	if (f->min)
		dink_json_set_int(o, "minProperties", (int64_t)f->min);
}

static void add_words_schema(struct json_object *o, const struct dink_field *f)
{
	struct json_object *items = dink_json_new();

	dink_json_set_str(o, "type", "array");
	if (f->words)
		dink_json_set(items, "enum", strings_to_json(f->words()));
	else
		set_loose_text(items);
	dink_json_set(o, "items", items);
	if (f->min)
		dink_json_set_int(o, "minItems", (int64_t)f->min);
}

static void add_env_schema(struct json_object *o)
{
	struct json_object *any = json_object_new_array(), *list = dink_json_new(),
			   *map = dink_json_new(), *item = dink_json_new(),
			   *names = dink_json_new(), *value = dink_json_new();

	dink_json_set_str(item, "type", "string");
	dink_json_set_str(item, "pattern", dink_env_pattern);
	dink_json_set_str(list, "type", "array");
	dink_json_set(list, "items", item);
	dink_json_set_str(names, "pattern", "^[A-Za-z_][A-Za-z0-9_]*$");
	set_loose_text(value);
	dink_json_set_str(map, "type", "object");
	dink_json_set(map, "propertyNames", names);
	dink_json_set(map, "additionalProperties", value);
	json_object_array_add(any, list);
	json_object_array_add(any, map);
	dink_json_set(o, "anyOf", any);
}

static void add_text_schema(struct json_object *o, const struct dink_field *f)
{
	/* a pattern binds strings alone, so that a name like 42 passes as a number too */
	if (f->rule->is_no_number)
		dink_json_set_str(o, "type", "string");
	else
		set_loose_text(o);
	dink_json_set_str(o, "pattern", f->rule->pattern);
}

static struct json_object *field_schema(const struct dink_field *f)
{
	static const char *const size_types[] = {"string", "integer", NULL};
	struct json_object *o = dink_json_new();

	dink_json_set_str(o, "description", f->doc);
	switch (f->kind) {
	case DINK_FIELD_TEXT:
	case DINK_FIELD_PATH:
		add_text_schema(o, f);
		break;
	case DINK_FIELD_CHOICE:
		dink_json_set(o, "enum", strings_to_json(f->choices));
		break;
	case DINK_FIELD_BOOL:
		dink_json_set_str(o, "type", "boolean");
		break;
	case DINK_FIELD_NUMBER:
		dink_json_set_str(o, "type", "integer");
		dink_json_set_int(o, "minimum", (int64_t)f->min);
		dink_json_set_int(o, "maximum", (int64_t)f->max);
		break;
	case DINK_FIELD_SIZE:
		dink_json_set(o, "type", strings_to_json(size_types));
		dink_json_set_str(o, "pattern", "^[0-9]+ *([bB]|[kKmMgGtT]([iI]?[bB])?)?$");
		dink_json_set_int(o, "minimum", (int64_t)f->min);
		dink_json_set_int(o, "maximum", (int64_t)f->max);
		break;
	case DINK_FIELD_WORDS:
		add_words_schema(o, f);
		break;
	case DINK_FIELD_ENV:
		add_env_schema(o);
		break;
	case DINK_FIELD_LIST:
	case DINK_FIELD_MAP:
		add_members_schema(o, f);
		break;
	}
	return o;
}

static void add_table_schema(struct json_object *o, const struct dink_table *t)
{
	struct json_object *props = dink_json_new(), *required = json_object_new_array(),
			   *with = dink_json_new();

	dink_json_set_str(o, "description", t->doc);
	dink_json_set_str(o, "type", "object");
	for (const struct dink_field *f = t->fields; f->key; f++) {
		dink_json_set(props, f->key, field_schema(f));
		if (f->required)
			json_object_array_add(required, json_object_new_string(f->key));
		if (f->with) {
			const char *const list[] = {f->with, NULL};

			dink_json_set(with, f->key, strings_to_json(list));
		}
	}
	dink_json_set(o, "properties", props);
	dink_json_set_bool(o, "additionalProperties", false);
	dink_json_set(o, "required", required);
	dink_json_set(o, "dependentRequired", with);
	if (t->is_exactly_one) {
		dink_json_set_int(o, "minProperties", 1);
		dink_json_set_int(o, "maxProperties", 1);
	}
}

struct json_object *dink_scenario_schema(void)
{
	struct json_object *o = dink_json_new(), *defs = dink_json_new();

	dink_json_set_str(o, "$schema", "https://json-schema.org/draft/2020-12/schema");
	dink_json_set_str(o, "title", "dink scenario");
	add_table_schema(o, &dink_table_scenario);
	for (size_t i = 1; i < ARRAY_SIZE(tables); i++) {
		struct json_object *def;

		if (!tables[i]->fields[0].key)
			continue;
		def = dink_json_new();
		add_table_schema(def, tables[i]);
		dink_json_set(defs, table_id(tables[i]), def);
	}
	dink_json_set(o, "$defs", defs);
	return o;
}

/* mdoc(7): a macro's argument that begins a line with '.' or "'" would be a request */
static void add_mdoc_text(struct dink_str *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '\\')
			dink_str_add(out, "\\e");
		else
			dink_str_addc(out, *text);
		/* a sentence a line, so that the reader gets his spacing */
		if (*text == '.' && text[1] == ' ') {
			dink_str_addc(out, '\n');
			text++;
		}
	}
	dink_str_addc(out, '\n');
}

static void add_kind_words(struct dink_str *out, const struct dink_field *f)
{
	_cleanup_free_ char *least = dink_format_size(f->min), *most = dink_format_size(f->max);

	switch (f->kind) {
	case DINK_FIELD_CHOICE:
		for (size_t i = 0; f->choices[i]; i++)
			dink_str_addf(out, "%s%s", i ? " | " : "", f->choices[i]);
		break;
	case DINK_FIELD_BOOL:
		dink_str_add(out, "true | false");
		break;
	case DINK_FIELD_NUMBER:
		if (f->min == f->max)
			dink_str_addf(out, "%ju", (uintmax_t)f->min);
		else
			dink_str_addf(out, "%ju to %ju", (uintmax_t)f->min, (uintmax_t)f->max);
		break;
	case DINK_FIELD_SIZE:
		dink_str_addf(out, "size, %s to %s", least, most);
		break;
	case DINK_FIELD_WORDS:
		dink_str_add(out, "list of texts");
		break;
	case DINK_FIELD_ENV:
		dink_str_add(out, "map or list");
		break;
	case DINK_FIELD_LIST:
		dink_str_addf(out, "list of %s", f->table->plural);
		break;
	case DINK_FIELD_MAP:
		dink_str_addf(out, "map of %s by name", f->table->plural);
		break;
	default:
		dink_str_add(out, f->kind == DINK_FIELD_PATH ? "path" : "text");
		break;
	}
}

static void add_field_reference(struct dink_str *out, const struct dink_field *f)
{
	dink_str_addf(out, ".It Cm %s Pq ", f->key);
	add_kind_words(out, f);
	dink_str_addc(out, '\n');
	add_mdoc_text(out, f->doc);
	if (f->rule)
		dink_str_addf(out, "It is %s.\n", f->rule->wants);
	if (f->words) {
		dink_str_add(out, "Known are");
		for (const char *const *w = f->words(); *w; w++)
			dink_str_addf(out, "%s\n.Cm %s", w == f->words() ? "" : " ,", *w);
		dink_str_add(out, " .\n");
	}
	if (f->required)
		dink_str_add(out, "Required.\n");
	if (f->fallback)
		dink_str_addf(out, "Default: %s.\n", f->fallback);
	if (f->example)
		dink_str_addf(out, "Example:\n.Ql %s\n", f->example);
}

char *dink_scenario_reference(void)
{
	struct dink_str out = {};

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		const struct dink_table *t = tables[i];

		if (t == &dink_table_scenario)
			dink_str_add(&out, ".Ss The file\n");
		else if (t == &dink_table_layer_disk)
			dink_str_add(&out, ".Ss Disks in a layer\n");
		else if (t == &dink_table_layer_file)
			dink_str_add(&out, ".Ss Files in a layer\n");
		else
			dink_str_addf(&out, ".Ss %c%s\n", t->plural[0] - 'a' + 'A', t->plural + 1);
		add_mdoc_text(&out, t->doc);
		if (t->short_doc)
			add_mdoc_text(&out, t->short_doc);
		if (t->short_example)
			dink_str_addf(&out, "Example:\n.Ql %s\n", t->short_example);
		if (!t->fields[0].key)
			continue;
		dink_str_add(&out, ".Bl -tag -width Ds\n");
		for (const struct dink_field *f = t->fields; f->key; f++)
			add_field_reference(&out, f);
		dink_str_add(&out, ".El\n");
	}
	return dink_str_take(&out);
}

static struct json_object *table_to_json(const struct dink_table *t, const void *obj);

static struct json_object *members_to_json(const struct dink_field *f, const void *obj)
{
	bool is_map = f->kind == DINK_FIELD_MAP;
	struct json_object *o = is_map ? dink_json_new() : json_object_new_array();

	for (size_t i = 0; i < dink_field_count(f, obj); i++) {
		const char *member = dink_field_member(f, obj, i);
		struct json_object *v = f->table->write_short ? f->table->write_short(member)
							      : table_to_json(f->table, member);

		if (is_map)
			json_object_object_add(o, *(char *const *)(member + f->table->name_offset),
					       v);
		else
			json_object_array_add(o, v);
	}
	return o;
}

/* NULL: not asked for, so not written */
static struct json_object *field_to_json(const struct dink_field *f, const void *obj)
{
	const void *p = dink_field_at(f, obj);

	switch (f->kind) {
	case DINK_FIELD_TEXT:
	case DINK_FIELD_PATH:
		return *(char *const *)p ? json_object_new_string(*(char *const *)p) : NULL;
	case DINK_FIELD_CHOICE:
		return json_object_new_string(f->choices[*(const int *)p]);
	case DINK_FIELD_BOOL:
		return json_object_new_boolean(*(const bool *)p);
	case DINK_FIELD_NUMBER:
		return *(const uint32_t *)p ? json_object_new_int64(*(const uint32_t *)p) : NULL;
	case DINK_FIELD_SIZE:
		return *(const uint64_t *)p ? json_object_new_int64((int64_t) * (const uint64_t *)p)
					    : NULL;
	case DINK_FIELD_WORDS:
	case DINK_FIELD_ENV:
		return ((const struct dink_strv *)p)->n ? dink_json_strv(p) : NULL;
	case DINK_FIELD_LIST:
	case DINK_FIELD_MAP:
		return dink_field_count(f, obj) ? members_to_json(f, obj) : NULL;
	}
	return NULL;
}

static struct json_object *table_to_json(const struct dink_table *t, const void *obj)
{
	struct json_object *o = dink_json_new();

	for (const struct dink_field *f = t->fields; f->key; f++) {
		struct json_object *v = field_to_json(f, obj);

		if (v)
			json_object_object_add(o, f->key, v);
	}
	return o;
}

struct json_object *dink_scenario_to_json(const struct dink_scenario *s)
{
	return table_to_json(&dink_table_scenario, s);
}
