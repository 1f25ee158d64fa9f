/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/step/store.h"

#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/json.h"
#include "provision/plan/plan.h"
#include "provision/step/instance.h"

#include <sys/stat.h>

void dink_layer_store_clear(struct dink_layer_store *s)
{
	free(s->layer);
	free(s->file);
	free(s->daemon);
	free(s->driver);
	*s = (struct dink_layer_store){};
}

static char *instance_dir(const char *name)
{
	return xasprintf("%s/instances/%s", dink_state_dir(), name);
}

/* The file of a disk by its name in the plan; NULL if it names none of the instance's folder. */
static char *file_of(struct json_object *plan, const char *dir, const char *disk)
{
	struct json_object *o = dink_json_find(plan, "disks", "name", disk);
	const char *file = o ? dink_json_str_or(o, "file", "") : "";

	return dink_starts_with(file, "disks/") && !strstr(file, "..")
		       ? xasprintf("%s/%s", dir, file)
		       : NULL;
}

/* --- from a layer to its store -------------------------------------------------------------- */

/* The layer's disk that root is on: mounted there or at a folder above it. */
static const char *disk_under(struct json_object *layer, const char *root)
{
	struct json_object *all = dink_json_get(layer, "disks");

	for (size_t i = 0; i < dink_json_len(layer, "disks"); i++) {
		struct json_object *o = json_object_array_get_idx(all, i);
		const char *target = dink_json_str_or(o, "target", "");
		size_t n = strlen(target);

		if (n > 1 && strncmp(root, target, n) == 0 && (!root[n] || root[n] == '/'))
			return dink_json_str_or(o, "disk", NULL);
	}
	return NULL;
}

static int refuse_no_disk(const char *address, const char *root, struct dink_err *err)
{
	dink_err_set(err, DINK_E_USAGE, 0, "the store of %s is on no disk", address);
	return dink_err_hint(err,
			     "give the layer one (disks: {store: %s}), or copy images without "
			     "--store",
			     root);
}

static int read_layer(struct json_object *plan, const char *dir, const char *address,
		      struct dink_layer_store *ret, struct dink_err *err)
{
	struct json_object *layer = dink_json_find(plan, "layers", "path", address);
	const char *root = layer ? dink_json_str_or(layer, "data_root", NULL) : NULL;
	const char *disk;

	if (!layer)
		return dink_err_set(err, DINK_E_USAGE, ENOENT, "there is no layer %s", address);
	if (!root) {
		dink_err_set(err, DINK_E_USAGE, 0, "%s has no daemon", address);
		return dink_err_hint(err, "give the layer 'daemon: docker', or name its parent");
	}
	disk = disk_under(layer, root);
	ret->file = disk ? file_of(plan, dir, disk) : NULL;
	if (!ret->file)
		return refuse_no_disk(address, root, err);
	ret->layer = xstrdup(address);
	ret->daemon = xstrdup(dink_json_str_or(layer, "daemon", ""));
	ret->driver = xstrdup(dink_json_str_or(layer, "storage_driver", ""));
	ret->vm = dink_json_bool_or(layer, "vm", false);
	return 0;
}

int dink_layer_store_find(const char *address, struct dink_layer_store *ret, struct dink_err *err)
{
	_cleanup_free_ char *name = xstrndup(address, strcspn(address, "/"));
	_cleanup_free_ char *dir = instance_dir(name);
	_cleanup_json_ struct json_object *plan = NULL;
	int r;

	if (STREQ(address, "host") || !strchr(address, '/') || strstr(address, "://")) {
		dink_err_set(err, DINK_E_USAGE, 0,
			     "%s is no layer: its store is on no disk of ours", address);
		return dink_err_hint(err, "as in replicated-hosts/seed");
	}
	r = dink_instance_plan(address, &plan, err);
	return r < 0 ? r : read_layer(plan, dir, address, ret, err);
}

/* --- from an image to its writer ------------------------------------------------------------ */

static bool has_disk(struct json_object *layer, struct json_object *plan, const char *dir,
		     const struct stat *st)
{
	struct json_object *all = dink_json_get(layer, "disks");

	for (size_t i = 0; i < dink_json_len(layer, "disks"); i++) {
		struct json_object *o = json_object_array_get_idx(all, i);
		_cleanup_free_ char *file =
			dink_json_bool_or(o, "read_only", false)
				? NULL
				: file_of(plan, dir, dink_json_str_or(o, "disk", ""));
		struct stat there;

		if (file && stat(file, &there) == 0 && there.st_dev == st->st_dev &&
		    there.st_ino == st->st_ino)
			return true;
	}
	return false;
}

/* The VM that has the image: the layer that writes it, or the nearest one around that. */
static const char *find_vm(struct json_object *plan, const char *dir, const struct stat *st)
{
	struct json_object *all = dink_json_get(plan, "layers");

	for (size_t i = 0; i < dink_json_len(plan, "layers"); i++) {
		struct json_object *o = json_object_array_get_idx(all, i);

		if (!has_disk(o, plan, dir, st))
			continue;
		while (o && !dink_json_bool_or(o, "vm", false))
			o = dink_json_find(plan, "layers", "path",
					   dink_json_str_or(o, "parent", ""));
		return o ? dink_json_str_or(o, "path", NULL) : NULL;
	}
	return NULL;
}

/* 1 if a running VM of this instance has it, and what reaches the VM */
static int find_in_instance(const char *name, const struct stat *st, struct dink_reach *ret,
			    struct dink_err *err)
{
	_cleanup_free_ char *dir = instance_dir(name);
	_cleanup_json_ struct json_object *plan = NULL;
	_cleanup_reach_ struct dink_reach reach = {};
	const char *layer = NULL;
	int r = dink_instance_plan(name, &plan, err);

	if (r == 0)
		layer = find_vm(plan, dir, st);
	if (r == -ENOENT)
		dink_err_clear(err); /* it is not up */
	if (r == -ENOENT || (r == 0 && !layer))
		return 0;
	if (r < 0)
		return r;
	r = dink_instance_reach(layer, &reach, err);
	if (r < 0 || !reach.running)
		return r;
	*ret = reach;
	reach = (struct dink_reach){};
	return 1;
}

static int find_running_vm(const char *file, struct dink_reach *ret, struct dink_err *err)
{
	_cleanup_strv_ struct dink_strv names = {};
	struct stat st;
	int r;

	if (stat(file, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", file);
	r = dink_instance_list(&names, err);
	for (size_t i = 0; r == 0 && i < names.n; i++)
		r = find_in_instance(names.v[i], &st, ret, err);
	return r;
}

int dink_disk_rest(const char *file, int *ret_held, struct dink_err *err)
{
	_cleanup_reach_ struct dink_reach reach = {};
	int r = find_running_vm(file, &reach, err);

	*ret_held = -1;
	if (r <= 0)
		return r;
	r = dink_place_hold(reach.hops[reach.n_hops - 1].place, ret_held, err);
	return r < 0 ? dink_err_push(err, "bringing %s to rest",
				     reach.hops[reach.n_hops - 1].address)
		     : 0;
}

int dink_disk_grow(const char *file, uint64_t bytes, struct dink_err *err)
{
	_cleanup_reach_ struct dink_reach reach = {};
	_cleanup_free_ char *real = NULL;
	const struct dink_reach_hop *vm;
	struct stat st;
	int r = find_running_vm(file, &reach, err);

	if (r <= 0 || !reach.hops)
		return r;
	vm = &reach.hops[reach.n_hops - 1];
	real = realpath(file, NULL);
	if (!real || stat(real, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", file);
	if (bytes % 4096 != 0 || bytes > INT64_MAX)
		return dink_err_set(err, DINK_E_USAGE, 0, "the size is no multiple of 4096 bytes");
	if (bytes < (uint64_t)st.st_size) {
		dink_err_set(err, DINK_E_BUSY, 0, "%s is in use by %s: it can only grow", file,
			     vm->address);
		return dink_err_hint(err, "end what uses it first: dink down");
	}
	if (bytes > (uint64_t)st.st_size)
		r = dink_place_grow(vm->place, strrchr(real, '/') + 1, bytes, err);
	return r < 0 ? dink_err_push(err, "resizing %s", file) : 1;
}
