/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dink: finds the command, parses its options, runs it, prints its error, picks the exit code.
 */
#include "cmd/dink/cmd.h"

#include "provision/base/file.h"
#include "provision/base/json.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"
#include "provision/explain/explain.h"
#include "provision/scenario/scenario.h"

#include <curl/curl.h>
#include <signal.h>

bool cmd_color(int fd)
{
	const char *no = getenv("NO_COLOR");

	return isatty(fd) && !(no && *no);
}

void cmd_print_cell(int width, const char *text)
{
	_cleanup_free_ char *copy = xstrdup(text);

	for (char *c = copy; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	printf("%-*s%s", width, copy, width ? " " : "");
}

void cmd_print_json(struct json_object *o)
{
	_cleanup_free_ char *text = dink_json_text(o);

	fputs(text, stdout);
	json_object_put(o);
}

/* Progress of one library call: a live line on a terminal, else a line when the words change and
 * every ten seconds. */
struct progress_line {
	bool live;
	char last[80];
	uint64_t printed_ms;
};

static void report_progress(void *ctx, const char *what, uint64_t done, uint64_t total)
{
	struct progress_line *line = ctx;
	uint64_t now = dink_now_ms();
	bool changed = strncmp(line->last, what, sizeof(line->last) - 1) != 0;
	char amount[32] = "";

	if (!changed && now - line->printed_ms < (line->live ? 100 : 10000))
		return;
	/* a line that stays: what a call begins with says nothing of how far it came */
	if (total && (line->live || !changed))
		snprintf(amount, sizeof(amount), " %3llu%%",
			 (unsigned long long)(done > total ? 100 : done * 100 / total));
	if (line->live)
		fprintf(stderr, "\r\033[K%s%s", what, amount);
	else
		fprintf(stderr, "%s%s\n", what, amount);
	snprintf(line->last, sizeof(line->last), "%s", what);
	line->printed_ms = now;
}

static void end_progress(struct progress_line *line)
{
	if (line->live && line->last[0])
		fputs("\r\033[K", stderr);
	line->last[0] = '\0';
}

static ssize_t write_output(void *line, const char *bytes, size_t n)
{
	end_progress(line);
	return dink_fd_write_all(STDOUT_FILENO, bytes, n) < 0 ? 0 : (ssize_t)n;
}

/* One terminal for both: what is printed takes the live line's place, and does not follow on it. */
static void share_terminal(struct progress_line *line)
{
	const cookie_io_functions_t functions = {.write = write_output};
	FILE *f = line->live && isatty(STDOUT_FILENO) ? fopencookie(line, "w", functions) : NULL;

	if (!f)
		return;
	(void)setvbuf(f, NULL, _IOLBF, BUFSIZ);
	stdout = f;
}

static int load_error(struct dink_problems *problems, const char *path, struct dink_err *err)
{
	/* a file that could not be read has no place in it, and is no problem to count */
	if (problems->n == 1 && !problems->list[0].src.file) {
		dink_err_move(err, &problems->list[0]);
		return -EINVAL;
	}
	for (size_t i = 0; i < problems->n; i++) {
		_cleanup_free_ char *text = dink_err_format(&problems->list[i]);

		fputs(text, stderr);
	}
	return dink_err_set(err, problems->n ? problems->list[0].code : DINK_E_SCENARIO, 0,
			    "%s: %zu%s problem%s", path, problems->n, problems->more ? "+" : "",
			    problems->n == 1 ? "" : "s");
}

/* The only *.yaml here that is a scenario. */
static char *find_scenario(struct dink_err *err)
{
	_cleanup_closedir_ DIR *d = opendir(".");
	_cleanup_strv_ struct dink_strv found = {};
	struct dirent *e;

	while (d && (e = readdir(d))) {
		_cleanup_fclose_ FILE *f = NULL;
		char line[256];

		if (!dink_ends_with(e->d_name, ".yaml") && !dink_ends_with(e->d_name, ".yml"))
			continue;
		f = fopen(e->d_name, "re");
		while (f && fgets(line, sizeof(line), f)) {
			if (!dink_starts_with(line, "dink:"))
				continue;
			dink_strv_add(&found, e->d_name);
			break;
		}
	}
	if (found.n == 1)
		return xstrdup(found.v[0]);
	dink_err_set(err, DINK_E_USAGE, 0, "name a scenario: %s",
		     found.n ? "there are several in this folder" : "there is none in this folder");
	dink_strv_sort(&found);
	if (found.n) {
		_cleanup_free_ char *list = dink_strv_join(&found, " ");

		dink_err_hint(err, "one of: %s", list);
	} else {
		dink_err_hint(err, "dink ships examples in scenarios/, see dink-scenario(5)");
	}
	return NULL;
}

int cmd_load_scenario(const char *path, struct dink_scenario **ret, struct dink_err *err)
{
	_cleanup_(dink_problems_clear) struct dink_problems problems = {};
	_cleanup_free_ char *found = NULL;

	if (!path) {
		found = find_scenario(err);
		if (!found)
			return -EINVAL;
		path = found;
	}
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = NULL;

	if (dink_scenario_load(path, &s, &problems) < 0 || cmd_check_images(s, &problems) < 0)
		return load_error(&problems, path, err);
	*ret = TAKE_PTR(s);
	return 0;
}

static int fail(const struct dink_args *args, const struct dink_err *err)
{
	_cleanup_free_ char *text = dink_err_format(err);

	if (args->json) {
		struct json_object *o = dink_json_new();

		dink_json_set(o, "error", dink_err_to_json(err));
		cmd_print_json(o);
	}
	fprintf(stderr, "dink: %s", text);
	return err->code ? err->code : DINK_E_BUG;
}

/* Words that name no command: help for a group of commands, or an error. */
static int unknown_command(int argc, char **argv)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct dink_args args = {};

	for (int i = 1; i < argc; i++) {
		args.json = args.json || STREQ(argv[i], "--json");
		if ((STREQ(argv[i], "--help") || STREQ(argv[i], "-h")) &&
		    cmd_print_group(stdout, argv[0]))
			return 0;
	}
	(void)cmd_unknown(argv, argc, &err);
	return fail(&args, &err);
}

static void free_options(const struct dink_command *c, void *opts)
{
	for (const struct dink_opt *o = c->opts; o && o->long_name; o++)
		if (o->kind == DINK_OPT_STRV)
			dink_strv_clear((struct dink_strv *)(void *)((char *)opts + o->offset));
	free(opts);
}

int cmd_check_file(const char *path, struct dink_err *err)
{
	return access(path, F_OK) < 0 ? dink_err_set(err, DINK_E_USAGE, errno, "open %s", path) : 0;
}

/* A file that is not there is a mistake on the command line, and told before anything is begun. */
static int check_files(const struct dink_args *args, struct dink_err *err)
{
	int n = args->command->n_files < 0 ? args->n : args->command->n_files;
	int r = 0;

	for (int i = 0; r == 0 && i < n && i < args->n; i++)
		if (!STREQ(args->v[i], "-"))
			r = cmd_check_file(args->v[i], err);
	if (r < 0 && dink_starts_with(args->command->name, "disk "))
		dink_err_hint(err, "dink disk list shows the disks of instances");
	return r;
}

static int run_command(const struct dink_command *c, int argc, char **argv)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	static struct progress_line line; /* standard output refers to it until the end */
	struct dink_args args = {.command = c};
	int r;

	line.live = isatty(STDERR_FILENO);
	share_terminal(&line);

	args.opts = xcalloc(1, c->opts_size);
	r = cmd_parse_options(&args, argc, argv, &err);
	if (r == 0)
		r = check_files(&args, &err);
	if (r == 0) {
		if (!args.quiet)
			args.progress = (struct dink_progress){report_progress, &line};
		r = c->run(&args, &err);
		end_progress(&line);
	}
	if (err.detail && !err.hint) /* another program's words, and dink knows none better */
		dink_explain_err(&err);
	if (dink_err_is_set(&err))
		r = fail(&args, &err);
	else if (r < 0)
		r = DINK_E_BUG;
	if (fflush(stdout) != 0 || ferror(stdout)) {
		if (errno != EPIPE) /* whoever reads no more knows */
			fprintf(stderr, "dink: write the output: %s\n", strerror(errno));
		r = r ? r : DINK_E_HOST;
	}
	free_options(c, args.opts);
	free(args.v);
	return r;
}

int main(int argc, char **argv)
{
	const struct dink_command *c;
	int words, r;

	/* what a caller left open is not for daemons that we start and that outlive us: whoever
	 * waits for the end of that pipe would wait for them */
	(void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	if (argc < 2) {
		cmd_print_overview(stderr);
		return DINK_E_USAGE;
	}
	if (STREQ(argv[1], "--help") || STREQ(argv[1], "-h")) {
		cmd_print_overview(stdout);
		return 0;
	}
	if (STREQ(argv[1], "--version")) {
		printf("dink %s\n", DINK_VERSION);
		return 0;
	}
	c = cmd_find(argv + 1, argc - 1, &words);
	if (!c)
		return unknown_command(argc - 1, argv + 1);
	(void)signal(SIGPIPE, SIG_IGN);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	r = run_command(c, argc - 1 - words, argv + 1 + words);
	curl_global_cleanup();
	return r;
}
