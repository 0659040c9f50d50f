/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: what AUTH said of users, for a short while: sets of a few entries, each with a lock
 * of its own; of a full set the one that is over soonest goes. No more than that much memory is
 * ever taken, and what goes is cleansed. */
#include <errno.h>
#include <string.h>

#include "core/dprint.h"
#include "core/locking.h"
#include "core/mem/shm_mem.h"
#include "lib/base/hash.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"

#define WAYS 4

struct entry {
	uint64_t until_ms; /* 0: free */
	struct p2p_name name;
	struct p2p_auth auth;
};

struct set {		 /* shm */
	gen_lock_t lock; /* guards e */
	struct entry e[WAYS];
};

static struct set *sets; /* shm */
static unsigned int n_sets;

int pul_auth_init(unsigned int max_entries)
{
	unsigned int i;

	n_sets = (max_entries + WAYS - 1) / WAYS;
	sets = shm_malloc(n_sets * sizeof(*sets));
	if (sets == NULL) {
		SHM_MEM_ERROR;
		return ENOMEM;
	}
	memset(sets, 0, n_sets * sizeof(*sets));
	for (i = 0; i < n_sets; i++)
		lock_init(&sets[i].lock);
	return 0;
}

void pul_auth_destroy(void)
{
	if (sets == NULL)
		return;
	explicit_bzero(sets, n_sets * sizeof(*sets));
	shm_free(sets);
	sets = NULL;
}

static struct set *set_of(const struct p2p_name *name)
{
	return &sets[p2p_hash(&pul_hash_key, name->s, name->len) % n_sets];
}

static struct entry *entry_find(struct set *set, const struct p2p_name *name)
{
	unsigned int i;

	for (i = 0; i < WAYS; i++) {
		struct entry *e = &set->e[i];

		if (e->until_ms != 0 && e->name.len == name->len &&
		    memcmp(e->name.s, name->s, name->len) == 0)
			return e;
	}
	return NULL;
}

static void entry_clear(struct entry *e)
{
	explicit_bzero(e, sizeof(*e));
}

bool pul_auth_get(const struct p2p_name *name, struct p2p_auth *auth)
{
	struct set *set = set_of(name);
	struct entry *e;
	bool found = false;

	lock_get(&set->lock);
	e = entry_find(set, name);
	if (e != NULL && e->until_ms > pul_now_ms()) {
		*auth = e->auth;
		found = true;
	} else if (e != NULL) {
		entry_clear(e);
	}
	lock_release(&set->lock);
	return found;
}

void pul_auth_put(const struct p2p_name *name, const struct p2p_auth *auth, uint64_t ttl_ms)
{
	uint64_t max_ms = (uint64_t)pul_settings.auth_cache_s * 1000;
	struct set *set = set_of(name);
	struct entry *e;
	unsigned int i;

	if (ttl_ms > max_ms)
		ttl_ms = max_ms;
	if (ttl_ms == 0)
		return;
	lock_get(&set->lock);
	e = entry_find(set, name);
	if (e == NULL) {
		e = &set->e[0];
		for (i = 1; i < WAYS; i++)
			if (set->e[i].until_ms < e->until_ms)
				e = &set->e[i];
	}
	e->until_ms = pul_now_ms() + ttl_ms;
	e->name.len = name->len;
	memcpy(e->name.s, name->s, name->len);
	e->name.s[name->len] = '\0';
	e->auth = *auth;
	lock_release(&set->lock);
}

void pul_auth_drop(const struct p2p_name *name)
{
	struct set *set = set_of(name);
	struct entry *e;

	lock_get(&set->lock);
	e = entry_find(set, name);
	if (e != NULL)
		entry_clear(e);
	lock_release(&set->lock);
}

unsigned int pul_auth_flush(void)
{
	unsigned int i, k, n = 0;

	for (i = 0; i < n_sets; i++) {
		lock_get(&sets[i].lock);
		for (k = 0; k < WAYS; k++) {
			if (sets[i].e[k].until_ms == 0)
				continue;
			entry_clear(&sets[i].e[k]);
			n++;
		}
		lock_release(&sets[i].lock);
	}
	return n;
}

unsigned int pul_auth_count(void)
{
	uint64_t now = pul_now_ms();
	unsigned int i, k, n = 0;

	for (i = 0; sets != NULL && i < n_sets; i++)
		for (k = 0; k < WAYS; k++)
			n += sets[i].e[k].until_ms > now;
	return n;
}
