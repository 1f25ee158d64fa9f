/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/scenario/scenario.h"

#include "provision/base/file.h"
#include "provision/scenario/table.h"

static int compare_kernels(const void *pa, const void *pb)
{
	const struct dink_kernel_spec *const *a = pa, *const *b = pb;

	return strcmp((*a)->name, (*b)->name);
}

static int compare_disks(const void *pa, const void *pb)
{
	const struct dink_disk_spec *const *a = pa, *const *b = pb;

	return strcmp((*a)->name, (*b)->name);
}

static int compare_images(const void *pa, const void *pb)
{
	const struct dink_image_spec *const *a = pa, *const *b = pb;

	return strcmp((*a)->name, (*b)->name);
}

static int compare_files(const void *pa, const void *pb)
{
	const struct dink_file_spec *const *a = pa, *const *b = pb;

	return strcmp((*a)->name, (*b)->name);
}

/* Look-ups are by name all over the plan: a thousand layers with a disk each must stay quick. */
#define SORT_BY_NAME(s, what, compare)                                                             \
	do {                                                                                       \
		(s)->what##_by_name = xcalloc((s)->n_##what + 1, sizeof(void *));                  \
		for (size_t i = 0; i < (s)->n_##what; i++)                                         \
			(s)->what##_by_name[i] = &(s)->what[i];                                    \
		qsort((s)->what##_by_name, (s)->n_##what, sizeof(void *), (compare));              \
	} while (0)

#define FIND_BY_NAME(s, type, what, wanted, compare)                                               \
	({                                                                                         \
		struct type _key = {.name = (char *)(wanted)};                                     \
		const struct type *_keyp = &_key, **_found;                                        \
		_found = bsearch(&_keyp, (s)->what##_by_name, (s)->n_##what, sizeof(void *),       \
				 (compare));                                                       \
		_found ? *_found : NULL;                                                           \
	})

const struct dink_disk_spec *dink_scenario_disk(const struct dink_scenario *s, const char *name)
{
	return FIND_BY_NAME(s, dink_disk_spec, disks, name, compare_disks);
}

const struct dink_kernel_spec *dink_scenario_kernel(const struct dink_scenario *s, const char *name)
{
	return FIND_BY_NAME(s, dink_kernel_spec, kernels, name, compare_kernels);
}

const struct dink_image_spec *dink_scenario_image(const struct dink_scenario *s, const char *name)
{
	return FIND_BY_NAME(s, dink_image_spec, images, name, compare_images);
}

const struct dink_file_spec *dink_scenario_file(const struct dink_scenario *s, const char *name)
{
	return FIND_BY_NAME(s, dink_file_spec, files, name, compare_files);
}

void dink_scenario_free(struct dink_scenario *s)
{
	if (!s)
		return;
	dink_table_clear(&dink_table_scenario, s);
	free(s->kernels_by_name);
	free(s->disks_by_name);
	free(s->images_by_name);
	free(s->files_by_name);
	free(s->file);
	free(s->text);
	free(s);
}

int dink_scenario_problem(const struct dink_scenario *s, struct dink_mark mark,
			  struct dink_err *err, const char *fmt, ...)
{
	_cleanup_free_ char *line = dink_source_line(s->text, strlen(s->text), mark.line);
	_cleanup_free_ char *msg = NULL;
	va_list ap;

	va_start(ap, fmt);
	msg = xvasprintf(fmt, ap);
	va_end(ap);
	dink_err_at(err, s->file, mark.line, mark.col, mark.endcol, line);
	return dink_err_set(err, DINK_E_SCENARIO, 0, "%s", msg);
}

/* What the user left out and the tables cannot say. */
static void fill_defaults(struct dink_scenario *s)
{
	for (size_t i = 0; i < s->n_kernels; i++) {
		if (!s->kernels[i].source)
			s->kernels[i].source = xstrdup("debian");
	}
	for (size_t i = 0; i < s->n_images; i++) {
		struct dink_image_spec *im = &s->images[i];

		im->kind = im->registry	 ? DINK_IMAGE_REGISTRY
			   : im->archive ? DINK_IMAGE_ARCHIVE
					 : DINK_IMAGE_RECIPE;
		im->where = im->registry ? im->registry : im->archive ? im->archive : im->recipe;
	}
}

static struct dink_scenario *read_scenario(const char *file, const char *base, const char *text,
					   size_t len, struct dink_report *report)
{
	struct dink_reader rd = {.report = report, .base = base};
	struct dink_scenario *s = NULL;
	struct dink_tree tree = {};

	dink_tree_parse(text, len, &tree, report);
	if (tree.root && tree.root->kind == DINK_NODE_MAP) {
		s = xcalloc(1, sizeof(*s));
		s->file = xstrdup(file);
		s->text = xstrndup(text, len);
		dink_table_read(&rd, &dink_table_scenario, NULL, tree.root, s);
		SORT_BY_NAME(s, kernels, compare_kernels);
		SORT_BY_NAME(s, disks, compare_disks);
		SORT_BY_NAME(s, images, compare_images);
		SORT_BY_NAME(s, files, compare_files);
		dink_scenario_check(s, report);
		fill_defaults(s);
	} else if (tree.root && !report->n &&
		   dink_report_at(report, tree.root->mark, "a scenario is a map of keys")) {
		dink_report_hint(report, "it begins with dink: 1");
	}
	dink_tree_clear(&tree);
	return s;
}

static int parse_text(const char *file, const char *base, const char *text, size_t len,
		      struct dink_scenario **ret, struct dink_problems *problems)
{
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = NULL;
	struct dink_report report = {};
	const char *nul;

	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		text += 3; /* a byte order mark says nothing in UTF-8 */
		len -= 3;
	}
	nul = len ? memchr(text, '\0', len) : NULL;
	if (len > DINK_SCENARIO_BYTES_MAX) {
		dink_report_at(&report, (struct dink_mark){},
			       "a scenario has at most %d bytes, this one has %zu",
			       DINK_SCENARIO_BYTES_MAX, len);
	} else if (nul) {
		struct dink_mark mark = {.line = 1, .col = 1};

		for (const char *p = text; p < nul; p++) {
			mark.col = *p == '\n' ? 1 : mark.col + (((unsigned char)*p & 0xc0) != 0x80);
			mark.line += *p == '\n';
		}
		dink_report_at(&report, mark, "not a text: there is a NUL byte");
	} else {
		s = read_scenario(file, base, text, len, &report);
	}
	if (report.n) {
		dink_report_finish(&report, file, text, len, problems);
		return -EINVAL;
	}
	*ret = TAKE_PTR(s);
	return 0;
}

static char *folder_of(const char *file)
{
	const char *slash = strrchr(file, '/');

	if (!slash)
		return xstrdup(".");
	return slash == file ? xstrdup("/") : xstrndup(file, (size_t)(slash - file));
}

int dink_scenario_parse(const char *file, const char *text, size_t len, struct dink_scenario **ret,
			struct dink_problems *problems)
{
	_cleanup_free_ char *base = folder_of(file);

	return parse_text(file, base, text, len, ret, problems);
}

int dink_scenario_load(const char *path, struct dink_scenario **ret, struct dink_problems *problems)
{
	bool is_stdin = STREQ(path, "-");
	_cleanup_free_ char *folder = is_stdin ? xstrdup(".") : folder_of(path);
	_cleanup_free_ char *text = NULL, *base = NULL;
	size_t len, most = DINK_SCENARIO_BYTES_MAX + 3 /* byte order mark */;
	struct dink_err err = {};
	int r;

	r = is_stdin ? dink_fd_read_all(STDIN_FILENO, most, &text, &len, &err)
		     : dink_file_read(path, most, &text, &len, &err);
	if (r == -EFBIG) {
		dink_err_clear(&err);
		dink_err_set(&err, DINK_E_SCENARIO, 0, "a scenario has at most %d bytes",
			     DINK_SCENARIO_BYTES_MAX);
		dink_err_at(&err, path, 0, 0, 0, NULL);
	} else if (r < 0) {
		/* no scenario there is a mistake on the command line, not in a scenario */
		err.code = DINK_E_USAGE;
		dink_err_hint(&err,
			      "a scenario is one YAML file; dink ships examples in scenarios/");
	}
	if (r < 0) {
		dink_err_move(&problems->list[0], &err);
		problems->n = 1;
		return -EINVAL;
	}
	base = realpath(folder, NULL);
	return parse_text(is_stdin ? "<stdin>" : path, base ? base : folder, text, len, ret,
			  problems);
}
