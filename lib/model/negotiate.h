/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What two peers make of both their offers: signalling, IP family and media of a session. A pure
 * function, symmetric in the two: each gateway calls it with its own view, and both get the same or
 * both refuse. The rules:
 *
 *   - Only what both offer counts, and of signalling and family only pairs for which each of them
 *     has an address.
 *   - Of these, the one whose places in the two lists add up to the least.
 *   - Of equals, the one that protects more: tls, tcp, udp; srtp-dtls, srtp-sdes, rtp. Of families,
 *     the newer.
 *   - Signalling is chosen first, then the family, then media.
 *   - With udp, requests too big for a datagram go over tcp, where both offer that as well: over
 * the same family, else over the other one. */
#ifndef P2PSIP_MODEL_NEGOTIATE_H
#define P2PSIP_MODEL_NEGOTIATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/model/candidate.h"
#include "lib/model/session.h"

#define P2P_OFFER_SIGNALLINGS_MAX 3
#define P2P_OFFER_FAMILIES_MAX 2
#define P2P_OFFER_MEDIAS_MAX 3
#define P2P_OFFER_ADDRESSES_MAX 8

/* An address of the peer's Kamailio: one transport of one family. */
struct p2p_offer_address {
	uint8_t signalling; /* one enum p2p_signalling */
	uint8_t family;	    /* 4 or 6 */
	char uri[P2P_CANDIDATE_URI_MAX];
};

/* What a peer is willing to use with another one, the best first; nothing is named twice. */
struct p2p_offer {
	uint8_t n_signallings, n_families, n_medias, n_addresses;
	uint8_t signalling[P2P_OFFER_SIGNALLINGS_MAX]; /* one enum p2p_signalling each */
	uint8_t family[P2P_OFFER_FAMILIES_MAX];	       /* 4, 6 */
	uint8_t media[P2P_OFFER_MEDIAS_MAX];	       /* one enum p2p_media each */
	struct p2p_offer_address address[P2P_OFFER_ADDRESSES_MAX];
};

enum p2p_uncommon {
	P2P_COMMON = 0,
	P2P_UNCOMMON_SIGNALLING, /* no way of signalling that both offer and have addresses for */
	P2P_UNCOMMON_FAMILY,	 /* there would be one, but not over the same IP family */
	P2P_UNCOMMON_MEDIA,
};

struct p2p_agreed {
	uint8_t signalling, family, media;
	uint8_t stream_family; /* with udp: of the tcp for big requests; 0: none */
};

/* agreed is written only when the answer is P2P_COMMON. */
enum p2p_uncommon p2p_negotiate(const struct p2p_offer *a, const struct p2p_offer *b,
				struct p2p_agreed *agreed);

/* Lists without doubles, with words that are known; addresses whose text fits. */
bool p2p_offer_valid(const struct p2p_offer *offer);
/* A SIP URI of a peer as an address. EINVAL: it is none, or of a transport not known here. */
int p2p_offer_address_parse(struct p2p_offer_address *address, const char *uri, size_t len);
/* Adds a SIP URI. EINVAL: as above; EEXIST: is there; ENOSPC. */
int p2p_offer_add(struct p2p_offer *offer, const char *uri, size_t len);
/* From what was told: words and addresses that are not known here, and doubles, are left out. */
struct p2p_opp_offer;
void p2p_offer_read(struct p2p_offer *offer, const struct p2p_opp_offer *told);
void p2p_offer_write(const struct p2p_offer *offer, struct p2p_opp_offer *told);
/* "ipv4", "ipv6"; NULL, 0: another. */
const char *p2p_family_text(uint8_t family);
uint8_t p2p_family_parse(const char *text, size_t len);
/* The first address of this kind; NULL: none. */
const char *p2p_offer_uri(const struct p2p_offer *offer, uint8_t signalling, uint8_t family);

/* "signalling", "family", "media"; NULL for P2P_COMMON. */
const char *p2p_uncommon_text(enum p2p_uncommon what);
/* P2P_COMMON: no such word. */
enum p2p_uncommon p2p_uncommon_parse(const char *text, size_t len);
/* For people: "no common signalling: tls here, udp tcp there". */
void p2p_uncommon_reason(enum p2p_uncommon what, const struct p2p_offer *here,
			 const struct p2p_offer *there, char *text, size_t cap);

#endif
