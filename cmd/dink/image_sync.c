/* SPDX-License-Identifier: Apache-2.0 */
/* dink image sync: every daemon of an instance has the images that its layers are made of. */
#include "cmd/dink/image.h"

#include "provision/base/json.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"
#include "provision/scenario/scenario.h"
#include "provision/step/image_sync.h"

/* "web" is an instance; a scenario's file tells its name. Caller frees. */
static char *instance_name(const char *word, struct dink_err *err)
{
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = NULL;

	if (word && !strchr(word, '/') && !dink_ends_with(word, ".yaml") &&
	    !dink_ends_with(word, ".yml"))
		return xstrdup(word);
	return cmd_load_scenario(word, &s, err) < 0 ? NULL : xstrdup(s->name);
}

static const char *result_of(const struct dink_sync_item *i)
{
	return !i->done ? "failed" : i->was_there ? "there already" : "copied";
}

static void print_json(const struct dink_sync *s)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < s->n; i++) {
		const struct dink_sync_item *item = &s->items[i];
		struct json_object *o = dink_json_new();

		dink_json_set_str(o, "daemon", item->engine);
		dink_json_set_str(o, "image", item->ref);
		dink_json_set_str(o, "result", result_of(item));
		dink_json_set_int(o, "sent_bytes", (int64_t)item->sent);
		dink_json_set_int(o, "ms", (int64_t)item->ms);
		if (!item->done)
			dink_json_set(o, "error", dink_err_to_json(&item->err));
		json_object_array_add(list, o);
	}
	cmd_print_json(list);
}

static void print_table(const struct dink_sync *s)
{
	size_t a = strlen("DAEMON"), b = strlen("IMAGE");

	for (size_t i = 0; i < s->n; i++) {
		a = strlen(s->items[i].engine) > a ? strlen(s->items[i].engine) : a;
		b = strlen(s->items[i].ref) > b ? strlen(s->items[i].ref) : b;
	}
	printf("%-*s  %-*s  %-13s  %10s  %s\n", (int)a, "DAEMON", (int)b, "IMAGE", "RESULT", "SENT",
	       "TIME");
	for (size_t i = 0; i < s->n; i++) {
		const struct dink_sync_item *item = &s->items[i];
		_cleanup_free_ char *size = dink_format_size(item->sent);

		printf("%-*s  %-*s  %-13s  %10s  %.1f s\n", (int)a, item->engine, (int)b, item->ref,
		       result_of(item), size, (double)item->ms / 1000);
	}
}

static int name_failures(const struct dink_sync *s, struct dink_err *err)
{
	_cleanup_str_ struct dink_str detail = {};
	size_t failed = 0;

	for (size_t i = 0; i < s->n; i++) {
		_cleanup_free_ char *text = NULL;

		if (s->items[i].done)
			continue;
		text = dink_err_format(&s->items[i].err);
		dink_str_addf(&detail, "%s in %s: %s", s->items[i].ref, s->items[i].engine, text);
		failed++;
	}
	(void)dink_err_set(err, DINK_E_CHILD, 0, "%zu of %zu images failed", failed, s->n);
	dink_err_detail(err, detail.s);
	return -EREMOTEIO;
}

static int run_sync(struct dink_args *args, struct dink_err *err)
{
	_cleanup_(dink_sync_clear) struct dink_sync s = {};
	_cleanup_free_ char *name = instance_name(args->n ? args->v[0] : NULL, err);
	int r;

	if (!name)
		return -EINVAL;
	if (!dink_name_is_valid(name))
		return dink_err_set(err, DINK_E_USAGE, 0, "'%s' is no instance's name", name);
	dink_catch_interrupts();
	r = dink_sync_images(name, &args->progress, &s, err);
	if (dink_err_is_set(err))
		return r;
	if (args->json)
		print_json(&s);
	else if (!args->quiet)
		print_table(&s);
	return r < 0 ? name_failures(&s, err) : 0;
}

const struct dink_command cmd_image_sync = {
	.name = "image sync",
	.operands = "[SCENARIO|INSTANCE]",
	.summary = "give each daemon of an instance the images that its layers are made of",
	.examples = "  dink image sync docker-in-kata\n"
		    "  dink image sync scenarios/docker-in-kata.yaml --json\n",
	.min_args = 0,
	.max_args = 1,
	.has_json = true,
	.complete = DINK_COMPLETE_INSTANCE,
	.run = run_sync,
};
