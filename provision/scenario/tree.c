/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/scenario/tree.h"

#include <assert.h>
#include <yaml.h>

enum { CHUNK_BYTES = 64 << 10 };

struct dink_arena_chunk {
	struct dink_arena_chunk *next;
	size_t used, size;
	max_align_t bytes[];
};

/* An open list or map, and the key that waits for its value. */
struct open_node {
	struct dink_node *node;
	struct dink_node *key;
};

struct builder {
	struct dink_tree *tree;
	struct dink_report *report;
	struct open_node stack[DINK_SCENARIO_DEPTH_MAX];
	size_t depth;
	int n_documents;
	bool stop;
};

static void *arena_get(struct dink_tree *tree, size_t size)
{
	struct dink_arena_chunk *c = tree->chunks;
	void *p;

	size = (size + sizeof(max_align_t) - 1) & ~(sizeof(max_align_t) - 1);
	if (!c || c->size - c->used < size) {
		size_t room = size > CHUNK_BYTES ? size : CHUNK_BYTES;

		c = xmalloc(sizeof(*c) + room);
		c->next = tree->chunks;
		c->used = 0;
		c->size = room;
		tree->chunks = c;
	}
	p = (char *)c->bytes + c->used;
	c->used += size;
	return memset(p, 0, size);
}

void dink_tree_clear(struct dink_tree *tree)
{
	while (tree->chunks) {
		struct dink_arena_chunk *next = tree->chunks->next;

		free(tree->chunks);
		tree->chunks = next;
	}
	tree->root = NULL;
	tree->n_nodes = 0;
}

static struct dink_mark mark_of(const yaml_mark_t *start, const yaml_mark_t *end)
{
	struct dink_mark m = {.line = (uint32_t)start->line + 1,
			      .col = (uint32_t)start->column + 1};

	if (end && end->line == start->line && end->column > start->column)
		m.endcol = (uint32_t)end->column + 1;
	return m;
}

static int compare_once(const void *pa, const void *pb)
{
	const struct dink_once *a = pa, *b = pb;
	int r = strcmp(a->text, b->text);

	if (r)
		return r;
	if (a->mark.line != b->mark.line)
		return a->mark.line < b->mark.line ? -1 : 1;
	return a->mark.col < b->mark.col ? -1 : a->mark.col > b->mark.col;
}

void dink_once_check(struct dink_once *list, size_t n,
		     void (*again)(void *ctx, const struct dink_once *later,
				   const struct dink_once *first),
		     void *ctx)
{
	size_t first = 0;

	if (n < 2)
		return;
	qsort(list, n, sizeof(*list), compare_once);
	for (size_t i = 1; i < n; i++) {
		if (STREQ(list[i].text, list[first].text))
			again(ctx, &list[i], &list[first]);
		else
			first = i;
	}
}

static void refuse_key_again(void *ctx, const struct dink_once *later,
			     const struct dink_once *first)
{
	struct builder *b = ctx;
	struct dink_node *key = later->ctx;

	key->kind = DINK_NODE_REFUSED;
	if (dink_report_at(b->report, later->mark, "'%s' is here twice", dink_shown(later->text).s))
		dink_report_hint(b->report, "the first one is in line %u; remove or rename one",
				 first->mark.line);
}

static void check_keys_once(struct builder *b, struct dink_node *map)
{
	_cleanup_free_ struct dink_once *list = NULL;
	size_t n = 0;

	if (map->n < 2)
		return;
	list = xreallocarray(NULL, map->n, sizeof(*list));
	for (struct dink_node *key = map->first; key; key = key->next) {
		if (key->kind == DINK_NODE_SCALAR)
			list[n++] = (struct dink_once){key->text, key->mark, key};
	}
	dink_once_check(list, n, refuse_key_again, b);
}

/* Puts a finished or opened node where it belongs: root, list item, key or value. */
static void place_node(struct builder *b, struct dink_node *node)
{
	struct open_node *top;

	if (b->depth == 0) {
		b->tree->root = node;
		return;
	}
	top = &b->stack[b->depth - 1];
	if (top->key) {
		top->key->value = node;
		top->key = NULL;
		return;
	}
	if (top->node->kind == DINK_NODE_MAP) {
		if (node->kind != DINK_NODE_SCALAR && node->kind != DINK_NODE_REFUSED)
			dink_report_at(b->report, node->mark, "a key must be a plain name");
		else if (node->kind == DINK_NODE_SCALAR && node->plain && STREQ(node->text, "<<")) {
			node->kind = DINK_NODE_REFUSED;
			if (dink_report_at(b->report, node->mark, "merge keys are not allowed"))
				dink_report_hint(b->report, "write the keys out");
		}
		top->key = node;
	}
	if (top->node->last)
		top->node->last->next = node;
	else
		top->node->first = node;
	top->node->last = node;
	top->node->n++;
}

static struct dink_node *add_node(struct builder *b, enum dink_node_kind kind,
				  const yaml_event_t *ev)
{
	struct dink_mark mark = mark_of(&ev->start_mark, &ev->end_mark);
	struct dink_node *node;

	if (b->tree->n_nodes >= DINK_SCENARIO_NODES_MAX) {
		dink_report_at(b->report, mark, "a scenario has at most %d values",
			       DINK_SCENARIO_NODES_MAX);
		b->stop = true;
		return NULL;
	}
	b->tree->n_nodes++;
	node = arena_get(b->tree, sizeof(*node));
	node->kind = kind;
	node->mark = mark;
	return node;
}

static void refuse_decoration(struct builder *b, const yaml_event_t *ev, const yaml_char_t *anchor,
			      const yaml_char_t *tag)
{
	struct dink_mark mark = mark_of(&ev->start_mark, &ev->end_mark);

	if (anchor && dink_report_at(b->report, mark, "anchors are not allowed ('&%s')",
				     dink_shown((const char *)anchor).s))
		dink_report_hint(b->report, "write the value out where it is used");
	if (tag && dink_report_at(b->report, mark, "tags are not allowed ('%s')",
				  dink_shown((const char *)tag).s))
		dink_report_hint(b->report, "remove it: the key says what kind its value has");
}

static void add_scalar(struct builder *b, const yaml_event_t *ev)
{
	size_t n = ev->data.scalar.length;
	struct dink_node *node;
	char *text;

	refuse_decoration(b, ev, ev->data.scalar.anchor, ev->data.scalar.tag);
	node = add_node(b, DINK_NODE_SCALAR, ev);
	if (!node)
		return;
	text = arena_get(b->tree, n + 1);
	memcpy(text, ev->data.scalar.value, n);
	node->text = text;
	node->plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	if (strlen(text) != n) {
		dink_report_at(b->report, node->mark, "a text cannot hold a NUL character");
		node->kind = DINK_NODE_REFUSED;
	}
	place_node(b, node);
}

static void open_collection(struct builder *b, const yaml_event_t *ev)
{
	bool is_map = ev->type == YAML_MAPPING_START_EVENT;
	struct dink_node *node;

	if (is_map)
		refuse_decoration(b, ev, ev->data.mapping_start.anchor, ev->data.mapping_start.tag);
	else
		refuse_decoration(b, ev, ev->data.sequence_start.anchor,
				  ev->data.sequence_start.tag);
	node = add_node(b, is_map ? DINK_NODE_MAP : DINK_NODE_LIST, ev);
	if (!node)
		return;
	node->braced = is_map ? ev->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE
			      : ev->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
	if (b->depth == DINK_SCENARIO_DEPTH_MAX) {
		if (dink_report_at(b->report, node->mark, "nested more than %d deep",
				   DINK_SCENARIO_DEPTH_MAX))
			dink_report_hint(b->report, "layers can be %d deep, nothing else is",
					 DINK_LAYER_DEPTH_MAX);
		b->stop = true;
		return;
	}
	place_node(b, node);
	b->stack[b->depth++] = (struct open_node){.node = node};
}

static void close_collection(struct builder *b)
{
	struct dink_node *node;

	assert(b->depth > 0); /* libyaml's events are balanced */
	node = b->stack[--b->depth].node;
	if (node && node->kind == DINK_NODE_MAP)
		check_keys_once(b, node);
}

static void start_document(struct builder *b, const yaml_event_t *ev)
{
	struct dink_mark mark = mark_of(&ev->start_mark, NULL);

	if (++b->n_documents > 1) {
		if (dink_report_at(b->report, mark, "a second document begins here"))
			dink_report_hint(b->report, "one file holds one scenario: remove '---' or "
						    "make it a file of its own");
		b->stop = true;
	} else if (ev->data.document_start.tag_directives.start !=
		   ev->data.document_start.tag_directives.end) {
		dink_report_at(b->report, mark, "%%TAG is not allowed");
	}
}

static void take_event(struct builder *b, const yaml_event_t *ev)
{
	struct dink_node *node;

	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		start_document(b, ev);
		break;
	case YAML_SCALAR_EVENT:
		add_scalar(b, ev);
		break;
	case YAML_SEQUENCE_START_EVENT:
	case YAML_MAPPING_START_EVENT:
		open_collection(b, ev);
		break;
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		close_collection(b);
		break;
	case YAML_ALIAS_EVENT:
		node = add_node(b, DINK_NODE_REFUSED, ev);
		if (!node)
			break;
		if (dink_report_at(b->report, node->mark, "aliases are not allowed ('*%s')",
				   dink_shown((const char *)ev->data.alias.anchor).s))
			dink_report_hint(b->report, "write the value out");
		place_node(b, node);
		break;
	default:
		break;
	}
}

/* Line and column of a byte offset, counted as libyaml does. */
static struct dink_mark mark_at_offset(const char *text, size_t len, size_t offset)
{
	struct dink_mark m = {.line = 1, .col = 1};

	for (size_t i = 0; i < offset && i < len; i++) {
		if (text[i] == '\n') {
			m.line++;
			m.col = 1;
		} else if (((unsigned char)text[i] & 0xc0) != 0x80) {
			m.col++;
		}
	}
	return m;
}

static bool is_tab_indent(const char *text, size_t len, struct dink_mark mark)
{
	_cleanup_free_ char *line = dink_source_line(text, len, mark.line);

	return line && line[strspn(line, " ")] == '\t';
}

static void report_syntax(struct builder *b, const yaml_parser_t *p, const char *text, size_t len)
{
	struct dink_mark mark;

	if (p->error == YAML_READER_ERROR) {
		dink_report_at(b->report, mark_at_offset(text, len, p->problem_offset),
			       "not a text: %s", p->problem ? p->problem : "bad byte");
		return;
	}
	mark = mark_of(&p->problem_mark, NULL);
	/* a quote that is never closed: the end of the file says nothing */
	if (p->problem && p->context && STREQ(p->problem, "found unexpected end of stream"))
		mark = mark_of(&p->context_mark, NULL);
	if (!dink_report_at(b->report, mark, "not YAML: %s%s%s",
			    p->problem ? p->problem : "cannot be read", p->context ? " " : "",
			    p->context ? p->context : ""))
		return;
	if (is_tab_indent(text, len, mark))
		dink_report_hint(b->report, "indent with spaces: YAML allows no tabs there");
	else if (p->context && p->context_mark.line + 1 < mark.line)
		dink_report_hint(b->report, "what is not finished began in line %zu",
				 p->context_mark.line + 1);
}

void dink_tree_parse(const char *text, size_t len, struct dink_tree *ret,
		     struct dink_report *report)
{
	struct builder b = {.tree = ret, .report = report};
	yaml_parser_t parser;
	yaml_event_t ev;
	bool done = false;

	if (!yaml_parser_initialize(&parser))
		abort(); /* out of memory, as xmalloc() does */
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	while (!done && !b.stop) {
		if (!yaml_parser_parse(&parser, &ev)) {
			report_syntax(&b, &parser, text, len);
			b.stop = true;
			break;
		}
		done = ev.type == YAML_STREAM_END_EVENT;
		take_event(&b, &ev);
		yaml_event_delete(&ev);
	}
	yaml_parser_delete(&parser);
	if (!ret->root && !report->n)
		dink_report_at(report, (struct dink_mark){1, 1, 0}, "the scenario is empty");
	if (b.stop)
		ret->root = NULL; /* half a tree would only give misleading complaints */
}
