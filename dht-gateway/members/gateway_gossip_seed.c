/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How members find the first others. In the engine: each puts a peer record under one of a few keys
 * that all members can make, too, as long as that one holds only a few. And at addresses that the
 * settings name ([peers] bootstrap): whose HIT it is the certificate there tells; who has it is
 * found out by the exchange (docs/peer-protocol.md). Both go on, rarely, when members are known: so
 * parts of an overlay that never met find together. */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/members/gateway_gossip_impl.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/peers/gateway_serve.h"

#define SEEDS 8
#define SEED_VALUES 16
#define SEED_LIFE_MS 1800000
#define SEED_PUT_MS 600000
#define GET_MS 5000
/* Between two looks, alone (doubled up to the second) and among others. */
#define LOOK_MIN_MS 1000
#define LOOK_MAX_MS 15000
#define LOOK_OTHERS_MS 60000
#define IDENTIFY_MS 3000

struct seed_get {
	struct gw_gossip *g;
	struct dht_op *op;
	struct p2p_key key;
	uint64_t began_ms;
	unsigned int values; /* of others */
	bool ours;	     /* is to have our record */
};

struct gossip_seed {
	struct seed_get get[SEEDS];
	uint64_t look_ms, wait_ms, put_ms; /* when next; mono */
	unsigned int turn, address;
	struct gw_identify *identify;
};

static int key_of(const struct gw *gw, unsigned int i, struct p2p_key *key)
{
	char name[] = {'s', 'e', 'e', 'd', (char)i};

	return p2p_key_make(key, gw->secret.b, gw->secret.len, P2P_RECORD_PEER, name, sizeof(name),
			    gw->crypto);
}

/* --- in the engine -----------------------------------------------------------------------------
 */

static void on_put(int err, unsigned int nodes, void *arg)
{
	(void)err;
	(void)nodes;
	(void)arg;
}

static void put(struct gw_gossip *g, unsigned int i)
{
	struct gw *gw = g->gw;
	uint8_t buf[P2P_RECORD_MAX];
	struct p2p_record rec;
	size_t len;

	if (gw_peers_own_record(gw->peers, &rec) || key_of(gw, i, &rec.key) ||
	    gw_record_make(gw, &rec, SEED_LIFE_MS, 0, buf, &len))
		return;
	gw->dht_ops->put(gw->dht, rec.key.b, p2p_record_value_id(&gw->hit), buf, len, on_put, g);
}

static void on_found(const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data, size_t len,
		     bool here, void *arg)
{
	struct seed_get *s = arg;
	struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX];
	struct p2p_record rec;
	struct p2p_hit hit;

	(void)id;
	(void)here;
	if (!gw_record_read(s->g->gw, P2P_RECORD_PEER, key, NULL, data, len, &rec, &hit) ||
	    !p2p_hit_cmp(&hit, &s->g->gw->hit) || rec.tombstone ||
	    !p2p_record_gateways(&rec, gateway))
		return;
	if (s->values++ < SEED_VALUES)
		gossip_talk_meet(s->g, &hit, &gateway[0]);
}

static void on_got(enum dht_verdict verdict, unsigned int nodes, void *arg)
{
	struct seed_get *s = arg;
	struct gw_gossip *g = s->g;

	(void)verdict;
	(void)nodes;
	s->op = NULL;
	if (s->ours && s->values < SEED_VALUES)
		put(g, (unsigned int)(s - g->seed->get));
}

static void get(struct gw_gossip *g, unsigned int i, bool ours, uint64_t now)
{
	struct seed_get *s = &g->seed->get[i];
	struct gw *gw = g->gw;

	if (s->op)
		return;
	s->values = 0;
	s->ours = ours;
	s->began_ms = now;
	if (key_of(gw, i, &s->key) ||
	    gw->dht_ops->get(gw->dht, s->key.b, on_found, on_got, s, &s->op))
		s->op = NULL;
}

static void gets_end(struct gw_gossip *g, uint64_t now, bool all)
{
	for (unsigned int i = 0; i < SEEDS; i++) {
		struct seed_get *s = &g->seed->get[i];

		if (!s->op || (!all && now - s->began_ms < GET_MS))
			continue;
		if (g->gw->dht)
			g->gw->dht_ops->cancel(g->gw->dht, s->op);
		s->op = NULL;
		if (!all)
			on_got(DHT_INCOMPLETE, 0, s);
	}
}

/* --- at addresses ------------------------------------------------------------------------------
 */

static void on_identified(int err, const struct p2p_hit *hit, const char *text, void *arg)
{
	struct gw_gossip *g = arg;
	const struct setting_list *list = &g->gw->settings->peers_bootstrap;
	const char *at = list->v[g->seed->address];
	struct p2p_locator l;

	g->seed->identify = NULL;
	if (err) {
		gw_warn_source(g->gw, at, strlen(at), "[peers] bootstrap %s: %s", at, text);
		return;
	}
	if (!gw_settings_locator(at, &l))
		gossip_talk_meet(g, hit, &l);
}

static void identify(struct gw_gossip *g)
{
	const struct setting_list *list = &g->gw->settings->peers_bootstrap;
	struct gossip_seed *s = g->seed;
	struct p2p_locator l;

	if (!list->n || s->identify)
		return;
	s->address = (s->address + 1) % (unsigned int)list->n;
	if (gw_settings_locator(list->v[s->address], &l) || gw_serve_is(g->gw->serve, &l))
		return;
	if (gw_asks_identify(g->gw->asks, &l, IDENTIFY_MS, on_identified, g, &s->identify))
		s->identify = NULL;
}

/* --- when --------------------------------------------------------------------------------------
 */

void gossip_seed_tick(struct gw_gossip *g, uint64_t now)
{
	struct gossip_seed *s = g->seed;
	struct p2p_gossip_stats st;
	struct dht_stats dht;
	bool alone, engine;

	if (!g->gw->dht)
		return;
	gets_end(g, now, false);
	if (now < s->look_ms && now < s->put_ms)
		return;
	p2p_gossip_stats(g->model, &st);
	g->gw->dht_ops->stats(g->gw->dht, &dht);
	alone = st.alive + st.suspect == 1;
	engine = dht.connected && !dht.alone;
	if (now >= s->put_ms) {
		struct p2p_record rec;

		s->put_ms = now + LOOK_MIN_MS;
		if (engine && !gw_peers_own_record(g->gw->peers, &rec)) {
			get(g, g->gw->hit.b[P2P_HIT_LEN - 1] % SEEDS, true, now);
			s->put_ms = now + SEED_PUT_MS;
		}
	}
	if (now < s->look_ms)
		return;
	for (unsigned int i = 0; engine && i < (alone ? SEEDS : 1); i++)
		get(g, s->turn++ % SEEDS, false, now);
	identify(g);
	s->wait_ms = !alone			    ? LOOK_OTHERS_MS
		     : s->wait_ms < LOOK_MIN_MS	    ? LOOK_MIN_MS
		     : s->wait_ms * 2 < LOOK_MAX_MS ? s->wait_ms * 2
						    : LOOK_MAX_MS;
	s->look_ms = now + s->wait_ms;
}

void gossip_seed_rekey(struct gw_gossip *g)
{
	if (g->seed)
		g->seed->put_ms = 0;
}

int gossip_seed_new(struct gw_gossip *g)
{
	g->seed = calloc(1, sizeof(*g->seed));
	if (!g->seed)
		return ENOMEM;
	for (unsigned int i = 0; i < SEEDS; i++)
		g->seed->get[i].g = g;
	return 0;
}

void gossip_seed_free(struct gw_gossip *g)
{
	if (!g->seed)
		return;
	gets_end(g, 0, true);
	if (g->seed->identify)
		gw_asks_identify_cancel(g->seed->identify);
	free(g->seed);
	g->seed = NULL;
}
