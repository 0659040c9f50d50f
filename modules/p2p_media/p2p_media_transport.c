/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How media goes towards another peer: as the session with it says, whatever the phones speak. An
 * SDP of a peer that says otherwise is refused, since somebody on the way may have changed it. */
#include <stdio.h>
#include <string.h>
#include "core/data_lump_rpl.h"
#include "core/dprint.h"
#include "core/dset.h"
#include "core/ip_addr.h"
#include "core/locking.h"
#include "core/mem/shm_mem.h"
#include "core/parser/parse_uri.h"
#include "lib/base/log.h"
#include "modules/p2p_media/p2p_media.h"

#define LOG_INTERVAL_MS 60000

/* shm */
struct refusals {
	gen_lock_t lock;
	struct p2p_limit limit; /* under lock */
};

static struct refusals *refusals;

int p2p_media_transport_init(void)
{
	static const struct p2p_hash_key key = {{0}};

	refusals = shm_malloc(sizeof(*refusals));
	if (refusals == NULL) {
		SHM_MEM_ERROR;
		return -1;
	}
	memset(refusals, 0, sizeof(*refusals));
	if (lock_init(&refusals->lock) == NULL) {
		LM_ERR("cannot make a lock\n");
		shm_free(refusals);
		refusals = NULL;
		return -1;
	}
	p2p_limit_init(&refusals->limit, LOG_INTERVAL_MS, &key);
	return 0;
}

void p2p_media_transport_destroy(void)
{
	if (refusals == NULL)
		return;
	lock_destroy(&refusals->lock);
	shm_free(refusals);
	refusals = NULL;
}

void p2p_media_transport_of(struct sip_msg *msg, struct p2p_media_side *peer)
{
	struct p2p_session session;

	if (p2p_media_route.branch_session != NULL &&
	    p2p_media_route.branch_session(msg, &session) == 0) {
		peer->media = session.media;
		peer->family = session.family;
		return;
	}
	peer->media = p2p_media_config.peer_media;
	peer->family = 0;
}

uint8_t p2p_media_family_from(const struct sip_msg *msg)
{
	return msg->rcv.src_ip.af == AF_INET6 ? 6 : 4;
}

static uint8_t family_of(const str *uri)
{
	struct sip_uri u;

	if (uri == NULL || uri->s == NULL || uri->len == 0 || parse_uri(uri->s, uri->len, &u) < 0)
		return 0;
	return str2ip(&u.host) != NULL ? 4 : str2ip6(&u.host) != NULL ? 6 : 0;
}

uint8_t p2p_media_family_to(struct sip_msg *msg)
{
	uint8_t family = family_of(GET_RURI(msg));

	/* a WebSocket's contact names no address */
	return family != 0 ? family : family_of(&msg->dst_uri);
}

bool p2p_media_transport_fits(uint8_t found, uint8_t want)
{
	/* what is not RTP cannot be encrypted by rtpengine, but where nothing need be it passes */
	if (want == P2P_MEDIA_RTP)
		want |= P2P_MEDIA_SDP_OTHER;
	return want == 0 || (found & ~want) == 0;
}

bool p2p_media_transport_needs(uint8_t want, const struct p2p_media_sdp *sdp)
{
	return want != 0 && (want != P2P_MEDIA_RTP ||
			     (sdp != NULL && !p2p_media_transport_fits(sdp->media, want)));
}

const char *p2p_media_transport_phone(void)
{
	flag_t flags = 0;

	getbflagsval(0, &flags);
	if (p2p_media_config.dtls_bflag >= 0 && flags & (flag_t)1 << p2p_media_config.dtls_bflag)
		return "srtp-dtls";
	if (p2p_media_config.srtp_bflag >= 0 && flags & (flag_t)1 << p2p_media_config.srtp_bflag)
		return "srtp-sdes";
	return p2p_media_config.phone_media;
}

/* The worst of what an SDP has. */
static const char *found_text(uint8_t found)
{
	return found & P2P_MEDIA_SDP_BROKEN  ? "SRTP without a good key"
	       : found & P2P_MEDIA_SDP_OTHER ? "not RTP"
	       : found & P2P_MEDIA_RTP	     ? "rtp"
	       : found & P2P_MEDIA_SDES	     ? "srtp-sdes"
					     : "srtp-dtls";
}

/* Without what is wanted: it is the rest that is wrong. */
static void refusal_text(uint8_t found, uint8_t want, char *text, size_t size)
{
	snprintf(text, size, "media is %s, the session says %s", found_text(found & (uint8_t)~want),
		 p2p_media_text(want));
}

void p2p_media_transport_refused(struct sip_msg *msg, uint8_t found, uint8_t want, bool ours)
{
	const struct ip_addr *ip = &msg->rcv.src_ip;
	char text[96];
	bool ok;

	p2p_media_count(P2P_MEDIA_REFUSED_TRANSPORT);
	lock_get(&refusals->lock);
	ok = p2p_limit_ok(&refusals->limit, ip->u.addr, ip->len, p2p_media_now_ms(), NULL);
	lock_release(&refusals->lock);
	if (!ok)
		return;
	refusal_text(found, want, text, sizeof(text));
	LM_WARN("refused: SDP %s %s (Call-ID %.*s): %s\n",
		ours ? "for a peer, of what came from" : "of the peer at",
		ip_addr2a((struct ip_addr *)ip), msg->callid != NULL ? msg->callid->body.len : 0,
		msg->callid != NULL ? msg->callid->body.s : "", text);
}

int p2p_media_refuse(struct sip_msg *msg)
{
	static char phrase[] = "Not Acceptable Here";
	struct p2p_media_session *s = p2p_media_session_find(msg);
	char why[96] = "SDP cannot be used", header[160];
	struct cell *t;
	int n;

	if (msg->first_line.type != SIP_REQUEST || msg->REQ_METHOD == METHOD_ACK)
		return P2P_MEDIA_DONE;
	if (s != NULL && s->refused_want != 0)
		refusal_text(s->refused_found, s->refused_want, why, sizeof(why));
	t = p2p_media_tm.t_gett();
	if (t == NULL || t == T_UNDEFINED) {
		n = p2p_media_tm.t_newtran(msg);
		if (n == 0)
			return P2P_MEDIA_DONE; /* a retransmission: tm has answered it */
		if (n < 0) {
			LM_ERR("no transaction to answer with 488\n");
			return P2P_MEDIA_ERROR;
		}
	}
	/* RFC 3326; here: with the text that says which part failed */
	n = snprintf(header, sizeof(header), "Reason: SIP;cause=488;text=\"%s\"\r\n", why);
	if (add_lump_rpl(msg, header, n, LUMP_RPL_HDR) == NULL)
		LM_ERR("cannot add a header to the reply\n");
	return p2p_media_tm.t_reply(msg, 488, phrase) > 0 ? P2P_MEDIA_DONE : P2P_MEDIA_ERROR;
}
