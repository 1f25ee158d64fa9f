/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/vm/qemu_tsc.h"

#include "provision/base/file.h"
#include "provision/base/json.h"

#include <time.h>
#ifdef __x86_64__
#include <x86intrin.h>
#endif

enum { MEASURE_US = 20000 };

#ifdef __x86_64__
struct sample {
	uint64_t tsc;
	uint64_t ns;
};

/* The clock between two reads of the counter; the tightest of some tries. */
static struct sample take_sample(void)
{
	struct sample best = {};
	uint64_t gap = UINT64_MAX;

	for (int i = 0; i < 16; i++) {
		struct timespec ts;
		uint64_t a = __rdtsc();
		clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
		uint64_t b = __rdtsc();
		if (b - a >= gap)
			continue;
		gap = b - a;
		best.tsc = a + gap / 2;
		best.ns = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	}
	return best;
}

static uint32_t measure(void)
{
	struct sample a = take_sample();
	usleep(MEASURE_US);
	struct sample b = take_sample();
	uint64_t khz = b.ns > a.ns ? (b.tsc - a.tsc) * 1000000 / (b.ns - a.ns) : 0;

	return khz > 100000 && khz < 20000000 ? (uint32_t)khz : 0;
}
#else
static uint32_t measure(void)
{
	return 0;
}
#endif

static bool is_tsc_the_clock(void)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *text = NULL;

	/* a host that does not trust its own counter: neither should the guest */
	return dink_file_read("/proc/cpuinfo", 4 << 20, &text, NULL, &ignored) == 0 &&
	       strstr(text, " constant_tsc") != NULL;
}

uint32_t dink_tsc_khz(const char *dir)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_free_ char *path = xasprintf("%s/.tsc.json", dir);
	_cleanup_free_ char *boot = NULL;

	if (dink_file_read("/proc/sys/kernel/random/boot_id", 256, &boot, NULL, &ignored) < 0)
		return 0;
	boot[strcspn(boot, "\n")] = '\0';
	if (dink_exists(path) && dink_json_parse_file(path, &o, &ignored) == 0 &&
	    STREQ(dink_json_str_or(o, "boot_id", ""), boot)) {
		int64_t khz = dink_json_int_or(o, "khz", 0);
		return khz > 0 && khz < 20000000 ? (uint32_t)khz : 0;
	}
	dink_err_clear(&ignored);
	uint32_t khz = is_tsc_the_clock() ? measure() : 0;
	_cleanup_json_ struct json_object *fresh = dink_json_new();
	dink_json_set_str(fresh, "boot_id", boot);
	dink_json_set_int(fresh, "khz", khz);
	_cleanup_free_ char *text = dink_json_text(fresh);
	/* not being able to keep it costs 20 ms next time */
	(void)!dink_file_write(path, text, strlen(text), 0644, &ignored);
	return khz;
}
