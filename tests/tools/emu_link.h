/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef EMU_LINK_H
#define EMU_LINK_H

/*
 * One direction between two nodes of the emulated network: what becomes of each packet. Pure: the
 * time comes from the caller, chance from the link's own generator, so that the same seed and the
 * same packets have the same fate, whatever the other links carry.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EMU_LINK_DELAY_MAX_US 10000000u

struct emu_link_params {
	uint32_t delay_us;  /* one way */
	uint32_t jitter_us; /* each packet's delay is delay_us +- up to this, evenly */
	double loss;	    /* 0 to 1, of each packet by itself */
	double burst_enter; /* Gilbert-Elliott: chance, a packet, to turn bad .. */
	double burst_leave; /* .. and good again; */
	double burst_loss;  /* what is lost while it is bad */
	uint64_t rate_bps;  /* 0: no limit */
	uint32_t queue_us;  /* with rate_bps: who would wait longer to be sent is dropped */
	bool reorder;	    /* jitter may let a packet overtake another */
};

struct emu_link_stats {
	uint64_t packets; /* that came to be sent */
	uint64_t bytes;
	uint64_t lost;	      /* by loss */
	uint64_t burst_lost;  /* while the link was bad */
	uint64_t outage_lost; /* while it was down */
	uint64_t queue_lost;  /* the rate's queue, or the emulator's, was full */
};

struct emu_link {
	struct emu_link_params params;
	struct emu_link_stats stats;
	uint64_t random;
	uint64_t down_until; /* us; UINT64_MAX: until told */
	uint64_t free_at;    /* us, when the last packet has left the sender */
	uint64_t last_due;   /* us, when the last one arrives */
	bool bad;
};

/* No delay, no loss, up. seed: any number. */
void emu_link_init(struct emu_link *link, uint64_t seed);

/* Out of range: EINVAL, and nothing is changed. */
int emu_link_set(struct emu_link *link, const struct emu_link_params *params);

/* Down from now for duration_us; 0: until emu_link_up(). */
void emu_link_down(struct emu_link *link, uint64_t now, uint64_t duration_us);
void emu_link_up(struct emu_link *link);

/* True: the packet of size bytes arrives at *due (us). False: it is lost, and counted. */
bool emu_link_send(struct emu_link *link, uint64_t now, size_t size, uint64_t *due);

#endif
