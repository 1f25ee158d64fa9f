/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps as lines on stderr: one when a step ends; on a terminal a last line besides that says what
 * runs now and how far it is. A pipe gets a line at the start of a step, too, if it takes long.
 */
#include "cmd/dink/steps_view.h"

#include "cmd/dink/cmd.h"
#include "provision/base/units.h"

#include <sys/ioctl.h>

struct timing {
	char *key, *text;
	int64_t begun_ms, ms; /* begun: since the view was made */
	bool there;
};

struct running {
	char *key, *text;
	char progress[80];
	uint64_t said_ms;
};

struct steps_view {
	struct dink_step_watch watch;
	bool quiet, live, color;
	uint64_t begun_ms;
	struct timing *timings;
	size_t n_timings;
	struct running running[16];
	size_t n_running;
	bool line; /* the live line is on the screen */
};

enum { SAY_EVERY_MS = 10000 };

static void clear_line(struct steps_view *v)
{
	if (v->line)
		fputs("\r\033[K", stderr);
	v->line = false;
}

static size_t columns(void)
{
	struct winsize w;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 20 ? w.ws_col - 1 : 79;
}

static void draw_line(struct steps_view *v)
{
	_cleanup_str_ struct dink_str s = {};

	if (!v->live || v->n_running == 0)
		return;
	for (size_t i = 0; i < v->n_running; i++) {
		dink_str_addf(&s, "%s%s", i ? " | " : "  ", v->running[i].text);
		if (v->running[i].progress[0])
			dink_str_addf(&s, ": %s", v->running[i].progress);
	}
	fprintf(stderr, "\r\033[K%.*s", (int)columns(), s.s);
	v->line = true;
}

static struct running *find_running(struct steps_view *v, const char *key)
{
	for (size_t i = 0; i < v->n_running; i++)
		if (STREQ(v->running[i].key, key))
			return &v->running[i];
	return NULL;
}

static void start(struct steps_view *v, const struct dink_step_report *r)
{
	if (v->n_running == ARRAY_SIZE(v->running))
		return;
	v->running[v->n_running++] = (struct running){
		.key = xstrdup(r->key),
		.text = xstrdup(r->text),
		.said_ms = dink_now_ms(),
	};
}

static void stop(struct steps_view *v, const char *key)
{
	struct running *x = find_running(v, key);

	if (!x)
		return;
	free(x->key);
	free(x->text);
	*x = v->running[--v->n_running];
}

static void progress(struct steps_view *v, const struct dink_step_report *r)
{
	struct running *x = find_running(v, r->key);
	uint64_t now = dink_now_ms();

	if (!x)
		return;
	if (r->of)
		snprintf(x->progress, sizeof(x->progress), "%s %d%%", r->what,
			 (int)(r->done >= r->of ? 100 : r->done * 100 / r->of));
	else
		snprintf(x->progress, sizeof(x->progress), "%s", r->what);
	if (!v->live && !v->quiet && now - x->said_ms >= SAY_EVERY_MS) {
		fprintf(stderr, "  ...     %s: %s\n", r->text, x->progress);
		x->said_ms = now;
	}
}

static void note(struct steps_view *v, const struct dink_step_report *r)
{
	struct timing *t;
	int64_t now = (int64_t)(dink_now_ms() - v->begun_ms);

	v->timings = xreallocarray(v->timings, v->n_timings + 1, sizeof(*v->timings));
	t = &v->timings[v->n_timings++];
	*t = (struct timing){
		.key = xstrdup(r->key),
		.text = xstrdup(r->text),
		.begun_ms = now - r->ms,
		.ms = r->ms,
		.there = r->event == DINK_STEP_THERE,
	};
}

static void say(struct steps_view *v, const struct dink_step_report *r, const char *color,
		const char *word)
{
	if (v->quiet || STREQ(r->key, "up"))
		return;
	fprintf(stderr, "%s%7.2f s%s  %s%s\n", v->color ? color : "", (double)r->ms / 1000,
		v->color ? "\033[0m" : "", word, r->text);
}

static void report(void *ctx, const struct dink_step_report *r)
{
	struct steps_view *v = ctx;

	if (r->event == DINK_STEP_PROGRESS) {
		progress(v, r);
		draw_line(v);
		return;
	}
	clear_line(v);
	switch (r->event) {
	case DINK_STEP_START:
	case DINK_STEP_UNDO:
		start(v, r);
		break;
	case DINK_STEP_DONE:
		stop(v, r->key);
		note(v, r);
		say(v, r, "\033[32m", "");
		break;
	case DINK_STEP_THERE:
		note(v, r);
		say(v, r, "\033[2m", "is there: ");
		break;
	case DINK_STEP_UNDONE:
		stop(v, r->key);
		if (r->ms >= 10) /* what is not the instance's own has nothing to undo */
			say(v, r, "\033[33m", "undone: ");
		break;
	case DINK_STEP_FAILED:
		stop(v, r->key);
		fprintf(stderr, "%s   failed%s  %s\n", v->color ? "\033[31m" : "",
			v->color ? "\033[0m" : "", r->text);
		break;
	default:
		break;
	}
	draw_line(v);
}

struct steps_view *steps_view_new(bool quiet)
{
	struct steps_view *v = xcalloc(1, sizeof(*v));

	v->watch = (struct dink_step_watch){report, v};
	v->quiet = quiet;
	v->color = cmd_color(STDERR_FILENO);
	v->live = !quiet && isatty(STDERR_FILENO);
	v->begun_ms = dink_now_ms();
	return v;
}

const struct dink_step_watch *steps_view_watch(struct steps_view *v)
{
	return &v->watch;
}

void steps_view_end(struct steps_view *v)
{
	clear_line(v);
	while (v->n_running > 0)
		stop(v, v->running[0].key);
}

void steps_view_free(struct steps_view *v)
{
	steps_view_end(v);
	for (size_t i = 0; i < v->n_timings; i++) {
		free(v->timings[i].key);
		free(v->timings[i].text);
	}
	free(v->timings);
	free(v);
}

void steps_view_timings(const struct steps_view *v)
{
	int64_t end = 0;

	printf("%9s %9s  %s\n", "began s", "took s", "step");
	for (size_t i = 0; i < v->n_timings; i++) {
		const struct timing *t = &v->timings[i];

		if (STREQ(t->key, "up"))
			continue;
		printf("%9.2f %9.2f  %s%s\n", (double)t->begun_ms / 1000, (double)t->ms / 1000,
		       t->there ? "is there: " : "", t->text);
		if (t->begun_ms + t->ms > end)
			end = t->begun_ms + t->ms;
	}
	printf("%9s %9.2f  in all (steps overlap)\n", "", (double)end / 1000);
}

struct json_object *steps_view_to_json(const struct steps_view *v)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < v->n_timings; i++) {
		struct json_object *o = dink_json_new();

		dink_json_set_str(o, "step", v->timings[i].key);
		dink_json_set_str(o, "text", v->timings[i].text);
		dink_json_set_int(o, "began_ms", v->timings[i].begun_ms);
		dink_json_set_int(o, "ms", v->timings[i].ms);
		dink_json_set_bool(o, "was_there", v->timings[i].there);
		json_object_array_add(list, o);
	}
	return list;
}
