/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache of built kernels: CACHE/kernels/KEY/. A folder of that name is whole, since it appears
 * by rename(2); nothing in it changes afterwards.
 */
#include "kernel-configs/build.h"

#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/hash.h"
#include "provision/base/json.h"
#include "provision/base/proc.h"

/* Raised when the steps of a build change so that earlier results must not be reused. */
#define BUILDER_VERSION "dink kernel builder 1"

char *dink_kernel_cache(void)
{
	return xasprintf("%s/kernels", dink_cache_dir());
}

void dink_kernel_clear(struct dink_kernel *k)
{
	free(k->dir);
	free(k->vmlinux);
	free(k->bzimage);
	free(k->config);
	free(k->release);
	free(k->key);
	*k = (struct dink_kernel){};
}

void dink_kernel_key(const char *identity, const char *merged, const char *compiler,
		     char ret_hex[65])
{
	struct dink_hash *h = dink_hash_new();

	dink_hash_adds(h, BUILDER_VERSION);
	dink_hash_adds(h, identity);
	dink_hash_adds(h, merged);
	dink_hash_adds(h, compiler);
	dink_hash_end(h, ret_hex);
}

/* "gcc (Debian 12.2.0-14) 12.2.0, GNU ld (GNU Binutils for Debian) 2.40" */
static int find_compiler(char **ret, struct dink_err *err)
{
	static const char *const tools[] = {"gcc", "ld"};
	_cleanup_str_ struct dink_str s = {};

	for (size_t i = 0; i < ARRAY_SIZE(tools); i++) {
		_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
		int r;

		dink_cmd_argv(&cmd, tools[i], "--version", NULL);
		dink_strv_add(&cmd.env, "LC_ALL=C");
		r = dink_cmd_run(&cmd, err);
		if (r < 0) {
			if (r == -ENOENT)
				dink_err_hint(err, "apt-get install build-essential bc bison flex"
						   " libelf-dev");
			return dink_err_push(err, "looking for a compiler");
		}
		dink_str_addf(&s, "%s%.*s", i ? ", " : "", (int)strcspn(cmd.output, "\n"),
			      cmd.output);
	}
	*ret = dink_str_take(&s);
	return 0;
}

void dink_kernel_job_clear(struct dink_kernel_job *job)
{
	dink_kernel_source_clear(&job->source);
	dink_kconfig_clear(&job->merged);
	free(job->merged_text);
	free(job->compiler);
	free(job->dir);
	*job = (struct dink_kernel_job){};
}

/* Everything that is known without downloading or building. */
static int prepare_job(const struct dink_kernel_want *w, struct dink_kernel_job *job,
		       struct dink_err *err)
{
	_cleanup_free_ char *cache = dink_kernel_cache();
	int r;

	job->features = w->features;
	r = dink_kernel_merge(w->features, &job->merged, err);
	if (r >= 0)
		r = dink_kernel_source_find(w, &job->source, err);
	if (r >= 0)
		r = find_compiler(&job->compiler, err);
	if (r < 0)
		return r;
	job->merged_text = dink_kconfig_text(&job->merged);
	dink_kernel_key(job->source.identity, job->merged_text, job->compiler, job->key);
	job->dir = xasprintf("%s/%s", cache, job->key);
	return 0;
}

int dink_kernel_read(const char *dir, struct dink_kernel *ret, struct dink_err *err)
{
	_cleanup_(dink_kernel_clear) struct dink_kernel k = {
		.dir = xstrdup(dir),
		.vmlinux = xasprintf("%s/vmlinux", dir),
		.bzimage = xasprintf("%s/bzImage", dir),
		.config = xasprintf("%s/config", dir),
	};
	_cleanup_free_ char *path = xasprintf("%s/manifest.json", dir);
	_cleanup_json_ struct json_object *o = NULL;
	const char *release = NULL, *key = NULL;
	int r;

	if (!dink_exists(path))
		return -ENOENT;
	r = dink_json_parse_file(path, &o, err);
	if (r >= 0)
		r = dink_json_need_str(o, path, "release", &release, err);
	if (r >= 0)
		r = dink_json_need_str(o, path, "key", &key, err);
	if (r < 0) {
		dink_err_hint(err, "remove %s: it will be built again", dir);
		return r;
	}
	if (!dink_exists(k.vmlinux) || !dink_exists(k.bzimage)) {
		r = dink_err_set(err, DINK_E_STATE, ENOENT, "%s has lost its kernel", dir);
		dink_err_hint(err, "remove %s: it will be built again", dir);
		return r;
	}
	k.release = xstrdup(release);
	k.key = xstrdup(key);
	*ret = k;
	k = (struct dink_kernel){};
	return 0;
}

int dink_kernel_lookup(const struct dink_kernel_want *w, struct dink_kernel *ret,
		       struct dink_err *err)
{
	_cleanup_(dink_kernel_job_clear) struct dink_kernel_job job = {};
	int r = prepare_job(w, &job, err);

	return r < 0 ? r : dink_kernel_read(job.dir, ret, err);
}

int dink_kernel_get(const struct dink_kernel_want *w, const struct dink_progress *p,
		    struct dink_kernel *ret, struct dink_err *err)
{
	_cleanup_(dink_kernel_job_clear) struct dink_kernel_job job = {};
	int r = prepare_job(w, &job, err);

	if (r < 0)
		return r;
	dink_kernel_source_remember(&job.source);
	r = dink_kernel_read(job.dir, ret, err);
	if (r != -ENOENT || dink_err_is_set(err))
		return r;
	r = dink_kernel_build(&job, p, err);
	if (r < 0)
		return dink_err_push(err, "building a kernel from %s", job.source.identity);
	r = dink_kernel_read(job.dir, ret, err);
	if (r == -ENOENT && !dink_err_is_set(err))
		return dink_err_set(err, DINK_E_BUG, ENOENT, "%s was built and is not there",
				    job.dir);
	return r;
}
