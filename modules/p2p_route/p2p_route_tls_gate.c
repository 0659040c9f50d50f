// SPDX-License-Identifier: GPL-2.0-or-later
/* What may be sent over which connection, and what has to wait.
 *
 * Kamailio looks for a connection by address, in many places: tm for a branch, a CANCEL, an ACK, a
 * reply; the core for an ACK to a 200. All of them end in one, where clear text is handed to the
 * tls module to be encrypted (tls_hook.encode, on which this module puts itself). There the
 * connection is known. What goes to a peer's TLS address over a connection that is not proven is
 * kept in a queue of that peer, as the tls module itself keeps what is to be sent while a handshake
 * goes on, and sent when the proof is there; without it, it is thrown away. */
#include "core/forward.h"
#include "core/mem/shm_mem.h"
#include "core/tcp_conn.h"
#include "core/timer_ticks.h"
#include "core/tls_hooks.h"
#include "p2p_route_tls.h"

#define HELD_BYTES_MAX (4u << 20) /* of all peers */

static bool asking; /* this process, now */
/* What the tls module has not taken of a message yet, it will be given again, for the same
 * connection. */
static const char *rest_of;
static int rest_con;
static int (*encode)(struct tcp_connection *c, const char **pbuf, unsigned int *plen,
		     const char **rest_buf, unsigned int *rest_len, snd_flags_t *send_flags);

void route_tls_asking(bool now)
{
	asking = now;
}

/* --- connections ---------------------------------------------------------------------------- */

bool route_tls_con_stands(int id)
{
	struct tcp_connection *c = tcpconn_get(id, NULL, 0, NULL, 0);

	if (c == NULL)
		return false;
	tcpconn_put(c);
	return true;
}

/* Nobody finds it any more, and its reader closes it. */
void route_tls_con_close(int id)
{
	struct tcp_connection *c = tcpconn_get(id, NULL, 0, NULL, 0);

	if (c == NULL)
		return;
	c->state = S_CONN_BAD;
	c->timeout = get_ticks_raw();
	tcpconn_put(c);
}

void route_tls_held_free(struct tls_held *m)
{
	struct tls_held *next;

	for (; m != NULL; m = next) {
		next = m->next;
		atomic_fetch_sub(&route_tls->held_bytes, m->len);
		shm_free(m);
	}
}

void route_tls_held_drop(struct tls_held *m)
{
	struct tls_held *i;

	for (i = m; i != NULL; i = i->next)
		route_count(ROUTE_CNT_TLS_DROPPED);
	route_tls_held_free(m);
}

/* Over this connection and no other: without a port there is nothing else to look for. */
static int con_send(int con, const char *text, unsigned int len)
{
	struct dest_info dst;

	init_dest_info(&dst);
	dst.proto = PROTO_TLS;
	dst.id = con;
	dst.to.s.sa_family = AF_INET;
	dst.send_flags.f = SND_F_FORCE_CON_REUSE;
	return msg_send_buffer(&dst, (char *)text, (int)len, 1);
}

/* What could not be sent waits for another proof, once. */
void route_tls_held_send(const struct p2p_hit *hit, struct tls_held *m, int con)
{
	struct tls_held *next;
	struct tls_peer *p;
	bool kept;

	for (; m != NULL; m = next) {
		next = m->next;
		kept = false;
		if (con_send(con, m->text, m->len) >= 0) {
			; /* gone */
		} else if (m->again) {
			route_count(ROUTE_CNT_TLS_DROPPED);
		} else {
			m->again = true;
			lock_get(&route_tls->lock);
			p = tls_table_find(&route_tls->table, hit);
			kept = p != NULL && tls_peer_hold(p, m);
			if (kept)
				tls_table_want(&route_tls->table, p);
			lock_release(&route_tls->lock);
			route_tls_wake();
			if (!kept)
				route_count(ROUTE_CNT_TLS_DROPPED);
		}
		if (!kept) {
			m->next = NULL;
			route_tls_held_free(m);
		}
	}
}

/* --- the gate ------------------------------------------------------------------------------- */

/* Whose session has the request been signed for? */
static bool meant_for(const char *text, unsigned int len, struct p2p_hit *hit)
{
	static const char name[] = "\r\n" ROUTE_HEADER ":";
	const char *at = memmem(text, len, name, sizeof(name) - 1), *end;
	struct p2p_session session;
	struct route_header h;

	if (at == NULL)
		return false;
	at += sizeof(name) - 1;
	while (at < text + len && *at == ' ')
		at++;
	end = memchr(at, '\r', len - (size_t)(at - text));
	if (end == NULL)
		return false;
	memset(&h, 0, sizeof(h));
	route_header_parse(&h, at, (size_t)(end - at));
	if (!h.is_signed || route_ul.session_by_id(&h.session, &session) < 0)
		return false;
	*hit = session.hit;
	memset(&session, 0, sizeof(session));
	return true;
}

static enum tls_verdict judge(struct tcp_connection *c, const char *text, unsigned int len,
			      struct tls_address *addr, struct p2p_hit *hit)
{
	enum tls_verdict verdict;
	struct tls_peer *p;

	if (asking || atomic_load(&route_tls->n) == 0 ||
	    !route_tls_address(addr, &c->rcv.src_ip, c->rcv.src_port))
		return TLS_PASS;
	lock_get(&route_tls->lock);
	verdict = tls_table_gate(&route_tls->table, addr, c->id, NULL, route_tls_now(), &p);
	if (p != NULL)
		*hit = p->hit;
	lock_release(&route_tls->lock);
	if (verdict != TLS_WHOSE)
		return verdict;
	if (!meant_for(text, len, hit))
		return TLS_WHOSE; /* a CANCEL, say */
	lock_get(&route_tls->lock);
	verdict = tls_table_gate(&route_tls->table, addr, c->id, hit, route_tls_now(), &p);
	lock_release(&route_tls->lock);
	return verdict == TLS_REFUSE ? TLS_WHOSE : verdict; /* the connection may be another's */
}

/* The state may have changed since it was judged; then the one who asks finds that out. */
static bool keep(const struct p2p_hit *hit, const char *text, unsigned int len)
{
	struct tls_held *m;
	struct tls_peer *p;
	bool kept = false, first = false;

	if (atomic_load(&route_tls->held_bytes) + len > HELD_BYTES_MAX)
		return false;
	m = shm_malloc(sizeof(*m) + len);
	if (m == NULL) {
		SHM_MEM_ERROR;
		return false;
	}
	atomic_fetch_add(&route_tls->held_bytes, len);
	m->next = NULL;
	m->again = false;
	m->len = len;
	memcpy(m->text, text, len);
	lock_get(&route_tls->lock);
	p = tls_table_find(&route_tls->table, hit);
	if (p != NULL && tls_peer_hold(p, m)) {
		kept = true;
		first = p->state != TLS_PROVING && tls_table_want(&route_tls->table, p);
	}
	lock_release(&route_tls->lock);
	if (!kept)
		route_tls_held_free(m);
	if (first)
		route_tls_wake();
	return kept;
}

static int gate(struct tcp_connection *c, const char **pbuf, unsigned int *plen,
		const char **rest_buf, unsigned int *rest_len, snd_flags_t *send_flags)
{
	enum tls_verdict verdict = TLS_PASS;
	struct tls_address addr;
	struct p2p_hit hit;
	int n;

	if (*pbuf != rest_of || c->id != rest_con)
		verdict = judge(c, *pbuf, *plen, &addr, &hit);
	rest_of = NULL;
	if (verdict == TLS_PASS) {
		n = encode(c, pbuf, plen, rest_buf, rest_len, send_flags);
		if (n >= 0 && *rest_len > 0) {
			rest_of = *rest_buf;
			rest_con = c->id;
		}
		return n;
	}
	if (verdict == TLS_HOLD && keep(&hit, *pbuf, *plen))
		route_count(ROUTE_CNT_TLS_HELD);
	else
		route_count(ROUTE_CNT_TLS_DROPPED);
	*rest_buf = NULL;
	*rest_len = *plen = 0;
	send_flags->f &= (unsigned short)~SND_F_CON_CLOSE;
	return verdict == TLS_REFUSE ? -1 : 0;
}

int route_tls_gate_open(void)
{
	if (tls_hook.encode == NULL) {
		LM_ERR("the tls module has no way to encrypt\n");
		return -1;
	}
	encode = tls_hook.encode;
	tls_hook.encode = gate;
	return 0;
}

void route_tls_gate_remove(void)
{
	tls_hook.encode = encode;
}
