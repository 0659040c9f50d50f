/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two clocks, behind function pointers so that tests can hold and turn them. */
#ifndef P2PSIP_BASE_CLOCK_H
#define P2PSIP_BASE_CLOCK_H

#include <stdint.h>

struct p2p_clock {
	/* Milliseconds since 1970: what records are dated with. It may jump. */
	uint64_t (*wall_ms)(void *arg);
	/* Milliseconds since some start; never goes back: what deadlines are counted with. */
	uint64_t (*mono_ms)(void *arg);
	void *arg;
};

/* The machine's own clocks: CLOCK_REALTIME and CLOCK_MONOTONIC. */
extern const struct p2p_clock p2p_clock_system;

static inline uint64_t p2p_clock_wall(const struct p2p_clock *c)
{
	return c->wall_ms(c->arg);
}

static inline uint64_t p2p_clock_mono(const struct p2p_clock *c)
{
	return c->mono_ms(c->arg);
}

#endif
