/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The signed records that peers keep in the DHT. docs/records.md describes them byte by byte; the
 * format is frozen: what comes later comes as new TLVs, new kinds, or version 2. */
#ifndef P2PSIP_PROTO_RECORD_H
#define P2PSIP_PROTO_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/proto/crypto.h"
#include "lib/proto/hit.h"

#define P2P_RECORD_MAX 500   /* bytes, all in all */
#define P2P_RECORD_HEADER 93 /* bytes before the body */
#define P2P_RECORD_BODY_MAX (P2P_RECORD_MAX - P2P_RECORD_HEADER - P2P_SIG_LEN)
#define P2P_RECORD_VERSION 1

#define P2P_OVERLAY_ID_LEN 16
#define P2P_KEY_LEN 20
#define P2P_LOCATORS_MAX 8
#define P2P_RECORD_INSTANCES_MAX 8
#define P2P_PERMISSION_MAX 104
#define P2P_SOFTWARE_MAX 32

/* A record dated further ahead of the reader's clock than this is refused. */
#define P2P_RECORD_FUTURE_MS 120000

struct p2p_overlay_id {
	uint8_t b[P2P_OVERLAY_ID_LEN];
};

struct p2p_key {
	uint8_t b[P2P_KEY_LEN];
};

enum p2p_record_kind {
	P2P_RECORD_USER = 1,   /* this peer serves the user whose key it is */
	P2P_RECORD_PEER,       /* a peer: its addresses, its epoch and lease */
	P2P_RECORD_RELAY,      /* reserved: carried and checked, body not interpreted */
	P2P_RECORD_ENROLMENT,  /* by the authority: see lib/proto/enrolment.h */
	P2P_RECORD_REVOCATION, /* reserved, likewise */
};

enum p2p_service {
	P2P_SERVICE_SIP = 1, /* the peer's Kamailio */
	P2P_SERVICE_GATEWAY, /* overlay peer protocol, HTTPS */
	P2P_SERVICE_HIP,     /* the relay: HIP and ESP over UDP, or TLS */
};

enum p2p_transport {
	P2P_TRANSPORT_UDP = 1,
	P2P_TRANSPORT_TCP = 2,
	P2P_TRANSPORT_TLS = 4,
};

/* An address at which a service of the peer can be reached. */
struct p2p_locator {
	uint8_t service;    /* enum p2p_service */
	uint8_t transports; /* enum p2p_transport, at least one; preferred in the order above */
	uint8_t family;	    /* 4 or 6 */
	uint16_t port;	    /* host order, not 0 */
	uint8_t addr[16];   /* the first 4 bytes, or all 16 */
};

/* A decoded record; plain data, nothing in it is allocated. A record to be encoded is filled in
 * with all but pubkey's HIT; fields that do not belong to its kind must be zero. */
struct p2p_record {
	enum p2p_record_kind kind;
	bool tombstone; /* withdraws what the same signer stored under this key before */
	struct p2p_overlay_id overlay;
	struct p2p_key key;
	uint8_t pubkey[P2P_PUBKEY_LEN]; /* of the signer */
	uint64_t order;			/* hybrid logical clock, in ms since 1970 or a bit ahead */
	uint64_t expiry_ms;		/* wall clock */

	/* USER: the epoch of the peer when it signed; PEER: its current epoch. Not 0 there; 0 in
	 * a tombstone that says none. */
	uint64_t epoch;
	uint64_t lease_ms; /* PEER: until when the peer vouches for its records, wall clock */
	uint8_t n_locators;
	uint8_t n_instances;
	uint8_t permission_len; /* the authority's permission to serve this user; permission.h */
	struct p2p_locator locator[P2P_LOCATORS_MAX]; /* in order of preference */
	uint32_t instance[P2P_RECORD_INSTANCES_MAX];  /* USER: strictly ascending, none 0 */
	uint8_t permission[P2P_PERMISSION_MAX];
	char software[P2P_SOFTWARE_MAX + 1]; /* PEER: printable ASCII, "" when not said */

	/* RELAY, ENROLMENT, REVOCATION: the body as it stands, TLVs checked for form only. On
	 * decoding it is a copy. */
	uint16_t body_len;
	uint8_t body[P2P_RECORD_BODY_MAX];
};

/* What is wrong with a record. */
enum p2p_record_fault {
	P2P_RECORD_OK = 0,
	P2P_RECORD_BAD_SIZE,	/* too short, over 500 bytes, or not as long as it says */
	P2P_RECORD_BAD_MAGIC,	/* no record at all */
	P2P_RECORD_BAD_VERSION, /* of a format that is not known here */
	P2P_RECORD_BAD_KIND,	/* unknown kind, or not the kind that was looked for */
	P2P_RECORD_BAD_FLAGS,
	P2P_RECORD_BAD_BODY,	/* malformed TLV, or one missing, doubled, or out of place */
	P2P_RECORD_BAD_UNKNOWN, /* a TLV that must be understood is not known here */
	P2P_RECORD_BAD_OVERLAY, /* of another overlay */
	P2P_RECORD_BAD_KEY,	/* stored under another key than it names */
	P2P_RECORD_BAD_SIGNER,	/* not by the peer that it should be by */
	P2P_RECORD_BAD_FUTURE,	/* dated more than 120 s ahead */
	P2P_RECORD_BAD_LIFE,	/* lives longer than its kind may, or not at all */
	P2P_RECORD_EXPIRED,
	P2P_RECORD_BAD_SIGNATURE,
	P2P_RECORD_NO_PERMISSION,  /* the overlay wants the authority's permission to serve */
	P2P_RECORD_BAD_PERMISSION, /* not the authority's, or for another user or peer */
	P2P_RECORD_OLD_PERMISSION, /* expired */
	P2P_RECORD_REPLAYED,	   /* an older one of this signer than is known */
	P2P_RECORD_UNCHECKED,	   /* verifying failed for a reason of our own (memory, say) */
	P2P_RECORD_FAULTS,	   /* how many there are */
};

const char *p2p_record_fault_text(enum p2p_record_fault fault);
const char *p2p_record_kind_text(enum p2p_record_kind kind);

/* Longest life of a kind's records, expiry less order, in ms. */
uint64_t p2p_record_life_max(enum p2p_record_kind kind);

/* Encode and sign. buf: at least P2P_RECORD_MAX bytes. len is written on success. EINVAL: a field
 * out of place or out of range; EMSGSIZE: over 500 bytes; else what sign returned. Does not look at
 * any clock. */
int p2p_record_sign(const struct p2p_record *rec, const struct p2p_crypto *crypto, uint8_t *buf,
		    size_t cap, size_t *len);

/* Decode strictly. Believe nothing of the result before p2p_record_check. */
enum p2p_record_fault p2p_record_decode(struct p2p_record *rec, const void *bytes, size_t len);

/* What a record must agree with. */
struct p2p_record_expect {
	const struct p2p_overlay_id *overlay; /* NULL: any */
	const struct p2p_key *key;	      /* NULL: any */
	const struct p2p_hit *hit;	      /* the signer; NULL: any */
	enum p2p_record_kind kind;	      /* 0: any */
	uint64_t now_ms;		      /* wall clock */
};

/* Decode, and apply every rule of docs/records.md, the signature last. rec and hit (the signer's;
 * may be NULL) are written only when the answer is P2P_RECORD_OK. */
enum p2p_record_fault p2p_record_check(struct p2p_record *rec, struct p2p_hit *hit,
				       const void *bytes, size_t len,
				       const struct p2p_record_expect *expect,
				       const struct p2p_crypto *crypto);

/* Which of two records of the same signer, kind and key counts: <0 a is older, >0 b is older, 0 the
 * same. Higher order; then tombstone; then the greater signature, bytewise: equal orders come from
 * a peer that lost its clock and its state, and all that matters is that everybody decides alike.
 */
int p2p_record_cmp(const struct p2p_record *a, const void *abytes, size_t alen,
		   const struct p2p_record *b, const void *bbytes, size_t blen);

/* The id that a peer's records have among all records under a key: from its HIT, never 0. */
uint64_t p2p_record_value_id(const struct p2p_hit *hit);

/* Longest text of p2p_locator_print, with NUL. */
#define P2P_LOCATOR_URI_MAX 80

/* The SIP URI of one transport of a locator: sip:192.0.2.1:5060;transport=udp. EINVAL: not SIP,
 * or not exactly one known transport given. */
int p2p_locator_print(const struct p2p_locator *locator, enum p2p_transport transport,
		      char uri[P2P_LOCATOR_URI_MAX]);
/* From a SIP URI with an address (no host name: a record must need no DNS), no user part; port
 * 5060 (tls: 5061) and transport udp unless it says others. EINVAL. */
int p2p_locator_parse(struct p2p_locator *locator, const char *uri, size_t len);

/* Add a SIP URI to a record's locators; one that differs from the last only by a less preferred
 * transport joins it. EINVAL, ENOSPC. */
int p2p_record_add_uri(struct p2p_record *rec, const char *uri, size_t len);
/* The record's n-th SIP URI (from 0) in order of preference. ENOENT. */
int p2p_record_uri(const struct p2p_record *rec, unsigned int n, char uri[P2P_LOCATOR_URI_MAX]);
/* Add an instance hash, keeping them ascending; doubles are dropped, and the highest when there
 * are more than 8 (they help to choose, nothing depends on them). */
void p2p_record_add_instance(struct p2p_record *rec, uint32_t instance);

#endif
