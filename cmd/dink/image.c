/* SPDX-License-Identifier: Apache-2.0 */
/* dink image build: images from recipes into the cache, so that `up` need not. */
#include "cmd/dink/cmd.h"

#include "images/images.h"
#include "provision/base/file.h"
#include "provision/base/json.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"

static struct json_object *image_to_json(const struct dink_image *i)
{
	struct json_object *o = dink_json_new();

	dink_json_set_str(o, "name", i->name);
	dink_json_set_str(o, "ref", i->ref);
	dink_json_set_str(o, "id", i->id);
	dink_json_set_str(o, "archive", i->archive);
	dink_json_set_int(o, "archive_bytes", (int64_t)i->archive_bytes);
	dink_json_set_str(o, "erofs", i->erofs);
	dink_json_set_str(o, "block_root_ref", i->block_root_ref);
	dink_json_set_str(o, "block_root_archive", i->block_root_archive);
	return o;
}

/* "debian" is a recipe that ships with dink; anything with a slash is a path. */
static int get_one(const char *operand, const struct dink_progress *p, struct dink_image *ret,
		   struct dink_err *err)
{
	if (!strchr(operand, '/')) {
		_cleanup_free_ char *recipe = xasprintf("images/%s", operand);
		return dink_image_get(operand, recipe, p, ret, err);
	}
	_cleanup_free_ char *path = xstrdup(operand);
	size_t n = strlen(path);
	while (n > 1 && path[n - 1] == '/')
		path[--n] = '\0';
	return dink_image_get(strrchr(path, '/') + 1, operand, p, ret, err);
}

static int run_image_build(struct dink_args *args, struct dink_err *err)
{
	_cleanup_strv_ struct dink_strv shipped = {};
	_cleanup_json_ struct json_object *list = json_object_new_array();

	dink_strv_addl(&shipped, "debian", "docker-host", NULL);
	dink_catch_interrupts();
	char **names = args->n ? args->v : shipped.v;
	for (size_t i = 0; names[i]; i++) {
		_cleanup_(dink_image_clear) struct dink_image image = {};
		int r = get_one(names[i], &args->progress, &image, err);
		if (r < 0)
			return r;
		if (args->json) {
			json_object_array_add(list, image_to_json(&image));
			continue;
		}
		_cleanup_free_ char *size = dink_format_size(image.archive_bytes);
		printf("%s  %.19s  %s\n  archive  %s\n", image.ref, image.id, size, image.archive);
		if (image.erofs)
			printf("  disk     %s\n", image.erofs);
	}
	if (args->json)
		cmd_print_json(TAKE_PTR(list));
	return 0;
}

const struct dink_command cmd_image_build = {
	.name = "image build",
	.operands = "[NAME|FOLDER|ARCHIVE]...",
	.summary = "build images into the cache (default: those that ship with dink)",
	.examples = "  dink image build                  debian and docker-host\n"
		    "  dink image build debian --json    where it is, its id and size\n"
		    "  dink image build ./my-recipe/     a folder with a file 'recipe'\n",
	.max_args = -1,
	.has_json = true,
	.complete = DINK_COMPLETE_DIR,
	.run = run_image_build,
};
