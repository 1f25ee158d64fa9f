/* SPDX-License-Identifier: Apache-2.0 */
/* The private engine's parts; see engine.h for what it is. */
#pragma once

#include "provision/engine/engine.h"

#include "provision/base/proc.h"

/* Where all of it is: from dirs.h. */
struct dink_private_paths {
	char *state;	 /* STATE/engine */
	char *run;	 /* RUN/engine */
	char *data_root; /* kept */
	char *exec_root;
	char *socket;
	char *pidfile;
	char *config; /* daemon.json: runtimes only, so that SIGHUP reloads them */
	char *record; /* engine.json */
	char *users;
	char *log;
	char *lock;
};
void dink_private_paths_init(struct dink_private_paths *p);
void dink_private_paths_clear(struct dink_private_paths *p);

/* Its network on the host. */
struct dink_private_net {
	char bridge[16];  /* "dinkbr0" */
	char subnet[20];  /* "10.212.0.0/24": the bridge's */
	char gateway[20]; /* "10.212.0.1/24" */
	char pool[20];	  /* "10.212.0.0/20": the bridge's and all networks made in the engine */
	char mac[18];	/* of the bridge: made from the state folder's name, so that it is known */
	char *iptables; /* the program that took the rules */
	uint32_t mtu;
	bool forwarding; /* whether ip_forward was on before */
};

/*
 * dink_private_net_lock() - names of bridges and cgroups, subnets and rules are shared with dinks of
 * other state folders: flock(2) on the file of this network namespace, until the descriptor is closed
 */
int dink_private_net_lock(int *ret_fd, struct dink_err *err) _must_check_;
/*
 * dink_private_net_choose() - candidate n (0..15), under the lock; -EEXIST where its name
 * or subnet is in use
 * @routes: text of /proc/net/route
 */
enum { DINK_PRIVATE_NETS = 16 };
int dink_private_net_choose(unsigned n, const char *state_dir, const char *routes,
			    struct dink_private_net *ret);
/* dink_private_net_up() - bridge and rules; what was made before a failure is for down */
int dink_private_net_up(struct dink_private_net *net, struct dink_err *err) _must_check_;
/* dink_private_net_down() - removes both if they are ours; nothing there is success */
int dink_private_net_down(const struct dink_private_net *net, struct dink_err *err) _must_check_;
void dink_private_net_clear(struct dink_private_net *net);
/* dink_private_net_is_taken() - the name is another's by now: so are its rules and its cgroup */
bool dink_private_net_is_taken(const struct dink_private_net *net);
/*
 * dink_private_net_find() - the bridge of this state folder, by its MAC address, where no record
 * tells of it; -ENOENT if there is none
 */
int dink_private_net_find(const char *state_dir, struct dink_private_net *ret);

/*
 * dink_private_find() - an engine that runs on these folders, recorded or not: by its command line,
 * in this pid namespace; 1 if there is one
 */
int dink_private_find(const struct dink_private_paths *p, struct dink_pid *ret);

/*
 * dink_private_sweep() - what a stopped or killed engine leaves: containerd, shims and containers
 * (by exec root and cgroup), mounts, cgroups, the exec root itself
 * @cgroup: "dink-0"
 */
int dink_private_sweep(const struct dink_private_paths *p, const char *cgroup,
		       struct dink_err *err) _must_check_;
