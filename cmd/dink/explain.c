/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dink explain: what an error text, or what a layer and the last `up` said, means. With words that
 * are no layer's address they are the text.
 */
#include "cmd/dink/cmd.h"

#include "provision/base/file.h"
#include "provision/base/json.h"
#include "provision/explain/explain.h"
#include "provision/step/failure.h"
#include "provision/step/instance.h"

#include <ctype.h>
#include <sys/mman.h>

struct explain_opts {
	bool list;
};

enum { EXPLAIN_NOTHING = 1 }; /* the exit code where nothing is known */

static void print_entry(const struct dink_explain_entry *e)
{
	const char *words, *level = dink_explain_level_text(e->level, &words);

	printf("%s\n", e->name);
	printf("  said by   %s\n", e->program);
	printf("  level     %s (%s)\n", level, words);
	printf("  cause     %s\n", e->cause);
	printf("  fix       %s\n", e->fix);
	if (e->scenario)
		printf("  scenario  %s\n", e->scenario);
	printf("  source    %s\n", e->source);
}

static int list_all(const struct dink_args *args)
{
	struct json_object *list = args->json ? json_object_new_array() : NULL;
	const struct dink_explain_entry *e;

	for (size_t i = 0; (e = dink_explain_entry_at(i)); i++) {
		if (list)
			json_object_array_add(list, dink_explain_entry_json(e));
		else
			printf("%-28s %-10s %-9s %s\n", e->name, e->program,
			       dink_explain_level_text(e->level, NULL), e->cause);
	}
	if (list)
		cmd_print_json(list);
	return 0;
}

static void print_matches(const struct dink_explanation *x)
{
	for (size_t i = 0; i < x->n; i++) {
		const struct dink_explain_match *m = &x->v[i];

		if (i)
			printf("\n");
		print_entry(m->entry);
		printf("  seen      %s%sline %zu", m->from ? m->from : "", m->from ? ", " : "",
		       m->line);
		if (m->count > 1)
			printf(" and %zu more", m->count - 1);
		printf(":\n            %s\n", m->text);
	}
}

/* @where: what was looked at, for the case that nothing fits */
static int show(const struct dink_args *args, const struct dink_explanation *x, const char *where)
{
	if (args->json) {
		struct json_object *o = dink_json_new();

		dink_json_set(o, "matches", dink_explanation_json(x));
		cmd_print_json(o);
	} else {
		print_matches(x);
	}
	if (x->n > 0)
		return 0;
	fprintf(stderr,
		"dink: nothing in the catalogue fits %s\n"
		"  next: dink explain --list shows what is known; dink trace LAYER -- COMMAND "
		"shows\n"
		"  which system call fails, dink privileges explain what the layer was granted\n",
		where);
	return EXPLAIN_NOTHING;
}

static void explain_object(struct json_object *o, const char *key, const char *from,
			   struct dink_explanation *x)
{
	const char *text = dink_json_str_or(o, key, NULL);

	if (text)
		dink_explain_text(text, strlen(text), from, x);
}

/* The last `up` of the instance, if it failed. */
static void explain_failure(const char *instance, struct dink_explanation *x)
{
	_cleanup_json_ struct json_object *o = dink_failure_load(instance);

	explain_object(o, "message", "the last up", x);
	explain_object(o, "detail", "the last up", x);
}

static void explain_log(const struct dink_reach *reach, const char *address,
			struct dink_explanation *x)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_close_ int fd = memfd_create("log", MFD_CLOEXEC);
	_cleanup_free_ char *from = xasprintf("log of %s", address), *text = NULL;
	size_t len = 0;

	if (fd < 0 ||
	    dink_engine_logs(reach->parent, reach->container, false, "2000", fd, fd, &quiet) < 0 ||
	    lseek(fd, 0, SEEK_SET) < 0 || dink_fd_read_all(fd, 16 << 20, &text, &len, &quiet) < 0)
		return;
	dink_explain_text(text, len, from, x);
}

/* What its engine says of a layer, then what the layer itself said. */
static int explain_layer(const char *address, struct dink_explanation *x, struct dink_err *err)
{
	_cleanup_reach_ struct dink_reach reach = {};
	_cleanup_json_ struct json_object *state = NULL;
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_free_ char *from = xasprintf("state of %s", address);
	int r = dink_instance_reach(address, &reach, err);

	if (r < 0 || !reach.container || !reach.parent)
		return r;
	if (dink_engine_inspect(reach.parent, reach.container, &state, &quiet) == 0)
		explain_object(state, "State.Error", from, x);
	explain_log(&reach, address, x);
	return 0;
}

/* An instance's name alone means all of its layers. */
static int explain_address(const char *address, const char *instance, struct dink_explanation *x,
			   struct dink_err *err)
{
	_cleanup_(dink_instance_freep) struct dink_instance *i = NULL;
	_cleanup_(dink_err_clear) struct dink_err gone = {};
	int r;

	explain_failure(instance, x);
	r = dink_instance_load(instance, &i, &gone);
	if (r < 0) {
		/* a failed `up` leaves nothing else: then its error is all there is */
		if (x->n > 0 || r == -ENOENT)
			return 0;
		dink_err_move(err, &gone);
		return r;
	}
	if (strchr(address, '/'))
		return explain_layer(address, x, err);
	for (size_t k = 0; k < i->n_layers; k++) {
		_cleanup_(dink_err_clear) struct dink_err quiet = {};

		(void)!explain_layer(i->layers[k].address, x, &quiet);
	}
	return 0;
}

/* The instance that a word names: one that is there, or whose last `up` failed. NULL: it is text. */
static char *find_instance(const char *word)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_strv_ struct dink_strv names = {};
	_cleanup_free_ char *name = xstrndup(word, strcspn(word, "/"));
	_cleanup_json_ struct json_object *failure = NULL;

	if (dink_instance_list(&names, &quiet) == 0 && dink_strv_has(&names, name))
		return TAKE_PTR(name);
	failure = dink_failure_load(name);
	return failure ? TAKE_PTR(name) : NULL;
}

static int read_stdin(char **ret, size_t *ret_len, struct dink_err *err)
{
	int r = dink_fd_read_all(STDIN_FILENO, 64 << 20, ret, ret_len, err);

	return r < 0 ? dink_err_hint(err, "give the end of it: tail -c 4M LOG | dink explain -")
		     : 0;
}

static int explain_words(const struct dink_args *args, struct dink_explanation *x)
{
	_cleanup_str_ struct dink_str text = {};
	const struct dink_explain_entry *e =
		args->n == 1 ? dink_explain_entry_find(args->v[0]) : NULL;

	if (e) { /* the name of an entry, as `up` and --list print it */
		if (args->json)
			cmd_print_json(dink_explain_entry_json(e));
		else
			print_entry(e);
		return 0;
	}
	for (int i = 0; i < args->n; i++)
		dink_str_addf(&text, "%s%s", i ? " " : "", args->v[i]);
	dink_explain_text(text.s, text.len, NULL, x);
	return show(args, x, "this text");
}

static int run_explain(struct dink_args *args, struct dink_err *err)
{
	const struct explain_opts *o = args->opts;
	_cleanup_explanation_ struct dink_explanation x = {};
	_cleanup_free_ char *text = NULL, *instance = NULL;
	size_t len = 0;
	int r;

	if (o->list)
		return list_all(args);
	if (args->n == 0 && isatty(STDIN_FILENO)) {
		dink_err_set(err, DINK_E_USAGE, 0, "give a text, a layer, or - for standard input");
		return dink_err_hint(err, "dink up x.yaml 2>&1 | dink explain");
	}
	if (args->n == 0 || (args->n == 1 && STREQ(args->v[0], "-"))) {
		r = read_stdin(&text, &len, err);
		if (r < 0)
			return r;
		dink_explain_text(text, len, NULL, &x);
		return show(args, &x, "this text");
	}
	if (args->n == 1)
		instance = find_instance(args->v[0]);
	if (!instance)
		return explain_words(args, &x);
	r = explain_address(args->v[0], instance, &x, err);
	return r < 0 ? r : show(args, &x, args->v[0]);
}

static const struct dink_opt explain_options[] = {
	{0, "list", DINK_OPT_FLAG, offsetof(struct explain_opts, list), NULL,
	 "the whole catalogue, one entry a line", DINK_COMPLETE_NONE},
	{},
};

const struct dink_command cmd_explain = {
	.name = "explain",
	.operands = "[TEXT|-|LAYER]",
	.summary = "say what an error means: level, cause, fix",
	.examples = "  dink explain 'unable to create session key: operation not permitted'\n"
		    "  dockerd 2>&1 | dink explain -\n"
		    "  dink explain docker-in-kata/proxy    its log, its state and the last up\n"
		    "  dink explain runc-session-key        one entry of the catalogue\n",
	.opts = explain_options,
	.opts_size = sizeof(struct explain_opts),
	.max_args = -1,
	.has_json = true,
	.complete = DINK_COMPLETE_LAYER,
	.run = run_explain,
};
