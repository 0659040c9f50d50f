// SPDX-License-Identifier: GPL-2.0-or-later
/* Calls over sessions: p2p_usrloc is told of each one more and each one less, and tells the
 * gateway, which keeps a session open while calls run over it.
 *
 *   2xx to an INVITE --> RUNS --BYE, or nothing heard for call_max_s--> gone
 *   its session has ended --> it is put on another one with that peer, which is asked for
 *
 * A count is no promise: one that was lost with Kamailio only has a session closed that a BYE will
 * find opened again, one that was missed ends by itself. All slots are taken at the start. */
#include <sys/random.h>
#include <time.h>

#include "core/locking.h"
#include "core/mem/shm_mem.h"
#include "core/parser/parse_from.h"
#include "core/parser/parse_to.h"
#include "lib/base/hash.h"
#include "lib/base/log.h"
#include "p2p_route.h"

#define SLOTS_PER_LOCK 256 /* of a sweep: looked at under the lock at once */

struct call {
	struct call *next; /* of its bucket, or of the free ones */
	uint64_t key;	   /* of Call-ID and both tags, whichever way round */
	struct p2p_hit hit;
	struct p2p_session_id session;
	uint32_t seen_s;
	bool used;
};

struct calls {		 /* shm */
	gen_lock_t lock; /* guards all below */
	struct p2p_hash_key key;
	unsigned int n, max, mask;
	struct p2p_limit full;
	struct call *free, **bucket; /* mask + 1 */
	struct call call[];	     /* max */
};

static struct calls *calls;

static uint32_t now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint32_t)ts.tv_sec;
}

int route_calls_init(void)
{
	unsigned int max = (unsigned int)route_settings.calls_max, size = 1, i;
	size_t bytes;

	while (size < max)
		size *= 2;
	bytes = sizeof(*calls) + max * sizeof(struct call) + size * sizeof(struct call *);
	calls = shm_malloc(bytes);
	if (calls == NULL) {
		SHM_MEM_ERROR;
		return -1;
	}
	memset(calls, 0, bytes);
	if (lock_init(&calls->lock) == NULL ||
	    getrandom(&calls->key, sizeof(calls->key), 0) != sizeof(calls->key)) {
		LM_ERR("no lock, or no random bytes\n");
		shm_free(calls);
		calls = NULL;
		return -1;
	}
	p2p_limit_init(&calls->full, 60000, &calls->key);
	calls->max = max;
	calls->mask = size - 1;
	calls->bucket = (struct call **)&calls->call[max];
	for (i = max; i-- > 0;) {
		calls->call[i].next = calls->free;
		calls->free = &calls->call[i];
	}
	return 0;
}

void route_calls_destroy(void)
{
	if (calls == NULL)
		return;
	lock_destroy(&calls->lock);
	shm_free(calls);
	calls = NULL;
}

/* 0: not a message within a dialog. */
static uint64_t key_of(struct sip_msg *msg)
{
	str from, to;

	if (parse_headers(msg, HDR_CALLID_F | HDR_FROM_F | HDR_TO_F, 0) < 0 ||
	    msg->callid == NULL || parse_from_header(msg) < 0 || parse_to_header(msg) < 0)
		return 0;
	from = get_from(msg)->tag_value;
	to = get_to(msg)->tag_value;
	if (from.len <= 0 || to.len <= 0)
		return 0;
	return p2p_hash(&calls->key, msg->callid->body.s, (size_t)msg->callid->body.len) ^
	       (p2p_hash(&calls->key, from.s, (size_t)from.len) +
		p2p_hash(&calls->key, to.s, (size_t)to.len));
}

static struct call **link_of(uint64_t key)
{
	struct call **link = &calls->bucket[key & calls->mask];

	while (*link != NULL && (*link)->key != key)
		link = &(*link)->next;
	return link;
}

/* Under the lock. */
static void call_free(struct call **link)
{
	struct call *c = *link;

	*link = c->next;
	c->used = false;
	c->next = calls->free;
	calls->free = c;
	calls->n--;
}

void route_calls_begin(struct sip_msg *reply, const struct p2p_hit *hit,
		       const struct p2p_session_id *session)
{
	uint64_t key = key_of(reply);
	struct call *c, **link;
	bool counted = false, full = false;

	if (key == 0)
		return;
	lock_get(&calls->lock);
	link = link_of(key);
	if (*link != NULL) { /* the 2xx again, or one to a re-INVITE */
		(*link)->seen_s = now_s();
	} else if (calls->free == NULL) {
		full = p2p_limit_ok(&calls->full, "full", 4, (uint64_t)now_s() * 1000, NULL);
		route_count(ROUTE_CNT_CALLS_FULL);
	} else {
		c = calls->free;
		calls->free = c->next;
		c->next = NULL;
		c->key = key;
		c->hit = *hit;
		c->session = *session;
		c->seen_s = now_s();
		c->used = counted = true;
		*link = c;
		calls->n++;
	}
	lock_release(&calls->lock);
	if (counted)
		route_ul.session_calls(session, 1);
	if (full)
		LM_WARN("more than %u calls over sessions: the others are not counted "
			"(calls_max)\n",
			calls->max);
}

void route_calls_seen(struct sip_msg *msg)
{
	uint64_t key = key_of(msg);
	struct p2p_session_id session;
	bool ended = false;
	struct call **link;

	if (key == 0)
		return;
	lock_get(&calls->lock);
	link = link_of(key);
	if (*link != NULL && msg->REQ_METHOD == METHOD_BYE) {
		session = (*link)->session;
		call_free(link);
		ended = true;
	} else if (*link != NULL) {
		(*link)->seen_s = now_s();
	}
	lock_release(&calls->lock);
	if (ended)
		route_ul.session_calls(&session, -1);
}

/* What is to be done about a call once the lock is free. */
struct chore {
	uint64_t key;
	struct p2p_hit hit;
	struct p2p_session_id session;
	bool over;
};

static unsigned int chores_find(unsigned int from, struct chore chore[SLOTS_PER_LOCK])
{
	uint32_t now = now_s();
	unsigned int i, n = 0;

	lock_get(&calls->lock);
	for (i = from; i < calls->max && i < from + SLOTS_PER_LOCK; i++) {
		struct call *c = &calls->call[i];

		if (!c->used)
			continue;
		chore[n].key = c->key;
		chore[n].hit = c->hit;
		chore[n].session = c->session;
		chore[n].over = now - c->seen_s > (uint32_t)route_settings.call_max_s;
		if (chore[n].over)
			call_free(link_of(c->key));
		n++;
	}
	lock_release(&calls->lock);
	return n;
}

/* True: the call is (still) there, and was on another session. */
static bool call_move(const struct chore *chore, const struct p2p_session_id *to)
{
	struct call **link;
	bool moved = false;

	lock_get(&calls->lock);
	link = link_of(chore->key);
	if (*link != NULL && memcmp(&(*link)->session, to, sizeof(*to)) != 0) {
		(*link)->session = *to;
		moved = true;
	}
	lock_release(&calls->lock);
	return moved;
}

void route_calls_sweep(void)
{
	static struct chore chore[SLOTS_PER_LOCK];
	struct p2p_session session;
	unsigned int from, n, i;

	if (route_calls_count() == 0)
		return;
	for (from = 0; from < calls->max; from += SLOTS_PER_LOCK) {
		n = chores_find(from, chore);
		for (i = 0; i < n; i++) {
			if (chore[i].over) {
				route_ul.session_calls(&chore[i].session, -1);
				continue;
			}
			if (route_ul.session_by_id(&chore[i].session, NULL) == 0)
				continue;
			if (route_ul.session_by_hit(&chore[i].hit, &session) < 0)
				route_ul.session_want(&chore[i].hit);
			else if (call_move(&chore[i], &session.id))
				route_ul.session_calls(&session.id, 1);
		}
	}
	memset(&session, 0, sizeof(session));
}

unsigned int route_calls_count(void)
{
	unsigned int n;

	lock_get(&calls->lock);
	n = calls->n;
	lock_release(&calls->lock);
	return n;
}
