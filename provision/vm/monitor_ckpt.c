/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint: the guest falls silent, QEMU stops and writes its devices' state; the client, which
 * waits on control.sock, then copies memory and disks and says whether the VM goes on. A client
 * that goes away, a guest that does not answer, a QEMU that refuses: the VM goes on. hold: the first
 * part alone, with the disks written out, for whoever wants to copy them.
 */
#include "provision/vm/monitor_internal.h"

#include <signal.h>

enum { HOLD_MS = 10000, SYNC_MS = 120000, SAVE_MS = 60000, CONT_AGAIN_MS = 10, CONT_TRIES = 500 };

static void release_guest(struct monitor *m)
{
	struct json_object *msg = dink_json_new();

	dink_json_set_str(msg, "op", "release");
	dink_chan_release(m->chan);
	dink_chan_request(m->chan, msg, NULL, NULL);
}

static void free_ckpt(struct monitor *m)
{
	struct mon_ckpt *k = TAKE_PTR(m->ckpt);

	dink_source_remove(k->timer);
	if (k->client)
		k->client->pending--;
	if (k->state_fd >= 0)
		close(k->state_fd);
	free(k);
}

static void send_cont(void *ctx);

/* QEMU says how a save ended some time before it is through with it, and refuses this until then. */
static void take_cont(void *ctx, struct json_object *result, const char *error)
{
	struct monitor *m = ctx;
	_cleanup_(dink_err_clear) struct dink_err err = {};

	if (result || m->status == MON_STOPPING)
		return;
	if (m->cont_tries++ < CONT_TRIES) {
		dink_loop_after(m->loop, CONT_AGAIN_MS, send_cont, m);
		return;
	}
	dink_err_set(&err, DINK_E_CHILD, 0, "QEMU does not go on after a checkpoint: %s", error);
	mon_fail(m, &err);
}

static void send_cont(void *ctx)
{
	struct monitor *m = ctx;

	if (dink_qmp_send(m->qmp, "cont", NULL, take_cont, m) < 0)
		take_cont(m, NULL, "its control socket does not take a command");
}

/* The VM goes on as if nothing had been. */
static void go_on(struct monitor *m)
{
	m->cont_tries = 0;
	if (m->ckpt->stopped)
		send_cont(m);
	release_guest(m);
	free_ckpt(m);
	mon_trace(m, "goes on");
}

static void give_up(struct monitor *m, int e, const char *why)
{
	struct mon_ckpt *k = m->ckpt;

	mon_trace(m, why);
	if (k->client)
		mon_answer_error(k->client, e, why);
	if (k->stopped && !k->saved)
		(void)!dink_qmp_send(m->qmp, "migrate_cancel", NULL, NULL, NULL);
	go_on(m);
}

static void overdue(void *ctx)
{
	struct monitor *m = ctx;

	m->ckpt->timer = NULL;
	give_up(m, ETIMEDOUT,
		m->ckpt->stopped ? "QEMU did not save its state in time"
				 : "the guest did not come to rest in time");
}

/* A reply of QEMU's; false if there is nothing to go on with. */
static bool qemu_did(struct monitor *m, struct json_object *result, const char *error)
{
	if (!m->ckpt)
		return false;
	if (result)
		return true;
	_cleanup_free_ char *why = xasprintf("QEMU: %s", error);
	give_up(m, EIO, why);
	return false;
}

static void send_qemu(struct monitor *m, const char *command, struct json_object *args, int fd,
		      dink_qmp_reply_fn fn)
{
	if (dink_qmp_send_fd(m->qmp, command, args, fd, fn, m) < 0)
		give_up(m, EIO, "QEMU's control socket does not take a command");
}

/* Its end is the event that says so. */
static void take_migrate(void *ctx, struct json_object *result, const char *error)
{
	if (qemu_did(ctx, result, error))
		mon_trace(ctx, "saving");
}

static void take_getfd(void *ctx, struct json_object *result, const char *error)
{
	struct json_object *args = dink_json_new();

	dink_json_set_str(args, "uri", "fd:state");
	if (qemu_did(ctx, result, error))
		send_qemu(ctx, "migrate", TAKE_PTR(args), -1, take_migrate);
	json_object_put(args);
}

static void take_capabilities(void *ctx, struct json_object *result, const char *error)
{
	struct monitor *m = ctx;

	if (!qemu_did(m, result, error))
		return;
	struct json_object *args = dink_json_new();
	dink_json_set_str(args, "fdname", "state");
	send_qemu(m, "getfd", args, m->ckpt->state_fd, take_getfd);
}

static struct json_object *make_capabilities(void)
{
	static const char *const names[] = {"events", "x-ignore-shared"};
	struct json_object *args = dink_json_new(), *list = json_object_new_array();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct json_object *o = dink_json_new();
		dink_json_set_str(o, "capability", names[i]);
		dink_json_set_bool(o, "state", true);
		json_object_array_add(list, o);
	}
	dink_json_set(args, "capabilities", list);
	return args;
}

void mon_set_capabilities(struct monitor *m, dink_qmp_reply_fn fn)
{
	if (dink_qmp_send(m->qmp, "migrate-set-capabilities", make_capabilities(), fn, m) < 0)
		fn(m, NULL, "its control socket does not take a command");
}

static void take_stop(void *ctx, struct json_object *result, const char *error)
{
	struct monitor *m = ctx;

	if (qemu_did(m, result, error))
		mon_set_capabilities(m, take_capabilities);
}

static void take_version(void *ctx, struct json_object *result, const char *error)
{
	struct monitor *m = ctx;

	if (!qemu_did(m, result, error))
		return;
	free(m->qemu_version);
	m->qemu_version = mon_qemu_version(result);
	m->ckpt->stopped = true;
	send_qemu(m, "stop", NULL, -1, take_stop);
}

/* The client now copies what it wants; its hang-up is the end. */
static void tell_held(struct monitor *m)
{
	struct json_object *ok;

	if (!m->ckpt->client) {
		go_on(m);
		return;
	}
	ok = dink_json_new();
	dink_json_set_bool(ok, "ok", true);
	m->ckpt->saved = true;
	dink_source_remove(TAKE_PTR(m->ckpt->timer));
	mon_answer(m->ckpt->client, ok);
}

static void take_hold(void *ctx, struct json_object *msg)
{
	struct monitor *m = ctx;

	if (!m->ckpt || m->ckpt->stopped)
		return;
	if (!msg || !dink_json_bool_or(msg, "ok", false)) {
		give_up(m, EIO, dink_json_str_or(msg, "error", "the guest did not come to rest"));
		return;
	}
	if (dink_chan_waiting(m->chan)) {
		give_up(m, EBUSY, "another request is under way in the guest: try again");
		return;
	}
	mon_trace(m, "guest is at rest");
	if (m->ckpt->disks) {
		tell_held(m);
		return;
	}
	send_qemu(m, "query-version", NULL, -1, take_version);
}

/* What the client writes into the manifest, beside what it knows. */
static void tell_saved(struct monitor *m)
{
	struct json_object *msg = dink_json_new(), *stdio = json_object_new_array();

	for (int i = 0; i < 3; i++)
		json_object_array_add(stdio, json_object_new_int64(m->streams[i]));
	dink_json_set_bool(msg, "ok", true);
	dink_json_set_int(msg, "ram_fd", m->ram_fd);
	dink_json_set_str(msg, "qemu_version", m->qemu_version);
	dink_json_set_int(msg, "nics", m->n_nics);
	dink_json_set_int(msg, "exec_count", (int64_t)m->exec_count);
	dink_json_set_bool(msg, "paused", m->status == MON_PAUSED);
	dink_json_set(msg, "stdio", stdio);
	dink_json_set(msg, "channel", dink_chan_export(m->chan));
	dink_json_set(msg, "plan", json_object_get(m->plan));
	mon_answer(m->ckpt->client, msg);
}

void mon_migrated(struct monitor *m, const char *status)
{
	bool done = STREQ(status, "completed");
	bool failed = STREQ(status, "failed") || STREQ(status, "cancelled");

	mon_trace(m, status);
	if (!done && !failed)
		return;
	if (mon_image(m) && !m->incoming_done) {
		mon_restore_loaded(m, done);
		return;
	}
	if (!m->ckpt || m->ckpt->saved)
		return;
	if (failed || !m->ckpt->client) {
		give_up(m, EIO, "QEMU could not save its state: see monitor.log");
		return;
	}
	m->ckpt->saved = true;
	dink_source_remove(TAKE_PTR(m->ckpt->timer));
	tell_saved(m);
}

/* @state_fd: where QEMU's state goes, taken; -1 if it is for the disks only */
static void bring_to_rest(struct mon_client *c, int state_fd, bool disks)
{
	struct monitor *m = c->m;
	struct json_object *msg = dink_json_new();

	m->ckpt = xcalloc(1, sizeof(*m->ckpt));
	*m->ckpt = (struct mon_ckpt){
		.client = c,
		.state_fd = state_fd,
		.disks = disks,
		.timer = dink_loop_after(m->loop, disks ? SYNC_MS : HOLD_MS, overdue, m),
	};
	c->pending++;
	dink_json_set_str(msg, "op", "hold");
	dink_json_set_bool(msg, "freeze", m->status == MON_RUNNING);
	dink_json_set_bool(msg, "sync", disks);
	dink_chan_mute(m->chan);
	dink_chan_request(m->chan, msg, take_hold, m);
	dink_chan_hold(m->chan);
}

void mon_checkpoint(struct mon_client *c, _unused_ struct json_object *req)
{
	struct monitor *m = c->m;
	bool running = m->status == MON_RUNNING;
	bool bare = dink_json_bool_or(m->plan, "bare", false) && m->status == MON_CREATED;

	if (!running && !bare && m->status != MON_PAUSED) {
		mon_answer_error(c, EINVAL, "cannot checkpoint a container that is not running");
		return;
	}
	if (m->no_ckpt || m->ckpt || c->n_fds != 1) {
		_cleanup_free_ char *why =
			xasprintf("cannot checkpoint this container: %s",
				  m->no_ckpt ? m->no_ckpt
				  : m->ckpt  ? "another checkpoint is under way"
					     : "the request came without its descriptor");
		mon_answer_error(c, m->no_ckpt ? ENOTSUP : m->ckpt ? EBUSY : EINVAL, why);
		return;
	}
	c->n_fds = 0;
	mon_trace(m, "checkpoint");
	bring_to_rest(c, TAKE_FD(c->fds[0]), false);
}

void mon_hold(struct mon_client *c, _unused_ struct json_object *req)
{
	struct monitor *m = c->m;

	if (m->status != MON_RUNNING && m->status != MON_PAUSED) {
		mon_answer_error(c, EINVAL, "cannot hold a container that is not running");
		return;
	}
	if (m->ckpt) {
		mon_answer_error(c, EBUSY, "another checkpoint is under way");
		return;
	}
	mon_trace(m, "hold");
	bring_to_rest(c, -1, true);
}

void mon_checkpointed(struct mon_client *c, struct json_object *req)
{
	struct monitor *m = c->m;
	struct json_object *ok = dink_json_new();

	if (!m->ckpt || m->ckpt->client != c || !m->ckpt->saved) {
		json_object_put(ok);
		mon_answer_error(c, EINVAL, "no checkpoint of this connection's is under way");
		return;
	}
	dink_json_set_bool(ok, "ok", true);
	mon_answer(c, ok);
	if (m->ckpt->disks || dink_json_bool_or(req, "keep", true)) {
		go_on(m);
		return;
	}
	free_ckpt(m);
	/* its disks are in the image as they were: no more is written to them */
	mon_end(m, 128 + SIGKILL);
}

void mon_ckpt_client_gone(struct mon_client *c)
{
	struct monitor *m = c->m;

	if (!m->ckpt || m->ckpt->client != c)
		return;
	c->pending--;
	m->ckpt->client = NULL;
	if (m->ckpt->saved)
		go_on(m);
	/* else it goes on once QEMU is through */
}
