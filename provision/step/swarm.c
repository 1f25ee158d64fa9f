/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The swarm step: the daemons of layers beside one another become one Docker Swarm.
 *
 * What is there is asked for, and only what is missing is done, since a step like this one finds
 * any state: nothing, one node of three lost, all of them back from their kept disks with other
 * addresses. A swarm that answers is joined. If none does, the manager that has seen most of one, by
 * its log, begins it anew with its services and networks (force-new-cluster); without such a manager
 * it is a new one.
 *
 * Tokens go from daemon to daemon through this process and are written nowhere.
 */
#include "provision/base/log.h"
#include "provision/base/mem.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"
#include "provision/step/instance.h"
#include "provision/step/kinds.h"
#include "provision/step/raft.h"

#include <poll.h>

#define SWARM_PORT "2377"

enum {
	POLL_MS = 500,
	COME_BACK_MS = 40000, /* a daemon that was restarted finds its swarm by itself in less */
	NODE_ID_MAX = 64,
	LOG_PIECE = 1 << 20,
	LOG_PIECES = 80,       /* a log is cut at 64 MiB, behind the record that goes beyond */
	SLOW_HEARTBEAT_S = 12, /* without KVM; Docker's own is 5 s, and three missed are a loss */
};

struct node {
	const char *layer;
	bool manager;
	struct dink_reach reach;
	struct dink_engine *engine;
	char *address; /* in the network of the engine around it */
	char *hostname;
	struct json_object *state; /* the member Swarm of what its daemon says of itself */
};

struct swarm {
	struct dink_step_ctx *ctx;
	bool slow;
	struct node *nodes;
	size_t n;
	struct node *leader;	    /* a manager that answers for the swarm */
	struct json_object *listed; /* its list of nodes */
};

static void clear_swarm(struct swarm *s)
{
	for (size_t i = 0; i < s->n; i++) {
		dink_reach_clear(&s->nodes[i].reach);
		free(s->nodes[i].address);
		free(s->nodes[i].hostname);
		json_object_put(s->nodes[i].state);
	}
	free(s->nodes);
	json_object_put(s->listed);
}

static bool pause_until(uint64_t end)
{
	struct pollfd p = {.fd = dink_interrupt_fd(), .events = POLLIN};

	if (dink_now_ms() >= end || dink_interrupted())
		return false;
	(void)poll(&p, 1, POLL_MS);
	return !dink_interrupted();
}

static int tell_timeout(const struct swarm *s, const struct node *n, const char *what,
			struct dink_err *err)
{
	if (dink_interrupted())
		return dink_err_set(err, DINK_E_INTR, EINTR, "interrupted");
	dink_err_set(err, DINK_E_CHILD, ETIMEDOUT, "%s %s, after %u s (dink up --timeout)",
		     n->layer, what, dink_step_timeout_ms(s->ctx) / 1000);
	return dink_err_hint(err, "dink up --keep leaves it for dink exec %s -- docker info",
			     n->layer);
}

/* --- what is there ------------------------------------------------------------------------- */

static int find_address(struct node *n, struct dink_err *err)
{
	_cleanup_json_ struct json_object *info = NULL;
	const char *address;
	int r = dink_engine_inspect(n->reach.parent, n->reach.container, &info, err);

	if (r < 0)
		return r;
	address = dink_json_str_or(info, "NetworkSettings.IPAddress", "");
	if (!*address) {
		dink_err_set(err, DINK_E_CHILD, EADDRNOTAVAIL,
			     "%s has no address that other layers reach", n->layer);
		return dink_err_hint(err, "a swarm needs an engine with a bridge around its nodes");
	}
	n->address = xstrdup(address);
	n->hostname = xstrdup(dink_json_str_or(info, "Config.Hostname", ""));
	return 0;
}

static int reach_nodes(struct swarm *s, struct json_object *params, struct dink_err *err)
{
	struct json_object *list = dink_json_get(params, "nodes");
	int r = 0;

	s->nodes = xcalloc(dink_json_len(params, "nodes") + 1, sizeof(*s->nodes));
	for (size_t i = 0; r == 0 && i < dink_json_len(params, "nodes"); i++) {
		struct json_object *o = json_object_array_get_idx(list, i);
		struct node *n = &s->nodes[s->n++];

		n->layer = dink_json_str_or(o, "layer", "");
		n->manager = STREQ(dink_json_str_or(o, "role", ""), "manager");
		r = dink_step_engine(s->ctx, n->layer, &n->reach, &n->engine, err);
		if (r == 0)
			r = find_address(n, err);
	}
	return r;
}

static int ask_state(struct node *n, struct dink_err *err)
{
	_cleanup_json_ struct json_object *info = NULL;
	int r = dink_engine_info(n->engine, &info, err);

	if (r < 0)
		return r;
	json_object_put(n->state);
	n->state = json_object_get(dink_json_get(info, "Swarm"));
	return 0;
}

static bool is_state(const struct node *n, const char *state)
{
	return STREQ(dink_json_str_or(n->state, "LocalNodeState", "inactive"), state);
}

/* A node that has another address now than it told the others is lost to them. */
static bool has_moved(const struct node *n)
{
	return !STREQ(dink_json_str_or(n->state, "NodeAddr", ""), n->address);
}

/* Whether this one knows a swarm that has a majority; the list of its nodes is kept. */
static bool leads(struct swarm *s, struct node *n)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	struct json_object *list = NULL;

	if (!n->manager || ask_state(n, &quiet) < 0 || !is_state(n, "active") || has_moved(n) ||
	    !dink_json_bool_or(n->state, "ControlAvailable", false) ||
	    dink_engine_call(n->engine, "GET", "/nodes", NULL, &list, NULL, &quiet) < 0)
		return false;
	json_object_put(s->listed);
	s->listed = list;
	s->leader = n;
	return true;
}

static bool find_leader(struct swarm *s)
{
	s->leader = NULL;
	for (size_t i = 0; i < s->n; i++)
		if (leads(s, &s->nodes[i]))
			return true;
	return false;
}

/* Whether the leader's list has the node as what it is to be; ask_state() comes before. */
static bool is_in(const struct swarm *s, const struct node *n)
{
	const char *id = dink_json_str_or(n->state, "NodeID", "");
	struct json_object *o = *id ? dink_json_find(s->listed, "", "ID", id) : NULL;

	return o && is_state(n, "active") && !has_moved(n) &&
	       STREQ(dink_json_str_or(o, "Status.State", ""), "ready") &&
	       STREQ(dink_json_str_or(o, "Spec.Role", ""), n->manager ? "manager" : "worker") &&
	       (!n->manager ||
		STREQ(dink_json_str_or(o, "ManagerStatus.Reachability", ""), "reachable"));
}

/* One that its own daemon may bring back, so that it is worth a wait. */
static bool may_come_back(const struct node *n)
{
	return (is_state(n, "active") || is_state(n, "pending")) && !has_moved(n);
}

/* --- what is done -------------------------------------------------------------------------- */

static int call(struct node *n, const char *path, struct json_object *body, struct dink_err *err)
{
	int r = dink_engine_call(n->engine, "POST", path, body, NULL, NULL, err);

	return r < 0 ? dink_err_push(err, "the daemon of %s", n->layer) : r;
}

static struct json_object *new_request(const struct node *n)
{
	struct json_object *o = dink_json_new();

	dink_json_set_str(o, "ListenAddr", "0.0.0.0:" SWARM_PORT);
	dink_json_set_str(o, "AdvertiseAddr", n->address);
	return o;
}

/* The first of those that remember a swarm, else the first one. */
static struct node *first_manager(struct swarm *s)
{
	struct node *first = NULL;

	for (size_t i = 0; i < s->n; i++) {
		struct node *n = &s->nodes[i];

		if (n->manager && !is_state(n, "inactive"))
			return n;
		if (n->manager && !first)
			first = n;
	}
	return first;
}

/* Its newest log, piece by piece, from the file's end of what is written; nothing if it has none. */
static void read_log(struct node *n, struct dink_raft_end *ret)
{
	static const char script[] = "for f in \"$1\"/swarm/raft/wal-*/*.wal; do :; done\n"
				     "exec dd if=\"$f\" bs=\"$2\" skip=\"$3\" count=1 2>/dev/null";
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_free_ char *size = xasprintf("%d", LOG_PIECE);
	_cleanup_str_ struct dink_str log = {};
	_cleanup_json_ struct json_object *info = NULL;
	int r = dink_engine_info(n->engine, &info, &quiet);

	*ret = (struct dink_raft_end){};
	for (int i = 0; r == 0 && i < LOG_PIECES; i++) {
		_cleanup_free_ char *skip = xasprintf("%d", i);
		_cleanup_strv_ struct dink_strv argv = {};
		size_t had = log.len;

		dink_strv_addl(&argv, "/bin/sh", "-c", script, "sh",
			       dink_json_str_or(info, "DockerRootDir", "/var/lib/docker"), size,
			       skip, NULL);
		r = dink_engine_exec_read(n->reach.parent, n->reach.container, argv.v, LOG_PIECE,
					  &log, &quiet);
		if (r == 0)
			r = dink_raft_read(log.s, log.len, ret);
		if (log.len == had)
			break;
	}
	dink_debug("step", "the log of %s ends at %llu.%llu %s", n->layer,
		   (unsigned long long)ret->term, (unsigned long long)ret->index,
		   quiet.msg ? quiet.msg : "");
}

/*
 * Where no majority can be had, what only those have that are lost is lost. Of those that are left
 * the one whose log goes furthest forgets least: another might have been away for long before.
 */
static struct node *best_manager(struct swarm *s)
{
	struct node *best = first_manager(s);
	struct dink_raft_end furthest, end;
	bool known = false;

	for (struct node *n = s->nodes; n < s->nodes + s->n; n++) {
		if (!n->manager || is_state(n, "inactive") || dink_interrupted())
			continue;
		read_log(n, &end);
		if (!known || dink_raft_is_newer(&end, &furthest)) {
			best = n;
			furthest = end;
		}
		known = true;
	}
	return best;
}

/* A guest without KVM is at times not heard for longer, and its tasks would be moved for nothing. */
static struct json_object *slow_spec(void)
{
	struct json_object *spec = dink_json_new(), *dispatcher = dink_json_new();

	dink_json_set_int(dispatcher, "HeartbeatPeriod", SLOW_HEARTBEAT_S * 1000000000LL);
	dink_json_set(spec, "Dispatcher", dispatcher);
	return spec;
}

static int begin(struct swarm *s, struct dink_err *err)
{
	struct node *n = best_manager(s);
	_cleanup_json_ struct json_object *body = n ? new_request(n) : NULL;
	uint64_t end = dink_now_ms() + dink_step_timeout_ms(s->ctx);
	int r;

	if (!n)
		return dink_err_set(err, DINK_E_BUG, 0, "a swarm without a manager");
	dink_json_set_bool(body, "ForceNewCluster", !is_state(n, "inactive"));
	if (s->slow)
		dink_json_set(body, "Spec", slow_spec());
	r = call(n, "/swarm/init", body, err);
	if (r < 0)
		return dink_err_hint(err,
				     "dink exec %s -- docker swarm leave --force forgets what "
				     "it had",
				     n->layer);
	while (!leads(s, n))
		if (!pause_until(end))
			return tell_timeout(s, n, "began a swarm that does not answer", err);
	return 0;
}

/* Whether a majority of the managers is on its way: then theirs is the swarm, slow as they may be. */
static bool majority_comes_back(const struct swarm *s)
{
	size_t managers = 0, coming = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (!s->nodes[i].manager)
			continue;
		managers++;
		coming += may_come_back(&s->nodes[i]);
	}
	return coming > managers / 2;
}

static int find_or_begin(struct swarm *s, struct dink_err *err)
{
	uint64_t end = dink_now_ms() + dink_step_timeout_ms(s->ctx);

	for (;;) {
		if (find_leader(s))
			return 0;
		for (size_t i = 0; i < s->n; i++) {
			int r = ask_state(&s->nodes[i], err);

			if (r < 0)
				return dink_err_push(err, "the daemon of %s", s->nodes[i].layer);
		}
		if (!majority_comes_back(s))
			return begin(s, err);
		if (!pause_until(end))
			return tell_timeout(s, first_manager(s), "finds no majority of its swarm",
					    err);
	}
}

/* While the managers choose a new leader among them, for which a joining one is a reason, none answers. */
static int ask_leader(struct swarm *s, const char *path, struct json_object **ret,
		      struct dink_err *err)
{
	uint64_t end = dink_now_ms() + dink_step_timeout_ms(s->ctx);

	for (;;) {
		_cleanup_(dink_err_clear) struct dink_err why = {};
		int r = dink_engine_call(s->leader->engine, "GET", path, NULL, ret, NULL, &why);

		if (r == 0)
			return 0;
		if (pause_until(end))
			continue;
		if (dink_interrupted())
			return tell_timeout(s, s->leader, "", err);
		dink_err_move(err, &why);
		return dink_err_push(err, "the daemon of %s, asked for %u s", s->leader->layer,
				     dink_step_timeout_ms(s->ctx) / 1000);
	}
}

static int refresh(struct swarm *s, struct node *n, struct dink_err *err)
{
	struct json_object *list = NULL;
	int r = ask_leader(s, "/nodes", &list, err);

	if (r < 0)
		return r;
	json_object_put(s->listed);
	s->listed = list;
	return ask_state(n, err);
}

static int wait_in(struct swarm *s, struct node *n, uint64_t ms, struct dink_err *err)
{
	uint64_t end = dink_now_ms() + ms;
	int r;

	for (;;) {
		r = refresh(s, n, err);
		if (r < 0 || is_in(s, n))
			return r;
		if (!pause_until(end))
			return tell_timeout(s, n, "does not become a ready node of the swarm", err);
	}
}

/* The daemon gives up waiting after 20 s and goes on joining: so its error is not the last word. */
static int join(struct swarm *s, struct node *n, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err why = {}, late = {};
	_cleanup_json_ struct json_object *of = NULL, *body = new_request(n);
	_cleanup_free_ char *remote = xasprintf("%s:" SWARM_PORT, s->leader->address);
	struct json_object *remotes = json_object_new_array();
	const char *token = NULL;
	int r;

	dink_json_set(body, "RemoteAddrs", remotes);
	json_object_array_add(remotes, json_object_new_string(remote));
	r = ask_leader(s, "/swarm", &of, err);
	if (r == 0)
		r = dink_json_need_str(of, "the swarm",
				       n->manager ? "JoinTokens.Manager" : "JoinTokens.Worker",
				       &token, err);
	if (r < 0)
		return r;
	dink_json_set_str(body, "JoinToken", token);
	r = call(n, "/swarm/join", body, &why);
	if (wait_in(s, n, dink_step_timeout_ms(s->ctx), &late) == 0)
		return 0;
	if (r == 0 || late.code == DINK_E_INTR) {
		dink_err_move(err, &late);
		return -EIO;
	}
	dink_err_move(err, &why);
	return dink_err_push(err, "%s, which is no ready node %u s later (dink up --timeout)",
			     n->layer, dink_step_timeout_ms(s->ctx) / 1000);
}

static int bring_in(struct swarm *s, struct node *n, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	int r = refresh(s, n, err);

	if (r < 0 || is_in(s, n))
		return r;
	if (may_come_back(n) && wait_in(s, n, COME_BACK_MS, &quiet) == 0)
		return 0;
	if (dink_interrupted())
		return tell_timeout(s, n, "", err);
	if (!is_state(n, "inactive")) {
		r = call(n, "/swarm/leave?force=1", NULL, err);
		if (r < 0)
			return r;
	}
	return join(s, n, err);
}

/* --- nodes that are no more ---------------------------------------------------------------- */

/* Called as one of the layers, and not the node that the layer is now. */
static bool is_lost(const struct swarm *s, struct json_object *o)
{
	const char *id = dink_json_str_or(o, "ID", "");
	const char *hostname = dink_json_str_or(o, "Description.Hostname", "");
	bool ours = false;

	for (size_t i = 0; i < s->n; i++) {
		if (STREQ(dink_json_str_or(s->nodes[i].state, "NodeID", ""), id))
			return false;
		ours = ours || STREQ(s->nodes[i].hostname, hostname);
	}
	return ours;
}

static bool is_node_id(const char *id)
{
	size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789");

	return n > 0 && n <= NODE_ID_MAX && !id[n];
}

/* What counts to the majority has to be no manager before it can go. */
static int demote(struct swarm *s, struct json_object *o, const char *id, struct dink_err *err)
{
	_cleanup_json_ struct json_object *spec = NULL;
	_cleanup_free_ char *path = xasprintf("/nodes/%s/update?version=%lld", id,
					      (long long)dink_json_int_or(o, "Version.Index", 0));

	if (!STREQ(dink_json_str_or(o, "Spec.Role", ""), "manager"))
		return 0;
	if (json_object_deep_copy(dink_json_get(o, "Spec"), &spec, NULL) < 0)
		return -EINVAL;
	dink_json_set_str(spec, "Role", "worker");
	return call(s->leader, path, spec, err);
}

/*
 * A layer that joined anew is another node; the one that it was stays in the list as down, and as a
 * manager in the majority. The swarm works with it, so what cannot be removed now may stay.
 */
static void forget_lost(struct swarm *s)
{
	uint64_t end = dink_now_ms() + COME_BACK_MS;
	size_t left;

	do {
		_cleanup_(dink_err_clear) struct dink_err quiet = {};

		left = 0;
		if (refresh(s, s->leader, &quiet) < 0)
			return;
		for (size_t i = 0; i < dink_json_len(s->listed, ""); i++) {
			_cleanup_(dink_err_clear) struct dink_err why = {};
			struct json_object *o = json_object_array_get_idx(s->listed, i);
			const char *id = dink_json_str_or(o, "ID", "");
			_cleanup_free_ char *path = xasprintf("/nodes/%s?force=1", id);

			if (!is_node_id(id) || !is_lost(s, o))
				continue;
			if (demote(s, o, id, &why) < 0 ||
			    dink_engine_call(s->leader->engine, "DELETE", path, NULL, NULL, NULL,
					     &why) < 0)
				left++;
		}
	} while (left > 0 && pause_until(end));
}

/* --- the step ------------------------------------------------------------------------------ */

static char *describe_swarm(struct json_object *params)
{
	return xasprintf("a swarm of %zu layers in %s", dink_json_len(params, "nodes"),
			 dink_json_str_or(params, "engine", "?"));
}

static int apply_swarm(struct dink_step_ctx *ctx, struct json_object *params,
		       struct json_object **ret, struct dink_err *err)
{
	_cleanup_(clear_swarm) struct swarm s = {.ctx = ctx};
	int r = reach_nodes(&s, params, err);

	s.slow = dink_json_bool_or(params, "slow", false);

	(void)ret;
	if (r == 0)
		r = find_or_begin(&s, err);
	/* one after the other: each new manager changes the majority */
	for (size_t i = 0; r == 0 && i < s.n; i++)
		r = bring_in(&s, &s.nodes[i], err);
	if (r == 0)
		forget_lost(&s);
	return r;
}

static int check_swarm(struct dink_step_ctx *ctx, struct json_object *params,
		       struct json_object *identity, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_(clear_swarm) struct swarm s = {.ctx = ctx};

	(void)identity;
	(void)err;
	if (reach_nodes(&s, params, &quiet) < 0 || !find_leader(&s))
		return 0;
	for (size_t i = 0; i < s.n; i++)
		if (ask_state(&s.nodes[i], &quiet) < 0 || !is_in(&s, &s.nodes[i]))
			return 0;
	return 1;
}

/* Nothing is undone: it ends with its layers, and is on their disks, if those are kept. */
const struct dink_step_kind dink_kind_swarm = {
	.name = "swarm",
	.describe = describe_swarm,
	.apply = apply_swarm,
	.check = check_swarm,
};
