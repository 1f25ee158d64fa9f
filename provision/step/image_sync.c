/* SPDX-License-Identifier: Apache-2.0 */
/* See image_sync.h. What there is to be is in the instance's journal: no scenario is needed. */
#include "provision/step/image_sync.h"

#include "provision/base/dirs.h"
#include "provision/base/units.h"
#include "provision/step/instance.h"
#include "provision/step/step.h"

static void take_result(struct dink_sync_item *item, struct dink_copy_to *to)
{
	item->done = to->done;
	item->was_there = to->was_there;
	item->sent = to->sent;
	item->ms = to->ms;
	if (dink_err_is_set(&to->err) && !dink_err_is_set(&item->err))
		dink_err_move(&item->err, &to->err);
	dink_err_clear(&to->err);
}

int dink_image_give(struct dink_engine *e, const char *archive,
		    const struct dink_progress *progress, struct dink_err *err)
{
	_cleanup_(dink_image_copy_clear) struct dink_image_copy c = {.file = archive,
								     .progress = progress};
	struct dink_copy_to to = {.name = "the engine", .engine = e};
	int r = dink_image_copy(&c, &to, 1, err);

	/* what the target says is closer to the cause */
	if (r < 0 && !dink_err_is_set(err))
		dink_err_move(err, &to.err);
	dink_err_clear(&to.err);
	return r;
}

int dink_image_pull(struct dink_engine *e, const char *ref, struct dink_err *err)
{
	_cleanup_free_ char *id = NULL, *path = NULL;
	int r = dink_engine_image_id(e, ref, &id, err);

	if (r < 0 || id)
		return r;
	path = xasprintf("/images/create?fromImage=%s%s", ref,
			 strrchr(ref, ':') ? "" : "&tag=latest");
	r = dink_engine_call(e, "POST", path, NULL, NULL, NULL, err);
	if (r < 0)
		return dink_err_push(err, "pulling %s", ref);
	return 0;
}

/* --- what there is to be -------------------------------------------------------------------- */

static int add_item(struct dink_sync *s, const struct dink_journal *j, const char *instance,
		    struct json_object *params, struct dink_err *err)
{
	const char *name = dink_json_str_or(params, "image", "");
	const char *registry = dink_json_str_or(params, "registry", NULL);
	const char *kind = dink_json_bool_or(params, "block_root", false) ? "block_root_" : "";
	_cleanup_free_ char *key = xasprintf("image:%s", name);
	_cleanup_free_ char *ref_key = xasprintf("%sref", kind);
	_cleanup_free_ char *archive_key = xasprintf("%sarchive", kind);
	const struct dink_record *image = registry ? NULL : dink_journal_live(j, key);
	struct json_object *identity = image ? image->identity : NULL;
	const char *ref = identity ? dink_json_str_or(identity, ref_key, NULL) : registry;
	const char *archive = identity ? dink_json_str_or(identity, archive_key, NULL) : NULL;

	if (!ref || (!registry && !archive))
		return dink_err_set(err, DINK_E_STATE, 0, "%s: its journal does not know image %s",
				    instance, name);
	s->items = xreallocarray(s->items, s->n + 1, sizeof(*s->items));
	s->items[s->n++] = (struct dink_sync_item){
		.engine = xstrdup(dink_json_str_or(params, "engine", instance)),
		.ref = xstrdup(ref),
		.archive = archive ? xstrdup(archive) : NULL,
	};
	return 0;
}

static int find_items(const char *instance, struct dink_sync *s, struct dink_err *err)
{
	_cleanup_free_ char *path =
		xasprintf("%s/instances/%s/journal", dink_state_dir(), instance);
	_cleanup_(dink_journal_freep) struct dink_journal *j = NULL;
	int r = dink_journal_load(path, &j, err);

	if (r == -ENOENT && !dink_err_is_set(err)) {
		dink_err_set(err, DINK_E_USAGE, ENOENT, "there is no instance %s", instance);
		return dink_err_hint(err, "dink status lists them; dink up SCENARIO makes one");
	}
	for (size_t i = 0; r == 0 && i < j->n_records; i++) {
		const struct dink_record *rec = j->records[i];

		if (rec->done && !rec->undone && STREQ(rec->kind, "image-load"))
			r = add_item(s, j, instance, rec->params, err);
	}
	if (r == 0 && s->n == 0) {
		dink_err_set(err, DINK_E_HOST, 0, "%s is not up", instance);
		return dink_err_hint(err, "dink status %s", instance);
	}
	return r;
}

/* --- getting there -------------------------------------------------------------------------- */

static struct dink_engine *reach_item(struct dink_sync_item *item, struct dink_reach *reach)
{
	struct dink_engine *e;

	if (dink_instance_reach(item->engine, reach, &item->err) < 0)
		return NULL;
	e = reach->hops[reach->n_hops - 1].engine;
	if (!e)
		dink_err_set(&item->err, DINK_E_HOST, ESRCH, "the engine of %s does not run",
			     item->engine);
	return e;
}

static void pull_item(struct dink_sync_item *item)
{
	_cleanup_reach_ struct dink_reach reach = {};
	_cleanup_free_ char *id = NULL;
	struct dink_engine *e = reach_item(item, &reach);
	uint64_t since = dink_now_ms();

	item->taken = true;
	if (!e || dink_engine_image_id(e, item->ref, &id, &item->err) < 0)
		return;
	item->was_there = id;
	item->done = dink_image_pull(e, item->ref, &item->err) == 0;
	item->ms = dink_now_ms() - since;
}

/* The daemons that are to have this archive, at once. */
static int copy_group(struct dink_sync *s, size_t first, const struct dink_progress *progress,
		      struct dink_err *err)
{
	const char *archive = s->items[first].archive;
	struct dink_reach *reach = xcalloc(s->n, sizeof(*reach));
	struct dink_copy_to *to = xcalloc(s->n, sizeof(*to));
	_cleanup_free_ struct dink_sync_item **items =
		xcalloc(s->n, sizeof(struct dink_sync_item *));
	_cleanup_(dink_image_copy_clear) struct dink_image_copy c = {.file = archive,
								     .progress = progress};
	size_t n = 0;
	int r = 0;

	for (size_t i = first; i < s->n && n < DINK_COPY_TARGETS_MAX; i++) {
		struct dink_sync_item *item = &s->items[i];

		if (item->taken || !item->archive || !STREQ(item->archive, archive))
			continue;
		item->taken = true;
		to[n] = (struct dink_copy_to){.name = item->engine,
					      .engine = reach_item(item, &reach[n])};
		items[n] = item;
		n += to[n].engine != NULL;
	}
	if (n)
		r = dink_image_copy(&c, to, n, err);
	for (size_t i = 0; i < n; i++)
		take_result(items[i], &to[i]);
	for (size_t i = 0; i < s->n; i++)
		dink_reach_clear(&reach[i]);
	free(reach);
	free(to);
	return r < 0 && dink_err_is_set(err) ? r : 0;
}

int dink_sync_images(const char *instance, const struct dink_progress *progress,
		     struct dink_sync *ret, struct dink_err *err)
{
	int r = find_items(instance, ret, err);

	for (size_t i = 0; r == 0 && i < ret->n; i++) {
		if (ret->items[i].taken)
			continue;
		if (ret->items[i].archive)
			r = copy_group(ret, i, progress, err);
		else
			pull_item(&ret->items[i]);
	}
	for (size_t i = 0; r == 0 && i < ret->n; i++)
		if (!ret->items[i].done)
			return -EREMOTEIO;
	return r;
}

void dink_sync_clear(struct dink_sync *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->items[i].engine);
		free(s->items[i].ref);
		free(s->items[i].archive);
		dink_err_clear(&s->items[i].err);
	}
	free(s->items);
	*s = (struct dink_sync){};
}
