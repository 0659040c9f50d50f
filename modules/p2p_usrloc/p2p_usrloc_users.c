/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: the table of local users that the overlay is to know, in shared memory.
 *
 * A user is here while usrloc has a contact of theirs, and afterwards until the gateway has taken
 * the withdrawal. Users with something to tell are on their bucket's work list, and the bucket's
 * bit is set in a bitmap; the client process goes round the bitmap.
 *
 *	(absent) --add--> CHANGED --take--> IN_FLIGHT --done ok--> CLAIMED, at rest
 *	at rest --add or remove--> CHANGED ...; without contacts, after done ok --> (absent)
 *	IN_FLIGHT --add or remove--> IN_FLIGHT and CHANGED --done--> CHANGED
 *
 * Nothing is called with a bucket's lock held: memory is taken before and given back after. */
#include <errno.h>
#include <string.h>

#include "core/dprint.h"
#include "core/mem/shm_mem.h"
#include "modules/p2p_usrloc/p2p_usrloc_pages.h"
#include "modules/p2p_usrloc/p2p_usrloc_users_priv.h"

/* A larger table comes page by page. */
#define POPULATE_MAX (4u << 20) /* bytes */

struct pul_bucket *pul_buckets;
unsigned int pul_n_buckets;

int pul_users_init(unsigned int hash_size)
{
	unsigned int i;

	pul_n_buckets = 1u << hash_size;
	pul_buckets = shm_malloc(pul_n_buckets * sizeof(*pul_buckets));
	if (pul_buckets == NULL || pul_work_init() != 0) {
		SHM_MEM_ERROR;
		if (pul_buckets != NULL)
			shm_free(pul_buckets);
		pul_buckets = NULL;
		return ENOMEM;
	}
	memset(pul_buckets, 0, pul_n_buckets * sizeof(*pul_buckets));
	for (i = 0; i < pul_n_buckets; i++)
		lock_init(&pul_buckets[i].lock);
	return 0;
}

void pul_users_populate(void)
{
	const size_t len = pul_n_buckets * sizeof(*pul_buckets);

	if (len <= POPULATE_MAX)
		pul_pages_populate(pul_buckets, len);
}

static void contacts_free(struct pul_contact *c)
{
	struct pul_contact *next;

	for (; c != NULL; c = next) {
		next = c->next;
		if (!c->embedded)
			shm_free(c);
	}
}

void pul_users_destroy(void)
{
	unsigned int i;
	struct pul_user *u, *next;

	if (pul_buckets == NULL)
		return;
	for (i = 0; i < pul_n_buckets; i++) {
		for (u = pul_buckets[i].users; u != NULL; u = next) {
			next = u->next;
			contacts_free(u->contacts);
			shm_free(u);
		}
		lock_destroy(&pul_buckets[i].lock);
	}
	shm_free(pul_buckets);
	pul_work_destroy();
	pul_buckets = NULL;
}

unsigned int pul_users_buckets(void)
{
	return pul_n_buckets;
}

/* The functions from here to the next line of dashes want the bucket's lock held. */

struct pul_user *pul_user_find(const struct pul_bucket *b, const char *name, size_t len)
{
	struct pul_user *u;

	for (u = b->users; u != NULL; u = u->next) {
		if (u->name_len == len && memcmp(u->name, name, len) == 0)
			return u;
	}
	return NULL;
}

static struct pul_contact *contact_find(const struct pul_user *u, const str *ruid)
{
	struct pul_contact *c;

	for (c = u->contacts; c != NULL; c = c->next) {
		if (c->ruid_len == ruid->len &&
		    memcmp(c->data + c->aor_len, ruid->s, ruid->len) == 0)
			return c;
	}
	return NULL;
}

void pul_user_unlink(struct pul_bucket *b, struct pul_user *u)
{
	struct pul_user **link;

	pul_work_del(b, u);
	for (link = &b->users; *link != u; link = &(*link)->next)
		;
	*link = u->next;
	atomic_fetch_sub(&pul_shared->withdrawn, 1);
}

static void contact_link(struct pul_bucket *b, struct pul_user *u, struct pul_contact *c)
{
	if (u->contacts == NULL) {
		atomic_fetch_sub(&pul_shared->withdrawn, 1);
		atomic_fetch_add(&pul_shared->users, 1);
	}
	c->next = u->contacts;
	u->contacts = c;
	u->flags |= USER_CHANGED;
	pul_work_add(b, u);
	atomic_fetch_add(&pul_shared->contacts, 1);
}

/* Unlinks *link. Returns the user when nobody needs it any more (and unlinks it too). */
static struct pul_user *contact_unlink(struct pul_bucket *b, struct pul_user *u,
				       struct pul_contact **link)
{
	*link = (*link)->next;
	atomic_fetch_sub(&pul_shared->contacts, 1);
	u->flags |= USER_CHANGED;
	if (u->contacts != NULL) {
		pul_work_add(b, u);
		return NULL;
	}
	atomic_fetch_sub(&pul_shared->users, 1);
	if (atomic_fetch_add(&pul_shared->withdrawn, 1) >= pul_settings.withdrawn_max) {
		/* the gateway has been away for very long: all others are named anew, by which it
		 * finds out */
		atomic_fetch_add(&pul_shared->withdrawals_left, 1);
		pul_user_unlink(b, u);
		return u;
	}
	pul_work_add(b, u);
	return NULL;
}

/* --------------------------------------------------------------------------------------------- */

static void contact_set(struct pul_contact *c, const str *table, const str *aor, const str *ruid,
			uint32_t instance)
{
	c->next = NULL;
	c->table = table;
	c->instance = instance;
	c->gen = atomic_load(&pul_shared->scan_gen);
	c->aor_len = aor->len;
	c->ruid_len = ruid->len;
	c->embedded = false;
	c->stale = false;
	memcpy(c->data, aor->s, aor->len);
	memcpy(c->data + aor->len, ruid->s, ruid->len);
}

int pul_users_add(const struct p2p_name *name, const str *table, const str *aor, const str *ruid,
		  uint32_t instance)
{
	const size_t align = _Alignof(struct pul_contact);
	struct pul_bucket *b = pul_users_bucket(name->s, name->len);
	str kept_aor = *aor;
	size_t contact_size, user_size;
	struct pul_user *u, *new_user = NULL;
	struct pul_contact *c, *new_contact = NULL;
	bool changed = false;

	if (aor->len > UINT16_MAX || ruid->len > UINT16_MAX)
		return EINVAL;
	if ((size_t)aor->len == name->len && memcmp(aor->s, name->s, name->len) == 0)
		kept_aor.len = 0;
	contact_size = sizeof(*c) + kept_aor.len + ruid->len;
	user_size = (sizeof(*u) + name->len + align - 1) / align * align;

	for (;;) {
		lock_get(&b->lock);
		u = pul_user_find(b, name->s, name->len);
		c = u != NULL ? contact_find(u, ruid) : NULL;
		if (c != NULL) {
			/* the way of a REGISTER that only refreshes */
			c->gen = atomic_load(&pul_shared->scan_gen);
			if (c->instance != instance) {
				c->instance = instance;
				u->flags |= USER_CHANGED;
				pul_work_add(b, u);
				changed = true;
			}
			break;
		}
		if (u != NULL && new_contact != NULL) {
			contact_link(b, u, new_contact);
			new_contact = NULL;
			changed = true;
			break;
		}
		if (u == NULL && new_user != NULL) {
			new_user->next = b->users;
			b->users = new_user;
			atomic_fetch_add(&pul_shared->withdrawn, 1); /* undone by the next line */
			contact_link(b, new_user,
				     (struct pul_contact *)((char *)new_user + user_size));
			new_user = NULL;
			changed = true;
			break;
		}
		lock_release(&b->lock);

		/* one allocation, outside of the lock; who was first meanwhile is seen above */
		if (u != NULL) {
			new_contact = shm_malloc(contact_size);
			if (new_contact == NULL)
				goto nomem;
			contact_set(new_contact, table, &kept_aor, ruid, instance);
		} else {
			new_user = shm_malloc(user_size + contact_size);
			if (new_user == NULL)
				goto nomem;
			memset(new_user, 0, sizeof(*new_user));
			new_user->name_len = name->len;
			memcpy(new_user->name, name->s, name->len);
			c = (struct pul_contact *)((char *)new_user + user_size);
			contact_set(c, table, &kept_aor, ruid, instance);
			c->embedded = true;
		}
	}
	lock_release(&b->lock);
	if (new_contact != NULL)
		shm_free(new_contact);
	if (new_user != NULL)
		shm_free(new_user);
	if (changed)
		pul_wake_soon();
	return 0;

nomem:
	if (new_contact != NULL)
		shm_free(new_contact);
	if (new_user != NULL)
		shm_free(new_user);
	return ENOMEM;
}

void pul_users_remove(const struct p2p_name *name, const str *ruid)
{
	struct pul_bucket *b = pul_users_bucket(name->s, name->len);
	struct pul_user *u, *dead = NULL;
	struct pul_contact **link, *c = NULL;
	bool removed;

	lock_get(&b->lock);
	u = pul_user_find(b, name->s, name->len);
	if (u != NULL) {
		for (link = &u->contacts; (c = *link) != NULL; link = &c->next) {
			if (c->ruid_len == ruid->len &&
			    memcmp(c->data + c->aor_len, ruid->s, ruid->len) == 0) {
				dead = contact_unlink(b, u, link);
				break;
			}
		}
	}
	removed = c != NULL;
	/* an embedded contact's memory is its user's, which may be gone after the release */
	if (c != NULL && c->embedded)
		c = NULL;
	lock_release(&b->lock);
	if (c != NULL)
		shm_free(c);
	if (dead != NULL)
		shm_free(dead);
	if (removed)
		pul_wake_soon();
}

static bool str_copy_in(str *to, const char *s, size_t len)
{
	if (to->len < (int)len)
		return false;
	memcpy(to->s, s, len);
	to->len = len;
	return true;
}

void pul_users_set_stale(const struct p2p_name *name, const str *ruid)
{
	struct pul_bucket *b = pul_users_bucket(name->s, name->len);
	struct pul_contact *c;
	struct pul_user *u;

	lock_get(&b->lock);
	u = pul_user_find(b, name->s, name->len);
	c = u != NULL ? contact_find(u, ruid) : NULL;
	if (c != NULL)
		c->stale = true;
	lock_release(&b->lock);
}

unsigned int pul_users_stale(const struct p2p_name *name, uint32_t instance,
			     str ruid[PUL_USERS_STALE_MAX])
{
	struct pul_bucket *b = pul_users_bucket(name->s, name->len);
	const struct pul_contact *c;
	const struct pul_user *u;
	unsigned int n = 0;

	lock_get(&b->lock);
	u = pul_user_find(b, name->s, name->len);
	for (c = u != NULL ? u->contacts : NULL; c != NULL && n < PUL_USERS_STALE_MAX;
	     c = c->next) {
		if (c->stale && (instance == 0 || c->instance == instance) &&
		    str_copy_in(&ruid[n], c->data + c->aor_len, c->ruid_len))
			n++;
	}
	lock_release(&b->lock);
	return n;
}

unsigned int pul_users_sweep(unsigned int gen)
{
	struct pul_user *u, *next, *dead, *dead_users;
	struct pul_contact **link, *c, *gone;
	struct pul_bucket *b;
	unsigned int i, n = 0;

	for (i = 0; i < pul_n_buckets; i++) {
		b = &pul_buckets[i];
		dead_users = NULL;
		gone = NULL;
		lock_get(&b->lock);
		for (u = b->users; u != NULL; u = next) {
			next = u->next;
			for (link = &u->contacts; (c = *link) != NULL;) {
				if (c->stale || (int)(c->gen - gen) >= 0) {
					link = &c->next;
					continue;
				}
				dead = contact_unlink(b, u, link);
				if (!c->embedded) {
					c->next = gone;
					gone = c;
				}
				n++;
				if (dead != NULL) {
					dead->work_next = dead_users;
					dead_users = dead;
					break;
				}
			}
		}
		lock_release(&b->lock);
		contacts_free(gone);
		for (; dead_users != NULL; dead_users = dead) {
			dead = dead_users->work_next;
			shm_free(dead_users);
		}
	}
	if (n > 0)
		pul_wake_soon();
	return n;
}

bool pul_users_serves(const struct p2p_name *name, bool *others)
{
	struct pul_bucket *b = pul_users_bucket(name->s, name->len);
	struct pul_user *u;
	bool serves, o;

	lock_get(&b->lock);
	u = pul_user_find(b, name->s, name->len);
	serves = u != NULL && u->contacts != NULL;
	o = u != NULL && (u->flags & USER_OTHERS) != 0;
	lock_release(&b->lock);
	if (others != NULL)
		*others = o;
	return serves;
}

void pul_users_set_others(const struct p2p_name *name, bool others)
{
	struct pul_bucket *b = pul_users_bucket(name->s, name->len);
	struct pul_user *u;

	lock_get(&b->lock);
	u = pul_user_find(b, name->s, name->len);
	if (u != NULL)
		u->flags = others ? u->flags | USER_OTHERS : u->flags & ~USER_OTHERS;
	lock_release(&b->lock);
}

void pul_users_ask(const struct p2p_name *name)
{
	struct pul_bucket *b = pul_users_bucket(name->s, name->len);
	struct pul_user *u;
	bool listed = false;

	lock_get(&b->lock);
	u = pul_user_find(b, name->s, name->len);
	if (u != NULL && u->contacts != NULL && !(u->flags & USER_ASK)) {
		u->flags |= USER_ASK;
		pul_work_add(b, u);
		listed = true;
	}
	lock_release(&b->lock);
	if (listed)
		pul_wake_soon();
}

int pul_users_aor(const struct p2p_name *name, int n, str *table, str *aor)
{
	struct pul_bucket *b = pul_users_bucket(name->s, name->len);
	const struct pul_contact *c, *earlier;
	struct pul_user *u;
	int found = 0;

	lock_get(&b->lock);
	u = pul_user_find(b, name->s, name->len);
	for (c = u != NULL ? u->contacts : NULL; c != NULL; c = c->next) {
		for (earlier = u->contacts; earlier != c; earlier = earlier->next) {
			if (earlier->table == c->table && earlier->aor_len == c->aor_len &&
			    memcmp(earlier->data, c->data, c->aor_len) == 0)
				break;
		}
		if (earlier != c || n-- > 0)
			continue;
		found = str_copy_in(table, c->table->s, c->table->len) &&
			str_copy_in(aor, c->aor_len > 0 ? c->data : u->name,
				    c->aor_len > 0 ? c->aor_len : u->name_len);
		break;
	}
	lock_release(&b->lock);
	return found;
}
