/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's command line: what values may not do, and what has to be there. */
#include "tests/unit/unit.h"

#include "provision/vm/qemu.h"

static struct dink_qemu_opts make_opts(void)
{
	return (struct dink_qemu_opts){
		.program = "/usr/bin/qemu-system-x86_64",
		.name = "box",
		.accel = "tcg",
		.kernel = "/k",
		.initrd = "/i",
		.memory_mib = 512,
		.cpus = 2,
		.channel_fd = 10,
		.qmp_fd = 11,
		.console_fd = 12,
		.share_fd = -1,
		.ram_fd = -1,
		.share_tag = "tag",
	};
}

static char *argv_of(const struct dink_qemu_opts *o)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_strv_ struct dink_strv argv = {};

	assert_int_equal(dink_qemu_argv(o, &argv, &err), 0);
	return dink_strv_join(&argv, "\n");
}

static void test_writer(void **state)
{
	static const struct {
		const char *value, *want;
	} cases[] = {
		{"plain", "k=plain"},
		{"a,b", "k=a,,b"},
		{"x,id=evil,file=/etc/shadow", "k=x,,id=evil,,file=/etc/shadow"},
		{",", "k=,,"},
		{",,", "k=,,,,"},
		{"", "k="},
		{"\xc3\xa9", "k=\xc3\xa9"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_str_ struct dink_str s = {};
		assert_int_equal(dink_qopt_add(&s, "k", cases[i].value), 0);
		assert_string_equal(s.s, cases[i].want);
	}
	static const char *const bad[] = {"a\nb", "\x01", "tab\t", "\x7f", "\r"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_str_ struct dink_str s = {};
		assert_int_equal(dink_qopt_add(&s, "k", bad[i]), -EINVAL);
		assert_int_equal(s.len, 0);
	}
}

static void test_name_cannot_inject(void **state)
{
	struct dink_qemu_opts o = make_opts();
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_strv_ struct dink_strv argv = {};

	(void)state;
	o.name = "x,debug-threads=on";
	_cleanup_free_ char *text = argv_of(&o);
	assert_non_null(strstr(text, "-name\nx,,debug-threads=on\n"));
	o.name = "x\n-drive";
	assert_int_equal(dink_qemu_argv(&o, &argv, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "control character"));
}

static void test_always_there(void **state)
{
	static const char *const want[] = {
		"-nodefaults\n",
		"-no-user-config\n",
		"-no-reboot\n",
		"-sandbox\non,obsolete=deny,elevateprivileges=deny,spawn=deny,",
		"spawn=deny,resourcecontrol=deny\n",
		"name=dink.agent.0",
		"-kernel\n/k\n-initrd\n/i\n",
		"-smp\n2\n",
		"-m\n512M\n",
		"-cpu\nqemu64\n",
		/* else TCG runs stale translations of what virtiofsd overwrote */
		" init_on_alloc=1",
	};
	struct dink_qemu_opts o = make_opts();
	(void)state;
	_cleanup_free_ char *text = argv_of(&o);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		assert_non_null(strstr(text, want[i]));
	/* what is not asked for is not there */
	assert_null(strstr(text, "vhost-user"));
	assert_null(strstr(text, "virtio-net"));
	assert_null(strstr(text, "virtio-blk"));
	assert_non_null(strstr(text, "memory-backend-ram"));
}

static void test_share_needs_shared_memory(void **state)
{
	struct dink_qemu_opts o = make_opts();

	(void)state;
	o.share_fd = 13;
	_cleanup_free_ char *text = argv_of(&o);
	assert_non_null(strstr(text, "memory-backend-memfd,id=ram,size=512M,share=on"));
	assert_non_null(strstr(text, "vhost-user-fs-pci,chardev=share,tag=tag"));
}

static void test_nics_and_disks(void **state)
{
	struct dink_qemu_opts o = make_opts();

	(void)state;
	o.n_taps = 2;
	o.taps[0] = 20;
	o.taps[1] = 21;
	o.n_disks = 2;
	o.disks[0] = (struct dink_qemu_disk){.fd = 30, .rw_fd = -1, .serial = "dink-root"};
	o.disks[1] = (struct dink_qemu_disk){.fd = 31, .rw_fd = 32, .serial = "dink-disk-1"};
	_cleanup_free_ char *text = argv_of(&o);
	char *first = strstr(text, "netdev=net0,romfile=,addr=0x10");
	char *second = strstr(text, "netdev=net1,romfile=,addr=0x11");
	assert_true(first && second && first < second);
	assert_non_null(strstr(text, "readonly=on,file=/dev/fdset/1"));
	assert_non_null(strstr(text, "readonly=off,file=/dev/fdset/2"));
	assert_non_null(strstr(text, "fd=32,set=2"));
	assert_non_null(strstr(text, "serial=dink-disk-1"));
}

static void test_kvm(void **state)
{
	struct dink_qemu_opts o = make_opts();

	(void)state;
	o.accel = "kvm";
	_cleanup_free_ char *text = argv_of(&o);
	assert_non_null(strstr(text, "-accel\nkvm\n"));
	assert_non_null(strstr(text, "-cpu\nhost\n"));
	assert_null(strstr(text, "tb-size"));
	assert_null(strstr(text, "init_on_alloc"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writer),
		cmocka_unit_test(test_name_cannot_inject),
		cmocka_unit_test(test_always_there),
		cmocka_unit_test(test_share_needs_shared_memory),
		cmocka_unit_test(test_nics_and_disks),
		cmocka_unit_test(test_kvm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
