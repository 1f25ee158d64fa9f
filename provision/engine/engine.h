/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reaching a layer: dial, then talk the Docker Engine API.
 *
 * A layer is a container of its parent's engine. The only primitive is dink_dial(): a stream to a
 * unix socket inside a layer, at any depth. On it libcurl talks HTTP, and exec/attach streams are
 * hijacked connections. No program of ours and no docker CLI needs to be inside a layer.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/json.h"
#include "provision/base/mem.h"
#include "provision/base/progress.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Where a layer's inside begins, as a chain of hops. Built from the host inward:
 *	dink_place_host()
 *	dink_place_container(): through PARENT/proc/PID/root
 *	dink_place_vm(): through dink-vm's control socket, then the guest agent
 */
struct dink_place;
struct dink_place *dink_place_host(void);
/*
 * @parent: borrowed, must outlive the result. @pid: State.Pid as the parent's engine says it
 * (a pid in the pid namespace of the parent layer).
 */
struct dink_place *dink_place_container(const struct dink_place *parent, pid_t pid);
/*
 * A container whose runtime is dink-vm: pid is its monitor; its command line names the state
 * folder with control.sock (docs/dink-vm.md).
 */
int dink_place_vm(const struct dink_place *parent, pid_t pid, struct dink_place **ret,
		  struct dink_err *err) _must_check_;
void dink_place_free(struct dink_place *p);
DEFINE_CLEANUP_PTR(struct dink_place, dink_place_free);

/*
 * dink_place_text() / dink_place_parse() - a place as one argument for another process ("dink
 * forward"): "host/container:PID@START/vm:PID@START"; START makes a reused pid an error. The text's
 * owner is the caller; the parsed place owns all its parents.
 */
char *dink_place_text(const struct dink_place *place) _must_check_;
int dink_place_parse(const char *text, struct dink_place **ret, struct dink_err *err) _must_check_;

/*
 * dink_place_hold() - the programs of a dink-vm stand still, and its disks have all that they wrote,
 * until *ret_fd is closed (also by our death)
 */
int dink_place_hold(const struct dink_place *place, int *ret_fd, struct dink_err *err) _must_check_;
/*
 * dink_place_grow() - a disk that a dink-vm has for writing gets longer, and its filesystem with it
 * @name: of the image's file, without folders; @bytes: more than it has
 */
int dink_place_grow(const struct dink_place *place, const char *name, uint64_t bytes,
		    struct dink_err *err) _must_check_;
/* dink_dial() - a stream to the unix socket `path` inside the place; *ret_fd owned by the caller */
int dink_dial(const struct dink_place *place, const char *path, int *ret_fd,
	      struct dink_err *err) _must_check_;

/* An engine: a place and the path of its API socket there. */
struct dink_engine;
struct dink_engine *dink_engine_new(const struct dink_place *place, const char *socket);
void dink_engine_free(struct dink_engine *e);
DEFINE_CLEANUP_PTR(struct dink_engine, dink_engine_free);

/*
 * dink_engine_call() - one request, JSON in and out
 * @method: "GET", "POST", "DELETE"
 * @path: "/containers/create?name=x" (no version prefix)
 * @body: borrowed, NULL = none
 * @ret: may be NULL; NULL object for an empty answer
 * A status of 400 and above is DINK_E_CHILD with the daemon's own "message"; its status is in
 * *ret_status (may be NULL).
 */
int dink_engine_call(struct dink_engine *e, const char *method, const char *path,
		     struct json_object *body, struct json_object **ret, long *ret_status,
		     struct dink_err *err) _must_check_;

/* dink_engine_wait_ready() - until GET /_ping answers, or timeout (ETIMEDOUT, DINK_E_CHILD) */
int dink_engine_wait_ready(struct dink_engine *e, uint32_t timeout_ms,
			   struct dink_err *err) _must_check_;

int dink_engine_info(struct dink_engine *e, struct json_object **ret,
		     struct dink_err *err) _must_check_;

/* dink_engine_image_id() - the id of an image by name; NULL in *ret if the engine has none */
int dink_engine_image_id(struct dink_engine *e, const char *ref, char **ret,
			 struct dink_err *err) _must_check_;
/*
 * dink_engine_load() - a docker archive into POST /images/load, as `give` hands it out: up to n
 * bytes into buf, 0 = the end; it may wait. Negative: the load is cut off, and the engine drops what
 * it has of it.
 */
int dink_engine_load(struct dink_engine *e,
		     ssize_t (*give)(void *ctx, char *buf, size_t n, struct dink_err *err),
		     void *ctx, struct dink_err *err) _must_check_;
/* dink_engine_save() - an image as a docker archive, piece by piece; the sink's negative ends it */
int dink_engine_save(struct dink_engine *e, const char *ref,
		     int (*sink)(void *ctx, const char *bytes, size_t n, struct dink_err *err),
		     void *ctx, struct dink_err *err) _must_check_;

/* dink_engine_create() - returns the container id; spec is the Engine API's create body */
int dink_engine_create(struct dink_engine *e, const char *name, struct json_object *spec,
		       char **ret_id, struct dink_err *err) _must_check_;
/* dink_engine_start() - timeout_ms: without an answer; 0 = as for any other request */
int dink_engine_start(struct dink_engine *e, const char *id, uint32_t timeout_ms,
		      struct dink_err *err) _must_check_;
/* dink_engine_inspect() - -ENOENT with err empty if there is no such container */
int dink_engine_inspect(struct dink_engine *e, const char *id, struct json_object **ret,
			struct dink_err *err) _must_check_;
int dink_engine_stop(struct dink_engine *e, const char *id, uint32_t grace_s,
		     struct dink_err *err) _must_check_;
/* dink_engine_remove() - force, with anonymous volumes; no such container is success */
int dink_engine_remove(struct dink_engine *e, const char *id, struct dink_err *err) _must_check_;

/* Running a command in a container, with its stdio on ours. */
struct dink_exec {
	const char *container;
	char *const *argv;
	char *const *env; /* NAME=VALUE, NULL = none */
	const char *user; /* NULL = the container's */
	const char *workdir;
	bool tty;	    /* allocate one; our stdin is then put into raw mode by the caller */
	bool stdin_open;    /* pass stdin */
	int in, out, errfd; /* our ends; -1 = none */
	int winch_fd; /* readable on SIGWINCH (signalfd), -1 = none: the size of `in` is sent on */
	/*
	 * How a process of the engine (its pid there) is signalled where /proc does not reach:
	 * below a VM. NULL: only its stdin is closed then. The Engine API itself has no such call.
	 */
	int (*signal_fn)(void *ctx, int64_t pid, int sig);
	void *signal_ctx;
};
/*
 * dink_engine_exec() - returns the command's exit code (0-255, 128+n), negative errno if ours
 *
 * SIGINT and SIGTERM (dink_catch_interrupts()) are passed on to the command's process and all of
 * its session; its own exit code is then returned. A second one sends SIGKILL and returns -EINTR.
 */
int dink_engine_exec(struct dink_engine *e, const struct dink_exec *x,
		     struct dink_err *err) _must_check_;
/*
 * dink_engine_exec_capture() - run, no stdin, both outputs captured (bounded by max bytes and five
 * minutes)
 * Return: the exit code; *ret_out is NUL-terminated and set for every exit code.
 */
int dink_engine_exec_capture(struct dink_engine *e, const char *container, char *const *argv,
			     size_t max, char **ret_out, struct dink_err *err) _must_check_;
/* dink_engine_exec_read() - the same for any bytes, which are added to ret */
int dink_engine_exec_read(struct dink_engine *e, const char *container, char *const *argv,
			  size_t max, struct dink_str *ret, struct dink_err *err) _must_check_;
/*
 * dink_engine_attach() - the container's own stdio (a layer with tty and a command); returns its
 * exit code, 0 where it still runs (detached with ctrl-p ctrl-q). argv, env, user are not used;
 * tty must be the container's own.
 */
int dink_engine_attach(struct dink_engine *e, const struct dink_exec *x,
		       struct dink_err *err) _must_check_;
/* dink_engine_logs() - both streams to our descriptors; follow until the container ends */
int dink_engine_logs(struct dink_engine *e, const char *container, bool follow, const char *tail,
		     int out, int errfd, struct dink_err *err) _must_check_;
/* dink_engine_get_archive() / put - `cp`: a tar stream out of or into a container */
int dink_engine_get_archive(struct dink_engine *e, const char *container, const char *path, int out,
			    struct dink_err *err) _must_check_;
int dink_engine_put_archive(struct dink_engine *e, const char *container, const char *dir, int in,
			    struct dink_err *err) _must_check_;

/*
 * The private engine: a dockerd (root) or podman service (others) that dink starts with its own
 * data root, exec root, bridge, packet rules and socket below the state and run folders, and stops
 * when nothing uses it. Found again by identity (pid, start time and boot id in
 * STATE/engine/engine.json); one that was killed is cleaned up after and started anew. Other
 * engines of the host are not touched: it shares no bridge, chain, cgroup or folder with them.
 */

/*
 * dink_private_engine_use() - start it if it does not run, and note that `user` needs it
 * @user: an instance's name
 * @dink_vm: path of dink-vm to register as runtime "dink-vm", NULL = none
 * @ret_socket: owned by the caller
 */
int dink_private_engine_use(const char *user, const char *dink_vm, char **ret_socket,
			    const struct dink_progress *progress,
			    struct dink_err *err) _must_check_;
/*
 * dink_private_engine_runtime() - register a further runtime (or change one) while it runs
 * @args: runtimeArgs, NULL-terminated, NULL = none
 */
int dink_private_engine_runtime(const char *name, const char *path, char *const *args,
				struct dink_err *err) _must_check_;
/*
 * dink_private_engine_release() - forget `user`; the last one out stops the daemon and removes all
 * that is not data: its images stay in STATE/engine/data for the next time.
 */
int dink_private_engine_release(const char *user, struct dink_err *err) _must_check_;
/*
 * dink_private_engine_leftover() - what there is of an engine that nobody uses any more, in words;
 * NULL if there is none; caller frees. A release (of any name) removes it.
 */
char *dink_private_engine_leftover(void) _must_check_;
/* dink_private_engine_socket() - path of its socket if it runs, else NULL; caller frees */
char *dink_private_engine_socket(void) _must_check_;

/*
 * dink_forward_serve() - offer `place:path` as a plain unix socket on the host until SIGTERM:
 * for each connection, dial and relay both ways with half-close. Runs in a process of its own.
 */
struct dink_forward {
	const struct dink_place *place;
	const char *path;   /* inside the place */
	const char *listen; /* on the host, mode 0600 */
};
int dink_forward_serve(const struct dink_forward *f, size_t n, int ready_fd,
		       struct dink_err *err) _must_check_;
