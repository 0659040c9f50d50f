/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the modules are told on the channels that they subscribe to. */
#include "config.h"
#include "dht-gateway/gateway_resp_impl.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void users_event(const char *name, size_t len, void *arg)
{
	struct gw_resp *r = arg;

	resp_server_publish(r->server, "users", name, len);
}

/* "hit hash[,hash]... name" */
static void moves_event(const struct p2p_hit *hit, const uint32_t *instance, unsigned int n,
			const char *name, size_t len, void *arg)
{
	char text[P2P_HIT_TEXT_MAX + P2P_CANDIDATE_INSTANCES_MAX * 9 + P2P_NAME_MAX + 2];
	struct gw_resp *r = arg;
	size_t at;

	p2p_hit_print(hit, text);
	at = strlen(text);
	for (unsigned int i = 0; i < n && i < P2P_CANDIDATE_INSTANCES_MAX; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%c%08" PRIx32, i ? ',' : ' ',
				       instance[i]);
	at += (size_t)snprintf(text + at, sizeof(text) - at, " %.*s", (int)len, name);
	resp_server_publish(r->server, "moves", text, at);
}

static void peers_event(const struct p2p_hit *hit, void *arg)
{
	struct gw_resp *r = arg;
	char text[P2P_HIT_TEXT_MAX];

	p2p_hit_print(hit, text);
	resp_server_publish(r->server, "peers", text, strlen(text));
}

static void sessions_event(const char *what, const struct p2p_session_id *id, void *arg)
{
	struct gw_resp *r = arg;
	char text[16 + P2P_SESSION_ID_TEXT_MAX], id_text[P2P_SESSION_ID_TEXT_MAX];

	p2p_session_id_print(id, id_text);
	snprintf(text, sizeof(text), "%s %s", what, id_text);
	resp_server_publish(r->server, "sessions", text, strlen(text));
}

static void auth_event(const char *what, const char *name, size_t len, void *arg)
{
	struct gw_resp *r = arg;
	char text[16 + P2P_NAME_MAX];
	int n = snprintf(text, sizeof(text), name ? "%s %.*s" : "%s", what, (int)len, name);

	resp_server_publish(r->server, "auth", text, (size_t)n);
}

static void tls_event(void *arg)
{
	struct gw_resp *r = arg;

	resp_server_publish(r->server, "sessions", "tls", 3);
}

void gw_resp_events_begin(struct gw_resp *r)
{
	struct gw *gw = r->gw;

	gw->users_event = users_event;
	gw->moves_event = moves_event;
	gw->peers_event = peers_event;
	gw->sessions_event = sessions_event;
	gw->auth_event = auth_event;
	gw->tls_event = tls_event;
	gw->event_arg = r;
}

void gw_resp_events_end(struct gw_resp *r)
{
	r->gw->users_event = NULL;
	r->gw->moves_event = NULL;
	r->gw->peers_event = NULL;
	r->gw->sessions_event = NULL;
	r->gw->auth_event = NULL;
	r->gw->tls_event = NULL;
}
