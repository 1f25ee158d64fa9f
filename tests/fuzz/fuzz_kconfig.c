/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anybody's .config and a source tree's Kconfig. Must hold: no memory error, and what is written
 * after reading reads as the same again.
 */
#include "kernel-configs/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_again(const struct dink_kconfig *kc)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_kconfig_ struct dink_kconfig again = {};
	_cleanup_free_ char *text = dink_kconfig_text(kc), *second = NULL;

	if (dink_kconfig_parse(text, strlen(text), "again", false, &again, &err) < 0)
		abort();
	second = dink_kconfig_text(&again);
	if (again.n != kc->n || !STREQ(text, second))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_kconfig_ struct dink_kconfig kc = {}, merged = {};
	_cleanup_(dink_kernel_lacks_clear) struct dink_kernel_lacks lacks = {};
	_cleanup_free_ char *text = xstrndup((const char *)data, size), *told = NULL;
	bool defined;

	if (size > 65536)
		return 0;
	if (dink_kconfig_parse((const char *)data, size, "fuzz", size & 1, &kc, &err) == 0) {
		read_again(&kc);
		dink_kconfig_merge(&merged, &kc);
		if (dink_kernel_check(&kc, NULL, &lacks, &err) < 0)
			abort();
	}
	told = dink_kernel_unmet_in(text, "A", &kc, &defined);
	return 0;
}
