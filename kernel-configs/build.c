/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building a kernel: one builder at a time, in a folder of the cache that no reader looks at;
 * the result appears by rename. Sources and objects are removed afterwards, and after a failure;
 * what a killed builder left is removed by the next one. make's output of a failed build stays as
 * CACHE/kernels/failed.log.
 */
#include "kernel-configs/build.h"

#include "provision/base/file.h"
#include "provision/base/json.h"
#include "provision/base/log.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

/* Sources without what is never read 0.9 GiB, objects 0.4, packages 0.3. */
#define NEEDED_BYTES (2ULL << 30)
/* A symbol that is on makes 2.2 objects, give or take; only for the progress of a first build. */
#define OBJECTS_PER_100_SYMBOLS 220
#define WORK_PREFIX		".build-"

/* Paths of one build below CACHE/kernels/.build-PID/. */
struct work {
	char *cache, *dir, *src, *out, *stage, *log_path;
	int log;
	uint64_t objects;
};

static void clear_work(struct work *w)
{
	free(w->cache);
	free(w->dir);
	free(w->src);
	free(w->out);
	free(w->stage);
	free(w->log_path);
	if (w->log >= 0)
		close(w->log);
}

void dink_kernel_count_output(struct dink_kernel_count *c, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (bytes[i] != '\n') {
			if (c->line_len < sizeof(c->line) - 1)
				c->line[c->line_len++] = bytes[i];
			continue;
		}
		c->line[c->line_len] = '\0';
		c->line_len = 0;
		/* "  CC      net/socket.o" */
		if (!dink_starts_with(c->line, "  CC ") && !dink_starts_with(c->line, "  AS "))
			continue;
		c->done++;
		if (c->done > c->total)
			c->total = c->done;
		dink_progress(c->progress, "building kernel", c->done, c->total);
	}
}

struct make_ctx {
	struct dink_kernel_count count;
	int log;
};

static void on_make_output(void *ctx, int fd, const char *bytes, size_t n)
{
	struct make_ctx *m = ctx;

	if (m->log >= 0 && dink_fd_write_all(m->log, bytes, n) < 0)
		m->log = -1;
	if (fd == 1)
		dink_kernel_count_output(&m->count, bytes, n);
}

static int count_cpus(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof(set), &set) < 0 || CPU_COUNT(&set) < 1)
		return 1;
	return CPU_COUNT(&set);
}

/*
 * Most of a kernel's compile time is spent in reading headers. What the compiler would say of a
 * release's code is of no use here, and not keeping how each token came out of which macro, which
 * only those words need, saves a tenth more. The code that comes out is the same.
 */
#define QUICK "-Wno-all -ftrack-macro-expansion=0"

/*
 * Everything that the caller's environment could change is said: the result depends on the key's
 * inputs alone.
 */
static void make_argv(const struct work *w, struct dink_cmd *cmd)
{
	dink_cmd_argv(cmd, "make", "-C", w->src, "ARCH=x86_64", "CROSS_COMPILE=", "CC=gcc",
		      "HOSTCC=gcc", "LLVM=", "KCFLAGS=" QUICK,
		      "KCPPFLAGS=", "LOCALVERSION=", "KBUILD_BUILD_USER=dink",
		      "KBUILD_BUILD_HOST=dink", "KBUILD_BUILD_VERSION=1",
		      "KBUILD_BUILD_TIMESTAMP=1970-01-01", NULL);
	dink_strv_addf(&cmd->argv, "O=%s", w->out);
	/* the compiler's heap grows in few steps (mallopt(3)): an eightieth of its CPU time */
	dink_strv_add(&cmd->env, "MALLOC_TOP_PAD_=67108864");
	dink_strv_addl(&cmd->env, "LC_ALL=C", "MAKEFLAGS=", "MFLAGS=", "MAKELEVEL=",
		       "MAKEOVERRIDES=", "KCONFIG_CONFIG=.config",
		       "KBUILD_OUTPUT=", "V=", "W=", "C=", NULL);
}

static int hint_tools(int r, struct dink_err *err)
{
	if (r == -EINTR)
		return r;
	dink_err_hint(err, "apt-get install build-essential bc bison flex libelf-dev xz-utils");
	return r;
}

static int run_config(const struct work *w, const char *target, struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	struct make_ctx ctx = {.log = w->log};
	int r;

	make_argv(w, &cmd);
	dink_strv_addf(&cmd.argv, "KCONFIG_ALLCONFIG=%s/merged.config", w->dir);
	dink_strv_add(&cmd.argv, target);
	cmd.on_output = on_make_output;
	cmd.ctx = &ctx;
	cmd.capture_max = 16 << 20;
	r = dink_cmd_run(&cmd, err);
	return r < 0 ? hint_tools(r, err) : 0;
}

static int report_lacks(const struct dink_kernel_lacks *lacks, struct dink_err *err)
{
	_cleanup_str_ struct dink_str s = {};
	int r;

	if (lacks->n == 0)
		return 0;
	for (size_t i = 0; i < lacks->n; i++) {
		_cleanup_free_ char *line = dink_kernel_lack_text(&lacks->v[i]);

		dink_str_addf(&s, "%s\n", line);
	}
	r = dink_err_set(err, DINK_E_HOST, 0,
			 "this kernel does not take %zu of the symbols asked for", lacks->n);
	dink_err_detail(err, s.s);
	return dink_err_hint(err, "another kernel version, or features without them"), r;
}

/* allnoconfig with our symbols on, then olddefconfig, then what became of them. */
static int configure(const struct dink_kernel_job *job, struct work *w, struct dink_err *err)
{
	_cleanup_free_ char *merged = xasprintf("%s/merged.config", w->dir);
	_cleanup_free_ char *path = xasprintf("%s/.config", w->out);
	_cleanup_kconfig_ struct dink_kconfig result = {};
	_cleanup_(dink_kernel_lacks_clear) struct dink_kernel_lacks lacks = {};
	int r = dink_file_write(merged, job->merged_text, strlen(job->merged_text), 0644, err);

	if (r >= 0)
		r = run_config(w, "allnoconfig", err);
	if (r >= 0)
		r = run_config(w, "olddefconfig", err);
	if (r >= 0)
		r = dink_kconfig_load(path, false, &result, err);
	if (r >= 0)
		r = dink_kernel_verify(&job->merged, &result, job->features, w->src, &lacks, err);
	if (r < 0)
		return dink_err_push(err, "configuring the kernel");
	for (size_t i = 0; i < result.n; i++)
		w->objects += STREQ(result.lines[i].value, "y") ? 1 : 0;
	w->objects = w->objects * OBJECTS_PER_100_SYMBOLS / 100;
	return report_lacks(&lacks, err);
}

/* One of the two calls of make; @args are its targets and more, NULL-terminated. */
static int make_part(const struct work *w, struct make_ctx *ctx, const char *const *args,
		     struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	int r;

	make_argv(w, &cmd);
	dink_strv_addf(&cmd.argv, "-j%d", count_cpus());
	for (; *args; args++)
		dink_strv_add(&cmd.argv, *args);
	cmd.on_output = on_make_output;
	cmd.ctx = ctx;
	cmd.capture_max = 64 << 20;
	r = dink_cmd_run(&cmd, err);
	return r < 0 ? hint_tools(r, err) : 0;
}

/*
 * A tree that is built once and removed needs no records of dependencies, and a release's exported
 * symbols were checked by who released it: an eighth of the CPU time. The tools and headers, which
 * make looks at more than once, are made first and with records.
 */
static int run_make(struct work *w, const struct dink_progress *p, struct dink_err *err)
{
	static const char *const tools[] = {"prepare", NULL};
	static const char *const kernel[] = {"cmd_and_fixdep=$(cmd)",
					     "cmd_check_local_export=",
					     "cmd_gen_objtooldep=",
					     "vmlinux",
					     "bzImage",
					     NULL};
	struct make_ctx ctx = {.count = {.progress = p, .total = w->objects}, .log = w->log};
	int r = make_part(w, &ctx, tools, err);

	if (r >= 0)
		r = make_part(w, &ctx, kernel, err);
	if (r >= 0)
		w->objects = ctx.count.done;
	return r;
}

static int run_tool(struct dink_cmd *cmd, struct dink_err *err)
{
	int r = dink_cmd_run(cmd, err);

	return r < 0 ? dink_err_push(err, "storing the kernel") : 0;
}

static int copy_out(const struct work *w, const char *from, const char *to, struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;

	dink_cmd_argv(&cmd, "cp", NULL);
	dink_strv_addf(&cmd.argv, "%s/%s", w->out, from);
	dink_strv_addf(&cmd.argv, "%s/%s", w->stage, to);
	return run_tool(&cmd, err);
}

static int64_t file_size(const char *dir, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	struct stat st;

	return stat(path, &st) < 0 ? 0 : (int64_t)st.st_size;
}

static int64_t child_cpu_s(void)
{
	struct rusage u;

	if (getrusage(RUSAGE_CHILDREN, &u) < 0)
		return 0;
	return (int64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec);
}

static int write_manifest(const struct dink_kernel_job *job, const struct work *w, int64_t cpu_s,
			  struct dink_err *err)
{
	_cleanup_free_ char *release_path = xasprintf("%s/include/config/kernel.release", w->out);
	_cleanup_free_ char *path = xasprintf("%s/manifest.json", w->stage);
	_cleanup_free_ char *release = NULL, *text = NULL;
	_cleanup_json_ struct json_object *o = dink_json_new();
	int r = dink_file_read(release_path, 256, &release, NULL, err);

	if (r < 0)
		return r;
	release[strcspn(release, "\n")] = '\0';
	dink_json_set_str(o, "key", job->key);
	dink_json_set_str(o, "release", release);
	dink_json_set_str(o, "source", job->source.identity);
	dink_json_set_str(o, "compiler", job->compiler);
	if (job->features)
		dink_json_set(o, "features", dink_json_strv(job->features));
	else
		dink_json_set(o, "features", json_object_new_array());
	dink_json_set_int(o, "objects", (int64_t)w->objects);
	dink_json_set_int(o, "cpu_seconds", cpu_s);
	dink_json_set_int(o, "vmlinux_bytes", file_size(w->stage, "vmlinux"));
	dink_json_set_int(o, "bzimage_bytes", file_size(w->stage, "bzImage"));
	text = dink_json_text(o);
	return dink_file_write(path, text, strlen(text), 0644, err);
}

static int sync_folder(const char *dir, struct dink_err *err)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || syncfs(fd) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "sync %s", dir);
	return 0;
}

static int store(const struct dink_kernel_job *job, const struct work *w, int64_t cpu_s,
		 struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd strip = DINK_CMD_INIT;
	int r = dink_mkdir_p(w->stage, 0755, err);

	if (r < 0)
		return r;
	/* the PVH note is part of a loaded segment, so it survives */
	dink_cmd_argv(&strip, "strip", "--strip-all", "-o", NULL);
	dink_strv_addf(&strip.argv, "%s/vmlinux", w->stage);
	dink_strv_addf(&strip.argv, "%s/vmlinux", w->out);
	r = run_tool(&strip, err);
	if (r >= 0)
		r = copy_out(w, "arch/x86/boot/bzImage", "bzImage", err);
	if (r >= 0)
		r = copy_out(w, ".config", "config", err);
	if (r >= 0)
		r = write_manifest(job, w, cpu_s, err);
	if (r < 0)
		return r;
	r = sync_folder(w->stage, err);
	if (r < 0)
		return r;
	if (rename(w->stage, job->dir) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "rename %s to %s", w->stage, job->dir);
	return 0;
}

static int check_space(const char *dir, struct dink_err *err)
{
	_cleanup_free_ char *need = dink_format_size(NEEDED_BYTES);
	_cleanup_free_ char *have = NULL;
	struct statvfs vfs;
	uint64_t free_bytes;
	int r;

	if (statvfs(dir, &vfs) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "look at the space in %s", dir);
	free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	if (free_bytes >= NEEDED_BYTES)
		return 0;
	have = dink_format_size(free_bytes);
	r = dink_err_set(err, DINK_E_HOST, ENOSPC, "building a kernel needs %s in %s, %s are free",
			 need, dir, have);
	return dink_err_hint(err, "DINK_CACHE_DIR names another folder"), r;
}

/* What builders that were killed left; the lock says that none is at work. */
static int remove_stale(const char *cache, struct dink_err *err)
{
	_cleanup_closedir_ DIR *d = opendir(cache);
	struct dirent *e;

	if (!d)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", cache);
	while ((e = readdir(d))) {
		_cleanup_free_ char *path = NULL;
		int r;

		if (!dink_starts_with(e->d_name, WORK_PREFIX))
			continue;
		path = xasprintf("%s/%s", cache, e->d_name);
		r = dink_rm_rf(path, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Waits for another builder, but not deaf to signals. */
static int wait_lock(const char *cache, const struct dink_progress *p, int *ret_fd,
		     struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/lock", cache);
	bool told = false;

	for (;;) {
		struct timespec pause = {.tv_nsec = 200000000};
		int r = dink_lock(path, false, ret_fd, err);

		if (r != -EWOULDBLOCK)
			return r;
		dink_err_clear(err);
		if (dink_interrupted())
			return dink_err_set(err, DINK_E_INTR, EINTR, "stopped by a signal");
		if (!told)
			dink_progress(p, "waiting for another kernel build", 0, 0);
		told = true;
		(void)nanosleep(&pause, NULL);
	}
}

static int build_in(const struct dink_kernel_job *job, struct work *w,
		    const struct dink_progress *p, struct dink_err *err)
{
	int64_t cpu_s = child_cpu_s();
	int r = dink_mkdir_p(w->src, 0755, err);

	if (r >= 0)
		r = dink_mkdir_p(w->out, 0755, err);
	if (r >= 0)
		r = dink_kernel_source_unpack(&job->source, w->src, p, err);
	if (r < 0)
		return r;
	dink_progress(p, "configuring kernel", 0, 0);
	w->log = open(w->log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (w->log < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "write %s", w->log_path);
	r = configure(job, w, err);
	if (r >= 0)
		r = run_make(w, p, err);
	if (r >= 0)
		r = store(job, w, child_cpu_s() - cpu_s, err);
	return r;
}

/* The build folder goes in any case; its failure to go matters only if all else went well. */
static int clean_work(const struct work *w, int r, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err second = {};
	_cleanup_free_ char *kept = xasprintf("%s/failed.log", w->cache);
	int rm;

	if (r < 0 && r != -EINTR && rename(w->log_path, kept) == 0)
		dink_err_push(err, "(all that make said is in %s)", kept);
	rm = dink_rm_rf(w->dir, &second);
	if (rm < 0 && r >= 0) {
		dink_err_move(err, &second);
		return rm;
	}
	if (rm < 0)
		dink_debug("kernel", "%s is left: %s", w->dir, second.msg);
	return r;
}

int dink_kernel_build(const struct dink_kernel_job *job, const struct dink_progress *p,
		      struct dink_err *err)
{
	_cleanup_(clear_work) struct work w = {.cache = dink_kernel_cache(), .log = -1};
	_cleanup_close_ int lock = -1;
	int r = dink_mkdir_p(w.cache, 0755, err);

	if (r >= 0)
		r = wait_lock(w.cache, p, &lock, err);
	if (r < 0)
		return r;
	if (dink_exists(job->dir))
		return 0;
	r = remove_stale(w.cache, err);
	if (r >= 0)
		r = check_space(w.cache, err);
	if (r < 0)
		return r;
	w.dir = xasprintf("%s/" WORK_PREFIX "%ld", w.cache, (long)getpid());
	w.src = xasprintf("%s/src", w.dir);
	w.out = xasprintf("%s/out", w.dir);
	w.stage = xasprintf("%s/stage", w.dir);
	w.log_path = xasprintf("%s/make.log", w.dir);
	r = build_in(job, &w, p, err);
	return clean_work(&w, r, err);
}
