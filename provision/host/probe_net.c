/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networking and namespaces: each thing is made once in a network namespace of a thread of ours,
 * which ends with the thread and takes all of it along. Nothing in the host's own namespace is
 * touched. One namespace serves all: making one is the dearest call here.
 */
#include "provision/host/probe.h"

#include "provision/base/file.h"
#include "provision/base/proc.h"

#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

struct thread_job {
	int namespaces;
	int (*fn)(void *ctx);
	void *ctx;
	int result;
};

static void *thread_main(void *arg)
{
	struct thread_job *job = arg;

	job->result = unshare(job->namespaces) < 0 ? -errno : job->fn(job->ctx);
	return NULL;
}

int dink_probe_thread(int namespaces, int (*fn)(void *ctx), void *ctx)
{
	struct thread_job job = {.namespaces = namespaces, .fn = fn, .ctx = ctx};
	pthread_t t;
	int r = pthread_create(&t, NULL, thread_main, &job);

	if (r != 0)
		return -r;
	pthread_join(t, NULL);
	return job.result;
}

/* A request of one attribute list, small enough for any link kind's name. */
struct link_request {
	struct nlmsghdr head;
	struct ifinfomsg info;
	char attrs[128];
};

static struct rtattr *add_attr(struct link_request *q, unsigned short type, const void *data,
			       size_t len)
{
	struct rtattr *a = (struct rtattr *)(void *)((char *)q + NLMSG_ALIGN(q->head.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(a), data, len);
	q->head.nlmsg_len = NLMSG_ALIGN(q->head.nlmsg_len) + (uint32_t)RTA_ALIGN(a->rta_len);
	return a;
}

/* ip link add probe-KIND type KIND; returns 0 or the kernel's -errno */
static int make_link(const char *kind)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct link_request q = {
		.head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
			 .nlmsg_type = RTM_NEWLINK,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK},
		.info = {.ifi_family = AF_UNSPEC},
	};
	union {
		struct nlmsghdr head;
		char bytes[1024];
	} answer;
	char name[IFNAMSIZ];

	if (fd < 0)
		return -errno;
	snprintf(name, sizeof(name), "probe-%s", kind);
	add_attr(&q, IFLA_IFNAME, name, strlen(name) + 1);
	struct rtattr *nest = add_attr(&q, IFLA_LINKINFO, NULL, 0);
	add_attr(&q, IFLA_INFO_KIND, kind, strlen(kind) + 1);
	nest->rta_len = (unsigned short)((char *)&q + q.head.nlmsg_len - (char *)nest);
	if (send(fd, &q, q.head.nlmsg_len, 0) < 0)
		return -errno;
	ssize_t n = recv(fd, &answer, sizeof(answer), 0);
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)))
		return n < 0 ? -errno : -EPROTO;
	if (answer.head.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return ((struct nlmsgerr *)NLMSG_DATA(&answer.head))->error;
}

/*
 * An ordinary user may not make network namespaces. What he uses is a daemon that may, so a refusal
 * for that reason alone says nothing against the host.
 */
static bool only_root_may_try(int r)
{
	return r == -EPERM && geteuid() != 0;
}

static void probe_link(const char *kind, int namespace, struct dink_usable *u)
{
	int r = namespace < 0 ? namespace : make_link(kind);

	if (r == -EOPNOTSUPP)
		return dink_usable_no(u, "the kernel has no %s links", kind);
	if (r < 0 && !only_root_may_try(r))
		return dink_usable_no(u, "making a %s in a new network namespace: %s", kind,
				      strerror(-r));
	dink_usable_yes(u);
}

static int try_tun(void)
{
	struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return ioctl(fd, TUNSETIFF, &r) < 0 ? -errno : 0;
}

static void probe_tun(int namespace, struct dink_usable *u)
{
	if (!dink_exists("/dev/net/tun"))
		return dink_usable_no(u, "/dev/net/tun is not there");
	int r = namespace < 0 ? namespace : try_tun();
	if (r < 0 && !only_root_may_try(r))
		return dink_usable_no(u, "making a tap in a new network namespace: %s",
				      strerror(-r));
	dink_usable_yes(u);
}

/* One firewall program run in the new namespace (a child inherits its thread's). */
static int try_firewall(const char *program, struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;

	dink_cmd_argv(&cmd, program, "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE", NULL);
	cmd.timeout_ms = 5000;
	return dink_cmd_run(&cmd, err);
}

static void probe_firewall(const char *program, int namespace, struct dink_usable *u)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *path = dink_probe_find(program);

	if (!path)
		return dink_usable_no(u, "%s is not installed", program);
	int r = namespace < 0 ? namespace : try_firewall(path, &err);
	if (r >= 0 || only_root_may_try(r))
		dink_usable_yes(u);
	else
		dink_usable_no(u, "%s in a new network namespace: %s", program,
			       err.msg ? err.msg : strerror(-r));
}

/* Whether /etc/subuid gives the user a range, by name or number: an image's files need owners. */
static bool has_subordinate_ids(const char *file)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *text = NULL, *number = xasprintf("%u:", getuid());
	const struct passwd *pw = getpwuid(getuid());
	_cleanup_free_ char *name = xasprintf("%s:", pw ? pw->pw_name : "");

	if (dink_file_read(file, 1 << 20, &text, NULL, &ignored) < 0)
		return false;
	for (const char *line = text; line[0]; line += strcspn(line, "\n"), line += line[0] != 0)
		if (dink_starts_with(line, number) || (pw && dink_starts_with(line, name)))
			return true;
	return false;
}

static void probe_user_namespaces(struct dink_usable *u)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;

	dink_cmd_argv(&cmd, "unshare", "--user", "true", NULL);
	cmd.timeout_ms = 5000;
	if (dink_cmd_run(&cmd, &err) < 0)
		return dink_usable_no(u, "%s", err.msg);
	if (getuid() != 0 &&
	    (!has_subordinate_ids("/etc/subuid") || !has_subordinate_ids("/etc/subgid")))
		return dink_usable_no(u, "uid %u has no range in /etc/subuid and /etc/subgid",
				      getuid());
	dink_usable_yes(u);
}

static void probe_device(const char *path, struct dink_usable *u)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return dink_usable_no(u, "%s: %s", path, strerror(errno));
	dink_usable_yes(u);
}

/* @namespace: 0 in the new namespace, -errno if there is none to try in */
static void probe_links(struct dink_facts *f, int namespace)
{
	probe_tun(namespace, &f->tun);
	probe_link("bridge", namespace, &f->bridge);
	probe_link("veth", namespace, &f->veth);
	probe_firewall("iptables-legacy", namespace, &f->iptables_legacy);
	probe_firewall("iptables-nft", namespace, &f->nftables);
}

static int probe_inside(void *ctx)
{
	probe_links(ctx, 0);
	return 0;
}

void dink_probe_net(struct dink_facts *f)
{
	int r = dink_probe_thread(CLONE_NEWNET, probe_inside, f);

	if (r < 0)
		probe_links(f, r);
	probe_user_namespaces(&f->user_namespaces);
	probe_device("/dev/vhost-vsock", &f->vhost_vsock);
	probe_device("/dev/vhost-net", &f->vhost_net);
}
