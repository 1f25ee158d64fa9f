/* SPDX-License-Identifier: Apache-2.0 */
/* dink cp: files between here and a layer, or between two layers. */
#include "cmd/dink/attach.h"
#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/proc.h"
#include "provision/engine/copy.h"

/* LAYER:PATH; false if the word is a path here. "./a:b" and "/a:b" are paths. */
static bool split_address(const char *word, char **ret_address, const char **ret_path)
{
	const char *colon = strchr(word, ':');

	if (!colon || colon == word || word[0] == '.' || word[0] == '/')
		return false;
	*ret_address = xstrndup(word, (size_t)(colon - word));
	*ret_path = colon + 1;
	return true;
}

static int reach_for_copy(const char *address, struct dink_reach *reach, struct dink_copy_layer *l,
			  struct dink_err *err)
{
	int r = cmd_reach(address, reach, err);

	*l = (struct dink_copy_layer){reach->parent, reach->container, reach->block_root};
	return r;
}

/* Through a folder of our own, since names and kinds on both sides have to be looked at anyway. */
static int copy_between(const struct dink_copy_layer *from, const char *path,
			const struct dink_copy_layer *to, const char *target, struct dink_err *err)
{
	_cleanup_free_ char *dir = dink_temp_path("/tmp", "dink-cp-XXXXXX");
	_cleanup_free_ char *inside = NULL;
	_cleanup_(dink_err_clear) struct dink_err second = {};
	const char *slash = strrchr(path, '/');
	int r;

	if (!mkdtemp(dir))
		return dink_err_set(err, DINK_E_HOST, errno, "make %s", dir);
	inside = xasprintf("%s/%s", dir, slash && slash[1] ? slash + 1 : ".");
	r = dink_copy_out(from, path, dir, err);
	if (r == 0)
		r = dink_copy_in(inside, to, target, err);
	if (dink_rm_rf(dir, &second) < 0 && r == 0) {
		r = -EIO;
		dink_err_move(err, &second);
	}
	return r;
}

static int run_cp(struct dink_args *args, struct dink_err *err)
{
	_cleanup_free_ char *from = NULL, *to = NULL;
	_cleanup_reach_ struct dink_reach from_reach = {}, to_reach = {};
	struct dink_copy_layer from_layer = {}, to_layer = {};
	const char *from_path = args->v[0], *to_path = args->v[1];
	bool out = split_address(args->v[0], &from, &from_path);
	bool in = split_address(args->v[1], &to, &to_path);
	int r = 0;

	if (!out && !in) {
		(void)dink_err_set(err, DINK_E_USAGE, 0, "neither is LAYER:PATH");
		return dink_err_hint(err, "dink cp --help");
	}
	dink_catch_interrupts();
	if (out)
		r = reach_for_copy(from, &from_reach, &from_layer, err);
	if (r == 0 && in)
		r = reach_for_copy(to, &to_reach, &to_layer, err);
	if (r < 0)
		return r;
	if (out && in)
		return copy_between(&from_layer, from_path, &to_layer, to_path, err);
	return out ? dink_copy_out(&from_layer, from_path, to_path, err)
		   : dink_copy_in(from_path, &to_layer, to_path, err);
}

const struct dink_command cmd_cp = {
	.name = "cp",
	.operands = "SOURCE|LAYER:PATH|- TARGET|LAYER:PATH|-",
	.summary = "copy files into or out of a layer",
	.examples = "  dink cp docker-in-kata/proxy/kata:/etc/debian_version .\n"
		    "  dink cp ./src docker-in-kata/proxy:/root/\n",
	.min_args = 2,
	.max_args = 2,
	.complete = DINK_COMPLETE_LAYER,
	.run = run_cp,
};
