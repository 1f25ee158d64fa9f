/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dink image why: which layer of an image owns a path of a layer (or of an archive), and what the
 * layer itself did to it since: copied it up, made it, or whited it out.
 *
 * The image is read as the engine saves it, which is the same for every storage driver; of a layer
 * with a block root, whose engine has no files of it, the archive in the cache is read.
 */
#include "cmd/dink/attach.h"

#include "images/images.h"
#include "images/why.h"
#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/json.h"
#include "provision/base/units.h"
#include "provision/step/instance.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { LINKS_MAX = 16 };

/* What is known of the layer's own writable part. */
static const char *own_text(int64_t kind)
{
	switch (kind) {
	case 0:
		return "copied up and changed";
	case 1:
		return "made";
	case 2:
		return "whited out";
	default:
		return "untouched";
	}
}

struct subject {
	char *archive;
	bool temporary;
	struct json_object *changes; /* the engine's list; NULL = not known */
	const char *why_unknown;
};

static void subject_clear(struct subject *s)
{
	if (s->temporary)
		(void)unlink(s->archive);
	free(s->archive);
	if (s->changes)
		json_object_put(s->changes);
}

static int write_piece(void *ctx, const char *bytes, size_t n, struct dink_err *err)
{
	int r = dink_fd_write_all(*(int *)ctx, bytes, n);

	return r < 0 ? dink_err_set(err, DINK_E_HOST, -r, "keep the image for a look") : 0;
}

static int save_image(struct dink_engine *e, const char *image, struct subject *s,
		      struct dink_err *err)
{
	_cleanup_close_ int fd = -1;

	s->archive = dink_temp_path("/var/tmp", "dink-why-XXXXXX");
	fd = mkostemp(s->archive, O_CLOEXEC);
	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make %s", s->archive);
	s->temporary = true;
	return dink_engine_save(e, image, write_piece, &fd, err);
}

/* The archive that the layer's image was made as, by the plan that `up` left. */
static int find_archive(const char *address, struct subject *s, struct dink_err *err)
{
	_cleanup_json_ struct json_object *plan = NULL;
	_cleanup_(dink_image_clear) struct dink_image image = {};
	const char *name, *where;
	int r = dink_instance_plan(address, &plan, err);

	if (r < 0)
		return r;
	name = dink_json_str_or(dink_json_find(plan, "layers", "path", address), "image", "");
	where = dink_json_str_or(dink_json_find(plan, "images", "name", name), "where", NULL);
	r = where ? dink_image_lookup(name, where, &image, err) : -ENOENT;
	if (r == -ENOENT && !dink_err_is_set(err)) {
		dink_err_set(err, DINK_E_HOST, ENOENT, "the archive of %s's image", address);
		return dink_err_hint(err, "dink image build makes it again");
	}
	if (r == 0)
		s->archive = xstrdup(image.archive);
	return r;
}

static int open_layer(const char *address, struct subject *s, struct dink_err *err)
{
	_cleanup_reach_ struct dink_reach reach = {};
	_cleanup_json_ struct json_object *info = NULL;
	_cleanup_free_ char *path = NULL;
	int r = cmd_reach_layer(address, &reach, err);

	if (r < 0)
		return r;
	if (reach.block_root) {
		s->why_unknown = "its changes are in the guest's own overlay";
		return find_archive(address, s, err);
	}
	r = dink_engine_inspect(reach.parent, reach.container, &info, err);
	if (r < 0)
		return dink_err_is_set(err) ? r
					    : dink_err_set(err, DINK_E_HOST, ENOENT,
							   "the container of %s", address);
	path = xasprintf("/containers/%s/changes", reach.container);
	r = dink_engine_call(reach.parent, "GET", path, NULL, &s->changes, NULL, err);
	if (r < 0)
		return r;
	if (!s->changes) /* Docker says null for none */
		s->changes = json_object_new_array();
	return save_image(reach.parent, dink_json_str_or(info, "Image", ""), s, err);
}

static int64_t own_kind(const struct subject *s, const char *path)
{
	for (size_t i = 0; s->changes && i < dink_json_len(s->changes, ""); i++) {
		struct json_object *o = json_object_array_get_idx(s->changes, i);
		const char *changed = dink_json_str_or(o, "Path", "");
		int64_t kind = dink_json_int_or(o, "Kind", -1);
		size_t n = strlen(changed);

		if (STREQ(changed, path) ||
		    (kind == 2 && n && strncmp(changed, path, n) == 0 && path[n] == '/'))
			return kind;
	}
	return -1;
}

static void print_one(const struct dink_why_layer *l, size_t number, bool owner)
{
	_cleanup_free_ char *size = dink_format_size(l->size > 0 ? (uint64_t)l->size : 0);

	printf("%s %2zu  %.19s  %s", owner ? "->" : "  ", number, l->diff_id,
	       dink_why_text(l->kind));
	if (l->kind == DINK_WHY_THERE) {
		printf(": %s %04o %lld:%lld %s", l->type, l->mode, (long long)l->uid,
		       (long long)l->gid, size);
		if (l->target) {
			printf(" -> ");
			cmd_print_cell(0, l->target);
		}
	}
	printf("\n");
}

static void print_why(const char *of, const char *path, const struct subject *s,
		      const struct dink_why *w, int64_t own)
{
	printf("%s:%s\n", of, path);
	if (s->why_unknown)
		printf("    the layer itself: %s\n", s->why_unknown);
	else if (s->changes)
		printf("%s  the layer itself: %s\n", own == 0 || own == 1 ? "->" : "  ",
		       own_text(own));
	for (size_t i = w->n; i-- > 0;)
		print_one(&w->layers[i], i + 1, (int)i == w->owner && own < 0);
	if (own == 2)
		printf("removed by the layer itself\n");
	else if (w->owner < 0 && own < 0)
		printf("no such path in the image%s\n",
		       s->changes ? ", nor made by the layer (a mount may hide it)" : "");
}

static struct json_object *layers_json(const struct dink_why *w)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < w->n; i++) {
		const struct dink_why_layer *l = &w->layers[i];
		struct json_object *o = dink_json_new();

		dink_json_set_str(o, "diff_id", l->diff_id);
		dink_json_set_str(o, "what", dink_why_text(l->kind));
		dink_json_set_bool(o, "owner", (int)i == w->owner);
		if (l->kind == DINK_WHY_THERE) {
			dink_json_set_str(o, "type", l->type);
			dink_json_set_int(o, "mode", l->mode);
			dink_json_set_int(o, "uid", l->uid);
			dink_json_set_int(o, "gid", l->gid);
			dink_json_set_int(o, "size", l->size);
			dink_json_set_str(o, "target", l->target);
		}
		json_object_array_add(list, o);
	}
	return list;
}

static void print_json(const char *of, const char *path, const struct subject *s,
		       const struct dink_why *w, int64_t own)
{
	struct json_object *o = dink_json_new();

	dink_json_set_str(o, "of", of);
	dink_json_set_str(o, "path", path);
	dink_json_set_str(o, "layer_itself", s->changes ? own_text(own) : NULL);
	dink_json_set_str(o, "owner",
			  own >= 0	  ? "the layer itself"
			  : w->owner >= 0 ? w->layers[w->owner].diff_id
					  : NULL);
	dink_json_set(o, "layers", layers_json(w));
	cmd_print_json(o);
}

static char *absolute(const char *path)
{
	return path[0] == '/' ? xstrdup(path) : xasprintf("/%s", path);
}

static int run_why(struct dink_args *args, struct dink_err *err)
{
	_cleanup_(subject_clear) struct subject s = {};
	_cleanup_(dink_why_clear) struct dink_why w = {};
	_cleanup_free_ char *path = absolute(args->v[1]);
	const char *of = args->v[0];
	struct stat st;
	int64_t own;
	int r;

	if (stat(of, &st) == 0 && S_ISREG(st.st_mode))
		s.archive = xstrdup(of);
	else if ((r = open_layer(of, &s, err)) < 0)
		return r;
	for (int links = 0;; links++) {
		r = dink_image_why(s.archive, path, &w, err);
		if (r < 0)
			return r;
		own = own_kind(&s, path);
		if (own >= 0 || !w.moved || links == LINKS_MAX)
			break;
		if (!args->json)
			printf("%s is a link: %s is %s\n", w.via, path, w.moved);
		free(path);
		path = TAKE_PTR(w.moved);
		dink_why_clear(&w);
	}
	if (args->json)
		print_json(of, path, &s, &w, own);
	else
		print_why(of, path, &s, &w, own);
	return 0;
}

const struct dink_command cmd_image_why = {
	.name = "image why",
	.operands = "LAYER|ARCHIVE PATH",
	.summary = "tell which image layer owns a path, and what changed or hid it",
	.examples = "  dink image why docker-in-docker/outer /etc/hostname\n"
		    "  dink image why web.tar /bin/sh --json\n",
	.min_args = 2,
	.max_args = 2,
	.has_json = true,
	.complete = DINK_COMPLETE_LAYER,
	.run = run_why,
};
