/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an error text means: a catalogue of what runtimes, engines, QEMU and the tools under them say
 * when something fails in a nest of layers, with the level that is to blame, the cause, the fix and
 * where that is written down.
 *
 * The catalogue is data (catalogue_*.c, one table a group of programs). Every entry is reproduced by
 * a test with the real program (tests/explain), whose words are kept as its golden.
 *
 * A pattern is pieces of text with '*' between them, matched in this order within one line, from its
 * beginning if the first is '^'; both sides are folded first: lower case, no quotes or backslashes,
 * blanks as one. There is nothing else in it, so that matching takes linear time whatever the text is.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/json.h"

#include <stdbool.h>
#include <stddef.h>

/* Where the fix belongs. */
enum dink_explain_level {
	DINK_EXPLAIN_WORKLOAD, /* what was to be started: its image, command, options */
	DINK_EXPLAIN_ENGINE,   /* the daemon or runtime: its configuration and state */
	DINK_EXPLAIN_LAYER,    /* the layer it runs in: what its parent grants it */
	DINK_EXPLAIN_KERNEL,   /* the kernel below: the host's, or the nearest VM's guest kernel */
	DINK_EXPLAIN_HOST,     /* the machine: devices, limits, room */
};

enum { DINK_EXPLAIN_PATTERNS = 3 };

struct dink_explain_entry {
	const char *name;    /* "runc-session-key" */
	const char *program; /* who says it */
	enum dink_explain_level level;
	const char *patterns[DINK_EXPLAIN_PATTERNS]; /* any of them, folded */
	const char *cause;
	const char *fix;
	const char *scenario; /* the line of the scenario that the fix changes; NULL = none */
	const char *source;   /* man page, kernel version, issue */
};

/* One table of the catalogue. */
struct dink_explain_table {
	const struct dink_explain_entry *v;
	size_t n;
};
extern const struct dink_explain_table dink_explain_runtimes, dink_explain_engines,
	dink_explain_vms, dink_explain_storage, dink_explain_network;

/* dink_explain_entry_at() - the i-th of all tables, from 0; NULL after the last */
const struct dink_explain_entry *dink_explain_entry_at(size_t i);
/* dink_explain_entry_find() - by name; NULL if there is none */
const struct dink_explain_entry *dink_explain_entry_find(const char *name);
/* dink_explain_level_text() - "layer"; @ret_words: what that means, may be NULL */
const char *dink_explain_level_text(enum dink_explain_level level, const char **ret_words);

enum {
	DINK_EXPLAIN_TEXT_MAX = 4 << 20, /* more is cut off in front: a log's end says why */
	DINK_EXPLAIN_LINE_MAX = 16 << 10,
	DINK_EXPLAIN_MATCHES = 16, /* different entries in one answer */
};

/* An entry that a text has. */
struct dink_explain_match {
	const struct dink_explain_entry *entry;
	char *from;   /* which text: "log of a/b"; NULL where there is only one */
	char *text;   /* its first line, cut to what a person reads, no control characters */
	size_t line;  /* of it, from 1 */
	size_t count; /* lines that have it */
};
struct dink_explanation {
	struct dink_explain_match v[DINK_EXPLAIN_MATCHES];
	size_t n;
};

/*
 * dink_explain_text() - add what a text has, in the order of its lines; of several entries that fit
 * a line the one with most of its words given counts. Lines that a logger calls a warning count only
 * where no others are known, and those it calls information never.
 * @from: copied, NULL = none
 */
void dink_explain_text(const char *text, size_t len, const char *from,
		       struct dink_explanation *ret);
void dink_explanation_clear(struct dink_explanation *x);
#define _cleanup_explanation_ _cleanup_(dink_explanation_clear)

/* dink_explain_err() - add "explain: ..." lines to an error's hint, where its words are known */
void dink_explain_err(struct dink_err *err);

struct json_object *dink_explain_entry_json(const struct dink_explain_entry *e);
struct json_object *dink_explanation_json(const struct dink_explanation *x);
