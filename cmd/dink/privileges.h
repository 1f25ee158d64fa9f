/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands of `dink privileges` share: the operand, the host, the base profile. */
#pragma once

#include "cmd/dink/cmd.h"

#include "provision/host/facts.h"
#include "provision/privilege/privilege.h"

extern const char priv_base_profile[]; /* its path */

/* One scenario on one host. */
struct priv_source {
	struct dink_scenario *s;
	struct dink_facts *f;
	char *base; /* the base seccomp profile's text; NULL: it is not there */
	size_t base_len;
};

/*
 * priv_split() - "scenarios/x.yaml/proxy/kata": the longest part that is a file is the scenario,
 * the rest a layer; *ret_layer is NULL where nothing is left. Both are the caller's.
 */
char *priv_split(const char *operand, char **ret_layer);

/*
 * priv_open() - load file (NULL: the one here) and the host
 * @facts: a saved host, NULL = this one
 */
int priv_open(struct dink_args *args, const char *file, const char *facts, struct priv_source *ret,
	      struct dink_err *err);
/* priv_read_base() - the base profile alone, part of priv_open() */
void priv_read_base(struct priv_source *src);
void priv_clear(struct priv_source *src);
#define _cleanup_priv_ _cleanup_(priv_clear)

/* priv_find() - a layer by its path with or without the scenario's name; *ret_path: with it */
int priv_find(const struct priv_source *src, const char *layer, const struct dink_layer **ret,
	      char **ret_path, struct dink_err *err);

/* priv_print_scores() - the four numbers of two sets beside one another */
void priv_print_scores(const char *name_a, const struct dink_privilege_score *a, const char *name_b,
		       const struct dink_privilege_score *b);
