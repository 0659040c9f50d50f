/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Published users: what the Kamailios wish; see published.h and docs/states.md. */
#include "lib/model/published_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *p2p_desired_text(enum p2p_desired desired)
{
	static const char *const text[] = {"claimed", "orphan", "gone"};

	return (unsigned int)desired <= P2P_DESIRED_GONE ? text[desired] : "?";
}

const char *p2p_put_state_text(enum p2p_put_state put)
{
	static const char *const text[] = {"nothing", "putting", "put", "killing", "killed"};

	return (unsigned int)put <= P2P_PUT_KILLED ? text[put] : "?";
}

/* --- Kamailio instances ------------------------------------------------------------------------
 */

static int kamailio_at(const struct p2p_published *p, uint64_t id)
{
	int i;

	for (i = 0; i < P2P_PUBLISHED_KAMAILIOS_MAX; i++) {
		if (p->kamailio[i].generation != 0 && p->kamailio[i].id == id)
			return i;
	}
	return -1;
}

static struct p2p_pub_kamailio *kamailio_find(struct p2p_published *p, uint64_t id)
{
	int i = kamailio_at(p, id);

	return i >= 0 ? &p->kamailio[i] : NULL;
}

static bool kamailio_connected(struct p2p_published *p, uint64_t id)
{
	const struct p2p_pub_kamailio *k = kamailio_find(p, id);

	return k != NULL && k->connections > 0;
}

bool p2p_published_connected(struct p2p_published *p, uint64_t id)
{
	struct p2p_pub_kamailio *k = kamailio_find(p, id);
	size_t i;

	for (i = 0; k == NULL && i < P2P_PUBLISHED_KAMAILIOS_MAX; i++) {
		if (p->kamailio[i].connections == 0) {
			k = &p->kamailio[i];
		}
	}
	if (k == NULL)
		return false;
	if (k->generation == 0 || k->id != id)
		*k = (struct p2p_pub_kamailio){.id = id, .generation = ++p->last_generation};
	k->connections++;
	return true;
}

void p2p_published_begin(struct p2p_published *p, uint64_t id)
{
	struct p2p_pub_kamailio *k = kamailio_find(p, id);

	if (k == NULL)
		return;
	k->generation = ++p->last_generation;
	k->resumable = true;
}

int p2p_published_resume(const struct p2p_published *p, uint64_t id, uint64_t *seq)
{
	int i = kamailio_at(p, id);

	if (i < 0 || !p->kamailio[i].resumable)
		return ENOENT;
	*seq = p->kamailio[i].seq;
	return 0;
}

void p2p_published_disconnected(struct p2p_published *p, uint64_t id)
{
	struct p2p_pub_kamailio *k = kamailio_find(p, id);

	if (k != NULL && k->connections > 0)
		k->connections--;
}

static void claim(struct p2p_published *p, struct p2p_pub_entry *e, uint64_t id, uint64_t seq)
{
	struct p2p_pub_kamailio *k = kamailio_find(p, e->kamailio);

	if (k != NULL && e->kamailio != id)
		k->resumable = false;
	k = kamailio_find(p, id);
	e->kamailio = id;
	e->seq = seq;
	e->generation = k != NULL ? k->generation : 0;
}

static void taken(struct p2p_published *p, uint64_t id, uint64_t seq)
{
	struct p2p_pub_kamailio *k = kamailio_find(p, id);

	if (k != NULL && seq > k->seq)
		k->seq = seq;
}

size_t p2p_published_synced(struct p2p_published *p, uint64_t id, uint64_t now_ms)
{
	const struct p2p_pub_kamailio *k = kamailio_find(p, id);
	struct p2p_pub_kamailio *other;
	struct p2p_pub_entry *e;
	size_t i;

	for (i = 0; i < p->n_buckets; i++) {
		LIST_FOREACH(e, &p->bucket[i], by_name) {
			bool lost = e->kamailio == id ? k != NULL && e->generation != k->generation
						      : !kamailio_connected(p, e->kamailio);

			if (e->desired != P2P_DESIRED_CLAIMED || !lost)
				continue;
			other = e->kamailio != id ? kamailio_find(p, e->kamailio) : NULL;
			if (other != NULL)
				other->resumable = false;
			p2p_pub_set_desired(p, e, P2P_DESIRED_ORPHAN);
			e->orphan_until_ms = now_ms + p->cfg.orphan_ms;
			if (!e->in_flight && e->due_ms > e->orphan_until_ms)
				p2p_pub_set_due(p, e, e->orphan_until_ms);
		}
	}
	return p->st.orphans;
}

/* --- wishes ------------------------------------------------------------------------------------
 */

/* Sorted, without doubles and zeros, so that equal sets compare equal. */
static uint8_t instances_normal(const uint32_t *in, size_t n,
				uint32_t out[P2P_CANDIDATE_INSTANCES_MAX])
{
	size_t i, j, k, count = 0;

	for (i = 0; i < n; i++) {
		for (j = 0; j < count && out[j] < in[i]; j++)
			;
		if (in[i] == 0 || (j < count && out[j] == in[i]) ||
		    j == P2P_CANDIDATE_INSTANCES_MAX)
			continue;
		if (count < P2P_CANDIDATE_INSTANCES_MAX)
			count++;
		for (k = count - 1; k > j; k--)
			out[k] = out[k - 1];
		out[j] = in[i];
	}
	return (uint8_t)count;
}

/* What is to be told has changed: do it now, or when the put in flight is done. */
static void change(struct p2p_published *p, struct p2p_pub_entry *e, uint64_t now_ms)
{
	p2p_pub_set_dirty(p, e, true);
	e->failures = 0;
	e->stales = 0;
	if (!e->in_flight)
		p2p_pub_set_due(p, e, now_ms);
}

/* NULL: it is not here. */
static const struct p2p_pub_phone *phone_of(const struct p2p_pub_entry *e, uint32_t instance)
{
	int i;

	for (i = 0; i < e->n_phones; i++)
		if (e->phone[i].instance == instance)
			return &e->phone[i];
	return NULL;
}

static bool phones_same(const struct p2p_pub_entry *e, const uint32_t *instance, uint8_t n)
{
	int i;

	for (i = 0; i < n && i < e->n_phones && e->phone[i].instance == instance[i]; i++)
		;
	return i == n && n == e->n_phones;
}

/* Those that were there before are there since then. ENOMEM: nothing has changed. */
static int phones_set(struct p2p_pub_entry *e, const uint32_t *instance, uint8_t n, bool restored,
		      uint64_t now_ms)
{
	struct p2p_pub_phone phone[P2P_CANDIDATE_INSTANCES_MAX], *room = e->phone;
	bool gone = e->desired == P2P_DESIRED_GONE;
	int i;

	for (i = 0; i < n; i++) {
		const struct p2p_pub_phone *was = gone ? NULL : phone_of(e, instance[i]);

		phone[i] = was != NULL ? *was
				       : (struct p2p_pub_phone){.since = now_ms,
								.instance = instance[i],
								.earlier = restored};
	}
	if (n != e->n_phones) {
		room = n > 0 ? malloc(n * sizeof(*room)) : NULL;
		if (n > 0 && room == NULL)
			return ENOMEM;
		free(e->phone);
	}
	if (n > 0)
		memcpy(room, phone, n * sizeof(*room));
	e->phone = room;
	e->n_phones = n;
	return 0;
}

bool p2p_published_age(const struct p2p_published *p, const char *name, size_t len,
		       uint32_t instance, uint64_t now_ms, uint64_t *age_ms, bool *older)
{
	const struct p2p_pub_entry *e = p2p_pub_find(p, name, len);
	const struct p2p_pub_phone *phone =
		e != NULL && e->desired != P2P_DESIRED_GONE ? phone_of(e, instance) : NULL;

	if (phone == NULL)
		return false;
	*age_ms = now_ms > phone->since ? now_ms - phone->since : 0;
	*older = phone->earlier;
	return true;
}

int p2p_published_publish(struct p2p_published *p, const char *name, size_t len, uint64_t kamailio,
			  uint64_t seq, const uint32_t *instances, size_t n_instances,
			  uint64_t now_ms, uint64_t *seen)
{
	uint32_t inst[P2P_CANDIDATE_INSTANCES_MAX] = {0};
	uint8_t n = instances_normal(instances, n_instances, inst);
	struct p2p_pub_entry *e;
	bool same, added;

	if (!p2p_name_valid(name, len))
		return EINVAL;
	e = p2p_pub_find(p, name, len);
	added = e == NULL;
	if (e != NULL && e->kamailio == kamailio && seq < e->seq) {
		*seen = e->seq;
		return ESTALE;
	}
	if (added && p2p_pub_entry_add(p, name, len, now_ms, &e) != 0)
		return ENOSPC;
	/* being put or put, as it is wished now */
	same = !added && e->desired != P2P_DESIRED_GONE && phones_same(e, inst, n);
	if (phones_set(e, inst, n, seq == 0, now_ms) != 0) {
		if (added)
			p2p_pub_entry_remove(p, e);
		return ENOSPC;
	}
	taken(p, kamailio, seq);
	claim(p, e, kamailio, seq);
	p2p_pub_set_desired(p, e, P2P_DESIRED_CLAIMED);
	p2p_pub_set_killed(p, e, false);
	if (same)
		return EALREADY;
	change(p, e, now_ms);
	return 0;
}

int p2p_published_withdraw(struct p2p_published *p, const char *name, size_t len, uint64_t kamailio,
			   uint64_t seq, uint64_t now_ms, uint64_t *seen)
{
	struct p2p_pub_entry *e = p2p_pub_find(p, name, len);

	if (e != NULL && e->kamailio == kamailio && seq < e->seq) {
		*seen = e->seq;
		return ESTALE;
	}
	taken(p, kamailio, seq);
	if (e == NULL)
		return ENOENT;
	if (e->kamailio != kamailio && e->desired == P2P_DESIRED_CLAIMED &&
	    kamailio_connected(p, e->kamailio))
		return EBUSY;
	claim(p, e, kamailio, seq);
	if (e->desired == P2P_DESIRED_GONE)
		return 0;
	p2p_pub_set_desired(p, e, P2P_DESIRED_GONE);
	if (!e->in_flight && !p2p_pub_is_out(e))
		p2p_pub_entry_remove(p, e);
	else
		change(p, e, now_ms);
	return 0;
}

int p2p_published_serves(const struct p2p_published *p, const char *name, size_t len)
{
	const struct p2p_pub_entry *e = p2p_pub_find(p, name, len);

	if (e == NULL || e->desired == P2P_DESIRED_GONE)
		return 0;
	return e->desired == P2P_DESIRED_CLAIMED ? 1 : 2;
}

void p2p_published_renew(struct p2p_published *p, uint64_t now_ms, uint64_t spread_ms)
{
	struct p2p_pub_entry *e;
	size_t i;

	for (i = 0; i < p->n_buckets; i++) {
		LIST_FOREACH(e, &p->bucket[i], by_name) {
			if (e->desired == P2P_DESIRED_GONE)
				continue;
			change(p, e, now_ms + (spread_ms != 0 ? e->hash % spread_ms : 0));
			if (e->in_flight)
				e->spoiled = true;
		}
	}
}

void p2p_published_stale(struct p2p_published *p, const char *name, size_t len, uint64_t order,
			 uint64_t now_ms)
{
	struct p2p_pub_entry *e = p2p_pub_find(p, name, len);

	if (e != NULL && !e->in_flight && p2p_pub_is_out(e) && e->order == order)
		change(p, e, now_ms + p->cfg.retry_min_ms);
}

void p2p_published_withdraw_all(struct p2p_published *p, uint64_t now_ms)
{
	struct p2p_pub_entry *e, *next;
	size_t i;

	for (i = 0; i < p->n_buckets; i++) {
		for (e = LIST_FIRST(&p->bucket[i]); e != NULL; e = next) {
			next = LIST_NEXT(e, by_name);
			if (e->desired == P2P_DESIRED_GONE)
				continue;
			p2p_pub_set_desired(p, e, P2P_DESIRED_GONE);
			if (!e->in_flight && !p2p_pub_is_out(e))
				p2p_pub_entry_remove(p, e);
			else
				change(p, e, now_ms);
		}
	}
}
