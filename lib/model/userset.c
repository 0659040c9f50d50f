/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/model/userset.h"

#include <errno.h>
#include <string.h>

#include "lib/base/bytes.h"

_Static_assert(P2P_CANDIDATE_URI_MAX >= P2P_LOCATOR_URI_MAX, "a locator's URI fits a candidate");
_Static_assert(P2P_CANDIDATE_INSTANCES_MAX >= P2P_RECORD_INSTANCES_MAX, "all instances fit");

void p2p_userset_init(struct p2p_userset *set)
{
	set->n = 0;
}

/* <0: a is older. As p2p_record_cmp. */
static int entry_cmp(const struct p2p_userset_entry *a, const struct p2p_userset_entry *b)
{
	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	if (a->tombstone != b->tombstone)
		return a->tombstone ? 1 : -1;
	if (a->tie != b->tie)
		return a->tie < b->tie ? -1 : 1;
	return 0;
}

static uint8_t fill_uris(const struct p2p_record *rec,
			 char uri[P2P_CANDIDATE_URIS_MAX][P2P_CANDIDATE_URI_MAX])
{
	uint8_t n = 0;

	while (n < P2P_CANDIDATE_URIS_MAX && p2p_record_uri(rec, n, uri[n]) == 0)
		n++;
	return n;
}

uint8_t p2p_record_gateways(const struct p2p_record *rec,
			    struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX])
{
	unsigned int i;
	uint8_t n = 0;

	for (i = 0; i < rec->n_locators && n < P2P_USERSET_GATEWAYS_MAX; i++) {
		if (rec->locator[i].service == P2P_SERVICE_GATEWAY &&
		    (rec->locator[i].transports & P2P_TRANSPORT_TLS) != 0)
			gateway[n++] = rec->locator[i];
	}
	return n;
}

int p2p_userset_add(struct p2p_userset *set, const struct p2p_record *rec,
		    const struct p2p_hit *hit, const void *bytes, size_t len)
{
	struct p2p_userset_entry e, *oldest = NULL;
	unsigned int i;

	if (rec->kind != P2P_RECORD_USER || len < P2P_SIG_LEN)
		return EINVAL;
	memset(&e, 0, sizeof(e));
	e.hit = *hit;
	e.order = rec->order;
	e.expiry_ms = rec->expiry_ms;
	e.epoch = rec->epoch;
	e.tombstone = rec->tombstone;
	e.tie = p2p_be64((const uint8_t *)bytes + len - P2P_SIG_LEN);
	e.n_instances = rec->n_instances;
	memcpy(e.instance, rec->instance, sizeof(rec->instance));
	e.n_uris = fill_uris(rec, e.uri);
	e.n_gateways = p2p_record_gateways(rec, e.gateway);
	for (i = 0; i < set->n; i++) {
		if (p2p_hit_cmp(&set->e[i].hit, hit) == 0) {
			if (entry_cmp(&e, &set->e[i]) <= 0)
				return EALREADY;
			set->e[i] = e;
			return 0;
		}
		if (oldest == NULL || entry_cmp(&set->e[i], oldest) < 0)
			oldest = &set->e[i];
	}
	if (set->n < P2P_USERSET_MAX) {
		set->e[set->n++] = e;
		return 0;
	}
	if (entry_cmp(&e, oldest) <= 0)
		return ENOSPC;
	*oldest = e;
	return 0;
}

static bool entry_live(const struct p2p_userset_entry *e, uint64_t now_ms)
{
	return !e->tombstone && e->expiry_ms > now_ms;
}

bool p2p_userset_any(const struct p2p_userset *set, uint64_t now_ms)
{
	unsigned int i;

	for (i = 0; i < set->n; i++) {
		if (entry_live(&set->e[i], now_ms))
			return true;
	}
	return false;
}

static uint32_t ttl(uint64_t until_ms, uint64_t now_ms)
{
	uint64_t left = until_ms > now_ms ? until_ms - now_ms : 0;

	return left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
}

/* Usable before lapsed, then the newest; the HIT last, so that the order is the same everywhere. */
static bool goes_before(const struct p2p_candidate *a, const struct p2p_candidate *b)
{
	unsigned int al = a->flags & P2P_CANDIDATE_LAPSED, bl = b->flags & P2P_CANDIDATE_LAPSED;

	if (al != bl)
		return al == 0;
	if (a->order != b->order)
		return a->order > b->order;
	return p2p_hit_cmp(&a->hit, &b->hit) < 0;
}

void p2p_userset_candidates(const struct p2p_userset *set, uint64_t now_ms,
			    const struct p2p_hit *self,
			    void (*state)(const struct p2p_hit *hit, struct p2p_peer_state *out,
					  void *arg),
			    void *arg, struct p2p_candidate_set *out)
{
	unsigned int i, j;

	memset(out, 0, sizeof(*out));
	for (i = 0; i < set->n; i++) {
		const struct p2p_userset_entry *e = &set->e[i];
		struct p2p_peer_state peer = {0};
		struct p2p_candidate c;
		uint64_t until = e->expiry_ms;

		if (!entry_live(e, now_ms) || e->n_uris == 0)
			continue;
		if (self != NULL && p2p_hit_cmp(&e->hit, self) == 0)
			continue;
		state(&e->hit, &peer, arg);
		memset(&c, 0, sizeof(c));
		c.hit = e->hit;
		c.order = e->order;
		/* Of an older epoch: the peer began anew, and has not named the user again yet. */
		if (!peer.known || e->epoch != peer.epoch || peer.lease_ms <= now_ms)
			c.flags |= P2P_CANDIDATE_LAPSED;
		else if (peer.lease_ms < until)
			until = peer.lease_ms;
		c.ttl_ms = ttl(until, now_ms);
		c.n_uris = e->n_uris;
		memcpy(c.uri, e->uri, sizeof(c.uri));
		c.n_instances = e->n_instances;
		memcpy(c.instance, e->instance, sizeof(c.instance));
		/* insert; the last one falls off when there are too many */
		for (j = 0; j < out->n && !goes_before(&c, &out->c[j]); j++)
			;
		if (j == P2P_CANDIDATES_MAX)
			continue;
		if (out->n < P2P_CANDIDATES_MAX)
			out->n++;
		memmove(&out->c[j + 1], &out->c[j], (out->n - 1u - j) * sizeof(c));
		out->c[j] = c;
	}
}

uint64_t p2p_userset_next_expiry(const struct p2p_userset *set, uint64_t now_ms)
{
	uint64_t next = UINT64_MAX;
	unsigned int i;

	for (i = 0; i < set->n; i++) {
		if (entry_live(&set->e[i], now_ms) && set->e[i].expiry_ms < next)
			next = set->e[i].expiry_ms;
	}
	return next;
}

void p2p_candidate_from_peer(struct p2p_candidate *c, const struct p2p_record *peer,
			     const struct p2p_hit *hit, uint64_t now_ms)
{
	memset(c, 0, sizeof(*c));
	c->hit = *hit;
	c->order = peer->order;
	c->ttl_ms =
		ttl(peer->lease_ms < peer->expiry_ms ? peer->lease_ms : peer->expiry_ms, now_ms);
	if (c->ttl_ms == 0)
		c->flags |= P2P_CANDIDATE_LAPSED;
	c->n_uris = fill_uris(peer, c->uri);
}
