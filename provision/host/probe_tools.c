/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that dink or its layers use, where they are and which version, and whether the
 * official Kata can be named by an engine here. Asking for a version runs the program, 20 of them
 * cost a quarter second: that is done where people read the answer, and for the two versions that
 * decide something.
 */
#include "provision/host/probe.h"

#include "provision/base/file.h"
#include "provision/base/proc.h"

struct tool {
	const char *name;
	const char *version_arg; /* NULL: not asked */
};

static const struct tool tools[] = {
	{"apt-get", "--version"},
	{"bc", "--version"},
	{"bison", "--version"},
	{"containerd-shim-kata-v2", "--version"},
	{"crun", "--version"},
	{"dockerd", "--version"},
	{"flex", "--version"},
	{"gcc", "--version"},
	{"guestfish", "--version"},
	{"iptables", "--version"},
	{"make", "--version"},
	{"mkfs.btrfs", "--version"},
	{"mkfs.erofs", "-V"},
	{"mkfs.ext4", "-V"},
	{"mmdebstrap", "--version"},
	{"podman", "--version"},
	{"qemu-system-x86_64", "--version"},
	{"runc", "--version"},
	{"runsc", "--version"},
	{"tini", "--version"},
	{"virtiofsd", "--version"},
};

char *dink_probe_find(const char *name)
{
	static const char *const dirs[] = {"/usr/local/sbin", "/usr/sbin",     "/sbin",
					   "/usr/libexec",    "/usr/lib/qemu", "/opt/kata/bin"};
	char *path = dink_which(name);

	for (size_t i = 0; !path && i < ARRAY_SIZE(dirs); i++) {
		path = xasprintf("%s/%s", dirs[i], name);
		if (access(path, X_OK) < 0) {
			free(path);
			path = NULL;
		}
	}
	return path;
}

/* The first word that begins "N.N" or "vN.N", or "release-DATE.N": runsc's way. */
static char *version_in(const char *text)
{
	for (const char *p = text; p && *p; p++) {
		const char *digits = *p == 'v' ? p + 1 : p;
		bool at_start = p == text || strchr(" (\n\t-", p[-1]);
		size_t n = strspn(digits, "0123456789");

		if (at_start && n && digits[n] == '.' && digits[n + 1] >= '0' &&
		    digits[n + 1] <= '9')
			return xstrndup(digits, strcspn(digits, " ,)\n\t("));
	}
	return NULL;
}

static char *ask_version(const char *path, const char *arg)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	char *version;

	dink_cmd_argv(&cmd, path, arg, NULL);
	cmd.timeout_ms = 3000;
	cmd.ok_to_fail = true;
	if (dink_cmd_run(&cmd, &ignored) < 0)
		return NULL;
	version = version_in(cmd.output);
	return version ? version : version_in(cmd.errtail); /* mkfs.ext4 -V writes to stderr */
}

static void ask_one(struct dink_facts *f, const char *name)
{
	for (size_t i = 0; i < f->n_tools; i++)
		if (STREQ(f->tools[i].name, name) && f->tools[i].path)
			f->tools[i].version = ask_version(f->tools[i].path, "--version");
}

/*
 * Whether a containerd shim can be named depends on dockerd's version: dink_probe_kata(). Whether
 * runsc starts on a new kernel depends on its own: dink_runsc_is_fooled().
 */
static void ask_what_decides(struct dink_facts *f)
{
	if (dink_facts_tool(f, "containerd-shim-kata-v2"))
		ask_one(f, "dockerd");
	if (dink_runsc_is_fooled(f))
		ask_one(f, "runsc");
}

bool dink_runsc_is_fooled(const struct dink_facts *f)
{
	const struct dink_tool_fact *t = dink_facts_tool(f, "runsc");
	const char *version = t && t->version ? t->version : "";

	version += dink_starts_with(version, "0.0~") ? strlen("0.0~") : 0; /* as Debian has it */
	return dink_version_at_least(f->kernel_release, 6, 11) &&
	       !dink_version_at_least(version, 20250101, 0);
}

void dink_probe_tools(struct dink_facts *f, bool versions)
{
	f->tools = xcalloc(ARRAY_SIZE(tools), sizeof(*f->tools));
	for (size_t i = 0; i < ARRAY_SIZE(tools); i++) {
		struct dink_tool_fact *t = &f->tools[f->n_tools++];

		t->name = xstrdup(tools[i].name);
		t->path = dink_probe_find(tools[i].name);
		if (versions && t->path && tools[i].version_arg)
			t->version = ask_version(t->path, tools[i].version_arg);
	}
	if (!versions)
		ask_what_decides(f);
}

/* Docker names containerd shims since version 23; Podman never does. */
void dink_probe_kata(struct dink_facts *f)
{
	const struct dink_tool_fact *dockerd = dink_facts_tool(f, "dockerd");
	const char *seen = dockerd ? dockerd->version : NULL;

	if (!dink_facts_tool(f, "containerd-shim-kata-v2"))
		return dink_usable_no(&f->kata, "containerd-shim-kata-v2 is not installed");
	for (size_t i = 0; i < f->n_engines; i++) {
		if (f->engines[i].kind != DINK_ENGINE_DOCKER)
			continue;
		if (dink_version_at_least(f->engines[i].version, 23, 0))
			return dink_usable_yes(&f->kata);
		seen = f->engines[i].version;
	}
	if (dink_version_at_least(dockerd ? dockerd->version : NULL, 23, 0))
		return dink_usable_yes(&f->kata);
	if (seen)
		return dink_usable_no(&f->kata,
				      "Docker %s cannot name a containerd shim (23.0 can)", seen);
	dink_usable_no(&f->kata, "no Docker here can name a containerd shim (Podman never can)");
}
