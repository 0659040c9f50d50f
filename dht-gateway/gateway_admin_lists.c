/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the operator can list: USERS, RECORDS, PEERS and SESSIONS, page by page, and LOOKUP. */
#include "config.h"
#include "dht-gateway/gateway_admin.h"
#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/location/gateway_cache.h"
#include "dht-gateway/location/gateway_lookup.h"
#include "dht-gateway/location/gateway_users.h"
#include "dht-gateway/members/gateway_gossip.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/peers/gateway_session.h"
#include "lib/base/bytes.h"

#define LOOKUP_DEADLINE_MS 5000

/* A page is gathered before it is replied to: the reply begins with what comes last, the cursor. */
struct page {
	size_t n;
	union {
		struct p2p_published_info *user;
		struct record {
			char name[P2P_NAME_MAX + 1];
			uint64_t age_ms;
			struct p2p_userset_entry e;
		} * record;
		struct peer {
			struct gw_peer_info info;
			struct p2p_record rec;
		} * peer;
		struct p2p_sessions_entry *session;
	};
	size_t max;
};

static void reply_head(struct resp_request *req, uint64_t cursor, size_t n)
{
	resp_reply_array(req, 2);
	resp_reply_u64(req, cursor);
	resp_reply_array(req, n);
}

static void pair_uris(struct resp_request *req, unsigned int n,
		      const char (*uri)[P2P_CANDIDATE_URI_MAX])
{
	char text[P2P_CANDIDATE_URIS_MAX * (P2P_CANDIDATE_URI_MAX + 1) + 1];
	struct p2p_text t;

	p2p_text_init(&t, text, sizeof(text));
	for (unsigned int i = 0; i < n; i++)
		p2p_text_add(&t, "%s%s", i ? "," : "", uri[i]);
	gw_pair_str(req, "uris", text);
}

static void pair_instances(struct resp_request *req, const uint32_t *instance, unsigned int n)
{
	char text[9 * P2P_CANDIDATE_INSTANCES_MAX + 1];
	struct p2p_text t;

	p2p_text_init(&t, text, sizeof(text));
	for (unsigned int i = 0; i < n; i++)
		p2p_text_add(&t, "%s%08" PRIx32, i ? "," : "", instance[i]);
	gw_pair_str(req, "instances", text);
}

static void gather_user(const struct p2p_published_info *info, void *arg)
{
	struct page *p = arg;

	if (p->n < p->max)
		p->user[p->n++] = *info;
}

/* USERS */
void gw_admin_users(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw *gw = gw_admin_gw(arg);
	struct page p = {0};
	uint64_t cursor, count;

	if (!gw_args_page(req, argc, argv, &cursor, &count))
		return;
	p.max = count;
	p.user = calloc(count, sizeof(*p.user));
	if (!p.user) {
		resp_reply_error(req, "INTERNAL", "no memory");
		return;
	}
	p2p_published_scan(gw_users_table(gw->users), &cursor, count, gather_user, &p);
	reply_head(req, cursor, p.n);
	for (size_t i = 0; i < p.n; i++) {
		const struct p2p_published_info *u = &p.user[i];

		resp_reply_array(req, 16);
		resp_reply_str(req, "name");
		resp_reply_bulk(req, u->name, u->name_len);
		gw_pair_str(req, "desired", p2p_desired_text(u->desired));
		gw_pair_str(req, "published", p2p_put_state_text(u->put));
		gw_pair_str(req, "changed", u->dirty ? "yes" : "no");
		gw_pair_u64(req, "seq", u->seq);
		gw_pair_u64(req, "order", u->order);
		gw_pair_u64(req, "failures", u->failures);
		pair_instances(req, u->instance, u->n_instances);
	}
	free(p.user);
}

static void gather_record(const struct gw_cache_info *info, void *arg)
{
	struct page *p = arg;

	for (unsigned int i = 0; i < info->n && p->n < p->max; i++) {
		struct record *r = &p->record[p->n++];

		memcpy(r->name, info->name, info->len);
		r->name[info->len] = 0;
		r->age_ms = info->age_ms;
		r->e = info->entry[i];
	}
}

/* RECORDS */
void gw_admin_records(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw *gw = gw_admin_gw(arg);
	struct page p = {0};
	uint64_t cursor, count, now = gw_wall(gw);

	if (!gw_args_page(req, argc, argv, &cursor, &count))
		return;
	/* names with many peers fill it sooner */
	p.max = count * 4;
	p.record = calloc(p.max, sizeof(*p.record));
	if (!p.record) {
		resp_reply_error(req, "INTERNAL", "no memory");
		return;
	}
	gw_cache_scan(gw->cache, &cursor, count, gather_record, &p);
	reply_head(req, cursor, p.n);
	for (size_t i = 0; i < p.n; i++) {
		const struct p2p_userset_entry *e = &p.record[i].e;

		resp_reply_array(req, 16);
		gw_pair_str(req, "name", p.record[i].name);
		gw_pair_hit(req, "peer", &e->hit);
		gw_pair_str(req, "state",
			    e->tombstone	  ? "withdrawn"
			    : e->expiry_ms <= now ? "expired"
						  : "valid");
		gw_pair_u64(req, "order", e->order);
		gw_pair_u64(req, "epoch", e->epoch);
		gw_pair_u64(req, "expires_ms", e->expiry_ms > now ? e->expiry_ms - now : 0);
		gw_pair_u64(req, "age_ms", p.record[i].age_ms);
		pair_uris(req, e->n_uris, e->uri);
	}
	free(p.record);
}

static void gather_peer(const struct gw_peer_info *info, void *arg)
{
	struct page *p = arg;

	if (p->n >= p->max)
		return;
	p->peer[p->n].info = *info;
	if (info->rec)
		p->peer[p->n].rec = *info->rec;
	p->n++;
}

/* PEERS */
void gw_admin_peers(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw *gw = gw_admin_gw(arg);
	struct page p = {0};
	uint64_t cursor, count, now = gw_wall(gw);

	if (!gw_args_page(req, argc, argv, &cursor, &count))
		return;
	p.max = count;
	p.peer = calloc(count, sizeof(*p.peer));
	if (!p.peer) {
		resp_reply_error(req, "INTERNAL", "no memory");
		return;
	}
	gw_peers_scan(gw->peers, &cursor, count, gather_peer, &p);
	reply_head(req, cursor, p.n);
	for (size_t i = 0; i < p.n; i++) {
		const struct gw_peer_info *info = &p.peer[i].info;
		struct p2p_candidate c = {0};
		struct gw_gossip_info member = {.state = "no"};
		struct gw_ask_info ask;

		gw_gossip_info(gw->gossip, &info->hit, &member);
		if (info->known)
			p2p_candidate_from_peer(&c, &p.peer[i].rec, &info->hit, now);
		gw_asks_info(gw->asks, &info->hit, &ask);
		resp_reply_array(req, 26);
		gw_pair_hit(req, "peer", &info->hit);
		gw_pair_str(req, "member", member.state);
		gw_pair_u64(req, "member_since_ms", member.since_ms);
		gw_pair_str(req, "state",
			    !info->known	   ? "unknown"
			    : info->lease_ms > now ? "alive"
						   : "lapsed");
		gw_pair_u64(req, "epoch", info->epoch);
		gw_pair_u64(req, "lease_left_ms", info->lease_ms > now ? info->lease_ms - now : 0);
		gw_pair_u64(req, "age_ms", info->age_ms);
		gw_pair_str(req, "software", info->known ? p.peer[i].rec.software : "");
		gw_pair_str(req, "gateway",
			    !ask.known ? "not asked yet" : p2p_breaker_text(ask.breaker));
		gw_pair_u64(req, "gateway_failures", ask.failures);
		gw_pair_str(req, "gateway_answered", ask.answered ? "yes" : "no");
		gw_pair_u64(req, "gateway_answer_age_ms", ask.answer_age_ms);
		pair_uris(req, c.n_uris, c.uri);
	}
	free(p.peer);
}

static void gather_session(const struct p2p_sessions_entry *e, void *arg)
{
	struct page *p = arg;

	if (p->n < p->max)
		p->session[p->n++] = *e;
}

/* Without the keys. */
void gw_admin_sessions(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw *gw = gw_admin_gw(arg);
	struct page p = {0};
	uint64_t cursor, count, now = gw_mono(gw);

	if (!gw_args_page(req, argc, argv, &cursor, &count))
		return;
	p.max = count;
	p.session = calloc(count, sizeof(*p.session));
	if (!p.session) {
		resp_reply_error(req, "INTERNAL", "no memory");
		return;
	}
	gw_sessions_scan(gw->sessions, &cursor, count, gather_session, &p);
	reply_head(req, cursor, p.n);
	for (size_t i = 0; i < p.n; i++) {
		const struct p2p_sessions_entry *e = &p.session[i];
		bool open = e->state != P2P_SESSION_OPENING;
		char id[P2P_SESSION_ID_TEXT_MAX];

		p2p_session_id_print(&e->s.id, id);
		resp_reply_array(req, 26);
		gw_pair_str(req, "id", id);
		gw_pair_hit(req, "peer", &e->s.hit);
		gw_pair_str(req, "role", e->s.initiator ? "initiator" : "responder");
		gw_pair_str(req, "state",
			    e->retiring ? "retiring" : p2p_session_state_text(e->state));
		gw_pair_str(req, "signalling", open ? p2p_signalling_text(e->s.signalling) : "");
		gw_pair_str(req, "family", open ? p2p_family_text(e->s.family) : "");
		gw_pair_str(req, "media", open ? p2p_media_text(e->s.media) : "");
		gw_pair_u64(req, "calls", e->calls);
		gw_pair_u64(req, "their_calls", e->their_calls);
		gw_pair_u64(req, "ttl_ms", open && e->expires_ms > now ? e->expires_ms - now : 0);
		gw_pair_u64(req, "age_ms", now - e->opened_ms);
		gw_pair_u64(req, "unused_ms", now - e->used_ms);
		gw_pair_str(req, "uri", e->s.uri);
	}
	OPENSSL_cleanse(p.session, count * sizeof(*p.session));
	free(p.session);
}

static void on_found(int err, const struct p2p_candidate_set *cands, void *arg)
{
	struct resp_request *req = arg;

	if (err) {
		resp_reply_error(req,
				 err == ENOENT	 ? "NOTFOUND"
				 : err == EBUSY	 ? "BUSY"
				 : err == EINVAL ? "BADARG"
						 : "TIMEOUT",
				 "%s",
				 err == ENOENT	 ? "two completed searches found no other peer"
				 : err == EBUSY	 ? "too many lookups"
				 : err == EINVAL ? "no canonical user name"
						 : "no search was completed in time");
		return;
	}
	resp_reply_array(req, cands->n);
	for (unsigned int i = 0; i < cands->n; i++) {
		const struct p2p_candidate *c = &cands->c[i];

		resp_reply_array(req, 10);
		gw_pair_hit(req, "peer", &c->hit);
		gw_pair_str(req, "state", c->flags & P2P_CANDIDATE_LAPSED ? "lapsed" : "usable");
		gw_pair_u64(req, "order", c->order);
		gw_pair_u64(req, "ttl_ms", c->ttl_ms);
		pair_uris(req, c->n_uris, c->uri);
	}
}

/* LOOKUP name: a fresh ROUTE for people */
void gw_admin_lookup(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	(void)argc;
	gw_lookup(gw_admin_gw(arg)->lookups, argv[1].s, argv[1].len, LOOKUP_DEADLINE_MS, true,
		  on_found, req);
}
