/* SPDX-License-Identifier: Apache-2.0 */
/* dink image copy: an image from one daemon to others, at any depth. */
#include "cmd/dink/image.h"

#include "provision/base/json.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"

struct copy_opts {
	bool whole, store, force;
	const char *as;
	struct cmd_skopeo_opts skopeo;
};

/* Bytes and rate for a terminal; elsewhere the words stay the same, so that lines are few. */
struct meter {
	const struct dink_progress *out;
	uint64_t since_ms;
	bool live;
};

static void report_rate(void *ctx, const char *what, uint64_t done, uint64_t total)
{
	const struct meter *m = ctx;
	uint64_t ms = dink_now_ms() - m->since_ms;
	_cleanup_free_ char *size = dink_format_size(done);
	_cleanup_free_ char *rate = dink_format_size(ms ? done * 1000 / ms : 0);
	_cleanup_free_ char *text = m->live ? xasprintf("copying %s  %s, %s/s", what, size, rate)
					    : xasprintf("copying %s", what);

	dink_progress(m->out, text, done, m->live ? total : 0);
}

static int open_targets(const char *list, struct cmd_image_end **ret, size_t *ret_n,
			struct dink_err *err)
{
	_cleanup_free_ char *copy = xstrdup(list);
	char *save = NULL;
	int r = 0;

	for (char *word = strtok_r(copy, ",", &save); r == 0 && word;
	     word = strtok_r(NULL, ",", &save)) {
		if (*ret_n >= DINK_COPY_TARGETS_MAX)
			return dink_err_set(err, DINK_E_USAGE, 0, "over %d targets",
					    DINK_COPY_TARGETS_MAX);
		for (size_t i = 0; i < *ret_n; i++)
			if (STREQ((*ret)[i].name, word))
				return dink_err_set(err, DINK_E_USAGE, 0, "%s is named twice",
						    word);
		*ret = xreallocarray(*ret, *ret_n + 1, sizeof(**ret));
		(*ret)[*ret_n] = (struct cmd_image_end){};
		r = cmd_image_end_open(word, true, &(*ret)[(*ret_n)++], err);
	}
	if (r == 0 && *ret_n == 0)
		return dink_err_set(err, DINK_E_USAGE, 0, "no target is named");
	return r;
}

static int open_from(const char *word, const struct copy_opts *o, struct cmd_image_end *from,
		     struct dink_image_copy *c, struct dink_err *err)
{
	_cleanup_free_ char *address = NULL;
	int r;

	if (cmd_image_end_is_other(word)) {
		r = cmd_image_end_open(word, false, from, err);
		if (r == 0)
			r = cmd_image_end_fetch(from, &o->skopeo, o->as, err);
	} else {
		r = cmd_image_split(word, &address, &c->ref, err);
		if (r == 0)
			r = cmd_image_end_open(address, false, from, err);
	}
	c->from = from->daemon.engine;
	c->file = from->file;
	return r;
}

static const char *result_of(const struct dink_copy_to *to)
{
	if (!to->done)
		return "failed";
	return to->was_there ? "there already" : "copied";
}

static void print_json(const struct dink_image_copy *c, const struct dink_copy_to *to, size_t n)
{
	struct json_object *o = dink_json_new(), *list = json_object_new_array();

	dink_json_set_str(o, "image", c->name);
	dink_json_set_str(o, "id", c->id);
	dink_json_set_int(o, "read_bytes", (int64_t)c->read_bytes);
	for (size_t i = 0; i < n; i++) {
		struct json_object *t = dink_json_new();

		dink_json_set_str(t, "target", to[i].name);
		dink_json_set_str(t, "result", result_of(&to[i]));
		dink_json_set_int(t, "sent_bytes", (int64_t)to[i].sent);
		dink_json_set_int(t, "layers_sent", (int64_t)to[i].layers_sent);
		dink_json_set_int(t, "layers_had", (int64_t)to[i].layers_had);
		dink_json_set_int(t, "ms", (int64_t)to[i].ms);
		if (!to[i].done)
			dink_json_set(t, "error", dink_err_to_json(&to[i].err));
		json_object_array_add(list, t);
	}
	dink_json_set(o, "targets", list);
	cmd_print_json(o);
}

static void print_table(const struct dink_image_copy *c, const struct dink_copy_to *to, size_t n)
{
	size_t width = strlen("TARGET");

	for (size_t i = 0; i < n; i++)
		width = strlen(to[i].name) > width ? strlen(to[i].name) : width;
	printf("%s  %.19s\n", c->name, c->id);
	printf("%-*s  %-13s  %10s  %-10s  %s\n", (int)width, "TARGET", "RESULT", "SENT", "LAYERS",
	       "TIME");
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *size = dink_format_size(to[i].sent);
		_cleanup_free_ char *layers = xasprintf("%zu of %zu", to[i].layers_sent, c->layers);

		printf("%-*s  %-13s  %10s  %-10s  %.1f s\n", (int)width, to[i].name,
		       result_of(&to[i]), size, layers, (double)to[i].ms / 1000);
	}
}

/* The failed ones by name, each with its own reason as detail. */
static int name_failures(const struct dink_copy_to *to, size_t n, struct dink_err *err)
{
	_cleanup_str_ struct dink_str names = {}, detail = {};
	size_t failed = 0;
	int code = DINK_E_CHILD;

	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *text = NULL;

		if (to[i].done)
			continue;
		text = dink_err_format(&to[i].err);
		dink_str_addf(&names, "%s%s", failed++ ? ", " : "", to[i].name);
		dink_str_addf(&detail, "%s: %s", to[i].name, text);
		if (to[i].err.code == DINK_E_INTR)
			code = DINK_E_INTR;
	}
	(void)dink_err_set(err, code, 0, "%zu of %zu targets failed: %s", failed, n, names.s);
	dink_err_detail(err, detail.s);
	return -EREMOTEIO;
}

/* What skopeo has to take further, once it is here. */
static int store_all(const struct copy_opts *o, const struct cmd_image_end *ends,
		     struct dink_copy_to *to, size_t n, int r)
{
	for (size_t i = 0; i < n; i++) {
		if (!to[i].done || cmd_image_end_store(&ends[i], &o->skopeo, &to[i].err) == 0)
			continue;
		to[i].done = false;
		r = -EREMOTEIO;
	}
	return r;
}

static int copy_to_all(struct dink_args *args, struct dink_image_copy *c,
		       const struct cmd_image_end *ends, size_t n, struct dink_err *err)
{
	struct dink_copy_to *to = xcalloc(n, sizeof(*to));
	int r;

	for (size_t i = 0; i < n; i++)
		to[i] = (struct dink_copy_to){.name = ends[i].name,
					      .engine = ends[i].daemon.engine,
					      .file = ends[i].file};
	r = dink_image_copy(c, to, n, err);
	if (!dink_err_is_set(err)) {
		r = store_all(args->opts, ends, to, n, r);
		if (args->json)
			print_json(c, to, n);
		else if (!args->quiet)
			print_table(c, to, n);
	}
	if (r < 0 && !dink_err_is_set(err))
		r = name_failures(to, n, err);
	for (size_t i = 0; i < n; i++)
		dink_err_clear(&to[i].err);
	free(to);
	return r;
}

static int run_copy(struct dink_args *args, struct dink_err *err)
{
	const struct copy_opts *o = args->opts;
	struct meter meter = {&args->progress, dink_now_ms(), isatty(STDERR_FILENO)};
	const struct dink_progress progress = {report_rate, &meter};
	_cleanup_(cmd_image_end_close) struct cmd_image_end from = {};
	_cleanup_(dink_image_copy_clear) struct dink_image_copy c = {
		.whole = o->whole, .as = o->as, .progress = &progress};
	struct cmd_image_end *to = NULL;
	size_t n = 0;
	int r = o->as ? dink_ref_check(o->as, err) : 0;

	dink_catch_interrupts();
	if (o->store && (o->whole || o->as))
		return dink_err_set(err, DINK_E_USAGE, 0,
				    "--store copies all that a daemon has: no --whole, no --as");
	if (o->force && !o->store)
		return dink_err_set(err, DINK_E_USAGE, 0, "--force goes with --store");
	if (o->store)
		return cmd_image_copy_store(args, o->force, err);
	if (r == 0)
		r = open_targets(args->v[1], &to, &n, err);
	if (r == 0)
		r = open_from(args->v[0], o, &from, &c, err);
	if (r == 0)
		r = copy_to_all(args, &c, to, n, err);
	for (size_t i = 0; i < n; i++)
		cmd_image_end_close(&to[i]);
	free(to);
	return r;
}

static const struct dink_opt copy_options[] = {
	{0, "whole", DINK_OPT_FLAG, offsetof(struct copy_opts, whole), NULL,
	 "send also the layers that a target has already", DINK_COMPLETE_NONE},
	{0, "as", DINK_OPT_STRING, offsetof(struct copy_opts, as), "NAME[:TAG]",
	 "what the image is called in the targets", DINK_COMPLETE_NONE},
	{0, "store", DINK_OPT_FLAG, offsetof(struct copy_opts, store), NULL,
	 "all that a layer's daemon has, by a clone of its disk", DINK_COMPLETE_NONE},
	{'f', "force", DINK_OPT_FLAG, offsetof(struct copy_opts, force), NULL,
	 "with --store: stop the targets, replace their stores and start them again",
	 DINK_COMPLETE_NONE},
	{0, "authfile", DINK_OPT_STRING, offsetof(struct copy_opts, skopeo.authfile), "FILE",
	 "credentials for registries; only skopeo reads it", DINK_COMPLETE_FILE},
	{0, "insecure", DINK_OPT_FLAG, offsetof(struct copy_opts, skopeo.insecure), NULL,
	 "a registry without TLS, or with a certificate that nobody vouches for",
	 DINK_COMPLETE_NONE},
	{},
};

const struct dink_command cmd_image_copy = {
	.name = "image copy",
	.operands = "LAYER:IMAGE|ARCHIVE LAYER|ARCHIVE[,...]",
	.summary = "copy an image from one daemon to others, without what they have already",
	.examples =
		"  dink image copy host:debian docker-in-kata/proxy\n"
		"  dink image copy docker-in-kata/proxy:app:1 web/one,web/two,web/three\n"
		"  dink image copy unix:///run/podman/podman.sock:app host --json\n"
		"  dink image copy host:debian docker-archive:/tmp/debian.tar,oci:/tmp/debian\n"
		"  dink image copy docker://registry.example/app:1 web/one --authfile auth.json\n"
		"  dink image copy --store --force net/seed net/host-1,net/host-2\n",
	.opts = copy_options,
	.opts_size = sizeof(struct copy_opts),
	.min_args = 2,
	.max_args = 2,
	.has_json = true,
	.complete = DINK_COMPLETE_LAYER,
	.run = run_copy,
};
