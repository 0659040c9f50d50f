/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: what the gateway is to be told of local users, and whether it took that; see
 * _users.c. */
#include <errno.h>
#include <string.h>

#include "core/dprint.h"
#include "core/mem/shm_mem.h"
#include "modules/p2p_usrloc/p2p_usrloc_users_priv.h"

/* pkg pointer to shm, set before forking */
static atomic_ullong *work_map; /* one bit a bucket; changed only under the bucket's lock */

int pul_work_init(void)
{
	unsigned int i;

	work_map = shm_malloc(pul_n_buckets / 64 * sizeof(*work_map));
	if (work_map == NULL)
		return ENOMEM;
	for (i = 0; i < pul_n_buckets / 64; i++)
		atomic_init(&work_map[i], 0);
	return 0;
}

void pul_work_destroy(void)
{
	if (work_map != NULL)
		shm_free((void *)work_map);
	work_map = NULL;
}

/* --- the work lists; want the bucket's lock held --- */

void pul_work_add(struct pul_bucket *b, struct pul_user *u)
{
	unsigned int i = b - pul_buckets;

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

static struct pul_user *work_pop(struct pul_bucket *b)
{
	unsigned int i = b - pul_buckets;
	struct pul_user *u = b->work_head;

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

void pul_work_del(struct pul_bucket *b, struct pul_user *u)
{
	struct pul_user **link = &b->work_head, *prev = NULL;

	if (!(u->flags & USER_LISTED))
		return;
	for (; *link != u; link = &(*link)->work_next)
		prev = *link;
	*link = u->work_next;
	if (b->work_tail == u)
		b->work_tail = prev;
	if (b->work_head == NULL) {
		unsigned int i = b - pul_buckets;

		atomic_fetch_and(&work_map[i / 64], ~(1ull << (i % 64)));
	}
	u->flags &= ~USER_LISTED;
}

/* --- jobs --- */

/* Distinct instances of a user's contacts, in ascending order so that the same set always reads
 * the same; the smallest ones when there are too many. */
static unsigned int instances_of(const struct pul_user *u, uint32_t *out)
{
	const struct pul_contact *c;
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

/* The first bucket with work from `from` on, or pul_n_buckets. */
static unsigned int work_next_bucket(unsigned int from)
{
	unsigned int word = from / 64;
	unsigned long long bits;

	if (from >= pul_n_buckets)
		return pul_n_buckets;
	bits = atomic_load(&work_map[word]) & (~0ull << (from % 64));
	while (bits == 0) {
		if (++word == pul_n_buckets / 64)
			return pul_n_buckets;
		bits = atomic_load(&work_map[word]);
	}
	return word * 64 + (unsigned int)__builtin_ctzll(bits);
}

bool pul_users_work(void)
{
	return work_next_bucket(0) < pul_n_buckets;
}

static void cursor_move(struct pul_cursor *cursor, unsigned int to)
{
	unsigned int steps = to - cursor->bucket;

	cursor->left = cursor->left > steps ? cursor->left - steps : 0;
	cursor->bucket = to == pul_n_buckets ? 0 : to;
}

/* Wants the bucket's lock. False: nothing to do for this user (now). */
static bool job_make(struct pul_user *u, struct pul_job *job)
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
	struct pul_bucket *b;
	struct pul_user *u;
	bool got;

	for (;;) {
		i = work_next_bucket(cursor->bucket);
		cursor_move(cursor, i);
		if (i == pul_n_buckets) {
			if (wrapped++)
				return false;
			continue;
		}
		b = &pul_buckets[i];
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
	struct pul_bucket *b = pul_users_bucket(name->s, name->len);
	struct pul_user *u;
	bool got;

	lock_get(&b->lock);
	u = pul_user_find(b, name->s, name->len);
	got = u != NULL && (u->flags & USER_LISTED);
	if (got) {
		pul_work_del(b, u);
		got = job_make(u, job);
	}
	lock_release(&b->lock);
	return got;
}

void pul_users_done(const struct p2p_name *name, enum pul_job_kind kind, bool ok, bool retry)
{
	struct pul_bucket *b = pul_users_bucket(name->s, name->len);
	struct pul_user *u, *dead = NULL;

	lock_get(&b->lock);
	u = pul_user_find(b, name->s, name->len);
	if (u != NULL && (u->flags & USER_IN_FLIGHT)) {
		u->flags &= ~(USER_IN_FLIGHT | USER_CLAIMED);
		if (!ok && retry)
			u->flags |= USER_CHANGED;
		/* what changed on the way is told in any case: it may have been marked for that */
		if (kind == PUL_JOB_PUBLISH && ok && !(u->flags & USER_CHANGED))
			u->flags |= USER_CLAIMED;
		if (u->flags & USER_CHANGED) {
			pul_work_add(b, u);
		} else if (u->contacts == NULL) {
			pul_user_unlink(b, u);
			dead = u;
		}
	}
	lock_release(&b->lock);
	if (dead != NULL)
		shm_free(dead);
}

/* --- what others can find --- */

/* Wants the bucket's lock. Has it the instances that were last told? */
static bool is_as_told(const struct pul_user *u)
{
	uint32_t instance[P2P_CANDIDATE_INSTANCES_MAX];

	return instances_signature(instance, instances_of(u, instance)) == u->told;
}

bool pul_users_confirmed(const struct p2p_name *name)
{
	struct pul_bucket *b = pul_users_bucket(name->s, name->len);
	const struct pul_user *u;
	bool yes;

	lock_get(&b->lock);
	u = pul_user_find(b, name->s, name->len);
	yes = u != NULL && u->contacts != NULL && (u->flags & USER_CONFIRMED) && is_as_told(u);
	lock_release(&b->lock);
	return yes;
}

enum pul_users_progress pul_users_progress(const struct p2p_name *name)
{
	struct pul_bucket *b = pul_users_bucket(name->s, name->len);
	enum pul_users_progress progress;
	const struct pul_user *u;

	lock_get(&b->lock);
	u = pul_user_find(b, name->s, name->len);
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
	struct pul_bucket *b = pul_users_bucket(name->s, name->len);
	struct pul_user *u;
	bool taken;

	lock_get(&b->lock);
	u = pul_user_find(b, name->s, name->len);
	taken = u == NULL || !(u->flags & USER_IN_FLIGHT);
	if (taken && u != NULL && u->contacts != NULL && (u->flags & USER_CLAIMED))
		u->flags |= USER_CONFIRMED;
	lock_release(&b->lock);
	return taken;
}

void pul_users_unconfirm_all(void)
{
	struct pul_user *u;
	unsigned int i;

	for (i = 0; i < pul_n_buckets; i++) {
		lock_get(&pul_buckets[i].lock);
		for (u = pul_buckets[i].users; u != NULL; u = u->next)
			u->flags &= ~USER_CONFIRMED;
		lock_release(&pul_buckets[i].lock);
	}
}

void pul_users_mark_all(void)
{
	struct pul_bucket *b;
	struct pul_user *u;
	unsigned int i;

	for (i = 0; i < pul_n_buckets; i++) {
		b = &pul_buckets[i];
		lock_get(&b->lock);
		for (u = b->users; u != NULL; u = u->next) {
			u->flags &= ~USER_CLAIMED;
			u->flags |= USER_CHANGED;
			pul_work_add(b, u);
		}
		lock_release(&b->lock);
	}
}
