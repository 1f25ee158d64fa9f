/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fs/cases.h"

#include <dirent.h>
#include <ftw.h>
#include <grp.h>
#include <sys/wait.h>
#include <unistd.h>

int make(const char *name, const char *contents, size_t n)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);

	if (fd < 0)
		fs_die("make %s", name);
	if (contents ? write(fd, contents, n) != (ssize_t)n : ftruncate(fd, (off_t)n) < 0)
		fs_die("fill %s", name);
	return fd;
}

int copy_self(const char *name)
{
	static char buf[1 << 16];
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	ssize_t n;

	while ((n = read(from, buf, sizeof(buf))) > 0) {
		if (write(fd, buf, (size_t)n) != n)
			return -1;
	}
	close(from);
	return fd;
}

int join(void)
{
	int status;

	if (wait(&status) < 0)
		return -1;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int as_user(uid_t uid, gid_t gid, int (*fn)(void))
{
	fflush(stdout);
	if (fork() == 0) {
		if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
		    setresuid(uid, uid, uid) < 0)
			fs_die("become user %u", uid);
		int r = fn();
		fflush(stdout);
		_exit(r);
	}
	return join();
}

static int take_away(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)at;
	return type == FTW_DP ? rmdir(path) : unlink(path);
}

static int run_one(const char *dir, const struct fs_case *c)
{
	fflush(stdout);
	if (fork() == 0) {
		alarm(120);
		umask(022);
		if (chdir(dir) < 0 || mkdir("case", 0755) < 0 || chdir("case") < 0)
			fs_die("make a folder in %s", dir);
		int r = c->fn();
		fflush(stdout);
		_exit(r == LACKS ? 77 : r);
	}
	return join();
}

int fs_run_cases(const char *dir, const char *only, const struct fs_case *cases, size_t n)
{
	char own[4096];
	int failed = 0;

	snprintf(own, sizeof(own), "%s/case", dir);
	for (size_t i = 0; i < n; i++) {
		if (only[0] && !strstr(cases[i].name, only))
			continue;
		int r = run_one(dir, &cases[i]);
		printf("%s %s\n", r == 0 ? "ok    " : r == 77 ? "lacks " : "FAILED", cases[i].name);
		failed += r != 0 && r != 77;
		if (nftw(own, take_away, 16, FTW_DEPTH | FTW_PHYS) < 0)
			fs_die("remove %s", own);
	}
	return failed;
}
