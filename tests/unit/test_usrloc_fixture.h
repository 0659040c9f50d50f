/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc's tables in shared memory, without Kamailio: tests/mock/kamailio stands in for it, and
 * watches that nothing is called with a lock held. */
#ifndef TEST_USRLOC_FIXTURE_H
#define TEST_USRLOC_FIXTURE_H

#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "tests/unit/test.h"

/* What the module shares, and what was asked of the rest of it. */
struct usrloc_fixture {
	struct pul_shared shared;
	atomic_int wakes;
	unsigned int counted[PUL_CNT_N];
	uint64_t now_ms;
	str location; /* a table's name */
	struct pul_cursor cursor;
};

extern struct usrloc_fixture fixture;

/* All tables, empty. */
int usrloc_setup(void **state);
int usrloc_teardown(void **state);

struct p2p_name usrloc_name(const char *text);
struct p2p_name usrloc_name_nr(unsigned int i);
/* A contact of a user. As pul_users_add(). */
int usrloc_add(const struct p2p_name *name, const char *ruid, uint32_t instance);
void usrloc_del(const struct p2p_name *name, const char *ruid);
/* The next piece of work: there is one. */
struct pul_job usrloc_take(void);
void usrloc_candidate(struct p2p_candidate *c, unsigned int nr, uint32_t ttl_ms, unsigned int uris);

#endif
