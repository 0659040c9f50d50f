// SPDX-License-Identifier: GPL-2.0-or-later
/* kamcmd p2p_route.peers | p2p_route.peer | p2p_route.tls | p2p_route.stats */
#include "core/rpc.h"
#include "core/rpc_lookup.h"
#include "p2p_route.h"

#define PAGE_DEFAULT 50
#define PAGE_MAX 500

static const char *const peers_doc[] = {"Peers that branches were sent to: address, state, counts. "
					"Parameters: start (0), count (50).",
					NULL};
static const char *const peer_doc[] = {"One such peer. Parameter: its HIT.", NULL};
static const char *const tls_doc[] = {"Peers spoken to over TLS: whether they are proven, and on "
				      "which connection. Parameters: start (0), count (50).",
				      NULL};
static const char *const stats_doc[] = {"The counters of p2p_route.", NULL};

static void peer_add(rpc_t *rpc, void *parent, const struct route_peer_info *info)
{
	char text[P2P_HIT_TEXT_MAX];

	p2p_hit_print(&info->hit, text);
	rpc->struct_add(parent, "sssuuu", "hit", text, "uri", info->uri, "state",
			info->down ? "down" : "up", "branches", info->sent, "failures",
			info->failures, "recoveries", info->recoveries);
	rpc->struct_add(parent, "dd", "heard_ms_ago",
			info->heard_ms_ago > INT32_MAX ? -1 : (int)info->heard_ms_ago,
			"retry_in_ms", (int)info->retry_in_ms);
}

static void rpc_peers(rpc_t *rpc, void *ctx)
{
	struct route_peer_info info;
	int start = 0, count = PAGE_DEFAULT, i, n = 0, rc;
	void *item;

	rpc->scan(ctx, "*d", &start);
	rpc->scan(ctx, "*d", &count);
	if (start < 0 || count < 1 || count > PAGE_MAX) {
		rpc->fault(ctx, 400, "start must be >= 0, count 1..%d", PAGE_MAX);
		return;
	}
	for (i = 0; (rc = route_health_info(i, &info)) >= 0; i++) {
		if (rc == 1)
			continue;
		if (n++ < start)
			continue;
		if (n > start + count)
			break;
		if (rpc->add(ctx, "{", &item) < 0)
			return;
		peer_add(rpc, item, &info);
	}
}

static void rpc_peer(rpc_t *rpc, void *ctx)
{
	struct route_peer_info info;
	struct p2p_hit hit;
	void *item;
	str s;

	if (rpc->scan(ctx, "S", &s) < 1 || p2p_hit_parse(&hit, s.s, (size_t)s.len) != 0) {
		rpc->fault(ctx, 400, "the parameter is a HIT (2001:20::/28)");
		return;
	}
	if (route_health_find(&hit, &info) < 0) {
		rpc->fault(ctx, 404, "no branch was sent to that peer");
		return;
	}
	if (rpc->add(ctx, "{", &item) == 0)
		peer_add(rpc, item, &info);
}

static void rpc_tls(rpc_t *rpc, void *ctx)
{
	int start = 0, count = PAGE_DEFAULT, i, n = 0, rc;
	struct route_tls_info info;
	char text[P2P_HIT_TEXT_MAX];
	void *item;

	rpc->scan(ctx, "*d", &start);
	rpc->scan(ctx, "*d", &count);
	if (start < 0 || count < 1 || count > PAGE_MAX) {
		rpc->fault(ctx, 400, "start must be >= 0, count 1..%d", PAGE_MAX);
		return;
	}
	for (i = 0; (rc = route_tls_info(i, &info)) >= 0; i++) {
		if (rc == 1)
			continue;
		if (n++ < start)
			continue;
		if (n > start + count)
			break;
		if (rpc->add(ctx, "{", &item) < 0)
			return;
		p2p_hit_print(&info.hit, text);
		rpc->struct_add(item, "sssddd", "hit", text, "uri", info.uri, "state", info.state,
				"connection", info.con, "held", (int)info.held, "retry_in_ms",
				(int)info.retry_in_ms);
	}
}

static void rpc_stats(rpc_t *rpc, void *ctx)
{
	void *item;
	int i;

	if (rpc->add(ctx, "{", &item) < 0)
		return;
	for (i = 0; i < ROUTE_CNT_MAX; i++)
		rpc->struct_add(item, "j", (char *)route_stats_name(i),
				(unsigned long)route_stats_value(i));
}

static rpc_export_t rpcs[] = {
	{"p2p_route.peers", rpc_peers, (const char **)peers_doc, RET_ARRAY},
	{"p2p_route.peer", rpc_peer, (const char **)peer_doc, 0},
	{"p2p_route.tls", rpc_tls, (const char **)tls_doc, RET_ARRAY},
	{"p2p_route.stats", rpc_stats, (const char **)stats_doc, 0},
	{NULL, NULL, NULL, 0},
};

int route_rpc_init(void)
{
	if (rpc_register_array(rpcs) != 0) {
		LM_ERR("cannot register the RPC commands\n");
		return -1;
	}
	return 0;
}
