/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The modules' commands about sessions with other peers: SESSION, SESSIONS, PEERSESSION, USED and
 * REFUSED. */
#include "config.h"
#include "dht-gateway/gateway_resp_impl.h"
#include <errno.h>
#include <openssl/crypto.h>
#include "lib/base/bytes.h"

/* Of S in docs/resp.md; readers take more. */
#define SESSION_ELEMENTS 12
/* Sessions in one answer of SESSIONS; readers take more elements than that. */
#define SESSIONS_PAGE 256

void gw_resp_reply_session(struct resp_request *req, const struct p2p_session *s, bool retiring)
{
	char id[P2P_SESSION_ID_TEXT_MAX], hit[P2P_HIT_TEXT_MAX];
	char key[2 * P2P_SESSION_KEY_LEN + 1];

	p2p_session_id_print(&s->id, id);
	p2p_hit_print(&s->hit, hit);
	resp_reply_array(req, SESSION_ELEMENTS);
	resp_reply_str(req, id);
	resp_reply_str(req, hit);
	resp_reply_str(req, s->initiator ? "initiator" : "responder");
	resp_reply_u64(req, s->ttl_ms);
	p2p_hex_print(key, s->key_out, sizeof(s->key_out));
	resp_reply_str(req, key);
	p2p_hex_print(key, s->key_in, sizeof(s->key_in));
	resp_reply_str(req, key);
	OPENSSL_cleanse(key, sizeof(key));
	resp_reply_str(req, p2p_signalling_text(s->signalling));
	resp_reply_u64(req, s->family);
	resp_reply_str(req, p2p_media_text(s->media));
	resp_reply_str(req, s->uri);
	resp_reply_str(req, s->stream_uri);
	resp_reply_u64(req, retiring);
}

static bool arg_session(struct resp_request *req, const struct resp_arg *a,
			struct p2p_session_id *id)
{
	if (!p2p_session_id_parse(id, a->s, a->len))
		return true;
	resp_reply_error(req, "BADARG", "a session's id is 32 hexadecimal digits in lower case");
	return false;
}

static void reply_unknown(struct resp_request *req)
{
	resp_reply_error(req, "NOTFOUND", "no such session is open");
}

/* SESSION id */
void gw_resp_on_session(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;
	struct p2p_session_id id;
	struct p2p_session s;
	bool retiring;

	(void)argc;
	if (!arg_session(req, &argv[1], &id))
		return;
	if (gw_session_find(r->gw->sessions, &id, &s, &retiring))
		reply_unknown(req);
	else
		gw_resp_reply_session(req, &s, retiring);
	OPENSSL_cleanse(&s, sizeof(s));
}

struct session_ids {
	size_t n;
	struct p2p_session_id id[SESSIONS_PAGE];
};

static void gather_id(const struct p2p_sessions_entry *e, void *arg)
{
	struct session_ids *ids = arg;

	if (e->state != P2P_SESSION_OPENING && ids->n < SESSIONS_PAGE)
		ids->id[ids->n++] = e->s.id;
}

/* SESSIONS [cursor] */
void gw_resp_on_session_ids(struct resp_request *req, int argc, const struct resp_arg *argv,
			    void *arg)
{
	struct gw_resp *r = arg;
	struct session_ids ids = {0};
	char id[P2P_SESSION_ID_TEXT_MAX];
	uint64_t cursor = 0;

	if (argc > 1 && p2p_u64_parse(&cursor, argv[1].s, argv[1].len)) {
		resp_reply_error(req, "BADARG",
				 "the cursor is the number that the last answer began with");
		return;
	}
	gw_sessions_scan(r->gw->sessions, &cursor, SESSIONS_PAGE, gather_id, &ids);
	resp_reply_array(req, 1 + ids.n);
	resp_reply_u64(req, cursor);
	for (size_t i = 0; i < ids.n; i++) {
		p2p_session_id_print(&ids.id[i], id);
		resp_reply_str(req, id);
	}
}

static void on_peer_session(int err, const struct gw_session_answer *a, void *arg)
{
	struct resp_request *req = arg;

	if (err == ENOENT)
		resp_reply_error(req, "NOTFOUND",
				 "two completed searches found no record of this peer");
	else if (err == EBUSY)
		resp_reply_error(req, "BUSY", "too many requests");
	else if (err)
		resp_reply_error(req, "TIMEOUT", "no search was completed in time");
	else if (a->outcome == GW_SESSION_OPEN)
		gw_resp_reply_session(req, &a->session, false);
	else if (a->outcome == GW_SESSION_UNCOMMON)
		resp_reply_error(req, "NOCOMMON", "%s %s",
				 a->uncommon == P2P_UNCOMMON_MEDIA ? "media" : "signalling",
				 a->text);
	else if (a->outcome == GW_SESSION_NONE)
		resp_reply_error(req, "UNREACHABLE", "this peer has no gateway to talk to");
	else if (a->outcome == GW_SESSION_REFUSED)
		resp_reply_error(req, "DENIED", "%s", a->text);
	else
		resp_reply_error(req, "UNREACHABLE", "%s", a->text);
}

/* PEERSESSION hit deadline_ms */
void gw_resp_on_peersession(struct resp_request *req, int argc, const struct resp_arg *argv,
			    void *arg)
{
	struct gw_resp *r = arg;
	struct p2p_hit hit;
	uint64_t ms;

	(void)argc;
	if (gw_resp_arg_hit(req, &argv[1], &hit) && gw_resp_arg_deadline(req, &argv[2], &ms))
		gw_session_peer(r->gw->sessions, &hit, ms, on_peer_session, req);
}

/* USED id calls */
void gw_resp_on_used(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;
	struct p2p_session_id id;
	uint64_t calls;

	(void)argc;
	if (!arg_session(req, &argv[1], &id) || !gw_resp_arg_u64(req, &argv[2], "calls", &calls))
		return;
	if (calls > P2P_OPP_CALLS_MAX) {
		resp_reply_error(req, "BADARG", "calls is within 0 to %d", P2P_OPP_CALLS_MAX);
		return;
	}
	if (gw_session_used(r->gw->sessions, &id, gw_resp_kamailio(req), (uint32_t)calls))
		reply_unknown(req);
	else
		resp_reply_ok(req);
}

/* REFUSED id */
void gw_resp_on_refused(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;
	struct p2p_session_id id;

	(void)argc;
	if (!arg_session(req, &argv[1], &id))
		return;
	/* gone already: that was wanted */
	gw_session_refused(r->gw->sessions, &id);
	resp_reply_ok(req);
}
