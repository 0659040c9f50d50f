/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Locators, and the SIP URIs that stand for them. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/proto/record_impl.h"

/* An address of one host: not "any", no multicast, no broadcast, no IPv4 in IPv6's clothes. */
static bool address_valid(const struct p2p_locator *l)
{
	static const uint8_t zero[16], mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (l->family == 4)
		return l->addr[0] != 0 && l->addr[0] < 224;
	return l->family == 6 && memcmp(l->addr, zero, 16) != 0 && l->addr[0] != 0xff &&
	       memcmp(l->addr, mapped, 12) != 0;
}

/* A service or a transport that is not known here is a later version's, and no fault: it is
 * carried, and used by nobody. */
bool p2p_locator_valid(const struct p2p_locator *l)
{
	return l->service != 0 && l->transports != 0 && l->port != 0 && address_valid(l);
}

static const struct {
	enum p2p_transport transport;
	const char *text;
	uint16_t port;
} transports[] = {
	{P2P_TRANSPORT_UDP, "udp", 5060},
	{P2P_TRANSPORT_TCP, "tcp", 5060},
	{P2P_TRANSPORT_TLS, "tls", 5061},
};
#define N_TRANSPORTS (sizeof(transports) / sizeof(transports[0]))

int p2p_locator_print(const struct p2p_locator *l, enum p2p_transport transport,
		      char uri[P2P_LOCATOR_URI_MAX])
{
	char addr[INET6_ADDRSTRLEN];
	size_t i;

	if (l->service != P2P_SERVICE_SIP || !p2p_locator_valid(l) ||
	    (l->transports & transport) == 0)
		return EINVAL;
	for (i = 0; i < N_TRANSPORTS && transports[i].transport != transport; i++)
		;
	if (i == N_TRANSPORTS ||
	    inet_ntop(l->family == 4 ? AF_INET : AF_INET6, l->addr, addr, sizeof(addr)) == NULL)
		return EINVAL;
	snprintf(uri, P2P_LOCATOR_URI_MAX,
		 l->family == 4 ? "sip:%s:%u;transport=%s" : "sip:[%s]:%u;transport=%s", addr,
		 l->port, transports[i].text);
	return 0;
}

/* The address at the start of s: [v6] or v4. Its length, or 0. */
static size_t parse_address(struct p2p_locator *l, const char *s, size_t len)
{
	char copy[INET6_ADDRSTRLEN];
	size_t n;

	if (len > 0 && s[0] == '[') {
		const char *end = memchr(s, ']', len);

		if (end == NULL)
			return 0;
		n = (size_t)(end - s) - 1;
		if (n == 0 || n >= sizeof(copy))
			return 0;
		memcpy(copy, s + 1, n);
		copy[n] = '\0';
		if (strlen(copy) != n || inet_pton(AF_INET6, copy, l->addr) != 1)
			return 0;
		l->family = 6;
		return n + 2;
	}
	for (n = 0; n < len && s[n] != ':' && s[n] != ';'; n++)
		;
	if (n == 0 || n >= sizeof(copy))
		return 0;
	memcpy(copy, s, n);
	copy[n] = '\0';
	if (strlen(copy) != n || inet_pton(AF_INET, copy, l->addr) != 1)
		return 0;
	l->family = 4;
	return n;
}

int p2p_locator_parse(struct p2p_locator *out, const char *uri, size_t len)
{
	struct p2p_locator l = {.service = P2P_SERVICE_SIP};
	uint64_t port = 0;
	size_t n, i, t = 0;

	if (len < 4 || !p2p_word_is(uri, 4, "sip:"))
		return EINVAL;
	uri += 4;
	len -= 4;
	n = parse_address(&l, uri, len);
	if (n == 0)
		return EINVAL;
	uri += n;
	len -= n;
	if (len > 0 && uri[0] == ':') {
		for (n = 1; n < len && uri[n] != ';'; n++)
			;
		if (p2p_u64_parse(&port, uri + 1, n - 1) != 0 || port == 0 || port > 65535)
			return EINVAL;
		uri += n;
		len -= n;
	}
	if (len > 0) {
		static const char param[] = ";transport=";

		n = sizeof(param) - 1;
		if (len < n || !p2p_word_is(uri, n, param))
			return EINVAL;
		for (i = 0; i < N_TRANSPORTS && !p2p_word_is(uri + n, len - n, transports[i].text);
		     i++)
			;
		if (i == N_TRANSPORTS)
			return EINVAL;
		t = i;
	}
	l.transports = (uint8_t)transports[t].transport;
	l.port = port != 0 ? (uint16_t)port : transports[t].port;
	if (!p2p_locator_valid(&l))
		return EINVAL;
	*out = l;
	return 0;
}

int p2p_record_add_uri(struct p2p_record *rec, const char *uri, size_t len)
{
	struct p2p_locator l, *last;
	int err = p2p_locator_parse(&l, uri, len);

	if (err != 0)
		return err;
	last = rec->n_locators > 0 ? &rec->locator[rec->n_locators - 1] : NULL;
	if (last != NULL && last->service == l.service && last->family == l.family &&
	    last->port == l.port && memcmp(last->addr, l.addr, sizeof(l.addr)) == 0 &&
	    l.transports > last->transports) {
		/* a bit above all that are there: the order of preference is kept */
		last->transports |= l.transports;
		return 0;
	}
	if (rec->n_locators == P2P_LOCATORS_MAX)
		return ENOSPC;
	rec->locator[rec->n_locators++] = l;
	return 0;
}

int p2p_record_uri(const struct p2p_record *rec, unsigned int n, char uri[P2P_LOCATOR_URI_MAX])
{
	unsigned int i;
	size_t t;

	for (i = 0; i < rec->n_locators; i++) {
		if (rec->locator[i].service != P2P_SERVICE_SIP)
			continue;
		for (t = 0; t < N_TRANSPORTS; t++) {
			if ((rec->locator[i].transports & transports[t].transport) != 0 && n-- == 0)
				return p2p_locator_print(&rec->locator[i], transports[t].transport,
							 uri);
		}
	}
	return ENOENT;
}
