/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared between monitor.c (life of the container), monitor_boot.c (share tree, virtiofsd, QEMU)
 * and monitor_ctl.c (control.sock).
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/json.h"
#include "provision/base/loop.h"
#include "provision/net/links.h"
#include "provision/vm/chan.h"
#include "provision/vm/qmp.h"

#include <stdbool.h>
#include <sys/types.h>

enum mon_status { MON_BOOTING, MON_CREATED, MON_RUNNING, MON_PAUSED, MON_STOPPING };

/* A program of ours: its death is seen through the pidfd. */
struct mon_child {
	const char *name;
	pid_t pid;
	int pidfd;
	struct dink_source *source;
};

/* A file that the guest or QEMU fills: written up to a bound, the rest is read and dropped. */
struct mon_log {
	int in;
	int out;
	size_t written;
	char tail[1024];
	size_t tail_len;
	struct dink_source *source;
};

struct monitor;
struct mon_table; /* monitor_proc.c */

/* One program beside the container's own, started by exec. */
struct mon_exec {
	struct monitor *m;
	struct mon_exec *next;
	struct mon_client *client; /* NULL once it hung up */
	char *name;
	uint32_t streams[3];
	int waiting;  /* streams whose end was not seen yet */
	bool started; /* the guest said so; before that nothing it says of the exec counts */
	bool exited;
	int status;
};

/* A checkpoint under way (monitor_ckpt.c) */
struct mon_ckpt {
	struct mon_client *client; /* NULL once it hung up */
	struct dink_source *timer;
	int state_fd;
	bool disks;   /* the guest is at rest with its disks written out, and that is all */
	bool stopped; /* QEMU was told to */
	bool saved;   /* the client copies memory and disks */
};

struct mon_client {
	struct monitor *m;
	struct mon_client *next;
	struct dink_source *source;
	int fd;
	struct dink_str in;
	int fds[3];
	int n_fds;
	bool is_exec;
	bool dead;
	int pending; /* answers that are still to come: the struct has to live that long */
};

struct monitor {
	struct dink_loop *loop;
	struct json_object *plan;
	const char *dir;
	enum mon_status status;
	bool terminal;
	bool ready_told; /* the creator got its answer */
	bool hooks_done;
	bool setup_done;
	bool guest_created;
	int exit_status;
	int sync_fd;
	struct dink_source *sync_source;
	struct dink_str sync_in;
	int stdio[3];
	int waiting_streams; /* the container's own */
	uint32_t streams[3];
	struct mon_child qemu, virtiofsd;
	struct mon_log log, console;
	struct dink_qmp *qmp;
	struct dink_chan *chan;
	int n_nics;
	int ram_fd;	     /* -1: the guest's memory is in no file */
	int resolv_fd;	     /* the container's resolv.conf, read at its start; -1: none */
	int state_fd;	     /* of what QEMU loads */
	const char *no_ckpt; /* why there is none */
	char *qemu_version;
	struct mon_ckpt *ckpt;
	struct json_object *links; /* of a restore: joined once the guest knows them */
	struct json_object *cards[DINK_LINKS_MAX]; /* what the guest knows of each; NULL = free */
	int links_fd;				   /* -1: links are not watched yet */
	struct dink_source *links_timer;
	bool dns_relayed;
	bool incoming_done;
	struct mon_table *table; /* /proc of the monitor's view; NULL: empty there */
	int group_fd, proc_fd;	 /* the memory group and /proc, -1: none */
	bool group_v2, out_of_memory;
	int control_fd;
	struct dink_source *control_source, *accept_timer;
	struct mon_client *clients;
	struct mon_exec *execs;
	uint64_t exec_count;
	struct dink_source *kill_timer, *boot_timer, *end_timer, *lost_timer;
	char lost_why[160]; /* of the channel */
	uint32_t boot_ms;
	int cont_tries;
	int signal_fd;
	int64_t born_ms;
};

/* monitor.c */
void mon_finish(struct monitor *m, int status);
void mon_fail(struct monitor *m, struct dink_err *err);
void mon_end(struct monitor *m, int status); /* without asking the guest */
void mon_signal(struct monitor *m, const char *exec, int sig, bool all);
void mon_trace(struct monitor *m, const char *what);
void mon_created(struct monitor *m, enum mon_status status); /* the creator hears of it */
uint32_t mon_new_stream(struct monitor *m, int fd);
void mon_tie_streams(struct monitor *m);
void mon_fail_with(struct monitor *m, struct json_object *msg, const char *what);
void mon_hello(struct monitor *m, struct json_object *msg); /* the agent is ready to be asked */
void mon_hear_creator(void *ctx, int fd, uint32_t events);  /* "go on", or its death */
void mon_add_time(struct json_object *msg);		    /* "time_ns", for the guest's clock */

/* monitor_boot.c */
int mon_boot(struct monitor *m, struct dink_err *err) _must_check_;
void mon_drain_logs(struct monitor *m);

/* monitor_mounts.c */
/* mon_drop_mounts() - of this namespace, all that neither the VM nor a program of its needs */
int mon_drop_mounts(struct monitor *m, struct dink_err *err) _must_check_;

/* monitor_ckpt.c */
void mon_checkpoint(struct mon_client *c, struct json_object *req);
void mon_checkpointed(struct mon_client *c, struct json_object *req);
void mon_hold(struct mon_client *c, struct json_object *req);

/* monitor_disk.c */
void mon_grow(struct mon_client *c, struct json_object *req);
void mon_ckpt_client_gone(struct mon_client *c);
void mon_set_capabilities(struct monitor *m, dink_qmp_reply_fn fn);
void mon_migrated(struct monitor *m, const char *status); /* QEMU's word on save or load */

/* monitor_restore.c */
/*
 * mon_image() - what QEMU loads instead of booting: a checkpoint ("restore") or the template of a
 * bare guest ("template"), which then is set up as one that has booted; NULL = it boots
 */
struct json_object *mon_image(const struct monitor *m);
char *mon_qemu_version(struct json_object *answer); /* of query-version; caller frees */
int mon_restore_begin(struct monitor *m, struct dink_err *err) _must_check_;
void mon_restore_qemu(struct monitor *m); /* QEMU answers */
void mon_restore_loaded(struct monitor *m, bool ok);
void mon_restore_renew(struct monitor *m); /* once loaded and hooks are done */

/* monitor_root.c */
/* mon_enter_root() - once the guest has the container: then its mount points are there */
int mon_enter_root(struct monitor *m, struct dink_err *err) _must_check_;

/* monitor_proc.c */
/*
 * mon_proc_mount() - a /proc with the guest's processes, made anew for who opens it; ret: -1 with errno
 * where that cannot be, and nothing is mounted then
 */
int mon_proc_mount(struct monitor *m, const char *path);

/* monitor_oom.c */
void mon_oom_open(struct monitor *m); /* while the host's folders can be seen */
void mon_oom_tell(struct monitor *m); /* at the end, where the guest ran out of memory */

/* monitor_dns.c */
/* mon_relay_dns() - once the container looks names up on its loopback; may be called again */
void mon_relay_dns(struct monitor *m);

/* monitor_links.c */
int mon_check_links(struct monitor *m, struct dink_err *err) _must_check_; /* enough cards? */
/* mon_join_links() - each to the card of its place; ret: what the guest has to know of them */
int mon_join_links(struct monitor *m, struct json_object **ret, struct dink_err *err) _must_check_;
void mon_set_cards(struct monitor *m, struct json_object *links); /* joined by somebody else */
void mon_watch_links(struct monitor *m);			  /* from before they are joined */
void mon_see_links(struct monitor *m);				  /* now, if there was a change */

/* monitor_ctl.c */
void mon_answer(struct mon_client *c, struct json_object *msg); /* takes */
void mon_answer_error(struct mon_client *c, int e, const char *text);
/* mon_client_relay() - the end of c->pending++: msg for it, if it is still there; NULL = VM gone */
void mon_client_relay(struct mon_client *c, struct json_object *msg);

int mon_listen(struct monitor *m, struct dink_err *err) _must_check_;
void mon_exec_exited(struct monitor *m, const char *name, int status);
void mon_close_clients(struct monitor *m);
