/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The private engine's life: used by name, started once, found again, stopped by the last user.
 *
 * All of it happens under one lock. The record (engine.json) is written before the bridge is made
 * and again once the daemon's identity is known, so that a crash at any point leaves enough to
 * clean up by.
 */
#include "provision/engine/private.h"
#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/json.h"
#include "provision/base/log.h"
#include "provision/base/units.h"
#include "provision/engine/http.h"
#include "provision/scenario/scenario.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

enum {
	READY_MS = 60000,
	STOP_GRACE_MS = 30000,
	RELOAD_MS = 10000,
	STARTS_MAX = 3,
	LOG_TAIL = 2048,
	LOG_MAX = 4 << 20,
};

/* What engine.json holds. */
struct record {
	struct dink_pid pid; /* 0 = not started (or not known to be) */
	char boot_id[40];
	bool podman;
	char cgroup[32];
	struct dink_private_net net;
};

static void clear_record(struct record *r)
{
	dink_private_net_clear(&r->net);
}

void dink_private_paths_init(struct dink_private_paths *p)
{
	const char *state = dink_state_dir(), *run = dink_run_dir();

	*p = (struct dink_private_paths){
		.state = xasprintf("%s/engine", state),
		.run = xasprintf("%s/engine", run),
		.data_root = xasprintf("%s/engine/data", state),
		.exec_root = xasprintf("%s/engine/exec", run),
		.socket = xasprintf("%s/engine/docker.sock", run),
		.pidfile = xasprintf("%s/engine/docker.pid", run),
		.config = xasprintf("%s/engine/daemon.json", state),
		.record = xasprintf("%s/engine/engine.json", state),
		.users = xasprintf("%s/engine/users", state),
		.log = xasprintf("%s/engine/daemon.log", state),
		.lock = xasprintf("%s/engine/lock", state),
	};
}

void dink_private_paths_clear(struct dink_private_paths *p)
{
	free(p->state);
	free(p->run);
	free(p->data_root);
	free(p->exec_root);
	free(p->socket);
	free(p->pidfile);
	free(p->config);
	free(p->record);
	free(p->users);
	free(p->log);
	free(p->lock);
}

static void read_boot_id(char ret[40])
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *text = NULL;

	ret[0] = '\0';
	if (dink_file_read("/proc/sys/kernel/random/boot_id", 64, &text, NULL, &ignored) == 0)
		snprintf(ret, 40, "%.36s", text);
}

static void copy_str(char *to, size_t size, struct json_object *o, const char *path)
{
	snprintf(to, size, "%s", dink_json_str_or(o, path, ""));
}

/* 1 with the record, 0 if there is none. */
static int load_record(const struct dink_private_paths *p, struct record *ret, struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = NULL;
	const char *tool;
	int r;

	if (!dink_exists(p->record))
		return 0;
	r = dink_json_parse_file(p->record, &o, err);
	if (r < 0)
		return dink_err_hint(err, "if no private engine runs, remove the file");
	*ret = (struct record){
		.pid = {(pid_t)dink_json_int_or(o, "pid", 0),
			(uint64_t)dink_json_int_or(o, "start", 0)},
		.podman = dink_json_bool_or(o, "podman", false),
	};
	copy_str(ret->boot_id, sizeof(ret->boot_id), o, "boot_id");
	copy_str(ret->cgroup, sizeof(ret->cgroup), o, "cgroup");
	copy_str(ret->net.bridge, sizeof(ret->net.bridge), o, "bridge");
	copy_str(ret->net.subnet, sizeof(ret->net.subnet), o, "subnet");
	copy_str(ret->net.gateway, sizeof(ret->net.gateway), o, "gateway");
	copy_str(ret->net.pool, sizeof(ret->net.pool), o, "pool");
	copy_str(ret->net.mac, sizeof(ret->net.mac), o, "mac");
	tool = dink_json_str_or(o, "iptables", NULL);
	ret->net.iptables = tool ? xstrdup(tool) : NULL;
	ret->net.mtu = (uint32_t)dink_json_int_or(o, "mtu", 1500);
	ret->net.forwarding = dink_json_bool_or(o, "forwarding", true);
	return 1;
}

static int save_record(const struct dink_private_paths *p, const struct record *rec,
		       struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = dink_json_new();
	_cleanup_free_ char *text = NULL;

	dink_json_set_int(o, "pid", rec->pid.pid);
	dink_json_set_int(o, "start", (int64_t)rec->pid.start);
	dink_json_set_str(o, "boot_id", rec->boot_id);
	dink_json_set_bool(o, "podman", rec->podman);
	dink_json_set_str(o, "socket", p->socket);
	dink_json_set_str(o, "cgroup", rec->cgroup);
	dink_json_set_str(o, "bridge", rec->net.bridge);
	dink_json_set_str(o, "subnet", rec->net.subnet);
	dink_json_set_str(o, "gateway", rec->net.gateway);
	dink_json_set_str(o, "pool", rec->net.pool);
	dink_json_set_str(o, "mac", rec->net.mac);
	dink_json_set_str(o, "iptables", rec->net.iptables);
	dink_json_set_int(o, "mtu", rec->net.mtu);
	dink_json_set_bool(o, "forwarding", rec->net.forwarding);
	text = dink_json_text(o);
	return dink_file_write(p->record, text, strlen(text), 0600, err);
}

static bool is_running(const struct record *rec)
{
	char boot_id[40];

	read_boot_id(boot_id);
	return rec->pid.pid > 0 && STREQ(boot_id, rec->boot_id) && dink_pid_alive(&rec->pid);
}

/* What a crash in the middle of writing one of our files leaves beside it. */
static void remove_temporary(const struct dink_private_paths *p)
{
	_cleanup_closedir_ DIR *dir = opendir(p->state);
	struct dirent *d;

	while (dir && (d = readdir(dir)))
		if (dink_starts_with(d->d_name, "engine.json.") ||
		    dink_starts_with(d->d_name, "daemon.json."))
			(void)unlinkat(dirfd(dir), d->d_name, 0);
}

/*
 * What is left once its processes have ended. The lock is held from the look at whose the bridge is
 * until the cgroup and the rules that bear its number are gone.
 */
static int sweep(const struct dink_private_paths *p, struct record *rec, struct dink_err *err)
{
	_cleanup_close_ int lock = -1;
	int r = rec->net.bridge[0] ? dink_private_net_lock(&lock, err) : 0;

	if (r >= 0 && dink_private_net_is_taken(&rec->net))
		rec->cgroup[0] = rec->net.bridge[0] = '\0';
	if (r >= 0)
		r = dink_private_sweep(p, rec->cgroup, err);
	if (r >= 0)
		r = dink_private_net_down(&rec->net, err);
	return r;
}

/* Stops what runs (or was killed), removes all but the data. */
static int take_down(const struct dink_private_paths *p, struct record *rec, struct dink_err *err)
{
	struct dink_pid stray;
	int r = 0;

	if (is_running(rec))
		r = dink_pid_end(&rec->pid, STOP_GRACE_MS, err);
	while (r >= 0 && dink_private_find(p, &stray) == 1)
		r = dink_pid_end(&stray, STOP_GRACE_MS, err);
	remove_temporary(p);
	if (r >= 0)
		r = sweep(p, rec, err);
	if (r >= 0)
		r = dink_rm_rf(p->run, err);
	if (r >= 0)
		r = dink_rm_rf(p->record, err);
	if (r < 0)
		(void)dink_err_push(err, "stopping the private engine");
	return r;
}

/*
 * An engine puts right every network that it remembers when it starts, addresses on its bridge too:
 * the bridge may be another dink's by now. What no container is in, it need not remember.
 */
static int forget_networks(const struct dink_private_paths *p, struct dink_err *err)
{
	_cleanup_free_ char *containers = xasprintf("%s/containers", p->data_root);
	_cleanup_free_ char *networks = xasprintf("%s/network", p->data_root);

	if (rmdir(containers) < 0 && errno != ENOENT)
		return 0; /* not empty */
	return dink_rm_rf(networks, err);
}

/* N of "dinkbrN"; 0 if it is none */
static unsigned bridge_number(const char *bridge)
{
	unsigned n;

	return sscanf(bridge, "dinkbr%u", &n) == 1 ? n : 0;
}

/* 1 with the bridge of number n; 0 if its name or its subnet is in use. */
static int make_bridge(const struct dink_private_paths *p, unsigned n, const char *routes,
		       struct record *rec, struct dink_err *err)
{
	int r;

	if (dink_private_net_choose(n, p->state, routes, &rec->net) < 0)
		return 0;
	snprintf(rec->cgroup, sizeof(rec->cgroup), "dink-%u", n);
	r = save_record(p, rec, err); /* intent */
	if (r >= 0)
		r = dink_private_net_up(&rec->net, err);
	if (r >= 0)
		r = save_record(p, rec, err);
	return r < 0 ? r : 1;
}

/* @first: the number to try first, that of the engine before */
static int make_net(const struct dink_private_paths *p, unsigned first, struct record *rec,
		    struct dink_err *err)
{
	_cleanup_free_ char *routes = NULL;
	_cleanup_close_ int lock = -1;
	int r = dink_private_net_lock(&lock, err);

	if (r >= 0)
		r = dink_file_read("/proc/net/route", 4 << 20, &routes, NULL, err);
	for (unsigned i = 0; r == 0 && i < DINK_PRIVATE_NETS; i++)
		r = make_bridge(p, (first + i) % DINK_PRIVATE_NETS, routes, rec, err);
	if (r != 0)
		return r < 0 ? r : 0;
	(void)dink_err_set(err, DINK_E_HOST, EADDRINUSE,
			   "find a free bridge name dinkbrN and subnet in 10.212.0.0/16");
	return dink_err_hint(err, "ip -brief link show type bridge; ip route");
}

/* Named, never guessed: overlay on overlay is refused by the kernel. */
static const char *choose_storage(const char *data_root)
{
	struct statfs fs;

	if (statfs(data_root, &fs) == 0 && fs.f_type == OVERLAYFS_SUPER_MAGIC)
		return "vfs";
	return "overlay2";
}

static void dockerd_argv(struct dink_cmd *cmd, const struct dink_private_paths *p,
			 const struct record *rec)
{
	dink_cmd_argv(cmd, "dockerd", "--config-file", p->config, "--data-root", p->data_root,
		      "--exec-root", p->exec_root, "--pidfile", p->pidfile, "--group", "root",
		      "--storage-driver", choose_storage(p->data_root), "--bridge", rec->net.bridge,
		      "--iptables=false", "--ip6tables=false", "--ip-forward=false",
		      "--ip-masq=false", "--exec-opt", "native.cgroupdriver=cgroupfs",
		      "--shutdown-timeout=3", "--log-level", "warn", NULL);
	/* containerd writes its stacks there when dockerd finds it too slow and ends it */
	dink_strv_addf(&cmd->env, "TMPDIR=%s", p->exec_root);
	dink_strv_addf(&cmd->argv, "--host=unix://%s", p->socket);
	dink_strv_addf(&cmd->argv, "--cgroup-parent=/%s", rec->cgroup);
	dink_strv_addf(&cmd->argv, "--mtu=%u", rec->net.mtu);
	dink_strv_addf(&cmd->argv, "--default-address-pool=base=%s,size=24", rec->net.pool);
}

static unsigned long long ulimit_of(rlim_t hard)
{
	return hard < 1048576 ? hard : 1048576; /* podman's own default */
}

/*
 * Podman as an ordinary user: no daemon keeps state, the service only answers. Its default limits
 * may be above what this user may have, which would fail each container: ours are written down.
 */
static int podman_argv(struct dink_cmd *cmd, const struct dink_private_paths *p,
		       struct dink_err *err)
{
	_cleanup_free_ char *conf = xasprintf("%s/containers.conf", p->state);
	_cleanup_str_ struct dink_str text = {};
	_cleanup_json_ struct json_object *o = NULL, *runtimes = NULL;
	struct rlimit files, procs;
	int r;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || getrlimit(RLIMIT_NPROC, &procs) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "read the limits of this process");
	/* soft and hard alike: podman 4.3 takes "SOFT:HARD" the wrong way round */
	dink_str_add(&text, "[containers]\n");
	dink_str_addf(&text, "default_ulimits = [\"nofile=%llu:%llu\", \"nproc=%llu:%llu\"]\n",
		      ulimit_of(files.rlim_max), ulimit_of(files.rlim_max),
		      ulimit_of(procs.rlim_max), ulimit_of(procs.rlim_max));
	dink_str_add(&text, "[engine]\ncgroup_manager = \"cgroupfs\"\n[engine.runtimes]\n");
	r = dink_json_parse_file(p->config, &o, err);
	if (r < 0)
		return r;
	runtimes = json_object_get(dink_json_get(o, "runtimes"));
	if (runtimes) {
		json_object_object_foreach(runtimes, name, spec)
		{
			dink_str_addf(&text, "\"%s\" = [\"%s\"]\n", name,
				      dink_json_str_or(spec, "path", ""));
		}
	}
	r = dink_file_write(conf, text.s, text.len, 0600, err);
	if (r < 0)
		return r;
	dink_cmd_argv(cmd, "podman", "--root", p->data_root, "--runroot", p->exec_root, "system",
		      "service", "--time=0", NULL);
	dink_strv_addf(&cmd->argv, "unix://%s", p->socket);
	dink_strv_addf(&cmd->env, "CONTAINERS_CONF=%s", conf);
	return 0;
}

static char *log_tail(const struct dink_private_paths *p)
{
	_cleanup_close_ int fd = open(p->log, O_RDONLY | O_CLOEXEC);
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	off_t from = size > LOG_TAIL ? size - LOG_TAIL : 0;
	char *text = xcalloc(1, LOG_TAIL + 1);

	if (fd < 0 || pread(fd, text, LOG_TAIL, from) < 0)
		text[0] = '\0';
	if (from > 0) { /* not from the middle of a line */
		char *nl = strchr(text, '\n');

		if (nl)
			memmove(text, nl + 1, strlen(nl));
	}
	return text;
}

static int wait_started(const struct dink_private_paths *p, const struct dink_pid *pid,
			const struct dink_progress *progress, struct dink_err *err)
{
	_cleanup_(dink_place_freep) struct dink_place *host = dink_place_host();
	_cleanup_(dink_engine_freep) struct dink_engine *e = dink_engine_new(host, p->socket);
	uint64_t begin = dink_now_ms(), now;

	do {
		_cleanup_(dink_err_clear) struct dink_err why = {};
		_cleanup_free_ char *tail = NULL;
		int r = dink_engine_wait_ready(e, 250, &why);

		if (r == 0)
			return 0;
		if (why.code == DINK_E_INTR) {
			dink_err_move(err, &why);
			return -EINTR;
		}
		now = dink_now_ms();
		dink_progress(progress, "starting the private engine", now - begin, 0);
		(void)waitpid(pid->pid, NULL, WNOHANG);
		if (dink_pid_alive(pid) && now - begin < READY_MS)
			continue;
		tail = log_tail(p);
		(void)dink_err_set(err, DINK_E_CHILD, 0,
				   dink_pid_alive(pid)
					   ? "the private engine was not ready after %d s"
					   : "the private engine ended within %d s of its start",
				   READY_MS / 1000);
		dink_err_detail(err, tail);
		return dink_err_hint(err, "its log is %s", p->log);
	} while (true);
}

static int spawn_daemon(const struct dink_private_paths *p, struct record *rec,
			struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	_cleanup_close_ int log = -1;
	struct stat st;
	int r = 0;

	if (stat(p->log, &st) == 0 && st.st_size > LOG_MAX && unlink(p->log) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "remove %s", p->log);
	log = open(p->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (log < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", p->log);
	if (rec->podman)
		r = podman_argv(&cmd, p, err);
	else
		dockerd_argv(&cmd, p, rec);
	if (r < 0)
		return r;
	cmd.out = cmd.errfd = log;
	cmd.new_session = true;
	cmd.hold =
		true; /* it is in the record before it runs: a crash in between leaves no stray */
	r = dink_cmd_spawn(&cmd, &rec->pid.pid, NULL, err);
	if (r < 0)
		return r;
	if (dink_pid_identify(rec->pid.pid, &rec->pid) < 0)
		rec->pid.start = 0; /* it is dead already: wait_started() tells */
	r = save_record(p, rec, err);
	return r < 0 ? r : dink_cmd_go(&cmd, rec->pid.pid, err);
}

/*
 * Whether dockerd ended since its own containerd, for which it waits 15 s, was slower: on a machine
 * as busy as that the next start, with all of it in memory, is quicker.
 */
static bool gave_up_waiting(const struct dink_private_paths *p, const struct record *rec)
{
	_cleanup_free_ char *tail = log_tail(p);

	return !rec->podman && !dink_pid_alive(&rec->pid) &&
	       dink_ends_with(tail, "timeout waiting for containerd to start\n");
}

static int start_daemon(const struct dink_private_paths *p, struct record *rec,
			const struct dink_progress *progress, struct dink_err *err)
{
	struct dink_pid stray;

	for (int starts = 1;; starts++) {
		int r = spawn_daemon(p, rec, err);

		if (r >= 0)
			r = wait_started(p, &rec->pid, progress, err);
		if (r >= 0 || starts == STARTS_MAX || !gave_up_waiting(p, rec))
			return r;
		dink_debug("engine", "the private engine gave up on its containerd, start %d of %d",
			   starts + 1, STARTS_MAX);
		dink_err_clear(err);
		while (dink_private_find(p, &stray) == 1) {
			r = dink_pid_end(&stray, STOP_GRACE_MS, err);
			if (r < 0)
				return r;
		}
	}
}

/* @first: the number of the bridge to try first */
static int start_engine(const struct dink_private_paths *p, unsigned first,
			const struct dink_progress *progress, struct dink_err *err)
{
	_cleanup_(clear_record) struct record rec = {};
	_cleanup_free_ char *dockerd = dink_which("dockerd"), *podman = dink_which("podman");
	int r;

	rec.podman = geteuid() != 0 || !dockerd;
	if (rec.podman && !podman) {
		(void)dink_err_set(err, DINK_E_HOST, ENOENT, "find an engine to start (%s)",
				   geteuid() == 0 ? "dockerd or podman" : "podman");
		return dink_err_hint(err, "apt-get install %s",
				     geteuid() == 0 ? "docker.io" : "podman");
	}
	read_boot_id(rec.boot_id);
	dink_progress(progress, "starting the private engine", 0, 0);
	r = dink_mkdir_p(p->run, 0700, err);
	if (r >= 0)
		r = dink_mkdir_p(p->exec_root, 0711, err);
	if (r >= 0)
		r = dink_mkdir_p(p->data_root, 0711, err);
	if (r >= 0 && !rec.podman)
		r = forget_networks(p, err);
	if (r >= 0 && !rec.podman)
		r = make_net(p, first, &rec, err);
	if (r >= 0)
		r = start_daemon(p, &rec, progress, err);
	if (r < 0) {
		_cleanup_(dink_err_clear) struct dink_err second = {};

		dink_interrupt_reset(); /* the clean-up itself must run to its end */
		if (take_down(p, &rec, &second) < 0)
			dink_debug("engine", "after a failed start: %s", second.msg);
		(void)dink_err_push(err, "starting the private engine");
	}
	return r;
}

/* Writes a runtime into daemon.json; 1 if that changed it. */
static int add_runtime(const struct dink_private_paths *p, const char *name, const char *path,
		       char *const *args, struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = NULL;
	struct json_object *runtimes, *spec = dink_json_new();
	_cleanup_free_ char *text = NULL, *old = NULL;
	struct dink_strv v = {};
	int r = 0;

	if (dink_exists(p->config))
		r = dink_json_parse_file(p->config, &o, err);
	if (r < 0) {
		json_object_put(spec);
		return r;
	}
	if (!o)
		o = dink_json_new();
	old = dink_json_text(o);
	runtimes = dink_json_get(o, "runtimes");
	if (!runtimes) {
		runtimes = dink_json_new();
		dink_json_set(o, "runtimes", runtimes);
	}
	dink_json_set_str(spec, "path", path);
	dink_strv_addv(&v, args);
	if (v.n > 0)
		dink_json_set(spec, "runtimeArgs", dink_json_strv(&v));
	dink_strv_clear(&v);
	json_object_object_add(runtimes, name, spec);
	text = dink_json_text(o);
	if (STREQ(text, old))
		return 0;
	r = dink_file_write(p->config, text, strlen(text), 0600, err);
	return r < 0 ? r : 1;
}

/* After SIGHUP dockerd takes a moment to read its file again. */
static int wait_runtime(const struct dink_private_paths *p, const char *name, struct dink_err *err)
{
	_cleanup_(dink_place_freep) struct dink_place *host = dink_place_host();
	_cleanup_(dink_engine_freep) struct dink_engine *e = dink_engine_new(host, p->socket);
	uint64_t end = dink_now_ms() + RELOAD_MS;

	for (;;) {
		_cleanup_json_ struct json_object *o = NULL;
		struct json_object *runtimes, *one;
		int r = dink_engine_info(e, &o, err);

		if (r < 0)
			return r;
		runtimes = dink_json_get(o, "Runtimes");
		if (json_object_is_type(runtimes, json_type_object) &&
		    json_object_object_get_ex(runtimes, name, &one))
			return 0;
		if (dink_now_ms() > end) {
			(void)dink_err_set(
				err, DINK_E_CHILD, ETIMEDOUT,
				"the private engine does not take runtime %s, after %d s", name,
				RELOAD_MS / 1000);
			return dink_err_hint(err, "its log is %s", p->log);
		}
		usleep(20000);
	}
}

static int reload_runtime(const struct dink_private_paths *p, struct record *rec, const char *name,
			  struct dink_err *err)
{
	if (rec->podman) {
		/* the service reads its file at the start only, and holds no containers */
		int r = dink_pid_end(&rec->pid, STOP_GRACE_MS, err);

		if (r >= 0)
			r = spawn_daemon(p, rec, err);
		return r < 0 ? r : wait_started(p, &rec->pid, NULL, err);
	}
	if (kill(rec->pid.pid, SIGHUP) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "tell the private engine to reload");
	return wait_runtime(p, name, err);
}

/* Without a record (removed, lost): what is there of an engine on our folders; 1 if anything is. */
static int find_unrecorded(const struct dink_private_paths *p, struct record *rec)
{
	struct dink_pid stray;

	*rec = (struct record){};
	read_boot_id(rec->boot_id);
	if (dink_private_net_find(p->state, &rec->net) == 0)
		snprintf(rec->cgroup, sizeof(rec->cgroup), "dink-%u",
			 bridge_number(rec->net.bridge));
	return rec->net.bridge[0] || dink_exists(p->run) || dink_private_find(p, &stray) == 1;
}

/* The rest of use(), under the lock. */
static int ensure_running(const struct dink_private_paths *p, const char *dink_vm,
			  const struct dink_progress *progress, struct dink_err *err)
{
	_cleanup_(clear_record) struct record rec = {};
	int changed = 0, r, have = load_record(p, &rec, err);
	unsigned first;

	if (have < 0)
		return have;
	if (dink_vm || !dink_exists(p->config)) {
		changed = dink_vm ? add_runtime(p, "dink-vm", dink_vm, NULL, err)
				  : dink_file_write(p->config, "{}\n", 3, 0600, err);
		if (changed < 0)
			return changed;
	}
	if (have && is_running(&rec)) {
		r = wait_started(p, &rec.pid, progress, err);
		if (r == 0 && changed > 0)
			r = reload_runtime(p, &rec, "dink-vm", err);
		return r;
	}
	r = have ? 1 : find_unrecorded(p, &rec);
	first = bridge_number(rec.net.bridge); /* the one that its containers know */
	if (r > 0)
		r = take_down(p, &rec, err);
	return r < 0 ? r : start_engine(p, first, progress, err);
}

static bool is_plain_name(const char *name)
{
	return name[0] && name[0] != '.' && !strchr(name, '/') && strlen(name) < 200;
}

/* In one go: a temporary file left by a crash would be a user that never leaves. */
static int make_note(const char *path, struct dink_err *err)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "create %s", path);
	return 0;
}

int dink_private_engine_use(const char *user, const char *dink_vm, char **ret_socket,
			    const struct dink_progress *progress, struct dink_err *err)
{
	_cleanup_(dink_private_paths_clear) struct dink_private_paths p;
	_cleanup_close_ int lock = -1;
	_cleanup_free_ char *note = NULL;
	int r;

	dink_private_paths_init(&p);
	if (!is_plain_name(user))
		return dink_err_set(err, DINK_E_BUG, EINVAL, "private engine's user '%s'", user);
	note = xasprintf("%s/%s", p.users, user);
	r = dink_mkdir_p(p.users, 0700, err);
	if (r >= 0)
		r = dink_lock(p.lock, true, &lock, err);
	/* noted before the start: a crash in between leaves a user that its instance releases */
	if (r >= 0)
		r = make_note(note, err);
	if (r < 0)
		return r;
	r = ensure_running(&p, dink_vm, progress, err);
	if (r < 0) {
		(void)unlink(note);
		return r;
	}
	*ret_socket = TAKE_PTR(p.socket);
	return 0;
}

int dink_private_engine_runtime(const char *name, const char *path, char *const *args,
				struct dink_err *err)
{
	_cleanup_(dink_private_paths_clear) struct dink_private_paths p;
	_cleanup_(clear_record) struct record rec = {};
	_cleanup_close_ int lock = -1;
	int r;

	dink_private_paths_init(&p);
	r = dink_lock(p.lock, true, &lock, err);
	if (r < 0)
		return r;
	r = load_record(&p, &rec, err);
	if (r < 0)
		return r;
	if (r == 0 || !is_running(&rec))
		return dink_err_set(err, DINK_E_STATE, ESRCH, "the private engine does not run");
	r = add_runtime(&p, name, path, args, err);
	return r <= 0 ? r : reload_runtime(&p, &rec, name, err);
}

/* A name that no instance can have is what a crash left of one. */
static bool has_users(const char *folder)
{
	_cleanup_closedir_ DIR *dir = opendir(folder);
	struct dirent *d;

	while (dir && (d = readdir(dir)))
		if (dink_name_is_valid(d->d_name))
			return true;
	return false;
}

int dink_private_engine_release(const char *user, struct dink_err *err)
{
	_cleanup_(dink_private_paths_clear) struct dink_private_paths p;
	_cleanup_(clear_record) struct record rec = {};
	_cleanup_close_ int lock = -1;
	_cleanup_free_ char *note = NULL;
	int r;

	dink_private_paths_init(&p);
	if (!is_plain_name(user))
		return dink_err_set(err, DINK_E_BUG, EINVAL, "private engine's user '%s'", user);
	if (!dink_exists(p.state))
		return 0;
	note = xasprintf("%s/%s", p.users, user);
	r = dink_lock(p.lock, true, &lock, err);
	if (r >= 0)
		r = dink_rm_rf(note, err);
	if (r < 0)
		return r;
	if (has_users(p.users))
		return 0;
	r = load_record(&p, &rec, err);
	if (r == 0)
		r = find_unrecorded(&p, &rec);
	if (r <= 0)
		return r;
	r = take_down(&p, &rec, err);
	/* runtimes name guests of instances that are gone */
	return r < 0 ? r : dink_rm_rf(p.config, err);
}

char *dink_private_engine_socket(void)
{
	_cleanup_(dink_private_paths_clear) struct dink_private_paths p;
	_cleanup_(clear_record) struct record rec = {};
	_cleanup_(dink_err_clear) struct dink_err ignored = {};

	dink_private_paths_init(&p);
	if (load_record(&p, &rec, &ignored) <= 0 || !is_running(&rec))
		return NULL;
	return TAKE_PTR(p.socket);
}

char *dink_private_engine_leftover(void)
{
	_cleanup_(dink_private_paths_clear) struct dink_private_paths p;
	_cleanup_(clear_record) struct record rec = {};
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_close_ int lock = -1;
	struct dink_pid pid;

	dink_private_paths_init(&p);
	/* under the lock there are users before there is an engine, and after it */
	if (!dink_exists(p.state) || dink_lock(p.lock, true, &lock, &ignored) < 0 ||
	    has_users(p.users))
		return NULL;
	if (load_record(&p, &rec, &ignored) == 0 && find_unrecorded(&p, &rec) == 0)
		return NULL;
	if (dink_private_find(&p, &pid) == 1)
		return xasprintf("process %d on %s", (int)pid.pid, p.data_root);
	return xasprintf("what one left of %s", p.run);
}
