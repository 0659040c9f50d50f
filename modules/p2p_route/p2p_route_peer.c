// SPDX-License-Identifier: GPL-2.0-or-later
/* Who is a peer. A request is a peer's when it is signed with the key of a session with that peer
 * (p2p_route_auth.c), or when its source address is in the operator's list. A source address that
 * is nowhere but in a record proves nothing. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "core/locking.h"
#include "core/mem/shm_mem.h"
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

void route_peer_log_refused(struct sip_msg *msg, const struct p2p_hit *hit, const char *why)
{
	char text[P2P_HIT_TEXT_MAX] = "none";
	const struct ip_addr *ip = &msg->rcv.src_ip;
	struct timespec ts;
	bool ok;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	lock_get(&refusals->lock);
	ok = p2p_limit_ok(&refusals->limit, ip->u.addr, ip->len,
			  (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000, NULL);
	lock_release(&refusals->lock);
	if (!ok)
		return;
	if (hit != NULL)
		p2p_hit_print(hit, text);
	LM_WARN("refused (403): a %.*s from %s names the peer %s, but %s\n",
		msg->first_line.u.request.method.len, msg->first_line.u.request.method.s,
		ip_addr2a((struct ip_addr *)ip), text, why);
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

bool route_peer_configured(const struct ip_addr *ip)
{
	struct ip_addr copy = *ip;
	int i;

	for (i = 0; i < route_settings.n_peer; i++)
		if (matchnet(&copy, &route_settings.peer[i]) == 1)
			return true;
	return false;
}

/* The script, p2p_lookup() and p2p_media judge the same request, one after the other; the second
 * look at an authenticator would find a replay. */
static struct {
	unsigned int id;
	int pid;
	enum p2p_peer_status status;
	struct p2p_hit hit;
} judged;

static enum p2p_peer_status judge_signed(struct sip_msg *msg, const struct route_header *h)
{
	enum route_auth result;

	if (judged.pid == msg->pid && judged.id == msg->id && judged.pid != 0 &&
	    p2p_hit_cmp(&judged.hit, &h->hit) == 0)
		return judged.status;
	result = route_auth_verify(msg, h);
	if (result == ROUTE_AUTH_UNKNOWN)
		return P2P_PEER_UNVERIFIED; /* the next look may know more */
	judged.id = msg->id;
	judged.pid = msg->pid;
	judged.hit = h->hit;
	judged.status = P2P_PEER_DENIED;
	switch (result) {
	case ROUTE_AUTH_GOOD:
		judged.status = P2P_PEER_VERIFIED;
		return judged.status;
	case ROUTE_AUTH_CLOSED:
		judged.status = P2P_PEER_NOSESSION;
		route_count(ROUTE_CNT_NOSESSION);
		break;
	case ROUTE_AUTH_TIME:
		route_count(ROUTE_CNT_CLOCK);
		break;
	case ROUTE_AUTH_REPLAY:
		route_count(ROUTE_CNT_REPLAYS);
		break;
	case ROUTE_AUTH_CHANNEL:
		route_count(ROUTE_CNT_CHANNEL);
		break;
	default:
		route_count(ROUTE_CNT_FORGED);
		break;
	}
	route_peer_log_refused(msg, &h->hit, route_auth_text(result));
	return judged.status;
}

enum p2p_peer_status route_peer_status(struct sip_msg *msg, struct p2p_hit *hit)
{
	struct route_header h;
	struct p2p_hit own;

	route_header_read(msg, &h);
	if (h.has_hit && hit != NULL)
		*hit = h.hit;
	if (h.has_hit && route_ul.own_hit(&own) == 0 && p2p_hit_cmp(&own, &h.hit) == 0)
		return P2P_PEER_LOOP;
	if (h.present && h.hops > (unsigned int)route_settings.max_hops)
		return P2P_PEER_TOOMANY;
	if (route_peer_configured(&msg->rcv.src_ip))
		return P2P_PEER_VERIFIED;
	if (!h.present)
		return P2P_PEER_NO;
	if (!h.has_hit) {
		route_peer_log_refused(msg, NULL, "not in a way that is understood here");
		return P2P_PEER_DENIED;
	}
	return judge_signed(msg, &h);
}

int route_peer_session(struct sip_msg *msg, struct p2p_session_id *id)
{
	struct route_header h;

	route_header_read(msg, &h);
	if (!h.is_signed)
		return -1;
	*id = h.session;
	return 0;
}

static enum p2p_peer_status count(enum p2p_peer_status status)
{
	switch (status) {
	case P2P_PEER_VERIFIED:
		route_count(ROUTE_CNT_FROM_PEER);
		break;
	case P2P_PEER_DENIED:
	case P2P_PEER_NOSESSION:
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
	enum p2p_peer_status status = count(route_peer_status(msg, hit));

	if (status == P2P_PEER_VERIFIED)
		route_from_peer(msg);
	return status;
}

enum p2p_peer_status route_peer_verified(struct sip_msg *msg)
{
	struct p2p_hit hit;
	enum p2p_peer_status status = route_peer_status(msg, &hit);

	if (status == P2P_PEER_UNVERIFIED) {
		status = P2P_PEER_NOSESSION;
		route_count(ROUTE_CNT_NOSESSION);
		route_peer_log_refused(msg, &hit, route_auth_text(ROUTE_AUTH_UNKNOWN));
	}
	count(status);
	if (status == P2P_PEER_VERIFIED)
		route_from_peer(msg);
	return status;
}
