/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capability checks by tracefs, in an instance of its own, so that nobody else's tracing is touched.
 * tracefs is mounted in a mount namespace of ours where the host has not mounted it.
 */
#include "provision/privilege/trace.h"

#include "provision/base/file.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

static const char tracefs[] = "/sys/kernel/tracing";

enum { LINE_MAX_BYTES = 1024 };

static bool write_file(const char *dir, const char *name, const char *text)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && dink_fd_write_all(fd, text, strlen(text)) == 0;
}

static bool have_tracefs(void)
{
	_cleanup_free_ char *path = xasprintf("%s/instances", tracefs);

	if (dink_exists(path))
		return true;
	return unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("tracefs", tracefs, "tracefs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0;
}

bool trace_caps_open(struct trace_caps *c, pid_t pid, char **ret_why)
{
	_cleanup_free_ char *number = xasprintf("%d", (int)pid), *pipe = NULL;

	if (!have_tracefs()) {
		*ret_why = xasprintf("%s cannot be mounted: %s", tracefs, strerror(errno));
		return false;
	}
	c->dir = xasprintf("%s/instances/dink-%d", tracefs, (int)getpid());
	if (mkdir(c->dir, 0700) < 0) {
		*ret_why = xasprintf("%s: %s", c->dir, strerror(errno));
		free(c->dir);
		c->dir = NULL;
		return false;
	}
	if (!write_file(c->dir, "options/event-fork", "1") ||
	    !write_file(c->dir, "set_event_pid", number) ||
	    !write_file(c->dir, "events/capability/cap_capable/enable", "1")) {
		*ret_why = xstrdup("this kernel has no trace event capability:cap_capable "
				   "(Linux 6.14 has it)");
		trace_caps_close(c);
		return false;
	}
	pipe = xasprintf("%s/trace_pipe", c->dir);
	c->pipe = open(pipe, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (c->pipe >= 0)
		return true;
	*ret_why = xasprintf("%s: %s", pipe, strerror(errno));
	trace_caps_close(c);
	return false;
}

void trace_caps_close(struct trace_caps *c)
{
	if (c->pipe >= 0)
		close(c->pipe);
	c->pipe = -1;
	if (c->dir) {
		(void)write_file(c->dir, "events/enable", "0");
		(void)rmdir(c->dir);
	}
	free(c->dir);
	c->dir = NULL;
	dink_str_clear(&c->rest);
}

/*
 * "  sh-4242  [001] ..... 12.3: cap_capable: cred 0x1, target_ns 0x2, capable_ns 0x3, cap 21, ret 0"
 * The name before the pid is the process's own choice, so all is found from the end.
 */
bool trace_caps_parse(const char *line, struct trace_check *ret)
{
	const char *event = NULL, *cpu = NULL, *digits;
	int refused = 0;

	for (const char *at = line; (at = strstr(at, ": cap_capable: ")); at++)
		event = at;
	if (!event || sscanf(event,
			     ": cap_capable: cred %31[^,], target_ns %31[^,], "
			     "capable_ns %*[^,], cap %d, ret %d",
			     ret->cred, ret->ns, &ret->cap, &refused) != 4)
		return false;
	for (const char *at = line; (at = strstr(at, " [")) && at < event; at++)
		cpu = at;
	if (!cpu)
		return false;
	while (cpu > line && cpu[-1] == ' ')
		cpu--;
	digits = cpu;
	while (digits > line && digits[-1] >= '0' && digits[-1] <= '9')
		digits--;
	if (digits == cpu || cpu - digits > 9 || digits == line || digits[-1] != '-')
		return false;
	ret->tid = (pid_t)atoi(digits);
	ret->granted = refused == 0;
	return ret->cap >= 0 && ret->cap < DINK_TRACE_CAPS;
}

void trace_caps_drain(struct trace_caps *c, void (*fn)(void *ctx, const struct trace_check *check),
		      void *ctx)
{
	struct trace_check check;
	char buf[8192];
	ssize_t n;

	while (c->pipe >= 0 && (n = read(c->pipe, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			if (buf[i] != '\n') {
				if (c->rest.len < LINE_MAX_BYTES)
					dink_str_addc(&c->rest, buf[i]);
				continue;
			}
			if (c->rest.s && trace_caps_parse(c->rest.s, &check))
				fn(ctx, &check);
			dink_str_clear(&c->rest);
		}
	}
}
