/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Child processes by fork and exec: stdio wired to descriptors or pipes, stderr's tail always
 * kept, a deadline, and SIGINT/SIGTERM passed on. A failed exec is told through a close-on-exec
 * pipe, so that "not found" and "exited 127" are never confused.
 */
#include "provision/base/proc.h"

#include "provision/base/file.h"
#include "provision/base/units.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { ERRTAIL_MAX = 4096, CAPTURE_DEFAULT = 1 << 20, GRACE_MS = 2000 };

static volatile sig_atomic_t interrupted_by;
static int interrupt_pipe[2] = {-1, -1};

static void note_interrupt(int sig)
{
	int saved = errno;
	ssize_t n;

	interrupted_by = sig;
	n = write(interrupt_pipe[1], "", 1);
	(void)n;
	errno = saved;
}

void dink_catch_interrupts(void)
{
	struct sigaction sa = {.sa_handler = note_interrupt};

	if (interrupt_pipe[0] < 0 && pipe2(interrupt_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return;
	sigemptyset(&sa.sa_mask);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

int dink_interrupted(void)
{
	return interrupted_by;
}

int dink_interrupt_fd(void)
{
	return interrupt_pipe[0];
}

void dink_interrupt_reset(void)
{
	char byte;

	interrupted_by = 0;
	while (interrupt_pipe[0] >= 0 && read(interrupt_pipe[0], &byte, 1) > 0)
		;
}

void dink_cmd_argv(struct dink_cmd *cmd, ...)
{
	va_list ap;
	const char *s;

	va_start(ap, cmd);
	while ((s = va_arg(ap, const char *)))
		dink_strv_add(&cmd->argv, s);
	va_end(ap);
}

void dink_cmd_clear(struct dink_cmd *cmd)
{
	dink_strv_clear(&cmd->argv);
	dink_strv_clear(&cmd->env);
	free(cmd->output);
	free(cmd->errtail);
	if (cmd->go >= 0)
		close(cmd->go); /* a child that is still held ends */
	if (cmd->report >= 0)
		close(cmd->report);
	*cmd = (struct dink_cmd)DINK_CMD_INIT;
}

static char **child_env(const struct dink_cmd *cmd)
{
	struct dink_strv env = {};

	for (char **e = environ; e && *e; e++) {
		size_t n = strcspn(*e, "=");
		bool replaced = false;

		for (size_t i = 0; i < cmd->env.n; i++)
			replaced |= strncmp(cmd->env.v[i], *e, n + 1) == 0;
		if (!replaced)
			dink_strv_add(&env, *e);
	}
	dink_strv_addv(&env, cmd->env.v);
	if (!env.v)
		dink_strv_add(&env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin");
	return env.v; /* leaked on purpose: the child execs or dies, the parent frees it by hand */
}

static void free_env(char **env)
{
	for (char **e = env; e && *e; e++)
		free(*e);
	free(env);
}

/* In the child: fds[i] becomes descriptor i; sources that are 0..2 themselves are lifted first. */
static int wire_stdio(int fds[3])
{
	for (int i = 0; i < 3; i++) {
		if (fds[i] >= 0 && fds[i] < 3 && fds[i] != i) {
			fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
			if (fds[i] < 0)
				return -1;
		}
	}
	for (int i = 0; i < 3; i++) {
		if (fds[i] == i) {
			if (fcntl(i, F_SETFD, 0) < 0)
				return -1;
		} else if (dup2(fds[i], i) < 0) {
			return -1;
		}
	}
	return 0;
}

/* In the child of dink_cmd_run(): its end comes with the parent's, which may have come already. */
static void die_with_parent(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(127);
}

/* In a held child: without the word to go, the parent died. */
static void wait_for_go(int fd)
{
	char byte;
	ssize_t n;

	do {
		n = read(fd, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(127);
}

/* What the child does before it executes the program. */
struct child {
	pid_t parent; /* to die with; 0 = not */
	int go;	      /* to wait for; -1 = not */
	int report;
};

_noreturn_ static void child_exec(const struct dink_cmd *cmd, const char *program, char **env,
				  int fds[3], const struct child *c)
{
	sigset_t none;
	int e;

	if (c->parent)
		die_with_parent(c->parent);
	if (c->go >= 0)
		wait_for_go(c->go);

	sigemptyset(&none);
	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	/* a group of its own, so that an interrupt ends all that the program started */
	if (cmd->new_session)
		(void)setsid();
	else
		(void)setpgid(0, 0);
	if (wire_stdio(fds) == 0 && (!cmd->dir || chdir(cmd->dir) == 0))
		execve(program, cmd->argv.v, env);
	e = errno;
	(void)!write(c->report, &e, sizeof(e));
	_exit(127);
}

/* The child says on the pipe why it could not execute the program, or closes it by doing so. */
static int read_report(int report, pid_t pid, const char *program, struct dink_err *err)
{
	int e = 0;
	ssize_t n;

	do {
		n = read(report, &e, sizeof(e));
	} while (n < 0 && errno == EINTR);
	if (n != sizeof(e))
		return 0;
	(void)waitpid(pid, NULL, 0);
	return dink_err_set(err, DINK_E_HOST, e, "run %s", program);
}

/*
 * Forks and execs with the three descriptors; they stay open here.
 * Return: the pid, or -errno with err set.
 */
static pid_t start_child(struct dink_cmd *cmd, int fds[3], bool die_with_us, struct dink_err *err)
{
	_cleanup_free_ char *program = dink_which(cmd->program ? cmd->program : cmd->argv.v[0]);
	_cleanup_close_ int report_r = -1, report_w = -1, go_r = -1, go_w = -1;
	int report[2], go[2], e, r, use[3] = {fds[0], fds[1], fds[2]};
	struct child c = {.parent = die_with_us ? getpid() : 0, .go = -1};
	char **env;
	pid_t pid;

	if (!program)
		return dink_err_set(err, DINK_E_HOST, ENOENT, "run %s", cmd->argv.v[0]);
	if (pipe2(report, O_CLOEXEC) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make a pipe");
	report_r = report[0];
	c.report = report_w = report[1];
	if (cmd->hold) {
		if (pipe2(go, O_CLOEXEC) < 0)
			return dink_err_set(err, DINK_E_HOST, errno, "make a pipe");
		c.go = go_r = go[0];
		go_w = go[1];
	}
	env = child_env(cmd);
	pid = fork();
	if (pid == 0) {
		if (go_w >= 0)
			close(go_w); /* or it would never see the end of its own pipe */
		child_exec(cmd, program, env, use, &c);
	}
	e = errno;
	free_env(env);
	if (pid < 0)
		return dink_err_set(err, DINK_E_HOST, e, "fork for %s", cmd->argv.v[0]);
	close(TAKE_FD(report_w));
	if (cmd->hold) {
		cmd->go = TAKE_FD(go_w);
		cmd->report = TAKE_FD(report_r);
		return pid;
	}
	r = read_report(report_r, pid, program, err);
	return r < 0 ? r : pid;
}

struct run {
	struct dink_cmd *cmd;
	int in, out, errfd; /* our ends of the pipes, -1 = none */
	size_t in_done;
	struct dink_str output;
	struct dink_str errtail;
	bool too_much;
};

static void keep_output(struct run *run, int fd, const char *buf, size_t n)
{
	size_t max = run->cmd->capture_max ? run->cmd->capture_max : CAPTURE_DEFAULT;

	if (run->cmd->on_output)
		run->cmd->on_output(run->cmd->ctx, fd, buf, n);
	if (fd == 1) {
		if (run->output.len + n > max)
			run->too_much = true;
		else
			dink_str_addn(&run->output, buf, n);
		return;
	}
	dink_str_addn(&run->errtail, buf, n);
	if (run->errtail.len > 2 * ERRTAIL_MAX) {
		size_t cut = run->errtail.len - ERRTAIL_MAX;

		memmove(run->errtail.s, run->errtail.s + cut, ERRTAIL_MAX + 1);
		run->errtail.len = ERRTAIL_MAX;
	}
}

static void drain(struct run *run, int *fd, int number)
{
	char buf[16384];
	ssize_t n = read(*fd, buf, sizeof(buf));

	if (n > 0)
		keep_output(run, number, buf, (size_t)n);
	else if (n == 0 || (errno != EINTR && errno != EAGAIN))
		close(TAKE_FD(*fd));
}

static void feed(struct run *run)
{
	size_t left = run->cmd->input_len - run->in_done;
	ssize_t n = write(run->in, (const char *)run->cmd->input + run->in_done, left);

	if (n > 0)
		run->in_done += (size_t)n;
	/* a program may close its stdin early: that is its business */
	if (run->in_done == run->cmd->input_len || (n < 0 && errno != EINTR && errno != EAGAIN))
		close(TAKE_FD(run->in));
}

enum end { END_EXIT, END_TIMEOUT, END_INTERRUPT };

/* Moves bytes until the child is gone and its pipes are empty. */
static enum end pump(struct run *run, pid_t pid, int pidfd)
{
	uint64_t deadline = run->cmd->timeout_ms ? dink_now_ms() + run->cmd->timeout_ms : 0;
	uint64_t kill_at = 0, drain_until = 0;
	enum end end = END_EXIT;
	bool gone = false;

	for (;;) {
		struct pollfd p[5] = {{.fd = gone ? -1 : pidfd, .events = POLLIN},
				      {.fd = run->out, .events = POLLIN},
				      {.fd = run->errfd, .events = POLLIN},
				      {.fd = run->in, .events = POLLOUT},
				      {.fd = end == END_EXIT && !gone ? interrupt_pipe[0] : -1,
				       .events = POLLIN}};
		uint64_t now = dink_now_ms(), next = kill_at ? kill_at : deadline;
		int wait_ms = -1;

		if (gone && run->out < 0 && run->errfd < 0)
			return end;
		/* a daemon it left behind may hold the pipes: a short wait, then enough */
		if (gone && now >= drain_until)
			return end;
		if (gone)
			wait_ms = (int)(drain_until - now);
		else if (next)
			wait_ms = next > now ? (int)(next - now) : 0;
		(void)poll(p, ARRAY_SIZE(p), wait_ms);
		if (p[1].revents)
			drain(run, &run->out, 1);
		if (p[2].revents)
			drain(run, &run->errfd, 2);
		if (p[3].revents)
			feed(run);
		if (p[0].revents) {
			gone = true;
			drain_until = dink_now_ms() + 200;
			if (run->in >= 0)
				close(TAKE_FD(run->in));
		}
		now = dink_now_ms();
		if (!gone && end == END_EXIT &&
		    (dink_interrupted() || (deadline && now >= deadline))) {
			end = dink_interrupted() ? END_INTERRUPT : END_TIMEOUT;
			kill(-pid, SIGTERM);
			kill_at = now + GRACE_MS;
		} else if (!gone && kill_at && now >= kill_at) {
			kill(-pid, SIGKILL);
			kill_at = now + GRACE_MS;
		}
	}
}

/* Reaps the child; of a stopped one, what it started and did not wait for ends first. */
static int reap(pid_t pid, bool stopped)
{
	uint64_t enough = dink_now_ms() + GRACE_MS;
	int status = 0;

	if (stopped)
		kill(-pid, SIGKILL); /* the child's zombie still holds the number */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	while (stopped && kill(-pid, 0) == 0 && dink_now_ms() < enough)
		usleep(2000);
	return status;
}

static const char *last_line(const char *text)
{
	const char *end = text + strlen(text), *p;

	while (end > text && (end[-1] == '\n' || end[-1] == '\r'))
		end--;
	for (p = end; p > text && p[-1] != '\n'; p--)
		;
	return p;
}

static int report_failure(struct dink_cmd *cmd, enum end end, struct dink_err *err)
{
	_cleanup_free_ char *argv = dink_strv_join(&cmd->argv, " ");
	_cleanup_free_ char *detail = xasprintf("$ %.1000s\n%s", argv, cmd->errtail);
	const char *line = last_line(cmd->errtail);
	int n = (int)strcspn(line, "\r\n");
	int r;

	if (end == END_INTERRUPT)
		return dink_err_set(err, DINK_E_INTR, EINTR, "%s was stopped by a signal",
				    cmd->argv.v[0]);
	if (end == END_TIMEOUT)
		r = dink_err_set(err, DINK_E_CHILD, ETIMEDOUT, "%s did not end within %u ms",
				 cmd->argv.v[0], cmd->timeout_ms);
	else if (n > 0)
		r = dink_err_set(err, DINK_E_CHILD, 0, "%s exited %d: %.*s", cmd->argv.v[0],
				 cmd->status, n, line);
	else
		r = dink_err_set(err, DINK_E_CHILD, 0, "%s exited %d", cmd->argv.v[0], cmd->status);
	dink_err_detail(err, detail);
	return r;
}

/* The child's end into fds[i] and ours into *ours; both close-on-exec. */
static int pipe_for(int fds[3], int i, int *ours)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	fds[i] = i == 0 ? p[0] : p[1];
	*ours = i == 0 ? p[1] : p[0];
	(void)fcntl(*ours, F_SETFL, O_NONBLOCK);
	return 0;
}

static void close_made(struct dink_cmd *cmd, int fds[3])
{
	const int given[3] = {cmd->in, cmd->out, cmd->errfd};

	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0 && fds[i] != given[i])
			close(fds[i]);
}

static int wire_run(struct run *run, int fds[3], struct dink_err *err)
{
	struct dink_cmd *cmd = run->cmd;
	int r = 0;

	if (cmd->in < 0 && cmd->input)
		r = pipe_for(fds, 0, &run->in);
	else if (cmd->in < 0)
		fds[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (r == 0 && cmd->out < 0)
		r = pipe_for(fds, 1, &run->out);
	if (r == 0 && cmd->errfd < 0)
		r = pipe_for(fds, 2, &run->errfd);
	if (r < 0)
		return dink_err_set(err, DINK_E_HOST, r, "make a pipe");
	return 0;
}

int dink_cmd_run(struct dink_cmd *cmd, struct dink_err *err)
{
	_cleanup_close_ int pidfd = -1;
	struct run run = {.cmd = cmd, .in = -1, .out = -1, .errfd = -1};
	int fds[3] = {cmd->in, cmd->out, cmd->errfd}, status = 0;
	pid_t pid = -1;
	enum end end;

	if (wire_run(&run, fds, err) == 0)
		pid = start_child(cmd, fds, true, err);
	close_made(cmd, fds);
	if (pid >= 0) {
		void (*old)(int) = signal(SIGPIPE, SIG_IGN);

		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		end = pump(&run, pid, pidfd);
		(void)signal(SIGPIPE, old);
		status = reap(pid, end != END_EXIT);
	}
	for (size_t i = 0; i < 3; i++) {
		int *fd = (int *[]){&run.in, &run.out, &run.errfd}[i];

		if (*fd >= 0)
			close(*fd);
	}
	free(cmd->output);
	free(cmd->errtail);
	cmd->output_len = run.output.len;
	cmd->output = dink_str_take(&run.output);
	cmd->errtail = dink_str_take(&run.errtail);
	if (pid < 0)
		return err->errnum ? -err->errnum : -EINVAL;
	cmd->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	if (end != END_EXIT || (cmd->status != 0 && !cmd->ok_to_fail))
		return report_failure(cmd, end, err);
	if (run.too_much)
		return dink_err_set(err, DINK_E_CHILD, EFBIG, "%s printed too much",
				    cmd->argv.v[0]);
	return 0;
}

int dink_cmd_spawn(struct dink_cmd *cmd, pid_t *ret_pid, int *ret_pidfd, struct dink_err *err)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int fds[3] = {cmd->in >= 0 ? cmd->in : null, cmd->out >= 0 ? cmd->out : null,
		      cmd->errfd >= 0 ? cmd->errfd : null};
	pid_t pid = start_child(cmd, fds, false, err);

	if (pid < 0)
		return pid;
	if (ret_pidfd)
		*ret_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	*ret_pid = pid;
	return 0;
}

int dink_cmd_go(struct dink_cmd *cmd, pid_t pid, struct dink_err *err)
{
	_cleanup_close_ int go = TAKE_FD(cmd->go), report = TAKE_FD(cmd->report);

	if (go < 0 || report < 0)
		return dink_err_set(err, DINK_E_BUG, EINVAL, "%s is not held", cmd->argv.v[0]);
	/* a child that was killed meanwhile is the caller's to find, not a signal to us */
	void (*old)(int) = signal(SIGPIPE, SIG_IGN);
	(void)!write(go, "", 1);
	(void)signal(SIGPIPE, old);
	return read_report(report, pid, cmd->argv.v[0], err);
}

int dink_pid_identify(pid_t pid, struct dink_pid *ret)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/stat", (int)pid);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char buf[1024], state;
	unsigned long long start;
	char *p;
	ssize_t n;

	if (fd < 0)
		return -ESRCH;
	n = read(fd, buf, sizeof(buf) - 1);
	if (n <= 0)
		return -ESRCH;
	buf[n] = '\0';
	/* the name in brackets may hold anything: count fields from the last bracket */
	p = strrchr(buf, ')');
	if (!p || sscanf(p + 1,
			 " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
			 "%*d %llu",
			 &state, &start) != 2)
		return -EPROTO;
	if (state == 'Z' || state == 'X')
		return -ESRCH;
	*ret = (struct dink_pid){pid, start};
	return 0;
}

bool dink_pid_alive(const struct dink_pid *p)
{
	struct dink_pid now;

	return dink_pid_identify(p->pid, &now) == 0 && now.start == p->start;
}

bool dink_pid_is_near(pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/ns/pid", (int)pid);
	struct stat theirs, ours;

	return stat(path, &theirs) == 0 && stat("/proc/self/ns/pid", &ours) == 0 &&
	       theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev;
}

bool dink_pid_gone_within(const struct dink_pid *p, uint32_t ms)
{
	uint64_t end = dink_now_ms() + ms;

	for (;;) {
		(void)waitpid(p->pid, NULL, WNOHANG);
		if (!dink_pid_alive(p))
			return true;
		if (dink_now_ms() >= end)
			return false;
		usleep(5000);
	}
}

int dink_pid_end(const struct dink_pid *p, uint32_t grace_ms, struct dink_err *err)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);

	/* identity is checked after the pidfd is held: from then on it cannot be another process */
	if (pidfd < 0 || !dink_pid_alive(p))
		return 0;
	if (syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0) < 0 && errno != ESRCH)
		return dink_err_set(err, DINK_E_HOST, errno, "end process %d", (int)p->pid);
	if (dink_pid_gone_within(p, grace_ms))
		return 0;
	(void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	if (dink_pid_gone_within(p, 10000))
		return 0;
	return dink_err_set(err, DINK_E_HOST, ETIMEDOUT, "process %d does not end", (int)p->pid);
}
