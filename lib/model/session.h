/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What two peers agreed for their traffic: the session that their gateways negotiate and that
 * Kamailio's modules use. Plain data of fixed size, for a stack, a queue and shared memory alike.
 */
#ifndef P2PSIP_MODEL_SESSION_H
#define P2PSIP_MODEL_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/model/candidate.h"
#include "lib/proto/hit.h"

#define P2P_SESSION_ID_LEN 16
#define P2P_SESSION_KEY_LEN 32
/* Text of an id, with NUL: 32 hexadecimal digits in lower case. */
#define P2P_SESSION_ID_TEXT_MAX (2 * P2P_SESSION_ID_LEN + 1)

/* How SIP goes between the two Kamailios. Values are bits, so that sets of them are masks. */
enum p2p_signalling {
	P2P_SIGNALLING_UDP = 1,
	P2P_SIGNALLING_TCP = 2,
	P2P_SIGNALLING_TLS = 4,
};

/* How RTP goes between the two rtpengines: plain, SRTP keyed in the SDP (RFC 4568), or SRTP keyed
 * by DTLS (RFC 5764). Bits. */
enum p2p_media {
	P2P_MEDIA_RTP = 1,
	P2P_MEDIA_SDES = 2,
	P2P_MEDIA_DTLS = 4,
};

struct p2p_session_id {
	uint8_t b[P2P_SESSION_ID_LEN];
};

struct p2p_session {
	struct p2p_session_id id;
	struct p2p_hit hit; /* the other peer */
	bool initiator;	    /* this peer opened it */
	bool retiring;	    /* for the calls that run over it only */
	uint8_t signalling; /* one enum p2p_signalling */
	uint8_t media;	    /* one enum p2p_media */
	uint8_t family;	    /* 4 or 6: the addresses of uri */
	uint32_t ttl_ms;    /* how long it may be used from when it was answered, unless renewed */
	/* HMAC-SHA-256 keys of the requests that this peer sends, and of those it receives */
	uint8_t key_out[P2P_SESSION_KEY_LEN];
	uint8_t key_in[P2P_SESSION_KEY_LEN];
	/* The other Kamailio's address: sip:address:port;transport=... by signalling and family. */
	char uri[P2P_CANDIDATE_URI_MAX];
	/* With signalling UDP: where to send requests too big for a datagram; "" when nowhere. */
	char stream_uri[P2P_CANDIDATE_URI_MAX];
};

/* "udp", "tcp", "tls"; NULL for anything but one known bit. */
const char *p2p_signalling_text(uint8_t signalling);
/* "rtp", "srtp-sdes", "srtp-dtls"; NULL likewise. */
const char *p2p_media_text(uint8_t media);
/* The bit; 0: no such word. */
uint8_t p2p_signalling_parse(const char *text, size_t len);
uint8_t p2p_media_parse(const char *text, size_t len);

void p2p_session_id_print(const struct p2p_session_id *id, char text[P2P_SESSION_ID_TEXT_MAX]);
/* EINVAL: not 32 lower-case hexadecimal digits, or all zero. */
int p2p_session_id_parse(struct p2p_session_id *id, const char *text, size_t len);

#endif
