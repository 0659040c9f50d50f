// SPDX-License-Identifier: GPL-2.0-or-later
/* Our own sockets: which one reaches a peer's address, and which of their addresses peers are told.
 */
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/parser/parse_uri.h"
#include "core/resolve.h"
#include "core/socket_info.h"
#include "p2p_route.h"

#define ROUTES_KEPT 64
#define ROUTE_KEPT_MS 10000

static struct socket_info *forced[ROUTE_SOCKETS_MAX];
static int n_forced;
static char own_uri[P2P_CANDIDATE_URI_MAX];
/* The addresses that our peer record will list, where a socket of ours has them. */
static struct ip_addr advertised[P2P_CANDIDATE_URIS_MAX];
static int n_advertised;

int route_sockets_init(void)
{
	int i;

	for (i = 0; i < route_settings.n_socket; i++) {
		forced[n_forced] = lookup_local_socket(&route_settings.socket[i]);
		if (forced[n_forced] == NULL) {
			LM_ERR("parameter socket: \"%.*s\" is none of Kamailio's listening sockets "
			       "(proto:address:port)\n",
			       route_settings.socket[i].len, route_settings.socket[i].s);
			return -1;
		}
		n_forced++;
	}
	return 0;
}

static bool loopback(const struct ip_addr *ip)
{
	static const uint8_t lo6[16] = {[15] = 1};

	return ip->af == AF_INET ? ip->u.addr[0] == 127 : memcmp(ip->u.addr, lo6, 16) == 0;
}

/* The address of ours that the kernel would send from. (The core's get_out_socket() is for UDP
 * sockets only.) 0 or -1. */
static int source_address(const struct ip_addr *to, struct ip_addr *from)
{
	union sockaddr_union su;
	socklen_t len = sizeof(su);
	int fd, rc = -1;

	init_su(&su, (struct ip_addr *)to, SIP_PORT);
	fd = socket(to->af == AF_INET ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, &su.s, sockaddru_len(su)) == 0 && getsockname(fd, &su.s, &len) == 0) {
		su2ip_addr(from, &su);
		rc = 0;
	}
	close(fd);
	return rc;
}

/* With several sockets to choose from, the kernel's routing table says which one. Asking it costs a
 * few system calls: each process keeps what it learnt for some seconds. */
static struct socket_info *routed(int proto, const struct ip_addr *to)
{
	static struct {
		struct ip_addr to;
		int proto;
		struct socket_info *si;
		uint64_t until_ms;
	} kept[ROUTES_KEPT];
	struct ip_addr from;
	struct timespec ts;
	unsigned int h = (unsigned int)proto, i;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
	for (i = 0; i < to->len; i++)
		h = h * 31 + to->u.addr[i];
	h %= ROUTES_KEPT;
	if (kept[h].until_ms > now && kept[h].proto == proto && ip_addr_cmp(&kept[h].to, to))
		return kept[h].si;
	kept[h].si =
		source_address(to, &from) == 0 ? find_si(&from, 0, (unsigned short)proto) : NULL;
	kept[h].to = *to;
	kept[h].proto = proto;
	kept[h].until_ms = now + ROUTE_KEPT_MS;
	return kept[h].si;
}

/* Would a peer that gets a request from this socket find its source address in our record? Behind
 * an address of its own that the socket advertises, the answer is the same. */
static bool is_advertised(const struct socket_info *si)
{
	int i;

	for (i = 0; i < n_advertised; i++)
		if (ip_addr_cmp(&advertised[i], &si->address) ||
		    (si->useinfo.name.len > 0 && ip_addr_cmp(&advertised[i], &si->useinfo.address)))
			return true;
	return false;
}

/* The socket of ours that reaches an address of this family over this transport: a configured one,
 * the only one, the one the kernel would route from; else the first. One whose address the
 * parameter advertise names goes before others: a request from elsewhere is refused. */
struct socket_info *route_socket_reaching(int proto, const struct ip_addr *to)
{
	struct socket_info **list = get_sock_info_list((unsigned short)proto);
	struct socket_info *si, *first = NULL, *listed = NULL;
	int i, n = 0;

	for (i = 0; i < n_forced; i++)
		if (forced[i]->proto == proto && forced[i]->address.af == to->af)
			return forced[i];
	for (si = list != NULL ? *list : NULL; si != NULL; si = si->next) {
		if (si->address.af != to->af || (si->flags & SI_IS_MCAST) ||
		    loopback(&si->address) != loopback(to))
			continue;
		if (first == NULL)
			first = si;
		if (listed == NULL && is_advertised(si))
			listed = si;
		n++;
	}
	if (n < 2)
		return first;
	si = routed(proto, to);
	/* what is advertised by default is a guess, which the gateway's sip_uri may have put right:
	 * the kernel knows better */
	if (listed != NULL &&
	    (si == NULL || (route_settings.n_advertise > 0 && !is_advertised(si))))
		return listed;
	return si != NULL ? si : first;
}

static int uri_print(char *out, size_t size, const struct socket_info *si)
{
	const char *proto = si->proto == PROTO_TCP   ? ";transport=tcp"
			    : si->proto == PROTO_TLS ? ";transport=tls"
						     : ";transport=udp";
	const str *addr = si->useinfo.name.len > 0 ? &si->useinfo.name : &si->address_str;
	unsigned short port = si->useinfo.name.len > 0 ? si->useinfo.port_no : si->port_no;
	bool v6 = memchr(addr->s, ':', (size_t)addr->len) != NULL && addr->s[0] != '[';
	int n = snprintf(out, size, "sip:%s%.*s%s:%u%s", v6 ? "[" : "", addr->len, addr->s,
			 v6 ? "]" : "", port, proto);

	return n > 0 && (size_t)n < size ? 0 : -1;
}

static int advertise_one(const str *uri)
{
	char text[P2P_CANDIDATE_URI_MAX];
	struct ip_addr *ip;
	struct sip_uri parsed;
	str host;

	if (uri->len < (int)sizeof(text) && n_advertised < P2P_CANDIDATE_URIS_MAX) {
		memcpy(text, uri->s, (size_t)uri->len);
		if (parse_uri(text, uri->len, &parsed) == 0) {
			host = parsed.host;
			ip = str2ip(&host);
			if (ip == NULL)
				ip = str2ip6(&host);
			if (ip != NULL)
				advertised[n_advertised++] = *ip;
		}
	}
	if (own_uri[0] == '\0' && uri->len < (int)sizeof(own_uri))
		memcpy(own_uri, uri->s, (size_t)uri->len);
	return route_ul.advertise(uri);
}

/* The first socket of this transport and family that peers may reach. */
static struct socket_info *socket_reachable(int proto, unsigned int family)
{
	struct socket_info **list = get_sock_info_list((unsigned short)proto), *si;

	for (si = list != NULL ? *list : NULL; si != NULL; si = si->next)
		if (si->address.af == family &&
		    !(si->flags & (SI_IS_LO | SI_IS_MCAST | SI_IS_ANY)) &&
		    !loopback(&si->address) &&
		    !(family == AF_INET6 && si->address.u.addr[0] == 0xfe &&
		      (si->address.u.addr[1] & 0xc0) == 0x80))
			return si;
	return NULL;
}

/* Tell the gateway where peers reach us: what the parameter says, or else the first socket of
 * each transport and family that is neither loopback nor multicast. TLS only where the operator has
 * set it up for peers, and then before TCP, if not all have room. */
int route_advertise_init(void)
{
	static const struct {
		int proto;
		unsigned int family;
	} plain[] = {{PROTO_UDP, AF_INET},
		     {PROTO_TCP, AF_INET},
		     {PROTO_UDP, AF_INET6},
		     {PROTO_TCP, AF_INET6}},
	  tls[] = {{PROTO_UDP, AF_INET},  {PROTO_TLS, AF_INET}, {PROTO_UDP, AF_INET6},
		   {PROTO_TLS, AF_INET6}, {PROTO_TCP, AF_INET}, {PROTO_TCP, AF_INET6}};
	bool with_tls = route_settings.tls_certificate.len > 0;
	size_t i, n_kinds = with_tls ? sizeof(tls) / sizeof(tls[0])
				     : sizeof(plain) / sizeof(plain[0]);
	char text[P2P_CANDIDATE_URI_MAX];
	struct socket_info *si;
	str uri;
	int n = 0;

	for (i = 0; i < (size_t)route_settings.n_advertise; i++)
		if (advertise_one(&route_settings.advertise[i]) < 0)
			return -1;
	if (route_settings.n_advertise > 0)
		return 0;
	for (i = 0; i < n_kinds && n < P2P_CANDIDATE_URIS_MAX; i++) {
		si = with_tls ? socket_reachable(tls[i].proto, tls[i].family)
			      : socket_reachable(plain[i].proto, plain[i].family);
		if (si == NULL || uri_print(text, sizeof(text), si) < 0)
			continue;
		uri.s = text;
		uri.len = (int)strlen(text);
		if (advertise_one(&uri) < 0)
			return -1;
		n++;
	}
	if (n == 0)
		LM_WARN("no listening socket that other peers could reach: set the parameter "
			"advertise, or the gateway's sip_uri\n");
	return 0;
}

int route_own_uri(str *uri)
{
	uri->s = own_uri;
	uri->len = (int)strlen(own_uri);
	return uri->len > 0 ? 0 : -1;
}
