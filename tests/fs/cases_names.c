/* SPDX-License-Identifier: Apache-2.0 */
/* Names, links and folders. */
#include "tests/fs/cases.h"

#include <dirent.h>
#include <limits.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

static int long_names(void)
{
	char name[300];

	memset(name, 'n', sizeof(name));
	name[255] = '\0';
	int fd = make(name, "x", 1);
	struct stat st;
	MUST(stat(name, &st) == 0 && st.st_size == 1);
	MUST(rename(name, "short") == 0 && rename("short", name) == 0);
	name[255] = 'n';
	name[256] = '\0';
	MUST(open(name, O_RDONLY | O_CREAT, 0644) < 0 && errno == ENAMETOOLONG);
	MUST(mkdir(name, 0755) < 0 && errno == ENAMETOOLONG);
	close(fd);
	return 0;
}

/* Each byte that a name may have, one name a byte. */
static int odd_names(void)
{
	char name[4] = "a?b";
	int n = 0;

	for (int c = 1; c < 256; c++) {
		if (c == '/')
			continue;
		name[1] = (char)c;
		close(make(name, &name[1], 1));
	}
	DIR *d = opendir(".");
	MUST(d);
	for (struct dirent *e; (e = readdir(d));) {
		char got = 0;
		if (e->d_name[0] == '.')
			continue;
		int fd = open(e->d_name, O_RDONLY);
		MUST(fd >= 0 && read(fd, &got, 1) == 1 && got == e->d_name[1]);
		MUST(strlen(e->d_name) == 3 && e->d_type == DT_REG);
		close(fd);
		n++;
	}
	closedir(d);
	MUST(n == 254);
	return 0;
}

static int deep_folders(void)
{
	enum { DEPTH = 300 };

	for (int i = 0; i < DEPTH; i++)
		MUST(mkdir("a-folder-in-a-folder", 0755) == 0 &&
		     chdir("a-folder-in-a-folder") == 0);
	close(make("bottom", "x", 1));
	char *cwd = getcwd(NULL, 0);
	MUST(cwd && strlen(cwd) > PATH_MAX);
	free(cwd);
	MUST(unlink("bottom") == 0);
	for (int i = 0; i < DEPTH; i++)
		MUST(chdir("..") == 0 && rmdir("a-folder-in-a-folder") == 0);
	return 0;
}

static int hard_links(void)
{
	struct stat a, b;
	int fd = make("a", "one", 3);

	MUST(link("a", "b") == 0 && stat("a", &a) == 0 && stat("b", &b) == 0);
	MUST(a.st_ino == b.st_ino && a.st_dev == b.st_dev && a.st_nlink == 2 && b.st_nlink == 2);
	MUST(link("a", "b") < 0 && errno == EEXIST);
	MUST(pwrite(fd, "two", 3, 0) == 3);
	char buf[4] = "";
	int other = open("b", O_RDONLY);
	MUST(read(other, buf, 3) == 3 && memcmp(buf, "two", 3) == 0);
	MUST(chmod("b", 0600) == 0 && stat("a", &a) == 0 && (a.st_mode & 0777) == 0600);
	/* two names of one file: nothing is done */
	MUST(rename("a", "b") == 0 && access("a", F_OK) == 0 && access("b", F_OK) == 0);
	MUST(unlink("a") == 0 && fstat(fd, &a) == 0 && a.st_nlink == 1);
	MUST(mkdir("d", 0755) == 0 && link("d", "e") < 0 && errno == EPERM);
	close(other);
	close(fd);
	return 0;
}

static int soft_links(void)
{
	char target[4096], got[4096];
	struct stat st;

	memset(target, 't', sizeof(target));
	target[4000] = '\0';
	MUST(symlink(target, "long") == 0);
	MUST(readlink("long", got, sizeof(got)) == 4000 && memcmp(got, target, 4000) == 0);
	MUST(lstat("long", &st) == 0 && S_ISLNK(st.st_mode) && st.st_size == 4000);
	MUST(symlink("ring", "ring") == 0 && open("ring", O_RDONLY) < 0 && errno == ELOOP);
	close(make("file", "x", 1));
	MUST(symlink("file", "to-file") == 0 && open("to-file", O_RDONLY | O_NOFOLLOW) < 0);
	MUST(open("to-file", O_RDONLY | O_NOFOLLOW) < 0 && errno == ELOOP);
	MUST(stat("to-file", &st) == 0 && st.st_size == 1);
	MUST(symlink("nowhere", "dangling") == 0 && stat("dangling", &st) < 0 && errno == ENOENT);
	/* creates what it points to */
	int fd = open("dangling", O_WRONLY | O_CREAT, 0644);
	MUST(fd >= 0 && access("nowhere", F_OK) == 0);
	MUST(symlink("x", "dangling") < 0 && errno == EEXIST);
	close(fd);
	return 0;
}

static int wrong_kinds(void)
{
	close(make("f", "x", 1));
	MUST(mkdir("d", 0755) == 0);
	MUST(open("d", O_WRONLY) < 0 && errno == EISDIR);
	MUST(open("f/x", O_RDONLY) < 0 && errno == ENOTDIR);
	MUST(open("f/", O_RDONLY) < 0 && errno == ENOTDIR);
	MUST(open("f", O_RDONLY | O_DIRECTORY) < 0 && errno == ENOTDIR);
	MUST(rmdir("f") < 0 && errno == ENOTDIR);
	MUST(unlink("d") < 0 && errno == EISDIR);
	MUST(mkdir("f", 0755) < 0 && errno == EEXIST);
	MUST(rename("d", "f") < 0 && errno == ENOTDIR);
	MUST(rename("f", "d") < 0 && errno == EISDIR);
	int r = open("f", O_RDONLY);
	MUST(write(r, "x", 1) < 0 && errno == EBADF);
	MUST(ftruncate(r, 0) < 0 && errno == EINVAL);
	close(r);
	return 0;
}

static int folders(void)
{
	struct stat a, b;

	MUST(mkdir("d", 0755) == 0 && mkdir("d/e", 0755) == 0);
	MUST(rmdir("d") < 0 && errno == ENOTEMPTY);
	MUST(rename("d", "d/e/x") < 0 && errno == EINVAL);
	MUST(mkdir("other", 0755) == 0 && rename("other", "d") < 0 &&
	     (errno == ENOTEMPTY || errno == EEXIST));
	MUST(stat("d/e", &a) == 0 && rename("d/e", "other") == 0 && stat("other", &b) == 0);
	MUST(a.st_ino == b.st_ino && access("d/e", F_OK) < 0);
	MUST(stat("other/..", &a) == 0 && stat(".", &b) == 0 && a.st_ino == b.st_ino);
	MUST(rmdir("d") == 0);
	return 0;
}

static int renames(void)
{
	struct stat a, b, c, d;

	close(make("a", "a", 1));
	close(make("b", "bb", 2));
	MUST(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE) < 0 && errno == EEXIST);
	MUST(stat("a", &a) == 0 && stat("b", &b) == 0);
	MUST(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE) == 0);
	MUST(stat("a", &c) == 0 && stat("b", &d) == 0);
	MUST(a.st_ino == d.st_ino && b.st_ino == c.st_ino && c.st_size == 2 && d.st_size == 1);
	MUST(renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE) == 0);
	return 0;
}

static int count_and_unlink(bool away)
{
	int n = 0;
	DIR *d = opendir(".");

	for (struct dirent *e; d && (e = readdir(d));) {
		if (e->d_name[0] == '.')
			continue;
		n++;
		if (away && unlink(e->d_name) < 0)
			return -1;
	}
	if (d)
		closedir(d);
	return n;
}

static int many_entries(void)
{
	enum { FILES = 1500 };
	char name[64];

	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "a-name-that-is-not-short-%d", i);
		close(make(name, "", 0));
	}
	MUST(count_and_unlink(false) == FILES);
	/* none is left out because others go meanwhile */
	MUST(count_and_unlink(true) == FILES);
	MUST(count_and_unlink(false) == 0);
	return 0;
}

static int seek_entries(void)
{
	char name[32], second[256] = "";
	long at = 0;

	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		close(make(name, "", 0));
	}
	DIR *d = opendir(".");
	MUST(d);
	for (int i = 0; i < 40; i++)
		MUST(readdir(d));
	at = telldir(d);
	struct dirent *e = readdir(d);
	MUST(e);
	snprintf(second, sizeof(second), "%s", e->d_name);
	for (int i = 0; i < 20; i++)
		MUST(readdir(d));
	seekdir(d, at);
	MUST((e = readdir(d)) && strcmp(e->d_name, second) == 0);
	rewinddir(d);
	close(make("late", "", 0));
	int n = 0;
	while ((e = readdir(d)))
		n += strcmp(e->d_name, "late") == 0;
	closedir(d);
	MUST(n == 1);
	return 0;
}

static int watch_own(void)
{
	char buf[4096] __attribute__((aligned(8)));
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	uint32_t seen = 0;

	MUST(fd >= 0);
	MUST(inotify_add_watch(fd, ".", IN_CREATE | IN_MODIFY | IN_MOVED_TO | IN_DELETE) >= 0);
	close(make("f", "x", 1));
	MUST(rename("f", "g") == 0 && unlink("g") == 0);
	ssize_t n = read(fd, buf, sizeof(buf));
	for (ssize_t at = 0; at < n;) {
		struct inotify_event *e = (struct inotify_event *)(void *)(buf + at);
		seen |= e->mask;
		at += (ssize_t)(sizeof(*e) + e->len);
	}
	MUST((seen & (IN_CREATE | IN_MODIFY | IN_MOVED_TO | IN_DELETE)) ==
	     (IN_CREATE | IN_MODIFY | IN_MOVED_TO | IN_DELETE));
	close(fd);
	return 0;
}

const struct fs_case *fs_name_cases(size_t *ret_n)
{
	static const struct fs_case cases[] = {
		{"names of 255 bytes, and no longer", long_names},
		{"every byte in a name", odd_names},
		{"300 folders deep", deep_folders},
		{"hard links", hard_links},
		{"symbolic links", soft_links},
		{"errors for the wrong kind of file", wrong_kinds},
		{"folders: rmdir, rename, dot-dot", folders},
		{"RENAME_NOREPLACE, RENAME_EXCHANGE", renames},
		{"1500 entries, removed while they are read", many_entries},
		{"telldir, seekdir, rewinddir", seek_entries},
		{"inotify: changes of one's own", watch_own},
	};

	*ret_n = sizeof(cases) / sizeof(cases[0]);
	return cases;
}
