/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: the sessions with other peers, as the gateway told of them, in shared memory.
 *
 *	put --> OPEN --close, refused, its ttl is over--> CLOSED --SESSION_GRACE_MS--> gone
 *
 * What the gateway has to be told (refused, calls) and asked (recheck) is kept in the slots until
 * the client process takes it.
 *
 * An open session is used to send with and to verify; a closed one only to verify what was on its
 * way. All slots are taken at the start, so that no message costs an allocation. When all are in
 * use the one that ends first makes room. One lock; it is held for a look-up and one copy. */
#include <errno.h>
#include <string.h>

#include "core/dprint.h"
#include "core/mem/shm_mem.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"

#define SESSION_GRACE_MS 32000
/* Slots of a sweep that are looked at under the lock at once. */
#define SWEEP_SLOTS 64
/* Peers with which sessions are to be opened, until the client process takes them. */
#define WANT_MAX 64
/* Sessions that the gateway has named, until it is asked about them. */
#define HEARD_MAX 1024

struct slot {
	struct slot *id_next, *hit_next; /* of the two tables; id_next: of the free list too */
	struct p2p_session s;
	uint64_t until_ms; /* OPEN: its ttl is over; CLOSED: forgotten */
	bool used, closed;
	uint32_t calls;
	bool report;  /* calls, or use, since the gateway was told */
	bool refused; /* by the other peer's Kamailio: the gateway was not told yet */
	bool recheck; /* the gateway is to be asked whether it still knows it */
};

struct sessions {	 /* shm */
	gen_lock_t lock; /* guards all below */
	unsigned int n, max, mask;
	/* slots with that mark, and peers in want; read without the lock too */
	atomic_uint n_refused, n_recheck, n_want, n_heard;
	struct p2p_session_id heard[HEARD_MAX]; /* the gateway has these, and they are new here */
	struct p2p_hit want[WANT_MAX];		/* sessions are to be opened with these */
	struct slot *free;
	struct slot **by_id, **by_hit; /* mask + 1 each */
	struct slot slot[];
};

static struct sessions *sessions;
static void (*opened)(const struct p2p_session *session);

int pul_sessions_init(unsigned int max)
{
	unsigned int size, i;
	size_t bytes;

	for (size = 1; size < max; size *= 2)
		;
	bytes = sizeof(*sessions) + max * sizeof(struct slot) + 2 * size * sizeof(struct slot *);
	sessions = shm_malloc(bytes);
	if (sessions == NULL) {
		SHM_MEM_ERROR;
		return ENOMEM;
	}
	memset(sessions, 0, bytes);
	lock_init(&sessions->lock);
	sessions->max = max;
	sessions->mask = size - 1;
	sessions->by_id = (struct slot **)&sessions->slot[max];
	sessions->by_hit = sessions->by_id + size;
	for (i = max; i-- > 0;) {
		sessions->slot[i].id_next = sessions->free;
		sessions->free = &sessions->slot[i];
	}
	return 0;
}

void pul_sessions_destroy(void)
{
	if (sessions == NULL)
		return;
	lock_destroy(&sessions->lock);
	shm_free(sessions);
	sessions = NULL;
}

static struct slot **id_head(const struct p2p_session_id *id)
{
	return &sessions->by_id[p2p_hash(&pul_hash_key, id, sizeof(*id)) & sessions->mask];
}

/* By the end of a HIT, so that it is found by that too. */
static struct slot **tail_head(const uint8_t *tail)
{
	return &sessions->by_hit[p2p_hash(&pul_hash_key, tail, P2P_HIT_TAIL_LEN) & sessions->mask];
}

static struct slot **hit_head(const struct p2p_hit *hit)
{
	return tail_head(hit->b + sizeof(hit->b) - P2P_HIT_TAIL_LEN);
}

/* --- from here to the next line of dashes: the lock is held --- */

static void mark(bool *flag, bool value, atomic_uint *count)
{
	if (*flag == value)
		return;
	*flag = value;
	if (value)
		atomic_fetch_add(count, 1);
	else
		atomic_fetch_sub(count, 1);
}

static void slot_release(struct slot *slot)
{
	struct slot **link;

	for (link = id_head(&slot->s.id); *link != slot; link = &(*link)->id_next)
		;
	*link = slot->id_next;
	for (link = hit_head(&slot->s.hit); *link != slot; link = &(*link)->hit_next)
		;
	*link = slot->hit_next;
	mark(&slot->refused, false, &sessions->n_refused);
	mark(&slot->recheck, false, &sessions->n_recheck);
	memset(slot, 0, sizeof(*slot)); /* keys do not stay behind */
	slot->id_next = sessions->free;
	sessions->free = slot;
	sessions->n--;
}

static void slot_close(struct slot *slot, uint64_t from_ms)
{
	if (slot->closed)
		return;
	slot->closed = true;
	slot->until_ms = from_ms + SESSION_GRACE_MS;
}

/* A session whose ttl is over counts as closed since then. */
static void slot_age(struct slot *slot, uint64_t now_ms)
{
	if (!slot->closed && now_ms >= slot->until_ms)
		slot_close(slot, slot->until_ms);
}

static struct slot *slot_find(const struct p2p_session_id *id, uint64_t now_ms)
{
	struct slot *slot = *id_head(id);

	while (slot != NULL && memcmp(&slot->s.id, id, sizeof(*id)) != 0)
		slot = slot->id_next;
	if (slot != NULL)
		slot_age(slot, now_ms);
	if (slot != NULL && slot->closed && now_ms >= slot->until_ms) {
		slot_release(slot);
		slot = NULL;
	}
	return slot;
}

/* The one that ends first goes; a closed one before any that is open. */
static void room_make(uint64_t now_ms)
{
	struct slot *first = NULL, *s;
	unsigned int i;

	for (i = 0; i < sessions->max; i++) {
		s = &sessions->slot[i];
		if (!s->used)
			continue;
		slot_age(s, now_ms);
		if (first == NULL || s->closed > first->closed ||
		    (s->closed == first->closed && s->until_ms < first->until_ms))
			first = s;
	}
	if (!first->closed)
		pul_count(PUL_CNT_SESSIONS_EVICTED);
	slot_release(first);
}

static void copy_out(const struct slot *slot, uint64_t now_ms, struct p2p_session *out)
{
	if (out == NULL)
		return;
	*out = slot->s;
	out->ttl_ms = slot->until_ms > now_ms ? (uint32_t)(slot->until_ms - now_ms) : 0;
}

/* ---------------------------------------------------------------------------------------------- */

void pul_sessions_watch(void (*h)(const struct p2p_session *session))
{
	opened = h;
}

int pul_sessions_put(const struct p2p_session *s)
{
	uint64_t now = pul_now_ms();
	struct p2p_session copy;
	struct slot *slot, **head;
	bool is_new = false;
	int err = 0;

	lock_get(&sessions->lock);
	slot = slot_find(&s->id, now);
	if (slot != NULL && p2p_hit_cmp(&slot->s.hit, &s->hit) != 0) {
		err = EEXIST; /* an id belongs to one peer */
		goto out;
	}
	if (slot == NULL) {
		if (sessions->free == NULL)
			room_make(now);
		slot = sessions->free;
		sessions->free = slot->id_next;
		slot->used = is_new = true;
		slot->s.id = s->id;
		slot->s.hit = s->hit;
		head = id_head(&s->id);
		slot->id_next = *head;
		*head = slot;
		head = hit_head(&s->hit);
		slot->hit_next = *head;
		*head = slot;
		sessions->n++;
	}
	slot->s = *s;
	mark(&slot->recheck, false, &sessions->n_recheck);
	if (slot->refused)
		goto out; /* the answer is older than the refusal */
	slot->closed = false;
	slot->until_ms = now + s->ttl_ms;
out:
	lock_release(&sessions->lock);
	if (is_new && opened != NULL) {
		copy = *s;
		memset(copy.key_in, 0, sizeof(copy.key_in));
		memset(copy.key_out, 0, sizeof(copy.key_out));
		opened(&copy);
	}
	return err;
}

bool pul_sessions_close(const struct p2p_session_id *id)
{
	uint64_t now = pul_now_ms();
	struct slot *slot;

	lock_get(&sessions->lock);
	slot = slot_find(id, now);
	if (slot != NULL)
		slot_close(slot, now);
	lock_release(&sessions->lock);
	return slot != NULL;
}

int pul_sessions_by_id(const struct p2p_session_id *id, struct p2p_session *out)
{
	uint64_t now = pul_now_ms();
	struct slot *slot;
	int ret = -1;

	lock_get(&sessions->lock);
	slot = slot_find(id, now);
	if (slot != NULL) {
		ret = slot->closed ? 1 : 0;
		copy_out(slot, now, out);
	}
	lock_release(&sessions->lock);
	return ret;
}

/* How well it does for requests within dialogs: an open one best, then one that is there for
 * running calls only, then one that has just ended, which the other side still takes from them. */
static int rank_of(const struct slot *slot)
{
	return slot->closed ? 2 : slot->s.retiring ? 1 : 0;
}

/* The one to send with: of those whose HIT is hit an open one, of those whose HIT ends with tail
 * (requests within dialogs) the one of the best rank. Both peers may open a session at the same
 * time: each sends with the one whose id is lower, so that both come to use the same. */
static int best_of(const struct p2p_hit *hit, const uint8_t *tail, struct p2p_session *out)
{
	uint64_t now = pul_now_ms();
	struct slot *slot, *best = NULL;
	int rank, best_rank = 0;

	lock_get(&sessions->lock);
	for (slot = *tail_head(tail); slot != NULL; slot = slot->hit_next) {
		const uint8_t *b = slot->s.hit.b + sizeof(slot->s.hit.b) - P2P_HIT_TAIL_LEN;

		if (hit != NULL ? p2p_hit_cmp(&slot->s.hit, hit) != 0
				: memcmp(b, tail, P2P_HIT_TAIL_LEN) != 0)
			continue;
		slot_age(slot, now);
		rank = rank_of(slot);
		if ((rank > 0 && hit != NULL) || (slot->closed && now >= slot->until_ms))
			continue;
		if (best == NULL || rank < best_rank ||
		    (rank == best_rank &&
		     memcmp(&slot->s.id, &best->s.id, sizeof(best->s.id)) < 0)) {
			best = slot;
			best_rank = rank;
		}
	}
	if (best != NULL)
		copy_out(best, now, out);
	lock_release(&sessions->lock);
	return best != NULL ? 0 : -1;
}

int pul_sessions_by_hit(const struct p2p_hit *hit, struct p2p_session *out)
{
	return best_of(hit, hit->b + sizeof(hit->b) - P2P_HIT_TAIL_LEN, out);
}

int pul_sessions_by_tail(const uint8_t *tail, struct p2p_session *out)
{
	return best_of(NULL, tail, out);
}

void pul_sessions_calls(const struct p2p_session_id *id, int calls)
{
	uint64_t now = pul_now_ms();
	struct slot *slot;

	lock_get(&sessions->lock);
	slot = slot_find(id, now);
	if (slot != NULL) {
		if (calls < 0 && slot->calls < (uint32_t)-calls)
			slot->calls = 0;
		else
			slot->calls += (uint32_t)calls;
		slot->report = true;
	}
	lock_release(&sessions->lock);
}

void pul_sessions_report_again(const struct p2p_session_id *id)
{
	pul_sessions_calls(id, 0);
}

void pul_sessions_sweep(void)
{
	uint64_t now = pul_now_ms();
	unsigned int at, end;

	for (at = 0; at < sessions->max; at = end) {
		end = at + SWEEP_SLOTS < sessions->max ? at + SWEEP_SLOTS : sessions->max;
		lock_get(&sessions->lock);
		for (unsigned int i = at; i < end; i++) {
			struct slot *slot = &sessions->slot[i];

			if (!slot->used)
				continue;
			slot_age(slot, now);
			if (slot->closed && now >= slot->until_ms)
				slot_release(slot);
		}
		lock_release(&sessions->lock);
	}
}

void pul_sessions_want(const struct p2p_hit *hit)
{
	unsigned int i;

	lock_get(&sessions->lock);
	for (i = 0; i < sessions->n_want; i++)
		if (p2p_hit_cmp(&sessions->want[i], hit) == 0)
			break;
	/* when there is no room, whoever misses it asks again */
	if (i == sessions->n_want && i < WANT_MAX) {
		sessions->want[i] = *hit;
		atomic_store(&sessions->n_want, i + 1);
	}
	lock_release(&sessions->lock);
}

bool pul_sessions_take_want(struct p2p_hit *hit)
{
	unsigned int n;

	if (atomic_load(&sessions->n_want) == 0)
		return false;
	lock_get(&sessions->lock);
	n = sessions->n_want;
	if (n > 0) {
		*hit = sessions->want[n - 1];
		atomic_store(&sessions->n_want, n - 1);
	}
	lock_release(&sessions->lock);
	return n > 0;
}

bool pul_sessions_take_report(unsigned int *at, struct p2p_session_id *id, uint32_t *calls)
{
	struct slot *slot;
	bool found = false;

	lock_get(&sessions->lock);
	for (; *at < sessions->max && !found; (*at)++) {
		slot = &sessions->slot[*at];
		if (!slot->used || !slot->report)
			continue;
		slot->report = false;
		*id = slot->s.id;
		*calls = slot->calls;
		found = true;
	}
	lock_release(&sessions->lock);
	return found;
}

bool pul_sessions_refused(const struct p2p_session_id *id)
{
	uint64_t now = pul_now_ms();
	struct slot *slot;
	bool was_open = false;

	lock_get(&sessions->lock);
	slot = slot_find(id, now);
	if (slot != NULL && !slot->closed) {
		was_open = true;
		slot_close(slot, now);
		mark(&slot->refused, true, &sessions->n_refused);
	}
	lock_release(&sessions->lock);
	return was_open;
}

bool pul_sessions_take_refused(struct p2p_session_id *id)
{
	struct slot *slot;
	bool found = false;
	unsigned int i;

	if (atomic_load(&sessions->n_refused) == 0)
		return false;
	lock_get(&sessions->lock);
	for (i = 0; i < sessions->max && !found; i++) {
		slot = &sessions->slot[i];
		if (!slot->used || !slot->refused)
			continue;
		mark(&slot->refused, false, &sessions->n_refused);
		*id = slot->s.id;
		found = true;
	}
	lock_release(&sessions->lock);
	return found;
}

void pul_sessions_recheck_all(void)
{
	struct slot *slot;
	unsigned int i;

	lock_get(&sessions->lock);
	for (i = 0; i < sessions->max; i++) {
		slot = &sessions->slot[i];
		if (!slot->used || slot->closed)
			continue;
		mark(&slot->recheck, true, &sessions->n_recheck);
		slot->report |= slot->calls > 0;
	}
	lock_release(&sessions->lock);
}

void pul_sessions_heard(const struct p2p_session_id *id)
{
	uint64_t now = pul_now_ms();
	unsigned int i;

	lock_get(&sessions->lock);
	/* when there is no room, its first use asks */
	i = sessions->n_heard;
	if (slot_find(id, now) == NULL && i < HEARD_MAX) {
		sessions->heard[i] = *id;
		atomic_store(&sessions->n_heard, i + 1);
	}
	lock_release(&sessions->lock);
}

bool pul_sessions_take_recheck(struct p2p_session_id *id)
{
	struct slot *slot;
	bool found = false;
	unsigned int i;

	if (atomic_load(&sessions->n_recheck) == 0 && atomic_load(&sessions->n_heard) == 0)
		return false;
	lock_get(&sessions->lock);
	if (sessions->n_heard > 0) {
		*id = sessions->heard[sessions->n_heard - 1];
		atomic_fetch_sub(&sessions->n_heard, 1);
		found = true;
	}
	for (i = 0; i < sessions->max && !found; i++) {
		slot = &sessions->slot[i];
		if (!slot->used || !slot->recheck)
			continue;
		mark(&slot->recheck, false, &sessions->n_recheck);
		*id = slot->s.id;
		found = true;
	}
	lock_release(&sessions->lock);
	return found;
}

bool pul_sessions_waiting(void)
{
	return atomic_load(&sessions->n_refused) > 0 || atomic_load(&sessions->n_recheck) > 0 ||
	       atomic_load(&sessions->n_want) > 0 || atomic_load(&sessions->n_heard) > 0;
}

unsigned int pul_sessions_page(unsigned int *at, struct pul_session_view *view, unsigned int n)
{
	uint64_t now = pul_now_ms();
	struct slot *slot;
	unsigned int got = 0;

	lock_get(&sessions->lock);
	for (; *at < sessions->max && got < n; (*at)++) {
		slot = &sessions->slot[*at];
		if (!slot->used)
			continue;
		slot_age(slot, now);
		copy_out(slot, now, &view[got].s);
		memset(view[got].s.key_in, 0, sizeof(view[got].s.key_in));
		memset(view[got].s.key_out, 0, sizeof(view[got].s.key_out));
		view[got].calls = slot->calls;
		view[got].closed = slot->closed;
		got++;
	}
	if (*at >= sessions->max)
		*at = 0;
	lock_release(&sessions->lock);
	return got;
}

unsigned int pul_sessions_count(void)
{
	unsigned int n;

	lock_get(&sessions->lock);
	n = sessions->n;
	lock_release(&sessions->lock);
	return n;
}
