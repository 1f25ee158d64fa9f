/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML text -> a tree of nodes that know their places.
 *
 * Made from libyaml's events. What a configuration file has no use for is refused here: anchors
 * and aliases, tags, merge keys, duplicate keys, more than one document, NUL, and anything beyond
 * the limits of scenario.h. Scalars stay text: whether `no` or `0o17` means anything is for the
 * field tables to say. Nodes and texts live as long as the tree.
 */
#pragma once

#include "provision/scenario/problem.h"

enum dink_node_kind {
	DINK_NODE_SCALAR,
	DINK_NODE_LIST,
	DINK_NODE_MAP,
	DINK_NODE_REFUSED, /* already complained about: to be passed over in silence */
};

struct dink_node {
	enum dink_node_kind kind;
	bool plain;  /* a scalar without quotes */
	bool braced; /* a list in [] or a map in {} */
	struct dink_mark mark;
	const char *text;	 /* of a scalar, NUL-terminated */
	size_t n;		 /* members of a list or map */
	struct dink_node *first; /* first item of a list, first key of a map */
	struct dink_node *last;
	struct dink_node *next;	 /* item or key after this one */
	struct dink_node *value; /* of a key */
};

struct dink_tree {
	struct dink_node *root; /* NULL if nothing could be made of the text */
	struct dink_arena_chunk *chunks;
	size_t n_nodes;
};

/*
 * dink_tree_parse() - whatever part of the text can be understood, problems in report
 * @text: without byte order mark, NUL-terminated
 */
void dink_tree_parse(const char *text, size_t len, struct dink_tree *ret,
		     struct dink_report *report);
void dink_tree_clear(struct dink_tree *tree);

/* Something that must be there once: a key, a mount's target. */
struct dink_once {
	const char *text;
	struct dink_mark mark;
	void *ctx;
};
/*
 * dink_once_check() - sorts list, and calls again() for each member whose text an earlier one (by
 * place) has too. n log n whatever the input.
 */
void dink_once_check(struct dink_once *list, size_t n,
		     void (*again)(void *ctx, const struct dink_once *later,
				   const struct dink_once *first),
		     void *ctx);
