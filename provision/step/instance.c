/* SPDX-License-Identifier: Apache-2.0 */
/* From an address to engines and places: the journal names the layers, the engines their pids. */
#include "provision/step/instance.h"

#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/step/step.h"

static const struct dink_record *container_record(const struct dink_journal *j, const char *address)
{
	_cleanup_free_ char *key = xasprintf("container:%s", address);

	return dink_journal_live(j, key);
}

static struct dink_reach_hop *add_hop(struct dink_reach *r, const char *address)
{
	struct dink_reach_hop *h;

	r->hops = xreallocarray(r->hops, r->n_hops + 1, sizeof(*r->hops));
	h = &r->hops[r->n_hops++];
	*h = (struct dink_reach_hop){.address = xstrdup(address)};
	return h;
}

void dink_reach_clear(struct dink_reach *r)
{
	/* A place borrows the one around it, so the innermost goes first. */
	for (size_t i = r->n_hops; i-- > 0;) {
		struct dink_reach_hop *h = &r->hops[i];

		if (h->engine)
			dink_engine_free(h->engine);
		if (h->place)
			dink_place_free(h->place);
		free(h->address);
		free(h->container);
		free(h->socket);
		free(h->offered);
	}
	free(r->hops);
	*r = (struct dink_reach){};
}

static int reach_host(const struct dink_journal *j, const char *instance, struct dink_reach *r,
		      struct dink_err *err)
{
	const struct dink_record *rec = dink_journal_live(j, "engine");
	const char *socket = rec ? dink_json_str_or(rec->identity, "socket", NULL) : NULL;
	struct dink_reach_hop *h = add_hop(r, instance);

	if (!socket) {
		dink_err_set(err, DINK_E_HOST, ENOENT, "%s is not up", instance);
		return dink_err_hint(err, "dink status %s", instance);
	}
	h->place = dink_place_host();
	h->socket = xstrdup(socket);
	h->engine = dink_engine_new(h->place, socket);
	return 0;
}

static char *offered_socket(const struct dink_journal *j, const char *address)
{
	const struct dink_record *rec = dink_journal_live(j, "forward");
	struct json_object *list = rec ? dink_json_get(rec->params, "sockets") : NULL;

	for (size_t i = 0; rec && i < dink_json_len(rec->params, "sockets"); i++) {
		struct json_object *s = json_object_array_get_idx(list, i);

		if (STREQ(dink_json_str_or(s, "layer", ""), address))
			return xstrdup(dink_json_str_or(s, "listen", ""));
	}
	return NULL;
}

/* Into a running container: its place, and its daemon's engine if it has one. */
static int enter_hop(struct dink_reach_hop *h, const struct dink_place *outer,
		     struct json_object *params, pid_t pid, struct dink_err *err)
{
	const char *socket = dink_json_str_or(params, "socket", NULL);
	int r = 0;

	if (dink_json_bool_or(params, "vm", false))
		r = dink_place_vm(outer, pid, &h->place, err);
	else
		h->place = dink_place_container(outer, pid);
	if (r < 0)
		return dink_err_push(err, "reaching into %s", h->address);
	if (socket)
		h->engine = dink_engine_new(h->place, socket);
	return 0;
}

static int reach_layer(const struct dink_journal *j, const char *address, struct dink_reach *r,
		       struct dink_err *err)
{
	const struct dink_record *rec = container_record(j, address);
	_cleanup_json_ struct json_object *info = NULL;
	struct dink_reach_hop *outer = &r->hops[r->n_hops - 1], *h;
	const char *socket;
	int rc;

	if (!outer->engine) {
		dink_err_set(err, DINK_E_HOST, ESRCH, "%s does not run", outer->address);
		return dink_err_hint(err, "dink status %.*s", (int)strcspn(address, "/"), address);
	}
	r->parent = outer->engine;
	h = add_hop(r, address);
	outer = &r->hops[r->n_hops - 2]; /* the array may have moved */
	h->container = xstrdup(dink_json_str_or(rec->params, "container", ""));
	h->offered = offered_socket(j, address);
	socket = dink_json_str_or(rec->params, "socket", NULL);
	h->socket = socket ? xstrdup(socket) : NULL;
	r->container = h->container;
	r->is_vm = dink_json_bool_or(rec->params, "vm", false);
	r->block_root = dink_json_bool_or(rec->params, "block_root", false);
	r->running = false;
	rc = dink_engine_inspect(r->parent, h->container, &info, err);
	if (rc == -ENOENT && !dink_err_is_set(err))
		return 0;
	if (rc < 0)
		return dink_err_push(err, "asking the engine of %s about %s", outer->address,
				     address);
	r->running = dink_json_bool_or(info, "State.Running", false);
	r->tty = dink_json_bool_or(info, "Config.Tty", false);
	if (!r->running)
		return 0;
	return enter_hop(h, outer->place, rec->params,
			 (pid_t)dink_json_int_or(info, "State.Pid", 0), err);
}

/* An address without such a layer: the nearest of those that are there as hint. */
static int no_layer(const struct dink_journal *j, const char *address, struct dink_err *err)
{
	_cleanup_strv_ struct dink_strv all = {};
	const char *near;

	for (size_t i = 0; i < j->n_records; i++)
		if (!j->records[i]->undone && dink_starts_with(j->records[i]->key, "container:"))
			dink_strv_add(&all, j->records[i]->key + strlen("container:"));
	dink_err_set(err, DINK_E_USAGE, ENOENT, "there is no layer %s", address);
	near = all.n ? dink_nearest(address, (const char *const *)all.v) : NULL;
	if (near)
		dink_err_hint(err, "did you mean %s?", near);
	else if (all.n) {
		_cleanup_free_ char *list = dink_strv_join(&all, ", ");

		dink_err_hint(err, "the layers are: %s", list);
	} else
		dink_err_hint(err, "nothing of this instance is up: dink status");
	return -ENOENT;
}

int dink_reach_from(const struct dink_journal *j, const char *instance, const char *address,
		    struct dink_reach *ret, struct dink_err *err)
{
	_cleanup_reach_ struct dink_reach reach = {};
	size_t len = strlen(address);
	int r;

	if (strchr(address, '/') && !container_record(j, address))
		return no_layer(j, address, err);
	r = reach_host(j, instance, &reach, err);
	for (size_t at = strcspn(address, "/"); r == 0 && at < len;) {
		size_t end = at + 1 + strcspn(address + at + 1, "/");
		_cleanup_free_ char *part = xstrndup(address, end);

		if (!container_record(j, part))
			return no_layer(j, part, err);
		r = reach_layer(j, part, &reach, err);
		at = end;
	}
	if (r < 0)
		return r;
	*ret = reach;
	reach = (struct dink_reach){};
	return 0;
}

static int no_instance(const char *name, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_strv_ struct dink_strv all = {};
	const char *near = NULL;

	dink_err_set(err, DINK_E_USAGE, ENOENT, "there is no instance %s", name);
	if (dink_instance_list(&all, &quiet) == 0 && all.n)
		near = dink_nearest(name, (const char *const *)all.v);
	if (near)
		dink_err_hint(err, "did you mean %s?", near);
	else
		dink_err_hint(err, "dink status lists them; dink up SCENARIO makes one");
	return -ENOENT;
}

static int load_journal(const char *name, struct dink_journal **ret, struct dink_err *err)
{
	_cleanup_free_ char *path = NULL;
	int r;

	if (!dink_name_is_valid(name))
		return no_instance(name, err);
	path = xasprintf("%s/instances/%s/journal", dink_state_dir(), name);
	r = dink_journal_load(path, ret, err);
	if (r == -ENOENT && !dink_err_is_set(err))
		return no_instance(name, err);
	return r;
}

int dink_instance_reach(const char *address, struct dink_reach *ret, struct dink_err *err)
{
	_cleanup_(dink_journal_freep) struct dink_journal *j = NULL;
	_cleanup_free_ char *name = xstrndup(address, strcspn(address, "/"));
	int r = load_journal(name, &j, err);

	if (r < 0)
		return r;
	return dink_reach_from(j, name, address, ret, err);
}

int dink_instance_list(struct dink_strv *ret, struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/instances", dink_state_dir());
	_cleanup_closedir_ DIR *d = opendir(path);
	struct dirent *e;

	if (!d && errno == ENOENT)
		return 0;
	if (!d)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", path);
	while ((e = readdir(d))) {
		_cleanup_free_ char *journal = xasprintf("%s/%s/journal", path, e->d_name);

		if (dink_name_is_valid(e->d_name) && dink_exists(journal))
			dink_strv_add(ret, e->d_name);
	}
	dink_strv_sort(ret);
	return 0;
}

static char *copy_or_null(struct json_object *o, const char *path)
{
	const char *s = dink_json_str_or(o, path, NULL);

	return s ? xstrdup(s) : NULL;
}

static const char *ask_state(const struct dink_journal *j, const char *name, const char *address)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_reach_ struct dink_reach reach = {};
	_cleanup_json_ struct json_object *info = NULL;

	if (dink_reach_from(j, name, address, &reach, &err) < 0)
		return "unreachable";
	if (reach.running)
		return "running";
	if (dink_engine_inspect(reach.parent, reach.container, &info, &err) == 0)
		return "exited";
	return "gone";
}

static void add_layer(struct dink_instance *i, const struct dink_journal *j,
		      const struct dink_record *rec)
{
	struct dink_layer_state *l;

	i->layers = xreallocarray(i->layers, i->n_layers + 1, sizeof(*i->layers));
	l = &i->layers[i->n_layers++];
	*l = (struct dink_layer_state){
		.address = copy_or_null(rec->params, "layer"),
		.parent = copy_or_null(rec->params, "parent"),
		.container = copy_or_null(rec->params, "container"),
		.image = copy_or_null(rec->params, "image"),
		.runtime = copy_or_null(rec->params, "runtime"),
		.daemon = copy_or_null(rec->params, "daemon"),
		.tty = dink_json_bool_or(rec->params, "spec.Tty", false),
	};
	l->offered = l->address ? offered_socket(j, l->address) : NULL;
	l->state = l->address ? ask_state(j, i->name, l->address) : "gone";
}

int dink_instance_plan(const char *address, struct json_object **ret, struct dink_err *err)
{
	_cleanup_free_ char *name = xstrndup(address, strcspn(address, "/"));
	_cleanup_free_ char *path = xasprintf("%s/instances/%s/plan.json", dink_state_dir(), name);

	if (!dink_name_is_valid(name) || !dink_exists(path)) {
		dink_err_set(err, DINK_E_USAGE, ENOENT, "%s is not up", name);
		return dink_err_hint(err, "dink status lists what is; dink up SCENARIO makes it");
	}
	return dink_json_parse_file(path, ret, err);
}

int dink_instance_load(const char *name, struct dink_instance **ret, struct dink_err *err)
{
	_cleanup_(dink_journal_freep) struct dink_journal *j = NULL;
	_cleanup_(dink_instance_freep) struct dink_instance *i = xcalloc(1, sizeof(*i));
	bool broken = false;
	int r = load_journal(name, &j, err);

	if (r < 0)
		return r;
	i->name = xstrdup(name);
	for (size_t k = 0; k < j->n_records; k++) {
		const struct dink_record *rec = j->records[k];

		if (rec->undone)
			continue;
		if (!rec->done)
			broken = true;
		if (STREQ(rec->kind, "container"))
			add_layer(i, j, rec);
		else if (STREQ(rec->kind, "disk-file") || STREQ(rec->kind, "disk-clone"))
			dink_strv_add(&i->disks, dink_json_str_or(rec->params, "file", "?"));
	}
	for (size_t k = 0; k < i->n_layers; k++)
		if (!STREQ(i->layers[k].state, "running"))
			broken = true;
	i->state = !dink_journal_is_live(j)		   ? "down"
		   : broken || !dink_journal_live(j, "up") ? "partial"
							   : "up";
	*ret = TAKE_PTR(i);
	return 0;
}

void dink_instance_free(struct dink_instance *i)
{
	if (!i)
		return;
	for (size_t k = 0; k < i->n_layers; k++) {
		struct dink_layer_state *l = &i->layers[k];

		free(l->address);
		free(l->parent);
		free(l->container);
		free(l->image);
		free(l->runtime);
		free(l->daemon);
		free(l->offered);
	}
	free(i->layers);
	free(i->name);
	dink_strv_clear(&i->disks);
	free(i);
}

static size_t depth_of(const char *address)
{
	size_t n = 0;

	for (; *address; address++)
		n += *address == '/';
	return n;
}

char *dink_instance_deepest(const struct dink_instance *i)
{
	const struct dink_layer_state *best = NULL;

	for (size_t k = 0; k < i->n_layers; k++)
		if (!best || depth_of(i->layers[k].address) > depth_of(best->address))
			best = &i->layers[k];
	return best ? xstrdup(best->address) : NULL;
}
