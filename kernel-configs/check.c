/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Features -> one merged configuration, and what a configuration lacks of what features need:
 * before a build (any .config) and after olddefconfig (ours).
 */
#include "kernel-configs/kernel.h"

#include "kernel-configs/internal.h"
#include "provision/base/dirs.h"

static int refuse_feature(const char *name, struct dink_err *err)
{
	const char *near = dink_nearest(name, dink_kernel_features());
	int r = dink_err_set(err, DINK_E_USAGE, 0, "unknown kernel feature \"%s\"", name);

	if (near)
		dink_err_hint(err, "did you mean \"%s\"?", near);
	else
		dink_err_hint(err, "dink kernel list shows all features");
	return r;
}

static bool is_asked(const struct dink_strv *features, const char *name)
{
	return STREQ(name, "guest") || (features && dink_strv_has(features, name));
}

static int check_names(const struct dink_strv *features, struct dink_err *err)
{
	for (size_t i = 0; features && i < features->n; i++)
		if (!dink_kernel_feature_is_known(features->v[i]))
			return refuse_feature(features->v[i], err);
	return 0;
}

static int load_fragment(const char *name, struct dink_kconfig *ret, struct dink_err *err)
{
	_cleanup_free_ char *rel = xasprintf("kernel-configs/%s.config", name);
	_cleanup_free_ char *path = dink_data_file(rel);

	if (!path) {
		int r = dink_err_set(err, DINK_E_HOST, ENOENT, "find %s", rel);

		dink_err_hint(err, "DINK_DATA_DIR names the folder that holds kernel-configs/");
		return r;
	}
	return dink_kconfig_load(path, true, ret, err);
}

int dink_kernel_merge(const struct dink_strv *features, struct dink_kconfig *ret,
		      struct dink_err *err)
{
	_cleanup_kconfig_ struct dink_kconfig merged = {};
	_cleanup_strv_ struct dink_strv done = {};
	int r = check_names(features, err);

	for (const char *const *n = dink_kernel_features(); r >= 0 && *n; n++) {
		const struct dink_kernel_feature *f = dink_kernel_feature_find(*n);

		if (!f->standard && !is_asked(features, f->name))
			continue;
		for (const char *const *name = f->fragments; r >= 0 && *name; name++) {
			_cleanup_kconfig_ struct dink_kconfig fragment = {};

			if (dink_strv_has(&done, *name))
				continue;
			dink_strv_add(&done, *name);
			r = load_fragment(*name, &fragment, err);
			if (r >= 0)
				dink_kconfig_merge(&merged, &fragment);
		}
	}
	if (r < 0)
		return r;
	*ret = merged;
	merged = (struct dink_kconfig){};
	return 0;
}

/* A need or line that this version of the kernel does not know is none. 0 = version unknown. */
static bool applies(uint32_t version, uint32_t since, uint32_t until)
{
	if (!version)
		return !since;
	return (!since || version >= since) && (!until || version <= until);
}

static bool need_applies(uint32_t version, const struct dink_kernel_need *need)
{
	uint32_t since = need->since ? dink_kernel_version(need->since) : 0;
	uint32_t until = need->until ? dink_kernel_version(need->until) : 0;

	if (until && (until & 0xff) == 0)
		until |= 0xff;
	return applies(version, since, until);
}

void dink_kernel_lacks_clear(struct dink_kernel_lacks *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].symbol);
		free(l->v[i].wanted);
		free(l->v[i].found);
		free(l->v[i].feature);
		free(l->v[i].why);
		free(l->v[i].unmet);
	}
	free(l->v);
	*l = (struct dink_kernel_lacks){};
}

static bool has_lack(const struct dink_kernel_lacks *l, const char *symbol)
{
	for (size_t i = 0; i < l->n; i++)
		if (STREQ(l->v[i].symbol, symbol))
			return true;
	return false;
}

static void add_lack(struct dink_kernel_lacks *l, const char *symbol, const char *wanted,
		     const char *found, const char *feature, const char *why)
{
	l->v = xreallocarray(l->v, l->n + 1, sizeof(*l->v));
	l->v[l->n++] = (struct dink_kernel_lack){
		.symbol = xstrdup(symbol),
		.wanted = xstrdup(wanted),
		.found = xstrdup(found),
		.feature = xstrdup(feature),
		.why = xstrdup(why),
	};
}

static void check_feature(const struct dink_kconfig *kc, const struct dink_kernel_feature *f,
			  struct dink_kernel_lacks *lacks)
{
	for (const struct dink_kernel_need *need = f->needs; need->symbol; need++) {
		const char *found = dink_kconfig_value(kc, need->symbol);

		if (!need_applies(kc->version, need) || STREQ(found, "y") ||
		    has_lack(lacks, need->symbol))
			continue;
		add_lack(lacks, need->symbol, "y", found, f->name, need->why);
	}
}

int dink_kernel_check(const struct dink_kconfig *kc, const struct dink_strv *features,
		      struct dink_kernel_lacks *ret, struct dink_err *err)
{
	struct dink_kernel_lacks lacks = {};
	int r = check_names(features, err);

	if (r < 0)
		return r;
	for (const char *const *n = dink_kernel_features(); *n; n++)
		if (is_asked(features, *n))
			check_feature(kc, dink_kernel_feature_find(*n), &lacks);
	*ret = lacks;
	return 0;
}

char *dink_kernel_lack_text(const struct dink_kernel_lack *l)
{
	_cleanup_str_ struct dink_str s = {};

	if (STREQ(l->found, "n"))
		dink_str_addf(&s, "CONFIG_%s is not set", l->symbol);
	else if (STREQ(l->found, "m"))
		dink_str_addf(&s, "CONFIG_%s is a module, and a guest loads none", l->symbol);
	else
		dink_str_addf(&s, "CONFIG_%s is %s", l->symbol, l->found);
	if (!STREQ(l->wanted, "y"))
		dink_str_addf(&s, " instead of %s", l->wanted);
	dink_str_addf(&s, ": %s (%s)", l->feature, l->why);
	if (l->unmet)
		dink_str_addf(&s, "; it %s", l->unmet);
	return dink_str_take(&s);
}

/* Whose fragment has the symbol: the name of the fragment's first feature. */
static const struct dink_kernel_feature *find_asker(const struct dink_kconfig_line *line,
						    const struct dink_strv *features)
{
	const char *base = strrchr(line->file, '/');
	const struct dink_kernel_feature *standard = NULL;
	size_t len;

	base = base ? base + 1 : line->file;
	len = strcspn(base, ".");
	for (const char *const *n = dink_kernel_features(); *n; n++) {
		const struct dink_kernel_feature *f = dink_kernel_feature_find(*n);

		for (const char *const *name = f->fragments; *name; name++) {
			if (strlen(*name) != len || strncmp(*name, base, len) != 0)
				continue;
			/* a feature that was named is more telling than one that is always there */
			if (features && dink_strv_has(features, f->name))
				return f;
			if (!standard)
				standard = f;
		}
	}
	return standard;
}

static const char *reason_of(const struct dink_kernel_feature *f, const char *symbol)
{
	for (const struct dink_kernel_need *need = f->needs; need->symbol; need++)
		if (STREQ(need->symbol, symbol))
			return need->why;
	return NULL;
}

static void verify_line(const struct dink_kconfig_line *line, const struct dink_kconfig *result,
			const struct dink_strv *features, struct dink_kernel_lacks *lacks)
{
	const struct dink_kernel_feature *f;
	const char *found = dink_kconfig_value(result, line->symbol), *why = NULL;
	_cleanup_free_ char *place = NULL;

	/* what was asked to be off and is on was selected by something that is wanted */
	if (STREQ(line->value, "n") || STREQ(line->value, found) || line->optional ||
	    !applies(result->version, line->since, line->until))
		return;
	f = find_asker(line, features);
	why = f ? reason_of(f, line->symbol) : NULL;
	if (!why)
		why = place = xasprintf("%s:%u", line->file, line->line);
	add_lack(lacks, line->symbol, line->value, found, f ? f->name : "guest", why);
}

int dink_kernel_verify(const struct dink_kconfig *merged, const struct dink_kconfig *result,
		       const struct dink_strv *features, const char *tree,
		       struct dink_kernel_lacks *ret, struct dink_err *err)
{
	struct dink_kernel_lacks lacks = {};
	int r = dink_kernel_check(result, features, &lacks, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < merged->n; i++)
		if (!has_lack(&lacks, merged->lines[i].symbol))
			verify_line(&merged->lines[i], result, features, &lacks);
	if (tree)
		for (size_t i = 0; i < lacks.n; i++)
			lacks.v[i].unmet = dink_kernel_unmet(tree, lacks.v[i].symbol, result);
	*ret = lacks;
	return 0;
}
