/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What dink-vm keeps about a container: ROOT/ID/{state.json,control.sock,console.log,monitor.log,
 * share/}. state.json is written whole or not at all and names the monitor by pid and start time.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/json.h"
#include "provision/base/proc.h"

#define DINK_VM_ROOT "/run/dink-vm"

struct dink_vmstate {
	char *id;
	char *dir;		 /* ROOT/ID */
	struct json_object *doc; /* state.json */
	struct dink_pid monitor; /* pid 0 while there is none yet */
};

/* dink_vmstate_check_id() - letters, digits, "_+-.", no leading dot or dash, 1..1024 bytes */
int dink_vmstate_check_id(const char *id, struct dink_err *err) _must_check_;

/* dink_vmstate_new() - make ROOT/ID (0711 root); an existing one is refused */
int dink_vmstate_new(const char *root, const char *id, struct dink_vmstate **ret,
		     struct dink_err *err) _must_check_;

/* dink_vmstate_load() - "container ID does not exist" with ENOENT */
int dink_vmstate_load(const char *root, const char *id, struct dink_vmstate **ret,
		      struct dink_err *err) _must_check_;

/* dink_vmstate_save() - doc and monitor */
int dink_vmstate_save(struct dink_vmstate *s, struct dink_err *err) _must_check_;

/* dink_vmstate_alive() - whether the monitor lives */
bool dink_vmstate_alive(const struct dink_vmstate *s);

/*
 * dink_vmstate_remove() - the container's cgroup and the folder go
 * The folder goes also where the cgroup cannot, which is an error: another's processes are in it.
 */
int dink_vmstate_remove(struct dink_vmstate *s, struct dink_err *err) _must_check_;

/*
 * dink_vmstate_call() - one request to the monitor, one answer
 * @req: taken
 * @timeout_ms: 0 = for ever
 * {"ok":false} becomes an error with the monitor's words.
 */
int dink_vmstate_call(const struct dink_vmstate *s, struct json_object *req, uint32_t timeout_ms,
		      struct json_object **ret, struct dink_err *err) _must_check_;

/* The parts of a call, for those that keep the connection (exec). */
int dink_vmstate_connect(const struct dink_vmstate *s, int *ret_fd,
			 struct dink_err *err) _must_check_;
int dink_vm_send(int fd, struct json_object *msg, const int *fds, int n_fds,
		 struct dink_err *err) _must_check_;
int dink_vm_recv(int fd, uint32_t timeout_ms, struct json_object **ret,
		 struct dink_err *err) _must_check_;

void dink_vmstate_free(struct dink_vmstate *s);
DEFINE_CLEANUP_PTR(struct dink_vmstate, dink_vmstate_free);
