/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: RPC commands. Each gathers copies first and answers then: nothing is sent under a
 * lock. Long answers come in pages. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/dprint.h"
#include "core/mem/mem.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_store.h"

#define PAGE_DEFAULT 50
#define PAGE_MAX 500
#define SHOW_CONTACTS 64

/* Where to go on, as text: "0" at the start and at the end, else two numbers that only the tables
 * understand. Never one large number, which kamcmd would cut to 32 bits. */
static bool cursor_read(const str *text, uint64_t *position)
{
	unsigned long major, minor;
	int used = 0;
	char buf[24];

	if (text->len <= 0 || text->len >= (int)sizeof(buf))
		return false;
	memcpy(buf, text->s, (size_t)text->len);
	buf[text->len] = '\0';
	*position = 0;
	if (strcmp(buf, "0") == 0)
		return true;
	if (sscanf(buf, "%lu-%lu%n", &major, &minor, &used) != 2 || used != text->len ||
	    major > UINT32_MAX || minor > UINT32_MAX)
		return false;
	*position = (uint64_t)major << 32 | minor;
	return true;
}

/* [cursor [count]]; false: a fault was sent. */
static bool page_args(rpc_t *rpc, void *ctx, uint64_t *position, unsigned int *count)
{
	str cursor = STR_NULL;
	int n = PAGE_DEFAULT;

	*position = 0;
	if (rpc->scan(ctx, "*.S", &cursor) > 0) {
		if (!cursor_read(&cursor, position))
			goto bad;
		if (rpc->scan(ctx, "*d", &n) > 0 && (n < 1 || n > PAGE_MAX))
			goto bad;
	}
	*count = (unsigned int)n;
	return true;

bad:
	rpc->fault(ctx, 400, "usage: [cursor [count]], count from 1 to %d", PAGE_MAX);
	return false;
}

static void page_head(rpc_t *rpc, void *ctx, uint64_t next, const char *list, void **items)
{
	char buf[24] = "0";
	void *top;

	if (next != 0)
		snprintf(buf, sizeof(buf), "%" PRIu64 "-%" PRIu64, next >> 32, next & UINT32_MAX);
	if (rpc->add(ctx, "{", &top) < 0 ||
	    rpc->struct_add(top, "s[", "next", buf, list, items) < 0) {
		*items = NULL;
		rpc->fault(ctx, 500, "no memory for the answer");
	}
}

static const char *user_state(const struct pul_user_view *v)
{
	if (v->contacts == 0)
		return v->in_flight ? "withdrawing" : "to withdraw";
	if (v->in_flight)
		return "publishing";
	if (v->changed)
		return "to publish";
	return v->claimed ? "published" : "refused";
}

static void rpc_list(rpc_t *rpc, void *ctx)
{
	struct pul_user_view *view;
	unsigned int count, n, i;
	uint64_t position;
	void *items, *item;

	if (!page_args(rpc, ctx, &position, &count))
		return;
	view = pkg_malloc(count * sizeof(*view));
	if (view == NULL) {
		rpc->fault(ctx, 500, "no memory");
		return;
	}
	n = pul_users_page(&position, view, count);
	page_head(rpc, ctx, position, "users", &items);
	for (i = 0; items != NULL && i < n; i++) {
		if (rpc->array_add(items, "{", &item) < 0)
			break;
		rpc->struct_add(item, "sdss", "name", view[i].name.s, "contacts",
				(int)view[i].contacts, "state", (char *)user_state(&view[i]),
				"others", view[i].others ? "yes" : "none known");
	}
	pkg_free(view);
}

static const char *session_text(uint8_t session)
{
	static const char *const text[] = {
		[P2P_CANDIDATE_SESSION_NONE] = "none",
		[P2P_CANDIDATE_SESSION_OPEN] = "open",
		[P2P_CANDIDATE_SESSION_UNREACHABLE] = "unreachable",
		[P2P_CANDIDATE_SESSION_NOCOMMON_SIGNALLING] = "no common signalling",
		[P2P_CANDIDATE_SESSION_NOCOMMON_MEDIA] = "no common media",
		[P2P_CANDIDATE_SESSION_REFUSED] = "refused",
	};

	return session < sizeof(text) / sizeof(text[0]) ? text[session] : "none";
}

static void show_candidates(rpc_t *rpc, void *top, const struct p2p_candidate_set *set,
			    const char *state)
{
	const struct p2p_candidate *c;
	char text[P2P_HIT_TEXT_MAX], order[24];
	unsigned int i, k;
	void *list, *item, *uris;

	if (rpc->struct_add(top, "s[", "cache", (char *)state, "peers", &list) < 0)
		return;
	for (i = 0; i < set->n; i++) {
		c = &set->c[i];
		p2p_hit_print(&c->hit, text);
		snprintf(order, sizeof(order), "%" PRIu64, c->order);
		if (rpc->array_add(list, "{", &item) < 0 ||
		    rpc->struct_add(item, "ss", "session", (char *)session_text(c->session),
				    "session_why", (char *)c->why) < 0 ||
		    rpc->struct_add(item, "ssds[", "hit", text, "order", order, "ttl_ms",
				    (int)(c->ttl_ms > INT32_MAX ? INT32_MAX : c->ttl_ms), "lease",
				    c->flags & P2P_CANDIDATE_LAPSED ? "lapsed" : "valid", "uris",
				    &uris) < 0)
			return;
		for (k = 0; k < c->n_uris; k++)
			rpc->array_add(uris, "s", c->uri[k]);
	}
}

static const char *cache_state(enum p2p_cache_state state)
{
	static const char *const text[] = {
		[P2P_CACHE_MISS] = "none",
		[P2P_CACHE_FRESH] = "fresh",
		[P2P_CACHE_STALE] = "stale",
	};

	return text[state];
}

static void rpc_show(rpc_t *rpc, void *ctx)
{
	struct pul_contact_view *contacts;
	struct p2p_candidate_set set = {.n = 0};
	enum p2p_cache_state cached;
	struct pul_user_view view;
	struct p2p_name name;
	unsigned int n = SHOW_CONTACTS, i;
	void *top, *list, *item;
	char hash[9];
	bool local;
	str arg;

	if (rpc->scan(ctx, ".S", &arg) < 1) {
		rpc->fault(ctx, 400, "usage: name");
		return;
	}
	if (!p2p_name_valid(arg.s, (size_t)arg.len)) {
		rpc->fault(ctx, 400, "this is no name: give it as p2p_usrloc.list does");
		return;
	}
	memcpy(name.s, arg.s, (size_t)arg.len);
	name.s[arg.len] = '\0';
	name.len = (size_t)arg.len;
	contacts = pkg_malloc(SHOW_CONTACTS * sizeof(*contacts));
	if (contacts == NULL) {
		rpc->fault(ctx, 500, "no memory");
		return;
	}
	local = pul_users_show(&name, &view, contacts, &n) == 0;
	cached = pul_cache_get(pul_routes, name.s, name.len, &set);
	if (!local && cached == P2P_CACHE_MISS) {
		rpc->fault(ctx, 404, "neither registered here nor in the cache");
		goto out;
	}
	if (rpc->add(ctx, "{", &top) < 0)
		goto out;
	rpc->struct_add(top, "ss[", "name", name.s, "state",
			local ? (char *)user_state(&view) : "not served here", "contacts", &list);
	for (i = 0; local && i < n && i < SHOW_CONTACTS; i++) {
		if (rpc->array_add(list, "{", &item) < 0)
			break;
		snprintf(hash, sizeof(hash), "%08x", contacts[i].instance);
		rpc->struct_add(item, "SSSs", "table", &contacts[i].table, "aor", &contacts[i].aor,
				"ruid", &contacts[i].ruid, "instance",
				contacts[i].instance != 0 ? hash : "none");
	}
	show_candidates(rpc, top, &set, cache_state(cached));
out:
	pkg_free(contacts);
}

static void cache_list(rpc_t *rpc, void *ctx, struct pul_cache *cache, bool by_hit)
{
	struct pul_cache_view *view;
	char text[P2P_HIT_TEXT_MAX];
	unsigned int count, n, i;
	uint64_t position;
	void *items, *item;

	if (!page_args(rpc, ctx, &position, &count))
		return;
	view = pkg_malloc(count * sizeof(*view));
	if (view == NULL) {
		rpc->fault(ctx, 500, "no memory");
		return;
	}
	n = pul_cache_page(cache, &position, view, count);
	page_head(rpc, ctx, position, by_hit ? "peers" : "names", &items);
	for (i = 0; items != NULL && i < n; i++) {
		if (rpc->array_add(items, "{", &item) < 0)
			break;
		p2p_hit_print(&view[i].first, text);
		if (!by_hit)
			rpc->struct_add(item, "sd", "name", view[i].key, "peers", (int)view[i].n);
		rpc->struct_add(item, "sddss", "state",
				view[i].state == P2P_CACHE_MISS
					? "expired"
					: (char *)cache_state(view[i].state),
				"age_ms", (int)view[i].age_ms, "valid_ms", (int)view[i].valid_ms,
				"hit", view[i].n > 0 ? text : "", "uri", view[i].first_uri);
	}
	pkg_free(view);
}

static void rpc_cache(rpc_t *rpc, void *ctx)
{
	cache_list(rpc, ctx, pul_routes, false);
}

static void rpc_peers(rpc_t *rpc, void *ctx)
{
	cache_list(rpc, ctx, pul_peers, true);
}

static void rpc_sessions(rpc_t *rpc, void *ctx)
{
	char id[P2P_SESSION_ID_TEXT_MAX], hit[P2P_HIT_TEXT_MAX];
	struct pul_session_view *view;
	const struct p2p_session *s;
	unsigned int count, n, i, at;
	uint64_t position;
	void *items, *item;

	if (!page_args(rpc, ctx, &position, &count))
		return;
	view = pkg_malloc(count * sizeof(*view));
	if (view == NULL) {
		rpc->fault(ctx, 500, "no memory");
		return;
	}
	at = (unsigned int)(position & UINT32_MAX);
	n = pul_sessions_page(&at, view, count);
	page_head(rpc, ctx, at, "sessions", &items);
	for (i = 0; items != NULL && i < n; i++) {
		if (rpc->array_add(items, "{", &item) < 0)
			break;
		s = &view[i].s;
		p2p_session_id_print(&s->id, id);
		p2p_hit_print(&s->hit, hit);
		rpc->struct_add(item, "sssssds", "id", id, "peer", hit, "state",
				view[i].closed ? "closed"
				: s->retiring  ? "retiring"
					       : "open",
				"role", s->initiator ? "initiator" : "responder", "signalling",
				(char *)p2p_signalling_text(s->signalling), "family",
				(int)s->family, "media", (char *)p2p_media_text(s->media));
		rpc->struct_add(item, "ddss", "calls", (int)view[i].calls, "ttl_ms",
				(int)(s->ttl_ms > INT32_MAX ? INT32_MAX : s->ttl_ms), "uri",
				(char *)s->uri, "stream_uri", (char *)s->stream_uri);
	}
	pkg_free(view);
}

static void rpc_cache_flush(rpc_t *rpc, void *ctx)
{
	unsigned int names = pul_cache_flush(pul_routes), peers = pul_cache_flush(pul_peers);
	unsigned int auth = pul_auth_flush();
	void *top;

	if (rpc->add(ctx, "{", &top) < 0)
		return;
	rpc->struct_add(top, "ddd", "names", (int)names, "peers", (int)peers, "auth", (int)auth);
}

static void rpc_sync(rpc_t *rpc, void *ctx)
{
	void *top;

	atomic_store(&pul_shared->resync, 1);
	atomic_store(&pul_shared->rescan, 1);
	pul_wake_soon();
	if (rpc->add(ctx, "{", &top) < 0)
		return;
	rpc->struct_add(top, "dd", "users", atomic_load(&pul_shared->users), "gateway_up",
			atomic_load(&pul_shared->gateway_up));
}

static void rpc_status(rpc_t *rpc, void *ctx)
{
	struct pul_gateway_info info;
	struct pul_rules rules;
	uint64_t now = pul_now_ms(), changed = atomic_load(&pul_shared->gateway_changed_ms);
	bool up = atomic_load(&pul_shared->gateway_up);
	char hit[P2P_HIT_TEXT_MAX] = "";
	void *top;

	pul_info_get(&info);
	if (info.known)
		p2p_hit_print(&info.hit, hit);
	if (rpc->add(ctx, "{", &top) < 0)
		return;
	rpc->struct_add(top, "ssd", "gateway", up ? "connected" : "away", "socket",
			pul_settings.gateway_socket, "since_s", (int)((now - changed) / 1000));
	rpc->struct_add(top, "sssss", "server", info.server, "version", info.version, "hit", hit,
			"overlay", info.overlay, "epoch", info.epoch);
	rpc->struct_add(top, "ss", "error", up ? "" : info.error, "name_format",
			pul_names_have_domain() ? "user@domain" : "user");
	rpc->struct_add(top, "sd", "synced", info.synced_ms != 0 ? "yes" : "no", "orphans",
			(int)info.orphans);
	rpc->struct_add(top, "dddd", "users", atomic_load(&pul_shared->users), "contacts",
			atomic_load(&pul_shared->contacts), "withdrawn",
			atomic_load(&pul_shared->withdrawn), "unpublishable",
			(int)pul_ul_skipped());
	rpc->struct_add(top, "dddd", "publishing", atomic_load(&pul_shared->publishing), "lookups",
			atomic_load(&pul_shared->lookups), "questions",
			atomic_load(&pul_shared->questions), "lookup_connections",
			atomic_load(&pul_shared->connections));
	rpc->struct_add(top, "d", "sessions", (int)pul_sessions_count());
	pul_rules_get(&rules);
	rpc->struct_add(top, "ssd", "realm", rules.known ? rules.realm : "", "digests",
			rules.known ? (char *)p2p_digests_text(rules.digests) : "", "auth_entries",
			(int)pul_auth_count());
}

static void rpc_contacts(rpc_t *rpc, void *ctx)
{
	const struct pul_store_shared *s = pul_store_shared;
	struct pul_file_stats st;
	void *top;

	if (pul_store_file == NULL) {
		rpc->fault(ctx, 404, "no contacts are kept: contacts_file is empty");
		return;
	}
	pul_file_stats(pul_store_file, &st);
	if (rpc->add(ctx, "{", &top) < 0)
		return;
	rpc->struct_add(top, "sddddd", "file", pul_settings.contacts_file, "stored",
			(int)st.records, "stale", atomic_load(&s->stale), "slots_used",
			(int)st.slots_used, "slots", (int)st.slots, "slots_max", (int)st.slots_max);
	rpc->struct_add(top, "dddddddd", "restored", (int)atomic_load(&s->restored),
			"restored_stale", (int)atomic_load(&s->restored_stale), "expired",
			(int)atomic_load(&s->expired), "older", (int)atomic_load(&s->older),
			"skipped", (int)atomic_load(&s->skipped), "damaged",
			(int)(st.damaged + atomic_load(&s->unreadable)), "replaced",
			(int)st.replaced, "restore_ms", (int)atomic_load(&s->restore_ms));
	rpc->struct_add(top, "ddddddd", "written", (int)st.written, "refreshed", (int)st.refreshed,
			"dropped", (int)st.dropped, "not_kept", (int)atomic_load(&s->not_kept),
			"xavp_left", (int)atomic_load(&s->xavp_left), "syncs", (int)st.synced,
			"sync_us", (int)st.sync_us);
}

struct stats_ctx {
	rpc_t *rpc;
	void *top;
};

static void stats_h(const char *name, long value, const char *help, void *arg)
{
	struct stats_ctx *c = arg;

	(void)help;
	c->rpc->struct_add(c->top, "d", (char *)name, (int)value);
}

static void rpc_stats(rpc_t *rpc, void *ctx)
{
	struct stats_ctx c = {.rpc = rpc};

	if (rpc->add(ctx, "{", &c.top) < 0)
		return;
	pul_stats_each(stats_h, &c);
}

static const char *contacts_doc[] = {
	"The file of contacts: what is in it, and what came back of it at the start. No "
	"parameters.",
	0};
static const char *list_doc[] = {
	"Users registered here and what the gateway knows of them. Parameters: [cursor [count]]; "
	"go on with `next` until it is 0.",
	0};
static const char *show_doc[] = {
	"One name: its contacts here, and the peers that serve it as the cache has them. "
	"Parameters: name.",
	0};
static const char *stats_doc[] = {"All counters of the module.", 0};
static const char *cache_doc[] = {
	"Names in the cache of remote records. Parameters: [cursor [count]]; go on with `next` "
	"until it is 0.",
	0};
static const char *peers_doc[] = {
	"Peers in the cache of peer records. Parameters: [cursor [count]]; go on with `next` until "
	"it is 0.",
	0};
static const char *sessions_doc[] = {
	"Sessions with other peers: how SIP and media go to each, and how many calls of this "
	"server run over it. Parameters: [cursor [count]]; go on with `next` until it is 0.",
	0};
static const char *flush_doc[] = {"Empty the caches. No parameters.", 0};
static const char *sync_doc[] = {
	"Look through usrloc's contacts and publish all users again. No parameters.", 0};
static const char *status_doc[] = {
	"The connection to the gateway, and how much is under way. No parameters.", 0};

rpc_export_t pul_rpc[] = {
	{"p2p_usrloc.list", rpc_list, list_doc, 0},
	{"p2p_usrloc.show", rpc_show, show_doc, 0},
	{"p2p_usrloc.stats", rpc_stats, stats_doc, 0},
	{"p2p_usrloc.cache", rpc_cache, cache_doc, 0},
	{"p2p_usrloc.peers", rpc_peers, peers_doc, 0},
	{"p2p_usrloc.sessions", rpc_sessions, sessions_doc, 0},
	{"p2p_usrloc.contacts", rpc_contacts, contacts_doc, 0},
	{"p2p_usrloc.cache_flush", rpc_cache_flush, flush_doc, 0},
	{"p2p_usrloc.sync", rpc_sync, sync_doc, 0},
	{"p2p_usrloc.status", rpc_status, status_doc, 0},
	{0, 0, 0, 0},
};
