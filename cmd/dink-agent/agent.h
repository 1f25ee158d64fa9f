/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dink-agent: PID 1 of the guest. Input: requests over the channel (provision/vm/proto.h). Output:
 * a container made by crun, its streams, its exit. One thread, one loop.
 *
 * Invariants: it never exits while the channel lives; bad input is answered, not obeyed; every
 * child is reaped; an exit event follows the last byte of output.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/json.h"
#include "provision/base/loop.h"
#include "provision/vm/chan.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define AGENT_DIR	"/run/dink"
#define AGENT_CRUN	"/usr/bin/crun"
#define AGENT_CRUN_ROOT "/run/crun"
#define AGENT_CONTAINER "container"
#define AGENT_CGROUP	"/sys/fs/cgroup/container"
#define AGENT_BLOCK_DIR AGENT_DIR "/root"

struct agent {
	struct dink_loop *loop;
	struct dink_chan *chan;
	char *root;	  /* the container's root folder as the guest sees it; set by setup */
	bool created;	  /* a container was made (or is being made) */
	pid_t init;	  /* its first process, 0 before and after its life */
	bool frozen_here; /* by hold, not by pause */
	bool dying;	  /* shutdown: no more children */
	unsigned serial;  /* names files of one crun call */
	struct dink_strv sources; /* of its bind mounts */
};

/* boot.c */
void agent_boot(void);				     /* mounts, cgroups, loopback, limits */
int agent_open_port(struct dink_err *err);	     /* the channel's descriptor */
void agent_power_off(void) _noreturn_;		     /* also when nothing else works */
void agent_say(const char *fmt, ...) _printf_(1, 2); /* kernel log */

/* setup.c */
int agent_setup(struct agent *a, struct json_object *msg, struct dink_err *err);
void agent_unmount(struct agent *a);
int agent_grow(struct json_object *msg, struct dink_err *err);
void agent_set_clock(int64_t ns);
void agent_add_entropy(const char *base64);

/* renew.c: silence before a checkpoint, another identity after it */
void agent_hold(struct agent *a, uint32_t id, struct json_object *msg);
int agent_release(struct agent *a, struct dink_err *err);
int agent_renew(struct agent *a, struct json_object *msg, struct dink_err *err);

/* net.c */
int agent_network(struct json_object *msg, struct dink_err *err);
int agent_network_forget(struct dink_err *err); /* addresses, routes, neighbours of all NICs */
int agent_loopback_up(struct dink_err *err);

/* config.c: what only the guest knows about a config; changes it in place */
int agent_adapt_config(struct json_object *config, const char *root, struct dink_err *err);
void agent_adapt_resources(struct json_object *resources);

/* points.c: mount points that the root of a user namespace may not make; after adapt_config */
void agent_make_points(struct json_object *config, const char *root);

/* process.c: each answers request id itself */
void agent_create(struct agent *a, uint32_t id, struct json_object *msg);
void agent_exec(struct agent *a, uint32_t id, struct json_object *msg);
void agent_update(struct agent *a, uint32_t id, struct json_object *msg);
int agent_start(struct agent *a, struct dink_err *err);
int agent_signal(struct agent *a, struct json_object *msg, struct dink_err *err);
int agent_resize(struct json_object *msg, struct dink_err *err);
void agent_reap(struct agent *a); /* SIGCHLD */
void agent_kill_all(struct agent *a);

/* crun.c */
typedef void (*agent_child_fn)(void *ctx, int status); /* a wait status */
struct agent_crun {
	char *log; /* path of its log, owned */
};
/*
 * agent_spawn() - run a program; fn is called from agent_reap() at its end
 * @fds: for 0, 1, 2; not taken
 */
int agent_spawn(char *const argv[], const int fds[3], agent_child_fn fn, void *ctx,
		struct dink_err *err);
bool agent_child_ended(pid_t pid, int status); /* true if it was one of agent_spawn()'s */
bool agent_has_children(void);
/*
 * agent_crun_error() - the last error in crun's JSON log, in words that engines know; caller frees
 * @program: what was to be run
 */
char *agent_crun_error(const char *log, const char *program, int status);

/* connect.c */
int agent_connect(struct agent *a, struct json_object *msg, struct dink_err *err);

/* dns.c */
int agent_dns(struct agent *a, struct json_object *msg, struct dink_err *err);

/* info.c */
int agent_ps(struct json_object *msg, struct json_object *answer, struct dink_err *err);
int agent_stats(struct json_object *answer, struct dink_err *err);
bool agent_was_oom(void); /* the kernel killed something of the container's for lack of memory */
int agent_freeze(bool frozen, struct dink_err *err);
int agent_signal_group(int signum, struct dink_err *err);

/* main.c */
void agent_answer(struct agent *a, uint32_t id, struct json_object *msg); /* takes; adds "ok" */
void agent_refuse(struct agent *a, uint32_t id, const struct dink_err *err);
int agent_write_file(const char *path, const char *text); /* 0 or -errno */
