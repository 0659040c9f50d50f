/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/enrol/gateway_known.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/keys/gateway_file.h"
#include "dht-gateway/enrol/gateway_member.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/gateway_state.h"
#include "lib/base/bytes.h"
#include "lib/model/userset.h"

#define TEXT_MAX 8192
#define UPDATE_MS 3000
/* When there are as many as are kept: which of them are does not matter much. */
#define UPDATE_FULL_MS 600000

struct known {
	struct p2p_hit hit;
	struct p2p_locator gateway;
};

struct gw_known {
	struct gw *gw;
	size_t n;
	struct known v[GW_KNOWN_MAX];
	uint64_t update_ms; /* mono: not before */
	bool changed;
};

static struct known *find(struct gw_known *k, const struct p2p_hit *hit)
{
	for (size_t i = 0; i < k->n; i++)
		if (!p2p_hit_cmp(&k->v[i].hit, hit))
			return &k->v[i];
	return NULL;
}

/* The oldest makes room. */
static void learn(struct gw_known *k, const struct p2p_hit *hit, const struct p2p_locator *gateway)
{
	struct known *v = find(k, hit);

	if (v && !memcmp(&v->gateway, gateway, sizeof(*gateway)))
		return;
	k->changed = true;
	if (!v && k->n == GW_KNOWN_MAX) {
		memmove(&k->v[0], &k->v[1], (GW_KNOWN_MAX - 1) * sizeof(k->v[0]));
		k->n--;
	}
	if (!v)
		v = &k->v[k->n++];
	v->hit = *hit;
	v->gateway = *gateway;
}

/* "<HIT> <address> <port>" */
static void line_read(struct gw_known *k, const char *line)
{
	struct p2p_locator l = {.service = P2P_SERVICE_GATEWAY, .transports = P2P_TRANSPORT_TLS};
	char hit_text[P2P_HIT_TEXT_MAX], address[INET6_ADDRSTRLEN];
	struct p2p_hit hit;

	if (sscanf(line, "%39s %45s %hu", hit_text, address, &l.port) != 3 || !l.port ||
	    p2p_hit_parse(&hit, hit_text, strlen(hit_text)))
		return;
	l.family = strchr(address, ':') ? 6 : 4;
	if (inet_pton(l.family == 4 ? AF_INET : AF_INET6, address, l.addr) == 1)
		learn(k, &hit, &l);
}

static void save(struct gw_known *k)
{
	char text[TEXT_MAX], hit[P2P_HIT_TEXT_MAX], address[INET6_ADDRSTRLEN];
	struct p2p_text t;
	int err;

	p2p_text_init(&t, text, sizeof(text));
	for (size_t i = 0; i < k->n; i++) {
		const struct p2p_locator *l = &k->v[i].gateway;

		p2p_hit_print(&k->v[i].hit, hit);
		inet_ntop(l->family == 4 ? AF_INET : AF_INET6, l->addr, address, sizeof(address));
		p2p_text_add(&t, "%s %s %u\n", hit, address, l->port);
	}
	err = gw_file_replace(gw_state_path(k->gw->state, GW_KNOWN_FILE), text, t.len);
	if (err)
		gw_warn_source(k->gw, "known", 5, "%s: %s",
			       gw_state_path(k->gw->state, GW_KNOWN_FILE), strerror(err));
	k->changed = err != 0;
}

static void take(const struct gw_peer_info *info, void *arg)
{
	struct gw_known *k = arg;
	struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX];

	if (!info->rec || info->rec->tombstone || !p2p_hit_cmp(&info->hit, &k->gw->hit) ||
	    gw_member_revoked(k->gw, &info->hit) || !p2p_record_gateways(info->rec, gateway))
		return;
	learn(k, &info->hit, &gateway[0]);
}

void gw_known_update(struct gw_known *k)
{
	uint64_t cursor = 0, now = gw_mono(k->gw);

	if (now < k->update_ms)
		return;
	k->update_ms = now + (k->n < GW_KNOWN_MAX ? UPDATE_MS : UPDATE_FULL_MS);
	gw_peers_scan(k->gw->peers, &cursor, GW_KNOWN_MAX, take, k);
	if (k->changed)
		save(k);
}

size_t gw_known_count(const struct gw_known *k)
{
	return k->n;
}

struct p2p_hit gw_known_hit(const struct gw_known *k, size_t i)
{
	return k->v[i].hit;
}

unsigned int gw_known_gateways(const struct gw_known *k, const struct p2p_hit *hit,
			       struct p2p_locator *gateway)
{
	for (size_t i = 0; i < k->n; i++) {
		if (p2p_hit_cmp(&k->v[i].hit, hit))
			continue;
		*gateway = k->v[i].gateway;
		return 1;
	}
	return 0;
}

int gw_known_new(struct gw_known **kp, struct gw *gw)
{
	struct gw_known *k = calloc(1, sizeof(*k));
	char text[TEXT_MAX], *rest = NULL;
	size_t len;

	if (!k)
		return ENOMEM;
	k->gw = gw;
	k->update_ms = gw_mono(gw) + UPDATE_MS;
	if (gw->enrolled &&
	    !gw_file_read(gw_state_path(gw->state, GW_KNOWN_FILE), text, sizeof(text), &len))
		for (char *line = strtok_r(text, "\n", &rest); line;
		     line = strtok_r(NULL, "\n", &rest))
			line_read(k, line);
	k->changed = false;
	*kp = k;
	return 0;
}

void gw_known_free(struct gw_known *k)
{
	free(k);
}
