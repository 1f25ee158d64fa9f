/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/dink/cmd.h"

#include "images/images.h"
#include "kernel-configs/kernel.h"
#include "provision/base/dirs.h"
#include "provision/base/json.h"
#include "provision/plan/plan.h"

struct plan_opts {
	const char *facts;
};

static const struct dink_opt plan_options[] = {
	{0, "facts", DINK_OPT_STRING, offsetof(struct plan_opts, facts), "FILE",
	 "plan for the host saved in FILE (dink doctor --save)", DINK_COMPLETE_FILE},
	{},
};

/* The plan itself does no I/O: whether a thing is built already is asked here. */
static const char *kernel_state(const struct dink_plan_kernel *k)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_(dink_kernel_clear) struct dink_kernel found = {};
	struct dink_kernel_want want = {
		.source = k->source, .sha256 = k->sha256, .features = &k->features};

	if (dink_kernel_lookup(&want, &found, &quiet) == 0)
		return "in the cache";
	return dink_err_is_set(&quiet) ? "cannot be looked up" : "will be built (minutes)";
}

static const char *image_state(const struct dink_plan_image *img)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_(dink_image_clear) struct dink_image found = {};
	_cleanup_free_ char *shipped = img->shipped ? dink_data_file(img->where) : NULL;

	if (img->kind == DINK_IMAGE_REGISTRY)
		return "pulled by the engine that needs it";
	if (img->shipped && !shipped)
		return "no such recipe";
	if (dink_image_lookup(img->name, shipped ? shipped : img->where, &found, &quiet) == 0)
		return "in the cache";
	if (dink_err_is_set(&quiet))
		return "cannot be looked up";
	return img->kind == DINK_IMAGE_ARCHIVE ? "will be read" : "will be built (a minute)";
}

/* "kernel   NAME: ..." and "image    NAME: ..." get a word on their state. */
static const char *state_of_line(const struct dink_plan *p, const char *line, size_t len)
{
	for (size_t i = 0; i < p->n_kernels; i++) {
		_cleanup_free_ char *head = xasprintf("kernel   %s: ", p->kernels[i].name);

		if (len >= strlen(head) && dink_starts_with(line, head))
			return kernel_state(&p->kernels[i]);
	}
	for (size_t i = 0; i < p->n_images; i++) {
		_cleanup_free_ char *head = xasprintf("image    %s: ", p->images[i].name);

		if (len >= strlen(head) && dink_starts_with(line, head))
			return image_state(&p->images[i]);
	}
	return NULL;
}

static void print_with_states(const struct dink_plan *p, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n");
		bool named = strncmp(text, "kernel ", 7) == 0 || strncmp(text, "image ", 6) == 0;
		const char *state = named ? state_of_line(p, text, n) : NULL;

		printf("%.*s%s%s\n", (int)n, text, state ? ", " : "", state ? state : "");
		text += n + (text[n] == '\n');
	}
}

static int run_plan(struct dink_args *args, struct dink_err *err)
{
	const struct plan_opts *o = args->opts;
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = NULL;
	_cleanup_(dink_facts_freep) struct dink_facts *f = NULL;
	_cleanup_(dink_plan_freep) struct dink_plan *p = NULL;
	_cleanup_free_ char *text = NULL;
	int r = cmd_load_scenario(args->n ? args->v[0] : NULL, &s, err);

	if (r < 0)
		return r;
	if (o->facts)
		r = dink_facts_load(o->facts, &f, err);
	else
		r = dink_facts_probe(0, &args->progress, &f, err);
	if (r < 0)
		return r;
	r = dink_plan_make(s, f, &p, err);
	if (r < 0)
		return r;
	if (args->json) {
		cmd_print_json(dink_plan_to_json(p));
		return 0;
	}
	text = dink_plan_text(p);
	if (o->facts)
		fputs(text, stdout); /* of another host, whose cache is not this one */
	else
		print_with_states(p, text);
	return 0;
}

const struct dink_command cmd_plan = {
	.name = "plan",
	.operands = "[SCENARIO]",
	.summary = "say what up would do here, and touch nothing",
	.examples = "  dink plan scenarios/docker-in-kata.yaml\n"
		    "  dink plan --facts other-host.json x.yaml   as on another host\n",
	.opts = plan_options,
	.opts_size = sizeof(struct plan_opts),
	.max_args = 1,
	.has_json = true,
	.complete = DINK_COMPLETE_FILE,
	.run = run_plan,
};
