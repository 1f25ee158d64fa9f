/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: one table of commands, one table of options each; help, completion and the
 * man page check are all made from them. One file per command, thin.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/mem.h"
#include "provision/base/progress.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dink_opt_kind {
	DINK_OPT_FLAG,	   /* bool */
	DINK_OPT_STRING,   /* const char *, borrowed from argv */
	DINK_OPT_STRV,	   /* struct dink_strv, may be given again */
	DINK_OPT_INT,	   /* int64_t */
	DINK_OPT_SIZE,	   /* uint64_t bytes: "10GiB" */
	DINK_OPT_DURATION, /* uint64_t ms: "30s" */
};

/* What completion offers for an argument. */
enum dink_complete {
	DINK_COMPLETE_NONE,
	DINK_COMPLETE_FILE,
	DINK_COMPLETE_DIR,
	DINK_COMPLETE_INSTANCE, /* names of running instances */
	DINK_COMPLETE_LAYER,	/* layer addresses */
	DINK_COMPLETE_FEATURE,
};

struct dink_opt {
	char short_name; /* 0 = none */
	const char *long_name;
	enum dink_opt_kind kind;
	size_t offset; /* of the target in the command's option struct */
	const char *metavar;
	const char *help;
	enum dink_complete complete;
};

struct json_object;

struct dink_args {
	const struct dink_command *command;
	void *opts; /* the command's option struct, zeroed, then filled */
	char **v;   /* operands, NULL-terminated; after "--" included */
	int n;
	int n_before_dashes;	       /* operands before "--"; n where there was none */
	bool json;		       /* --json was given */
	bool quiet;		       /* --quiet: no progress */
	struct dink_progress progress; /* for libraries: lines on stderr, live on a terminal */
};

struct dink_command {
	const char *name;	     /* "up"; for sub-commands "kernel build" */
	const char *operands;	     /* "[SCENARIO]" */
	const char *summary;	     /* one line */
	const char *examples;	     /* several lines: "  dink up x.yaml    bring it up\n" */
	const struct dink_opt *opts; /* ended by .long_name NULL */
	size_t opts_size;
	int min_args, max_args; /* of operands; max -1 = any */
	int n_files; /* so many operands, the first, are files that are there; -1 = all */
	bool has_json;
	bool takes_command; /* stops option parsing at the first operand after LAYER or at "--" */
	enum dink_complete complete; /* of operands */
	/* returns the exit code, or fills err and returns any negative */
	int (*run)(struct dink_args *args, struct dink_err *err);
};

/* One for each command; cmd/dink/NAME.c defines it, cmd/dink/commands.c lists it. */
extern const struct dink_command cmd_up, cmd_down, cmd_status, cmd_exec, cmd_shell, cmd_logs,
	cmd_cp, cmd_plan, cmd_validate, cmd_schema, cmd_doctor, cmd_kernel_build, cmd_kernel_check,
	cmd_kernel_list, cmd_kernel_bundle, cmd_image_build, cmd_image_ls, cmd_image_copy,
	cmd_image_sync, cmd_image_rm, cmd_image_prune, cmd_disk_create, cmd_disk_show,
	cmd_disk_list, cmd_disk_clone, cmd_disk_check, cmd_disk_rm, cmd_disk_resize, cmd_disk_ls,
	cmd_disk_cat, cmd_disk_copy_in, cmd_disk_copy_out, cmd_disk_snapshot, cmd_disk_export,
	cmd_disk_import, cmd_disk_mount, cmd_disk_unmount, cmd_disk_trim, cmd_disk_docker, cmd_env,
	cmd_privileges_explain, cmd_privileges_needs, cmd_privileges_diff, cmd_privileges_minimize,
	cmd_privileges_trace, cmd_matrix, cmd_explain, cmd_trace, cmd_inspect, cmd_image_why,
	cmd_gc, cmd_version, cmd_help, cmd_complete, cmd_forward;

/* NULL-terminated, in the order help shows them; hidden ones (no summary) last */
extern const struct dink_command *const cmd_table[];

/*
 * cmd_find() - the command that the first one or two words name
 * @ret_words: how many words it took
 */
const struct dink_command *cmd_find(char *const *argv, int argc, int *ret_words);

/*
 * cmd_unknown() - the error for words that name no command: the nearest one, or those of a group
 * cmd_print_group() - the commands that begin with this word ("kernel"); false if there are none
 */
int cmd_unknown(char *const *argv, int argc, struct dink_err *err);
bool cmd_print_group(FILE *out, const char *word);

/*
 * cmd_parse_options() - fill args->opts and the operands from argv (after the command's words)
 * Options may stand anywhere before "--"; commands with takes_command stop at the second operand.
 */
int cmd_parse_options(struct dink_args *args, int argc, char **argv, struct dink_err *err);

/* The options every command has. */
struct cmd_common {
	bool help, json, quiet;
};
extern const struct dink_opt cmd_common_opts[];

void cmd_print_help(FILE *out, const struct dink_command *c);
void cmd_print_overview(FILE *out);

/* cmd_check_file() - that a file which the command line names is there; else DINK_E_USAGE (main.c) */
int cmd_check_file(const char *path, struct dink_err *err);
/* cmd_print_json() - to stdout, with a final newline; takes the object */
void cmd_print_json(struct json_object *o);
/* cmd_print_proof() - dink_instance_proof()'s list for people (up.c) */
void cmd_print_proof(struct json_object *list);
/* cmd_print_cell() - what a guest wrote, with '?' for its control characters, padded, and a blank */
void cmd_print_cell(int width, const char *text);
/* cmd_color() - whether stdout or stderr (fd) is a terminal and NO_COLOR is unset */
bool cmd_color(int fd);

/* The scenario at path, or (path NULL) the only *.yaml with "dink:" in this folder. Problems are
 * printed as they are; err then says how many there were. */
struct dink_scenario;
int cmd_load_scenario(const char *path, struct dink_scenario **ret, struct dink_err *err);
/* Up and down again as `dink up` and `dink down --volumes` do it, without words on stdout. */
int cmd_bring_up(struct dink_args *args, const struct dink_scenario *s, struct dink_err *err);
int cmd_take_down(struct dink_args *args, const char *name, struct dink_err *err);
/* The images that scenario's layers name exist: listed there, or in dink's data (validate.c). */
struct dink_problems;
int cmd_check_images(const struct dink_scenario *s, struct dink_problems *problems);
