/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Published users: what is to be put when, and what follows from how that went. */
#include "lib/model/published_impl.h"

#include <errno.h>
#include <string.h>

/* A holder that says STALE again and again is believed to be broken: that is a failed put then. */
#define STALE_MAX 3

static void job_begin(struct p2p_published *p, struct p2p_pub_entry *e,
		      struct p2p_published_job *job)
{
	memset(job, 0, sizeof(*job));
	p2p_pub_heap_remove(p, e);
	p2p_pub_set_killed(p, e, false);
	/* a new id for each attempt: an answer that comes late is not taken for a later one's */
	e->id = ++p->last_id;
	e->in_flight = true;
	e->spoiled = false;
	e->was_dirty = e->dirty;
	p2p_pub_set_dirty(p, e, false);
	e->before = e->put;
	e->put = e->desired == P2P_DESIRED_GONE ? P2P_PUT_KILLING : P2P_PUT_PUTTING;
	LIST_INSERT_HEAD(&p->flight[e->id % P2P_PUB_FLIGHT_BUCKETS], e, by_flight);
	p->st.in_flight++;
	job->id = e->id;
	job->tombstone = e->put == P2P_PUT_KILLING;
	job->changed = e->was_dirty;
	job->first = e->before == P2P_PUT_NOTHING && e->last_expiry_ms == 0;
	job->last_order = e->order;
	job->last_expiry_ms = e->last_expiry_ms;
	job->name_len = e->name_len;
	memcpy(job->name, e->name, e->name_len + 1);
	job->n_instances = p2p_pub_instances_get(e, job->instance);
}

int p2p_published_next(struct p2p_published *p, uint64_t now_ms, struct p2p_published_job *job)
{
	while (p->n_heap > 0 && p->heap[0]->due_ms <= now_ms) {
		struct p2p_pub_entry *e = p->heap[0];

		if (e->desired == P2P_DESIRED_ORPHAN && now_ms >= e->orphan_until_ms) {
			p2p_pub_set_desired(p, e, P2P_DESIRED_GONE);
			p2p_pub_set_dirty(p, e, true);
		}
		if (e->desired == P2P_DESIRED_GONE &&
		    (!p2p_pub_is_out(e) || (e->put == P2P_PUT_KILLED && now_ms >= e->forget_ms))) {
			p2p_pub_entry_remove(p, e);
			continue;
		}
		job_begin(p, e, job);
		return 0;
	}
	return ENOENT;
}

uint64_t p2p_published_due(const struct p2p_published *p)
{
	return p->n_heap > 0 ? p->heap[0]->due_ms : UINT64_MAX;
}

static uint64_t retry_delay(const struct p2p_published *p, const struct p2p_pub_entry *e)
{
	unsigned int shift = e->failures - 1 < 20 ? e->failures - 1 : 20;
	uint64_t delay = p->cfg.retry_min_ms << shift;

	if (delay > p->cfg.retry_max_ms)
		delay = p->cfg.retry_max_ms;
	/* up to a quarter less, different for each user and attempt: no thundering herd */
	return delay - (e->hash ^ (e->failures * 0x9e3779b97f4a7c15ull)) % (delay / 4 + 1);
}

static void job_succeeded(struct p2p_published *p, struct p2p_pub_entry *e, uint64_t wall_ms,
			  uint64_t now_ms)
{
	bool killed = e->put == P2P_PUT_KILLING;

	e->put = killed ? P2P_PUT_KILLED : P2P_PUT_PUT;
	e->failures = 0;
	e->stales = 0;
	if (killed)
		e->forget_ms =
			now_ms + (e->last_expiry_ms > wall_ms ? e->last_expiry_ms - wall_ms : 0);
	if (e->dirty || killed != (e->desired == P2P_DESIRED_GONE)) {
		e->due_ms = now_ms;
	} else if (killed) {
		e->due_ms = now_ms + p->cfg.tombstone_ms;
		if (e->due_ms > e->forget_ms)
			e->due_ms = e->forget_ms;
		p2p_pub_set_killed(p, e, true);
	} else {
		e->due_ms = now_ms + p->cfg.reput_ms - e->hash % (p->cfg.reput_ms / 4 + 1);
		if (e->desired == P2P_DESIRED_ORPHAN && e->due_ms > e->orphan_until_ms)
			e->due_ms = e->orphan_until_ms;
	}
}

void p2p_published_done(struct p2p_published *p, uint64_t id, enum p2p_put_result result,
			uint64_t order, uint64_t expiry_ms, uint64_t wall_ms, uint64_t now_ms)
{
	struct p2p_pub_entry *e;

	LIST_FOREACH(e, &p->flight[id % P2P_PUB_FLIGHT_BUCKETS], by_flight) {
		if (e->id == id)
			break;
	}
	if (e == NULL)
		return;
	LIST_REMOVE(e, by_flight);
	e->in_flight = false;
	p->st.in_flight--;
	/* A put that failed may have reached some holder: it counts as out there. */
	if (e->put == P2P_PUT_PUTTING && expiry_ms > e->last_expiry_ms)
		e->last_expiry_ms = expiry_ms;
	if (order > e->order)
		e->order = order;
	if (result == P2P_PUT_OK) {
		job_succeeded(p, e, wall_ms, now_ms);
	} else {
		bool again = result == P2P_PUT_STALE && ++e->stales <= STALE_MAX;

		/* Asked for something else meanwhile: that is a new thing, and tried at once. */
		again = again || (e->dirty && !e->spoiled);
		e->put = e->before;
		if (e->was_dirty)
			p2p_pub_set_dirty(p, e, true);
		if (again) {
			e->due_ms = now_ms;
		} else {
			e->failures++;
			e->stales = 0;
			e->due_ms = now_ms + retry_delay(p, e);
		}
		if (e->desired == P2P_DESIRED_ORPHAN && e->due_ms > e->orphan_until_ms)
			e->due_ms = e->orphan_until_ms;
	}
	p2p_pub_heap_add(p, e);
}
