/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over a docker archive: each member that is a layer is itself read as a tar, and its
 * entries are compared with the path, with the folders above it, and with whiteouts of either.
 */
#include "images/why.h"

#include "images/images.h"
#include "images/tar.h"

enum { TARGET_MAX = 4096 };

/* What is looked for, without slashes in front and behind. */
struct search {
	char *path;
	const struct dink_archive_info *info;
	struct dink_why *why;
	char **links; /* for each layer: the longest folder above that is a link there */
	char **link_targets;
};

const char *dink_why_text(enum dink_why_kind kind)
{
	static const char *const words[] = {
		[DINK_WHY_NOTHING] = "-",
		[DINK_WHY_THERE] = "has it",
		[DINK_WHY_WHITEOUT] = "whiteout",
		[DINK_WHY_OPAQUE] = "opaque folder",
	};

	return words[kind];
}

static char *trim_path(const char *path)
{
	_cleanup_strv_ struct dink_strv parts = {};

	while (*path) {
		size_t n = strcspn(path, "/");

		if (n && !(n == 1 && path[0] == '.'))
			dink_strv_own(&parts, xstrndup(path, n));
		path += n + (path[n] == '/');
	}
	return parts.n ? dink_strv_join(&parts, "/") : xstrdup("");
}

/* Whether dir is a folder above path, or path itself. */
static bool is_above(const char *dir, size_t n, const char *path)
{
	return n == 0 || (strncmp(dir, path, n) == 0 && (path[n] == '/' || path[n] == '\0'));
}

static const char *type_of(struct archive_entry *e, const char *hardlink)
{
	if (hardlink)
		return "link";
	switch (archive_entry_filetype(e)) {
	case AE_IFREG:
		return "file";
	case AE_IFDIR:
		return "folder";
	case AE_IFLNK:
		return "link";
	case AE_IFCHR:
	case AE_IFBLK:
		return "device";
	default:
		return "other";
	}
}

static void take_entry(struct dink_why_layer *l, const struct dink_tar *t)
{
	const char *target = t->hardlink;

	if (!target && archive_entry_filetype(t->entry) == AE_IFLNK)
		target = archive_entry_symlink(t->entry);
	free(l->target);
	l->target = target ? xstrndup(target, TARGET_MAX) : NULL;
	l->kind = DINK_WHY_THERE;
	l->type = type_of(t->entry, t->hardlink);
	l->mode = (uint32_t)archive_entry_perm(t->entry);
	l->uid = archive_entry_uid(t->entry);
	l->gid = archive_entry_gid(t->entry);
	l->size = archive_entry_size(t->entry);
}

/* ".wh.NAME" and ".wh..wh..opq": 0 if the entry is no whiteout that concerns the path. */
static enum dink_why_kind whiteout_of(const char *name, const char *path)
{
	const char *base = strrchr(name, '/');
	size_t dir = base ? (size_t)(base - name) : 0;
	_cleanup_free_ char *hidden = NULL;

	base = base ? base + 1 : name;
	if (!dink_starts_with(base, ".wh."))
		return DINK_WHY_NOTHING;
	if (STREQ(base, ".wh..wh..opq"))
		return is_above(name, dir, path) && strlen(path) > dir ? DINK_WHY_OPAQUE
								       : DINK_WHY_NOTHING;
	hidden = xasprintf("%.*s%s%s", (int)dir, name, dir ? "/" : "", base + 4);
	return is_above(hidden, strlen(hidden), path) ? DINK_WHY_WHITEOUT : DINK_WHY_NOTHING;
}

static void note_link(struct search *s, size_t i, const struct dink_tar *t)
{
	size_t n = strlen(t->name);
	const char *target = archive_entry_symlink(t->entry);

	if (!target || strlen(target) > TARGET_MAX || n >= strlen(s->path) ||
	    !is_above(t->name, n, s->path) || (s->links[i] && strlen(s->links[i]) > n))
		return;
	free(s->links[i]);
	free(s->link_targets[i]);
	s->links[i] = xstrdup(t->name);
	s->link_targets[i] = xstrdup(target);
}

static void look_at(struct search *s, size_t i, const struct dink_tar *t)
{
	struct dink_why_layer *l = &s->why->layers[i];
	enum dink_why_kind hides;

	if (STREQ(t->name, s->path)) {
		take_entry(l, t);
		return;
	}
	if (archive_entry_filetype(t->entry) == AE_IFLNK && !t->hardlink)
		note_link(s, i, t);
	hides = whiteout_of(t->name, s->path);
	/* a layer may hide what is below and have its own at once: what it has counts */
	if (hides != DINK_WHY_NOTHING && l->kind == DINK_WHY_NOTHING)
		l->kind = hides;
}

static int read_layer(struct search *s, size_t i, struct dink_tar *outer, struct dink_err *err)
{
	_cleanup_(dink_tar_freep) struct dink_tar *t = NULL;
	int r = dink_tar_open_member(outer, &t, err);

	while (r >= 0 && (r = dink_tar_next(t, err)) > 0)
		look_at(s, i, t);
	return r < 0 ? dink_err_push(err, "reading the layer %s", outer->name) : 0;
}

static int read_layers(struct search *s, const char *archive, struct dink_err *err)
{
	_cleanup_(dink_tar_freep) struct dink_tar *t = NULL;
	int r = dink_tar_open(archive, &t, err);

	while (r >= 0 && (r = dink_tar_next(t, err)) > 0) {
		if (archive_entry_filetype(t->entry) != AE_IFREG || t->hardlink)
			continue;
		for (size_t i = 0; r >= 0 && i < s->info->members.n; i++)
			if (STREQ(s->info->members.v[i], t->name)) {
				r = read_layer(s, i, t, err);
				break;
			}
		if (r < 0)
			return r;
	}
	return r;
}

static void find_owner(struct dink_why *w)
{
	w->owner = -1;
	for (size_t i = w->n; i-- > 0;) {
		if (w->layers[i].kind == DINK_WHY_NOTHING)
			continue;
		if (w->layers[i].kind == DINK_WHY_THERE)
			w->owner = (int)i;
		return;
	}
}

/* The path through the topmost link that a folder above is: "bin/ls" by bin -> usr/bin. */
static void find_link(struct search *s)
{
	struct dink_why *w = s->why;
	_cleanup_free_ char *whole = NULL;

	for (size_t i = w->n; i-- > 0 && !w->via;) {
		const char *link = s->links[i], *target = s->link_targets[i], *slash;

		if (!link)
			continue;
		w->via = xasprintf("/%s", link);
		slash = strrchr(link, '/');
		whole = target[0] == '/' ? xasprintf("%s%s", target, s->path + strlen(link))
					 : xasprintf("/%.*s/%s%s", slash ? (int)(slash - link) : 0,
						     link, target, s->path + strlen(link));
	}
	if (whole) {
		_cleanup_free_ char *clean = trim_path(whole);

		w->moved = xasprintf("/%s", clean);
	}
}

int dink_image_why(const char *archive, const char *path, struct dink_why *ret,
		   struct dink_err *err)
{
	_cleanup_(dink_archive_info_clear) struct dink_archive_info info = {};
	_cleanup_(dink_why_clear) struct dink_why why = {};
	_cleanup_free_ char *clean = trim_path(path);
	struct search s = {.path = clean, .info = &info, .why = &why};
	int r = dink_archive_read(archive, &info, err);

	if (r < 0)
		return r;
	why.n = info.diff_ids.n;
	why.layers = xcalloc(why.n + 1, sizeof(*why.layers));
	s.links = xcalloc(why.n + 1, sizeof(*s.links));
	s.link_targets = xcalloc(why.n + 1, sizeof(*s.link_targets));
	for (size_t i = 0; i < why.n; i++)
		why.layers[i].diff_id = xstrdup(info.diff_ids.v[i]);
	r = read_layers(&s, archive, err);
	if (r >= 0) {
		find_owner(&why);
		if (why.owner < 0)
			find_link(&s);
		*ret = why;
		why = (struct dink_why){};
	}
	for (size_t i = 0; i < info.diff_ids.n; i++) {
		free(s.links[i]);
		free(s.link_targets[i]);
	}
	free(s.links);
	free(s.link_targets);
	return r < 0 ? r : 0;
}

void dink_why_clear(struct dink_why *w)
{
	for (size_t i = 0; i < w->n; i++) {
		free(w->layers[i].diff_id);
		free(w->layers[i].target);
	}
	free(w->layers);
	free(w->via);
	free(w->moved);
	*w = (struct dink_why){};
}
