/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/model/sessions.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

struct entry {
	struct p2p_sessions_entry e;
	struct entry *by_id, *by_hit; /* next in the bucket */
	LIST_ENTRY(entry) all;	      /* the newest first */
};

/* An id that was opened here, and by whom. */
struct seen {
	struct p2p_session_id id;
	struct p2p_hit hit;
	uint64_t until_ms;
	uint32_t next; /* in the bucket; index + 1, 0: none */
};

struct p2p_sessions {
	struct p2p_sessions_config config;
	size_t n, buckets; /* a power of two */
	struct entry **id, **hit;
	LIST_HEAD(, entry) all;
	/* a ring, the oldest at head: all are remembered for as long */
	struct seen *seen;
	uint32_t *seen_bucket;
	size_t seen_head, seen_n;
};

static size_t bucket(const struct p2p_sessions *t, const void *key, size_t len)
{
	return (size_t)p2p_hash(&t->config.key, key, len) & (t->buckets - 1);
}

static size_t id_bucket(const struct p2p_sessions *t, const struct p2p_session_id *id)
{
	return bucket(t, id->b, sizeof(id->b));
}

static size_t hit_bucket(const struct p2p_sessions *t, const struct p2p_hit *hit)
{
	return bucket(t, hit->b, sizeof(hit->b));
}

int p2p_sessions_new(struct p2p_sessions **tp, const struct p2p_sessions_config *config)
{
	struct p2p_sessions *t = calloc(1, sizeof(*t));

	if (!t)
		return ENOMEM;
	t->config = *config;
	for (t->buckets = 16; t->buckets < config->max && t->buckets < 65536;)
		t->buckets *= 2;
	t->id = calloc(t->buckets, sizeof(struct entry *));
	t->hit = calloc(t->buckets, sizeof(struct entry *));
	t->seen = calloc(config->seen_max, sizeof(*t->seen));
	t->seen_bucket = calloc(t->buckets, sizeof(*t->seen_bucket));
	if (!t->id || !t->hit || !t->seen || !t->seen_bucket) {
		p2p_sessions_free(t);
		return ENOMEM;
	}
	*tp = t;
	return 0;
}

/* The keys are not left in memory that others get. */
static void entry_free(struct entry *x)
{
	volatile uint8_t *p = (volatile uint8_t *)&x->e.s;

	for (size_t i = 0; i < sizeof(x->e.s); i++)
		p[i] = 0;
	free(x);
}

void p2p_sessions_free(struct p2p_sessions *t)
{
	struct entry *x;

	if (!t)
		return;
	while ((x = LIST_FIRST(&t->all)) != NULL) {
		LIST_REMOVE(x, all);
		entry_free(x);
	}
	free(t->id);
	free(t->hit);
	free(t->seen);
	free(t->seen_bucket);
	free(t);
}

void p2p_sessions_linger(struct p2p_sessions *t, uint32_t linger_ms)
{
	t->config.linger_ms = linger_ms;
}

/* --- ids that were seen ------------------------------------------------------------------------
 */

static void seen_forget(struct p2p_sessions *t, uint64_t now_ms)
{
	while (t->seen_n) {
		struct seen *s = &t->seen[t->seen_head];
		uint32_t *at = &t->seen_bucket[id_bucket(t, &s->id)];

		if (s->until_ms > now_ms)
			return;
		while (*at != t->seen_head + 1)
			at = &t->seen[*at - 1].next;
		*at = s->next;
		t->seen_head = (t->seen_head + 1) % t->config.seen_max;
		t->seen_n--;
	}
}

static bool seen_has(const struct p2p_sessions *t, const struct p2p_session_id *id, uint64_t now_ms)
{
	for (uint32_t i = t->seen_bucket[id_bucket(t, id)]; i; i = t->seen[i - 1].next)
		if (!memcmp(&t->seen[i - 1].id, id, sizeof(*id)))
			return t->seen[i - 1].until_ms > now_ms;
	return false;
}

/* Is there room for one more id, and one more of this peer's? */
static bool seen_room(const struct p2p_sessions *t, const struct p2p_hit *hit, uint64_t now_ms)
{
	size_t live = 0, theirs = 0;

	for (size_t i = 0; i < t->seen_n; i++) {
		const struct seen *s = &t->seen[(t->seen_head + i) % t->config.seen_max];

		if (s->until_ms <= now_ms)
			continue;
		live++;
		theirs += !p2p_hit_cmp(&s->hit, hit);
	}
	return live < t->config.seen_max && theirs < P2P_SESSIONS_OPENED_MAX;
}

static void seen_add(struct p2p_sessions *t, const struct p2p_session_id *id,
		     const struct p2p_hit *hit, uint64_t now_ms)
{
	size_t i = (t->seen_head + t->seen_n++) % t->config.seen_max;
	uint32_t *head = &t->seen_bucket[id_bucket(t, id)];

	t->seen[i] = (struct seen){
		.id = *id, .hit = *hit, .until_ms = now_ms + t->config.seen_ms, .next = *head};
	*head = (uint32_t)i + 1;
}

/* --- the table ---------------------------------------------------------------------------------
 */

static struct entry *find(const struct p2p_sessions *t, const struct p2p_session_id *id)
{
	struct entry *x = t->id[id_bucket(t, id)];

	while (x && memcmp(&x->e.s.id, id, sizeof(*id)))
		x = x->by_id;
	return x;
}

static struct entry *of_peer(const struct entry *x, const struct p2p_hit *hit)
{
	while (x && p2p_hit_cmp(&x->e.s.hit, hit))
		x = x->by_hit;
	return (struct entry *)x;
}

static struct entry *first_of(const struct p2p_sessions *t, const struct p2p_hit *hit)
{
	return of_peer(t->hit[hit_bucket(t, hit)], hit);
}

static bool room(const struct p2p_sessions *t, const struct p2p_hit *hit)
{
	unsigned int n = 0;

	for (struct entry *x = first_of(t, hit); x; x = of_peer(x->by_hit, hit))
		n++;
	return t->n < t->config.max && n < P2P_SESSIONS_PER_PEER;
}

static struct entry *add(struct p2p_sessions *t, const struct p2p_session_id *id,
			 const struct p2p_hit *hit)
{
	struct entry *x = calloc(1, sizeof(*x)), **head;

	if (!x)
		return NULL;
	x->e.s.id = *id;
	x->e.s.hit = *hit;
	head = &t->id[id_bucket(t, id)];
	x->by_id = *head;
	*head = x;
	head = &t->hit[hit_bucket(t, hit)];
	x->by_hit = *head;
	*head = x;
	LIST_INSERT_HEAD(&t->all, x, all);
	t->n++;
	return x;
}

int p2p_sessions_remove(struct p2p_sessions *t, const struct p2p_session_id *id)
{
	struct entry *x = find(t, id), **at;

	if (!x)
		return ENOENT;
	for (at = &t->id[id_bucket(t, id)]; *at != x;)
		at = &(*at)->by_id;
	*at = x->by_id;
	for (at = &t->hit[hit_bucket(t, &x->e.s.hit)]; *at != x;)
		at = &(*at)->by_hit;
	*at = x->by_hit;
	LIST_REMOVE(x, all);
	t->n--;
	entry_free(x);
	return 0;
}

/* --- what happens to one -----------------------------------------------------------------------
 */

static bool unused(const struct p2p_sessions_entry *e)
{
	return !e->calls;
}

/* From when on it is to be closed when no call runs over it. */
static uint64_t idle_ms(const struct p2p_sessions *t, const struct p2p_sessions_entry *e)
{
	return e->retiring ? e->used_ms : e->used_ms + t->config.linger_ms;
}

/* When the next step of an open session is due. */
static void schedule(const struct p2p_sessions *t, struct p2p_sessions_entry *e)
{
	uint64_t due = e->expires_ms, idle = idle_ms(t, e);

	if (e->retiring && unused(e))
		due = e->s.initiator || !e->their_calls ? idle : due;
	else if (e->s.initiator && unused(e))
		due = idle;
	if (e->s.initiator && e->expires_ms - e->terms.lifetime_ms / 2 < due)
		due = e->expires_ms - e->terms.lifetime_ms / 2;
	/* it learns so by a renewal */
	if (e->untold && e->used_ms < due)
		due = e->used_ms;
	e->due_ms = due < e->expires_ms ? due : e->expires_ms;
}

static void lasts(struct p2p_sessions_entry *e, uint32_t lifetime_ms, uint64_t began_ms)
{
	e->terms.lifetime_ms = lifetime_ms;
	e->expires_ms = began_ms + lifetime_ms;
}

int p2p_sessions_begin(struct p2p_sessions *t, const struct p2p_session_id *id,
		       const struct p2p_hit *hit, uint64_t now_ms)
{
	struct entry *x;

	if (find(t, id) || seen_has(t, id, now_ms))
		return EEXIST;
	if (!room(t, hit))
		return ENOSPC;
	x = add(t, id, hit);
	if (!x)
		return ENOMEM;
	x->e.s.initiator = true;
	x->e.state = P2P_SESSION_OPENING;
	x->e.opened_ms = x->e.used_ms = now_ms;
	x->e.due_ms = UINT64_MAX;
	return 0;
}

int p2p_sessions_opened(struct p2p_sessions *t, const struct p2p_session *s,
			const struct p2p_sessions_terms *terms, uint64_t began_ms, uint64_t now_ms)
{
	struct entry *x = find(t, &s->id);

	if (!x || x->e.state != P2P_SESSION_OPENING)
		return ENOENT;
	x->e.s = *s;
	x->e.s.initiator = true;
	x->e.terms = *terms;
	x->e.state = P2P_SESSION_OPEN;
	x->e.opened_ms = x->e.used_ms = now_ms;
	lasts(&x->e, terms->lifetime_ms, began_ms);
	schedule(t, &x->e);
	return 0;
}

int p2p_sessions_acceptable(const struct p2p_sessions *t, const struct p2p_session_id *id,
			    const struct p2p_hit *hit, uint64_t now_ms)
{
	if (find(t, id) || seen_has(t, id, now_ms))
		return EALREADY;
	return room(t, hit) && seen_room(t, hit, now_ms) ? 0 : ENOSPC;
}

int p2p_sessions_accept(struct p2p_sessions *t, const struct p2p_session *s,
			const struct p2p_sessions_terms *terms, uint64_t now_ms)
{
	struct entry *x;
	int err;

	seen_forget(t, now_ms);
	err = p2p_sessions_acceptable(t, &s->id, &s->hit, now_ms);
	if (err)
		return err;
	x = add(t, &s->id, &s->hit);
	if (!x)
		return ENOMEM;
	seen_add(t, &s->id, &s->hit, now_ms);
	x->e.s = *s;
	x->e.s.initiator = false;
	x->e.terms = *terms;
	x->e.state = P2P_SESSION_OPEN;
	x->e.opened_ms = x->e.used_ms = now_ms;
	lasts(&x->e, terms->lifetime_ms, now_ms);
	schedule(t, &x->e);
	return 0;
}

/* An entry that is open, whatever is being asked about it. */
static struct entry *live(const struct p2p_sessions *t, const struct p2p_session_id *id)
{
	struct entry *x = find(t, id);

	return x && x->e.state != P2P_SESSION_OPENING ? x : NULL;
}

int p2p_sessions_renewed(struct p2p_sessions *t, const struct p2p_session_id *id,
			 uint32_t lifetime_ms, uint64_t began_ms, uint64_t now_ms)
{
	struct entry *x = live(t, id);

	if (!x || x->e.expires_ms <= now_ms)
		return ENOENT;
	if (x->e.state == P2P_SESSION_RENEWING)
		x->e.state = P2P_SESSION_OPEN;
	lasts(&x->e, lifetime_ms, began_ms);
	if (x->e.state == P2P_SESSION_OPEN)
		schedule(t, &x->e);
	return 0;
}

/* The pause after what came to nothing. */
static uint32_t retry_ms(const struct p2p_sessions_entry *e)
{
	uint32_t share = e->terms.lifetime_ms / 8;

	return share < P2P_SESSIONS_RETRY_MS ? share : P2P_SESSIONS_RETRY_MS;
}

int p2p_sessions_stays(struct p2p_sessions *t, const struct p2p_session_id *id, bool busy,
		       uint64_t now_ms)
{
	struct entry *x = live(t, id);

	if (!x)
		return ENOENT;
	x->e.untold = x->e.retiring && x->e.state == P2P_SESSION_RENEWING;
	x->e.state = P2P_SESSION_OPEN;
	if (busy)
		x->e.used_ms = now_ms;
	schedule(t, &x->e);
	if (x->e.due_ms < now_ms + retry_ms(&x->e))
		x->e.due_ms = now_ms + retry_ms(&x->e);
	if (x->e.due_ms > x->e.expires_ms)
		x->e.due_ms = x->e.expires_ms;
	return 0;
}

static int touch(struct p2p_sessions *t, const struct p2p_session_id *id, const uint32_t *calls,
		 uint64_t now_ms)
{
	struct entry *x = live(t, id);
	uint64_t before;

	if (!x || x->e.expires_ms <= now_ms)
		return ENOENT;
	if (calls)
		x->e.calls = *calls;
	x->e.used_ms = now_ms;
	if (x->e.state != P2P_SESSION_OPEN)
		return 0;
	before = x->e.due_ms;
	schedule(t, &x->e);
	/* the pause after a failed renewal is kept */
	if (before > now_ms && before <= now_ms + retry_ms(&x->e) && x->e.due_ms < before)
		x->e.due_ms = before;
	return 0;
}

int p2p_sessions_used(struct p2p_sessions *t, const struct p2p_session_id *id, uint32_t calls,
		      uint64_t now_ms)
{
	return touch(t, id, &calls, now_ms);
}

int p2p_sessions_touch(struct p2p_sessions *t, const struct p2p_session_id *id, uint64_t now_ms)
{
	return touch(t, id, NULL, now_ms);
}

int p2p_sessions_their_calls(struct p2p_sessions *t, const struct p2p_session_id *id,
			     uint32_t calls)
{
	struct entry *x = live(t, id);

	if (!x)
		return ENOENT;
	x->e.their_calls = calls;
	if (x->e.retiring && x->e.state == P2P_SESSION_OPEN)
		schedule(t, &x->e);
	return 0;
}

int p2p_sessions_retire(struct p2p_sessions *t, const struct p2p_session_id *id, bool tell,
			uint64_t now_ms)
{
	struct entry *x = live(t, id);

	if (!x)
		return ENOENT;
	if (x->e.retiring)
		return EALREADY;
	x->e.retiring = true;
	x->e.untold = tell && x->e.s.initiator;
	x->e.used_ms = now_ms;
	if (x->e.state != P2P_SESSION_OPEN)
		return 0;
	schedule(t, &x->e);
	return 0;
}

/* --- looking -----------------------------------------------------------------------------------
 */

const struct p2p_sessions_entry *p2p_sessions_find(const struct p2p_sessions *t,
						   const struct p2p_session_id *id)
{
	struct entry *x = find(t, id);

	return x ? &x->e : NULL;
}

bool p2p_sessions_usable(const struct p2p_sessions_entry *e, uint64_t now_ms)
{
	return e->state != P2P_SESSION_OPENING && e->expires_ms > now_ms;
}

const struct p2p_sessions_entry *p2p_sessions_best(const struct p2p_sessions *t,
						   const struct p2p_hit *hit, uint64_t now_ms)
{
	const struct p2p_sessions_entry *best = NULL;

	for (struct entry *x = first_of(t, hit); x; x = of_peer(x->by_hit, hit)) {
		if (x->e.retiring || x->e.state == P2P_SESSION_CLOSING ||
		    !p2p_sessions_usable(&x->e, now_ms))
			continue;
		if (!best || memcmp(&x->e.s.id, &best->s.id, sizeof(best->s.id)) < 0)
			best = &x->e;
	}
	return best;
}

const struct p2p_sessions_entry *p2p_sessions_of(const struct p2p_sessions *t,
						 const struct p2p_hit *hit, unsigned int n)
{
	struct entry *x = first_of(t, hit);

	while (x && n--)
		x = of_peer(x->by_hit, hit);
	return x ? &x->e : NULL;
}

/* --- what is due -------------------------------------------------------------------------------
 */

/* Also of one that is waited for: it ends when its time is over. */
static uint64_t due(const struct p2p_sessions_entry *e)
{
	return e->state == P2P_SESSION_OPEN	 ? e->due_ms
	       : e->state == P2P_SESSION_OPENING ? UINT64_MAX
						 : e->expires_ms;
}

int p2p_sessions_next(struct p2p_sessions *t, uint64_t now_ms, struct p2p_session_id *id,
		      enum p2p_sessions_action *action)
{
	struct p2p_sessions_entry *e;
	struct entry *x;

	LIST_FOREACH(x, &t->all, all)
		if (due(&x->e) <= now_ms)
			break;
	if (!x)
		return ENOENT;
	e = &x->e;
	*id = e->s.id;
	if (e->expires_ms <= now_ms) {
		*action = P2P_SESSIONS_EXPIRED;
	} else if ((e->s.initiator || e->retiring) && unused(e) && idle_ms(t, e) <= now_ms) {
		e->state = P2P_SESSION_CLOSING;
		*action = P2P_SESSIONS_CLOSE;
	} else if (e->s.initiator) {
		e->state = P2P_SESSION_RENEWING;
		e->untold = false;
		*action = P2P_SESSIONS_RENEW;
	} else {
		*action = P2P_SESSIONS_EXPIRED;
	}
	return 0;
}

uint64_t p2p_sessions_due(const struct p2p_sessions *t)
{
	uint64_t next = UINT64_MAX;
	const struct entry *x;

	LIST_FOREACH(x, &t->all, all)
		if (due(&x->e) < next)
			next = due(&x->e);
	return next;
}

void p2p_sessions_scan(const struct p2p_sessions *t, uint64_t *cursor, size_t count,
		       void (*fn)(const struct p2p_sessions_entry *e, void *arg), void *arg)
{
	const struct entry *x = LIST_FIRST(&t->all);
	uint64_t at = 0;

	for (; x && at < *cursor; at++)
		x = LIST_NEXT(x, all);
	for (; x && count; x = LIST_NEXT(x, all), at++, count--)
		fn(&x->e, arg);
	*cursor = x ? at : 0;
}

size_t p2p_sessions_count(const struct p2p_sessions *t)
{
	return t->n;
}

const char *p2p_session_state_text(enum p2p_session_state state)
{
	switch (state) {
	case P2P_SESSION_OPENING:
		return "opening";
	case P2P_SESSION_OPEN:
		return "open";
	case P2P_SESSION_RENEWING:
		return "renewing";
	case P2P_SESSION_CLOSING:
		return "closing";
	}
	return "?";
}
