/* SPDX-License-Identifier: Apache-2.0 */
/* Children of the agent's own: started without copying its page tables, found again when reaped. */
#include "cmd/dink-agent/agent.h"

#include "provision/base/file.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

struct child {
	struct child *next;
	pid_t pid;
	agent_child_fn fn;
	void *ctx;
};

static struct child *children;

/*
 * sealed_crun() - crun copies itself into a sealed memory file and starts again from there, so that
 * a container cannot write to it through /proc/PID/exe. Started from such a file in the first
 * place, it need not: every call saves an exec. Done once; NULL if it cannot be done.
 */
static const char *sealed_crun(void)
{
	static char path[64];
	static bool tried;
	_cleanup_close_ int from = -1, to = -1;

	if (tried)
		return path[0] ? path : NULL;
	tried = true;
	from = open(AGENT_CRUN, O_RDONLY | O_CLOEXEC);
	to = memfd_create("crun", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (from < 0 || to < 0 || dink_fd_copy(from, to, NULL) < 0 ||
	    fcntl(to, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return NULL;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", TAKE_FD(to));
	return path;
}

int agent_spawn(char *const argv[], const int fds[3], agent_child_fn fn, void *ctx,
		struct dink_err *err)
{
	static char *const env[] = {(char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	const char *program = argv[0];
	sigset_t none, reset;
	struct child *c;
	pid_t pid;
	int r;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	sigemptyset(&none);
	/* all: two of the C library's own would be ignored, in the container as well */
	memset(&reset, 0xff, sizeof(reset));
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &reset);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						POSIX_SPAWN_SETSID);
	/* everything else is close-on-exec; the descriptors are above 2, so none is overwritten */
	for (int i = 0; i < 3; i++)
		posix_spawn_file_actions_adddup2(&actions, fds[i], i);
	if (STREQ(program, AGENT_CRUN) && sealed_crun())
		program = sealed_crun();
	r = posix_spawn(&pid, program, &actions, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	if (r)
		return dink_err_set(err, DINK_E_HOST, r, "starting %s", argv[0]);
	c = xcalloc(1, sizeof(*c));
	c->pid = pid;
	c->fn = fn;
	c->ctx = ctx;
	c->next = children;
	children = c;
	return 0;
}

bool agent_child_ended(pid_t pid, int status)
{
	for (struct child **at = &children; *at; at = &(*at)->next) {
		struct child *c = *at;

		if (c->pid != pid)
			continue;
		*at = c->next;
		c->fn(c->ctx, status);
		free(c);
		return true;
	}
	return false;
}

bool agent_has_children(void)
{
	return children != NULL;
}

/* reword_error() - crun's words for a program that cannot run are not those that engines look for
 */
static char *reword_error(const char *msg, const char *program)
{
	static const char words[] = "unable to start container process: exec: ";
	static const char missing[] = "executable file `", refused[] = "open executable: ";

	if (strstr(msg, missing) && strchr(program, '/'))
		return xasprintf("%s\"%s\": stat %s: no such file or directory", words, program,
				 program);
	if (strstr(msg, missing))
		return xasprintf("%s\"%s\": executable file not found in $PATH", words, program);
	if (strstr(msg, refused))
		return xasprintf("%s\"%s\": permission denied", words, program);
	return xstrdup(msg);
}

char *agent_crun_error(const char *log, const char *program, int status)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *text = NULL, *found = NULL;
	char *line, *save = NULL;

	if (dink_file_read(log, 1 << 20, &text, NULL, &err) == 0) {
		for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
			_cleanup_(dink_err_clear) struct dink_err bad = {};
			_cleanup_json_ struct json_object *o = NULL;

			if (dink_json_parse(line, strlen(line), "log", &o, &bad) < 0)
				continue;
			if (STREQ(dink_json_str_or(o, "level", "error"), "error")) {
				free(found);
				found = reword_error(dink_json_str_or(o, "msg", "unknown error"),
						     program);
			}
		}
	}
	if (found)
		return TAKE_PTR(found);
	if (WIFSIGNALED(status))
		return xasprintf("crun was killed by signal %d", WTERMSIG(status));
	return xasprintf("crun exited with status %d", WEXITSTATUS(status));
}
