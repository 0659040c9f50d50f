/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: the connection on which the gateway tells of changes. It is there only while the main
 * one is. */
#include <string.h>

#include "core/dprint.h"
#include "lib/proto/resp.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_client_priv.h"
#include "modules/p2p_usrloc/p2p_usrloc_confirm.h"
#include "modules/p2p_usrloc/p2p_usrloc_lookup.h"

/* Channels that are subscribed: users, peers, sessions, auth, moves, and one of our own. */
#define SUBSCRIPTIONS 6

/* the client process' own */
static struct pul_conn sub_conn;
static struct pul_backoff backoff;
static unsigned int subscriptions; /* of SUBSCRIPTIONS, that were answered */

static void name_changed(const redisReply *r)
{
	struct p2p_name name;
	bool had;

	if (!p2p_name_valid(r->str, r->len)) {
		pul_count(PUL_CNT_PROTOCOL_ERRORS);
		return;
	}
	name.len = r->len;
	memcpy(name.s, r->str, r->len);
	name.s[r->len] = '\0';
	pul_lookup_outdated(&name);
	had = pul_cache_drop(pul_routes, name.s, name.len, NULL);
	if (pul_users_serves(&name, NULL)) {
		if (!pul_lookup_name(&name))
			pul_users_set_others(&name, true); /* the next call asks */
	} else if (had) {
		pul_lookup_name(&name);
	}
}

static void peer_changed(const redisReply *r)
{
	struct p2p_hit hit;

	if (p2p_hit_parse(&hit, r->str, r->len) != 0) {
		pul_count(PUL_CNT_PROTOCOL_ERRORS);
		return;
	}
	if (pul_cache_drop(pul_peers, &hit, sizeof(hit), NULL))
		pul_lookup_peer(&hit);
}

/* "open id", "change id", "close id", "tls" */
static void session_changed(const redisReply *r)
{
	struct p2p_session_id id;
	const char *space = memchr(r->str, ' ', r->len);
	size_t word = space != NULL ? (size_t)(space - r->str) : 0;

	if (r->len == 3 && memcmp(r->str, "tls", 3) == 0)
		return; /* new certificates: p2p_route looks for them itself */
	if (space == NULL || p2p_session_id_parse(&id, space + 1, r->len - word - 1) != 0) {
		pul_count(PUL_CNT_PROTOCOL_ERRORS);
		return;
	}
	if (word == 5 && memcmp(r->str, "close", 5) == 0)
		pul_sessions_close(&id);
	else
		pul_lookup_session(&id); /* when there is no room for it, its first use asks */
}

static bool word_is(const redisReply *r, size_t len, const char *word)
{
	return len == strlen(word) && memcmp(r->str, word, len) == 0;
}

/* "change name", "gone name", "all", "rules" */
static void auth_changed(const redisReply *r)
{
	const char *space = memchr(r->str, ' ', r->len);
	size_t word = space != NULL ? (size_t)(space - r->str) : r->len;
	struct p2p_name name;
	unsigned int n;

	if (space == NULL) {
		pul_lookup_auth_outdated(NULL);
		pul_auth_flush();
		if (word_is(r, word, "rules"))
			pul_main_ask_rules();
		return;
	}
	name.len = r->len - word - 1;
	if (!p2p_name_valid(space + 1, name.len)) {
		pul_count(PUL_CNT_PROTOCOL_ERRORS);
		return;
	}
	memcpy(name.s, space + 1, name.len);
	name.s[name.len] = '\0';
	pul_lookup_auth_outdated(&name);
	pul_auth_drop(&name);
	if (!word_is(r, word, "gone"))
		return;
	n = pul_ul_expire(&name);
	if (n > 0)
		LM_INFO("[%s] may not be served here any more: %u contacts are over\n", name.s, n);
}

static void push_h(struct pul_conn *conn, const redisReply *r)
{
	(void)conn;
	if (r->elements != 3 || r->element[1]->type != REDIS_REPLY_STRING ||
	    r->element[2]->type != REDIS_REPLY_STRING) {
		pul_count(PUL_CNT_PROTOCOL_ERRORS);
		return;
	}
	pul_count(PUL_CNT_NOTIFIED);
	if (strcmp(r->element[1]->str, "users") == 0)
		name_changed(r->element[2]);
	else if (strcmp(r->element[1]->str, "peers") == 0)
		peer_changed(r->element[2]);
	else if (strcmp(r->element[1]->str, "sessions") == 0)
		session_changed(r->element[2]);
	else if (strcmp(r->element[1]->str, "auth") == 0)
		auth_changed(r->element[2]);
	else if (strcmp(r->element[1]->str, "moves") == 0)
		pul_moves_push(r->element[2]->str, r->element[2]->len);
	else if (strcmp(r->element[1]->str, pul_confirm_channel()) == 0)
		pul_confirm_push(r->element[2]->str, r->element[2]->len);
}

static void subscribed_h(struct pul_conn *conn, const redisReply *r, void *arg)
{
	(void)arg;
	if (r == NULL)
		return;
	if (r->type != REDIS_REPLY_ARRAY) {
		pul_conn_doom(conn, "SUBSCRIBE: %.*s", r->str != NULL ? (int)r->len : 0,
			      r->str != NULL ? r->str : "");
		return;
	}
	/* what happened while nobody was told: what is cached has to be asked again */
	atomic_fetch_add(&pul_shared->cache_gen, 1);
	if (++subscriptions == SUBSCRIPTIONS) {
		pul_sessions_recheck_all();
		pul_client_ids_ask();
		pul_lookup_auth_outdated(NULL);
		pul_auth_flush();
		pul_main_ask_rules();
		pul_confirm_subscribed();
	}
	conn->state = PUL_CONN_READY;
	backoff.up_ms = pul_now_ms();
}

static void handshake_h(struct pul_conn *conn, const redisReply *r, void *arg)
{
	static const char users[] = "*2\r\n$9\r\nSUBSCRIBE\r\n$5\r\nusers\r\n";
	static const char peers[] = "*2\r\n$9\r\nSUBSCRIBE\r\n$5\r\npeers\r\n";
	static const char sessions[] = "*2\r\n$9\r\nSUBSCRIBE\r\n$8\r\nsessions\r\n";
	static const char auth[] = "*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\nauth\r\n";
	uint64_t deadline = pul_now_ms() + (uint64_t)pul_settings.gateway_timeout_ms;
	static const char moves[] = "*2\r\n$9\r\nSUBSCRIBE\r\n$5\r\nmoves\r\n";
	uint8_t confirms[128];
	struct p2p_writer w;

	(void)arg;
	if (r == NULL)
		return;
	p2p_writer_init(&w, confirms, sizeof(confirms));
	p2p_resp_array(&w, 2);
	p2p_resp_str(&w, "SUBSCRIBE");
	p2p_resp_str(&w, pul_confirm_channel());
	subscriptions = 0;
	if (r->type != REDIS_REPLY_ARRAY ||
	    pul_conn_send(conn, users, sizeof(users) - 1, deadline, subscribed_h, NULL) != 0 ||
	    pul_conn_send(conn, peers, sizeof(peers) - 1, deadline, subscribed_h, NULL) != 0 ||
	    pul_conn_send(conn, sessions, sizeof(sessions) - 1, deadline, subscribed_h, NULL) !=
		    0 ||
	    pul_conn_send(conn, auth, sizeof(auth) - 1, deadline, subscribed_h, NULL) != 0 ||
	    pul_conn_send(conn, moves, sizeof(moves) - 1, deadline, subscribed_h, NULL) != 0 ||
	    pul_conn_send(conn, confirms, w.len, deadline, subscribed_h, NULL) != 0)
		pul_conn_doom(conn, "handshake refused");
}

void pul_sub_run(uint64_t now)
{
	uint64_t deadline = now + (uint64_t)pul_settings.gateway_timeout_ms;

	if (sub_conn.state == PUL_CONN_CLOSED) {
		if (!pul_main_connected() || now < backoff.next_ms)
			return;
		if (pul_conn_open(&sub_conn, pul_settings.gateway_socket) != 0)
			pul_backoff_next(&backoff, now);
		else if (pul_client_shake(&sub_conn, deadline, NULL, handshake_h) != 0)
			pul_conn_doom(&sub_conn, "no memory");
	} else if (now > pul_conn_due(&sub_conn)) {
		pul_conn_doom(&sub_conn, "no answer in time");
	}
}

void pul_sub_init(void)
{
	pul_conn_init(&sub_conn);
	sub_conn.push = push_h;
}

struct pul_conn *pul_sub_conn(void)
{
	return &sub_conn;
}

void pul_sub_wanted(void)
{
	backoff.next_ms = pul_now_ms();
}

void pul_sub_lost(void)
{
	pul_conn_doom(&sub_conn, "gateway lost");
	if (pul_conn_reap(&sub_conn))
		pul_backoff_next(&backoff, pul_now_ms());
}

void pul_sub_reap(void)
{
	if (!pul_conn_reap(&sub_conn))
		return;
	LM_DBG("subscription: %s\n", sub_conn.why);
	/* nobody tells of changes now: nothing cached is fresh */
	atomic_fetch_add(&pul_shared->cache_gen, 1);
	pul_backoff_next(&backoff, pul_now_ms());
}

uint64_t pul_sub_due(void)
{
	if (!pul_main_connected())
		return UINT64_MAX;
	if (sub_conn.state == PUL_CONN_CLOSED)
		return backoff.next_ms;
	return sub_conn.owed > 0 ? pul_conn_due(&sub_conn) + 1 : UINT64_MAX;
}
