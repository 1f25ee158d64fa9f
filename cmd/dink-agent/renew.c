/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Around a checkpoint. hold: the container is frozen and the channel falls silent, so that the VM
 * can be stopped between two frames. release: as if nothing had been. renew: this VM is a clone;
 * before its programs run on, they get randomness, a clock, a name and a network of their own.
 */
#include "cmd/dink-agent/agent.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>

void agent_hold(struct agent *a, uint32_t id, struct json_object *msg)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	if (dink_json_bool_or(msg, "freeze", false)) {
		if (agent_freeze(true, &err) < 0) {
			_cleanup_(dink_err_clear) struct dink_err ignored = {};
			(void)!agent_freeze(false, &ignored);
			agent_refuse(a, id, &err);
			return;
		}
		a->frozen_here = true;
	}
	if (dink_json_bool_or(msg, "sync", false))
		sync();
	dink_chan_mute(a->chan);
	agent_answer(a, id, dink_json_new());
	dink_chan_hold(a->chan);
}

int agent_release(struct agent *a, struct dink_err *err)
{
	int r = a->frozen_here ? agent_freeze(false, err) : 0;

	a->frozen_here = false;
	dink_chan_release(a->chan);
	return r;
}

/* The container has a host name of its own where it has a UTS namespace of its own. */
static void name_container(const struct agent *a, const char *name)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/ns/uts", (int)a->init);
	_cleanup_close_ int own = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int its = open(path, O_RDONLY | O_CLOEXEC);

	if (own < 0 || its < 0 || setns(its, CLONE_NEWUTS) < 0) {
		agent_say("the container's host name: %s", strerror(errno));
		return;
	}
	if (sethostname(name, strlen(name)) < 0)
		agent_say("host name '%s': %s", name, strerror(errno));
	if (setns(own, CLONE_NEWUTS) < 0)
		agent_say("back from the container's host name: %s", strerror(errno));
}

/* A container that has a machine id gets another; links out of its root lead nowhere. */
static void write_machine_id(const struct agent *a, const char *id)
{
	struct open_how how = {
		.flags = O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	_cleanup_close_ int root = a->root ? open(a->root, O_PATH | O_CLOEXEC) : -1;
	_cleanup_close_ int fd =
		root < 0 ? -1
			 : (int)syscall(SYS_openat2, root, "etc/machine-id", &how, sizeof(how));
	_cleanup_free_ char *line = xasprintf("%s\n", id);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	if (ftruncate(fd, 0) < 0 || write(fd, line, strlen(line)) < 0)
		agent_say("machine-id: %s", strerror(errno));
}

int agent_renew(struct agent *a, struct json_object *msg, struct dink_err *err)
{
	const char *hostname = dink_json_str_or(msg, "hostname", "");
	const char *machine_id = dink_json_str_or(msg, "machine_id", "");
	int r;

	agent_add_entropy(dink_json_str_or(msg, "entropy", ""));
	agent_set_clock(dink_json_int_or(msg, "time_ns", 0));
	if (*hostname) {
		if (sethostname(hostname, strlen(hostname)) < 0)
			agent_say("host name '%s': %s", hostname, strerror(errno));
		name_container(a, hostname);
	}
	if (*machine_id)
		write_machine_id(a, machine_id);
	r = agent_network_forget(err);
	if (!r)
		r = agent_network(msg, err);
	/* only now do its programs go on */
	return r < 0 ? r : agent_release(a, err);
}
