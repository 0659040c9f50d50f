/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When what failed is tried again. A key that fails waits by itself, each time twice as long. When
 * several keys fail in a row and none succeeds in between, it is not theirs: then all wait, and
 * after that one is tried, alone. No I/O, no clock. */
#ifndef P2PSIP_MODEL_RETRY_H
#define P2PSIP_MODEL_RETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/proto/key.h"

struct p2p_retry;

struct p2p_retry_config {
	size_t max;		    /* keys that wait by themselves; looked through one by one */
	uint32_t first_ms, most_ms; /* what a key waits: at first, and at most */
	uint32_t in_a_row;	    /* so many different keys: all wait */
	uint32_t all_ms;	    /* so long */
};

/* All times: a monotonic clock, in ms. 0 or ENOMEM; EINVAL: one of the numbers is 0. */
int p2p_retry_new(struct p2p_retry **rp, const struct p2p_retry_config *config);
void p2p_retry_free(struct p2p_retry *r);

/* The key's record of this order failed; of two that were under way the later one counts. true:
 * p2p_retry_take gives it back when its time has come. false: max keys wait; it is to be tried with
 * all others, and these wait now. */
bool p2p_retry_failed(struct p2p_retry *r, const struct p2p_key *key, uint64_t order,
		      uint64_t now_ms);
/* It succeeded. What failed while all did is due at once. */
void p2p_retry_succeeded(struct p2p_retry *r, const struct p2p_key *key, uint64_t order,
			 uint64_t now_ms);
/* One whose time has come; it waits no more. false: none. */
bool p2p_retry_take(struct p2p_retry *r, uint64_t now_ms, struct p2p_key *key, uint64_t *order);

/* How many may be tried at once: none while all wait; then one, until one has succeeded; else
 * UINT_MAX. */
unsigned int p2p_retry_at_once(const struct p2p_retry *r, uint64_t now_ms);
/* Keys that wait by themselves. */
size_t p2p_retry_waiting(const struct p2p_retry *r);

#endif
