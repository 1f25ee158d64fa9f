/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From mmdebstrap's tar to an image's layer. The base keeps its order (mmdebstrap sorts by name);
 * what the recipe removes is left out, and files/ comes last. The result depends on nothing else,
 * so the same packages give the same layer and image id.
 */
#include "images/build.h"
#include "images/tar.h"
#include "provision/base/file.h"
#include "provision/base/hash.h"

#include <endian.h>
#include <linux/capability.h>
#include <sys/stat.h>

enum { OWN_FILE_MAX = 64 << 20 };

struct rewrite {
	const struct dink_recipe *recipe;
	const char *base;
	struct dink_tar_writer *out;
	struct dink_strv removed; /* regular files: a hard link to one may still be wanted */
	struct dink_strv moved, moved_to; /* removed files that such a link became, side by side */
	struct dink_strv folders;	  /* of files/ that the base has already */
	struct dink_strv given;		  /* the recipe's own that base or files/ had */
};

static void clear_rewrite(struct rewrite *w)
{
	dink_tar_writer_free(w->out);
	dink_strv_clear(&w->removed);
	dink_strv_clear(&w->moved);
	dink_strv_clear(&w->moved_to);
	dink_strv_clear(&w->folders);
	dink_strv_clear(&w->given);
}

/*
 * What no image carries, whatever the recipe says: device nodes (the engine makes /dev) and the
 * two files that mmdebstrap copies from the building machine.
 */
static bool is_never_wanted(const char *name)
{
	return dink_starts_with(name, "dev/") || STREQ(name, "etc/hostname") ||
	       STREQ(name, "etc/resolv.conf");
}

static bool comes_from_files(struct rewrite *w, const struct dink_tar *t)
{
	if (!dink_strv_has(&w->recipe->files, t->name))
		return false;
	if (archive_entry_filetype(t->entry) != AE_IFDIR)
		return true;
	/* a folder keeps the base's owner and mode */
	dink_strv_add(&w->folders, t->name);
	return false;
}

/* The target is gone: the link becomes the file. */
static int put_removed(struct rewrite *w, const struct dink_tar *link, struct dink_err *err)
{
	_cleanup_(dink_tar_freep) struct dink_tar *t = NULL;

	int e = dink_tar_open(w->base, &t, err);
	if (e == 0)
		e = dink_tar_find(t, link->hardlink, err);
	if (e < 0)
		return e;
	if (e == 0)
		return dink_err_set(err, DINK_E_HOST, EBADMSG, "%s: %s links to nothing", w->base,
				    link->name);
	dink_strv_add(&w->moved, link->hardlink);
	dink_strv_add(&w->moved_to, link->name);
	e = dink_tar_put(w->out, t->entry, link->name, NULL, err);
	return e < 0 ? e : dink_tar_put_data(w->out, t, err);
}

static int put_link(struct rewrite *w, struct dink_tar *t, struct dink_err *err)
{
	for (size_t i = 0; i < w->moved.n; i++)
		if (STREQ(w->moved.v[i], t->hardlink))
			return dink_tar_put(w->out, t->entry, t->name, w->moved_to.v[i], err);
	if (dink_strv_has(&w->removed, t->hardlink))
		return put_removed(w, t, err);
	return dink_tar_put(w->out, t->entry, t->name, t->hardlink, err);
}

/* As the kernel reads it from the file: permitted, and in force from the start. */
static void set_capability(struct rewrite *w, const struct dink_tar *t)
{
	const struct dink_recipe *r = w->recipe;
	struct vfs_cap_data data = {.magic_etc =
					    htole32(VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE)};
	bool any = false;

	for (size_t i = 0; i < r->n_capabilities; i++) {
		unsigned n = r->capabilities[i].number;

		if (!STREQ(r->capabilities[i].path, t->name))
			continue;
		data.data[n / 32].permitted |= htole32(1u << n % 32);
		any = true;
	}
	if (!any)
		return;
	archive_entry_set_perm(t->entry, archive_entry_perm(t->entry) & 0777);
	archive_entry_xattr_add_entry(t->entry, "security.capability", &data, sizeof(data));
}

static void own_folder(struct archive_entry *entry, const struct dink_recipe_folder *f)
{
	archive_entry_set_perm(entry, f->mode);
	archive_entry_set_uid(entry, f->uid);
	archive_entry_set_gid(entry, f->gid);
}

/* A folder: if it is one of the recipe's own, as that wants it. Engines refuse a path that comes twice. */
static void give_folder(struct rewrite *w, struct archive_entry *entry, const char *name)
{
	const struct dink_recipe *r = w->recipe;

	for (size_t i = 0; i < r->n_folders; i++) {
		if (!STREQ(r->folders[i].path, name))
			continue;
		own_folder(entry, &r->folders[i]);
		dink_strv_add(&w->given, name);
	}
}

static int take_base(struct rewrite *w, struct dink_err *err)
{
	_cleanup_(dink_tar_freep) struct dink_tar *t = NULL;

	int e = dink_tar_open(w->base, &t, err);
	if (e < 0)
		return e;
	while ((e = dink_tar_next(t, err)) > 0) {
		bool is_file = archive_entry_filetype(t->entry) == AE_IFREG && !t->hardlink;
		if (is_never_wanted(t->name) || comes_from_files(w, t) ||
		    dink_recipe_removes(w->recipe, t->name)) {
			if (is_file)
				dink_strv_add(&w->removed, t->name);
			continue;
		}
		if (is_file)
			set_capability(w, t);
		else if (archive_entry_filetype(t->entry) == AE_IFDIR)
			give_folder(w, t->entry, t->name);
		if (t->hardlink)
			e = put_link(w, t, err);
		else
			e = dink_tar_put(w->out, t->entry, t->name, NULL, err);
		if (e == 0 && is_file)
			e = dink_tar_put_data(w->out, t, err);
		if (e < 0)
			return e;
	}
	return e;
}

static void free_entry(struct archive_entry **e)
{
	archive_entry_free(*e);
}

static int put_own_file(struct rewrite *w, const char *rel, struct dink_err *err)
{
	_cleanup_free_ char *path = dink_recipe_file(w->recipe, rel), *data = NULL;
	_cleanup_(free_entry) struct archive_entry *entry = archive_entry_new();
	char link[DINK_TAR_NAME_MAX + 1] = "";
	struct stat st;

	if (lstat(path, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "stat %s", path);
	archive_entry_set_mtime(entry, DINK_IMAGE_EPOCH, 0);
	if (S_ISDIR(st.st_mode)) {
		if (dink_strv_has(&w->folders, rel))
			return 0;
		archive_entry_set_filetype(entry, AE_IFDIR);
		archive_entry_set_perm(entry, 0755);
		give_folder(w, entry, rel);
		return dink_tar_put(w->out, entry, rel, NULL, err);
	}
	if (S_ISLNK(st.st_mode)) {
		if (readlink(path, link, sizeof(link) - 1) < 0)
			return dink_err_set(err, DINK_E_HOST, errno, "read link %s", path);
		archive_entry_set_filetype(entry, AE_IFLNK);
		archive_entry_set_perm(entry, 0777);
		archive_entry_set_symlink(entry, link);
		return dink_tar_put(w->out, entry, rel, NULL, err);
	}
	size_t len = 0;
	int e = dink_file_read(path, OWN_FILE_MAX, &data, &len, err);
	if (e < 0)
		return e;
	/* git keeps this one bit; the umask of the checkout must not reach the image */
	return dink_tar_put_file(w->out, rel, st.st_mode & S_IXUSR ? 0755 : 0644, data, len, err);
}

static int put_folder(struct rewrite *w, const struct dink_recipe_folder *f, struct dink_err *err)
{
	_cleanup_(free_entry) struct archive_entry *entry = archive_entry_new();

	if (dink_strv_has(&w->given, f->path))
		return 0;
	archive_entry_set_mtime(entry, DINK_IMAGE_EPOCH, 0);
	archive_entry_set_filetype(entry, AE_IFDIR);
	own_folder(entry, f);
	return dink_tar_put(w->out, entry, f->path, NULL, err);
}

int dink_image_rewrite(const struct dink_recipe *r, const char *base, const char *layer,
		       char ret_diff_id[65], struct dink_err *err)
{
	struct dink_hash *hash = dink_hash_new();
	_cleanup_(clear_rewrite) struct rewrite w = {.recipe = r, .base = base};

	int e = dink_tar_create(layer, hash, &w.out, err);
	if (e == 0)
		e = take_base(&w, err);
	for (size_t i = 0; e == 0 && i < r->files.n; i++)
		e = put_own_file(&w, r->files.v[i], err);
	for (size_t i = 0; e == 0 && i < r->n_folders; i++)
		e = put_folder(&w, &r->folders[i], err);
	if (e == 0)
		e = dink_tar_finish(TAKE_PTR(w.out), err);
	if (e < 0) {
		/* closing what failed may still write */
		dink_tar_writer_free(TAKE_PTR(w.out));
		dink_hash_free(hash);
		return e;
	}
	dink_hash_end(hash, ret_diff_id);
	return 0;
}
