/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/dink-vm/vm.h"

#include "provision/base/file.h"
#include "provision/vm/monitor.h"

#include <fcntl.h>
#include <time.h>

static int run_monitor(_unused_ const struct vm_globals *g, _unused_ char **argv,
		       _unused_ struct dink_err *err)
{
	return dink_monitor_run();
}

static const struct {
	const char *name;
	vm_command_fn fn;
	const char *usage; /* NULL = not shown */
	const char *summary;
} commands[] = {
	{"create", vm_create, "[-b BUNDLE] [--pid-file F] [--console-socket S] ID",
	 "make a VM and the container in it"},
	{"start", vm_start, "ID", "run the program of a created container"},
	{"run", vm_run, "[-d] [-b BUNDLE] [--pid-file F] ID", "create, start, wait, delete"},
	{"exec", vm_exec, "[-d] [-t] [-p PROCESS] [--pid-file F] ID [COMMAND...]",
	 "run another program in a container"},
	{"kill", vm_kill, "[-a] ID [SIGNAL]", "send a signal"},
	{"delete", vm_delete, "[-f] ID", "remove what is left of a stopped container"},
	{"state", vm_state, "ID", "print the state as JSON"},
	{"list", vm_list, "[-q] [-f table|json]", "list containers"},
	{"ps", vm_ps, "[-f table|json] ID", "list processes"},
	{"pause", vm_pause, "ID", "freeze all processes"},
	{"resume", vm_resume, "ID", "let them go on"},
	{"update", vm_update, "-r FILE|- ID", "change resource limits"},
	{"events", vm_events, "[--stats] [--interval N] ID", "print resource use"},
	{"checkpoint", vm_checkpoint, "[--image-path DIR] [--leave-running] ID",
	 "save a running container in a folder"},
	{"restore", vm_restore, "[-d] [-b BUNDLE] [--image-path DIR] [--pid-file F] ID",
	 "run a container from such a folder"},
	{"spec", vm_spec, "[-b BUNDLE]", "write a config.json to begin with"},
	{"features", vm_features, "", "print what this runtime can do, as JSON"},
	{"probe", vm_probe, "", "prove by a guest whether KVM works here, for --accel auto"},
	{"monitor", run_monitor, NULL, NULL},
};

static void print_help(const struct vm_opt *globals)
{
	puts("dink-vm: an OCI runtime that runs each container in a VM\n\n"
	     "usage: dink-vm [OPTIONS] COMMAND [ARGUMENTS]\n\nCommands:");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (commands[i].usage)
			printf("  %-10s %-50s %s\n", commands[i].name, commands[i].usage,
			       commands[i].summary);
	}
	puts("\nOptions:");
	for (; globals->long_name; globals++)
		printf("  --%-16s %s\n", globals->long_name, globals->help);
}

/* --- options --- */

static int unknown_option(const char *command, const char *arg, const struct vm_opt *opts,
			  struct dink_err *err)
{
	const char *names[32];
	size_t n = 0;

	for (; opts && opts->long_name && n < ARRAY_SIZE(names) - 1; opts++)
		names[n++] = opts->long_name;
	names[n] = NULL;
	_cleanup_free_ char *bare = xstrdup(arg + strspn(arg, "-"));
	bare[strcspn(bare, "=")] = '\0';
	const char *near = dink_nearest(bare, names);
	return dink_err_set(err, DINK_E_USAGE, 0, "unknown option %s%s%s%s%s%s", arg,
			    command ? " for " : "", command ? command : "",
			    near ? " (did you mean --" : "", near ? near : "", near ? "?)" : "");
}

static const struct vm_opt *find_opt(const char *arg, const struct vm_opt *opts,
				     const char **ret_value)
{
	*ret_value = NULL;
	for (; opts && opts->long_name; opts++) {
		if (arg[1] != '-') {
			if (opts->short_name && arg[1] == opts->short_name) {
				if (arg[2])
					*ret_value = arg[2] == '=' ? arg + 3 : arg + 2;
				return opts;
			}
			continue;
		}
		size_t n = strlen(opts->long_name);
		if (strncmp(arg + 2, opts->long_name, n) != 0)
			continue;
		if (arg[2 + n] == '=')
			*ret_value = arg + 3 + n;
		else if (arg[2 + n])
			continue;
		return opts;
	}
	return NULL;
}

int vm_parse(const char *command, char **argv, const struct vm_opt *opts, struct dink_err *err)
{
	int i = 0;

	for (; argv[i] && argv[i][0] == '-' && argv[i][1]; i++) {
		const char *value;
		if (STREQ(argv[i], "--"))
			return i + 1;
		const struct vm_opt *o = find_opt(argv[i], opts, &value);
		if (!o)
			return unknown_option(command, argv[i], opts, err);
		if (o->kind == VM_OPT_FLAG) {
			if (value && !STREQ(value, "true") && !STREQ(value, "false"))
				return dink_err_set(err, DINK_E_USAGE, 0, "--%s takes no value",
						    o->long_name);
			*(bool *)o->target = !value || STREQ(value, "true");
			continue;
		}
		if (!value) {
			value = argv[++i];
			if (!value)
				return dink_err_set(err, DINK_E_USAGE, 0, "--%s needs a value",
						    o->long_name);
		}
		if (o->kind == VM_OPT_STRV)
			dink_strv_add(o->target, value);
		else
			*(const char **)o->target = value;
	}
	return i;
}

int vm_parse_id(const char *command, char **argv, const struct vm_opt *opts, const char **ret_id,
		struct dink_err *err)
{
	int n = vm_parse(command, argv, opts, err);

	if (n < 0)
		return n;
	if (!argv[n])
		return dink_err_set(err, DINK_E_USAGE, 0, "%s needs a container id", command);
	if (argv[n + 1])
		return dink_err_set(err, DINK_E_USAGE, 0,
				    "%s: one container id only, \"%s\" is too much", command,
				    argv[n + 1]);
	*ret_id = argv[n];
	return 0;
}

/* --- errors --- */

/* Engines choose exit codes (126, 127) by these words, as Go's runtime spells them. */
static void spell_as_engines(char *text)
{
	static const char *const words[] = {"Permission denied", "No such file or directory",
					    "Operation not permitted", "Is a directory"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		for (char *at = text; (at = strstr(at, words[i]));)
			*at = (char)(*at + ('a' - 'A'));
	}
}

/* One line: engines show it as it is, and look for words such as "not found" in it. */
static char *flatten(const struct dink_err *err)
{
	_cleanup_free_ char *text = dink_err_format(err);
	struct dink_str flat = {};

	for (const char *c = text; *c; c++) {
		if (*c != '\n') {
			dink_str_addc(&flat, *c);
			continue;
		}
		c += strspn(c, " \n\t");
		if (!*c)
			break;
		dink_str_add(&flat, "; ");
		dink_str_addc(&flat, *c);
	}
	char *line = dink_str_take(&flat);
	spell_as_engines(line);
	return line;
}

void vm_log(const struct vm_globals *g, const char *level, const char *msg)
{
	if (!g->log || !g->log[0])
		return;
	_cleanup_close_ int fd = open(g->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	_cleanup_free_ char *line = NULL;
	char when[64];
	struct tm tm;
	time_t now = time(NULL);

	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	if (g->log_format && STREQ(g->log_format, "json")) {
		_cleanup_json_ struct json_object *o = dink_json_new();
		dink_json_set_str(o, "level", level);
		dink_json_set_str(o, "msg", msg);
		dink_json_set_str(o, "time", when);
		line = xasprintf("%s\n", json_object_to_json_string_ext(
						 o, JSON_C_TO_STRING_PLAIN |
							    JSON_C_TO_STRING_NOSLASHESCAPE));
	} else {
		line = xasprintf("time=\"%s\" level=%s msg=\"%s\"\n", when, level, msg);
	}
	if (fd < 0 || dink_fd_write_all(fd, line, strlen(line)) < 0)
		fprintf(stderr, "dink-vm: cannot write to %s: %s\n", g->log, strerror(errno));
}

/* Podman asks whether there is a checkpoint by whether that command has a help text. */
static bool wants_help(const char *arg)
{
	return arg && (STREQ(arg, "--help") || STREQ(arg, "-h"));
}

static int dispatch(const struct vm_globals *g, char **argv, const struct vm_opt *globals,
		    struct dink_err *err)
{
	if (g->version || (argv[0] && STREQ(argv[0], "version"))) {
		printf("dink-vm version %s\nspec: 1.0.2\n", DINK_VERSION);
		return 0;
	}
	if (g->help || !argv[0] || STREQ(argv[0], "help")) {
		print_help(globals);
		return g->help || argv[0] ? 0 : 1;
	}
	if (g->log_format && !STREQ(g->log_format, "json") && !STREQ(g->log_format, "text"))
		return dink_err_set(err, DINK_E_USAGE, 0, "--log-format is text or json, not %s",
				    g->log_format);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!STREQ(commands[i].name, argv[0]))
			continue;
		if (!commands[i].usage || !wants_help(argv[1]))
			return commands[i].fn(g, argv + 1, err);
		printf("usage: dink-vm [OPTIONS] %s %s\n%s\n", commands[i].name, commands[i].usage,
		       commands[i].summary);
		return 0;
	}
	return dink_err_set(err, DINK_E_USAGE, 0, "unknown command %s: see dink-vm --help",
			    argv[0]);
}

int main(_unused_ int argc, char **argv)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct vm_globals g = {.root = DINK_VM_ROOT};
	const struct vm_opt globals[] = {
		{0, "root", VM_OPT_STRING, &g.root, "state folder (/run/dink-vm)"},
		{0, "log", VM_OPT_STRING, &g.log, "append errors to this file too"},
		{0, "log-format", VM_OPT_STRING, &g.log_format, "text or json"},
		{0, "systemd-cgroup", VM_OPT_FLAG, &g.systemd_cgroup,
		 "the cgroup's path is slice:prefix:name; it is made without systemd"},
		{0, "criu", VM_OPT_STRING, &g.ignored, "accepted: a checkpoint is QEMU's"},
		{0, "rootless", VM_OPT_STRING, &g.ignored, "accepted, as runc's"},
		{0, "debug", VM_OPT_FLAG, &g.debug,
		 "words about what is done, on stderr; of `run` the time of each stage"},
		{0, "guest", VM_OPT_STRING, &g.guest, "folder with vmlinux and initramfs.cpio"},
		{0, "memory", VM_OPT_STRING, &g.memory, "VM size where no limit is set (512M)"},
		{0, "cpus", VM_OPT_STRING, &g.cpus, "virtual CPUs where no limit is set (1)"},
		{0, "accel", VM_OPT_STRING, &g.accel, "auto, tcg or kvm (auto)"},
		{0, "ram-dir", VM_OPT_STRING, &g.ram_dir,
		 "where the memory of VMs that can be saved lies (the state folder)"},
		{0, "template-dir", VM_OPT_STRING, &g.template_dir,
		 "where booted guests are kept to start from, or none (ROOT/.templates)"},
		{0, "boot-timeout", VM_OPT_STRING, &g.boot_timeout,
		 "seconds until a guest that is not ready is given up (180)"},
		{'h', "help", VM_OPT_FLAG, &g.help, "this text"},
		{'v', "version", VM_OPT_FLAG, &g.version, "the version"},
		{},
	};
	vm_stand_in();
	int r = vm_parse(NULL, argv + 1, globals, &err);

	if (r >= 0)
		r = dispatch(&g, argv + 1 + r, globals, &err);
	if (!dink_err_is_set(&err))
		return r < 0 ? 1 : r;
	_cleanup_free_ char *msg = flatten(&err);
	vm_log(&g, "error", msg);
	fprintf(stderr, "dink-vm: %s\n", msg);
	return r > 0 ? r : 1;
}
