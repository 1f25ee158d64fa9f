/* SPDX-License-Identifier: Apache-2.0 */
/* Disk images as files (no root), and loop devices and mounts (skipped without root). */
#include "tests/unit/unit.h"

#include "loopdev/loopdev.h"
#include "loopdev/watch.h"
#include "loopdev/whole.h"
#include "provision/base/file.h"
#include "provision/base/units.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

static char dir[64];

static int make_dir(void **state _unused_)
{
	snprintf(dir, sizeof(dir), "/var/tmp/dink-disk-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	return dink_rm_rf(dir, &err);
}

static char *in_dir(const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

static void create(const char *path, const char *filesystem, uint64_t size)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	const struct dink_disk_make make = {
		.size_bytes = size, .filesystem = filesystem, .label = "label"};

	assert_int_equal(dink_disk_create(path, &make, &err), 0);
}

static void create_makes_what_was_asked(void **state _unused_)
{
	static const char *const types[] = {"btrfs", "ext4"};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		_cleanup_(dink_err_clear) struct dink_err err = {};
		_cleanup_(dink_disk_probe_clear) struct dink_disk_probe p = {};
		_cleanup_free_ char *path = in_dir(types[i]);
		_cleanup_free_ char *partial = xasprintf("%s.partial", path);
		create(path, types[i], 1ULL << 30);
		assert_int_equal(dink_disk_probe(path, &p, &err), 0);
		assert_string_equal(p.type, types[i]);
		assert_string_equal(p.usage, "filesystem");
		assert_string_equal(p.label, "label");
		assert_false(p.ambiguous);
		assert_int_equal(p.size_bytes, 1ULL << 30);
		assert_true(p.allocated_bytes < 16 << 20);
		assert_false(dink_exists(partial));
	}
}

static void refused(const char *path, const struct dink_disk_make *make, int code,
		    const char *words)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	assert_true(dink_disk_create(path, make, &err) < 0);
	assert_int_equal(err.code, code);
	if (!strstr(err.msg, words))
		fail_msg("'%s' lacks '%s'", err.msg, words);
}

static void create_refuses_what_it_cannot(void **state _unused_)
{
	_cleanup_free_ char *path = in_dir("never");
	_cleanup_free_ char *nowhere = in_dir("no/such/folder");
	struct dink_disk_make m = {.size_bytes = 1 << 30, .filesystem = "xfs"};

	refused(path, &m, DINK_E_USAGE, "unknown filesystem 'xfs'");
	m.filesystem = "ext4";
	m.compression = "zstd";
	refused(path, &m, DINK_E_USAGE, "ext4 does not compress");
	m.filesystem = "btrfs";
	m.compression = "lz5";
	refused(path, &m, DINK_E_USAGE, "unknown compression 'lz5'");
	m.compression = NULL;
	m.size_bytes = 1 << 20;
	refused(path, &m, DINK_E_USAGE, "at least");
	m = (struct dink_disk_make){
		.size_bytes = 1 << 30, .filesystem = "ext4", .label = "seventeen-letters"};
	refused(path, &m, DINK_E_USAGE, "at most 16 bytes");
	m.label = NULL;
	refused(nowhere, &m, DINK_E_HOST, "create ");
	assert_false(dink_exists(path));
}

static void create_keeps_foreign_data(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_disk_probe_clear) struct dink_disk_probe p = {};
	_cleanup_free_ char *path = in_dir("foreign"), *text = in_dir("text"),
			    *zero = in_dir("zero");
	struct dink_disk_make m = {.size_bytes = 1 << 30, .filesystem = "btrfs"};

	create(path, "ext4", 1 << 30);
	refused(path, &m, DINK_E_BUSY, "holds an ext4 filesystem 'label'");
	refused("/dev/null", &m, DINK_E_BUSY, "no regular file");
	assert_int_equal(dink_file_write(text, "my notes\n", 9, 0600, &err), 0);
	refused(text, &m, DINK_E_BUSY, "libblkid does not know");
	/* nothing is in an empty file */
	assert_int_equal(dink_file_write(zero, "", 0, 0600, &err), 0);
	assert_int_equal(dink_disk_create(zero, &m, &err), 0);
	m.force = true;
	assert_int_equal(dink_disk_create(path, &m, &err), 0);
	assert_int_equal(dink_disk_probe(path, &p, &err), 0);
	assert_string_equal(p.type, "btrfs");
}

static void create_takes_over_a_leftover(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *path = in_dir("crash"), *partial = in_dir("crash.partial");

	assert_int_equal(dink_file_write(partial, "half a disk", 11, 0600, &err), 0);
	create(path, "ext4", 64 << 20);
	assert_false(dink_exists(partial));
}

static void options_follow_compression(void **state _unused_)
{
	assert_string_equal(dink_disk_mount_options("btrfs", NULL), "noatime");
	assert_string_equal(dink_disk_mount_options("btrfs", "zstd"), "noatime,compress=zstd:1");
	assert_string_equal(dink_disk_mount_options("ext4", NULL), "noatime");
	assert_null(dink_disk_mount_options("btrfs", "rot13"));
}

static void identity_survives_json(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	const struct dink_loop_id id = {.path = "/dev/loop3",
					.rdev = makedev(7, 3),
					.diskseq = 12345,
					.file_dev = makedev(254, 0),
					.file_ino = 1ULL << 40};
	_cleanup_json_ struct json_object *o = dink_loop_id_to_json(&id);
	struct dink_loop_id back = {};

	assert_int_equal(dink_loop_id_from_json(o, &back, &err), 0);
	assert_memory_equal(&id, &back, sizeof(id));
	dink_json_set_str(o, "path", "/dev/sda");
	assert_true(dink_loop_id_from_json(o, &back, &err) < 0);
	assert_int_equal(err.code, DINK_E_STATE);
}

static void need_loop(void)
{
	_cleanup_close_ int fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

	if (geteuid() != 0 || fd < 0)
		skip();
}

static void attach_is_exclusive(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {}, busy = {};
	_cleanup_free_ char *path = in_dir("lease");
	_cleanup_close_ int fd = -1, second = -1;
	struct dink_loop_id id, found, other, earlier;
	uint64_t begun;
	const struct dink_disk_make m = {
		.size_bytes = 64 << 20, .filesystem = "ext4", .force = true};

	need_loop();
	create(path, "ext4", 64 << 20);
	assert_int_equal(dink_loop_attach(path, false, &id, &fd, &err), 0);
	assert_int_equal(dink_loop_find(path, &found, 1), 1);
	assert_memory_equal(&id, &found, sizeof(id));
	assert_int_equal(dink_loop_is(&id, NULL), 1);
	assert_true(dink_loop_attach(path, false, &other, &second, &busy) < 0);
	assert_int_equal(busy.code, DINK_E_BUSY);
	dink_err_clear(&busy);
	busy = (struct dink_err){};
	/* not even by force while it is in use */
	assert_true(dink_disk_create(path, &m, &busy) < 0);
	assert_int_equal(busy.code, DINK_E_BUSY);
	/* one that is another's by now is waited for no more */
	earlier = id;
	earlier.diskseq--;
	begun = dink_now_ms();
	if (id.diskseq > 1)
		dink_loop_await_free(&earlier);
	assert_true(dink_now_ms() - begun < 5000);
	assert_int_equal(dink_loop_detach(&id, &err), 0);
	close(TAKE_FD(fd));
	assert_int_equal(dink_loop_find(path, &found, 1), 0);
	assert_int_equal(dink_loop_is(&id, NULL), 0);
	assert_int_equal(dink_loop_detach(&id, &err), 0);
}

static void detach_leaves_strangers(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *path = in_dir("mine");
	_cleanup_close_ int fd = -1;
	struct dink_loop_id id, wrong;

	need_loop();
	create(path, "ext4", 64 << 20);
	assert_int_equal(dink_loop_attach(path, false, &id, &fd, &err), 0);
	wrong = id;
	wrong.file_ino++;
	assert_int_equal(dink_loop_detach(&wrong, &err), 0);
	assert_int_equal(dink_loop_is(&id, NULL), 1);
	wrong = id;
	wrong.diskseq += 7;
	if (id.diskseq) {
		assert_int_equal(dink_loop_detach(&wrong, &err), 0);
		assert_int_equal(dink_loop_is(&id, NULL), 1);
	}
	assert_int_equal(dink_loop_detach(&id, &err), 0);
}

static void attach_read_only_is_shared(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *path = in_dir("shared");
	_cleanup_close_ int one = -1, two = -1;
	struct dink_loop_id a, b, all[4];

	need_loop();
	create(path, "ext4", 64 << 20);
	assert_int_equal(dink_loop_attach(path, true, &a, &one, &err), 0);
	assert_int_equal(dink_loop_attach(path, true, &b, &two, &err), 0);
	assert_int_equal(dink_loop_find(path, all, ARRAY_SIZE(all)), 2);
	assert_int_equal(write(one, "x", 1), -1);
	assert_int_equal(dink_loop_detach(&a, &err), 0);
	assert_int_equal(dink_loop_detach(&b, &err), 0);
}

static void rounds_leak_nothing(void **state _unused_)
{
	_cleanup_free_ char *path = in_dir("rounds");

	need_loop();
	create(path, "ext4", 64 << 20);
	for (int i = 0; i < 200; i++) {
		_cleanup_(dink_err_clear) struct dink_err err = {};
		_cleanup_close_ int fd = -1;
		struct dink_loop_id id;
		assert_int_equal(dink_loop_attach(path, false, &id, &fd, &err), 0);
		/* every second one by autoclear alone */
		if (i % 2)
			assert_int_equal(dink_loop_detach(&id, &err), 0);
	}
	struct dink_loop_id id;
	assert_int_equal(dink_loop_find(path, &id, 1), 0);
}

/* Eight at once, each with a file of its own: everybody gets a device, nobody another's. */
static void racers_do_not_collide(void **state _unused_)
{
	pid_t pids[8];

	need_loop();
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		_cleanup_free_ char *name = xasprintf("racer%zu", i);
		_cleanup_free_ char *path = in_dir(name);
		create(path, "ext4", 16 << 20);
		pids[i] = fork();
		if (pids[i] != 0)
			continue;
		for (int round = 0; round < 25; round++) {
			struct dink_err err = {};
			struct dink_loop_id id;
			struct stat st;
			int fd;
			if (dink_loop_attach(path, false, &id, &fd, &err) < 0) {
				print_error("%s\n", err.msg);
				_exit(1);
			}
			if (stat(path, &st) < 0 || id.file_ino != st.st_ino)
				_exit(3);
			if (dink_loop_is(&id, NULL) != 1 || dink_loop_detach(&id, &err) < 0)
				_exit(2);
			close(fd);
		}
		_exit(0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		int status;
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
}

static void mount_and_unmount(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *path = in_dir("mounted"), *target = in_dir("a target\twith blanks");
	_cleanup_free_ char *file = xasprintf("%s/data", target);
	_cleanup_close_ int fd = -1;
	struct dink_loop_id id, again;

	need_loop();
	create(path, "btrfs", 256 << 20);
	assert_int_equal(mkdir(target, 0755), 0);
	assert_int_equal(
		dink_disk_mount(path, target, "noatime,nodev,compress=zstd:1", false, &id, &err),
		0);
	assert_int_equal(dink_file_write(file, "kept", 4, 0644, &err), 0);
	/* in use: refused, and still mounted afterwards */
	fd = open(file, O_RDONLY | O_CLOEXEC);
	assert_true(dink_disk_unmount(target, &id, &err) < 0);
	assert_int_equal(err.code, DINK_E_BUSY);
	dink_err_clear(&err);
	err = (struct dink_err){};
	close(TAKE_FD(fd));
	assert_int_equal(dink_disk_unmount(target, &id, &err), 0);
	assert_int_equal(dink_disk_unmount(target, &id, &err), 0);
	assert_false(dink_exists(file));
	assert_int_equal(dink_loop_find(path, &again, 1), 0);
	assert_int_equal(dink_disk_mount(path, target, NULL, true, &id, &err), 0);
	assert_true(dink_exists(file));
	assert_int_equal(dink_disk_unmount(target, &id, &err), 0);
}

static void mount_refuses_no_filesystem(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *path = in_dir("nothing");
	struct dink_loop_id id;

	assert_int_equal(dink_file_write(path, "text", 4, 0644, &err), 0);
	assert_true(dink_disk_mount(path, dir, NULL, false, &id, &err) < 0);
	assert_non_null(strstr(err.msg, "holds no filesystem"));
}

/* QEMU marks what it does by read locks on single bytes of the image: 100 it reads, 101 it writes */
static void lock_byte(int fd, off_t byte)
{
	struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

	assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
}

static void a_qemu_that_writes_is_a_writer(void **state _unused_)
{
	_cleanup_free_ char *path = in_dir("qemu");

	create(path, "ext4", 16 << 20);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	lock_byte(fd, 100);
	assert_false(dink_disk_has_writer(path));
	lock_byte(fd, 101);
	assert_true(dink_disk_has_writer(path));
	close(TAKE_FD(fd));
	assert_false(dink_disk_has_writer(path));
}

static void a_watch_ends_who_does_not_answer(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct dink_watch *w;
	int status;

	assert_int_equal(dink_watch_start(&w, &err), 0);
	dink_watch_limit(w, 1);
	pid_t child = fork();
	if (child == 0) {
		/* past the limit of a watch that does nothing, for the test must end */
		sleep(20);
		_exit(0);
	}
	assert_int_equal(dink_watch_expired(w), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(dink_watch_expired(w), 1);
	dink_watch_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(create_makes_what_was_asked),
		cmocka_unit_test(create_refuses_what_it_cannot),
		cmocka_unit_test(create_keeps_foreign_data),
		cmocka_unit_test(create_takes_over_a_leftover),
		cmocka_unit_test(options_follow_compression),
		cmocka_unit_test(identity_survives_json),
		cmocka_unit_test(a_qemu_that_writes_is_a_writer),
		cmocka_unit_test(a_watch_ends_who_does_not_answer),
		cmocka_unit_test(attach_is_exclusive),
		cmocka_unit_test(detach_leaves_strangers),
		cmocka_unit_test(attach_read_only_is_shared),
		cmocka_unit_test(rounds_leak_nothing),
		cmocka_unit_test(racers_do_not_collide),
		cmocka_unit_test(mount_and_unmount),
		cmocka_unit_test(mount_refuses_no_filesystem),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
