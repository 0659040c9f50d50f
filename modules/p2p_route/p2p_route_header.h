/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The header that a request carries from one peer to the next, and what is signed of the request:
 *
 *   P2P-Peer: 2001:22:...;v=2;hops=1;s=<session id>;t=<ms since 1970>;mac=<HMAC-SHA-256>
 *
 * Without s, t and mac it only names who sends it: to a peer with which there is no session. Within
 * a dialog there is u too, a hash of the Request-URI, which stands for it in what is signed:
 * topology hiding (Kamailio's topos) changes that URI before the request is parsed and after it is
 * built. Plain bytes, so that it can be tested and fuzzed without Kamailio. */
#ifndef P2P_ROUTE_HEADER_H
#define P2P_ROUTE_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/base/bytes.h"
#include "lib/model/session.h"
#include "lib/proto/hit.h"

#define ROUTE_HEADER "P2P-Peer"
#define ROUTE_HEADER_LEN (sizeof(ROUTE_HEADER) - 1)
#define ROUTE_HOPS_MANY 99999u /* hops that are no number of at most five digits */
#define ROUTE_MAC_LEN 32
#define ROUTE_URI_HASH_LEN 8
/* The whole header line with its end, and NUL. */
#define ROUTE_HEADER_MAX 256

struct route_header {
	bool present;
	bool has_hit;	/* a well-formed HIT, and a version that is known */
	bool is_signed; /* session, t_ms and mac, each once and well-formed */
	struct p2p_hit hit;
	unsigned int hops;
	struct p2p_session_id session;
	uint64_t t_ms;
	uint8_t mac[ROUTE_MAC_LEN];
	bool within_dialog;		      /* uri_hash is there */
	uint8_t uri_hash[ROUTE_URI_HASH_LEN]; /* first bytes of its SHA-256; all 0: not covered */
};

/* Fills all but present. Unknown parameters are skipped; another version than 2, or text that is no
 * HIT, leaves has_hit false. */
void route_header_parse(struct route_header *h, const char *value, size_t len);
/* The header line, CRLF included; returns its length. With is_signed: the mac too. */
size_t route_header_print(const struct route_header *h, char text[ROUTE_HEADER_MAX]);

/* What a request's authenticator covers; strings need no NUL. */
struct route_signed {
	/* method, Request-URI (or uri_hash as 16 hexadecimal digits), Call-ID, CSeq number, From
	 * tag */
	const char *part[5];
	size_t len[5];
};

enum {
	ROUTE_SIGNED_METHOD,
	ROUTE_SIGNED_URI,
	ROUTE_SIGNED_CALLID,
	ROUTE_SIGNED_CSEQ,
	ROUTE_SIGNED_TAG
};

/* The bytes that are signed: "p2psip-sip" NUL, session, t_ms, hops, and each part behind its length
 * (16 bits). Numbers are big-endian. 0, or EMSGSIZE: a part is too long, or w is full. */
int route_signed_bytes(const struct route_header *h, const struct route_signed *s,
		       struct p2p_writer *w);

#endif
