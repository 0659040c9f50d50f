/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The modules' commands that search: ROUTE, PEER and AUTH. */
#include "config.h"
#include "dht-gateway/gateway_resp_impl.h"
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include "dht-gateway/enrol/gateway_auth.h"
#include "dht-gateway/location/gateway_route.h"
#include "dht-gateway/members/gateway_peers.h"
#include "lib/base/bytes.h"

/* A session, or why there is none. */
static void reply_answer(struct resp_request *req, const struct gw_session_answer *a)
{
	char text[GW_SESSION_TEXT_MAX + 32];
	const char *why;

	switch (a->outcome) {
	case GW_SESSION_OPEN:
		gw_resp_reply_session(req, &a->session, false);
		return;
	case GW_SESSION_NONE:
		resp_reply_str(req, "");
		return;
	case GW_SESSION_UNCOMMON:
		why = a->uncommon == P2P_UNCOMMON_MEDIA ? "nocommon-media" : "nocommon-signalling";
		break;
	case GW_SESSION_REFUSED:
		why = "refused";
		break;
	default:
		why = "unreachable";
	}
	snprintf(text, sizeof(text), "%s %s", why, a->text);
	resp_reply_str(req, text);
}

/* [hit, order, ttl_ms, flags, session, n_uris, uri..., instance-hash...] */
static void reply_candidate(struct resp_request *req, const struct p2p_candidate *c,
			    const struct gw_session_answer *a)
{
	char hit[P2P_HIT_TEXT_MAX], hex[9];

	p2p_hit_print(&c->hit, hit);
	resp_reply_array(req, 6u + c->n_uris + c->n_instances);
	resp_reply_str(req, hit);
	resp_reply_u64(req, c->order);
	resp_reply_u64(req, c->ttl_ms);
	resp_reply_u64(req, c->flags);
	reply_answer(req, a);
	resp_reply_u64(req, c->n_uris);
	for (unsigned int i = 0; i < c->n_uris; i++)
		resp_reply_str(req, c->uri[i]);
	for (unsigned int i = 0; i < c->n_instances; i++) {
		uint8_t raw[4];

		p2p_put_be32(raw, c->instance[i]);
		p2p_hex_print(hex, raw, sizeof(raw));
		resp_reply_str(req, hex);
	}
}

static void on_routed(int err, const struct p2p_candidate_set *cands,
		      const struct gw_session_answer *sessions, void *arg)
{
	struct resp_request *req = arg;

	switch (err) {
	case 0:
		resp_reply_array(req, cands->n);
		for (unsigned int i = 0; i < cands->n; i++)
			reply_candidate(req, &cands->c[i], &sessions[i]);
		break;
	case ENOENT:
		resp_reply_error(req, "NOTFOUND", "two completed searches found no other peer");
		break;
	case EBUSY:
		resp_reply_error(req, "BUSY", "too many lookups");
		break;
	default:
		resp_reply_error(req, "TIMEOUT", "no search was completed in time");
	}
}

/* ROUTE name deadline_ms [FRESH] */
void gw_resp_on_route(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;
	uint64_t ms;

	if (!gw_resp_arg_name(req, &argv[1]) || !gw_resp_arg_deadline(req, &argv[2], &ms))
		return;
	if (argc > 3 && strcasecmp(argv[3].s, "FRESH")) {
		resp_reply_error(req, "BADARG", "after the deadline only FRESH");
		return;
	}
	gw_route(r->gw->routes, argv[1].s, argv[1].len, ms, argc > 3, on_routed, req);
}

struct peer_request {
	struct resp_request *req;
	struct gw *gw;
	struct p2p_hit hit;
};

static void on_peer_read(int err, const struct p2p_record *rec, void *arg)
{
	struct peer_request *p = arg;
	struct resp_request *req = p->req;
	struct p2p_candidate c;
	char hit[P2P_HIT_TEXT_MAX];
	uint64_t now = gw_wall(p->gw);

	if (err == ENOENT) {
		resp_reply_error(req, "NOTFOUND",
				 "two completed searches found no record of this peer");
	} else if (err == EBUSY) {
		resp_reply_error(req, "BUSY", "too many requests");
	} else if (err) {
		resp_reply_error(req, "TIMEOUT", "no search was completed in time");
	} else {
		p2p_candidate_from_peer(&c, rec, &p->hit, now);
		p2p_hit_print(&p->hit, hit);
		resp_reply_array(req, 4u + c.n_uris);
		resp_reply_str(req, hit);
		resp_reply_u64(req, rec->epoch);
		resp_reply_u64(req, rec->lease_ms > now ? rec->lease_ms - now : 0);
		resp_reply_u64(req, c.n_uris);
		for (unsigned int i = 0; i < c.n_uris; i++)
			resp_reply_str(req, c.uri[i]);
	}
	free(p);
}

/* PEER hit deadline_ms */
void gw_resp_on_peer(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;
	struct peer_request *p;
	struct p2p_hit hit;
	uint64_t ms;

	(void)argc;
	if (!gw_resp_arg_hit(req, &argv[1], &hit) || !gw_resp_arg_deadline(req, &argv[2], &ms))
		return;
	p = malloc(sizeof(*p));
	if (!p) {
		resp_reply_error(req, "BUSY", "no memory");
		return;
	}
	p->req = req;
	p->gw = r->gw;
	p->hit = hit;
	gw_peers_get(r->gw->peers, &hit, ms, on_peer_read, p);
}

static void reply_ha1(struct resp_request *req, const struct gw_auth_answer *a,
		      enum p2p_digest digest)
{
	char hex[2 * P2P_HA1_SHA256_LEN + 1];
	size_t at, len;

	if (p2p_digests_find(a->digests, digest, &at, &len))
		return;
	p2p_hex_print(hex, a->ha1 + at, len);
	gw_resp_reply_pair(req, p2p_digests_text(digest), hex);
	OPENSSL_cleanse(hex, sizeof(hex));
}

static void on_authed(int err, const struct gw_auth_answer *a, void *arg)
{
	struct resp_request *req = arg;

	switch (err) {
	case 0:
		resp_reply_array(req, a->digests == (P2P_DIGEST_MD5 | P2P_DIGEST_SHA256) ? 6 : 4);
		resp_reply_str(req, a->realm);
		resp_reply_u64(req, a->ttl_ms);
		/* RFC 8760, 2.3: the preferred one first */
		reply_ha1(req, a, P2P_DIGEST_SHA256);
		reply_ha1(req, a, P2P_DIGEST_MD5);
		break;
	case ENOENT:
		resp_reply_error(req, "NOTFOUND", "no such user is enrolled");
		break;
	case EACCES:
		resp_reply_error(req, "DENIED",
				 "the authority does not allow this peer to serve "
				 "the user");
		break;
	case EPERM:
		resp_reply_error(req, "DENIED",
				 "this overlay has no authority: its users are not "
				 "enrolled");
		break;
	case EBUSY:
		resp_reply_error(req, "BUSY", "too many requests");
		break;
	default:
		resp_reply_error(req, "TIMEOUT", "no search was completed in time");
	}
}

/* AUTH name deadline_ms */
void gw_resp_on_auth(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;
	uint64_t ms;

	(void)argc;
	if (gw_resp_arg_name(req, &argv[1]) && gw_resp_arg_deadline(req, &argv[2], &ms))
		gw_auth_user(r->gw->auth, argv[1].s, argv[1].len, ms, on_authed, req);
}
