/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what, and what a file says of itself: modes, owners, times, access lists. */
#include "tests/fs/cases.h"

#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { USER = 1000, OTHER = 1001, KEPT_ONLY = 76 };

static int may_not_read(void)
{
	MUST(open("secret", O_RDONLY) < 0 && errno == EACCES);
	MUST(open("public", O_RDONLY) >= 0);
	MUST(open("public", O_WRONLY) < 0 && errno == EACCES);
	MUST(access("secret", R_OK) < 0 && errno == EACCES);
	MUST(open("closed/f", O_RDONLY) < 0 && errno == EACCES);
	MUST(open("new", O_WRONLY | O_CREAT, 0644) < 0 && errno == EACCES);
	MUST(unlink("public") < 0 && errno == EACCES);
	MUST(chmod("public", 0777) < 0 && errno == EPERM);
	MUST(chown("public", USER, USER) < 0 && errno == EPERM);
	return 0;
}

static int modes(void)
{
	close(make("secret", "x", 1));
	close(make("public", "x", 1));
	MUST(chmod("secret", 0600) == 0 && mkdir("closed", 0700) == 0);
	close(make("closed/f", "x", 1));
	MUST(as_user(USER, USER, may_not_read) == 0);
	return 0;
}

static int own_file(void)
{
	struct stat st;
	int fd = make("mine", "x", 1);

	MUST(fstat(fd, &st) == 0 && st.st_uid == USER && st.st_gid == USER);
	MUST(chmod("mine", 0) == 0 && open("mine", O_RDONLY) < 0 && errno == EACCES);
	/* one that is open stays so */
	MUST(write(fd, "y", 1) == 1);
	MUST(mkdir("dir", 0755) == 0 && stat("dir", &st) == 0 && st.st_uid == USER);
	MUST(symlink("x", "link") == 0 && lstat("link", &st) == 0 && st.st_uid == USER);
	close(fd);
	/* made without a right to write, and written to: open() decides once */
	fd = open("readonly", O_RDWR | O_CREAT | O_EXCL, 0400);
	MUST(fd >= 0 && write(fd, "x", 1) == 1);
	close(fd);
	return 0;
}

static int owners(void)
{
	MUST(chmod(".", 0777) == 0);
	MUST(as_user(USER, USER, own_file) == 0);
	struct stat st;
	MUST(chown("mine", 4000000, 5000000) == 0 && stat("mine", &st) == 0);
	MUST(st.st_uid == 4000000 && st.st_gid == 5000000);
	return 0;
}

static int not_in_sticky(void)
{
	MUST(unlink("tmp/of-user") < 0 && errno == EPERM);
	MUST(rename("tmp/of-user", "tmp/x") < 0 && errno == EPERM);
	return 0;
}

static int in_sticky(void)
{
	close(make("tmp/of-user", "", 0));
	return 0;
}

static int sticky(void)
{
	MUST(mkdir("tmp", 0777) == 0 && chmod("tmp", 01777) == 0);
	MUST(as_user(USER, USER, in_sticky) == 0);
	MUST(as_user(OTHER, OTHER, not_in_sticky) == 0);
	return 0;
}

static int make_in_group(void)
{
	struct stat st;

	close(make("shared/f", "", 0));
	MUST(stat("shared/f", &st) == 0 && st.st_gid == OTHER && st.st_uid == USER);
	MUST(mkdir("shared/d", 0755) == 0 && stat("shared/d", &st) == 0);
	MUST(st.st_gid == OTHER && (st.st_mode & S_ISGID));
	return 0;
}

static int group_folder(void)
{
	MUST(mkdir("shared", 0777) == 0 && chown("shared", 0, OTHER) == 0);
	MUST(chmod("shared", 02777) == 0);
	MUST(as_user(USER, USER, make_in_group) == 0);
	return 0;
}

static int write_suid(void)
{
	int fd = open("suid", O_WRONLY);

	MUST(fd >= 0 && write(fd, "x", 1) == 1);
	close(fd);
	return 0;
}

static int truncate_suid(void)
{
	MUST(truncate("suid", 0) == 0);
	return 0;
}

static int suid_goes(void)
{
	struct stat st;

	close(make("suid", "xx", 2));
	MUST(chmod("suid", 06777) == 0 && as_user(USER, USER, write_suid) == 0);
	MUST(stat("suid", &st) == 0 && (st.st_mode & 07777) == 0777);
	MUST(chmod("suid", 06777) == 0 && as_user(USER, USER, truncate_suid) == 0);
	MUST(stat("suid", &st) == 0 && (st.st_mode & 07777) == 0777);
	MUST(chmod("suid", 06777) == 0 && chown("suid", USER, USER) == 0);
	MUST(stat("suid", &st) == 0 && (st.st_mode & 07777) == 0777);
	return 0;
}

static int masks(void)
{
	struct stat st;

	umask(027);
	int fd = open("f", O_WRONLY | O_CREAT, 0666);
	MUST(fd >= 0 && fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0640);
	MUST(mkdir("d", 0777) == 0 && stat("d", &st) == 0 && (st.st_mode & 07777) == 0750);
	umask(0);
	MUST(mkdir("e", 01777) == 0 && stat("e", &st) == 0 && (st.st_mode & 07777) == 01777);
	close(fd);
	return 0;
}

static int times(void)
{
	struct timespec t[2] = {{1000000000, 1}, {1100000000, 999999999}};
	struct stat st, later;
	int fd = make("f", "x", 1);

	MUST(futimens(fd, t) == 0 && stat("f", &st) == 0);
	MUST(st.st_atim.tv_sec == t[0].tv_sec && st.st_atim.tv_nsec == 1);
	MUST(st.st_mtim.tv_sec == t[1].tv_sec && st.st_mtim.tv_nsec == 999999999);
	t[0].tv_nsec = UTIME_OMIT;
	t[1].tv_nsec = UTIME_NOW;
	MUST(utimensat(AT_FDCWD, "f", t, 0) == 0 && stat("f", &later) == 0);
	MUST(later.st_atim.tv_sec == 1000000000 && labs(later.st_mtim.tv_sec - time(NULL)) < 5);
	/* before 1970, after 2038 */
	t[0] = (struct timespec){-5, 0};
	t[1] = (struct timespec){3000000000, 0};
	MUST(futimens(fd, t) == 0 && fstat(fd, &st) == 0);
	MUST(st.st_atim.tv_sec == -5 && st.st_mtim.tv_sec == 3000000000);
	usleep(20000);
	MUST(write(fd, "y", 1) == 1 && fstat(fd, &later) == 0);
	MUST(labs(later.st_mtim.tv_sec - time(NULL)) < 5);
	st = later;
	usleep(20000);
	MUST(chmod("f", 0600) == 0 && fstat(fd, &later) == 0);
	MUST(later.st_mtim.tv_nsec == st.st_mtim.tv_nsec &&
	     later.st_mtim.tv_sec == st.st_mtim.tv_sec);
	MUST(later.st_ctim.tv_sec > st.st_ctim.tv_sec ||
	     later.st_ctim.tv_nsec > st.st_ctim.tv_nsec);
	close(fd);
	return 0;
}

static int folder_times(void)
{
	struct timespec t[2] = {{1000000000, 0}, {1000000000, 0}};
	struct stat st;

	MUST(mkdir("d", 0755) == 0 && utimensat(AT_FDCWD, "d", t, 0) == 0);
	close(make("d/f", "", 0));
	MUST(stat("d", &st) == 0 && st.st_mtim.tv_sec > 1000000000);
	MUST(utimensat(AT_FDCWD, "d", t, 0) == 0 && unlink("d/f") == 0);
	MUST(stat("d", &st) == 0 && st.st_mtim.tv_sec > 1000000000);
	return 0;
}

static int read_by_list(void)
{
	/* kept but not gone by is less than the list promises, and known of some */
	return open("f", O_RDONLY) >= 0 ? 0 : KEPT_ONLY;
}

/* system.posix_acl_access as it is stored: user USER may read, the group and others may not */
static int set_list(bool decide)
{
	static const uint8_t acl[] = {
		2, 0,	 0,   0,   1,	0,   6,	 0, 255, 255, 255, 255, 2,   0,	  4,
		0, 0xe8, 3,   0,   0,	4,   0,	 0, 0,	 255, 255, 255, 255, 16,  0,
		4, 0,	 255, 255, 255, 255, 32, 0, 0,	 0,   255, 255, 255, 255,
	};
	struct stat st;

	close(make("f", "x", 1));
	MUST(chmod("f", 0600) == 0);
	int r = setxattr("f", "system.posix_acl_access", acl, sizeof(acl), 0);
	if (r < 0 && errno == EOPNOTSUPP)
		return LACKS;
	uint8_t got[64];
	MUST(r == 0 && stat("f", &st) == 0 && (st.st_mode & 0777) == 0640);
	MUST(getxattr("f", "system.posix_acl_access", got, sizeof(got)) == sizeof(acl));
	MUST(memcmp(got, acl, sizeof(acl)) == 0);
	return decide ? as_user(USER, USER, read_by_list) : 0;
}

static int lists_are_kept(void)
{
	return set_list(false);
}

static int lists_decide(void)
{
	int r = set_list(true);

	return r == KEPT_ONLY ? LACKS : r;
}

const struct fs_case *fs_right_cases(size_t *ret_n)
{
	static const struct fs_case cases[] = {
		{"modes keep others out", modes},
		{"owners of new files, and any owner", owners},
		{"a sticky folder", sticky},
		{"a folder that hands on its group", group_folder},
		{"set-user-id goes with a write, truncate, chown", suid_goes},
		{"umask", masks},
		{"times: to the nanosecond, before 1970, after 2038", times},
		{"times of a folder", folder_times},
		{"POSIX access lists are kept", lists_are_kept},
		{"POSIX access lists decide", lists_decide},
	};

	*ret_n = sizeof(cases) / sizeof(cases[0]);
	return cases;
}
