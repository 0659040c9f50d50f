// SPDX-License-Identifier: GPL-2.0-or-later
/* Whose certificate has a connection? The tls module says by its pseudo-variables whether it was
 * verified, and what address it names: here, the holder's HIT. */
#include "core/pvar.h"
#include "core/resolve.h"
#include "p2p_route_tls.h"

static pv_spec_t verified, san_ip;
static bool ready;
/* Why the last request was refused (route_tls_channel). */
static char reason[P2P_HIT_TEXT_MAX + 64];

/* A connection has one certificate as long as it lives, and its id is no other's: each process
 * keeps what it has seen. */
#define SEEN 256
static struct {
	int con;
	struct p2p_hit hit;
} seen[SEEN];

int route_tls_accept_init(void)
{
	str v = str_init("$tls_peer_verified"), s = str_init("$tls_peer_san_ip");

	if (pv_parse_spec(&v, &verified) == NULL || pv_parse_spec(&s, &san_ip) == NULL) {
		LM_ERR("the tls module has no $tls_peer_verified, or no $tls_peer_san_ip\n");
		return -1;
	}
	ready = true;
	return 0;
}

bool route_tls_certificate(struct sip_msg *msg, struct p2p_hit *hit)
{
	int con = msg->rcv.proto_reserved1;
	unsigned int i = (unsigned int)con % SEEN;
	struct p2p_hit named;
	pv_value_t v;

	if (!ready || msg->rcv.proto != PROTO_TLS)
		return false;
	if (con != 0 && seen[i].con == con) {
		*hit = seen[i].hit;
		return true;
	}
	memset(&v, 0, sizeof(v));
	if (pv_get_spec_value(msg, &verified, &v) < 0 || !(v.flags & PV_VAL_INT) || v.ri != 1)
		return false;
	memset(&v, 0, sizeof(v));
	if (pv_get_spec_value(msg, &san_ip, &v) < 0 || !(v.flags & PV_VAL_STR) || v.rs.len <= 0 ||
	    p2p_hit_parse(&named, v.rs.s, (size_t)v.rs.len) != 0)
		return false;
	seen[i].con = con;
	seen[i].hit = named;
	*hit = named;
	return true;
}

enum route_auth route_tls_channel(struct sip_msg *msg, const struct p2p_session *session)
{
	char text[P2P_HIT_TEXT_MAX];
	struct p2p_hit cert;

	if (session->signalling != P2P_SIGNALLING_TLS)
		return ROUTE_AUTH_GOOD;
	if (msg->rcv.proto != PROTO_TLS) {
		snprintf(reason, sizeof(reason), "its session says TLS, and it came over %s",
			 msg->rcv.proto == PROTO_UDP ? "UDP" : "TCP or WebSocket");
		return ROUTE_AUTH_CHANNEL;
	}
	if (!route_tls_certificate(msg, &cert)) {
		snprintf(reason, sizeof(reason), "it came over TLS without a good certificate");
		return ROUTE_AUTH_CHANNEL;
	}
	if (p2p_hit_cmp(&cert, &session->hit) != 0) {
		p2p_hit_print(&cert, text);
		snprintf(reason, sizeof(reason), "it came over TLS with the certificate of %s",
			 text);
		return ROUTE_AUTH_CHANNEL;
	}
	return ROUTE_AUTH_GOOD;
}

const char *route_tls_channel_text(void)
{
	return reason;
}
