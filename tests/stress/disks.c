/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many processes at once make, clone, attach, detach and remove disks, round after round; then it is
 * counted what is left of that: loop devices, descriptors, locks, files. Root.
 *
 *	disks [PROCESSES [ROUNDS IN ALL]]
 */
#include "loopdev/loopdev.h"
#include "provision/base/file.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES_MAX = 1024, BTRFS_EACH = 16 };

struct left {
	long loops, fds, locks, files;
};

static long count_entries(const char *dir)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	long n = -3; /* ".", ".." and the descriptor of this look, or the folder itself */

	while (d && readdir(d))
		n++;
	return d ? n : -1;
}

/* Those of files below dir, removed ones, too: others' come and go. */
static long count_loops(const char *dir)
{
	_cleanup_closedir_ DIR *d = opendir("/sys/block");
	struct dirent *e;
	long n = 0;

	while (d && (e = readdir(d))) {
		_cleanup_free_ char *backing =
			xasprintf("/sys/block/%s/loop/backing_file", e->d_name);
		_cleanup_(dink_err_clear) struct dink_err free_device = {};
		_cleanup_free_ char *file = NULL;

		if (dink_file_read(backing, 8192, &file, NULL, &free_device) == 0)
			n += dink_starts_with(file, dir);
	}
	return n;
}

/* Locks of any of these processes; a loop device keeps the one of whoever attached it. */
static long count_locks(const pid_t *pids, int n)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *text = NULL;
	char *line, *rest;
	long found = 0;

	if (dink_file_read("/proc/locks", 16 << 20, &text, NULL, &err) < 0)
		return -1;
	for (rest = text; (line = strsep(&rest, "\n"));) {
		int pid;

		if (sscanf(line, "%*d: %*s %*s %*s %d", &pid) != 1)
			continue;
		for (int i = 0; i < n; i++)
			found += pids[i] == pid;
	}
	return found;
}

static int complain(const struct dink_err *err, const char *what, long round)
{
	_cleanup_free_ char *text = err->msg ? dink_err_format(err) : NULL;

	fprintf(stderr, "round %ld, %s: %s\n", round, what, text ? text : "not as it should be\n");
	return -1;
}

/* Both writable ends of one image, which must not be had twice; by word or by autoclear it ends. */
static int attach(const char *path, long round, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err busy = {};
	_cleanup_close_ int fd = -1, second = -1;
	struct dink_loop_id id, other;
	struct stat st;

	if (dink_loop_attach(path, false, &id, &fd, err) < 0)
		return complain(err, "attach", round);
	if (stat(path, &st) < 0 || id.file_ino != st.st_ino || id.file_dev != st.st_dev)
		return complain(err, "the device is another file's", round);
	/* it takes its time: an image that was just detached may be held for a moment */
	if (round % BTRFS_EACH == 1 &&
	    (dink_loop_attach(path, false, &other, &second, &busy) == 0 ||
	     busy.code != DINK_E_BUSY))
		return complain(&busy, "attached twice", round);
	if (round % 2 && dink_loop_detach(&id, err) < 0)
		return complain(err, "detach", round);
	close(TAKE_FD(fd));
	dink_loop_await_free(&id);
	return 0;
}

static int check_clone(const char *from, const char *to, long round, struct dink_err *err)
{
	_cleanup_(dink_disk_probe_clear) struct dink_disk_probe a = {}, b = {};

	if (dink_disk_probe(from, &a, err) < 0 || dink_disk_probe(to, &b, err) < 0)
		return complain(err, "probe", round);
	if (!a.type || !b.type || !STREQ(a.type, b.type) || STREQ(a.uuid, b.uuid) ||
	    a.size_bytes != b.size_bytes)
		return complain(err, "the clone is none", round);
	return 0;
}

static int run_round(const char *dir, int process, long round)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *image = xasprintf("%s/%d.img", dir, process);
	_cleanup_free_ char *clone = xasprintf("%s/%d-clone.img", dir, process);
	bool btrfs = round % BTRFS_EACH == 0;
	const struct dink_disk_make make = {.size_bytes = btrfs ? 128U << 20 : 8U << 20,
					    .filesystem = btrfs ? "btrfs" : "ext4"};
	const struct dink_disk_clone_how how = {};

	if (dink_disk_create(image, &make, &err) < 0)
		return complain(&err, "create", round);
	if (dink_disk_clone(image, clone, &how, &err) < 0)
		return complain(&err, "clone", round);
	if (check_clone(image, clone, round, &err) < 0 || attach(clone, round, &err) < 0)
		return -1;
	if (dink_disk_remove(image, false, &err) < 0 || dink_disk_remove(clone, false, &err) < 0)
		return complain(&err, "remove", round);
	return 0;
}

static int run_process(const char *dir, int process, long rounds)
{
	long fds = count_entries("/proc/self/fd");

	for (long i = 0; i < rounds; i++)
		if (run_round(dir, process, i) < 0)
			return 1;
	if (count_entries("/proc/self/fd") == fds)
		return 0;
	fprintf(stderr, "process %d has %ld descriptors more than before\n", process,
		count_entries("/proc/self/fd") - fds);
	return 1;
}

static int run_all(const char *dir, pid_t *pids, int processes, long rounds)
{
	int failed = 0;

	for (int i = 0; i < processes; i++) {
		long share = rounds / processes + (i < rounds % processes);

		pids[i] = fork();
		if (pids[i] == 0)
			_exit(run_process(dir, i, share));
		failed += pids[i] < 0;
	}
	for (int i = 0; i < processes; i++) {
		int status = 1;

		if (pids[i] > 0 && waitpid(pids[i], &status, 0) == pids[i])
			failed += status != 0;
	}
	return failed;
}

static struct left look(const char *dir, const pid_t *pids, int n)
{
	return (struct left){count_loops(dir), count_entries("/proc/self/fd"), count_locks(pids, n),
			     count_entries(dir) + 1};
}

static int tell(const struct left *a, const struct left *b, int processes, long rounds, uint64_t ms)
{
	struct rusage self = {}, children = {};

	getrusage(RUSAGE_SELF, &self);
	getrusage(RUSAGE_CHILDREN, &children);
	printf("%ld rounds of create, clone, attach, detach, remove by %d processes: %.1f s, CPU "
	       "%ld s\n",
	       rounds, processes, (double)ms / 1000,
	       (long)(self.ru_utime.tv_sec + children.ru_utime.tv_sec + self.ru_stime.tv_sec +
		      children.ru_stime.tv_sec));
	printf("%-16s %8s %8s\n", "", "before", "after");
	printf("%-16s %8ld %8ld\n", "loop devices", a->loops, b->loops);
	printf("%-16s %8ld %8ld\n", "descriptors", a->fds, b->fds);
	printf("%-16s %8ld %8ld\n", "locks", a->locks, b->locks);
	printf("%-16s %8ld %8ld\n", "files", a->files, b->files);
	return memcmp(a, b, sizeof(*a)) != 0;
}

int main(int argc, char **argv)
{
	_cleanup_free_ char *dir = xasprintf("%s/dink-stress-XXXXXX", getenv("TMPDIR") ?: "/tmp");
	int processes = argc > 1 ? atoi(argv[1]) : 64;
	long rounds = argc > 2 ? atol(argv[2]) : 10000;
	pid_t pids[PROCESSES_MAX] = {};

	if (geteuid() != 0 || processes < 1 || processes > PROCESSES_MAX || rounds < 1) {
		fprintf(stderr, "as root: disks [PROCESSES [ROUNDS]], 64 and 10000 by default\n");
		return 2;
	}
	if (!mkdtemp(dir)) {
		perror(dir);
		return 4;
	}
	const struct left before = look(dir, pids, 0);
	const uint64_t start = dink_now_ms();
	int failed = run_all(dir, pids, processes, rounds);
	const uint64_t ms = dink_now_ms() - start;
	const struct left after = look(dir, pids, processes);
	failed += tell(&before, &after, processes, rounds, ms);
	if (failed)
		fprintf(stderr, "failed; %s is kept\n", dir);
	else if (rmdir(dir) < 0)
		perror(dir);
	return failed != 0;
}
