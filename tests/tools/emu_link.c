/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What becomes of a packet on one direction of the emulated network. */
#include "tests/tools/emu_link.h"

#include <errno.h>
#include <string.h>

#define QUEUE_DEFAULT_US 200000u

/* splitmix64: small, and good from any seed */
static uint64_t next(struct emu_link *link)
{
	uint64_t z;

	link->random += 0x9e3779b97f4a7c15u;
	z = link->random;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* 0 <= x < 1 */
static double chance(struct emu_link *link)
{
	return (double)(next(link) >> 11) / 9007199254740992.0;
}

void emu_link_init(struct emu_link *link, uint64_t seed)
{
	memset(link, 0, sizeof(*link));
	link->random = seed;
	link->params.queue_us = QUEUE_DEFAULT_US;
	link->params.burst_loss = 1;
	link->params.burst_leave = 1;
}

static bool fraction(double p)
{
	return p >= 0 && p <= 1;
}

int emu_link_set(struct emu_link *link, const struct emu_link_params *params)
{
	if (params->delay_us > EMU_LINK_DELAY_MAX_US || params->queue_us > EMU_LINK_DELAY_MAX_US ||
	    params->jitter_us > params->delay_us || !fraction(params->loss) ||
	    !fraction(params->burst_enter) || !fraction(params->burst_leave) ||
	    !fraction(params->burst_loss))
		return EINVAL;
	link->params = *params;
	if (params->burst_enter <= 0)
		link->bad = false;
	return 0;
}

void emu_link_down(struct emu_link *link, uint64_t now, uint64_t duration_us)
{
	link->down_until = duration_us ? now + duration_us : UINT64_MAX;
}

void emu_link_up(struct emu_link *link)
{
	link->down_until = 0;
}

/* Each packet takes the same numbers from the generator, whatever happens to it: a change of one
 * parameter leaves the fate that the others give as it was. */
bool emu_link_send(struct emu_link *link, uint64_t now, size_t size, uint64_t *due)
{
	const struct emu_link_params *p = &link->params;
	double turn = chance(link), burst = chance(link), loss = chance(link), late = chance(link);
	uint64_t start = now, at;

	link->stats.packets++;
	link->stats.bytes += size;
	if (link->bad ? turn < p->burst_leave : turn < p->burst_enter)
		link->bad = !link->bad;
	if (now < link->down_until) {
		link->stats.outage_lost++;
		return false;
	}
	if (p->rate_bps) {
		if (link->free_at > now) {
			if (link->free_at - now > p->queue_us) {
				link->stats.queue_lost++;
				return false;
			}
			start = link->free_at;
		}
		/* what is lost on the way has been sent all the same */
		start += (uint64_t)size * 8 * 1000000 / p->rate_bps;
		link->free_at = start;
	}
	if (link->bad && burst < p->burst_loss) {
		link->stats.burst_lost++;
		return false;
	}
	if (loss < p->loss) {
		link->stats.lost++;
		return false;
	}
	at = start + p->delay_us - p->jitter_us + (uint64_t)(late * 2 * p->jitter_us);
	if (!p->reorder && at < link->last_due)
		at = link->last_due;
	link->last_due = at;
	*due = at;
	return true;
}
