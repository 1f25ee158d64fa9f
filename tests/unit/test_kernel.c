/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel configurations: parsing, merging, the feature table, verification, the cache's key. */
#include "tests/unit/unit.h"

#include "kernel-configs/build.h"
#include "kernel-configs/kernel.h"
#include "provision/base/dirs.h"

static void parse(const char *text, bool directives, struct dink_kconfig *kc)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	if (dink_kconfig_parse(text, strlen(text), "x.config", directives, kc, &err) < 0)
		fail_msg("%s", err.msg);
}

static void refuse(const char *text, const char *expected)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_kconfig_ struct dink_kconfig kc = {};
	_cleanup_free_ char *said = NULL;

	assert_true(dink_kconfig_parse(text, strlen(text), "x.config", true, &kc, &err) < 0);
	said = dink_err_format(&err);
	assert_string_equal(said, expected);
	assert_int_equal(err.code, DINK_E_USAGE);
}

static void versions_order(void **state _unused_)
{
	assert_int_equal(dink_kernel_version("6.1.192"), 0x0601c0);
	assert_int_equal(dink_kernel_version("6.17"), 0x061100);
	assert_int_equal(dink_kernel_version("6.1.192-2"), 0x0601c0);
	assert_true(dink_kernel_version("6.9") < dink_kernel_version("6.17"));
	assert_int_equal(dink_kernel_version("6"), 0);
	assert_int_equal(dink_kernel_version("next"), 0);
	assert_int_equal(dink_kernel_version(""), 0);
}

static void config_is_read(void **state _unused_)
{
	_cleanup_kconfig_ struct dink_kconfig kc = {};

	parse("#\n# Automatically generated file; DO NOT EDIT.\n"
	      "# Linux/x86 6.1.192 Kernel Configuration\n#\n"
	      "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\nCONFIG_D=0x1F\nCONFIG_E=-1\n"
	      "CONFIG_F=\"a \\\"b\"\n# CONFIG_A is a comment\n\n#: since nonsense\nCONFIG_G=n\r\n",
	      false, &kc);
	assert_int_equal(kc.version, 0x0601c0);
	assert_string_equal(dink_kconfig_value(&kc, "A"), "y");
	assert_string_equal(dink_kconfig_value(&kc, "B"), "n");
	assert_non_null(dink_kconfig_find(&kc, "B"));
	assert_string_equal(dink_kconfig_value(&kc, "C"), "m");
	assert_string_equal(dink_kconfig_value(&kc, "D"), "0x1F");
	assert_string_equal(dink_kconfig_value(&kc, "E"), "-1");
	assert_string_equal(dink_kconfig_value(&kc, "F"), "\"a \\\"b\"");
	assert_string_equal(dink_kconfig_value(&kc, "G"), "n");
	assert_string_equal(dink_kconfig_value(&kc, "NOWHERE"), "n");
	assert_null(dink_kconfig_find(&kc, "NOWHERE"));
}

static void directives_bind_to_one_line(void **state _unused_)
{
	_cleanup_kconfig_ struct dink_kconfig kc = {};

	parse("#: since 6.17\n#: optional\nCONFIG_A=y\nCONFIG_B=y\n#: until 6.8\nCONFIG_C=y\n",
	      true, &kc);
	assert_int_equal(kc.lines[0].since, 0x061100);
	assert_true(kc.lines[0].optional);
	assert_int_equal(kc.lines[1].since, 0);
	assert_false(kc.lines[1].optional);
	/* all of 6.8.x */
	assert_int_equal(kc.lines[2].until, 0x0608ff);
	assert_int_equal(kc.lines[2].line, 6);
}

static void garbage_is_refused(void **state _unused_)
{
	refuse("CONFIG_A=y\nA=y\n", "x.config:2:1: no kernel configuration: expected "
				    "CONFIG_NAME=VALUE\n    A=y\n    ^\n");
	refuse("CONFIG_A y\n", "x.config:1:9: expected = after the symbol's name\n"
			       "    CONFIG_A y\n            ^\n");
	refuse("CONFIG_A=yes\n", "x.config:1:10: expected y, m, n, a number or a string in quotes\n"
				 "    CONFIG_A=yes\n             ^\n");
	refuse("#: sinse 6.1\n", "x.config:1:4: no directive: expected since X.Y, until X.Y or "
				 "optional\n    #: sinse 6.1\n       ^\n");
}

static void zero_bytes_are_refused(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_kconfig_ struct dink_kconfig kc = {};

	assert_true(dink_kconfig_parse("CONFIG_A=y\0\n", 12, "vmlinux", false, &kc, &err) < 0);
	assert_string_equal(err.msg, "vmlinux is no kernel configuration: it holds zero bytes");
}

static void later_words_win_in_place(void **state _unused_)
{
	_cleanup_kconfig_ struct dink_kconfig a = {}, b = {};
	_cleanup_free_ char *text = NULL;

	parse("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=1\n", true, &a);
	parse("CONFIG_B=y\nCONFIG_D=\"x\"\n# CONFIG_A is not set\n", true, &b);
	dink_kconfig_merge(&a, &b);
	text = dink_kconfig_text(&a);
	assert_string_equal(text,
			    "# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=1\nCONFIG_D=\"x\"\n");
}

static void merge(const char *feature, struct dink_kconfig *kc)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_strv_ struct dink_strv features = {};

	if (feature)
		dink_strv_add(&features, feature);
	if (dink_kernel_merge(&features, kc, &err) < 0)
		fail_msg("%s", err.msg);
}

/* A need that no fragment asks for would make every build fail, or be met by chance. */
static void each_need_is_in_a_fragment(void **state _unused_)
{
	for (const char *const *n = dink_kernel_features(); *n; n++) {
		const struct dink_kernel_feature *f = dink_kernel_feature_find(*n);
		_cleanup_kconfig_ struct dink_kconfig kc = {};

		merge(f->name, &kc);
		for (const struct dink_kernel_need *need = f->needs; need->symbol; need++)
			if (!STREQ(dink_kconfig_value(&kc, need->symbol), "y"))
				fail_msg("%s needs %s, which no fragment of it sets", f->name,
					 need->symbol);
		assert_non_null(f->fragments[0]);
		assert_true(strlen(f->summary) > 0);
	}
}

/* Without it allnoconfig builds a 32-bit kernel that cannot run a 64-bit init. */
static void kernels_are_64_bit_and_monolithic(void **state _unused_)
{
	_cleanup_kconfig_ struct dink_kconfig kc = {};

	merge(NULL, &kc);
	assert_string_equal(dink_kconfig_value(&kc, "64BIT"), "y");
	assert_string_equal(dink_kconfig_value(&kc, "MODULES"), "n");
	assert_string_equal(dink_kconfig_value(&kc, "PVH"), "y");
	assert_string_equal(dink_kconfig_value(&kc, "BTRFS_FS"), "y");
	assert_string_equal(dink_kconfig_value(&kc, "WIREGUARD"), "n");
	for (size_t i = 0; i < kc.n; i++)
		assert_string_not_equal(kc.lines[i].value, "m");
}

static void unknown_feature_is_named(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_kconfig_ struct dink_kconfig kc = {};
	_cleanup_strv_ struct dink_strv features = {};

	dink_strv_add(&features, "nftable");
	assert_true(dink_kernel_merge(&features, &kc, &err) < 0);
	assert_int_equal(err.code, DINK_E_USAGE);
	assert_string_equal(err.msg, "unknown kernel feature \"nftable\"");
	assert_string_equal(err.hint, "did you mean \"nftables\"?");
}

static const char *line_about(const struct dink_kernel_lacks *lacks, const char *symbol,
			      char **text)
{
	free(*text);
	*text = NULL;
	for (size_t i = 0; i < lacks->n; i++)
		if (STREQ(lacks->v[i].symbol, symbol))
			*text = dink_kernel_lack_text(&lacks->v[i]);
	return *text ? *text : "";
}

static void check_names_who_asks(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_kconfig_ struct dink_kconfig kc = {};
	_cleanup_strv_ struct dink_strv features = {};
	_cleanup_(dink_kernel_lacks_clear) struct dink_kernel_lacks lacks = {};
	_cleanup_free_ char *text = NULL;

	merge(NULL, &kc);
	kc.version = dink_kernel_version("6.1");
	dink_strv_addl(&features, "btrfs", "iptables", NULL);
	assert_int_equal(dink_kernel_check(&kc, &features, &lacks, &err), 0);
	assert_int_equal(lacks.n, 0);

	_cleanup_kconfig_ struct dink_kconfig change = {};
	parse("CONFIG_BTRFS_FS=m\n# CONFIG_IP_NF_NAT is not set\n# CONFIG_VXLAN is not set\n"
	      "# CONFIG_64BIT is not set\n",
	      false, &change);
	dink_kconfig_merge(&kc, &change);
	assert_int_equal(dink_kernel_check(&kc, &features, &lacks, &err), 0);
	/* nobody asked for vxlan; what every guest needs is asked for always */
	assert_int_equal(lacks.n, 3);
	assert_string_equal(
		line_about(&lacks, "64BIT", &text),
		"CONFIG_64BIT is not set: guest (a 32-bit kernel cannot run dink-agent)");
	assert_string_equal(line_about(&lacks, "BTRFS_FS", &text),
			    "CONFIG_BTRFS_FS is a module, and a guest loads none: btrfs (the btrfs "
			    "storage driver, btrfs disks)");
	assert_string_equal(line_about(&lacks, "IP_NF_NAT", &text),
			    "CONFIG_IP_NF_NAT is not set: iptables (the nat table)");
}

/* Linux 6.17 made ip_tables depend on symbols of which older configurations know nothing. */
static void check_knows_versions(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_kconfig_ struct dink_kconfig kc = {}, older = {};
	_cleanup_strv_ struct dink_strv features = {};
	_cleanup_(dink_kernel_lacks_clear) struct dink_kernel_lacks lacks = {};

	merge(NULL, &kc);
	parse("# CONFIG_NETFILTER_XTABLES_LEGACY is not set\n"
	      "# CONFIG_IP_NF_IPTABLES_LEGACY is not set\n",
	      false, &older);
	dink_kconfig_merge(&kc, &older);
	dink_strv_add(&features, "iptables");
	kc.version = dink_kernel_version("6.16.9");
	assert_int_equal(dink_kernel_check(&kc, &features, &lacks, &err), 0);
	assert_int_equal(lacks.n, 0);
	kc.version = dink_kernel_version("6.17.1");
	assert_int_equal(dink_kernel_check(&kc, &features, &lacks, &err), 0);
	assert_int_equal(lacks.n, 2);
	assert_string_equal(lacks.v[0].symbol, "NETFILTER_XTABLES_LEGACY");
}

static void verification_names_each_loss(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_kconfig_ struct dink_kconfig merged = {}, result = {}, lost = {};
	_cleanup_strv_ struct dink_strv features = {};
	_cleanup_(dink_kernel_lacks_clear) struct dink_kernel_lacks lacks = {};
	_cleanup_free_ char *text = NULL;

	dink_strv_add(&features, "wireguard");
	merge("wireguard", &merged);
	merge("wireguard", &result);
	result.version = dink_kernel_version("6.1.192");
	parse("# CONFIG_WIREGUARD is not set\n# CONFIG_NFT_QUOTA is not set\nCONFIG_HZ_100=y\n"
	      "CONFIG_DMI=y\nCONFIG_NR_CPUS=8\n",
	      false, &lost);
	dink_kconfig_merge(&result, &lost);
	assert_int_equal(dink_kernel_verify(&merged, &result, &features, NULL, &lacks, &err), 0);
	/* DMI was to be off and is on: something selected it, which is no loss */
	assert_int_equal(lacks.n, 3);
	assert_string_equal(line_about(&lacks, "WIREGUARD", &text),
			    "CONFIG_WIREGUARD is not set: wireguard (wg interfaces)");
	assert_non_null(strstr(line_about(&lacks, "NFT_QUOTA", &text),
			       "CONFIG_NFT_QUOTA is not set: nftables ("));
	assert_non_null(strstr(text, "kernel-configs/nftables.config:"));
	assert_non_null(strstr(line_about(&lacks, "NR_CPUS", &text),
			       "CONFIG_NR_CPUS is 8 instead of 32: guest ("));
}

static char *unmet(const char *kconfig, const char *symbol, const char *config, bool *defined)
{
	_cleanup_kconfig_ struct dink_kconfig kc = {};

	parse(config, false, &kc);
	return dink_kernel_unmet_in(kconfig, symbol, &kc, defined);
}

static const char net_kconfig[] =
	"menu \"Networking\"\n\tdepends on NET\n\n"
	"config A\n\tbool \"A\"\n\tdepends on B && !C\n\thelp\n\t  if this were code, it would "
	"say\n"
	"\t  depends on NOTHING\n\n"
	"if OUTER\n"
	"config D\n\ttristate \"D\"\n\tdepends on (E || F) && \\\n\t\tG\n\tdepends on H=y\n"
	"endif\n"
	"config HIDDEN\n\tbool\n"
	"config FREE\n\tbool \"free\"\n"
	"endmenu\n"
	"config OUTSIDE\n\tbool \"outside\"\n\tdepends on X || Y\n";

static void unmet_dependencies_are_told(void **state _unused_)
{
	static const struct {
		const char *symbol, *config, *told;
	} cases[] = {
		{"A", "CONFIG_NET=y\n", "depends on B"},
		{"A", "CONFIG_B=y\nCONFIG_C=y\n", "depends on NET && !C"},
		{"D", "CONFIG_NET=y\nCONFIG_E=y\n", "depends on OUTER && G && H=y"},
		{"D", "CONFIG_NET=y\nCONFIG_OUTER=y\nCONFIG_G=y\nCONFIG_H=m\n",
		 "depends on (E || F) && H=y"},
		{"HIDDEN", "CONFIG_NET=y\n",
		 "cannot be set by hand, another symbol has to select it"},
		{"OUTSIDE", "CONFIG_NET=y\n", "depends on (X || Y)"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool defined = false;
		_cleanup_free_ char *told =
			unmet(net_kconfig, cases[i].symbol, cases[i].config, &defined);

		assert_true(defined);
		assert_non_null(told);
		assert_string_equal(told, cases[i].told);
	}
}

static void nothing_is_told_rather_than_wrong(void **state _unused_)
{
	bool defined = false;

	/* all that is seen holds: the reason is in another file */
	assert_null(unmet(net_kconfig, "FREE", "CONFIG_NET=y\n", &defined));
	assert_true(defined);
	defined = false;
	assert_null(unmet(net_kconfig, "ELSEWHERE", "CONFIG_NET=y\n", &defined));
	assert_false(defined);
	/* unbalanced and nonsensical text ends, too */
	free(unmet("endif\nendmenu\nif ((((\nconfig Z\n\tdepends on !(!(&& ||\n", "Z", "",
		   &defined));
	assert_true(defined);
}

static void key_covers_every_input(void **state _unused_)
{
	char a[65], b[65];

	dink_kernel_key("debian linux-source-6.1 6.1.192-2", "CONFIG_A=y\n", "gcc 12", a);
	dink_kernel_key("debian linux-source-6.1 6.1.192-2", "CONFIG_A=y\n", "gcc 12", b);
	assert_string_equal(a, b);
	assert_int_equal(strlen(a), 64);
	dink_kernel_key("debian linux-source-6.1 6.1.192-3", "CONFIG_A=y\n", "gcc 12", b);
	assert_string_not_equal(a, b);
	dink_kernel_key("debian linux-source-6.1 6.1.192-2", "CONFIG_A=n\n", "gcc 12", b);
	assert_string_not_equal(a, b);
	dink_kernel_key("debian linux-source-6.1 6.1.192-2", "CONFIG_A=y\n", "gcc 13", b);
	assert_string_not_equal(a, b);
}

static char *merged_text(const char *first, const char *second)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_strv_ struct dink_strv features = {};
	_cleanup_kconfig_ struct dink_kconfig kc = {};

	dink_strv_addl(&features, first, second, NULL);
	if (dink_kernel_merge(&features, &kc, &err) < 0)
		fail_msg("%s", err.msg);
	return dink_kconfig_text(&kc);
}

/* Scenarios that name standard features, in any order, share the one kernel. */
static void order_of_features_does_not_matter(void **state _unused_)
{
	_cleanup_free_ char *a = merged_text("wireguard", "xfs"),
			    *b = merged_text("xfs", "wireguard");
	_cleanup_free_ char *c = merged_text("btrfs", "containers"),
			    *d = merged_text("nftables", "loop");

	assert_string_equal(a, b);
	assert_string_equal(c, d);
	assert_string_not_equal(a, c);
}

static void debian_names_its_package(void **state _unused_)
{
	_cleanup_free_ char *a = dink_kernel_depends("\nPackage: linux-source\nDepends: "
						     "linux-source-6.1 (= 6.1.192-2)\n");

	assert_string_equal(a, "linux-source-6.1");
	assert_null(dink_kernel_depends("\nPackage: linux-source\nDepends: xz-utils\n"));
	assert_null(dink_kernel_depends(""));
}

static int source_error(const char *source, const char *sha256, struct dink_err *err)
{
	struct dink_kernel_want want = {.source = source, .sha256 = sha256};
	_cleanup_(dink_kernel_source_clear) struct dink_kernel_source s = {};

	return dink_kernel_source_find(&want, &s, err);
}

static void tarballs_need_their_checksum(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err a = {}, b = {}, c = {};

	assert_true(source_error("/x/linux.tar.xz", NULL, &a) < 0);
	assert_string_equal(a.msg, "the kernel tarball /x/linux.tar.xz needs its sha256");
	assert_string_equal(a.hint, "sha256sum /x/linux.tar.xz");
	assert_true(source_error("/x/linux.tar.xz", "123", &b) < 0);
	assert_string_equal(b.msg, "\"123\" is no sha256: expected 64 hexadecimal digits");
	assert_true(source_error("debian:../etc", NULL, &c) < 0);
	assert_string_equal(c.msg, "apt knows no package linux-source-../etc");
}

struct reports {
	uint64_t n, done, total;
};

static void note_report(void *ctx, const char *what, uint64_t done, uint64_t total)
{
	struct reports *r = ctx;

	assert_string_equal(what, "building kernel");
	r->n++;
	r->done = done;
	r->total = total;
}

static void objects_are_counted(void **state _unused_)
{
	static const char text[] = "  CC      net/socket.o\n  HOSTCC  scripts/x\n  AS      a.o\n"
				   "  CC      b.o\nmake: Leaving\n  LD      vmlinux\n";
	struct reports r = {};
	struct dink_progress p = {.report = note_report, .ctx = &r};
	struct dink_kernel_count c = {.progress = &p, .total = 2};

	/* the same in one piece and byte by byte */
	for (size_t i = 0; i < strlen(text); i++)
		dink_kernel_count_output(&c, text + i, 1);
	assert_int_equal(r.n, 3);
	assert_int_equal(r.done, 3);
	assert_int_equal(r.total, 3);
	dink_kernel_count_output(&c, text, strlen(text));
	assert_int_equal(r.done, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions_order),
		cmocka_unit_test(config_is_read),
		cmocka_unit_test(directives_bind_to_one_line),
		cmocka_unit_test(garbage_is_refused),
		cmocka_unit_test(zero_bytes_are_refused),
		cmocka_unit_test(later_words_win_in_place),
		cmocka_unit_test(each_need_is_in_a_fragment),
		cmocka_unit_test(kernels_are_64_bit_and_monolithic),
		cmocka_unit_test(unknown_feature_is_named),
		cmocka_unit_test(check_names_who_asks),
		cmocka_unit_test(check_knows_versions),
		cmocka_unit_test(verification_names_each_loss),
		cmocka_unit_test(unmet_dependencies_are_told),
		cmocka_unit_test(nothing_is_told_rather_than_wrong),
		cmocka_unit_test(key_covers_every_input),
		cmocka_unit_test(order_of_features_does_not_matter),
		cmocka_unit_test(debian_names_its_package),
		cmocka_unit_test(tarballs_need_their_checksum),
		cmocka_unit_test(objects_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
