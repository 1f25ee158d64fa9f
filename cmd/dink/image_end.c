/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where images come from and go to besides daemons: docker archives, which are read and written
 * here, and by skopeo OCI layouts, registries and whatever else it knows. Between skopeo and a
 * daemon is a docker archive in a folder of ours. Credentials stay in the user's file: its path is
 * all that is handed on, and only to skopeo.
 */
#include "cmd/dink/image.h"

#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/proc.h"

static const char archive_scheme[] = "docker-archive:";
static const char *const skopeo_schemes[] = {"oci:", "oci-archive:", "docker://", "dir:"};

static const char *find_scheme(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(skopeo_schemes); i++)
		if (dink_starts_with(word, skopeo_schemes[i]))
			return skopeo_schemes[i];
	return NULL;
}

bool cmd_image_end_is_other(const char *word)
{
	return dink_starts_with(word, archive_scheme) || find_scheme(word);
}

static int make_folder(struct cmd_image_end *e, struct dink_err *err)
{
	char *dir = dink_temp_path("/var/tmp", "dink-image-XXXXXX");

	if (!mkdtemp(dir)) {
		int r = dink_err_set(err, DINK_E_HOST, errno, "make %s", dir);

		free(dir);
		return r;
	}
	e->dir = dir;
	e->file = xasprintf("%s/image.tar", dir);
	return 0;
}

int cmd_image_end_open(const char *word, bool target, struct cmd_image_end *ret,
		       struct dink_err *err)
{
	const char *scheme = find_scheme(word), *path = word + strlen(archive_scheme);

	ret->name = xstrdup(word);
	if (scheme && word[strlen(scheme)]) {
		ret->skopeo = ret->name;
		return make_folder(ret, err);
	}
	if (!dink_starts_with(word, archive_scheme) && !scheme)
		return cmd_daemon_open(word, &ret->daemon, err);
	if (scheme || !path[0])
		return dink_err_set(err, DINK_E_USAGE, 0, "%s names nothing", word);
	if (target && dink_exists(path)) {
		(void)dink_err_set(err, DINK_E_BUSY, EEXIST, "%s", path);
		return dink_err_hint(err, "remove it, or name another file");
	}
	ret->file = xstrdup(path);
	return 0;
}

static int run_skopeo(const struct cmd_skopeo_opts *o, const char *side, const char *from,
		      const char *to, struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	int r;

	dink_cmd_argv(&cmd, "skopeo", "copy", "--quiet", NULL);
	if (o->authfile)
		dink_strv_addf(&cmd.argv, "--%s-authfile=%s", side, o->authfile);
	if (o->insecure)
		dink_strv_addf(&cmd.argv, "--%s-tls-verify=false", side);
	dink_strv_addl(&cmd.argv, "--", from, to, NULL);
	r = dink_cmd_run(&cmd, err);
	if (r == -ENOENT)
		return dink_err_hint(err, "apt-get install skopeo");
	return r;
}

/* "docker://registry/app" is called "registry/app:latest"; NULL where the address has no name. */
static char *name_from_address(const char *address)
{
	const char *ref = address + strlen("docker://"), *slash;

	if (!dink_starts_with(address, "docker://") || strchr(ref, '@'))
		return NULL;
	slash = strrchr(ref, '/');
	return xasprintf("%s%s", ref, strchr(slash ? slash : ref, ':') ? "" : ":latest");
}

int cmd_image_end_fetch(const struct cmd_image_end *e, const struct cmd_skopeo_opts *o,
			const char *as, struct dink_err *err)
{
	_cleanup_free_ char *name = as || !e->skopeo ? NULL : name_from_address(e->skopeo);
	_cleanup_free_ char *to = NULL;

	if (!e->skopeo)
		return 0;
	if (as)
		name = xstrdup(as);
	to = xasprintf("%s%s%s%s", archive_scheme, e->file, name ? ":" : "", name ? name : "");
	return run_skopeo(o, "src", e->skopeo, to, err);
}

int cmd_image_end_store(const struct cmd_image_end *e, const struct cmd_skopeo_opts *o,
			struct dink_err *err)
{
	_cleanup_free_ char *from = NULL;

	if (!e->skopeo)
		return 0;
	from = xasprintf("%s%s", archive_scheme, e->file);
	return run_skopeo(o, "dest", from, e->skopeo, err);
}

void cmd_image_end_close(struct cmd_image_end *e)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};

	cmd_daemon_close(&e->daemon);
	/* what cannot be removed is a temporary file in a folder for such */
	if (e->dir && dink_rm_rf(e->dir, &ignored) < 0)
		dink_err_clear(&ignored);
	free(e->dir);
	free(e->file);
	free(e->name);
	*e = (struct cmd_image_end){};
}
