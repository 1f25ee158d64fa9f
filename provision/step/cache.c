/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps that fetch from the cache or build into it: kernel, guest folder, image. The cache is not
 * the instance's, so undo leaves it alone.
 */
#include "images/images.h"
#include "kernel-configs/kernel.h"
#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/step/kinds.h"
#include "provision/vm/guest.h"

#include <libgen.h>

char *dink_step_describe(struct json_object *params, const char *verb, const char *member)
{
	return xasprintf("%s %s", verb, dink_json_str_or(params, member, "?"));
}

/* Intact while the file that the identity names is there: cache keys cover the content. */
static int check_file(struct json_object *identity, const char *member)
{
	const char *path = dink_json_str_or(identity, member, NULL);

	return path && dink_exists(path);
}

static char *describe_kernel(struct json_object *params)
{
	return dink_step_describe(params, "kernel", "name");
}

static int apply_kernel(struct dink_step_ctx *ctx, struct json_object *params,
			struct json_object **ret, struct dink_err *err)
{
	_cleanup_(dink_kernel_clear) struct dink_kernel k = {};
	_cleanup_strv_ struct dink_strv features = {};
	struct dink_kernel_want want = {
		.source = dink_json_str_or(params, "source", "debian"),
		.sha256 = dink_json_str_or(params, "sha256", NULL),
		.features = &features,
	};
	int r;

	if (!dink_json_to_strv(dink_json_get(params, "features"), &features))
		return dink_err_set(err, DINK_E_STATE, 0, "a kernel step without features");
	r = dink_kernel_get(&want, dink_step_progress(ctx), &k, err);
	if (r < 0)
		return r;
	*ret = dink_json_new();
	dink_json_set_str(*ret, "vmlinux", k.vmlinux);
	dink_json_set_str(*ret, "release", k.release);
	return 0;
}

static int check_kernel(struct dink_step_ctx *ctx, struct json_object *params,
			struct json_object *identity, struct dink_err *err)
{
	(void)ctx;
	(void)params;
	(void)err;
	return check_file(identity, "vmlinux");
}

const struct dink_step_kind dink_kind_kernel = {
	.name = "kernel",
	.describe = describe_kernel,
	.apply = apply_kernel,
	.check = check_kernel,
};

static char *describe_guest(struct json_object *params)
{
	return dink_step_describe(params, "guest folder for kernel", "kernel");
}

static int apply_guest(struct dink_step_ctx *ctx, struct json_object *params,
		       struct json_object **ret, struct dink_err *err)
{
	_cleanup_free_ char *key = xasprintf("kernel:%s", dink_json_str_or(params, "kernel", ""));
	_cleanup_free_ char *vmlinux = dink_step_result(ctx, key, "vmlinux");
	_cleanup_guest_programs_ struct dink_guest_programs programs = {};
	_cleanup_free_ char *dir = NULL;
	int r;

	if (!vmlinux)
		return dink_err_set(err, DINK_E_BUG, 0, "the guest folder before its kernel");
	r = dink_guest_find(&programs, err);
	if (!r)
		r = dink_guest_make(vmlinux, &programs, &dir, err);
	if (r < 0)
		return r;
	*ret = dink_json_new();
	dink_json_set_str(*ret, "dir", dir);
	return 0;
}

static int check_guest(struct dink_step_ctx *ctx, struct json_object *params,
		       struct json_object *identity, struct dink_err *err)
{
	(void)ctx;
	(void)params;
	(void)err;
	return check_file(identity, "dir");
}

const struct dink_step_kind dink_kind_guest = {
	.name = "guest",
	.describe = describe_guest,
	.apply = apply_guest,
	.check = check_guest,
};

static char *describe_image(struct json_object *params)
{
	return dink_step_describe(params, "image", "name");
}

static int missing_recipe(const char *name, struct dink_err *err)
{
	static const char *const shipped[] = {"debian", "docker-host", NULL};
	const char *near = dink_nearest(name, shipped);

	dink_err_set(err, DINK_E_SCENARIO, ENOENT, "there is no image \"%s\"", name);
	if (near)
		return dink_err_hint(err, "did you mean %s?", near);
	return dink_err_hint(err, "say under images: where it comes from: %s: {registry: %s}", name,
			     name);
}

static int apply_image(struct dink_step_ctx *ctx, struct json_object *params,
		       struct json_object **ret, struct dink_err *err)
{
	const char *name = dink_json_str_or(params, "name", "");
	const char *where = dink_json_str_or(params, "where", "");
	_cleanup_free_ char *found = NULL, *erofs = NULL;
	_cleanup_(dink_image_clear) struct dink_image img = {};
	int r;

	if (dink_json_bool_or(params, "shipped", false)) {
		found = dink_data_file(where);
		if (!found)
			return missing_recipe(name, err);
		where = found;
	}
	r = dink_image_get(name, where, dink_step_progress(ctx), &img, err);
	if (r < 0)
		return r;
	*ret = dink_json_new();
	dink_json_set_str(*ret, "ref", img.ref);
	dink_json_set_str(*ret, "id", img.id);
	dink_json_set_str(*ret, "archive", img.archive);
	dink_json_set_int(*ret, "archive_bytes", (int64_t)img.archive_bytes);
	if (img.block_root_archive) {
		dink_json_set_str(*ret, "block_root_ref", img.block_root_ref);
		dink_json_set_str(*ret, "block_root_id", img.block_root_id);
		dink_json_set_str(*ret, "block_root_archive", img.block_root_archive);
	}
	if (img.erofs) {
		erofs = xstrdup(img.erofs);
		dink_json_set_str(*ret, "erofs", img.erofs);
		dink_json_set_str(*ret, "dir", dirname(erofs));
	}
	return 0;
}

static int check_image(struct dink_step_ctx *ctx, struct json_object *params,
		       struct json_object *identity, struct dink_err *err)
{
	(void)ctx;
	(void)params;
	(void)err;
	return check_file(identity, "archive");
}

const struct dink_step_kind dink_kind_image = {
	.name = "image",
	.describe = describe_image,
	.apply = apply_image,
	.check = check_image,
};

static char *describe_up(struct json_object *params)
{
	return dink_step_describe(params, "note that all is up:", "instance");
}

static int apply_up(struct dink_step_ctx *ctx, struct json_object *params, struct json_object **ret,
		    struct dink_err *err)
{
	(void)ctx;
	(void)params;
	(void)ret;
	(void)err;
	return 0;
}

const struct dink_step_kind dink_kind_up = {
	.name = "up",
	.describe = describe_up,
	.apply = apply_up,
};
