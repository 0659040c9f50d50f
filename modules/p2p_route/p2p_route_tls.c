// SPDX-License-Identifier: GPL-2.0-or-later
/* SIP over TLS between peers: which of them is proven, on which connection (p2p_route_tls_table.h).
 * Nothing is sent to a peer but over such a connection (p2p_route_tls_gate.c). */
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "core/mem/shm_mem.h"
#include "core/parser/parse_uri.h"
#include "core/resolve.h"
#include "p2p_route_tls.h"

/* How much sooner than the branch that waits for it a proof has to come. */
#define PROOF_EARLIER_MS 250

struct route_tls *route_tls;
static int wake_fd = -1;

uint64_t route_tls_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* --- waking the process that asks ----------------------------------------------------------- */

void route_tls_wake(void)
{
	uint64_t one = 1;

	if (!atomic_exchange(&route_tls->woken, true) && write(wake_fd, &one, sizeof(one)) < 0)
		LM_DBG("eventfd: %s\n", strerror(errno));
}

int route_tls_wake_fd(void)
{
	return wake_fd;
}

void route_tls_woken(void)
{
	uint64_t n;

	atomic_store(&route_tls->woken, false);
	if (read(wake_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		LM_DBG("eventfd: %s\n", strerror(errno));
}

/* --- addresses ------------------------------------------------------------------------------ */

bool route_tls_address(struct tls_address *a, const struct ip_addr *ip, unsigned short port)
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
	return ip != NULL && route_tls_address(a, ip, uri.port_no != 0 ? uri.port_no : SIPS_PORT);
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
	return route_tls != NULL;
}

int route_tls_use(const struct p2p_session *session)
{
	struct tls_address addr;
	uint64_t now = route_tls_now();
	struct tls_peer *p;
	bool todo = false;
	int rc = -2;

	if (route_tls == NULL || !address_from_uri(&addr, session->uri)) {
		if (log_ok(&session->hit))
			LM_ERR("a session says TLS to %s: there is no such address, or no tls "
			       "module and socket here\n",
			       session->uri);
		return -2;
	}
	lock_get(&route_tls->lock);
	p = tls_table_get(&route_tls->table, &session->hit, &addr, session->uri, now);
	if (p != NULL) {
		rc = p->state == TLS_REFUSED && now < p->since_ms ? -1 : 0;
		if (rc == 0 && (p->state == TLS_UNPROVEN || p->state == TLS_REFUSED))
			todo = tls_table_want(&route_tls->table, p);
	}
	atomic_store(&route_tls->n, (unsigned int)route_tls->table.n);
	lock_release(&route_tls->lock);
	if (todo)
		route_tls_wake();
	if (rc < 0)
		route_count(ROUTE_CNT_TLS_NOT_SENT);
	return rc;
}

bool route_tls_refused(const struct p2p_hit *hit)
{
	struct tls_peer *p;
	bool refused;

	if (route_tls == NULL)
		return false;
	lock_get(&route_tls->lock);
	p = tls_table_find(&route_tls->table, hit);
	refused = p != NULL && p->state == TLS_REFUSED && route_tls_now() < p->since_ms;
	lock_release(&route_tls->lock);
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

	if (i >= (unsigned long)route_tls->table.max)
		return NULL;
	p = &route_tls->table.peer[i];
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
		lock_get(&route_tls->lock);
		p = tls_table_wanted(&route_tls->table);
		if (p != NULL) {
			hit = p->hit;
			memcpy(con, p->con, sizeof(con));
		}
		lock_release(&route_tls->lock);
		if (p == NULL)
			return false;
		for (i = 0; i < TLS_CONS && stands == 0; i++)
			if (con[i] != 0 && route_tls_con_stands(con[i]))
				stands = con[i];
		lock_get(&route_tls->lock);
		p = tls_table_find(&route_tls->table, &hit);
		if (p != NULL && p->state != TLS_PROVING) {
			/* a second connection was opened while the first stands: what waits
			 * takes that */
			if (p->state == TLS_PROVEN && stands != 0)
				held = tls_peer_release(p);
			tls_peer_proving(p, route_tls_now());
			memcpy(proof->uri, p->uri, sizeof(proof->uri));
			proof->ref = (unsigned long)(p - route_tls->table.peer) |
				     (unsigned long)(p->generation & 0xffff) << 16;
			go = true;
		}
		lock_release(&route_tls->lock);
		route_tls_held_send(&hit, held, stands);
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

	tls_peer_refused(p, route_tls_now() + (uint64_t)route_settings.peer_down_ms);
	memcpy(uri, p->uri, sizeof(uri));
	lock_release(&route_tls->lock);
	route_tls_held_drop(held);
	route_count(ROUTE_CNT_TLS_UNPROVEN);
	p2p_hit_print(&hit, text);
	if (log_ok(&hit))
		LM_WARN("nothing is sent over TLS to the peer %s (%s) for %d ms: %s\n", text, uri,
			route_settings.peer_down_ms, why);
}

bool route_tls_overdue(void)
{
	uint64_t now = route_tls_now(), limit;
	struct tls_peer *p;
	bool awaited = false;
	int i;

	limit = (uint64_t)route_settings.peer_timeout_ms - PROOF_EARLIER_MS;
	for (i = 0; i < route_tls->table.max; i++) {
		p = &route_tls->table.peer[i];
		if (!p->used || p->state != TLS_PROVING)
			continue;
		lock_get(&route_tls->lock);
		if (p->used && p->state == TLS_PROVING && now > p->since_ms + limit) {
			refuse(p, "it does not answer there, or a certificate was refused");
		} else {
			awaited |= p->state == TLS_PROVING;
			lock_release(&route_tls->lock);
		}
	}
	return awaited;
}

void route_tls_unasked(unsigned long ref)
{
	struct tls_peer *p;

	lock_get(&route_tls->lock);
	p = peer_of(ref);
	if (p != NULL && p->state == TLS_PROVING)
		refuse(p, "it does not take a connection");
	else
		lock_release(&route_tls->lock);
}

void route_tls_answered(unsigned long ref, int con, const struct p2p_hit *cert)
{
	char why[P2P_HIT_TEXT_MAX + 80], text[P2P_HIT_TEXT_MAX];
	struct tls_held *held = NULL;
	struct p2p_hit hit;
	struct tls_peer *p;

	lock_get(&route_tls->lock);
	p = peer_of(ref);
	if (p == NULL) {
		lock_release(&route_tls->lock);
		return;
	}
	if (cert == NULL) {
		refuse(p, "it shows no certificate of this overlay that is good");
		route_tls_con_close(con);
		return;
	}
	if (p2p_hit_cmp(cert, &p->hit) != 0) {
		p2p_hit_print(cert, text);
		snprintf(why, sizeof(why),
			 "the certificate there is that of %s: an enrolled peer in the middle",
			 text);
		refuse(p, why);
		route_tls_con_close(con);
		return;
	}
	hit = p->hit;
	tls_peer_proven(p, con);
	held = tls_peer_release(p);
	lock_release(&route_tls->lock);
	route_count(ROUTE_CNT_TLS_PROVEN);
	route_tls_held_send(&hit, held, con);
}

/* --- for operators -------------------------------------------------------------------------- */

int route_tls_info(int i, struct route_tls_info *info)
{
	static const char *const name[] = {"unproven", "proving", "proven", "refused"};
	uint64_t now = route_tls_now();
	struct tls_peer *p;
	int rc = 1;

	if (route_tls == NULL || i < 0 || i >= route_tls->table.max)
		return -1;
	lock_get(&route_tls->lock);
	p = &route_tls->table.peer[i];
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
	lock_release(&route_tls->lock);
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

	if (!module_loaded("tls") || !has_socket()) {
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
	route_tls = shm_malloc(sizeof(*route_tls) + size);
	if (route_tls == NULL) {
		SHM_MEM_ERROR;
		return -1;
	}
	memset(route_tls, 0, sizeof(*route_tls));
	if (lock_init(&route_tls->lock) == 0) {
		LM_ERR("no lock\n");
		shm_free(route_tls);
		route_tls = NULL;
		return -1;
	}
	tls_table_init(&route_tls->table, route_tls + 1, route_settings.max_peers, &key);
	if (route_tls_gate_open() < 0)
		return -1;
	route_ul.session_watch(session_opened);
	return route_tls_prove_init() < 0 || route_tls_reload_init() < 0 ? -1 : 0;
}

int route_tls_child(void)
{
	return route_tls == NULL ? 0 : route_tls_prove_child();
}

void route_tls_destroy(void)
{
	int i;

	if (route_tls == NULL)
		return;
	route_tls_gate_remove();
	for (i = 0; i < route_tls->table.max; i++)
		if (route_tls->table.peer[i].used)
			route_tls_held_free(tls_peer_release(&route_tls->table.peer[i]));
	lock_destroy(&route_tls->lock);
	shm_free(route_tls);
	route_tls = NULL;
	close(wake_fd);
	wake_fd = -1;
}
