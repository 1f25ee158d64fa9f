/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where kernel sources come from: a linux-source package that apt knows (downloaded, never
 * installed, so any user can), or a tarball with its checksum. The identity is known before
 * anything is downloaded, since the cache's key needs it.
 */
#include "kernel-configs/internal.h"

#include "provision/base/file.h"
#include "provision/base/hash.h"
#include "provision/base/json.h"
#include "provision/base/log.h"
#include "provision/base/proc.h"

#include <sys/stat.h>

#define PACKAGE_PREFIX "linux-source-"

void dink_kernel_source_clear(struct dink_kernel_source *s)
{
	free(s->package);
	free(s->version);
	free(s->tarball);
	free(s->sha256);
	free(s->identity);
	free(s->stamp);
	*s = (struct dink_kernel_source){};
}

/* "Depends: linux-source-6.1 (= 6.1.192-2)" -> "linux-source-6.1" */
char *dink_kernel_depends(const char *apt_show)
{
	const char *s = strstr(apt_show, "\nDepends: " PACKAGE_PREFIX);
	size_t n;

	if (!s)
		return NULL;
	s += strlen("\nDepends: ");
	n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789.-");
	return n > strlen(PACKAGE_PREFIX) ? xstrndup(s, n) : NULL;
}

/* The value of a field at the start of a line, NULL if it is not there. */
static char *field_of(const char *text, const char *name)
{
	_cleanup_free_ char *needle = xasprintf("\n%s: ", name);
	const char *s = strstr(text, needle);

	return s ? xstrndup(s + strlen(needle), strcspn(s + strlen(needle), "\n")) : NULL;
}

/* Changes whenever apt could answer differently: reading apt's lists anew takes 0.3 s a call. */
static char *apt_stamp(const char *asked)
{
	static const char *const watched[] = {
		"/var/lib/apt/lists",	"/etc/apt/sources.list",  "/etc/apt/sources.list.d",
		"/etc/apt/preferences", "/etc/apt/preferences.d", "/etc/apt/apt.conf",
		"/etc/apt/apt.conf.d",	"/var/lib/dpkg/arch",
	};
	_cleanup_str_ struct dink_str s = {};

	dink_str_add(&s, asked);
	for (size_t i = 0; i < ARRAY_SIZE(watched); i++) {
		struct stat st = {};

		if (stat(watched[i], &st) < 0)
			st.st_mtim.tv_sec = 0;
		dink_str_addf(&s, " %lld.%09ld", (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	}
	return dink_str_take(&s);
}

static char *sources_dir(void)
{
	_cleanup_free_ char *cache = dink_kernel_cache();

	return xasprintf("%s/sources", cache);
}

static bool recall_package(const char *stamp, struct dink_kernel_source *ret)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *dir = sources_dir();
	_cleanup_free_ char *path = xasprintf("%s/apt.json", dir);
	_cleanup_json_ struct json_object *o = NULL;
	const char *package, *version, *sha256;

	if (!dink_exists(path) || dink_json_parse_file(path, &o, &ignored) < 0 ||
	    !STREQ(dink_json_str_or(o, "stamp", ""), stamp))
		return false;
	package = dink_json_str_or(o, "package", NULL);
	version = dink_json_str_or(o, "version", NULL);
	sha256 = dink_json_str_or(o, "sha256", NULL);
	if (!package || !version || !sha256)
		return false;
	ret->package = xstrdup(package);
	ret->version = xstrdup(version);
	ret->sha256 = xstrdup(sha256);
	return true;
}

void dink_kernel_source_remember(const struct dink_kernel_source *s)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *dir = sources_dir();
	_cleanup_free_ char *path = xasprintf("%s/apt.json", dir);
	_cleanup_json_ struct json_object *o = dink_json_new();
	_cleanup_free_ char *text = NULL;

	if (!s->stamp)
		return;
	dink_json_set_str(o, "stamp", s->stamp);
	dink_json_set_str(o, "package", s->package);
	dink_json_set_str(o, "version", s->version);
	dink_json_set_str(o, "sha256", s->sha256);
	text = dink_json_text(o);
	if (dink_mkdir_p(dir, 0755, &ignored) < 0 ||
	    dink_file_write(path, text, strlen(text), 0644, &ignored) < 0)
		dink_debug("kernel", "%s not written: %s", path, ignored.msg);
}

static int refuse_package(const char *package, struct dink_err *err)
{
	int r = dink_err_set(err, DINK_E_HOST, ENOENT, "apt knows no package %s", package);

	dink_err_hint(err, "apt-get update (as root) fetches apt's lists; or give a tarball and its"
			   " sha256 as the kernel's source");
	return r;
}

/* `apt-cache show` of one package, with a newline before so that each field starts with one. */
static int show_package(const char *package, char **ret, struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	int r;

	dink_cmd_argv(&cmd, "apt-cache", "show", "--no-all-versions", package, NULL);
	cmd.ok_to_fail = true;
	cmd.timeout_ms = 60000;
	dink_strv_add(&cmd.env, "LC_ALL=C");
	r = dink_cmd_run(&cmd, err);
	if (r < 0) {
		if (r == -ENOENT)
			dink_err_hint(err, "without apt, give a tarball and its sha256 as the"
					   " kernel's source");
		return r;
	}
	if (cmd.status != 0 || !cmd.output || !*cmd.output)
		return refuse_package(package, err);
	*ret = xasprintf("\n%s", cmd.output);
	return 0;
}

static int ask_apt(const char *asked, struct dink_kernel_source *ret, struct dink_err *err)
{
	_cleanup_free_ char *text = NULL, *package = NULL;
	int r;

	if (STREQ(asked, "linux-source")) {
		r = show_package(asked, &text, err);
		if (r < 0)
			return r;
		package = dink_kernel_depends(text);
		free(TAKE_PTR(text));
		if (!package)
			return refuse_package(asked, err);
	} else {
		package = xstrdup(asked);
	}
	r = show_package(package, &text, err);
	if (r < 0)
		return r;
	ret->package = TAKE_PTR(package);
	ret->version = field_of(text, "Version");
	ret->sha256 = field_of(text, "SHA256");
	if (!ret->version || !ret->sha256)
		return refuse_package(ret->package, err);
	return 0;
}

static int find_package(const char *source, struct dink_kernel_source *ret, struct dink_err *err)
{
	_cleanup_free_ char *asked = NULL, *stamp = NULL;
	int r = 0;

	asked = source[0] ? xasprintf(PACKAGE_PREFIX "%s", source + 1) : xstrdup("linux-source");
	if (strspn(asked, "abcdefghijklmnopqrstuvwxyz0123456789.-") != strlen(asked))
		return refuse_package(asked, err);
	stamp = apt_stamp(asked);
	if (!recall_package(stamp, ret)) {
		r = ask_apt(asked, ret, err);
		if (r < 0)
			return r;
		ret->stamp = TAKE_PTR(stamp);
	}
	ret->identity = xasprintf("debian %s %s", ret->package, ret->version);
	return 0;
}

static int find_tarball(const struct dink_kernel_want *w, struct dink_kernel_source *ret,
			struct dink_err *err)
{
	int r;

	if (!w->sha256) {
		r = dink_err_set(err, DINK_E_USAGE, 0, "the kernel tarball %s needs its sha256",
				 w->source);
		return dink_err_hint(err, "sha256sum %s", w->source), r;
	}
	if (strlen(w->sha256) != 64 || strspn(w->sha256, "0123456789abcdefABCDEF") != 64)
		return dink_err_set(err, DINK_E_USAGE, 0,
				    "\"%s\" is no sha256: expected 64 hexadecimal digits",
				    w->sha256);
	ret->tarball = xstrdup(w->source);
	ret->sha256 = xstrdup(w->sha256);
	for (char *p = ret->sha256; *p; p++)
		if (*p >= 'A' && *p <= 'F')
			*p = (char)(*p - 'A' + 'a');
	ret->identity = xasprintf("tarball %s", ret->sha256);
	return 0;
}

int dink_kernel_source_find(const struct dink_kernel_want *w, struct dink_kernel_source *ret,
			    struct dink_err *err)
{
	_cleanup_(dink_kernel_source_clear) struct dink_kernel_source s = {};
	const char *source = w->source ? w->source : "debian";
	int r;

	if (STREQ(source, "debian") || dink_starts_with(source, "debian:"))
		r = find_package(source + strlen("debian"), &s, err);
	else
		r = find_tarball(w, &s, err);
	if (r < 0)
		return dink_err_push(err, "looking for kernel sources");
	*ret = s;
	s = (struct dink_kernel_source){};
	return 0;
}

static bool file_matches(const char *path, const char *sha256)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	char hex[65];

	return dink_exists(path) && dink_sha256_file(path, hex, &ignored) >= 0 &&
	       STREQ(hex, sha256);
}

/* "1:6.1" is 1%3a6.1 in the file's name */
static char *deb_path(const struct dink_kernel_source *s)
{
	_cleanup_free_ char *dir = sources_dir();
	_cleanup_str_ struct dink_str path = {};

	dink_str_addf(&path, "%s/%s_", dir, s->package);
	for (const char *p = s->version; *p; p++) {
		if (*p == ':')
			dink_str_add(&path, "%3a");
		else
			dink_str_addc(&path, *p);
	}
	dink_str_add(&path, "_all.deb");
	return dink_str_take(&path);
}

static int download_deb(const struct dink_kernel_source *s, const char *path, struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	_cleanup_free_ char *dir = sources_dir();
	int r = dink_mkdir_p(dir, 0755, err);

	if (r < 0)
		return r;
	dink_cmd_argv(&cmd, "apt-get", "-q", "download", NULL);
	/* apt's own user could not write into a cache of ours */
	if (geteuid() == 0)
		dink_strv_addl(&cmd.argv, "-o", "APT::Sandbox::User=root", NULL);
	dink_strv_addf(&cmd.argv, "%s=%s", s->package, s->version);
	dink_strv_add(&cmd.env, "LC_ALL=C");
	cmd.dir = dir;
	r = dink_cmd_run(&cmd, err);
	if (r < 0) {
		if (r != -EINTR)
			dink_err_hint(err, "if the version is gone from the mirror: apt-get update"
					   " (as root)");
		return dink_err_push(err, "downloading %s %s", s->package, s->version);
	}
	if (!file_matches(path, s->sha256))
		return dink_err_set(err, DINK_E_HOST, 0,
				    "%s is not the package that apt described (sha256 differs)",
				    path);
	return 0;
}

/*
 * What no build for x86 reads is left in the archive: half of the sources by size. Kconfig files
 * stay, they refer to each other across folders.
 */
static int unpack_tar(const char *tarball, const char *dir, struct dink_err *err)
{
	static const char *const unread[] = {
		"*/drivers/gpu/*.[chS]",
		"*/sound/*.[ch]",
		"*/drivers/media/*.[ch]",
		"*/tools/testing",
		"*/tools/perf",
		"*/Documentation/*.rst",
		"*/Documentation/*.yaml",
		"*/drivers/net/ethernet/*.[ch]",
		"*/drivers/net/wireless/*.[ch]",
		"*/arch/[a-t]*/*.[chS]",
		"*.dts",
		"*.dtsi",
	};
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	_cleanup_free_ char *kconfig = xasprintf("%s/Kconfig", dir);
	int r;

	dink_cmd_argv(&cmd, "tar", "-xf", tarball, "-C", dir, "--strip-components=1",
		      "--no-same-owner", "--wildcards", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(unread); i++)
		dink_strv_addf(&cmd.argv, "--exclude=%s", unread[i]);
	r = dink_cmd_run(&cmd, err);
	if (r < 0)
		return r;
	if (!dink_exists(kconfig))
		return dink_err_set(err, DINK_E_HOST, 0,
				    "%s holds no kernel sources: no Kconfig in it", tarball);
	return 0;
}

static int unpack_deb(const struct dink_kernel_source *s, const char *deb, const char *dir,
		      struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	_cleanup_free_ char *outer = xasprintf("%s.deb", dir);
	_cleanup_free_ char *tarball = xasprintf("%s/usr/src/%s.tar.xz", outer, s->package);
	int r;

	dink_cmd_argv(&cmd, "dpkg-deb", "-x", deb, outer, NULL);
	r = dink_cmd_run(&cmd, err);
	if (r >= 0)
		r = unpack_tar(tarball, dir, err);
	if (r < 0)
		return r;
	return dink_rm_rf(outer, err);
}

static int unpack_tarball(const struct dink_kernel_source *s, const char *dir, struct dink_err *err)
{
	char hex[65];
	int r = dink_sha256_file(s->tarball, hex, err);

	if (r < 0)
		return r;
	if (!STREQ(hex, s->sha256)) {
		r = dink_err_set(err, DINK_E_HOST, 0, "%s has sha256 %s, not %s", s->tarball, hex,
				 s->sha256);
		dink_err_hint(err, "the file is damaged, or is not the one that was meant");
		return r;
	}
	return unpack_tar(s->tarball, dir, err);
}

int dink_kernel_source_unpack(const struct dink_kernel_source *s, const char *dir,
			      const struct dink_progress *p, struct dink_err *err)
{
	_cleanup_free_ char *deb = NULL;
	int r = 0;

	if (s->tarball) {
		dink_progress(p, "unpacking kernel sources", 0, 0);
		r = unpack_tarball(s, dir, err);
		return r < 0 ? dink_err_push(err, "unpacking kernel sources") : 0;
	}
	deb = deb_path(s);
	if (!file_matches(deb, s->sha256)) {
		dink_progress(p, "downloading kernel sources", 0, 0);
		r = download_deb(s, deb, err);
		if (r < 0)
			return r;
	}
	dink_progress(p, "unpacking kernel sources", 0, 0);
	r = unpack_deb(s, deb, dir, err);
	return r < 0 ? dink_err_push(err, "unpacking %s", deb) : 0;
}
