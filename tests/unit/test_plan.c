/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan, on hosts saved in tests/hosts: golden texts, counts, drivers, subnets, speed.
 * DINK_GOLDEN_UPDATE=1 writes the golden files anew, to be reviewed as a diff.
 */
#include "tests/unit/unit.h"

#include "provision/base/json.h"
#include "provision/plan/plan.h"

#include <time.h>

static struct dink_scenario *parse(const char *yaml)
{
	_cleanup_(dink_problems_clear) struct dink_problems problems = {};
	struct dink_scenario *s = NULL;
	int r = dink_scenario_parse("test.yaml", yaml, strlen(yaml), &s, &problems);

	if (r < 0)
		fail_msg("%s", problems.n ? problems.list[0].msg : "not parsed");
	return s;
}

static struct dink_facts *host(const char *name)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *path = xasprintf("tests/hosts/%s.json", name);
	struct dink_facts *f = NULL;

	if (dink_facts_load(path, &f, &err) < 0)
		fail_msg("%s: %s", path, err.msg);
	return f;
}

static struct dink_plan *plan(const struct dink_scenario *s, const char *host_name)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_facts_freep) struct dink_facts *f = host(host_name);
	struct dink_plan *p = NULL;

	if (dink_plan_make(s, f, &p, &err) < 0) {
		_cleanup_free_ char *text = dink_err_format(&err);

		fail_msg("%s", text);
	}
	return p;
}

static void compare(const char *path, const char *text)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *golden = NULL;

	if (getenv("DINK_GOLDEN_UPDATE")) {
		assert_int_equal(dink_file_write(path, text, strlen(text), 0644, &err), 0);
		return;
	}
	if (dink_file_read(path, 1 << 20, &golden, NULL, &err) < 0)
		fail_msg("%s: %s", path, err.msg);
	if (!STREQ(golden, text))
		print_error("%s differs; it is now:\n%s\n", path, text);
	assert_string_equal(golden, text);
}

static void golden_one(const char *scenario, const char *host_name, bool json)
{
	_cleanup_(dink_problems_clear) struct dink_problems problems = {};
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = NULL;
	_cleanup_(dink_facts_freep) struct dink_facts *f = host(host_name);
	_cleanup_(dink_plan_freep) struct dink_plan *p = NULL;
	_cleanup_free_ char *yaml = xasprintf("scenarios/%s.yaml", scenario);
	_cleanup_free_ char *path =
		xasprintf("tests/golden/plan/%s.%s.%s", scenario, host_name, json ? "json" : "txt");
	_cleanup_free_ char *text = NULL;

	assert_int_equal(dink_scenario_load(yaml, &s, &problems), 0);
	if (dink_plan_make(s, f, &p, &err) < 0) {
		text = dink_err_format(&err);
	} else if (json) {
		_cleanup_json_ struct json_object *o = dink_plan_to_json(p);

		text = dink_json_text(o);
	} else {
		text = dink_plan_text(p);
	}
	compare(path, text);
}

static void test_golden(void **state)
{
	static const char *const hosts[] = {
		"debian12-tcg", "debian13-kvm",	    "debian13-kata",   "debian13-rootless-podman",
		"no-engine",	"no-tun",	    "no-loop",	       "no-btrfs",
		"no-qemu",	"no-cap-sys-admin", "plain-container", "not-root",
	};
	static const char *const scenarios[] = {"docker-in-kata", "docker-in-docker", "vm"};
	static const char *const others[][2] = {
		{"unprivileged-in-unprivileged", "debian12-tcg"},
		{"unprivileged-in-unprivileged", "no-tun"},
		{"primitives", "debian12-tcg"},
		{"unprivileged-in-kata", "debian12-tcg"},
		{"rootless-in-container", "debian12-tcg"},
		{"podman-in-kata", "debian12-tcg"},
		{"gvisor-in-kata", "debian12-tcg"},
		{"kata-in-kata", "debian12-tcg"},
		{"kata-in-kata", "debian13-kvm"},
		{"runtimes", "debian12-tcg"},
		{"runtimes", "debian13-kvm"},
		{"nvidia", "debian12-tcg"},
		{"nvidia", "debian12-nvidia"},
		{"registry-shared", "debian12-tcg"},
		{"mesos-in-kata", "debian12-tcg"},
		{"k3s-in-kata", "debian12-tcg"},
		{"nomad-in-kata", "debian12-tcg"},
		{"docker-in-gvisor", "debian12-tcg"},
		{"docker-in-kata-systemd", "debian12-tcg"},
		{"docker-in-kata-supervisord", "debian12-tcg"},
		{"swarm-in-kata", "debian12-tcg"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
		for (size_t k = 0; k < ARRAY_SIZE(hosts); k++)
			golden_one(scenarios[i], hosts[k], false);
	golden_one("docker-in-kata", "debian12-tcg", true);
	golden_one("vm", "debian13-kata", true);
	golden_one("replicated-hosts", "debian12-tcg", false);
	golden_one("replicated-hosts", "debian12-tcg", true);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		golden_one(others[i][0], others[i][1], false);
}

/* A clone for each copy, of a disk that nobody writes, or that a VM does. */
static void test_clones(void **state)
{
	static const char head[] =
		"dink: 1\nname: n\ndisks: {store: {size: 1GiB}}\nlayers:\n"
		"  a: {image: debian, count: 2, disks: {store: {target: /d, clone: true}}}\n";
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = parse(head);
	_cleanup_(dink_plan_freep) struct dink_plan *p = plan(s, "debian12-tcg");
	_cleanup_free_ char *text = xasprintf("%s  b: {image: debian, disks: {store: /d}}\n", head);
	_cleanup_(dink_scenario_freep) struct dink_scenario *written = parse(text);
	_cleanup_(dink_facts_freep) struct dink_facts *f = host("debian12-tcg");
	_cleanup_(dink_plan_freep) struct dink_plan *none = NULL;
	_cleanup_(dink_err_clear) struct dink_err err = {};

	(void)state;
	assert_int_equal(p->n_disks, 3);
	assert_string_equal(p->disks[2].name, "store.a-2");
	assert_string_equal(p->disks[2].file, "disks/store.a-2.img");
	assert_int_equal(p->disks[0].clone_of, -1);
	assert_int_equal(p->disks[2].clone_of, 0);
	assert_int_equal(p->layers[1].disks[0].disk, 2);
	assert_int_equal(dink_plan_writer(p, 0), -1);
	assert_int_equal(dink_plan_writer(p, 2), 1);
	/* what a container writes cannot be brought to rest */
	assert_true(dink_plan_make(written, f, &none, &err) < 0);
	assert_int_equal(err.code, DINK_E_SCENARIO);
	assert_non_null(strstr(err.msg, "layer n/b writes disk store"));
}

/* Overlay networks want a kernel that has them, and two managers are said to be no good. */
static void test_swarm(void **state)
{
	static const char head[] = "dink: 1\nname: n\nlayers:\n"
				   "  a: {image: docker-host, runtime: dink-vm, daemon: docker, "
				   "swarm: manager, count: %d}\n"
				   "  b: {image: docker-host, runtime: dink-vm, daemon: docker, "
				   "swarm: worker}\n"
				   "  c: {image: docker-host, runtime: dink-vm, daemon: docker}\n";

	(void)state;
	for (int managers = 1; managers <= 3; managers++) {
		_cleanup_free_ char *text = xasprintf(head, managers);
		_cleanup_(dink_scenario_freep) struct dink_scenario *s = parse(text);
		_cleanup_(dink_plan_freep) struct dink_plan *p = plan(s, "debian12-tcg");
		size_t b = (size_t)managers;

		assert_true(dink_strv_has(&p->kernels[0].features, "vxlan"));
		assert_true(dink_privileges_unmask(p->layers[0].privileges, "/proc/sys"));
		assert_true(dink_privileges_unmask(p->layers[b].privileges, "/proc/sys"));
		assert_false(dink_privileges_unmask(p->layers[b + 1].privileges, "/proc/sys"));
		assert_false(dink_privileges_unmask(p->layers[0].privileges, "/proc/fs"));
		assert_int_equal(p->warnings.n, managers == 2);
	}
}

static void test_counts(void **state)
{
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = parse(
		"dink: 1\nname: many\nlayers:\n  a:\n    image: docker-host\n    daemon: docker\n"
		"    count: 3\n    layers:\n      b: {image: debian, count: 2}\n");
	_cleanup_(dink_plan_freep) struct dink_plan *p = plan(s, "debian12-tcg");

	(void)state;
	assert_int_equal(p->n_layers, 9);
	assert_string_equal(p->layers[0].path, "many/a-1");
	assert_string_equal(p->layers[2].container, "many.a-1.b-2");
	assert_int_equal(p->layers[2].parent, 0);
	assert_int_equal(p->layers[8].parent, 6);
	assert_int_equal(dink_plan_find(p, "a-3/b-2"), 8);
	assert_int_equal(dink_plan_find(p, "many/a-3/b-2"), 8);
	assert_int_equal(dink_plan_find(p, "many/a-4"), -1);
	assert_string_equal(p->layers[0].subnet, "10.213.1.1/24");
	assert_string_equal(p->layers[3].subnet, "10.213.2.1/24");
	assert_null(p->layers[1].subnet);
}

static void test_drivers(void **state)
{
	_cleanup_(dink_scenario_freep) struct dink_scenario *s =
		parse("dink: 1\nname: d\ndisks:\n  b: {size: 1GiB, filesystem: btrfs}\n"
		      "  e: {size: 1GiB, filesystem: ext4}\nlayers:\n"
		      "  one: {image: docker-host, daemon: docker, disks: {b: /var/lib/docker}}\n"
		      "  two: {image: docker-host, daemon: docker, disks: {e: /var/lib/docker}}\n"
		      "  three: {image: docker-host, daemon: docker}\n"
		      "  four: {image: docker-host, daemon: docker, runtime: dink-vm}\n");
	_cleanup_(dink_plan_freep) struct dink_plan *p = plan(s, "debian12-tcg");

	(void)state;
	assert_string_equal(p->layers[0].storage_driver, "btrfs");
	assert_string_equal(p->layers[1].storage_driver, "overlay2");
	assert_string_equal(p->layers[2].storage_driver, "overlay2");
	assert_true(p->layers[2].data_volume);
	assert_false(p->layers[0].data_volume);
	/* a daemon in a VM gets a disk of its own, never a share or a tmpfs */
	assert_string_equal(p->layers[3].storage_driver, "overlay2");
	assert_int_equal(p->layers[3].n_disks, 1);
	assert_true(p->disks[p->layers[3].disks[0].disk].scratch);
	assert_true(p->layers[3].block_root);
	assert_int_equal(p->n_kernels, 1);
	assert_true(dink_strv_has(&p->kernels[0].features, "ext4"));
	assert_false(dink_strv_has(&p->kernels[0].features, "btrfs"));
}

static void test_kata_choice(void **state)
{
	_cleanup_(dink_scenario_freep) struct dink_scenario *s =
		parse("dink: 1\nname: k\nlayers:\n  vm: {image: debian, runtime: kata}\n");
	_cleanup_(dink_plan_freep) struct dink_plan *with = plan(s, "debian13-kata");
	_cleanup_(dink_plan_freep) struct dink_plan *without = plan(s, "debian12-tcg");

	(void)state;
	assert_int_equal(with->layers[0].runtime, DINK_RUNTIME_KATA);
	assert_string_equal(with->layers[0].runtime_name, "io.containerd.kata.v2");
	assert_int_equal(with->n_kernels, 0);
	assert_int_equal(without->layers[0].runtime, DINK_RUNTIME_DINK_VM);
	assert_non_null(strstr(without->layers[0].runtime_reason, "using dink-vm"));
	assert_int_equal(without->layers[0].kernel, 0);
}

static bool has_word(const struct dink_plan_layer *l, const char *word)
{
	return dink_strv_has(&l->command, word);
}

/* crun below a Docker daemon is started by layer-crun, and only where the scenario has it. */
static void test_crun(void **state)
{
	_cleanup_(dink_scenario_freep) struct dink_scenario *s =
		parse("dink: 1\nname: t\nlayers:\n"
		      "  vm:\n    image: crun-host\n    runtime: dink-vm\n    memory: 1GiB\n"
		      "    daemon: docker\n    layers:\n"
		      "      in: {image: debian, runtime: crun}\n"
		      "  plain:\n    image: docker-host\n    daemon: docker\n    layers:\n"
		      "      in: {image: debian}\n");
	_cleanup_(dink_plan_freep) struct dink_plan *p = plan(s, "debian12-tcg");
	const struct dink_plan_layer *vm = &p->layers[0], *plain = &p->layers[2];

	(void)state;
	assert_string_equal(p->layers[1].runtime_name, "crun");
	assert_true(has_word(vm, "crun=/usr/local/sbin/layer-crun"));
	assert_true(has_word(plain, "crun=/usr/bin/crun"));
	assert_true(dink_privileges_have(vm->privileges, DINK_GRANT_CAPABILITY, "CAP_SYS_PTRACE"));
	/* a guest has cgroup v2 only, whatever the host has */
	assert_true(dink_privileges_have(vm->privileges, DINK_GRANT_RLIMIT, "memlock=-1:-1"));
	assert_false(
		dink_privileges_have(plain->privileges, DINK_GRANT_CAPABILITY, "CAP_SYS_PTRACE"));
	assert_false(dink_privileges_have(plain->privileges, DINK_GRANT_RLIMIT, "memlock=-1:-1"));
}

static void set_tool(struct dink_facts *f, const char *name, const char *version)
{
	for (size_t i = 0; i < f->n_tools; i++) {
		struct dink_tool_fact *t = &f->tools[i];

		if (!STREQ(t->name, name))
			continue;
		free(t->path);
		free(t->version);
		t->path = xasprintf("/usr/bin/%s", name);
		t->version = version ? xstrdup(version) : NULL;
	}
}

/* On the host runsc is given what it takes on this kernel, which the user's engine is not told. */
static void test_runsc(void **state)
{
	static const struct {
		const char *kernel, *version;
		bool fooled;
	} cases[] = {
		{"6.10.0-1-amd64", "0.0~20221219.0", false},
		{"6.11.0-1-amd64", "0.0~20221219.0", true},
		{"6.18.44", "20240729.0", true},
		{"6.18.44", NULL, true},
		{"6.18.44", "0.0~20250721.0", false},
		{"6.18.44", "20260105.0", false},
	};
	_cleanup_(dink_scenario_freep) struct dink_scenario *s =
		parse("dink: 1\nname: t\nlayers:\n  box: {image: debian, runtime: runsc}\n");
	_cleanup_(dink_facts_freep) struct dink_facts *f = host("debian13-kvm");

	(void)state;
	assert_int_equal(f->n_engines, 1);
	dink_strv_add(&f->engines[0].runtimes, "runsc");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(dink_err_clear) struct dink_err err = {};
		_cleanup_(dink_plan_freep) struct dink_plan *p = NULL;
		_cleanup_free_ char *text = NULL;

		set_tool(f, "runsc", cases[i].version);
		free(f->kernel_release);
		f->kernel_release = xstrdup(cases[i].kernel);
		assert_int_equal(dink_plan_make(s, f, &p, &err), 0);
		text = dink_plan_text(p);
		assert_int_equal(p->engine, cases[i].fooled ? DINK_HOST_ENGINE_PRIVATE
							    : DINK_HOST_ENGINE_FOUND);
		assert_int_equal(!!strstr(text, "may start runsc without --network=host, which it "
						"needs on Linux"),
				 cases[i].fooled);
		assert_int_equal(!!strstr(text, "runsc: with --network=host, since"),
				 cases[i].fooled);
	}
}

/* Podman's API takes no runtime for one container: only the service's own can be named. */
static void test_podman_runtime(void **state)
{
	static const struct {
		const char *layer, *child;
		bool ok;
	} cases[] = {
		{"", "", true},
		{"", ", runtime: runc", true},
		{"", ", runtime: crun", false},
		{"", ", runtime: kata", false},
		{", rootless: user", ", runtime: crun", true},
		{", rootless: user", ", runtime: runc", false},
	};
	_cleanup_(dink_facts_freep) struct dink_facts *f = host("debian12-tcg");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = xasprintf(
			"dink: 1\nname: t\nlayers:\n  pod: {image: podman-host, daemon: podman%s, "
			"layers: {\n    a: {image: debian%s}}}\n",
			cases[i].layer, cases[i].child);
		_cleanup_(dink_scenario_freep) struct dink_scenario *s = parse(text);
		_cleanup_(dink_plan_freep) struct dink_plan *p = NULL;
		_cleanup_(dink_err_clear) struct dink_err err = {};

		assert_int_equal(dink_plan_make(s, f, &p, &err) == 0, cases[i].ok);
		if (cases[i].ok)
			continue;
		assert_int_equal(err.code, DINK_E_SCENARIO);
		assert_int_equal(err.src.line, 5);
	}
}

static void test_thousand_layers(void **state)
{
	_cleanup_str_ struct dink_str yaml = {};
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = NULL;
	_cleanup_(dink_facts_freep) struct dink_facts *f = host("debian12-tcg");
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_plan_freep) struct dink_plan *p = NULL;
	_cleanup_free_ char *text = NULL;
	struct timespec a, b;
	double ms;

	(void)state;
	dink_str_add(&yaml, "dink: 1\nname: big\nlayers:\n");
	for (int i = 0; i < 100; i++) {
		dink_str_addf(&yaml, "  l%d:\n    image: docker-host\n    daemon: docker\n", i);
		dink_str_add(&yaml, "    layers:\n");
		for (int k = 0; k < 9; k++)
			dink_str_addf(&yaml, "      c%d: {image: debian}\n", k);
	}
	s = parse(yaml.s);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	assert_int_equal(dink_plan_make(s, f, &p, &err), 0);
	text = dink_plan_text(p);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	assert_int_equal(p->n_layers, 1000);
	assert_true(strlen(text) > 10000);
	ms = (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
	print_message("1000 layers planned in %.1f ms of CPU time\n", ms);
	assert_true(ms < 200 * (getenv("DINK_SLOW_BUILD") ? 10 : 5)); /* 5: sanitizers */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),	       cmocka_unit_test(test_clones),
		cmocka_unit_test(test_swarm),	       cmocka_unit_test(test_counts),
		cmocka_unit_test(test_drivers),	       cmocka_unit_test(test_kata_choice),
		cmocka_unit_test(test_crun),	       cmocka_unit_test(test_runsc),
		cmocka_unit_test(test_podman_runtime), cmocka_unit_test(test_thousand_layers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
