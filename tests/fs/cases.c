/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What POSIX and Linux promise of files, one rule a function, as root. A rule that a file system need
 * not know (a call that it refuses in the way that programs expect) is "lacks", not a failure.
 */
#include "tests/fs/fs.h"

#include "tests/fs/cases.h"

#include <dirent.h>
#include <errno.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

/* --- contents --- */

static int open_unlinked(void)
{
	char buf[8] = "";
	struct stat st;
	int fd = make("f", "hello", 5);

	MUST(unlink("f") == 0);
	MUST(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 5);
	MUST(pread(fd, buf, 5, 0) == 5 && memcmp(buf, "hello", 5) == 0);
	MUST(pwrite(fd, "world!", 6, 5) == 6 && fstat(fd, &st) == 0 && st.st_size == 11);
	MUST(ftruncate(fd, 2) == 0 && fstat(fd, &st) == 0 && st.st_size == 2);
	MUST(fchmod(fd, 0600) == 0 && fsync(fd) == 0);
	/* another file of that name is another file */
	int other = make("f", "new", 3);
	struct stat st2;
	MUST(fstat(other, &st2) == 0 && st2.st_ino != st.st_ino);
	MUST(pread(fd, buf, 8, 0) == 2 && memcmp(buf, "he", 2) == 0);
	close(other);
	close(fd);
	return 0;
}

static int rename_over_open(void)
{
	char buf[8] = "";
	int old = make("old", "old", 3), new = make("new", "newer", 5);
	struct stat a, b;

	MUST(rename("new", "old") == 0);
	MUST(access("new", F_OK) < 0 && errno == ENOENT);
	MUST(pread(old, buf, 8, 0) == 3 && memcmp(buf, "old", 3) == 0);
	MUST(fstat(old, &a) == 0 && a.st_nlink == 0);
	MUST(stat("old", &a) == 0 && fstat(new, &b) == 0 && a.st_ino == b.st_ino);
	MUST(a.st_size == 5);
	close(old);
	close(new);
	return 0;
}

static int unlinked_folder(void)
{
	MUST(mkdir("d", 0755) == 0);
	int d = open("d", O_RDONLY | O_DIRECTORY);
	MUST(d >= 0 && rmdir("d") == 0);
	MUST(openat(d, "f", O_WRONLY | O_CREAT, 0644) < 0 && errno == ENOENT);
	close(d);
	return 0;
}

static int sparse(void)
{
	const off_t far = 5LL << 30;
	char buf[16];
	struct stat st;
	int fd = make("f", "", 0);

	MUST(pwrite(fd, "end", 3, far) == 3);
	MUST(fstat(fd, &st) == 0 && st.st_size == far + 3 && st.st_blocks < 4096);
	memset(buf, 1, sizeof(buf));
	MUST(pread(fd, buf, 16, far / 2) == 16 && buf[0] == 0 && buf[15] == 0);
	MUST(lseek(fd, 0, SEEK_DATA) > 0 && lseek(fd, 0, SEEK_HOLE) == 0);
	MUST(ftruncate(fd, 0) == 0 && fstat(fd, &st) == 0 && st.st_size == 0);
	close(fd);
	return 0;
}

static int append_of_two(void)
{
	enum { LINES = 300 };
	char line[64], buf[64];
	int fd = make("f", "", 0), n = 0;

	close(fd);
	for (int who = 0; who < 2; who++) {
		if (fork() != 0)
			continue;
		fd = open("f", O_WRONLY | O_APPEND);
		for (int i = 0; i < LINES; i++) {
			snprintf(line, sizeof(line), "process %d line %8d of it\n", who, i);
			if (write(fd, line, strlen(line)) != (ssize_t)strlen(line))
				_exit(1);
		}
		_exit(0);
	}
	MUST(join() == 0 && join() == 0);
	FILE *f = fopen("f", "r");
	MUST(f);
	while (fgets(buf, sizeof(buf), f)) {
		int who, at;
		MUST(sscanf(buf, "process %d line %d of it", &who, &at) == 2);
		n++;
	}
	fclose(f);
	MUST(n == 2 * LINES);
	return 0;
}

static int create_excl(void)
{
	enum { FILES = 100, RUNNERS = 4 };
	int won[2], total = 0, count;

	MUST(pipe(won) == 0);
	for (int who = 0; who < RUNNERS; who++) {
		if (fork() != 0)
			continue;
		count = 0;
		for (int i = 0; i < FILES; i++) {
			char name[16];
			snprintf(name, sizeof(name), "f%d", i);
			int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
			if (fd < 0 && errno != EEXIST)
				_exit(1);
			count += fd >= 0;
			close(fd);
		}
		_exit(write(won[1], &count, sizeof(count)) != sizeof(count));
	}
	for (int i = 0; i < RUNNERS; i++) {
		MUST(join() == 0 && read(won[0], &count, sizeof(count)) == sizeof(count));
		total += count;
	}
	MUST(total == FILES);
	close(won[0]);
	close(won[1]);
	return 0;
}

static int copies(void)
{
	char buf[16] = "";
	int a = make("a", "0123456789", 10), b = make("b", "", 0);
	off_t at = 2;

	MUST(sendfile(b, a, &at, 5) == 5 && at == 7);
	at = 0;
	ssize_t n = copy_file_range(a, &at, b, NULL, 3, 0);
	MUST(n == 3 || (n < 0 && (errno == EOPNOTSUPP || errno == EXDEV || errno == ENOSYS)));
	MUST(pread(b, buf, 16, 0) == (n == 3 ? 8 : 5) &&
	     memcmp(buf, "23456012", n == 3 ? 8 : 5) == 0);
	close(a);
	close(b);
	return n == 3 ? 0 : LACKS;
}

static int syncs(void)
{
	int fd = make("f", "x", 1), d = open(".", O_RDONLY | O_DIRECTORY);

	MUST(fsync(fd) == 0 && fdatasync(fd) == 0 && syncfs(fd) == 0);
	MUST(d >= 0 && fsync(d) == 0);
	MUST(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE) == 0);
	close(fd);
	close(d);
	return 0;
}

/* --- memory maps --- */

static int map_coherent(void)
{
	char buf[4] = "";
	int fd = make("f", NULL, 8192), again = open("f", O_RDWR);
	char *a = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *b = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0);

	MUST(a != MAP_FAILED && b != MAP_FAILED);
	memcpy(a + 4094, "abcd", 4);
	MUST(memcmp(b + 4094, "abcd", 4) == 0);
	MUST(pread(again, buf, 4, 4094) == 4 && memcmp(buf, "abcd", 4) == 0);
	MUST(pwrite(again, "wxyz", 4, 100) == 4 && memcmp(a + 100, "wxyz", 4) == 0);
	if (fork() == 0) {
		memcpy(a + 200, "child", 5);
		_exit(0);
	}
	MUST(join() == 0 && memcmp(b + 200, "child", 5) == 0);
	/* it stays whole without a name and without a descriptor */
	MUST(unlink("f") == 0 && close(fd) == 0 && close(again) == 0);
	memcpy(a, "late", 4);
	MUST(msync(a, 8192, MS_SYNC) == 0 && memcmp(b, "late", 4) == 0);
	munmap(a, 8192);
	munmap(b, 8192);
	return 0;
}

static int map_private(void)
{
	char buf[4] = "";
	int fd = make("f", NULL, 4096);
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

	MUST(p != MAP_FAILED);
	memcpy(p, "mine", 4);
	MUST(pread(fd, buf, 4, 0) == 4 && memcmp(buf, "\0\0\0", 4) == 0);
	munmap(p, 4096);
	close(fd);
	return 0;
}

static int map_after_truncate(void)
{
	int fd = make("f", NULL, 8192);
	volatile char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	MUST(p != MAP_FAILED && ftruncate(fd, 100) == 0);
	if (fork() == 0) {
		p[5000] = 1; /* SIGBUS */
		_exit(0);
	}
	MUST(join() == 128 + SIGBUS);
	p[50] = 'x';
	MUST(ftruncate(fd, 8192) == 0 && p[5000] == 0 && p[50] == 'x');
	munmap((void *)(uintptr_t)p, 8192);
	close(fd);
	return 0;
}

static int run_program(void)
{
	char buf[64] = "";
	int out[2], fd = copy_self("prog");

	MUST(fd >= 0 && pipe(out) == 0);
	close(fd);
	if (fork() == 0) {
		dup2(out[1], 2);
		execl("./prog", "prog", (char *)NULL);
		_exit(99);
	}
	close(out[1]);
	MUST(read(out[0], buf, 9) == 9 && memcmp(buf, "exerciser", 9) == 0);
	MUST(join() == 2);
	close(out[0]);
	fd = make("script", "#!./prog\n", 9);
	close(fd);
	MUST(chmod("script", 0755) == 0);
	if (fork() == 0) {
		int null = open("/dev/null", O_WRONLY);
		dup2(null, 2);
		execl("./script", "script", (char *)NULL);
		_exit(99);
	}
	MUST(join() == 2);
	return 0;
}

static int busy_program(void)
{
	int go[2], fd = copy_self("prog");

	MUST(fd >= 0 && pipe(go) == 0);
	close(fd);
	pid_t pid = fork();
	if (pid == 0) {
		fcntl(go[1], F_SETFD, FD_CLOEXEC); /* its end says that the program runs */
		execl("./prog", "prog", "watch", ".", "30", (char *)NULL);
		_exit(99);
	}
	close(go[1]);
	char c;
	MUST(read(go[0], &c, 1) == 0);
	int r = open("prog", O_WRONLY) < 0 ? errno : 0;
	kill(pid, SIGKILL);
	MUST(join() == 128 + SIGKILL && r == ETXTBSY);
	close(go[0]);
	return 0;
}

/* --- locks --- */

static int lock_flock(void)
{
	int fd = make("f", "", 0);

	MUST(flock(fd, LOCK_EX) == 0);
	if (fork() == 0) {
		int own = open("f", O_RDWR);
		_exit(flock(own, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK);
	}
	MUST(join() == 0 && flock(fd, LOCK_UN) == 0);
	if (fork() == 0) {
		int own = open("f", O_RDWR);
		_exit(flock(own, LOCK_EX | LOCK_NB) != 0);
	}
	MUST(join() == 0);
	close(fd);
	return 0;
}

static int set_lock(int fd, int command, short type, off_t from, off_t n, struct flock *l)
{
	*l = (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = from, .l_len = n};
	return fcntl(fd, command, l);
}

static int lock_posix(void)
{
	struct flock l;
	int fd = make("f", NULL, 100);
	pid_t self = getpid();

	MUST(set_lock(fd, F_SETLK, F_WRLCK, 10, 10, &l) == 0);
	if (fork() == 0) {
		int own = open("f", O_RDWR);
		if (set_lock(own, F_SETLK, F_RDLCK, 15, 1, &l) == 0 || errno != EAGAIN)
			_exit(1);
		if (set_lock(own, F_GETLK, F_RDLCK, 0, 100, &l) < 0 || l.l_pid != self ||
		    l.l_start != 10 || l.l_len != 10)
			_exit(2);
		_exit(set_lock(own, F_SETLK, F_WRLCK, 30, 10, &l) != 0 ? 3 : 0);
	}
	MUST(join() == 0);
	/* any close of the file's gives them up */
	close(open("f", O_RDONLY));
	if (fork() == 0) {
		int own = open("f", O_RDWR);
		_exit(set_lock(own, F_SETLK, F_WRLCK, 0, 0, &l) != 0);
	}
	MUST(join() == 0);
	close(fd);
	return 0;
}

static int lock_ofd(void)
{
	struct flock l;
	int a = make("f", NULL, 10), b = open("f", O_RDWR);

	MUST(set_lock(a, F_OFD_SETLK, F_WRLCK, 0, 5, &l) == 0);
	MUST(set_lock(b, F_OFD_SETLK, F_WRLCK, 0, 5, &l) < 0 && errno == EAGAIN);
	MUST(set_lock(b, F_OFD_SETLK, F_WRLCK, 5, 5, &l) == 0);
	close(a);
	MUST(set_lock(b, F_OFD_SETLK, F_WRLCK, 0, 5, &l) == 0);
	close(b);
	return 0;
}

/* --- what a file may be beside a file --- */

static int fifo(void)
{
	char buf[4] = "";

	MUST(mkfifo("p", 0600) == 0);
	if (fork() == 0) {
		int w = open("p", O_WRONLY);
		_exit(write(w, "ping", 4) != 4);
	}
	int r = open("p", O_RDONLY);
	MUST(r >= 0 && read(r, buf, 4) == 4 && memcmp(buf, "ping", 4) == 0 && join() == 0);
	close(r);
	return 0;
}

static int unix_socket(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "s"};
	struct stat st;
	char buf[4] = "";
	int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);

	MUST(bind(l, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(l, 1) == 0);
	MUST(stat("s", &st) == 0 && S_ISSOCK(st.st_mode));
	MUST(connect(c, (struct sockaddr *)&a, sizeof(a)) == 0);
	int s = accept(l, NULL, NULL);
	MUST(s >= 0 && write(s, "ping", 4) == 4 && read(c, buf, 4) == 4);
	MUST(unlink("s") == 0);
	close(s);
	close(c);
	close(l);
	return 0;
}

static int nameless(void)
{
	char path[64];
	int fd = open(".", O_TMPFILE | O_RDWR, 0600);

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR))
		return LACKS;
	MUST(fd >= 0 && write(fd, "x", 1) == 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	MUST(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW) == 0);
	MUST(access("named", F_OK) == 0);
	close(fd);
	return 0;
}

static int attributes(void)
{
	char value[1000], buf[1000], list[256];
	int fd = make("f", "", 0);

	memset(value, 'v', sizeof(value));
	int r = setxattr("f", "user.one", value, sizeof(value), XATTR_CREATE);
	if (r < 0 && errno == EOPNOTSUPP)
		return LACKS;
	MUST(r == 0 && setxattr("f", "user.one", "x", 1, XATTR_CREATE) < 0 && errno == EEXIST);
	MUST(setxattr("f", "user.two", "x", 1, XATTR_REPLACE) < 0 && errno == ENODATA);
	MUST(fsetxattr(fd, "user.empty", "", 0, 0) == 0);
	MUST(getxattr("f", "user.one", buf, sizeof(buf)) == sizeof(value));
	MUST(memcmp(buf, value, sizeof(value)) == 0);
	MUST(getxattr("f", "user.one", buf, 10) < 0 && errno == ERANGE);
	MUST(getxattr("f", "user.one", NULL, 0) == sizeof(value));
	ssize_t n = listxattr("f", list, sizeof(list));
	MUST(n > 0 && memmem(list, (size_t)n, "user.one", 9) &&
	     memmem(list, (size_t)n, "user.empty", 11));
	MUST(removexattr("f", "user.one") == 0);
	MUST(getxattr("f", "user.one", buf, sizeof(buf)) < 0 && errno == ENODATA);
	MUST(symlink("f", "l") == 0 && lsetxattr("l", "user.one", "x", 1, 0) < 0 && errno == EPERM);
	/* what rename carries along */
	MUST(rename("f", "g") == 0 && getxattr("g", "user.empty", buf, 1) == 0);
	close(fd);
	return 0;
}

static int room(void)
{
	struct statvfs v;

	MUST(statvfs(".", &v) == 0 && v.f_namemax == 255 && v.f_blocks > 0 && v.f_bsize >= 512);
	return 0;
}

static const struct fs_case cases[] = {
	{"open, unlink, fstat, read, write, truncate", open_unlinked},
	{"rename over an open file", rename_over_open},
	{"an open folder that was removed", unlinked_folder},
	{"a sparse file of 5 GiB", sparse},
	{"O_APPEND by two processes", append_of_two},
	{"O_EXCL by four processes", create_excl},
	{"sendfile, copy_file_range", copies},
	{"fsync, fdatasync, syncfs, fsync of a folder", syncs},
	{"shared maps, reads and writes see one another", map_coherent},
	{"a private map stays private", map_private},
	{"SIGBUS beyond the end, zeros after growing", map_after_truncate},
	{"execve of a program and of a script", run_program},
	{"ETXTBSY", busy_program},
	{"flock between processes", lock_flock},
	{"fcntl locks between processes", lock_posix},
	{"open file description locks", lock_ofd},
	{"a FIFO", fifo},
	{"a unix socket", unix_socket},
	{"O_TMPFILE", nameless},
	{"extended attributes", attributes},
	{"statvfs", room},
};

int fs_cases(const char *dir, const char *only)
{
	int failed = fs_run_cases(dir, only, cases, sizeof(cases) / sizeof(cases[0]));
	size_t n;
	const struct fs_case *more = fs_name_cases(&n);

	failed += fs_run_cases(dir, only, more, n);
	more = fs_right_cases(&n);
	failed += fs_run_cases(dir, only, more, n);
	printf(failed ? "cases: %d FAILED\n" : "cases: as they should be\n", failed);
	return failed > 0;
}
