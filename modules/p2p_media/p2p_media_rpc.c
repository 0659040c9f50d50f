/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/dprint.h"
#include "core/rpc.h"
#include "core/rpc_lookup.h"
#include "modules/p2p_media/p2p_media.h"

#define LIST_DEFAULT 50
#define LIST_MAX 500
#define CALLID_SHOWN 128

static const char *status_doc[] = {
	"The connection to the relay: its socket, the circuit breaker, what is anchored.", NULL};

static void rpc_status(rpc_t *rpc, void *ctx)
{
	static const char *const anchors[] = {"always", "never", "nat"};
	struct p2p_media_relay_state st;
	void *h;

	p2p_media_relay_state(&st);
	if (rpc->add(ctx, "{", &h) < 0)
		return;
	rpc->struct_add(h, "Sssddd", "relay_socket", &p2p_media_config.relay_socket, "anchor",
			anchors[p2p_media_config.anchor], "breaker", st.breaker, "failures",
			(int)st.failures, "retry_in_ms", (int)st.open_ms_left, "timeout_ms",
			p2p_media_config.timeout_ms);
}

static const char *stats_doc[] = {"All counters of the module.", NULL};

static void rpc_stats(rpc_t *rpc, void *ctx)
{
	void *h;
	int i;

	if (rpc->add(ctx, "{", &h) < 0)
		return;
	for (i = 0; i < P2P_MEDIA_COUNTERS; i++)
		rpc->struct_add(h, "d", p2p_media_counter_name(i), (int)p2p_media_counter_get(i));
	rpc->struct_add(h, "d", "sessions", (int)p2p_media_session_count());
}

static const char *list_doc[] = {
	"Transactions under way whose media is anchored. Parameters: after (serial of the last one "
	"of the page before, 0 to begin), count (default 50, at most 500).",
	NULL};

struct row {
	unsigned int serial, branches, offered;
	bool dialog, has_sdp;
	char callid[CALLID_SHOWN + 1];
};

struct page {
	unsigned int n, max;
	struct row *e;
};

static void copy(const struct p2p_media_session *s, void *arg)
{
	struct page *p = arg;
	struct row *e;
	unsigned int i;
	int state;

	if (p->n == p->max)
		return;
	e = &p->e[p->n++];
	memset(e, 0, sizeof(*e));
	e->serial = s->serial;
	e->dialog = s->dialog;
	e->has_sdp = s->has_sdp;
	for (i = 0; i < s->n; i++) {
		state = __atomic_load_n(&s->branch[i].state, __ATOMIC_ACQUIRE);
		e->branches += state != P2P_MEDIA_FREE;
		e->offered += state == P2P_MEDIA_OFFERED;
	}
	snprintf(e->callid, sizeof(e->callid), "%.*s", s->callid.len, s->callid.s);
}

static void rpc_list(rpc_t *rpc, void *ctx)
{
	int after = 0, count = LIST_DEFAULT;
	struct page p;
	unsigned int i;
	void *h;

	rpc->scan(ctx, "*dd", &after, &count);
	if (after < 0 || count < 1 || count > LIST_MAX) {
		rpc->fault(ctx, 400, "after must not be negative, count 1 to %d", LIST_MAX);
		return;
	}
	p.n = 0;
	p.max = (unsigned int)count;
	p.e = calloc(p.max, sizeof(*p.e));
	if (p.e == NULL) {
		rpc->fault(ctx, 500, "out of memory");
		return;
	}
	p2p_media_session_visit((unsigned int)after, p.max, copy, &p);
	for (i = 0; i < p.n; i++) {
		struct row *e = &p.e[i];

		if (rpc->add(ctx, "{", &h) < 0)
			break;
		rpc->struct_add(h, "dssddd", "serial", (int)e->serial, "callid", e->callid, "kind",
				e->dialog ? "in-dialog" : "new", "branches", (int)e->branches,
				"offered", (int)e->offered, "sdp", e->has_sdp ? 1 : 0);
	}
	free(p.e);
}

static const char *reset_doc[] = {"Close the circuit breaker: try the relay again at once.", NULL};

static void rpc_reset(rpc_t *rpc, void *ctx)
{
	(void)rpc;
	(void)ctx;
	p2p_media_relay_reset();
}

static rpc_export_t commands[] = {
	{"p2p_media.status", rpc_status, status_doc, 0},
	{"p2p_media.stats", rpc_stats, stats_doc, 0},
	{"p2p_media.list", rpc_list, list_doc, RET_ARRAY},
	{"p2p_media.reset", rpc_reset, reset_doc, 0},
	{0, 0, 0, 0},
};

int p2p_media_rpc_init(void)
{
	if (rpc_register_array(commands) != 0) {
		LM_ERR("cannot register the RPC commands\n");
		return -1;
	}
	return 0;
}
