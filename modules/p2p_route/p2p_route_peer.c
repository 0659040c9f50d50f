// SPDX-License-Identifier: GPL-2.0-or-later
/* Who is a peer. A request is a peer's when its source address is in the configured list, or when
 * it names (header P2P-Peer) a Host Identity whose signed peer record lists the source address.
 * This is weak, and documented as such: a source address proves little over UDP. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "core/locking.h"
#include "core/mem/shm_mem.h"
#include "core/parser/parse_uri.h"
#include "core/resolve.h"
#include "lib/base/log.h"
#include "p2p_route.h"

#define LOG_INTERVAL_MS 60000

/* Who was refused lately, for all processes. */
static struct refusals {
	gen_lock_t lock;
	struct p2p_limit limit;
} * refusals;

int route_peer_init(void)
{
	struct p2p_hash_key key;

	if (getrandom(&key, sizeof(key), 0) != sizeof(key)) {
		LM_ERR("no random bytes: %s\n", strerror(errno));
		return -1;
	}
	refusals = shm_malloc(sizeof(*refusals));
	if (refusals == NULL) {
		SHM_MEM_ERROR;
		return -1;
	}
	memset(refusals, 0, sizeof(*refusals));
	if (lock_init(&refusals->lock) == 0) {
		LM_ERR("no lock\n");
		shm_free(refusals);
		refusals = NULL;
		return -1;
	}
	p2p_limit_init(&refusals->limit, LOG_INTERVAL_MS, &key);
	return 0;
}

void route_peer_destroy(void)
{
	if (refusals == NULL)
		return;
	lock_destroy(&refusals->lock);
	shm_free(refusals);
	refusals = NULL;
}

/* One line per source and minute: the peer that is refused sees a 403 only, and neither operator
 * would know why. record: NULL if there is none. */
static void log_refused(struct sip_msg *msg, const struct p2p_hit *hit,
			const struct p2p_candidate *record)
{
	char text[P2P_HIT_TEXT_MAX], uris[P2P_CANDIDATE_URIS_MAX * (P2P_CANDIDATE_URI_MAX + 2)];
	const struct ip_addr *ip = &msg->rcv.src_ip;
	struct timespec ts;
	size_t n = 0;
	bool ok;
	int i;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	lock_get(&refusals->lock);
	ok = p2p_limit_ok(&refusals->limit, ip->u.addr, ip->len,
			  (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000, NULL);
	lock_release(&refusals->lock);
	if (!ok)
		return;
	p2p_hit_print(hit, text);
	if (record == NULL) {
		LM_WARN("refused (403): a request from %s names the peer %s, which has no peer "
			"record\n",
			ip_addr2a((struct ip_addr *)ip), text);
		return;
	}
	uris[0] = '\0';
	for (i = 0; i < record->n_uris && i < P2P_CANDIDATE_URIS_MAX; i++)
		n += (size_t)snprintf(uris + n, sizeof(uris) - n, "%s%.*s", i > 0 ? ", " : "",
				      P2P_CANDIDATE_URI_MAX - 1, record->uri[i]);
	LM_WARN("refused (403): a request from %s names the peer %s, whose peer record does not "
		"list that address, only %s: if it is that peer, its parameters advertise and "
		"socket (or its gateway's sip_uri) do not fit each other\n",
		ip_addr2a((struct ip_addr *)ip), text, n > 0 ? uris : "none");
}

/* The core's mk_net_str() takes 192.0.2.300 for an address. */
static bool network_valid(const char *val)
{
	char host[INET6_ADDRSTRLEN], *end;
	const char *slash = strchr(val, '/');
	size_t len = slash != NULL ? (size_t)(slash - val) : strlen(val);
	uint8_t addr[16];
	unsigned long bits;
	int most;

	if (len == 0 || len >= sizeof(host))
		return false;
	memcpy(host, val, len);
	host[len] = '\0';
	if (inet_pton(AF_INET, host, addr) == 1)
		most = 32;
	else if (inet_pton(AF_INET6, host, addr) == 1)
		most = 128;
	else
		return false;
	if (slash == NULL)
		return true;
	bits = strtoul(slash + 1, &end, 10);
	return isdigit((unsigned char)slash[1]) && *end == '\0' && bits <= (unsigned long)most;
}

int route_peer_param(char *val)
{
	str s = {val, (int)strlen(val)};
	struct net *n;

	if (route_settings.n_peer == ROUTE_PEERS_MAX) {
		LM_ERR("more than %d entries for the parameter peer\n", ROUTE_PEERS_MAX);
		return -1;
	}
	n = &route_settings.peer[route_settings.n_peer];
	if (!network_valid(val) || mk_net_str(n, &s) < 0) {
		LM_ERR("parameter peer: \"%s\" is no address and no network (address/prefix)\n",
		       val);
		return -1;
	}
	route_settings.n_peer++;
	return 0;
}

static bool configured(struct ip_addr *ip)
{
	int i;

	for (i = 0; i < route_settings.n_peer; i++)
		if (matchnet(ip, &route_settings.peer[i]) == 1)
			return true;
	return false;
}

/* Does one of the peer's SIP addresses have this IP address? Names are not resolved: a SIP worker
 * does not wait for DNS here. */
static bool lists(const struct p2p_candidate *peer, struct ip_addr *ip)
{
	struct sip_uri uri;
	struct ip_addr *a;
	char text[P2P_CANDIDATE_URI_MAX];
	size_t len;
	str host;
	int i;

	for (i = 0; i < peer->n_uris && i < P2P_CANDIDATE_URIS_MAX; i++) {
		len = strnlen(peer->uri[i], sizeof(text) - 1);
		memcpy(text, peer->uri[i], len);
		text[len] = '\0';
		if (parse_uri(text, (int)len, &uri) < 0)
			continue;
		host = uri.host;
		a = str2ip(&host);
		if (a == NULL)
			a = str2ip6(&host);
		if (a != NULL && ip_addr_cmp(a, ip))
			return true;
	}
	return false;
}

enum p2p_peer_status route_peer_status(struct sip_msg *msg, struct p2p_hit *hit)
{
	struct route_header h;
	struct p2p_candidate peer;
	struct p2p_hit own;

	route_header_read(msg, &h);
	if (h.has_hit && hit != NULL)
		*hit = h.hit;
	if (h.has_hit && route_ul.own_hit(&own) == 0 && p2p_hit_cmp(&own, &h.hit) == 0)
		return P2P_PEER_LOOP;
	if (h.present && h.hops > (unsigned int)route_settings.max_hops)
		return P2P_PEER_TOOMANY;
	if (configured(&msg->rcv.src_ip))
		return P2P_PEER_VERIFIED;
	if (!h.present)
		return P2P_PEER_NO;
	if (!h.has_hit)
		return P2P_PEER_DENIED;
	/* a cached record that does not list the address may be out of date: the peer has moved */
	if (route_ul.peer_get(&h.hit, &peer) < 0 || !lists(&peer, &msg->rcv.src_ip))
		return P2P_PEER_UNVERIFIED;
	return P2P_PEER_VERIFIED;
}

static enum p2p_peer_status count(enum p2p_peer_status status)
{
	switch (status) {
	case P2P_PEER_VERIFIED:
		route_count(ROUTE_CNT_FROM_PEER);
		break;
	case P2P_PEER_DENIED:
		route_count(ROUTE_CNT_DENIED);
		break;
	case P2P_PEER_LOOP:
	case P2P_PEER_TOOMANY:
		route_count(ROUTE_CNT_LOOPS);
		break;
	default:
		break;
	}
	return status;
}

enum p2p_peer_status route_peer_judge(struct sip_msg *msg, struct p2p_hit *hit)
{
	return count(route_peer_status(msg, hit));
}

enum p2p_peer_status route_peer_verified(struct sip_msg *msg, const struct p2p_candidate *peer)
{
	struct route_header h;

	route_header_read(msg, &h);
	if (!h.has_hit || (peer != NULL && p2p_hit_cmp(&h.hit, &peer->hit) != 0))
		return count(P2P_PEER_DENIED);
	if (peer != NULL && lists(peer, &msg->rcv.src_ip))
		return count(P2P_PEER_VERIFIED);
	log_refused(msg, &h.hit, peer);
	return count(P2P_PEER_DENIED);
}
