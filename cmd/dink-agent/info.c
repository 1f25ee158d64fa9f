/* SPDX-License-Identifier: Apache-2.0 */
/* What the container's cgroup tells: processes, usage, the freezer. */
#include "cmd/dink-agent/agent.h"

#include "provision/base/file.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>

enum {
	PIDS_MAX = 32768,
	DEPTH_MAX = 16,
	FREEZE_WAIT_MS = 10000,
	TABLE_MAX = 512, /* a message holds as many, with arguments that are all escapes */
	ARGS_BYTES = 480,
	TEXTS_MAX = 256, /* processes with the kernel's own words */
	TEXT_BYTES = 4096,
};

struct pids {
	pid_t *v;
	size_t n;
};

static char *read_text(const char *dir, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	_cleanup_(dink_err_clear) struct dink_err err = {};
	char *text = NULL;

	return dink_file_read(path, 1 << 20, &text, NULL, &err) == 0 ? text : NULL;
}

/* --- processes --- */

static void add_pids(const char *dir, struct pids *p, int depth)
{
	_cleanup_free_ char *text = read_text(dir, "cgroup.procs");
	_cleanup_closedir_ DIR *d = opendir(dir);
	char *line, *save = NULL;
	struct dirent *de;

	for (line = text ? strtok_r(text, "\n", &save) : NULL; line && p->n < PIDS_MAX;
	     line = strtok_r(NULL, "\n", &save)) {
		p->v = xreallocarray(p->v, p->n + 1, sizeof(*p->v));
		p->v[p->n++] = (pid_t)strtol(line, NULL, 10);
	}
	while (d && depth < DEPTH_MAX && (de = readdir(d))) {
		_cleanup_free_ char *sub = xasprintf("%s/%s", dir, de->d_name);

		if (de->d_type == DT_DIR && de->d_name[0] != '.')
			add_pids(sub, p, depth + 1);
	}
}

/* read_args() - its first bytes; empty for one that has ended */
static struct json_object *read_args(const char *dir)
{
	_cleanup_free_ char *path = xasprintf("%s/cmdline", dir);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct json_object *list = json_object_new_array();
	char text[ARGS_BYTES + 1];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(text + at) + 1) {
		text[n] = 0;
		json_object_array_add(list, json_object_new_string(text + at));
	}
	return list;
}

/* read_number() - what follows a word in /proc/PID/status */
static int64_t read_number(const char *status, const char *word)
{
	const char *at = status ? strstr(status, word) : NULL;

	return at ? strtoll(at + strlen(word), NULL, 10) : 0;
}

static struct json_object *describe_process(pid_t pid)
{
	_cleanup_free_ char *dir = xasprintf("/proc/%d", pid);
	_cleanup_free_ char *name = read_text(dir, "comm"), *status = read_text(dir, "status");
	struct json_object *o = dink_json_new(), *args = read_args(dir);

	if (name)
		name[strcspn(name, "\n")] = 0;
	dink_json_set_int(o, "pid", pid);
	dink_json_set_int(o, "ppid", read_number(status, "\nPPid:"));
	dink_json_set_int(o, "uid", read_number(status, "\nUid:"));
	dink_json_set_int(o, "gid", read_number(status, "\nGid:"));
	dink_json_set_str(o, "name", name ? name : "");
	dink_json_set(o, "args", args);
	return o;
}

/* add_texts() - the kernel's own words on it, for who wants to show them as /proc does */
static void add_texts(struct json_object *o, pid_t pid)
{
	static const char *const names[] = {"stat", "status"};
	_cleanup_free_ char *dir = xasprintf("/proc/%d", pid);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *text = read_text(dir, names[i]);

		if (text && strlen(text) <= TEXT_BYTES)
			dink_json_set_str(o, names[i], text);
	}
}

/* boot_time() - as times in "stat" are counted from it */
static int64_t boot_time(void)
{
	_cleanup_free_ char *text = read_text("/proc", "stat");

	return read_number(text, "\nbtime ");
}

int agent_ps(struct json_object *msg, struct json_object *answer, struct dink_err *err)
{
	struct json_object *pids = json_object_new_array(), *all = json_object_new_array();
	bool texts = dink_json_bool_or(msg, "texts", false);
	struct pids p = {};

	(void)err;
	add_pids(AGENT_CGROUP, &p, 0);
	for (size_t i = 0; i < p.n; i++) {
		struct json_object *o;

		json_object_array_add(pids, json_object_new_int64(p.v[i]));
		/* a table of thousands would not fit into a message; its pids do */
		if (i >= TABLE_MAX)
			continue;
		o = describe_process(p.v[i]);
		if (texts && i < TEXTS_MAX)
			add_texts(o, p.v[i]);
		json_object_array_add(all, o);
	}
	free(p.v);
	if (texts)
		dink_json_set_int(answer, "btime", boot_time());
	dink_json_set(answer, "pids", pids);
	dink_json_set(answer, "processes", all);
	return 0;
}

int agent_signal_group(int signum, struct dink_err *err)
{
	struct pids p = {};

	if (signum == SIGKILL && agent_write_file(AGENT_CGROUP "/cgroup.kill", "1") == 0)
		return 0;
	add_pids(AGENT_CGROUP, &p, 0);
	for (size_t i = 0; i < p.n; i++) {
		if (p.v[i] > 1)
			kill(p.v[i], signum);
	}
	free(p.v);
	return p.n ? 0 : dink_err_set(err, DINK_E_HOST, ESRCH, "the container has no process");
}

/* --- the freezer --- */

int agent_freeze(bool frozen, struct dink_err *err)
{
	int r = agent_write_file(AGENT_CGROUP "/cgroup.freeze", frozen ? "1" : "0");

	if (r < 0)
		return dink_err_set(err, DINK_E_HOST, -r, "the container's freezer");
	for (int waited = 0; waited < FREEZE_WAIT_MS; waited += 5) {
		_cleanup_free_ char *text = read_text(AGENT_CGROUP, "cgroup.events");

		if (text && strstr(text, frozen ? "frozen 1" : "frozen 0"))
			return 0;
		usleep(5000);
	}
	return dink_err_set(err, DINK_E_HOST, ETIMEDOUT, "the container's freezer");
}

/* --- usage --- */

/* parse_table() - lines of "name number" */
static struct json_object *parse_table(const char *name)
{
	_cleanup_free_ char *text = read_text(AGENT_CGROUP, name);
	struct json_object *o = dink_json_new();
	char *line, *save = NULL;

	for (line = text ? strtok_r(text, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *space = strchr(line, ' ');

		if (!space)
			continue;
		*space = 0;
		dink_json_set_int(o, line, strtoll(space + 1, NULL, 10));
	}
	return o;
}

/* parse_number() - "max" is -1; a file that is not there adds nothing */
static void parse_number(struct json_object *o, const char *key, const char *name)
{
	_cleanup_free_ char *text = read_text(AGENT_CGROUP, name);

	if (text)
		dink_json_set_int(o, key,
				  dink_starts_with(text, "max") ? -1 : strtoll(text, NULL, 10));
}

bool agent_was_oom(void)
{
	_cleanup_json_ struct json_object *events = parse_table("memory.events");

	return dink_json_int_or(events, "oom_kill", 0) > 0;
}

/* parse_io() - lines of "8:0 rbytes=1 wbytes=2 ..." */
static struct json_object *parse_io(void)
{
	_cleanup_free_ char *text = read_text(AGENT_CGROUP, "io.stat");
	struct json_object *list = json_object_new_array();
	char *line, *save = NULL;

	for (line = text ? strtok_r(text, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		struct json_object *o = dink_json_new();
		char *word, *inner = NULL;

		word = strtok_r(line, " ", &inner);
		dink_json_set_str(o, "device", word ? word : "");
		while ((word = strtok_r(NULL, " ", &inner))) {
			char *eq = strchr(word, '=');

			if (!eq)
				continue;
			*eq = 0;
			dink_json_set_int(o, word, strtoll(eq + 1, NULL, 10));
		}
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *read_links(void)
{
	static const char *const counters[] = {"rx_bytes",   "rx_packets", "rx_errors",
					       "rx_dropped", "tx_bytes",   "tx_packets",
					       "tx_errors",  "tx_dropped", NULL};
	_cleanup_closedir_ DIR *d = opendir("/sys/class/net");
	struct json_object *list = json_object_new_array();
	struct dirent *de;

	while (d && (de = readdir(d)) && json_object_array_length(list) < 256) {
		_cleanup_free_ char *dir = xasprintf("/sys/class/net/%s/statistics", de->d_name);
		struct json_object *o;

		if (de->d_name[0] == '.' || STREQ(de->d_name, "lo"))
			continue;
		o = dink_json_new();
		dink_json_set_str(o, "name", de->d_name);
		for (size_t i = 0; counters[i]; i++) {
			_cleanup_free_ char *text = read_text(dir, counters[i]);

			dink_json_set_int(o, counters[i], text ? strtoll(text, NULL, 10) : 0);
		}
		json_object_array_add(list, o);
	}
	return list;
}

int agent_stats(struct json_object *answer, struct dink_err *err)
{
	struct json_object *memory = dink_json_new(), *pids = dink_json_new();

	(void)err;
	dink_json_set(answer, "cpu", parse_table("cpu.stat"));
	parse_number(memory, "current", "memory.current");
	parse_number(memory, "peak", "memory.peak");
	parse_number(memory, "max", "memory.max");
	dink_json_set(memory, "stat", parse_table("memory.stat"));
	dink_json_set(memory, "events", parse_table("memory.events"));
	dink_json_set(answer, "memory", memory);
	parse_number(pids, "current", "pids.current");
	parse_number(pids, "max", "pids.max");
	dink_json_set(answer, "pids", pids);
	dink_json_set(answer, "io", parse_io());
	dink_json_set(answer, "network", read_links());
	return 0;
}
