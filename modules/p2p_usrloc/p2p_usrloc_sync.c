/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: what the gateway knows of this server's users; see the header. */
#include "modules/p2p_usrloc/p2p_usrloc_sync.h"

#include <string.h>

#include "modules/p2p_usrloc/p2p_usrloc.h"

/* All are named anew because of users whose leaving was not told: not more often. */
#define RENAME_MS 5000
#define RENAME_POLL_MS 200

static char run[PUL_RUN_MAX + 1]; /* of the gateway; empty: it does not speak of it */
static bool whole;		  /* it has all that it took; those who left are told it, too */
static uint64_t taken;		  /* the highest number that it acknowledged in this run */
static unsigned int left_seen;	  /* of the withdrawals that were left, when all were named */
static uint64_t named_ms;	  /* when that began */

const char *pul_sync_offer(unsigned int withdrawals_left)
{
	if (run[0] == '\0')
		return NULL;
	return whole && withdrawals_left == left_seen ? run : "0";
}

void pul_sync_named(unsigned int withdrawals_left, uint64_t now_ms)
{
	left_seen = withdrawals_left;
	named_ms = now_ms;
}

void pul_sync_refused(void)
{
	run[0] = '\0';
	whole = false;
}

void pul_sync_forget(void)
{
	whole = false;
}

void pul_sync_taken(uint64_t seq)
{
	if (seq > taken)
		taken = seq;
}

enum pul_sync_how pul_sync_shaken(const struct pul_gateway_info *info,
				  unsigned int withdrawals_left, uint64_t now_ms)
{
	bool resumed = info->resumed && whole && strcmp(info->run, run) == 0;

	if (resumed && info->resumed_seq >= taken && withdrawals_left == left_seen)
		return PUL_SYNC_REST;
	strcpy(run, info->run);
	whole = false;
	/* the gateway has begun no new synchronisation */
	if (info->resumed)
		return PUL_SYNC_AGAIN;
	whole = true;
	taken = 0;
	pul_sync_named(withdrawals_left, now_ms);
	return PUL_SYNC_ALL;
}

bool pul_sync_rename_due(unsigned int withdrawals_left, unsigned int withdrawn, uint64_t now_ms)
{
	return withdrawals_left != left_seen && now_ms >= named_ms + RENAME_MS &&
	       withdrawn <= (unsigned int)pul_settings.withdrawn_max / 2;
}

uint64_t pul_sync_due(unsigned int withdrawals_left, uint64_t now_ms)
{
	return withdrawals_left != left_seen ? now_ms + RENAME_POLL_MS : UINT64_MAX;
}
