/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: the client process looks through usrloc's contacts: once after the start, and when
 * somebody says that some may be missing. */
#include <string.h>

#include "core/dprint.h"
#include "core/pt.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_client_priv.h"

#define SCAN_PARTS 64
/* Pause before a scan that could not be finished, or another one, is tried. */
#define SCAN_AGAIN_MS 1000
/* How often to look whether Kamailio has started (and loaded its database) */
#define START_POLL_MS 50

enum scan_state { SCAN_NONE, SCAN_RUNS };

/* the client process' own */
static struct {
	enum scan_state state;
	unsigned int part, gen;
	bool done_once;
	uint64_t next_ms;
} scan;

void pul_scan_run(uint64_t now)
{
	unsigned int swept;
	int err;

	if (scan.state == SCAN_NONE) {
		if (now < scan.next_ms)
			return;
		if (!scan.done_once) {
			/* usrloc loads its database in a process that starts after this one */
			if (!sr_instance_ready()) {
				scan.next_ms = now + START_POLL_MS;
				return;
			}
		} else if (!atomic_load(&pul_shared->rescan)) {
			return;
		}
		atomic_store(&pul_shared->rescan, 0);
		pul_ul_tables_find();
		scan.state = SCAN_RUNS;
		scan.part = 0;
		scan.gen = atomic_fetch_add(&pul_shared->scan_gen, 1) + 1;
	}
	if (now < scan.next_ms)
		return;
	err = pul_ul_scan_part(scan.part, SCAN_PARTS);
	if (err != 0) {
		LM_WARN("looking through usrloc's contacts, part %u: %s; trying again\n", scan.part,
			strerror(err));
		scan.next_ms = now + SCAN_AGAIN_MS;
		return;
	}
	if (++scan.part < SCAN_PARTS)
		return;
	scan.state = SCAN_NONE;
	scan.done_once = true;
	scan.next_ms = now + SCAN_AGAIN_MS;
	pul_count(PUL_CNT_SCANS);
	swept = pul_users_sweep(scan.gen);
	if (swept > 0)
		LM_INFO("%u contacts were gone from usrloc\n", swept);
	pul_publish_scanned();
}

uint64_t pul_scan_due(void)
{
	if (scan.state == SCAN_RUNS || !scan.done_once || atomic_load(&pul_shared->rescan))
		return scan.next_ms;
	return UINT64_MAX;
}

bool pul_scan_done(void)
{
	return scan.done_once;
}
