/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dink-vm: the command line of an OCI runtime. One function per command; each returns the exit
 * status or fills err, which main prints (stderr, and --log as engines read it).
 */
#pragma once

#include "provision/base/err.h"
#include "provision/vm/oci.h"
#include "provision/vm/vmstate.h"

#include <stdbool.h>
#include <stdint.h>

struct vm_globals {
	const char *root;
	const char *log;
	const char *log_format;
	const char *guest;
	const char *memory;
	const char *cpus;
	const char *accel;
	const char *ram_dir;
	const char *template_dir; /* "none" = no templates; NULL = ROOT/.templates */
	const char *boot_timeout; /* seconds */
	const char *ignored;	  /* what runc has and a VM has no use for */
	bool systemd_cgroup;
	bool debug;
	bool help;
	bool version;
};

enum vm_opt_kind { VM_OPT_FLAG, VM_OPT_STRING, VM_OPT_STRV };

struct vm_opt {
	char short_name;
	const char *long_name;
	enum vm_opt_kind kind;
	void *target; /* bool *, const char **, struct dink_strv * */
	const char *help;
};

/*
 * vm_parse() - options of opts until the first operand
 * @argv: NULL-terminated, first is what comes after the command's name
 * Return: number of arguments consumed, or negative with err (one line: what is unknown)
 */
int vm_parse(const char *command, char **argv, const struct vm_opt *opts, struct dink_err *err);
/* vm_parse_id() - the same, then exactly one operand: the container id */
int vm_parse_id(const char *command, char **argv, const struct vm_opt *opts, const char **ret_id,
		struct dink_err *err);

typedef int (*vm_command_fn)(const struct vm_globals *g, char **argv, struct dink_err *err);

/* vm_log() - a line in the file of --log, if there is one; main.c */
void vm_log(const struct vm_globals *g, const char *level, const char *msg);

/* create.c */
int vm_create(const struct vm_globals *g, char **argv, struct dink_err *err);
int vm_run(const struct vm_globals *g, char **argv, struct dink_err *err);
/* launch.c */
struct vm_create_opts {
	const char *bundle;
	const char *console_socket;
	const char *pid_file;
	struct json_object *restore; /* a checkpoint's manifest, borrowed; NULL = boot */
	const char *image;	     /* where it is, absolute */
	bool own_terminal;	     /* our tty may serve, where no --console-socket is given */
	bool keep;		     /* what is left of it when it has ended */
};
int vm_launch(const struct vm_globals *g, const struct vm_create_opts *o, const char *id,
	      pid_t *ret_pid, struct dink_err *err);
/* vm_run_attached() - launch, start unless restored, wait, delete; the program's status */
int vm_run_attached(const struct vm_globals *g, const struct vm_create_opts *o, const char *id,
		    struct dink_err *err); /* create.c */
/* plan.c */
int vm_make_plan(const struct vm_globals *g, const struct dink_oci *oci,
		 const struct dink_vmstate *state, struct json_object **ret, struct dink_err *err);
/* vm_fit_plan() - the plan of a restore: the machine is the manifest's */
int vm_fit_plan(struct json_object *plan, struct json_object *manifest, const char *image,
		struct dink_err *err);
/*
 * vm_launch_bare() - a guest without a container: what becomes a template; launch.c
 * @plan: the machine; taken over and completed
 * @ret_hold: the guest ends when it is closed
 */
int vm_launch_bare(const char *root, const char *id, struct json_object *plan,
		   struct dink_vmstate **ret, int *ret_hold, struct dink_err *err);
/* template.c: plan gets what it can be loaded from instead of booting, if there is that */
void vm_use_template(const struct vm_globals *g, struct json_object *plan);
void vm_sweep_templates(const struct vm_globals *g); /* what killed makers of one left */
/* checkpoint.c, restore.c */
/*
 * vm_save() - into the folder image, made if missing; the VM ends unless it is left running
 * @kernel_key: 64 characters that name the kernel; NULL = its SHA-256, which takes 0.2 s
 */
int vm_save(struct dink_vmstate *state, const char *image, bool leave_running,
	    const char *kernel_key, struct dink_err *err);
int vm_checkpoint(const struct vm_globals *g, char **argv, struct dink_err *err);
int vm_restore(const struct vm_globals *g, char **argv, struct dink_err *err);
/* probe.c */
int vm_probe(const struct vm_globals *g, char **argv, struct dink_err *err);
/* standin.c */
void vm_stand_in(void); /* does not return if this process is to be a stand-in */
/* vm_put_standins() - for each process of the guest one of the host; their pids, caller frees */
struct json_object *vm_put_standins(const struct dink_vmstate *s, struct json_object *processes);
/* hooks.c */
int vm_run_hooks(struct json_object *hooks, const char *name, const struct dink_vmstate *state,
		 const char *status, struct dink_err *err);
/* console.c */
int vm_open_console(const char *socket_path, struct json_object *size, int *ret_slave,
		    struct dink_err *err);
int vm_write_pid_file(const char *path, pid_t pid, struct dink_err *err);
/* exec.c */
int vm_exec(const struct vm_globals *g, char **argv, struct dink_err *err);
/* control.c */
int vm_start(const struct vm_globals *g, char **argv, struct dink_err *err);
int vm_start_state(struct dink_vmstate *s, struct dink_err *err);
int vm_kill(const struct vm_globals *g, char **argv, struct dink_err *err);
int vm_pause(const struct vm_globals *g, char **argv, struct dink_err *err);
int vm_resume(const struct vm_globals *g, char **argv, struct dink_err *err);
int vm_update(const struct vm_globals *g, char **argv, struct dink_err *err);
int vm_events(const struct vm_globals *g, char **argv, struct dink_err *err);
int vm_parse_signal(const char *text);
/* delete.c */
int vm_delete(const struct vm_globals *g, char **argv, struct dink_err *err);
int vm_delete_state(struct dink_vmstate *s, struct dink_err *err);
bool vm_has_creator(const struct dink_vmstate *s); /* a create of it is still at work */
/* vm_discard() - whatever it does, without its hooks */
int vm_discard(struct dink_vmstate *s, struct dink_err *err);
void vm_sweep(const char *root); /* state of dead containers whose bundle is gone */
/*
 * vm_hold_root() - shared by those that make a state folder, until state.json is in it; alone by
 * one that sweeps up, so that a folder without a state.json is nobody's. Freed when it is closed.
 */
int vm_hold_root(const char *root, bool alone, int *ret_fd, struct dink_err *err);
/* show.c */
int vm_state(const struct vm_globals *g, char **argv, struct dink_err *err);
int vm_list(const struct vm_globals *g, char **argv, struct dink_err *err);
int vm_ps(const struct vm_globals *g, char **argv, struct dink_err *err);
int vm_spec(const struct vm_globals *g, char **argv, struct dink_err *err);
int vm_features(const struct vm_globals *g, char **argv, struct dink_err *err);
const char *vm_status(const struct dink_vmstate *s, char buf[32]);
