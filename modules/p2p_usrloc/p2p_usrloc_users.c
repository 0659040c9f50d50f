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
#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_pages.h"

/* A larger table comes page by page. */
#define POPULATE_MAX (4u << 20) /* bytes */

struct contact {
	struct contact *next;
	const str *table;  /* usrloc's own, lives as long as Kamailio */
	uint32_t instance; /* p2p_instance_hash(), 0: none */
	unsigned int gen;  /* the scan that saw it last, or during which it came */
	uint16_t aor_len;  /* 0: the AoR is the name */
	uint16_t ruid_len;
	bool embedded; /* part of its user's memory */
	bool stale;    /* usrloc has it not: its phone has to connect again */
	char data[];   /* AoR, ruid */
};

enum user_flag {
	USER_LISTED = 1,     /* on the bucket's work list */
	USER_CHANGED = 2,    /* the gateway may have to be told */
	USER_IN_FLIGHT = 4,  /* told, not answered yet */
	USER_CLAIMED = 8,    /* the gateway publishes it, with the instances of `told` */
	USER_ASK = 16,	     /* who else serves it? */
	USER_OTHERS = 32,    /* others are known, or were, to serve it */
	USER_CONFIRMED = 64, /* others can find it with the instances of `told` */
};

struct user {
	struct user *next;	/* of the bucket */
	struct user *work_next; /* of the bucket's work list */
	struct contact *contacts;
	uint32_t told; /* signature of the instances last sent */
	uint8_t flags;
	uint8_t name_len;
	char name[]; /* without NUL; then, aligned, the first contact */
};

_Static_assert(P2P_NAME_MAX <= UINT8_MAX, "name_len is too small");

struct bucket {
	gen_lock_t lock; /* guards all below, users and contacts included */
	struct user *users;
	struct user *work_head, *work_tail;
};

/* pkg pointers to shm, set before forking */
static struct bucket *buckets;
static unsigned int n_buckets;
static atomic_ullong *work_map; /* one bit a bucket; changed only under the bucket's lock */

int pul_users_init(unsigned int hash_size)
{
	unsigned int i;

	n_buckets = 1u << hash_size;
	buckets = shm_malloc(n_buckets * sizeof(*buckets));
	work_map = shm_malloc(n_buckets / 64 * sizeof(*work_map));
	if (buckets == NULL || work_map == NULL) {
		SHM_MEM_ERROR;
		if (buckets != NULL)
			shm_free(buckets);
		if (work_map != NULL)
			shm_free(work_map);
		buckets = NULL;
		return ENOMEM;
	}
	memset(buckets, 0, n_buckets * sizeof(*buckets));
	for (i = 0; i < n_buckets; i++)
		lock_init(&buckets[i].lock);
	for (i = 0; i < n_buckets / 64; i++)
		atomic_init(&work_map[i], 0);
	return 0;
}

void pul_users_populate(void)
{
	const size_t len = n_buckets * sizeof(*buckets);

	if (len <= POPULATE_MAX)
		pul_pages_populate(buckets, len);
}

static void contacts_free(struct contact *c)
{
	struct contact *next;

	for (; c != NULL; c = next) {
		next = c->next;
		if (!c->embedded)
			shm_free(c);
	}
}

void pul_users_destroy(void)
{
	unsigned int i;
	struct user *u, *next;

	if (buckets == NULL)
		return;
	for (i = 0; i < n_buckets; i++) {
		for (u = buckets[i].users; u != NULL; u = next) {
			next = u->next;
			contacts_free(u->contacts);
			shm_free(u);
		}
		lock_destroy(&buckets[i].lock);
	}
	shm_free(buckets);
	shm_free((void *)work_map);
	buckets = NULL;
}

unsigned int pul_users_buckets(void)
{
	return n_buckets;
}

static struct bucket *bucket_of(const char *name, size_t len)
{
	return &buckets[p2p_hash(&pul_hash_key, name, len) & (n_buckets - 1)];
}

/* The functions from here to the next line of dashes want the bucket's lock held. */

static struct user *user_find(const struct bucket *b, const char *name, size_t len)
{
	struct user *u;

	for (u = b->users; u != NULL; u = u->next) {
		if (u->name_len == len && memcmp(u->name, name, len) == 0)
			return u;
	}
	return NULL;
}

static struct contact *contact_find(const struct user *u, const str *ruid)
{
	struct contact *c;

	for (c = u->contacts; c != NULL; c = c->next) {
		if (c->ruid_len == ruid->len &&
		    memcmp(c->data + c->aor_len, ruid->s, ruid->len) == 0)
			return c;
	}
	return NULL;
}

static void work_add(struct bucket *b, struct user *u)
{
	unsigned int i = b - buckets;

	if (u->flags & USER_LISTED)
		return;
	u->flags |= USER_LISTED;
	u->work_next = NULL;
	if (b->work_tail != NULL) {
		b->work_tail->work_next = u;
	} else {
		b->work_head = u;
		atomic_fetch_or(&work_map[i / 64], 1ull << (i % 64));
	}
	b->work_tail = u;
}

static struct user *work_pop(struct bucket *b)
{
	unsigned int i = b - buckets;
	struct user *u = b->work_head;

	if (u == NULL)
		return NULL;
	b->work_head = u->work_next;
	if (b->work_head == NULL) {
		b->work_tail = NULL;
		atomic_fetch_and(&work_map[i / 64], ~(1ull << (i % 64)));
	}
	u->flags &= ~USER_LISTED;
	return u;
}

static void work_del(struct bucket *b, struct user *u)
{
	struct user **link = &b->work_head, *prev = NULL;

	if (!(u->flags & USER_LISTED))
		return;
	for (; *link != u; link = &(*link)->work_next)
		prev = *link;
	*link = u->work_next;
	if (b->work_tail == u)
		b->work_tail = prev;
	if (b->work_head == NULL) {
		unsigned int i = b - buckets;

		atomic_fetch_and(&work_map[i / 64], ~(1ull << (i % 64)));
	}
	u->flags &= ~USER_LISTED;
}

static void user_unlink(struct bucket *b, struct user *u)
{
	struct user **link;

	work_del(b, u);
	for (link = &b->users; *link != u; link = &(*link)->next)
		;
	*link = u->next;
	atomic_fetch_sub(&pul_shared->withdrawn, 1);
}

/* Distinct instances of a user's contacts, in ascending order so that the same set always reads
 * the same; the smallest ones when there are too many. */
static unsigned int instances_of(const struct user *u, uint32_t *out)
{
	const struct contact *c;
	unsigned int n = 0, i;

	for (c = u->contacts; c != NULL; c = c->next) {
		if (c->instance == 0)
			continue;
		for (i = 0; i < n && out[i] < c->instance; i++)
			;
		if ((i < n && out[i] == c->instance) || i == P2P_CANDIDATE_INSTANCES_MAX)
			continue;
		if (n == P2P_CANDIDATE_INSTANCES_MAX)
			n--;
		memmove(out + i + 1, out + i, (n - i) * sizeof(*out));
		out[i] = c->instance;
		n++;
	}
	return n;
}

static uint32_t instances_signature(const uint32_t *instance, unsigned int n)
{
	uint32_t h = 2166136261u; /* FNV-1a */
	unsigned int i;

	for (i = 0; i < n; i++)
		h = (h ^ instance[i]) * 16777619u;
	return h;
}

static void contact_link(struct bucket *b, struct user *u, struct contact *c)
{
	if (u->contacts == NULL) {
		atomic_fetch_sub(&pul_shared->withdrawn, 1);
		atomic_fetch_add(&pul_shared->users, 1);
	}
	c->next = u->contacts;
	u->contacts = c;
	u->flags |= USER_CHANGED;
	work_add(b, u);
	atomic_fetch_add(&pul_shared->contacts, 1);
}

/* Unlinks *link. Returns the user when nobody needs it any more (and unlinks it too). */
static struct user *contact_unlink(struct bucket *b, struct user *u, struct contact **link)
{
	*link = (*link)->next;
	atomic_fetch_sub(&pul_shared->contacts, 1);
	u->flags |= USER_CHANGED;
	if (u->contacts != NULL) {
		work_add(b, u);
		return NULL;
	}
	atomic_fetch_sub(&pul_shared->users, 1);
	if (atomic_fetch_add(&pul_shared->withdrawn, 1) >= pul_settings.withdrawn_max) {
		/* the gateway has been away for very long: all others are named anew, by which it
		 * finds out */
		atomic_fetch_add(&pul_shared->withdrawals_left, 1);
		user_unlink(b, u);
		return u;
	}
	work_add(b, u);
	return NULL;
}

/* --------------------------------------------------------------------------------------------- */

static void contact_set(struct contact *c, const str *table, const str *aor, const str *ruid,
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
	const size_t align = _Alignof(struct contact);
	struct bucket *b = bucket_of(name->s, name->len);
	str kept_aor = *aor;
	size_t contact_size, user_size;
	struct user *u, *new_user = NULL;
	struct contact *c, *new_contact = NULL;
	bool changed = false;

	if (aor->len > UINT16_MAX || ruid->len > UINT16_MAX)
		return EINVAL;
	if ((size_t)aor->len == name->len && memcmp(aor->s, name->s, name->len) == 0)
		kept_aor.len = 0;
	contact_size = sizeof(*c) + kept_aor.len + ruid->len;
	user_size = (sizeof(*u) + name->len + align - 1) / align * align;

	for (;;) {
		lock_get(&b->lock);
		u = user_find(b, name->s, name->len);
		c = u != NULL ? contact_find(u, ruid) : NULL;
		if (c != NULL) {
			/* the way of a REGISTER that only refreshes */
			c->gen = atomic_load(&pul_shared->scan_gen);
			if (c->instance != instance) {
				c->instance = instance;
				u->flags |= USER_CHANGED;
				work_add(b, u);
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
			contact_link(b, new_user, (struct contact *)((char *)new_user + user_size));
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
			c = (struct contact *)((char *)new_user + user_size);
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
	struct bucket *b = bucket_of(name->s, name->len);
	struct user *u, *dead = NULL;
	struct contact **link, *c = NULL;
	bool removed;

	lock_get(&b->lock);
	u = user_find(b, name->s, name->len);
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
	struct bucket *b = bucket_of(name->s, name->len);
	struct contact *c;
	struct user *u;

	lock_get(&b->lock);
	u = user_find(b, name->s, name->len);
	c = u != NULL ? contact_find(u, ruid) : NULL;
	if (c != NULL)
		c->stale = true;
	lock_release(&b->lock);
}

unsigned int pul_users_stale(const struct p2p_name *name, uint32_t instance,
			     str ruid[PUL_USERS_STALE_MAX])
{
	struct bucket *b = bucket_of(name->s, name->len);
	const struct contact *c;
	const struct user *u;
	unsigned int n = 0;

	lock_get(&b->lock);
	u = user_find(b, name->s, name->len);
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
	struct user *u, *next, *dead, *dead_users;
	struct contact **link, *c, *gone;
	struct bucket *b;
	unsigned int i, n = 0;

	for (i = 0; i < n_buckets; i++) {
		b = &buckets[i];
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
	struct bucket *b = bucket_of(name->s, name->len);
	struct user *u;
	bool serves, o;

	lock_get(&b->lock);
	u = user_find(b, name->s, name->len);
	serves = u != NULL && u->contacts != NULL;
	o = u != NULL && (u->flags & USER_OTHERS) != 0;
	lock_release(&b->lock);
	if (others != NULL)
		*others = o;
	return serves;
}

void pul_users_set_others(const struct p2p_name *name, bool others)
{
	struct bucket *b = bucket_of(name->s, name->len);
	struct user *u;

	lock_get(&b->lock);
	u = user_find(b, name->s, name->len);
	if (u != NULL)
		u->flags = others ? u->flags | USER_OTHERS : u->flags & ~USER_OTHERS;
	lock_release(&b->lock);
}

void pul_users_ask(const struct p2p_name *name)
{
	struct bucket *b = bucket_of(name->s, name->len);
	struct user *u;
	bool listed = false;

	lock_get(&b->lock);
	u = user_find(b, name->s, name->len);
	if (u != NULL && u->contacts != NULL && !(u->flags & USER_ASK)) {
		u->flags |= USER_ASK;
		work_add(b, u);
		listed = true;
	}
	lock_release(&b->lock);
	if (listed)
		pul_wake_soon();
}

int pul_users_aor(const struct p2p_name *name, int n, str *table, str *aor)
{
	struct bucket *b = bucket_of(name->s, name->len);
	const struct contact *c, *earlier;
	struct user *u;
	int found = 0;

	lock_get(&b->lock);
	u = user_find(b, name->s, name->len);
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

/* The first bucket with work from `from` on, or n_buckets. */
static unsigned int work_next_bucket(unsigned int from)
{
	unsigned int word = from / 64;
	unsigned long long bits;

	if (from >= n_buckets)
		return n_buckets;
	bits = atomic_load(&work_map[word]) & (~0ull << (from % 64));
	while (bits == 0) {
		if (++word == n_buckets / 64)
			return n_buckets;
		bits = atomic_load(&work_map[word]);
	}
	return word * 64 + (unsigned int)__builtin_ctzll(bits);
}

bool pul_users_work(void)
{
	return work_next_bucket(0) < n_buckets;
}

static void cursor_move(struct pul_cursor *cursor, unsigned int to)
{
	unsigned int steps = to - cursor->bucket;

	cursor->left = cursor->left > steps ? cursor->left - steps : 0;
	cursor->bucket = to == n_buckets ? 0 : to;
}

/* Wants the bucket's lock. False: nothing to do for this user (now). */
static bool job_make(struct user *u, struct pul_job *job)
{
	uint32_t told;

	job->kind = PUL_JOB_NONE;
	job->ask = (u->flags & USER_ASK) != 0 && u->contacts != NULL;
	u->flags &= ~USER_ASK;
	if ((u->flags & USER_CHANGED) && !(u->flags & USER_IN_FLIGHT)) {
		u->flags &= ~USER_CHANGED;
		if (u->contacts == NULL) {
			job->kind = PUL_JOB_WITHDRAW;
			u->flags &= ~(USER_CLAIMED | USER_CONFIRMED);
		} else {
			job->n_instances = instances_of(u, job->instance);
			told = instances_signature(job->instance, job->n_instances);
			if (!(u->flags & USER_CLAIMED) || told != u->told)
				job->kind = PUL_JOB_PUBLISH;
			if (told != u->told)
				u->flags &= ~USER_CONFIRMED;
			u->told = told;
		}
		if (job->kind != PUL_JOB_NONE)
			u->flags |= USER_IN_FLIGHT;
	}
	if (job->kind == PUL_JOB_NONE && !job->ask)
		return false;
	job->name.len = u->name_len;
	memcpy(job->name.s, u->name, u->name_len);
	job->name.s[u->name_len] = '\0';
	return true;
}

bool pul_users_take(struct pul_cursor *cursor, struct pul_job *job)
{
	unsigned int i, wrapped = 0;
	struct bucket *b;
	struct user *u;
	bool got;

	for (;;) {
		i = work_next_bucket(cursor->bucket);
		cursor_move(cursor, i);
		if (i == n_buckets) {
			if (wrapped++)
				return false;
			continue;
		}
		b = &buckets[i];
		lock_get(&b->lock);
		u = work_pop(b);
		got = u != NULL && job_make(u, job);
		lock_release(&b->lock);
		if (got)
			return true;
	}
}

bool pul_users_take_name(const struct p2p_name *name, struct pul_job *job)
{
	struct bucket *b = bucket_of(name->s, name->len);
	struct user *u;
	bool got;

	lock_get(&b->lock);
	u = user_find(b, name->s, name->len);
	got = u != NULL && (u->flags & USER_LISTED);
	if (got) {
		work_del(b, u);
		got = job_make(u, job);
	}
	lock_release(&b->lock);
	return got;
}

void pul_users_done(const struct p2p_name *name, enum pul_job_kind kind, bool ok, bool retry)
{
	struct bucket *b = bucket_of(name->s, name->len);
	struct user *u, *dead = NULL;

	lock_get(&b->lock);
	u = user_find(b, name->s, name->len);
	if (u != NULL && (u->flags & USER_IN_FLIGHT)) {
		u->flags &= ~(USER_IN_FLIGHT | USER_CLAIMED);
		if (!ok && retry)
			u->flags |= USER_CHANGED;
		/* what changed on the way is told in any case: it may have been marked for that */
		if (kind == PUL_JOB_PUBLISH && ok && !(u->flags & USER_CHANGED))
			u->flags |= USER_CLAIMED;
		if (u->flags & USER_CHANGED) {
			work_add(b, u);
		} else if (u->contacts == NULL) {
			user_unlink(b, u);
			dead = u;
		}
	}
	lock_release(&b->lock);
	if (dead != NULL)
		shm_free(dead);
}

/* Wants the bucket's lock. Has it the instances that were last told? */
static bool is_as_told(const struct user *u)
{
	uint32_t instance[P2P_CANDIDATE_INSTANCES_MAX];

	return instances_signature(instance, instances_of(u, instance)) == u->told;
}

bool pul_users_confirmed(const struct p2p_name *name)
{
	struct bucket *b = bucket_of(name->s, name->len);
	const struct user *u;
	bool yes;

	lock_get(&b->lock);
	u = user_find(b, name->s, name->len);
	yes = u != NULL && u->contacts != NULL && (u->flags & USER_CONFIRMED) && is_as_told(u);
	lock_release(&b->lock);
	return yes;
}

enum pul_users_progress pul_users_progress(const struct p2p_name *name)
{
	struct bucket *b = bucket_of(name->s, name->len);
	enum pul_users_progress progress;
	const struct user *u;

	lock_get(&b->lock);
	u = user_find(b, name->s, name->len);
	if (u == NULL)
		progress = PUL_USERS_ABSENT;
	else if ((u->flags & USER_CHANGED) &&
		 (!(u->flags & USER_CLAIMED) || u->contacts == NULL || !is_as_told(u)))
		progress = PUL_USERS_PENDING;
	else
		progress = (u->flags & (USER_CLAIMED | USER_IN_FLIGHT)) ? PUL_USERS_TOLD
									: PUL_USERS_ABSENT;
	lock_release(&b->lock);
	return progress;
}

bool pul_users_confirm(const struct p2p_name *name)
{
	struct bucket *b = bucket_of(name->s, name->len);
	struct user *u;
	bool taken;

	lock_get(&b->lock);
	u = user_find(b, name->s, name->len);
	taken = u == NULL || !(u->flags & USER_IN_FLIGHT);
	if (taken && u != NULL && u->contacts != NULL && (u->flags & USER_CLAIMED))
		u->flags |= USER_CONFIRMED;
	lock_release(&b->lock);
	return taken;
}

void pul_users_unconfirm_all(void)
{
	struct user *u;
	unsigned int i;

	for (i = 0; i < n_buckets; i++) {
		lock_get(&buckets[i].lock);
		for (u = buckets[i].users; u != NULL; u = u->next)
			u->flags &= ~USER_CONFIRMED;
		lock_release(&buckets[i].lock);
	}
}

void pul_users_mark_all(void)
{
	struct bucket *b;
	struct user *u;
	unsigned int i;

	for (i = 0; i < n_buckets; i++) {
		b = &buckets[i];
		lock_get(&b->lock);
		for (u = b->users; u != NULL; u = u->next) {
			u->flags &= ~USER_CLAIMED;
			u->flags |= USER_CHANGED;
			work_add(b, u);
		}
		lock_release(&b->lock);
	}
}

/* Wants the bucket's lock. */
static void view_make(const struct user *u, struct pul_user_view *v)
{
	const struct contact *c;

	memset(v, 0, sizeof(*v));
	v->name.len = u->name_len;
	memcpy(v->name.s, u->name, u->name_len);
	for (c = u->contacts; c != NULL; c = c->next)
		v->contacts++;
	v->claimed = (u->flags & USER_CLAIMED) != 0;
	v->in_flight = (u->flags & USER_IN_FLIGHT) != 0;
	v->changed = (u->flags & USER_CHANGED) != 0;
	v->others = (u->flags & USER_OTHERS) != 0;
}

unsigned int pul_users_page(uint64_t *position, struct pul_user_view *view, unsigned int n)
{
	unsigned int got = 0, skip = *position & 0xffffffffu, i;
	uint64_t bucket = *position >> 32;
	struct user *u;

	for (; bucket < n_buckets && got < n; bucket++, skip = 0) {
		lock_get(&buckets[bucket].lock);
		for (u = buckets[bucket].users, i = 0; u != NULL && got < n; u = u->next, i++) {
			if (i >= skip)
				view_make(u, &view[got++]);
		}
		lock_release(&buckets[bucket].lock);
		if (u != NULL) {
			*position = bucket << 32 | i;
			return got;
		}
	}
	*position = bucket < n_buckets ? bucket << 32 : 0;
	return got;
}

static void view_str(struct pul_contact_view *v, size_t *used, str *to, const char *s, size_t len)
{
	if (len > sizeof(v->data) - *used)
		len = sizeof(v->data) - *used;
	memcpy(v->data + *used, s, len);
	to->s = v->data + *used;
	to->len = len;
	*used += len;
}

int pul_users_show(const struct p2p_name *name, struct pul_user_view *view,
		   struct pul_contact_view *contacts, unsigned int *n)
{
	struct bucket *b = bucket_of(name->s, name->len);
	unsigned int room = *n, i = 0;
	const struct contact *c;
	struct user *u;
	size_t used;

	lock_get(&b->lock);
	u = user_find(b, name->s, name->len);
	if (u != NULL) {
		view_make(u, view);
		for (c = u->contacts; c != NULL && i < room; c = c->next, i++) {
			used = 0;
			contacts[i].instance = c->instance;
			view_str(&contacts[i], &used, &contacts[i].table, c->table->s,
				 c->table->len);
			view_str(&contacts[i], &used, &contacts[i].aor,
				 c->aor_len > 0 ? c->data : u->name,
				 c->aor_len > 0 ? c->aor_len : u->name_len);
			view_str(&contacts[i], &used, &contacts[i].ruid, c->data + c->aor_len,
				 c->ruid_len);
		}
		*n = view->contacts;
	}
	lock_release(&b->lock);
	return u != NULL ? 0 : ENOENT;
}
