/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <event2/event.h>
#include <stdlib.h>
#include "dht-gateway/location/gateway_announce_impl.h"
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/members/gateway_gossip.h"

/* Each holder is asked for each record in this many ticks. */
#define CHECK_TICKS 600

static int read_missing(const char *body, size_t len, void *arg)
{
	struct holder *h = arg;

	return p2p_opp_missing_decode(&h->check->missing, body, len);
}

static void on_checked(const struct gw_answer *answer, void *arg)
{
	struct holder *h = arg;
	struct check *c = h->check;
	struct gw_announces *a = h->all;

	c->ask = NULL;
	if (!answer->err) {
		gw_announce_heard(h, c->missing.instance);
		for (unsigned int i = 0; i < c->missing.n; i++)
			if (c->missing.at[i] < c->body.n)
				p2p_announce_missing(a->table, h->slot,
						     &c->body.r[c->missing.at[i]].key);
		a->gw->metrics.announces_missing += c->missing.n;
	}
	free(c);
	h->check = NULL;
	if (p2p_announce_waiting(a->table, h->slot))
		gw_announce_due(h);
}

static void check_send(struct holder *h)
{
	struct gw *gw = h->all->gw;
	struct p2p_opp_path path = {
		.version = P2P_OPP_VERSION, .overlay = gw->overlay, .resource = P2P_OPP_CHECK};
	struct p2p_locator at[P2P_USERSET_GATEWAYS_MAX];
	char *text = malloc(P2P_OPP_BULK_MAX);
	size_t len;

	if (!text || p2p_opp_check_encode(&h->check->body, text, P2P_OPP_BULK_MAX, &len) ||
	    gw_asks_question(gw->asks, &h->hit, at, gw_gossip_gateways(gw->gossip, &h->hit, at),
			     &(struct gw_question){.method = "POST",
						   .path = &path,
						   .body = text,
						   .len = len,
						   .read = read_missing},
			     TIMEOUT_MS, on_checked, h, &h->check->ask)) {
		free(h->check);
		h->check = NULL;
	}
	free(text);
}

static bool check_one(const struct p2p_announced *e, const uint16_t *kept, unsigned int n,
		      void *arg)
{
	struct gw_announces *a = arg;

	if (e->expiry_ms <= gw_wall(a->gw))
		return true;
	for (unsigned int i = 0; i < n; i++) {
		struct holder *h = kept[i] < a->n_slots ? a->by_slot[kept[i]] : NULL;

		if (!h || (h->check && h->check->ask))
			continue;
		if (!h->check)
			h->check = calloc(1, sizeof(*h->check));
		if (!h->check)
			continue;
		h->check->body.r[h->check->body.n].key = e->key;
		h->check->body.r[h->check->body.n++].order = e->order;
		if (h->check->body.n == P2P_OPP_CHECKS_MAX)
			check_send(h);
	}
	return false;
}

void gw_announce_check(struct gw_announces *a, bool probe)
{
	size_t n = p2p_announce_count(a->table) / CHECK_TICKS + 1;

	p2p_announce_scan(a->table, &a->check_at, n, check_one, a);
	for (size_t i = 0; probe && i < a->n_slots; i++) {
		struct holder *h = a->by_slot[i];

		if (h && h->check && !h->check->ask && gw_gossip_alive(a->gw->gossip, &h->hit))
			check_send(h);
	}
}

void gw_announce_check_free(struct holder *h)
{
	if (h->check && h->check->ask)
		gw_ask_cancel(h->check->ask);
	free(h->check);
	h->check = NULL;
}
