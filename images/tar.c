/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See tar.h. libarchive turns names between the archive's UTF-8 and the thread's locale, and fails
 * on what the locale lacks: each call that touches names runs under C.UTF-8.
 */
#include "images/tar.h"

#include "images/build.h"
#include "provision/base/archive.h"
#include "provision/base/file.h"
#include "provision/base/mem.h"

#include <fcntl.h>
#include <locale.h>
#include <pthread.h>

enum { CHUNK = 256 << 10 };

static locale_t utf8;

static void make_locale(void)
{
	utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

static locale_t enter_utf8(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, make_locale);
	return uselocale(utf8); /* (locale_t)0 changes nothing */
}

static void leave_utf8(const locale_t *old)
{
	(void)uselocale(*old);
}
#define WITH_UTF8 _cleanup_(leave_utf8) _unused_ locale_t old_locale = enter_utf8()

/* --- reading -------------------------------------------------------------------------------- */

int dink_tar_open(const char *path, struct dink_tar **ret, struct dink_err *err)
{
	_cleanup_(dink_tar_freep) struct dink_tar *t = xcalloc(1, sizeof(*t));

	t->what = xstrdup(path);
	t->archive = archive_read_new();
	if (!t->archive || archive_read_support_format_tar(t->archive) < ARCHIVE_WARN)
		return dink_err_set(err, DINK_E_HOST, ENOMEM, "libarchive");
	if (archive_read_open_filename(t->archive, path, CHUNK) != ARCHIVE_OK)
		return dink_archive_failed(t->archive, path, err);
	*ret = TAKE_PTR(t);
	return 0;
}

/* For a tar in a tar: its bytes are the outer one's data. */
struct member_source {
	struct archive *outer;
	char block[CHUNK];
};

static la_ssize_t read_member_block(struct archive *a, void *ctx, const void **ret)
{
	struct member_source *m = ctx;
	la_ssize_t n = archive_read_data(m->outer, m->block, sizeof(m->block));

	if (n < 0)
		archive_set_error(a, EIO, "%s", archive_error_string(m->outer));
	*ret = m->block;
	return n < 0 ? -1 : n;
}

static int free_member_source(struct archive *a, void *ctx)
{
	(void)a;
	free(ctx);
	return ARCHIVE_OK;
}

int dink_tar_open_member(struct dink_tar *t, struct dink_tar **ret, struct dink_err *err)
{
	_cleanup_(dink_tar_freep) struct dink_tar *in = xcalloc(1, sizeof(*in));
	struct member_source *m;

	in->what = xasprintf("%s: %s", t->what, t->name);
	in->archive = archive_read_new();
	if (!in->archive || archive_read_support_format_tar(in->archive) < ARCHIVE_WARN)
		return dink_err_set(err, DINK_E_HOST, ENOMEM, "libarchive");
	/* a layer without a member is an empty file to some */
	(void)archive_read_support_format_empty(in->archive);
	(void)archive_read_support_filter_gzip(in->archive);
	m = xcalloc(1, sizeof(*m));
	m->outer = t->archive;
	/* the close callback frees m, also where the opening fails */
	if (archive_read_open(in->archive, m, NULL, read_member_block, free_member_source) !=
	    ARCHIVE_OK)
		return dink_archive_failed(in->archive, in->what, err);
	*ret = TAKE_PTR(in);
	return 0;
}

void dink_tar_free(struct dink_tar *t)
{
	if (!t)
		return;
	if (t->archive)
		archive_read_free(t->archive);
	free(t->what);
	free(t->name);
	free(t->hardlink);
	free(t);
}

/* "./usr/bin/" -> "usr/bin"; NULL stays NULL */
static char *clean_name(const char *s)
{
	if (!s)
		return NULL;
	for (;;) {
		if (s[0] == '/')
			s++;
		else if (s[0] == '.' && s[1] == '/')
			s += 2;
		else
			break;
	}
	size_t n = STREQ(s, ".") ? 0 : strlen(s);
	while (n > 0 && s[n - 1] == '/')
		n--;
	return xstrndup(s, n);
}

int dink_tar_next(struct dink_tar *t, struct dink_err *err)
{
	WITH_UTF8;
	int r = archive_read_next_header(t->archive, &t->entry);

	if (r == ARCHIVE_EOF)
		return 0;
	if (r < ARCHIVE_WARN)
		return dink_archive_failed(t->archive, t->what, err);
	if (++t->n_members > DINK_TAR_MEMBERS_MAX)
		return dink_err_set(err, DINK_E_HOST, E2BIG, "%s: over %d members", t->what,
				    DINK_TAR_MEMBERS_MAX);
	free(t->name);
	free(t->hardlink);
	t->name = clean_name(archive_entry_pathname(t->entry));
	t->hardlink = clean_name(archive_entry_hardlink(t->entry));
	if (!t->name || strlen(t->name) > DINK_TAR_NAME_MAX ||
	    (t->hardlink && strlen(t->hardlink) > DINK_TAR_NAME_MAX) ||
	    archive_entry_size(t->entry) < 0)
		return dink_err_set(err, DINK_E_HOST, EBADMSG,
				    "%s: member %u has a name or size that cannot be", t->what,
				    t->n_members);
	return 1;
}

int dink_tar_find(struct dink_tar *t, const char *name, struct dink_err *err)
{
	int r;

	do
		r = dink_tar_next(t, err);
	while (r > 0 && !(archive_entry_filetype(t->entry) == AE_IFREG && !t->hardlink &&
			  STREQ(t->name, name)));
	return r;
}

int dink_tar_text(struct dink_tar *t, size_t max, char **ret, size_t *ret_len, struct dink_err *err)
{
	int64_t size = archive_entry_size(t->entry);

	if ((uint64_t)size > max)
		return dink_err_set(err, DINK_E_HOST, EFBIG, "%s: %s", t->what, t->name);
	_cleanup_free_ char *text = xmalloc((size_t)size + 1);
	ssize_t n = archive_read_data(t->archive, text, (size_t)size);
	if (n < 0)
		return dink_archive_failed(t->archive, t->what, err);
	if (n != size)
		return dink_err_set(err, DINK_E_HOST, EBADMSG, "%s: %s ends too early", t->what,
				    t->name);
	text[n] = '\0';
	*ret = TAKE_PTR(text);
	*ret_len = (size_t)n;
	return 0;
}

/* --- writing -------------------------------------------------------------------------------- */

struct dink_tar_writer {
	struct archive *archive;
	int fd;
	char *what;
	struct dink_hash *hash;
};

static la_ssize_t write_block(struct archive *a, void *ctx, const void *bytes, size_t n)
{
	struct dink_tar_writer *w = ctx;
	int r = dink_fd_write_all(w->fd, bytes, n);

	if (r < 0) {
		archive_set_error(a, -r, "write");
		return -1;
	}
	if (w->hash)
		dink_hash_add(w->hash, bytes, n);
	return (la_ssize_t)n;
}

int dink_tar_create(const char *path, struct dink_hash *hash, struct dink_tar_writer **ret,
		    struct dink_err *err)
{
	_cleanup_(dink_tar_writer_freep) struct dink_tar_writer *w = xcalloc(1, sizeof(*w));

	w->what = xstrdup(path);
	w->hash = hash;
	w->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (w->fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "create %s", path);
	w->archive = archive_write_new();
	if (!w->archive)
		return dink_err_set(err, DINK_E_HOST, ENOMEM, "libarchive");
	struct archive *a = w->archive;
	if (archive_write_set_format_pax_restricted(a) != ARCHIVE_OK ||
	    archive_write_set_options(a, "xattrheader=SCHILY") != ARCHIVE_OK ||
	    archive_write_set_bytes_per_block(a, CHUNK) != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(a, 1) != ARCHIVE_OK ||
	    archive_write_open(a, w, NULL, write_block, NULL) != ARCHIVE_OK)
		return dink_archive_failed(a, path, err);
	*ret = TAKE_PTR(w);
	return 0;
}

void dink_tar_writer_free(struct dink_tar_writer *w)
{
	if (!w)
		return;
	if (w->archive)
		archive_write_free(w->archive);
	if (w->fd >= 0)
		close(w->fd);
	free(w->what);
	free(w);
}

/* What would differ between two machines or two builds. */
static void drop_circumstances(struct archive_entry *e)
{
	if (archive_entry_mtime(e) >= DINK_IMAGE_EPOCH)
		archive_entry_set_mtime(e, DINK_IMAGE_EPOCH, 0);
	archive_entry_unset_atime(e);
	archive_entry_unset_ctime(e);
	archive_entry_unset_birthtime(e);
	archive_entry_set_uname(e, "");
	archive_entry_set_gname(e, "");
	archive_entry_set_dev(e, 0);
	archive_entry_set_ino(e, 0);
	archive_entry_set_nlink(e, 1);
	archive_entry_set_fflags(e, 0, 0);
	archive_entry_sparse_clear(e);
}

int dink_tar_put(struct dink_tar_writer *w, struct archive_entry *e, const char *name,
		 const char *hardlink, struct dink_err *err)
{
	WITH_UTF8;

	drop_circumstances(e);
	archive_entry_set_pathname(e, name[0] ? name : ".");
	/* setting one kind of link, if only to none, unsets the other */
	if (hardlink || archive_entry_hardlink(e))
		archive_entry_set_hardlink(e, hardlink);
	if (hardlink || archive_entry_filetype(e) != AE_IFREG)
		archive_entry_set_size(e, 0);
	/* the warning is that a name is no UTF-8; pax then takes it as it is */
	if (archive_write_header(w->archive, e) < ARCHIVE_WARN) {
		int r = dink_archive_failed(w->archive, w->what, err);
		return r == -ENOSPC ? r : dink_err_push(err, "packing %s", name);
	}
	return 0;
}

int dink_tar_put_bytes(struct dink_tar_writer *w, const void *bytes, size_t n, struct dink_err *err)
{
	la_ssize_t put = archive_write_data(w->archive, bytes, n);

	if (put < 0)
		return dink_archive_failed(w->archive, w->what, err);
	/* libarchive drops what is more than the header said */
	if ((size_t)put != n)
		return dink_err_set(err, DINK_E_BUG, 0, "%s: more data than said", w->what);
	return 0;
}

int dink_tar_put_data(struct dink_tar_writer *w, struct dink_tar *t, struct dink_err *err)
{
	_cleanup_free_ char *buf = xmalloc(CHUNK);
	la_ssize_t n;

	while ((n = archive_read_data(t->archive, buf, CHUNK)) > 0) {
		int r = dink_tar_put_bytes(w, buf, (size_t)n, err);
		if (r < 0)
			return r;
	}
	return n < 0 ? dink_archive_failed(t->archive, t->what, err) : 0;
}

static void free_entry(struct archive_entry **e)
{
	archive_entry_free(*e);
}

int dink_tar_put_file(struct dink_tar_writer *w, const char *name, mode_t mode, const void *bytes,
		      size_t n, struct dink_err *err)
{
	_cleanup_(free_entry) struct archive_entry *e = archive_entry_new();

	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, mode);
	archive_entry_set_size(e, (la_int64_t)n);
	archive_entry_set_mtime(e, DINK_IMAGE_EPOCH, 0);
	int r = dink_tar_put(w, e, name, NULL, err);
	return r < 0 ? r : dink_tar_put_bytes(w, bytes, n, err);
}

int dink_tar_finish(struct dink_tar_writer *w, struct dink_err *err)
{
	int r = archive_write_close(w->archive) == ARCHIVE_OK
			? 0
			: dink_archive_failed(w->archive, w->what, err);

	dink_tar_writer_free(w);
	return r;
}
