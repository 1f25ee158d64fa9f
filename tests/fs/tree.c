/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree that several processes change at once, in the manner of fsstress: each has a folder of its
 * own, whose entries it knows, and all have one in common, where anything may be gone by the time it
 * is asked for. digest says what is there, for a comparison with what another system sees.
 */
#include "tests/fs/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { NAMES = 60, SHARED_NAMES = 12 };

/* --- one process --- */

struct worker {
	uint64_t seed;
	int own, shared;  /* folders */
	char kind[NAMES]; /* of what has the name: 0 nothing, f, d, l */
	uint64_t hash[NAMES];
	unsigned long made, changed, removed, collided;
};

static void name_of(unsigned n, char buf[32])
{
	/* of different lengths, some beyond what fits into an inode's tail */
	snprintf(buf, 32, "n%0*u", 1 + (int)(n % 24), n);
}

static uint64_t write_file(int dir, const char *name, uint64_t *seed)
{
	static uint8_t data[20000];
	size_t n = fs_below(seed, sizeof(data));
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);

	if (fd < 0)
		fs_die("tree: make %s", name);
	for (size_t i = 0; i < n; i++)
		data[i] = (uint8_t)(*seed + i * 7);
	if (write(fd, data, n) != (ssize_t)n || close(fd) < 0)
		fs_die("tree: write %s", name);
	return fs_hash(FS_HASH, data, n);
}

static uint64_t hash_file(int dir, const char *name, bool *ret_there)
{
	static uint8_t data[65536];
	uint64_t h = FS_HASH;
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t n;

	*ret_there = fd >= 0;
	while (fd >= 0 && (n = read(fd, data, sizeof(data))) > 0)
		h = fs_hash(h, data, (size_t)n);
	if (fd >= 0)
		close(fd);
	return h;
}

static void make(struct worker *w, unsigned n)
{
	char name[32];

	name_of(n, name);
	switch (fs_below(&w->seed, 4)) {
	case 0:
		if (mkdirat(w->own, name, 0755) < 0)
			fs_die("tree: mkdir %s", name);
		w->kind[n] = 'd';
		break;
	case 1:
		if (symlinkat("target-of-it", w->own, name) < 0)
			fs_die("tree: symlink %s", name);
		w->kind[n] = 'l';
		break;
	default:
		w->hash[n] = write_file(w->own, name, &w->seed);
		w->kind[n] = 'f';
		break;
	}
	w->made++;
}

static void take_away(struct worker *w, unsigned n)
{
	char name[32];

	name_of(n, name);
	if (unlinkat(w->own, name, w->kind[n] == 'd' ? AT_REMOVEDIR : 0) < 0)
		fs_die("tree: remove %s (%c)", name, w->kind[n]);
	w->kind[n] = 0;
	w->removed++;
}

/* rename over what is there, if the kinds allow it */
static void move(struct worker *w, unsigned from, unsigned to)
{
	char a[32], b[32];
	bool dir = w->kind[from] == 'd', onto_dir = w->kind[to] == 'd';
	int want = from == to || !w->kind[to] || dir == onto_dir ? 0 : dir ? ENOTDIR : EISDIR;

	name_of(from, a);
	name_of(to, b);
	int r = renameat(w->own, a, w->own, b) < 0 ? errno : 0;
	errno = r;
	if (r != want)
		fs_die("tree: rename %s (%c) to %s (%c), wanted errno %d", a, w->kind[from], b,
		       w->kind[to] ? w->kind[to] : '-', want);
	if (r == 0 && from != to) {
		w->kind[to] = w->kind[from];
		w->hash[to] = w->hash[from];
		w->kind[from] = 0;
	}
	w->changed++;
}

/* a second name for a moment: both are one file */
static void link_twice(struct worker *w, unsigned n)
{
	char name[32];
	struct stat a, b;

	name_of(n, name);
	if (linkat(w->own, name, w->own, "second", 0) < 0 || fstatat(w->own, name, &a, 0) < 0 ||
	    fstatat(w->own, "second", &b, 0) < 0)
		fs_die("tree: link %s", name);
	errno = 0;
	if (a.st_ino != b.st_ino || a.st_nlink != 2 || b.st_nlink != 2)
		fs_die("tree: %s: %llu and %llu, %lu and %lu links", name,
		       (unsigned long long)a.st_ino, (unsigned long long)b.st_ino,
		       (unsigned long)a.st_nlink, (unsigned long)b.st_nlink);
	if (unlinkat(w->own, "second", 0) < 0)
		fs_die("tree: unlink the second name of %s", name);
	w->changed++;
}

static void set_marks(struct worker *w, unsigned n)
{
	char name[32], value[32];
	struct timespec t[2] = {{.tv_sec = 1000000000}, {.tv_nsec = 123456789}};

	name_of(n, name);
	t[1].tv_sec = (time_t)fs_below(&w->seed, 1 << 30);
	snprintf(value, sizeof(value), "%llu", (unsigned long long)fs_rand(&w->seed));
	int fd = openat(w->own, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fchmod(fd, 0600 + (mode_t)fs_below(&w->seed, 64)) < 0 || futimens(fd, t) < 0)
		fs_die("tree: mode and times of %s", name);
	if (fsetxattr(fd, "user.mark", value, strlen(value), 0) < 0 && errno != EOPNOTSUPP)
		fs_die("tree: attribute of %s", name);
	close(fd);
	w->changed++;
}

static void rewrite(struct worker *w, unsigned n)
{
	char name[32];

	name_of(n, name);
	/* a mode that set_marks() gave does not stand in the way of root */
	w->hash[n] = write_file(w->own, name, &w->seed);
	w->changed++;
}

static bool may_be(int e)
{
	return e == ENOENT || e == EEXIST || e == ENOTEMPTY || e == ENOTDIR || e == EISDIR ||
	       e == ELOOP;
}

/* What others do at the same moment decides what comes of it; it must be one of these. */
static void collide(struct worker *w)
{
	char a[32], b[32];
	int r, fd;

	name_of((unsigned)fs_below(&w->seed, SHARED_NAMES), a);
	name_of((unsigned)fs_below(&w->seed, SHARED_NAMES), b);
	switch (fs_below(&w->seed, 6)) {
	case 0:
		r = mkdirat(w->shared, a, 0755);
		break;
	case 1:
		r = unlinkat(w->shared, a, 0);
		break;
	case 2:
		r = unlinkat(w->shared, a, AT_REMOVEDIR);
		break;
	case 3:
		r = renameat(w->shared, a, w->shared, b);
		break;
	case 4:
		r = linkat(w->shared, a, w->shared, b, 0);
		break;
	default:
		r = fd = openat(w->shared, a, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
		if (fd >= 0) {
			if (write(fd, "line\n", 5) != 5)
				fs_die("tree: append to a file in common");
			close(fd);
		}
		break;
	}
	/* a folder cannot have a second name */
	if (r < 0 && !may_be(errno) && errno != EPERM)
		fs_die("tree: in the folder in common, %s and %s", a, b);
	w->collided++;
}

static void verify(struct worker *w)
{
	for (unsigned n = 0; n < NAMES; n++) {
		char name[32];
		struct stat st = {};
		bool there;

		name_of(n, name);
		int r = fstatat(w->own, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? errno : 0;
		char kind = r ? 0 : S_ISDIR(st.st_mode) ? 'd' : S_ISLNK(st.st_mode) ? 'l' : 'f';
		errno = r;
		if (kind != w->kind[n])
			fs_die("tree: %s is %c, not %c", name, kind ? kind : '-',
			       w->kind[n] ? w->kind[n] : '-');
		if (kind == 'f' && (hash_file(w->own, name, &there) != w->hash[n] || !there))
			fs_die("tree: %s has other contents", name);
	}
}

static void work(struct worker *w, unsigned long steps)
{
	for (unsigned long i = 0; i < steps; i++) {
		unsigned n = (unsigned)fs_below(&w->seed, NAMES);
		uint64_t r = fs_below(&w->seed, 10);

		if (r < 3)
			collide(w);
		else if (!w->kind[n])
			make(w, n);
		else if (r < 5)
			take_away(w, n);
		else if (r < 7)
			move(w, n, (unsigned)fs_below(&w->seed, NAMES));
		else if (w->kind[n] != 'f')
			take_away(w, n);
		else if (r == 7)
			link_twice(w, n);
		else if (r == 8)
			set_marks(w, n);
		else
			rewrite(w, n);
	}
	verify(w);
}

static int folder(const char *dir, const char *name)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		fs_die("tree: make %s", path);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		fs_die("tree: open %s", path);
	return fd;
}

static int run_worker(const char *dir, int i, uint64_t seed, unsigned long steps)
{
	struct worker w = {.seed = seed + (uint64_t)i * 1000003};
	char name[32];

	snprintf(name, sizeof(name), "own-%d", i);
	w.own = folder(dir, name);
	w.shared = folder(dir, "common");
	work(&w, steps);
	printf("tree: process %d: %lu made, %lu changed, %lu removed, %lu in common\n", i, w.made,
	       w.changed, w.removed, w.collided);
	return 0;
}

int fs_tree(const char *dir, uint64_t seed, unsigned long steps, int processes)
{
	int failed = 0, status;

	printf("tree: %lu steps, seed %llu, %d processes\n", steps, (unsigned long long)seed,
	       processes);
	fflush(stdout);
	for (int i = 0; i < processes; i++) {
		pid_t pid = fork();

		if (pid < 0)
			fs_die("tree: fork");
		if (pid == 0)
			exit(run_worker(dir, i, seed, steps));
	}
	while (wait(&status) > 0)
		failed |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
	printf(failed ? "tree: FAILED\n" : "tree: as it should be\n");
	return failed;
}

/* --- what is there --- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void describe(int dir, const char *path, const char *name)
{
	char link[4096] = "", mark[64] = "";
	struct stat st;
	bool there;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		fs_die("digest: %s", path);
	printf("%s %o %u:%u", path, st.st_mode, st.st_uid, st.st_gid);
	/* a folder's links and size are each file system's own */
	if (!S_ISDIR(st.st_mode))
		printf(" %lu %lld %lld.%09ld", (unsigned long)st.st_nlink, (long long)st.st_size,
		       (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	if (S_ISLNK(st.st_mode) && readlinkat(dir, name, link, sizeof(link) - 1) >= 0)
		printf(" -> %s", link);
	if (S_ISREG(st.st_mode)) {
		int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && fgetxattr(fd, "user.mark", mark, sizeof(mark) - 1) > 0)
			printf(" mark %s", mark);
		if (fd >= 0)
			close(fd);
		printf(" %016llx", (unsigned long long)hash_file(dir, name, &there));
	}
	printf("\n");
}

static void walk(int at, const char *path)
{
	struct dirent **list = NULL;
	int n = scandirat(at, ".", &list, NULL, by_name);

	if (n < 0)
		fs_die("digest: read %s", path);
	for (int i = 0; i < n; i++) {
		const char *name = list[i]->d_name;
		char below[8192];
		int fd;

		if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
			snprintf(below, sizeof(below), "%s/%s", path, name);
			describe(at, below, name);
			fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (fd >= 0) {
				walk(fd, below);
				close(fd);
			}
		}
		free(list[i]);
	}
	free(list);
}

int fs_digest(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		fs_die("digest: open %s", dir);
	setvbuf(stdout, NULL, _IOFBF, 65536);
	walk(fd, "");
	close(fd);
	return 0;
}

/* --- inotify --- */

int fs_watch(const char *dir, unsigned seconds)
{
	char buf[4096] __attribute__((aligned(8)));
	int fd = inotify_init1(IN_CLOEXEC);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	time_t end = time(NULL) + (time_t)seconds;

	if (fd < 0 || inotify_add_watch(fd, dir, IN_CREATE | IN_DELETE | IN_CLOSE_WRITE) < 0)
		fs_die("watch: %s", dir);
	printf("ready\n");
	while (time(NULL) < end) {
		if (poll(&p, 1, 200) <= 0)
			continue;
		ssize_t n = read(fd, buf, sizeof(buf));
		for (ssize_t at = 0; at < n;) {
			struct inotify_event *e = (struct inotify_event *)(void *)(buf + at);

			printf("%s %s\n",
			       e->mask & IN_CREATE   ? "created"
			       : e->mask & IN_DELETE ? "deleted"
						     : "written",
			       e->name);
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	}
	return 0;
}
