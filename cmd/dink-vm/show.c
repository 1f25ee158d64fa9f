/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that print: state, list, ps, spec, features. */
#include "cmd/dink-vm/vm.h"

#include "provision/base/file.h"

enum { STATE_MS = 5000 };

const char *vm_status(const struct dink_vmstate *s, char buf[32])
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_json_ struct json_object *answer = NULL;
	struct json_object *req = dink_json_new();

	dink_json_set_str(req, "op", "state");
	if (dink_vmstate_call(s, req, STATE_MS, &answer, &ignored) < 0)
		snprintf(buf, 32, "%s",
			 dink_vmstate_alive(s) || (s->monitor.pid == 0 && vm_has_creator(s))
				 ? "creating"
				 : "stopped");
	else
		snprintf(buf, 32, "%s", dink_json_str_or(answer, "status", "unknown"));
	return buf;
}

static struct json_object *make_view(const struct dink_vmstate *s)
{
	struct json_object *o = dink_json_new();
	struct json_object *a = dink_json_get(s->doc, "annotations");
	char buf[32];

	dink_json_set_str(o, "ociVersion", dink_json_str_or(s->doc, "ociVersion", "1.0.2"));
	dink_json_set_str(o, "id", s->id);
	vm_status(s, buf);
	/* until its exit code is there; Podman's stop and rm -f fail if they meet an end half made */
	if (STREQ(buf, "stopping"))
		snprintf(buf, sizeof(buf), "running");
	dink_json_set_int(o, "pid", STREQ(buf, "stopped") ? 0 : s->monitor.pid);
	dink_json_set_str(o, "status", buf);
	dink_json_set_str(o, "bundle", dink_json_str_or(s->doc, "bundle", ""));
	dink_json_set_str(o, "rootfs", dink_json_str_or(s->doc, "rootfs", ""));
	dink_json_set_str(o, "created", dink_json_str_or(s->doc, "created", ""));
	if (a)
		dink_json_set(o, "annotations", json_object_get(a));
	dink_json_set_str(o, "owner", "");
	return o;
}

int vm_state(const struct vm_globals *g, char **argv, struct dink_err *err)
{
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *s = NULL;
	const char *id;
	int r = vm_parse_id("state", argv, NULL, &id, err);

	if (r >= 0)
		r = dink_vmstate_load(g->root, id, &s, err);
	if (r < 0)
		return r;
	_cleanup_json_ struct json_object *view = make_view(s);
	_cleanup_free_ char *text = dink_json_text(view);
	fputs(text, stdout);
	return 0;
}

static int check_format(const char *format, bool *ret_json, struct dink_err *err)
{
	if (!STREQ(format, "table") && !STREQ(format, "json"))
		return dink_err_set(err, DINK_E_USAGE, 0, "--format is table or json, not %s",
				    format);
	*ret_json = STREQ(format, "json");
	return 0;
}

static struct json_object *collect(const char *root)
{
	struct json_object *all = json_object_new_array();
	_cleanup_closedir_ DIR *d = opendir(root);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		_cleanup_(dink_err_clear) struct dink_err ignored = {};
		_cleanup_(dink_vmstate_freep) struct dink_vmstate *s = NULL;
		if (e->d_name[0] != '.' && dink_vmstate_load(root, e->d_name, &s, &ignored) == 0)
			json_object_array_add(all, make_view(s));
	}
	return all;
}

int vm_list(const struct vm_globals *g, char **argv, struct dink_err *err)
{
	bool quiet = false, json = false;
	const char *format = "table";
	const struct vm_opt opts[] = {{'q', "quiet", VM_OPT_FLAG, &quiet, NULL},
				      {'f', "format", VM_OPT_STRING, &format, NULL},
				      {}};
	int r = vm_parse("list", argv, opts, err);

	if (r >= 0)
		r = check_format(format, &json, err);
	if (r < 0)
		return r;
	vm_sweep(g->root);
	vm_sweep_templates(g);
	_cleanup_json_ struct json_object *all = collect(g->root);
	if (json && !quiet) {
		puts(json_object_to_json_string_ext(all, JSON_C_TO_STRING_PLAIN |
								 JSON_C_TO_STRING_NOSLASHESCAPE));
		return 0;
	}
	if (!quiet)
		printf("%-20s %-8s %-9s %-40s %s\n", "ID", "PID", "STATUS", "BUNDLE", "CREATED");
	for (size_t i = 0; i < json_object_array_length(all); i++) {
		struct json_object *o = json_object_array_get_idx(all, i);
		if (quiet)
			puts(dink_json_str_or(o, "id", ""));
		else
			printf("%-20s %-8lld %-9s %-40s %s\n", dink_json_str_or(o, "id", ""),
			       (long long)dink_json_int_or(o, "pid", 0),
			       dink_json_str_or(o, "status", ""), dink_json_str_or(o, "bundle", ""),
			       dink_json_str_or(o, "created", ""));
	}
	return 0;
}

/* The guest's words: nothing of them may reach a terminal as a control sequence. */
static void print_args(struct json_object *args)
{
	size_t n = json_object_is_type(args, json_type_array) ? json_object_array_length(args) : 0;

	for (size_t i = 0; i < n; i++) {
		const char *c = json_object_get_string(json_object_array_get_idx(args, i));
		for (; c && *c; c++)
			putchar((unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c);
		if (i + 1 < n)
			putchar(' ');
	}
	putchar('\n');
}

/* Docker looks the pids up among the host's. */
static int print_ps(const struct dink_vmstate *s, struct json_object *answer, bool json)
{
	struct json_object *list = dink_json_get(answer, "processes");

	if (json) {
		_cleanup_json_ struct json_object *pids = vm_put_standins(s, list);
		puts(json_object_to_json_string_ext(pids, JSON_C_TO_STRING_PLAIN));
		return 0;
	}
	printf("%-8s %-8s %-8s %s\n", "PID", "PPID", "UID", "COMMAND");
	for (size_t i = 0;
	     json_object_is_type(list, json_type_array) && i < json_object_array_length(list);
	     i++) {
		struct json_object *p = json_object_array_get_idx(list, i);
		printf("%-8lld %-8lld %-8lld ", (long long)dink_json_int_or(p, "pid", 0),
		       (long long)dink_json_int_or(p, "ppid", 0),
		       (long long)dink_json_int_or(p, "uid", 0));
		print_args(dink_json_get(p, "args"));
	}
	return 0;
}

int vm_ps(const struct vm_globals *g, char **argv, struct dink_err *err)
{
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *s = NULL;
	_cleanup_json_ struct json_object *answer = NULL;
	bool json = false;
	const char *format = "table";
	const struct vm_opt opts[] = {{'f', "format", VM_OPT_STRING, &format, NULL}, {}};
	int n = vm_parse("ps", argv, opts, err);

	if (n < 0)
		return n;
	if (!argv[n])
		return dink_err_set(err, DINK_E_USAGE, 0, "ps needs a container id");
	int r = check_format(format, &json, err);
	if (r == 0)
		r = dink_vmstate_load(g->root, argv[n], &s, err);
	struct json_object *req = dink_json_new();
	dink_json_set_str(req, "op", "ps");
	if (r < 0) {
		json_object_put(req);
		return r;
	}
	r = dink_vmstate_call(s, req, STATE_MS, &answer, err);
	return r < 0 ? r : print_ps(s, answer, json);
}

/* --- spec and features --- */

static const char spec_text[] =
	"{\"ociVersion\":\"1.0.2\",\"process\":{\"terminal\":true,\"user\":{\"uid\":0,\"gid\":0},"
	"\"args\":[\"sh\"],\"env\":[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/"
	"sbin:/bin\","
	"\"TERM=xterm\"],\"cwd\":\"/\",\"capabilities\":{"
	"\"bounding\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"],"
	"\"effective\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"],"
	"\"permitted\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"]},"
	"\"noNewPrivileges\":true},\"root\":{\"path\":\"rootfs\",\"readonly\":true},"
	"\"hostname\":\"dink-vm\",\"mounts\":["
	"{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
	"{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\","
	"\"options\":[\"nosuid\",\"strictatime\",\"mode=755\",\"size=65536k\"]},"
	"{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\","
	"\"options\":[\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid="
	"5\"]},"
	"{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\",\"source\":\"shm\","
	"\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size=65536k\"]},"
	"{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\","
	"\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]}],"
	"\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\"},{\"type\":\"ipc\"},"
	"{\"type\":\"uts\"},{\"type\":\"mount\"},{\"type\":\"cgroup\"}]}}";

int vm_spec(_unused_ const struct vm_globals *g, char **argv, struct dink_err *err)
{
	const char *bundle = ".";
	bool ignored;
	const struct vm_opt opts[] = {{'b', "bundle", VM_OPT_STRING, &bundle, NULL},
				      {0, "rootless", VM_OPT_FLAG, &ignored, NULL},
				      {}};
	_cleanup_json_ struct json_object *o = NULL;
	int r = vm_parse("spec", argv, opts, err);

	if (r < 0)
		return r;
	_cleanup_free_ char *path = xasprintf("%s/config.json", bundle);
	if (dink_exists(path))
		return dink_err_set(err, DINK_E_BUSY, EEXIST, "%s", path);
	r = dink_json_parse(spec_text, sizeof(spec_text) - 1, "spec", &o, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *text = dink_json_text(o);
	return dink_file_write(path, text, strlen(text), 0644, err);
}

static const char features_text[] =
	"{\"ociVersionMin\":\"1.0.0\",\"ociVersionMax\":\"1.2.0\","
	"\"hooks\":[\"prestart\",\"createRuntime\",\"poststart\",\"poststop\"],"
	"\"mountOptions\":["
	"\"async\",\"atime\",\"bind\",\"defaults\",\"dev\",\"diratime\",\"dirsync\","
	"\"exec\",\"noatime\",\"nodev\",\"nodiratime\",\"noexec\",\"norelatime\","
	"\"nostrictatime\",\"nosuid\",\"private\",\"ratime\",\"rbind\",\"rdev\","
	"\"rdiratime\",\"relatime\",\"remount\",\"rexec\",\"rnoatime\",\"rnodev\","
	"\"rnodiratime\",\"rnoexec\",\"rnorelatime\",\"rnostrictatime\",\"rnosuid\","
	"\"ro\",\"rprivate\",\"rrelatime\",\"rro\",\"rrw\",\"rshared\",\"rslave\","
	"\"rstrictatime\",\"rsuid\",\"runbindable\",\"rw\",\"shared\",\"slave\","
	"\"strictatime\",\"suid\",\"sync\",\"tmpcopyup\",\"unbindable\""
	"],\"linux\":{\"namespaces\":[\"cgroup\",\"ipc\",\"mount\",\"network\",\"pid\",\"user\","
	"\"uts\"],"
	"\"capabilities\":["
	"\"CAP_CHOWN\",\"CAP_DAC_OVERRIDE\",\"CAP_DAC_READ_SEARCH\",\"CAP_FOWNER\","
	"\"CAP_FSETID\",\"CAP_KILL\",\"CAP_SETGID\",\"CAP_SETUID\",\"CAP_SETPCAP\","
	"\"CAP_LINUX_IMMUTABLE\",\"CAP_NET_BIND_SERVICE\",\"CAP_NET_BROADCAST\","
	"\"CAP_NET_ADMIN\",\"CAP_NET_RAW\",\"CAP_IPC_LOCK\",\"CAP_IPC_OWNER\","
	"\"CAP_SYS_MODULE\",\"CAP_SYS_RAWIO\",\"CAP_SYS_CHROOT\",\"CAP_SYS_PTRACE\","
	"\"CAP_SYS_PACCT\",\"CAP_SYS_ADMIN\",\"CAP_SYS_BOOT\",\"CAP_SYS_NICE\","
	"\"CAP_SYS_RESOURCE\",\"CAP_SYS_TIME\",\"CAP_SYS_TTY_CONFIG\",\"CAP_MKNOD\","
	"\"CAP_LEASE\",\"CAP_AUDIT_WRITE\",\"CAP_AUDIT_CONTROL\",\"CAP_SETFCAP\","
	"\"CAP_MAC_OVERRIDE\",\"CAP_MAC_ADMIN\",\"CAP_SYSLOG\",\"CAP_WAKE_ALARM\","
	"\"CAP_BLOCK_SUSPEND\",\"CAP_AUDIT_READ\",\"CAP_PERFMON\",\"CAP_BPF\","
	"\"CAP_CHECKPOINT_RESTORE\""
	"],\"cgroup\":{\"v1\":true,\"v2\":true,\"systemd\":false,\"systemdUser\":false},"
	"\"seccomp\":{\"enabled\":true,\"actions\":["
	"\"SCMP_ACT_ALLOW\",\"SCMP_ACT_ERRNO\",\"SCMP_ACT_KILL\","
	"\"SCMP_ACT_KILL_PROCESS\",\"SCMP_ACT_KILL_THREAD\",\"SCMP_ACT_LOG\","
	"\"SCMP_ACT_TRACE\",\"SCMP_ACT_TRAP\""
	"],\"operators\":["
	"\"SCMP_CMP_EQ\",\"SCMP_CMP_GE\",\"SCMP_CMP_GT\",\"SCMP_CMP_LE\",\"SCMP_CMP_LT\","
	"\"SCMP_CMP_MASKED_EQ\",\"SCMP_CMP_NE\""
	"],\"archs\":["
	"\"SCMP_ARCH_X32\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X86_64\""
	"]},\"apparmor\":{\"enabled\":false},\"selinux\":{\"enabled\":false},"
	"\"intelRdt\":{\"enabled\":false}},"
	"\"annotations\":{\"dink.vm\":\"qemu\"}}";

int vm_features(_unused_ const struct vm_globals *g, char **argv, struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = NULL;
	int r = vm_parse("features", argv, NULL, err);

	if (r >= 0)
		r = dink_json_parse(features_text, sizeof(features_text) - 1, "features", &o, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *text = dink_json_text(o);
	fputs(text, stdout);
	return 0;
}
