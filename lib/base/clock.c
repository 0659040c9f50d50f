/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/base/clock.h"

#include <time.h>

static uint64_t read_ms(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts) != 0)
		return 0;
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static uint64_t system_wall_ms(void *arg)
{
	(void)arg;
	return read_ms(CLOCK_REALTIME);
}

static uint64_t system_mono_ms(void *arg)
{
	(void)arg;
	return read_ms(CLOCK_MONOTONIC);
}

const struct p2p_clock p2p_clock_system = {
	.wall_ms = system_wall_ms,
	.mono_ms = system_mono_ms,
	.arg = NULL,
};
