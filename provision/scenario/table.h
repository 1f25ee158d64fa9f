/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Field tables: each struct of the model described once. Reading, freeing, writing back, the JSON
 * Schema and the manual's reference all walk the same tables (schema.c).
 */
#pragma once

#include "provision/scenario/tree.h"

enum dink_field_kind {
	DINK_FIELD_TEXT, /* char * */
	DINK_FIELD_PATH, /* char *: on the machine where dink runs; "./x" is beside the scenario */
	DINK_FIELD_CHOICE, /* enum: index into choices */
	DINK_FIELD_BOOL,   /* bool */
	DINK_FIELD_NUMBER, /* uint32_t, min..max */
	DINK_FIELD_SIZE,   /* uint64_t bytes, min..max */
	DINK_FIELD_WORDS,  /* struct dink_strv: a list of texts */
	DINK_FIELD_ENV,	   /* struct dink_strv of NAME=VALUE: a list, or a map NAME: VALUE */
	DINK_FIELD_LIST,   /* array of structs, and a size_t count */
	DINK_FIELD_MAP,	   /* the same, each with a name */
};

/* What a text must look like. */
struct dink_rule {
	const char *wants;   /* "an absolute path" */
	const char *pattern; /* the same as a regular expression, for the schema */
	bool (*ok)(const char *text);
	const char *hint;  /* may be NULL */
	bool is_no_number; /* nothing that fits looks like a number or a boolean of YAML */
};

struct dink_table;

struct dink_field {
	const char *key;
	enum dink_field_kind kind;
	bool required;
	size_t offset;
	size_t count_offset; /* LIST, MAP */
	size_t mark_offset;  /* a struct dink_mark; 0 = not kept */
	uint64_t min, max;   /* NUMBER, SIZE; LIST, MAP and WORDS: members at least, at most */
	const char *const *choices;	   /* CHOICE; NULL-terminated */
	const char *const *(*words)(void); /* WORDS: only these; NULL = any */
	const struct dink_rule *rule;	   /* TEXT, PATH, and the members of WORDS */
	const struct dink_table *table;	   /* LIST, MAP */
	const char *with;		   /* makes sense only beside this key */
	const char *fallback;		   /* what holds without it, for the manual */
	const char *example;
	const char *doc; /* for people: sentences */
};

struct dink_table {
	const char *noun; /* "layer" */
	const char *plural;
	const char *doc;
	size_t size;
	const struct dink_field *fields;   /* ended by key NULL; at most 64 */
	bool is_pointer;		   /* the array holds pointers */
	bool is_exactly_one;		   /* one of the fields, no more */
	const struct dink_rule *name_rule; /* members of a MAP: the name, char * at name_offset */
	size_t name_offset;
	size_t mark_offset;    /* of the name or, without one, of the value; 0 = none */
	size_t refused_offset; /* uint64_t: fields whose value was refused; 0 = none */
	/*
	 * A member written as one text instead of a map; NULL = not possible.
	 * Return: NULL, or what it wants.
	 */
	const char *(*read_short)(void *obj, const char *text);
	struct json_object *(*write_short)(const void *obj); /* where there is no other form */
	const char *short_pattern, *short_example, *short_doc;
	void (*start)(void *obj, void *outer,
		      const struct dink_table *outer_table); /* may be NULL */
	void (*clear)(void *obj); /* what the fields do not own; may be NULL */
};

struct dink_reader {
	struct dink_report *report;
	const char *base; /* folder that relative paths start from */
};

/*
 * dink_table_read() - fill obj (zeroed) from a map node; problems go to the report
 * @key: where obj begins, for what is missing; NULL for the whole document
 */
void dink_table_read(struct dink_reader *rd, const struct dink_table *t,
		     const struct dink_node *key, const struct dink_node *node, void *obj);
/* dink_table_clear() - free what obj owns; for a pointer table not obj itself */
void dink_table_clear(const struct dink_table *t, void *obj);

/* Access by table, shared by the walkers. */
static inline void *dink_field_at(const struct dink_field *f, const void *obj)
{
	return (char *)obj + f->offset;
}
static inline size_t dink_field_count(const struct dink_field *f, const void *obj)
{
	return *(const size_t *)((const char *)obj + f->count_offset);
}
/* member i of a LIST or MAP */
void *dink_field_member(const struct dink_field *f, const void *obj, size_t i);
/* whether the value of the field with this key was wrong (its default is in place) */
bool dink_field_refused(const struct dink_table *t, const void *obj, const char *key);

extern const struct dink_table dink_table_scenario, dink_table_kernel, dink_table_disk,
	dink_table_image, dink_table_layer, dink_table_layer_disk, dink_table_mount,
	dink_table_port, dink_table_file, dink_table_layer_file;

/* rules.c */
extern const struct dink_rule dink_rule_name, dink_rule_image, dink_rule_target, dink_rule_source,
	dink_rule_kernel_source, dink_rule_sha256, dink_rule_registry, dink_rule_hostname,
	dink_rule_label, dink_rule_user, dink_rule_file_source;
bool dink_env_is_valid(const char *text);
const char *dink_port_read(void *obj, const char *text);
const char *dink_mount_read(void *obj, const char *text);
const char *dink_layer_disk_read(void *obj, const char *text);
const char *dink_layer_file_read(void *obj, const char *text);
struct json_object *dink_layer_file_write(const void *obj);
void dink_layer_file_clear(void *obj);
struct json_object *dink_port_write(const void *obj);
void dink_port_clear(void *obj);
extern const char dink_port_pattern[], dink_mount_pattern[], dink_env_pattern[],
	dink_target_pattern[];
/* dink_name_suggest() - a valid name like this one, NULL if there is none; caller frees */
char *dink_name_suggest(const char *name);

/* dink_file_is_url() - of a file's source */
bool dink_file_is_url(const char *source);

/* check.c: what needs the whole model */
void dink_scenario_check(struct dink_scenario *s, struct dink_report *report);
/*
 * dink_check_hint_definition() - "did you mean 'x', defined in line n?", or how to define it
 * @key: of the scenario: "disks"
 */
void dink_check_hint_definition(const struct dink_scenario *s, struct dink_report *report,
				const char *key, const char *name);
/* check_share.c: files: and reach:, what layers have from elsewhere */
void dink_check_share(const struct dink_scenario *s, struct dink_report *report);
