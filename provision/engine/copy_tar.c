/* SPDX-License-Identifier: Apache-2.0 */
/* tar streams to and from the disk by libarchive, for copy.c. */
#include "provision/base/archive.h"
#include "provision/base/file.h"
#include "provision/engine/copy.h"

#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>

enum { BLOCK = 64 << 10 };

static int fail_archive(struct archive *a, const char *what, struct dink_err *err)
{
	int e = archive_errno(a);
	const char *text = archive_error_string(a);

	/* EPIPE is kept: the other side of the pipe then has the cause */
	(void)dink_err_set(err, DINK_E_CHILD, e == EPIPE ? EPIPE : 0, "%s: %s", what,
			   text ? text : "unknown error");
	return e > 0 && e < 4096 ? -e : -EIO;
}

char *dink_copy_rename(const char *name, const char *top)
{
	const char *rest;

	while (name[0] == '/')
		name++;
	for (const char *p = name; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 2 && p[0] == '.' && p[1] == '.')
			return NULL;
		p += n + (p[n] == '/');
	}
	rest = name + strcspn(name, "/");
	while (*rest == '/')
		rest++;
	if (!*rest)
		return xstrdup(top[0] ? top : ".");
	return top[0] ? xasprintf("%s/%s", top, rest) : xstrdup(rest);
}

static int check_entry(struct archive_entry *e, const char *top, struct dink_err *err)
{
	const char *name = archive_entry_pathname(e), *link = archive_entry_hardlink(e);
	_cleanup_free_ char *to = name ? dink_copy_rename(name, top) : NULL;
	mode_t type = archive_entry_filetype(e);

	if (!to)
		return dink_err_set(err, DINK_E_CHILD, EPERM, "the layer sent the name '%.200s'",
				    name ? name : "");
	archive_entry_set_pathname(e, to);
	if (link) {
		_cleanup_free_ char *target = dink_copy_rename(link, top);

		if (!target)
			return dink_err_set(err, DINK_E_CHILD, EPERM,
					    "the layer sent a hard link to '%.200s'", link);
		archive_entry_set_hardlink(e, target);
	} else if (type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK) {
		return dink_err_set(err, DINK_E_CHILD, EPERM,
				    "'%.200s' is a device, pipe or socket: these are not copied",
				    to);
	}
	archive_entry_set_perm(e, archive_entry_perm(e) & 0777);
	return 0;
}

static int copy_data(struct archive *from, struct archive *to, bool sparse, struct dink_err *err)
{
	const void *bytes;
	size_t n;
	int64_t offset;

	for (;;) {
		int r = archive_read_data_block(from, &bytes, &n, &offset);

		if (r == ARCHIVE_EOF)
			return 0;
		if (r < ARCHIVE_WARN)
			return fail_archive(from, "read the tar stream", err);
		if (sparse && archive_write_data_block(to, bytes, n, offset) < ARCHIVE_WARN)
			return fail_archive(to, "write a file", err);
		if (!sparse && archive_write_data(to, bytes, n) < 0)
			return fail_archive(to, "write the tar stream", err);
	}
}

static int extract_all(struct archive *in, struct archive *out, const char *top,
		       struct dink_err *err)
{
	struct archive_entry *e;

	for (;;) {
		int r = archive_read_next_header(in, &e);

		if (r == ARCHIVE_EOF)
			return 0;
		if (r < ARCHIVE_WARN)
			return fail_archive(in, "read the tar stream", err);
		r = check_entry(e, top, err);
		if (r < 0)
			return r;
		if (STREQ(archive_entry_pathname(e), ".")) /* the target itself */
			continue;
		if (archive_write_header(out, e) < ARCHIVE_WARN)
			return fail_archive(out, archive_entry_pathname(e), err);
		r = copy_data(in, out, true, err);
		if (r < 0)
			return r;
		if (archive_write_finish_entry(out) < ARCHIVE_WARN)
			return fail_archive(out, archive_entry_pathname(e), err);
	}
}

int dink_copy_extract(int fd, const char *dir, const char *top, struct dink_err *err)
{
	_cleanup_(dink_archive_read_freep) struct archive *in = archive_read_new();
	_cleanup_(dink_archive_write_freep) struct archive *out = archive_write_disk_new();
	_cleanup_close_ int back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (!in || !out)
		abort();
	archive_read_support_format_tar(in);
	archive_write_disk_set_options(out, ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_PERM |
						    ARCHIVE_EXTRACT_SECURE_NODOTDOT |
						    ARCHIVE_EXTRACT_SECURE_SYMLINKS |
						    ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS);
	if (archive_read_open_fd(in, fd, BLOCK) != ARCHIVE_OK)
		return fail_archive(in, "read the tar stream", err);
	/* names stay relative, so that only links below the target are looked at, not the way to it
	 */
	if (chdir(dir) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "go to %s", dir);
	r = extract_all(in, out, top, err);
	if (r == 0 && archive_write_close(out) < ARCHIVE_WARN)
		r = fail_archive(out, "set times and modes", err);
	if (back >= 0 && fchdir(back) < 0 && r == 0)
		r = dink_err_set(err, DINK_E_HOST, errno, "go back from %s", dir);
	return r;
}

static int pack_entry(struct archive *disk, struct archive *out, struct archive_entry *e,
		      size_t skip, const char *top, struct dink_err *err)
{
	const char *name = archive_entry_pathname(e);
	_cleanup_free_ char *to = NULL;
	mode_t type = archive_entry_filetype(e);

	/* all names begin with the path that was given */
	to = xasprintf("%s%s", top, name + (strlen(name) > skip ? skip : strlen(name)));
	if (type == AE_IFSOCK)
		return 0;
	archive_entry_set_pathname(e, to);
	archive_entry_set_uid(e, 0);
	archive_entry_set_gid(e, 0);
	archive_entry_set_uname(e, "root");
	archive_entry_set_gname(e, "root");
	if (archive_write_header(out, e) < ARCHIVE_WARN)
		return fail_archive(out, to, err);
	return type == AE_IFREG ? copy_data(disk, out, false, err) : 0;
}

int dink_copy_pack(const char *path, const char *top, int fd, struct dink_err *err)
{
	_cleanup_(dink_archive_read_freep) struct archive *disk = archive_read_disk_new();
	_cleanup_(dink_archive_write_freep) struct archive *out = archive_write_new();
	int r = 0;

	if (!disk || !out)
		abort();
	archive_read_disk_set_symlink_physical(disk);
	archive_read_disk_set_behavior(disk, ARCHIVE_READDISK_NO_XATTR | ARCHIVE_READDISK_NO_ACL |
						     ARCHIVE_READDISK_NO_FFLAGS |
						     ARCHIVE_READDISK_NO_SPARSE);
	archive_write_set_format_pax_restricted(out);
	archive_write_set_bytes_per_block(out, BLOCK);
	if (archive_write_open_fd(out, fd) != ARCHIVE_OK)
		return fail_archive(out, "write the tar stream", err);
	if (archive_read_disk_open(disk, path) != ARCHIVE_OK)
		return fail_archive(disk, path, err);
	while (r == 0) {
		struct archive_entry *e = archive_entry_new();

		r = archive_read_next_header2(disk, e);
		if (r == ARCHIVE_EOF) {
			archive_entry_free(e);
			r = 0;
			break;
		}
		if (r < ARCHIVE_WARN) {
			r = fail_archive(disk, path, err);
		} else {
			archive_read_disk_descend(disk);
			r = pack_entry(disk, out, e, strlen(path), top, err);
		}
		archive_entry_free(e);
	}
	if (r == 0 && archive_write_close(out) != ARCHIVE_OK)
		r = fail_archive(out, "write the tar stream", err);
	return r;
}
