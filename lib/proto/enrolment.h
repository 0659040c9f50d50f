/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The body of an enrolment record (kind 4), which the overlay's authority signs: a user and a peer
 * that may serve it, a peer that may serve anybody, or the overlay's rules. docs/records.md
 * describes it byte by byte. Bytes <-> struct only: sealing and the record around it are others'.
 */
#ifndef P2PSIP_PROTO_ENROLMENT_H
#define P2PSIP_PROTO_ENROLMENT_H

#include "lib/proto/permission.h"
#include "lib/proto/record.h"

#define P2P_REALM_MAX 64
#define P2P_HA1_MD5_LEN 16
#define P2P_HA1_SHA256_LEN 32
/* Both, in this order. */
#define P2P_HA1_MAX (P2P_HA1_MD5_LEN + P2P_HA1_SHA256_LEN)
/* An ephemeral key, what is sealed, the tag. */
#define P2P_SEALED_MAX (P2P_PUBKEY_LEN + P2P_HA1_MAX + 16)
/* Changes that one record of the overlay names. */
#define P2P_CHANGED_MAX 50

enum p2p_digest {
	P2P_DIGEST_MD5 = 1,
	P2P_DIGEST_SHA256 = 2,
};

enum p2p_enrolment_subject {
	P2P_ENROLMENT_USER = 1, /* a user at one peer */
	P2P_ENROLMENT_USER_ANY, /* a user at any peer */
	P2P_ENROLMENT_PEER,	/* a peer that may serve any user */
	P2P_ENROLMENT_OVERLAY,	/* what holds for all */
};

/* Plain data. What does not belong to the subject is zero. */
struct p2p_enrolment {
	enum p2p_enrolment_subject subject;
	struct p2p_hit peer;	  /* USER, PEER */
	uint8_t digests;	  /* USER, USER_ANY, OVERLAY: enum p2p_digest, at least one */
	uint8_t sealed_len;	  /* USER, USER_ANY: the HA1 of each digest, sealed */
	uint8_t permission_len;	  /* USER, USER_ANY, PEER */
	uint8_t n_changed;	  /* OVERLAY */
	bool permission_required; /* OVERLAY: user records without one are refused */
	/* OVERLAY: how many changes of users there were so far; of the last n_changed of them the
	 * first 32 bits of the enrolment key, the newest last. */
	uint64_t changes;
	uint32_t changed[P2P_CHANGED_MAX];
	char realm[P2P_REALM_MAX + 1]; /* USER, USER_ANY, OVERLAY: "" in none of them */
	uint8_t sealed[P2P_SEALED_MAX];
	uint8_t permission[P2P_PERMISSION_MAX];
};

/* By what an enrolled user's digest is checked, as gateway and modules tell each other. Cleansed by
 * who has it (explicit_bzero). */
struct p2p_auth {
	bool enrolled;		  /* false: there is no such user */
	uint8_t digests;	  /* enum p2p_digest */
	uint8_t ha1[P2P_HA1_MAX]; /* as p2p_digests_find() says */
	char realm[P2P_REALM_MAX + 1];
};

/* Fill in the body of a record of kind 4; of a tombstone only subject and peer are written. EINVAL:
 * a field missing, out of place or out of range. */
int p2p_enrolment_encode(const struct p2p_enrolment *en, struct p2p_record *rec);
/* From a record of kind 4 that was decoded (and, to believe it, checked). */
enum p2p_record_fault p2p_enrolment_decode(struct p2p_enrolment *en, const struct p2p_record *rec);

/* The id that it has among all records under its key. */
uint64_t p2p_enrolment_value_id(const struct p2p_enrolment *en, const struct p2p_hit *signer);

/* Bytes of the HA1s of these digests, in the order of their values; 0: none, or unknown ones. */
size_t p2p_digests_len(uint8_t digests);
/* Where the HA1 of one digest begins among those of all; its length in len. ENOENT. */
int p2p_digests_find(uint8_t digests, enum p2p_digest which, size_t *at, size_t *len);
/* "MD5", "SHA-256" (RFC 8760), "MD5 SHA-256"; "" else. */
const char *p2p_digests_text(uint8_t digests);
/* The other way round, in any case, with a blank or a comma between two. EINVAL. */
int p2p_digests_parse(uint8_t *digests, const char *text, size_t len);

/* Printable ASCII without quotes and backslashes, 1 to 64 bytes. */
bool p2p_realm_valid(const char *realm, size_t len);

#endif
