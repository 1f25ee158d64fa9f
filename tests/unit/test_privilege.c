/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Needs to grants: who gets what, what flows outward and what VM walls keep in, what a host cannot
 * give, and the seccomp profile that comes of it.
 */
#include "tests/unit/unit.h"

#include "provision/base/json.h"
#include "provision/privilege/needs.h"

#include <linux/capability.h>

static const char deep[] = "dink: 1\n"
			   "name: deep\n"
			   "disks:\n"
			   "  store: {size: 1GiB, filesystem: btrfs}\n"
			   "layers:\n"
			   "  outer:\n"
			   "    image: docker-host\n"
			   "    daemon: docker\n"
			   "    layers:\n"
			   "      middle:\n"
			   "        image: docker-host\n"
			   "        daemon: docker\n"
			   "        layers:\n"
			   "          vm:\n"
			   "            image: docker-host\n"
			   "            runtime: dink-vm\n"
			   "            disks: {store: /var/lib/docker}\n"
			   "            daemon: docker\n"
			   "            layers:\n"
			   "              leaf: {image: debian}\n"
			   "      plain: {image: debian}\n";

static const char vm_on_host[] = "dink: 1\n"
				 "name: flat\n"
				 "layers:\n"
				 "  box: {image: debian, runtime: dink-vm}\n";

struct world {
	struct dink_scenario *s;
	struct dink_facts *f;
};

static struct world make_world(const char *yaml, const char *host)
{
	_cleanup_(dink_problems_clear) struct dink_problems problems = {};
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *path = xasprintf("tests/hosts/%s.json", host);
	struct world w = {};

	if (dink_scenario_parse("test.yaml", yaml, strlen(yaml), &w.s, &problems) < 0)
		fail_msg("%s", problems.list[0].msg);
	if (dink_facts_load(path, &w.f, &err) < 0)
		fail_msg("%s", err.msg);
	return w;
}

static void free_world(struct world *w)
{
	dink_scenario_free(w->s);
	dink_facts_free(w->f);
}

static const struct dink_layer *outer(const struct world *w)
{
	return w->s->layers[0];
}

static const struct dink_layer *child(const struct dink_layer *l, const char *name)
{
	for (size_t i = 0; i < l->n_children; i++)
		if (STREQ(l->children[i]->name, name))
			return l->children[i];
	fail_msg("no layer %s", name);
	return NULL;
}

static struct dink_privileges *grants(const struct world *w, const struct dink_layer *l,
				      const char *path)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct dink_privileges *p = NULL;

	if (dink_privileges_of(w->s, l, path, w->f, false, &p, &err) < 0)
		fail_msg("%s", err.msg);
	return p;
}

static const struct dink_grant *grant(const struct dink_privileges *p, const char *what)
{
	for (size_t i = 0; i < p->n_grants; i++)
		if (STREQ(p->grants[i].what, what))
			return &p->grants[i];
	return NULL;
}

static size_t count(const struct dink_privileges *p, enum dink_grant_kind k)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_grants; i++)
		n += p->grants[i].kind == k;
	return n;
}

/* The middle one's VM needs a tap: so the outer one holds the device, too, and says for whom. */
static void test_flows_outward(void **state _unused_)
{
	_cleanup_(free_world) struct world w = make_world(deep, "debian12-tcg");
	_cleanup_(dink_privileges_freep) struct dink_privileges *p =
		grants(&w, outer(&w), "deep/outer");
	const struct dink_grant *tun = grant(p, "/dev/net/tun rw");

	assert_non_null(tun);
	assert_int_equal(tun->kind, DINK_GRANT_DEVICE);
	assert_int_equal(tun->reasons.n, 1);
	assert_string_equal(tun->reasons.v[0],
			    "deep/outer/middle starts VMs: the VM's network card");
	assert_true(dink_privileges_have(p, DINK_GRANT_CAPABILITY, "CAP_NET_ADMIN"));
	assert_true(dink_privileges_have(p, DINK_GRANT_CAPABILITY, "CAP_SYS_ADMIN"));
	assert_int_equal(count(p, DINK_GRANT_CAPABILITY), 2);
	assert_int_equal(count(p, DINK_GRANT_SYSCALL), 2);
	assert_int_equal(count(p, DINK_GRANT_DEVICE), 1);
	/* its own, once: the middle one's mounts are the outer daemon's work */
	assert_int_equal(grant(p, "tmpfs /run")->reasons.n, 1);
	assert_int_equal(grant(p, "net.ipv4.ip_forward=1")->reasons.n, 1);
	assert_null(grant(p, "CAP_SYS_RESOURCE"));
	assert_null(grant(p, "/dev/kvm rw"));
	for (size_t i = 1; i < p->n_grants; i++)
		assert_true(p->grants[i - 1].kind <= p->grants[i].kind);
}

/* In the guest: what its daemon needs, but no tap, and no volume where a disk is mounted. */
static void test_walls(void **state _unused_)
{
	_cleanup_(free_world) struct world w = make_world(deep, "debian12-tcg");
	const struct dink_layer *vm = child(child(outer(&w), "middle"), "vm");
	_cleanup_(dink_privileges_freep) struct dink_privileges *p =
		grants(&w, vm, "deep/outer/middle/vm");

	assert_true(dink_privileges_have(p, DINK_GRANT_CAPABILITY, "CAP_SYS_ADMIN"));
	assert_true(dink_privileges_have(p, DINK_GRANT_MOUNT, "tmpfs /run"));
	assert_null(grant(p, "/dev/net/tun rw"));
	assert_null(grant(p, "volume /var/lib/docker"));
}

static void test_leaves_get_nothing(void **state _unused_)
{
	_cleanup_(free_world) struct world w = make_world(deep, "debian13-kvm");
	const struct dink_layer *vm = child(child(outer(&w), "middle"), "vm");
	_cleanup_(dink_privileges_freep) struct dink_privileges *leaf =
		grants(&w, child(vm, "leaf"), "deep/outer/middle/vm/leaf");
	_cleanup_(dink_privileges_freep) struct dink_privileges *plain =
		grants(&w, child(outer(&w), "plain"), "deep/outer/plain");

	assert_int_equal(leaf->n_grants, 0);
	assert_int_equal(plain->n_grants, 0);
	assert_false(dink_privileges_wants_seccomp(plain));
}

/* /dev/kvm only where KVM was proved, AppArmor only where it is on, and neither in a guest. */
static void test_host_decides(void **state _unused_)
{
	_cleanup_(free_world) struct world w = make_world(deep, "debian13-kvm");
	const struct dink_layer *vm = child(child(outer(&w), "middle"), "vm");
	_cleanup_(dink_privileges_freep) struct dink_privileges *p =
		grants(&w, outer(&w), "deep/outer");
	_cleanup_(dink_privileges_freep) struct dink_privileges *in =
		grants(&w, vm, "deep/outer/middle/vm");

	assert_true(dink_privileges_have(p, DINK_GRANT_DEVICE, "/dev/kvm rw"));
	assert_true(dink_privileges_have(p, DINK_GRANT_LSM, "apparmor=unconfined"));
	assert_null(grant(in, "/dev/kvm rw"));
	assert_null(grant(in, "apparmor=unconfined"));
}

/* The engine's AppArmor profile is taken from those alone that mount. */
static void test_lsm(void **state _unused_)
{
	static const char yaml[] = "dink: 1\n"
				   "name: lsm\n"
				   "layers:\n"
				   "  t: {image: debian, needs: [trace-child, supervisor-init]}\n"
				   "  u: {image: debian, needs: [userns-child]}\n";
	_cleanup_(free_world) struct world w = make_world(yaml, "debian13-kvm");
	_cleanup_(dink_privileges_freep) struct dink_privileges *t =
		grants(&w, w.s->layers[0], "lsm/t");
	_cleanup_(dink_privileges_freep) struct dink_privileges *u =
		grants(&w, w.s->layers[1], "lsm/u");

	assert_true(w.f->apparmor);
	assert_int_equal(count(t, DINK_GRANT_LSM), 0);
	assert_int_equal(count(u, DINK_GRANT_LSM), 1);
	assert_string_equal(grant(u, "apparmor=unconfined")->reasons.v[0],
			    "lsm/u starts containers in user namespaces: the engine's AppArmor "
			    "profile denies every mount");
}

static void expect_refused(const char *yaml, const char *host, const char *message,
			   const char *hint)
{
	_cleanup_(free_world) struct world w = make_world(yaml, host);
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *path = xasprintf("%s/%s", w.s->name, outer(&w)->name);
	struct dink_privileges *p = NULL;

	assert_true(dink_privileges_of(w.s, outer(&w), path, w.f, false, &p, &err) < 0);
	assert_null(p);
	assert_int_equal(err.code, DINK_E_HOST);
	assert_string_equal(err.msg, message);
	assert_non_null(strstr(err.hint, hint));
}

static void test_host_cannot(void **state _unused_)
{
	expect_refused(deep, "no-tun",
		       "this host cannot give the device /dev/net/tun rw (/dev/net/tun is not "
		       "there), which is needed: deep/outer/middle starts VMs: the VM's network "
		       "card",
		       "modprobe tun");
	expect_refused(deep, "no-cap-sys-admin",
		       "this host cannot give the capability CAP_SYS_ADMIN (it is not in the "
		       "bounding set), which is needed: deep/outer runs a Docker daemon: mounting "
		       "image layers",
		       "--cap-add");
	expect_refused(deep, "no-cgroups",
		       "this host cannot give the namespace cgroup=private (no cgroups are "
		       "mounted), which is needed: deep/outer makes cgroups for its containers: it "
		       "makes groups below its own and sees no others",
		       "mount -t cgroup2");
	expect_refused(vm_on_host, "no-tun",
		       "this host cannot give the device /dev/net/tun rw (/dev/net/tun is not "
		       "there), which is needed: the host starts VMs (flat/box): the VM's network "
		       "card",
		       "modprobe tun");
}

/* Podman as the host's engine on a host without CAP_SYS_RESOURCE: limits that can be had. */
static void test_podman_limits(void **state _unused_)
{
	_cleanup_(free_world) struct world w = make_world(deep, "debian13-rootless-podman");
	_cleanup_(dink_privileges_freep) struct dink_privileges *can = NULL, *cannot = NULL;

	can = grants(&w, outer(&w), "deep/outer");
	assert_int_equal(count(can, DINK_GRANT_RLIMIT), 0);
	w.f->cap_bounding &= ~(1ull << CAP_SYS_RESOURCE);
	cannot = grants(&w, outer(&w), "deep/outer");
	assert_int_equal(count(cannot, DINK_GRANT_RLIMIT), 2);
	assert_true(dink_privileges_have(cannot, DINK_GRANT_RLIMIT, "nofile=1048576:1048576"));
	assert_true(dink_privileges_have(cannot, DINK_GRANT_RLIMIT, "nproc=32768:32768"));
}

static void test_host_needs(void **state _unused_)
{
	_cleanup_(free_world) struct world w = make_world(deep, "debian12-tcg");
	_cleanup_(free_world) struct world v = make_world(vm_on_host, "debian12-tcg");
	uint32_t needs = dink_privileges_host_needs(w.s, w.f, false);

	assert_true(needs & 1u << DINK_NEED_DOCKER_DAEMON);
	assert_true(needs & 1u << DINK_NEED_VM_CHILD);
	assert_false(needs & 1u << DINK_NEED_KVM);
	assert_int_equal(dink_privileges_host_needs(v.s, v.f, false), 1u << DINK_NEED_VM_CHILD);
}

static const char base[] =
	"{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"defaultErrnoRet\": 38, \"syscalls\": ["
	"{\"names\": [\"read\", \"write\"], \"action\": \"SCMP_ACT_ALLOW\"},"
	"{\"names\": [\"mount\"], \"action\": \"SCMP_ACT_ALLOW\","
	" \"includes\": {\"caps\": [\"CAP_SYS_ADMIN\"]}},"
	"{\"names\": [\"acct\"], \"action\": \"SCMP_ACT_ALLOW\","
	" \"includes\": {\"caps\": [\"CAP_SYS_PACCT\"]}},"
	"{\"names\": [\"chroot\"], \"action\": \"SCMP_ACT_ALLOW\","
	" \"excludes\": {\"caps\": [\"CAP_SYS_ADMIN\"]}},"
	"{\"names\": [\"keyctl\", \"acct\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 1}]}";

static void test_seccomp(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(free_world) struct world w = make_world(deep, "debian12-tcg");
	_cleanup_(dink_privileges_freep) struct dink_privileges *p =
		grants(&w, outer(&w), "deep/outer");
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_free_ char *text = NULL;
	struct dink_seccomp_count c = {};
	struct json_object *rules, *last, *denied;

	assert_true(dink_privileges_wants_seccomp(p));
	assert_int_equal(dink_privileges_seccomp(p, base, strlen(base), &text, &err), 0);
	assert_int_equal(dink_json_parse(text, strlen(text), "profile", &o, &err), 0);
	rules = dink_json_get(o, "syscalls");
	assert_int_equal(json_object_array_length(rules), 6);
	denied = dink_json_get(json_object_array_get_idx(rules, 4), "names");
	assert_int_equal(json_object_array_length(denied), 1); /* keyctl is denied no longer */
	last = json_object_array_get_idx(rules, 5);
	assert_string_equal(dink_json_str_or(last, "action", ""), "SCMP_ACT_ALLOW");
	assert_int_equal(dink_json_len(last, "names"), 2);
	/* read, write, mount (by its capability), keyctl, pivot_root */
	assert_int_equal(dink_seccomp_count(p, text, strlen(text), &c, &err), 0);
	assert_int_equal(c.allowed, 5);
	assert_true(c.denied > 300);
}

static void test_seccomp_refuses(void **state _unused_)
{
	static const struct {
		const char *text, *message;
	} bad[] = {
		{"{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": []}",
		 "seccomp profile: defaultAction is SCMP_ACT_ALLOW: it would allow what it does "
		 "not name"},
		{"{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"syscalls\": 1}",
		 "seccomp profile: syscalls: expected a list"},
	};
	_cleanup_(free_world) struct world w = make_world(deep, "debian12-tcg");
	_cleanup_(dink_privileges_freep) struct dink_privileges *p =
		grants(&w, outer(&w), "deep/outer");

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(dink_err_clear) struct dink_err err = {};
		char *text = NULL;

		assert_true(dink_privileges_seccomp(p, bad[i].text, strlen(bad[i].text), &text,
						    &err) < 0);
		assert_null(text);
		assert_string_equal(err.msg, bad[i].message);
	}
}

/* What a scenario may name is in the table; what comes with it is granted, too. */
static void test_declared(void **state _unused_)
{
	static const char yaml[] =
		"dink: 1\n"
		"name: user\n"
		"layers:\n"
		"  box: {image: debian, needs: [rootless-daemon, trace-child]}\n";
	_cleanup_(free_world) struct world w = make_world(yaml, "debian12-tcg");
	_cleanup_(dink_privileges_freep) struct dink_privileges *p =
		grants(&w, outer(&w), "user/box");

	assert_true(dink_privileges_have(p, DINK_GRANT_UNMASK, "/proc"));
	assert_true(dink_privileges_have(p, DINK_GRANT_DEVICE, "/dev/net/tun rw"));
	assert_true(dink_privileges_have(p, DINK_GRANT_SYSCALL, "unshare"));
	assert_true(dink_privileges_have(p, DINK_GRANT_CAPABILITY, "CAP_SYS_PTRACE"));
	assert_false(dink_privileges_have(p, DINK_GRANT_CAPABILITY, "CAP_SYS_ADMIN"));
	for (const char *const *n = dink_layer_need_names(); *n; n++)
		assert_int_not_equal(dink_need_from_name(*n), DINK_NEED_MAX_);
	assert_int_equal(dink_need_from_name("no-such"), DINK_NEED_MAX_);
}

/* A grant that is left out is gone, and a call that the base profile allows is denied. */
static void test_leave_out(void **state _unused_)
{
	static const char profile[] =
		"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":["
		"\"read\",\"keyctl\",\"clone\"],\"action\":"
		"\"SCMP_ACT_ALLOW\"}]}";
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(free_world) struct world w = make_world(deep, "debian12-tcg");
	_cleanup_(dink_privileges_freep) struct dink_privileges *p =
		grants(&w, outer(&w), "deep/outer");
	_cleanup_free_ char *text = NULL;
	size_t n = p->n_grants;

	assert_false(dink_privileges_leave_out(p, DINK_GRANT_SYSCALL, "read"));
	assert_false(dink_privileges_leave_out(p, DINK_GRANT_DEVICE, "keyctl"));
	assert_true(dink_privileges_leave_out(p, DINK_GRANT_SYSCALL, "keyctl"));
	assert_true(dink_privileges_leave_out(p, DINK_GRANT_SYSCALL, "pivot_root"));
	assert_int_equal(p->n_grants, n - 2);
	/* no call is granted any more, but the profile is what denies them */
	assert_true(dink_privileges_wants_seccomp(p));
	assert_int_equal(dink_privileges_seccomp(p, profile, strlen(profile), &text, &err), 0);
	assert_null(strstr(text, "keyctl"));
	assert_non_null(strstr(text, "\"read\",\"clone\""));
	assert_true(dink_privileges_leave_out(p, DINK_GRANT_CAPABILITY, "CAP_SYS_ADMIN"));
	assert_false(dink_privileges_have(p, DINK_GRANT_CAPABILITY, "CAP_SYS_ADMIN"));
}

/* clone() itself cannot go: without its grant it makes no namespaces. */
static void test_plain_clone(void **state _unused_)
{
	static const char profile[] =
		"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":["
		"\"read\",\"clone\"],\"action\":\"SCMP_ACT_ALLOW\"}]}";
	static const char yaml[] = "dink: 1\n"
				   "name: user\n"
				   "layers:\n"
				   "  box: {image: debian, needs: [userns-child]}\n";
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(free_world) struct world w = make_world(yaml, "debian12-tcg");
	_cleanup_(dink_privileges_freep) struct dink_privileges *p =
		grants(&w, outer(&w), "user/box");
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ struct json_object *o = NULL;

	assert_true(dink_privileges_leave_out(p, DINK_GRANT_SYSCALL, "clone"));
	assert_int_equal(dink_privileges_seccomp(p, profile, strlen(profile), &text, &err), 0);
	assert_non_null(strstr(text, "SCMP_CMP_MASKED_EQ"));
	assert_non_null(strstr(text, "2114060288"));
	assert_int_equal(dink_seccomp_to_oci(p, text, strlen(text), &o, &err), 0);
	assert_int_equal(dink_json_len(o, "syscalls"), 3);
}

static void expect_lines(const char *profile, const char *const *lines, bool there)
{
	for (; *lines; lines++) {
		_cleanup_free_ char *line = xasprintf("\n  %s,\n", *lines);

		if ((strstr(profile, line) != NULL) != there)
			fail_msg("%s: %s\n%s", there ? "not there" : "there", *lines, profile);
	}
}

/* What layer-crun does, too: a remount of /proc/sys, for the settings of a container's network. */
static void test_apparmor(void **state _unused_)
{
	static const char yaml[] = "dink: 1\n"
				   "name: lsm\n"
				   "layers:\n"
				   "  box:\n"
				   "    image: crun-host\n"
				   "    daemon: docker\n"
				   "    layers:\n"
				   "      in: {image: debian, runtime: crun}\n";
	static const char *const allowed[] = {"mount",
					      "umount",
					      "pivot_root",
					      "ptrace",
					      "capability sys_admin",
					      "capability sys_ptrace",
					      NULL};
	static const char *const denied[] = {"deny /proc/sys/{[^n],n[^e],ne[^t]}** wklx",
					     "deny /proc/sysrq-trigger{,/**} wklx",
					     "deny /proc/kcore{,/**} rwklx", NULL};
	static const char *const plain[] = {"deny mount", NULL};
	_cleanup_(free_world) struct world w = make_world(yaml, "debian12-tcg");
	_cleanup_(dink_privileges_freep) struct dink_privileges *box =
		grants(&w, outer(&w), "lsm/box");
	_cleanup_(dink_privileges_freep) struct dink_privileges *in =
		grants(&w, child(outer(&w), "in"), "lsm/box/in");
	_cleanup_free_ char *of_box = dink_privileges_apparmor(box, "lsm/box");
	_cleanup_free_ char *of_in = dink_privileges_apparmor(in, "lsm/box/in");

	expect_lines(of_box, allowed, true);
	expect_lines(of_box, denied, true);
	expect_lines(of_in, allowed, false);
	expect_lines(of_in, denied, true);
	expect_lines(of_in, plain, true);
	assert_null(strstr(of_box, "deny mount"));
}

/* The sets to be compared with, and their numbers. */
static void test_scores(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct dink_privilege_score s;

	for (const char *const *n = dink_reference_names; *n; n++)
		assert_non_null(dink_privileges_reference(*n));
	assert_null(dink_privileges_reference("docker"));
	assert_int_equal(
		dink_privileges_score(dink_privileges_reference("privileged"), NULL, 0, &s, &err),
		0);
	assert_int_equal(s.capabilities, CAP_LAST_CAP + 1);
	assert_true(s.all_devices);
	assert_true(s.may_remount);
	assert_int_equal(s.syscalls, 0); /* there is no base profile to count with */
	assert_int_equal(dink_privileges_score(dink_privileges_reference("docker-default"), NULL, 0,
					       &s, &err),
			 0);
	assert_int_equal(s.capabilities, 14);
	assert_int_equal(s.syscalls, 292);
	assert_int_equal(s.kernel_paths, 0);
	assert_false(s.may_remount);
}

static void test_names(void **state _unused_)
{
	for (int n = 0; n < DINK_NEED_MAX_; n++) {
		assert_non_null(dink_need_name((enum dink_need)n));
		assert_non_null(dink_need_text((enum dink_need)n));
	}
	for (int k = 0; k < DINK_GRANT_KIND_MAX_; k++)
		assert_non_null(dink_grant_kind_name((enum dink_grant_kind)k));
	assert_true(dink_privileges_have(dink_privileges_original(), DINK_GRANT_CAPABILITY,
					 "CAP_SYS_RESOURCE"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flows_outward),
		cmocka_unit_test(test_walls),
		cmocka_unit_test(test_leaves_get_nothing),
		cmocka_unit_test(test_host_decides),
		cmocka_unit_test(test_lsm),
		cmocka_unit_test(test_declared),
		cmocka_unit_test(test_leave_out),
		cmocka_unit_test(test_plain_clone),
		cmocka_unit_test(test_apparmor),
		cmocka_unit_test(test_scores),
		cmocka_unit_test(test_host_cannot),
		cmocka_unit_test(test_host_needs),
		cmocka_unit_test(test_seccomp),
		cmocka_unit_test(test_seccomp_refuses),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_podman_limits),
	};

	return cmocka_run_group_tests_name("privilege", tests, NULL, NULL);
}
