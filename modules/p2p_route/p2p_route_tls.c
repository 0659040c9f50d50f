// SPDX-License-Identifier: GPL-2.0-or-later
/* SIP over TLS between peers: nothing is sent to a peer but over a connection that was proven to be
 * its own (p2p_route_tls_table.h).
 *
 * Kamailio looks for a connection by address, in many places: tm for a branch, a CANCEL, an ACK, a
 * reply; the core for an ACK to a 200. All of them end in one, where clear text is handed to the
 * tls module to be encrypted (tls_hook.encode, on which this module puts itself). There the
 * connection is known. What goes to a peer's TLS address over a connection that is not proven is
 * kept in a queue of that peer, as the tls module itself keeps what is to be sent while a handshake
 * goes on, and sent when the proof is there; without it, it is thrown away.
 *
 * One lock. It is taken with a connection's write_lock held; nothing is called with it held. */
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "core/forward.h"
#include "core/locking.h"
#include "core/mem/shm_mem.h"
#include "core/parser/parse_uri.h"
#include "core/resolve.h"
#include "core/tcp_conn.h"
#include "core/timer_ticks.h"
#include "core/tls_hooks.h"
#include "p2p_route_tls.h"

/* How much sooner than the branch that waits for it a proof has to come. */
#define PROOF_EARLIER_MS 250
#define HELD_BYTES_MAX (4u << 20) /* of all peers */

static struct tls {	 /* shm */
	gen_lock_t lock; /* guards the table, and all that is held */
	atomic_uint n;	 /* peers in it: none, and nobody needs the lock */
	atomic_uint held_bytes;
	atomic_bool woken;
	struct tls_table table;
} * tls;

static int wake_fd = -1;
static bool asking; /* this process, now */
/* What the tls module has not taken of a message yet, it will be given again. */
static const char *rest_of;
static int (*encode)(struct tcp_connection *c, const char **pbuf, unsigned int *plen,
		     const char **rest_buf, unsigned int *rest_len, snd_flags_t *send_flags);

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* --- waking the process that asks ----------------------------------------------------------- */

static void wake(void)
{
	uint64_t one = 1;

	if (!atomic_exchange(&tls->woken, true) && write(wake_fd, &one, sizeof(one)) < 0)
		LM_DBG("eventfd: %s\n", strerror(errno));
}

int route_tls_wake_fd(void)
{
	return wake_fd;
}

void route_tls_woken(void)
{
	uint64_t n;

	atomic_store(&tls->woken, false);
	if (read(wake_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		LM_DBG("eventfd: %s\n", strerror(errno));
}

void route_tls_asking(bool now)
{
	asking = now;
}

/* --- addresses ------------------------------------------------------------------------------ */

static bool address_from_ip(struct tls_address *a, const struct ip_addr *ip, unsigned short port)
{
	if (ip->len != 4 && ip->len != 16)
		return false;
	memset(a, 0, sizeof(*a));
	memcpy(a->ip, ip->u.addr, ip->len);
	a->len = (uint8_t)ip->len;
	a->port = port;
	return true;
}

static bool address_from_uri(struct tls_address *a, const char *text)
{
	char copy[P2P_CANDIDATE_URI_MAX];
	struct sip_uri uri;
	struct ip_addr *ip;

	snprintf(copy, sizeof(copy), "%s", text);
	if (parse_uri(copy, (int)strlen(copy), &uri) < 0)
		return false;
	ip = str2ip(&uri.host);
	if (ip == NULL)
		ip = str2ip6(&uri.host);
	return ip != NULL && address_from_ip(a, ip, uri.port_no != 0 ? uri.port_no : SIPS_PORT);
}

/* --- connections ---------------------------------------------------------------------------- */

static bool con_stands(int id)
{
	struct tcp_connection *c = tcpconn_get(id, NULL, 0, NULL, 0);

	if (c == NULL)
		return false;
	tcpconn_put(c);
	return true;
}

/* Nobody finds it any more, and its reader closes it. */
static void con_close(int id)
{
	struct tcp_connection *c = tcpconn_get(id, NULL, 0, NULL, 0);

	if (c == NULL)
		return;
	c->state = S_CONN_BAD;
	c->timeout = get_ticks_raw();
	tcpconn_put(c);
}

static void held_free(struct tls_held *m)
{
	struct tls_held *next;

	for (; m != NULL; m = next) {
		next = m->next;
		atomic_fetch_sub(&tls->held_bytes, m->len);
		shm_free(m);
	}
}

static void held_drop(struct tls_held *m)
{
	struct tls_held *i;

	for (i = m; i != NULL; i = i->next)
		route_count(ROUTE_CNT_TLS_DROPPED);
	held_free(m);
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
static void held_send(const struct p2p_hit *hit, struct tls_held *m, int con)
{
	struct tls_held *next;
	struct tls_peer *p;
	bool kept;

	for (; m != NULL; m = next) {
		next = m->next;
		kept = false;
		if (con_send(con, m->text, m->len) < 0 && !m->again) {
			m->again = true;
			lock_get(&tls->lock);
			p = tls_table_find(&tls->table, hit);
			kept = p != NULL && tls_peer_hold(p, m);
			if (kept)
				tls_table_want(&tls->table, p);
			lock_release(&tls->lock);
			wake();
		}
		if (!kept) {
			m->next = NULL;
			held_free(m);
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

	if (asking || atomic_load(&tls->n) == 0 ||
	    !address_from_ip(addr, &c->rcv.src_ip, c->rcv.src_port))
		return TLS_PASS;
	lock_get(&tls->lock);
	verdict = tls_table_gate(&tls->table, addr, c->id, NULL, now_ms(), &p);
	if (p != NULL)
		*hit = p->hit;
	lock_release(&tls->lock);
	if (verdict != TLS_WHOSE)
		return verdict;
	if (!meant_for(text, len, hit))
		return TLS_WHOSE; /* a CANCEL, say */
	lock_get(&tls->lock);
	verdict = tls_table_gate(&tls->table, addr, c->id, hit, now_ms(), &p);
	lock_release(&tls->lock);
	return verdict == TLS_REFUSE ? TLS_WHOSE : verdict; /* the connection may be another's */
}

/* The state may have changed since it was judged; then the one who asks finds that out. */
static bool keep(const struct p2p_hit *hit, const char *text, unsigned int len)
{
	struct tls_held *m;
	struct tls_peer *p;
	bool kept = false, first = false;

	if (atomic_load(&tls->held_bytes) + len > HELD_BYTES_MAX)
		return false;
	m = shm_malloc(sizeof(*m) + len);
	if (m == NULL) {
		SHM_MEM_ERROR;
		return false;
	}
	atomic_fetch_add(&tls->held_bytes, len);
	m->next = NULL;
	m->again = false;
	m->len = len;
	memcpy(m->text, text, len);
	lock_get(&tls->lock);
	p = tls_table_find(&tls->table, hit);
	if (p != NULL && tls_peer_hold(p, m)) {
		kept = true;
		first = p->state != TLS_PROVING && tls_table_want(&tls->table, p);
	}
	lock_release(&tls->lock);
	if (!kept)
		held_free(m);
	if (first)
		wake();
	return kept;
}

static int gate(struct tcp_connection *c, const char **pbuf, unsigned int *plen,
		const char **rest_buf, unsigned int *rest_len, snd_flags_t *send_flags)
{
	enum tls_verdict verdict = TLS_PASS;
	struct tls_address addr;
	struct p2p_hit hit;
	int n;

	if (*pbuf != rest_of)
		verdict = judge(c, *pbuf, *plen, &addr, &hit);
	rest_of = NULL;
	if (verdict == TLS_PASS) {
		n = encode(c, pbuf, plen, rest_buf, rest_len, send_flags);
		if (n >= 0 && *rest_len > 0)
			rest_of = *rest_buf;
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

/* --- for who sends -------------------------------------------------------------------------- */

static bool log_ok(const struct p2p_hit *hit)
{
	uint8_t source[3 + P2P_HIT_LEN] = "tls";

	memcpy(source + 3, hit, P2P_HIT_LEN);
	return route_ul.log_ok(source, sizeof(source));
}

bool route_tls_on(void)
{
	return tls != NULL;
}

int route_tls_use(const struct p2p_session *session)
{
	struct tls_address addr;
	uint64_t now = now_ms();
	struct tls_peer *p;
	bool todo = false;
	int rc = -2;

	if (tls == NULL || !address_from_uri(&addr, session->uri)) {
		if (log_ok(&session->hit))
			LM_ERR("a session says TLS to %s: there is no such address, or no tls "
			       "module and socket here\n",
			       session->uri);
		return -2;
	}
	lock_get(&tls->lock);
	p = tls_table_get(&tls->table, &session->hit, &addr, session->uri, now);
	if (p != NULL) {
		rc = p->state == TLS_REFUSED && now < p->since_ms ? -1 : 0;
		if (rc == 0 && (p->state == TLS_UNPROVEN || p->state == TLS_REFUSED))
			todo = tls_table_want(&tls->table, p);
	}
	atomic_store(&tls->n, (unsigned int)tls->table.n);
	lock_release(&tls->lock);
	if (todo)
		wake();
	if (rc < 0)
		route_count(ROUTE_CNT_TLS_NOT_SENT);
	return rc;
}

bool route_tls_refused(const struct p2p_hit *hit)
{
	struct tls_peer *p;
	bool refused;

	if (tls == NULL)
		return false;
	lock_get(&tls->lock);
	p = tls_table_find(&tls->table, hit);
	refused = p != NULL && p->state == TLS_REFUSED && now_ms() < p->since_ms;
	lock_release(&tls->lock);
	return refused;
}

/* In p2p_usrloc's client process: what this peer has opened is about to be used. */
static void session_opened(const struct p2p_session *session)
{
	if (session->signalling == P2P_SIGNALLING_TLS && session->initiator)
		route_tls_use(session);
}

/* --- for who asks --------------------------------------------------------------------------- */

/* Under the lock: the peer that a question was about; NULL: that is over. */
static struct tls_peer *peer_of(unsigned long ref)
{
	unsigned long i = ref & 0xffff;
	struct tls_peer *p;

	if (i >= (unsigned long)tls->table.max)
		return NULL;
	p = &tls->table.peer[i];
	return p->used && (p->generation & 0xffff) == ref >> 16 ? p : NULL;
}

bool route_tls_next(struct route_proof *proof)
{
	struct tls_held *held;
	struct p2p_hit hit;
	struct tls_peer *p;
	int con[TLS_CONS], i, stands;
	bool go;

	for (;;) {
		held = NULL;
		go = false;
		stands = 0;
		lock_get(&tls->lock);
		p = tls_table_wanted(&tls->table);
		if (p != NULL) {
			hit = p->hit;
			memcpy(con, p->con, sizeof(con));
		}
		lock_release(&tls->lock);
		if (p == NULL)
			return false;
		for (i = 0; i < TLS_CONS && stands == 0; i++)
			if (con[i] != 0 && con_stands(con[i]))
				stands = con[i];
		lock_get(&tls->lock);
		p = tls_table_find(&tls->table, &hit);
		if (p != NULL && p->state != TLS_PROVING) {
			/* a second connection was opened while the first stands: what waits
			 * takes that */
			if (p->state == TLS_PROVEN && stands != 0)
				held = tls_peer_release(p);
			tls_peer_proving(p, now_ms());
			memcpy(proof->uri, p->uri, sizeof(proof->uri));
			proof->ref = (unsigned long)(p - tls->table.peer) |
				     (unsigned long)(p->generation & 0xffff) << 16;
			go = true;
		}
		lock_release(&tls->lock);
		held_send(&hit, held, stands);
		if (go)
			return true;
	}
}

/* Called with the lock, which it gives back. why: the end of the sentence. */
static void refuse(struct tls_peer *p, const char *why)
{
	char text[P2P_HIT_TEXT_MAX], uri[P2P_CANDIDATE_URI_MAX];
	struct p2p_hit hit = p->hit;
	struct tls_held *held = tls_peer_release(p);

	tls_peer_refused(p, now_ms() + (uint64_t)route_settings.peer_down_ms);
	memcpy(uri, p->uri, sizeof(uri));
	lock_release(&tls->lock);
	held_drop(held);
	route_count(ROUTE_CNT_TLS_UNPROVEN);
	p2p_hit_print(&hit, text);
	if (log_ok(&hit))
		LM_WARN("nothing is sent over TLS to the peer %s (%s) for %d ms: %s\n", text, uri,
			route_settings.peer_down_ms, why);
}

bool route_tls_overdue(void)
{
	uint64_t now = now_ms(), limit;
	struct tls_peer *p;
	bool awaited = false;
	int i;

	limit = (uint64_t)route_settings.peer_timeout_ms - PROOF_EARLIER_MS;
	for (i = 0; i < tls->table.max; i++) {
		p = &tls->table.peer[i];
		if (!p->used || p->state != TLS_PROVING)
			continue;
		lock_get(&tls->lock);
		if (p->used && p->state == TLS_PROVING && now > p->since_ms + limit) {
			refuse(p, "it does not answer there, or a certificate was refused");
		} else {
			awaited |= p->state == TLS_PROVING;
			lock_release(&tls->lock);
		}
	}
	return awaited;
}

void route_tls_unasked(unsigned long ref)
{
	struct tls_peer *p;

	lock_get(&tls->lock);
	p = peer_of(ref);
	if (p != NULL && p->state == TLS_PROVING)
		refuse(p, "it does not take a connection");
	else
		lock_release(&tls->lock);
}

void route_tls_answered(unsigned long ref, int con, const struct p2p_hit *cert)
{
	char why[P2P_HIT_TEXT_MAX + 80], text[P2P_HIT_TEXT_MAX];
	struct tls_held *held = NULL;
	struct p2p_hit hit;
	struct tls_peer *p;

	lock_get(&tls->lock);
	p = peer_of(ref);
	if (p == NULL) {
		lock_release(&tls->lock);
		return;
	}
	if (cert == NULL) {
		refuse(p, "it shows no certificate of this overlay that is good");
		con_close(con);
		return;
	}
	if (p2p_hit_cmp(cert, &p->hit) != 0) {
		p2p_hit_print(cert, text);
		snprintf(why, sizeof(why),
			 "the certificate there is that of %s: an enrolled peer in the middle",
			 text);
		refuse(p, why);
		con_close(con);
		return;
	}
	hit = p->hit;
	tls_peer_proven(p, con);
	held = tls_peer_release(p);
	lock_release(&tls->lock);
	route_count(ROUTE_CNT_TLS_PROVEN);
	held_send(&hit, held, con);
}

/* --- for operators -------------------------------------------------------------------------- */

int route_tls_info(int i, struct route_tls_info *info)
{
	static const char *const name[] = {"unproven", "proving", "proven", "refused"};
	uint64_t now = now_ms();
	struct tls_peer *p;
	int rc = 1;

	if (tls == NULL || i < 0 || i >= tls->table.max)
		return -1;
	lock_get(&tls->lock);
	p = &tls->table.peer[i];
	if (p->used) {
		rc = 0;
		info->hit = p->hit;
		info->state = name[p->state];
		memcpy(info->uri, p->uri, sizeof(info->uri));
		info->con = p->con[0];
		info->held = p->n_held;
		info->retry_in_ms =
			p->state == TLS_REFUSED && p->since_ms > now ? p->since_ms - now : 0;
	}
	lock_release(&tls->lock);
	return rc;
}

/* --- life cycle ----------------------------------------------------------------------------- */

static bool has_socket(void)
{
	struct socket_info **list = get_sock_info_list(PROTO_TLS);

	return list != NULL && *list != NULL;
}

int route_tls_init(void)
{
	size_t size = tls_table_size(route_settings.max_peers);
	struct p2p_hash_key key;

	if (!module_loaded("tls") || tls_hook.encode == NULL || !has_socket()) {
		if (route_settings.tls_certificate.len == 0)
			return 0;
		LM_ERR("parameter tls_certificate: the module tls is not loaded, or there is no "
		       "listening socket for TLS\n");
		return -1;
	}
	if (route_tls_accept_init() < 0)
		return -1;
	if (getrandom(&key, sizeof(key), 0) != sizeof(key)) {
		LM_ERR("no random bytes: %s\n", strerror(errno));
		return -1;
	}
	wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wake_fd < 0) {
		LM_ERR("eventfd: %s\n", strerror(errno));
		return -1;
	}
	tls = shm_malloc(sizeof(*tls) + size);
	if (tls == NULL) {
		SHM_MEM_ERROR;
		return -1;
	}
	memset(tls, 0, sizeof(*tls));
	if (lock_init(&tls->lock) == 0) {
		LM_ERR("no lock\n");
		shm_free(tls);
		tls = NULL;
		return -1;
	}
	tls_table_init(&tls->table, tls + 1, route_settings.max_peers, &key);
	encode = tls_hook.encode;
	tls_hook.encode = gate;
	route_ul.session_watch(session_opened);
	return route_tls_prove_init() < 0 || route_tls_reload_init() < 0 ? -1 : 0;
}

int route_tls_child(void)
{
	return tls == NULL ? 0 : route_tls_prove_child();
}

void route_tls_destroy(void)
{
	int i;

	if (tls == NULL)
		return;
	tls_hook.encode = encode;
	for (i = 0; i < tls->table.max; i++)
		if (tls->table.peer[i].used)
			held_free(tls_peer_release(&tls->table.peer[i]));
	lock_destroy(&tls->lock);
	shm_free(tls);
	tls = NULL;
	close(wake_fd);
	wake_fd = -1;
}
