/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/base/units.h"

#include "provision/base/mem.h"

#include <ctype.h>
#include <time.h>

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {
	{"", 1},
	{"b", 1},
	{"k", 1ULL << 10},
	{"kb", 1ULL << 10},
	{"kib", 1ULL << 10},
	{"m", 1ULL << 20},
	{"mb", 1ULL << 20},
	{"mib", 1ULL << 20},
	{"g", 1ULL << 30},
	{"gb", 1ULL << 30},
	{"gib", 1ULL << 30},
	{"t", 1ULL << 40},
	{"tb", 1ULL << 40},
	{"tib", 1ULL << 40},
};

static const struct unit time_units[] = {
	{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000},
};

static int parse_with_unit(const char *text, const struct unit *units, size_t n, uint64_t *ret)
{
	uint64_t value;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno)
		return -ERANGE;
	while (*end == ' ')
		end++;
	for (size_t i = 0; i < n; i++) {
		if (strcasecmp(end, units[i].name) != 0)
			continue;
		if (value > INT64_MAX / units[i].factor)
			return -ERANGE;
		*ret = value * units[i].factor;
		return 0;
	}
	return -EINVAL;
}

int dink_parse_size(const char *text, uint64_t *ret_bytes)
{
	return parse_with_unit(text, size_units, ARRAY_SIZE(size_units), ret_bytes);
}

int dink_parse_duration(const char *text, uint64_t *ret_ms)
{
	return parse_with_unit(text, time_units, ARRAY_SIZE(time_units), ret_ms);
}

char *dink_format_size(uint64_t bytes)
{
	static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes;
	size_t i = 0;

	while (value >= 1024 && i + 1 < ARRAY_SIZE(names)) {
		value /= 1024;
		i++;
	}
	if (value == (double)(uint64_t)value)
		return xasprintf("%.0f %s", value, names[i]);
	return xasprintf("%.1f %s", value, names[i]);
}

uint64_t dink_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}
