/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding the SDP in a body, and looking into it. Bytes in, numbers out: nothing of Kamailio, so
 * that unit tests and the fuzzer run it alone. */
#ifndef P2P_MEDIA_SDP_H
#define P2P_MEDIA_SDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/model/session.h"

/* Longest SDP that is handed to the relay. */
#define P2P_MEDIA_SDP_MAX (60 * 1024)
/* Media sections in one SDP. */
#define P2P_MEDIA_SECTIONS_MAX 32
/* Parts of a multipart body that are looked at. */
#define P2P_MEDIA_PARTS_MAX 16
/* Longest address of a connection line, with NUL. */
#define P2P_MEDIA_ADDRESS_MAX 64

/* Where the SDP is in a body of this Content-Type (RFC 3261 section 7.4; RFC 2046 section 5.1 for
 * multipart/mixed and its kin: the first part that is application/sdp). 0 and *off, *sdplen;
 * ENOENT: there is none; EBADMSG: a multipart body that cannot be taken apart. */
int p2p_media_sdp_find(const char *type, size_t typelen, const char *body, size_t len, size_t *off,
		       size_t *sdplen);

/* Beside enum p2p_media, of an active media section: */
#define P2P_MEDIA_SDP_OTHER 0x40  /* not RTP: T.38 over udptl, say */
#define P2P_MEDIA_SDP_BROKEN 0x80 /* SRTP without a key, or with one that leaves it in clear */

struct p2p_media_sdp {
	unsigned int sections; /* m= lines */
	unsigned int active;   /* of them with a port other than 0 */
	/* How the active ones are to run: enum p2p_media and the two above, as a mask. SRTP that
	 * offers both kinds of keys counts as DTLS, which is what rtpengine then takes. */
	uint8_t media;
	/* of the session's c= line, or else the first section's that has one; "" when there is none
	 */
	char address[P2P_MEDIA_ADDRESS_MAX];
};

/* Check and look into an SDP (RFC 4566 section 5, as far as needed here). EBADMSG: it does not
 * begin with v=0, a line is no "x=", or holds a control character; E2BIG: over the limits. */
int p2p_media_sdp_inspect(const char *s, size_t len, struct p2p_media_sdp *sdp);

/* The same SDP with all its media declined (RFC 3264 section 6: port 0). out has room for len
 * and P2P_MEDIA_SECTIONS_MAX bytes; returns how many there are. s has passed inspect. */
size_t p2p_media_sdp_decline(const char *s, size_t len, char *out);

/* Is it an address that is not routed on the Internet (RFC 1918, RFC 6598, link-local, ULA)? */
bool p2p_media_address_private(const char *address);

#endif
