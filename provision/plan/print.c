/* SPDX-License-Identifier: Apache-2.0 */
/* The plan as JSON and as text for people. Deterministic: golden files compare both. */
#include "provision/plan/plan.h"

#include "provision/base/json.h"
#include "provision/base/units.h"
#include "provision/plan/internal.h"

static const char *engine_choice_name(enum dink_engine_choice c)
{
	switch (c) {
	case DINK_HOST_ENGINE_FOUND:
		return "found";
	case DINK_HOST_ENGINE_PRIVATE:
		return "private-docker";
	default:
		return "private-podman";
	}
}

static const char *image_kind_name(enum dink_image_kind k)
{
	switch (k) {
	case DINK_IMAGE_ARCHIVE:
		return "archive";
	case DINK_IMAGE_REGISTRY:
		return "registry";
	default:
		return "recipe";
	}
}

static struct json_object *kernels_to_json(const struct dink_plan *p)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < p->n_kernels; i++) {
		const struct dink_plan_kernel *k = &p->kernels[i];
		struct json_object *o = dink_json_new();

		dink_json_set_str(o, "name", k->name);
		dink_json_set_str(o, "source", k->source);
		if (k->sha256)
			dink_json_set_str(o, "sha256", k->sha256);
		dink_json_set(o, "features", dink_json_strv(&k->features));
		dink_json_set(o, "reasons", dink_json_strv(&k->feature_reasons));
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *images_to_json(const struct dink_plan *p)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < p->n_images; i++) {
		struct json_object *o = dink_json_new();

		dink_json_set_str(o, "name", p->images[i].name);
		dink_json_set_str(o, "kind", image_kind_name(p->images[i].kind));
		dink_json_set_str(o, "where", p->images[i].where);
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *disks_to_json(const struct dink_plan *p)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < p->n_disks; i++) {
		const struct dink_plan_disk *d = &p->disks[i];
		struct json_object *o = dink_json_new();

		dink_json_set_str(o, "name", d->name);
		dink_json_set_str(o, "file", d->file);
		dink_json_set_int(o, "size_bytes", (int64_t)d->spec->size_bytes);
		dink_json_set_str(o, "filesystem", dink_filesystem_name(d->spec->filesystem));
		dink_json_set_str(o, "compression", dink_compression_name(d->spec->compression));
		dink_json_set_bool(o, "scratch", d->scratch);
		if (d->clone_of >= 0)
			dink_json_set_str(o, "clone_of", p->disks[d->clone_of].name);
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *layer_disks_to_json(const struct dink_plan *p,
					       const struct dink_plan_layer *l)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < l->n_disks; i++) {
		struct json_object *o = dink_json_new();

		dink_json_set_str(o, "disk", p->disks[l->disks[i].disk].name);
		dink_json_set_str(o, "target", l->disks[i].target);
		dink_json_set_bool(o, "read_only", l->disks[i].read_only);
		if (l->disks[i].image_store)
			dink_json_set_bool(o, "image_store", true);
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *files_to_json(const struct dink_scenario *s)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < s->n_files; i++) {
		const struct dink_file_spec *f = &s->files[i];
		struct json_object *o = dink_json_new();

		dink_json_set_str(o, "name", f->name);
		dink_json_set_str(o, "source", f->source);
		dink_json_set_str(o, "sha256", f->sha256);
		dink_json_set_bool(o, "executable", f->executable);
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *layer_files_to_json(const struct dink_layer *l)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < l->n_files; i++) {
		struct json_object *o = dink_json_new();

		dink_json_set_str(o, "file", l->files[i].file);
		dink_json_set_str(o, "target", l->files[i].target);
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *layer_to_json(const struct dink_plan *p, const struct dink_plan_layer *l)
{
	_cleanup_free_ char *data_root = dink_plan_data_root(l->spec);
	struct json_object *o = dink_json_new();

	dink_json_set_str(o, "path", l->path);
	dink_json_set_str(o, "container", l->container);
	dink_json_set_str(o, "parent", l->parent < 0 ? NULL : p->layers[l->parent].path);
	dink_json_set_str(o, "image", p->images[l->image].name);
	dink_json_set_str(o, "runtime", dink_runtime_name(l->runtime));
	dink_json_set_str(o, "runtime_reason", l->runtime_reason);
	dink_json_set_str(o, "runtime_name", l->runtime_name);
	dink_json_set_bool(o, "vm", l->is_vm);
	dink_json_set_str(o, "kernel", l->kernel < 0 ? NULL : p->kernels[l->kernel].name);
	dink_json_set_bool(o, "block_root", l->block_root);
	dink_json_set_int(o, "cpus", l->spec->cpus);
	dink_json_set_int(o, "memory_bytes", (int64_t)l->spec->memory_bytes);
	dink_json_set_str(o, "daemon", dink_daemon_name(l->spec->daemon));
	if (l->spec->swarm != DINK_SWARM_NONE)
		dink_json_set_str(o, "swarm", dink_swarm_name(l->spec->swarm));
	dink_json_set_str(o, "data_root", data_root);
	dink_json_set_str(o, "storage_driver", l->storage_driver);
	dink_json_set_str(o, "storage_reason", l->storage_reason);
	dink_json_set(o, "disks", layer_disks_to_json(p, l));
	if (l->spec->n_files)
		dink_json_set(o, "files", layer_files_to_json(l->spec));
	if (l->spec->reach.n)
		dink_json_set(o, "reach", dink_json_strv(&l->spec->reach));
	dink_json_set_str(o, "subnet", l->subnet);
	dink_json_set_int(o, "mtu", l->mtu);
	dink_json_set_bool(o, "needs_guest", l->needs_guest);
	dink_json_set(o, "command", dink_json_strv(&l->command));
	dink_json_set(o, "env", dink_json_strv(&l->env));
	dink_json_set(o, "privileges", dink_privileges_to_json(l->privileges));
	return o;
}

struct json_object *dink_plan_to_json(const struct dink_plan *p)
{
	struct json_object *o = dink_json_new();
	struct json_object *engine = dink_json_new();
	struct json_object *layers = json_object_new_array();

	dink_json_set_str(o, "name", p->scenario->name);
	dink_json_set_str(engine, "choice", engine_choice_name(p->engine));
	dink_json_set_str(engine, "kind",
			  p->engine_kind == DINK_ENGINE_DOCKER ? "docker" : "podman");
	dink_json_set_str(engine, "socket", p->engine_socket);
	dink_json_set_str(engine, "reason", p->engine_reason);
	dink_json_set(o, "engine", engine);
	dink_json_set_str(o, "acceleration", p->acceleration);
	dink_json_set_str(o, "acceleration_reason", p->acceleration_reason);
	dink_json_set(o, "kernels", kernels_to_json(p));
	dink_json_set(o, "images", images_to_json(p));
	dink_json_set(o, "disks", disks_to_json(p));
	if (p->scenario->n_files)
		dink_json_set(o, "files", files_to_json(p->scenario));
	for (size_t i = 0; i < p->n_layers; i++)
		json_object_array_add(layers, layer_to_json(p, &p->layers[i]));
	dink_json_set(o, "layers", layers);
	dink_json_set(o, "warnings", dink_json_strv(&p->warnings));
	return o;
}

static void print_plural(struct dink_str *s, size_t n, const char *noun)
{
	dink_str_addf(s, "%zu %s%s", n, noun, n == 1 ? "" : "s");
}

static void print_head(struct dink_str *s, const struct dink_plan *p)
{
	dink_str_addf(s, "%s: ", p->scenario->name);
	print_plural(s, p->n_layers, "layer");
	dink_str_add(s, ", ");
	print_plural(s, p->n_images, "image");
	dink_str_add(s, ", ");
	print_plural(s, p->n_kernels, "kernel");
	dink_str_add(s, ", ");
	print_plural(s, p->n_disks, "disk");
	dink_str_addf(s, "\n\nengine   %s\n", p->engine_reason);
	if (p->acceleration)
		dink_str_addf(s, "machine  %s: %s\n", p->acceleration, p->acceleration_reason);
}

/* A path by its last member: the plan is the same wherever the scenario lies. */
static void print_files(struct dink_str *s, const struct dink_scenario *scenario)
{
	for (size_t i = 0; i < scenario->n_files; i++) {
		const struct dink_file_spec *f = &scenario->files[i];
		const char *slash = strrchr(f->source, '/');

		dink_str_addf(s, "file     %s: ", f->name);
		if (strstr(f->source, "://"))
			dink_str_add(s, f->source);
		else
			dink_str_addf(s, "%s of the host", slash ? slash + 1 : f->source);
		dink_str_add(s, f->executable ? ", a program" : "");
		if (f->sha256)
			dink_str_addf(s, ", sha256 %.12s...\n", f->sha256);
		else
			dink_str_add(s, ", only while it is up\n");
	}
}

static void print_artifacts(struct dink_str *s, const struct dink_plan *p)
{
	for (size_t i = 0; i < p->n_kernels; i++) {
		const struct dink_plan_kernel *k = &p->kernels[i];

		dink_str_addf(s, "kernel   %s: source %s\n", k->name, k->source);
		for (size_t r = 0; r < k->feature_reasons.n; r++)
			dink_str_addf(s, "           %s\n", k->feature_reasons.v[r]);
	}
	for (size_t i = 0; i < p->n_images; i++)
		dink_str_addf(s, "image    %s: %s %s\n", p->images[i].name,
			      image_kind_name(p->images[i].kind), p->images[i].where);
	for (size_t i = 0; i < p->n_disks; i++) {
		const struct dink_plan_disk *d = &p->disks[i];
		_cleanup_free_ char *size = dink_format_size(d->spec->size_bytes);

		dink_str_addf(s, "disk     %s: %s %s", d->name, size,
			      dink_filesystem_name(d->spec->filesystem));
		if (d->spec->compression != DINK_COMPRESS_NONE)
			dink_str_addf(s, ", %s", dink_compression_name(d->spec->compression));
		if (d->clone_of >= 0)
			dink_str_addf(s, ", a clone of %s", p->disks[d->clone_of].name);
		dink_str_add(s,
			     d->scratch ? ", removed by down\n" : ", kept until down --volumes\n");
	}
	print_files(s, p->scenario);
}

static void print_grants(struct dink_str *s, const struct dink_plan_layer *l, const char *pad)
{
	for (int k = 0; k < DINK_GRANT_KIND_MAX_; k++) {
		size_t width = 0;

		for (size_t i = 0; i < l->privileges->n_grants; i++) {
			const struct dink_grant *g = &l->privileges->grants[i];

			if ((int)g->kind != k)
				continue;
			if (width == 0 || width + strlen(g->what) > 76) {
				dink_str_addf(s, "%s%s  %-11s %s", width ? "\n" : "", pad,
					      width ? "" : dink_grant_kind_name(g->kind), g->what);
				width = strlen(pad) + 14 + strlen(g->what);
			} else {
				dink_str_addf(s, ", %s", g->what);
				width += strlen(g->what) + 2;
			}
		}
		if (width)
			dink_str_addc(s, '\n');
	}
}

static void print_layer(struct dink_str *s, const struct dink_plan *p,
			const struct dink_plan_layer *l)
{
	char pad[2 * DINK_LAYER_DEPTH_MAX + 4];
	_cleanup_free_ char *argv = NULL;

	memset(pad, ' ', sizeof(pad));
	pad[2 * l->depth] = '\0';
	dink_str_addf(s, "%.*s%s (image %s, runtime %s", 2 * (l->depth - 1), pad, l->name,
		      p->images[l->image].name, dink_runtime_name(l->runtime));
	if (l->kernel >= 0)
		dink_str_addf(s, ", kernel %s", p->kernels[l->kernel].name);
	if (l->spec->cpus)
		dink_str_addf(s, ", %u cpu%s", l->spec->cpus, l->spec->cpus == 1 ? "" : "s");
	if (l->spec->memory_bytes) {
		_cleanup_free_ char *size = dink_format_size(l->spec->memory_bytes);

		dink_str_addf(s, ", %s", size);
	}
	if (l->spec->swarm != DINK_SWARM_NONE)
		dink_str_addf(s, ", swarm %s", dink_swarm_name(l->spec->swarm));
	if (l->spec->gpu == DINK_GPU_NVIDIA)
		dink_str_add(s, ", all NVIDIA GPUs");
	dink_str_add(s, ")\n");
	if (l->spec->runtime == DINK_RUNTIME_KATA || l->runtime_option)
		dink_str_addf(s, "%s%s\n", pad, l->runtime_reason);
	if (l->block_root)
		dink_str_addf(
			s,
			"%sroot: the image as a read-only disk, a writable overlay in the guest\n",
			pad);
	for (size_t i = 0; i < l->n_disks; i++)
		dink_str_addf(s, "%sdisk %s at %s%s%s\n", pad, p->disks[l->disks[i].disk].name,
			      l->disks[i].target, l->disks[i].read_only ? ", read-only" : "",
			      l->disks[i].image_store ? ": more images for podman" : "");
	for (size_t i = 0; i < l->spec->n_files; i++)
		dink_str_addf(s, "%sfile %s at %s, read-only\n", pad, l->spec->files[i].file,
			      l->spec->files[i].target);
	if (l->spec->reach.n) {
		_cleanup_free_ char *names = dink_strv_join(&l->spec->reach, ", ");

		dink_str_addf(s, "%sreaches %s by name\n", pad, names);
	}
	if (l->storage_driver)
		dink_str_addf(s, "%s%s: storage driver %s on %s", pad,
			      dink_daemon_name(l->spec->daemon), l->storage_driver,
			      l->storage_reason);
	if (l->subnet)
		dink_str_addf(s, ", bridge %s", l->subnet);
	if (l->storage_driver)
		dink_str_addc(s, '\n');
	argv = dink_strv_join(&l->command, " ");
	if (l->command.n)
		dink_str_addf(s, "%sruns %s\n", pad, argv);
	if (l->privileges && l->privileges->n_grants) {
		dink_str_addf(s, "%sgrants beyond the engine's default\n", pad);
		print_grants(s, l, pad);
	}
}

char *dink_plan_text(const struct dink_plan *p)
{
	struct dink_str s = {};

	print_head(&s, p);
	print_artifacts(&s, p);
	dink_str_addc(&s, '\n');
	for (size_t i = 0; i < p->n_layers; i++)
		print_layer(&s, p, &p->layers[i]);
	for (size_t i = 0; i < p->warnings.n; i++)
		dink_str_addf(&s, "%swarning: %s\n", i ? "" : "\n", p->warnings.v[i]);
	return dink_str_take(&s);
}
