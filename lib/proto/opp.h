/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The overlay peer protocol between gateways: paths and JSON bodies <-> structs.
 * docs/peer-protocol.md describes it. Reading is strict and bounded; members that are not known are
 * ignored, so that later versions can add some. A library of its own (libp2popp): it needs json-c,
 * the rest of lib/proto nothing. All functions: 0 or a positive errno; what they write, they write
 * on success only. */
#ifndef P2PSIP_PROTO_OPP_H
#define P2PSIP_PROTO_OPP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/proto/hit.h"
#include "lib/proto/record.h"

/* The version spoken here: the first part of every path. */
#define P2P_OPP_VERSION 1
/* Bytes of a body, depth of its JSON, elements of a list. */
#define P2P_OPP_BODY_MAX 4096
#define P2P_OPP_DEPTH_MAX 8
#define P2P_OPP_LIST_MAX 8
/* Users that are asked about at once. */
#define P2P_OPP_USERS_MAX 32
/* Longest path, with NUL: /v1/<32>/sessions/<32>. */
#define P2P_OPP_PATH_MAX 96
#define P2P_OPP_WORD_MAX 16 /* a word of an offer, with NUL */
#define P2P_OPP_NONCE_LEN 32
#define P2P_OPP_SESSION_ID_LEN 16
#define P2P_OPP_SESSION_KEY_LEN 32
#define P2P_OPP_REASON_MAX 128
/* The request header by which a member of a closed overlay proves that it is one. */
#define P2P_OPP_MEMBER_HEADER "P2P-Member"
#define P2P_OPP_MEMBER_MAX 96
/* How far the clocks of two members may differ. */
#define P2P_OPP_MEMBER_SKEW_MS 120000
/* A request header of DELETE: the caller closes the session whatever runs over it ("yes"). */
#define P2P_OPP_FINAL_HEADER "P2P-Final"
/* Highest age of a phone that is told. */
#define P2P_OPP_AGE_MAX_MS 315360000000 /* ten years */
/* Longest lifetime of a session, in seconds, and most calls that are counted. */
#define P2P_OPP_LIFETIME_MAX_S 86400
#define P2P_OPP_CALLS_MAX 10000000

/* --- what is asked for -------------------------------------------------------------------------
 */

enum p2p_opp_resource {
	P2P_OPP_PEER = 1, /* /v1/<overlay>/peer */
	P2P_OPP_USER,	  /* /v1/<overlay>/users/<key> */
	P2P_OPP_USERS,	  /* /v1/<overlay>/users/query */
	P2P_OPP_SESSION,  /* /v1/<overlay>/sessions/<id> */
	P2P_OPP_MEMBERS,  /* /v1/<overlay>/members; opp_members.h */
	/* opp_records.h: */
	P2P_OPP_RECORDS, /* /v1/<overlay>/records */
	P2P_OPP_QUERY,	 /* /v1/<overlay>/records/query */
	P2P_OPP_RANGE,	 /* /v1/<overlay>/records/range */
	P2P_OPP_CHECK,	 /* /v1/<overlay>/records/check */
	P2P_OPP_CHANGES, /* /v1/<overlay>/changes */
	/* of overlays with an authority: */
	P2P_OPP_ENROLMENT,   /* /v1/<overlay>/enrolment */
	P2P_OPP_REVOCATIONS, /* /v1/<overlay>/revocations[/<number>] */
	P2P_OPP_SECRET,	     /* /v1/<overlay>/secret */
};

struct p2p_opp_path {
	unsigned int version;
	struct p2p_overlay_id overlay;
	enum p2p_opp_resource resource;
	struct p2p_key key;			 /* USER: the key of the user's records */
	uint8_t session[P2P_OPP_SESSION_ID_LEN]; /* SESSION: not all 0 */
	uint32_t number;			 /* REVOCATIONS: from this one on; 0: none given */
};

void p2p_opp_path_print(const struct p2p_opp_path *path, char text[P2P_OPP_PATH_MAX]);
/* EPROTONOSUPPORT: of another version (path->version is written, the rest is not); EINVAL: no such
 * thing. */
int p2p_opp_path_parse(struct p2p_opp_path *path, const char *text, size_t len);

/* --- bodies ------------------------------------------------------------------------------------
 */

/* A peer about itself. */
struct p2p_opp_peer {
	uint8_t n_versions;
	uint8_t n_uris;
	unsigned int version[P2P_OPP_LIST_MAX]; /* that it speaks; at least one, none 0 */
	struct p2p_hit hit;
	struct p2p_overlay_id overlay;
	uint64_t epoch;
	char software[P2P_SOFTWARE_MAX + 1];		 /* printable ASCII; "" when not said */
	char uri[P2P_OPP_LIST_MAX][P2P_LOCATOR_URI_MAX]; /* SIP addresses, the best first */
};

enum p2p_opp_presence {
	P2P_OPP_NO = 1, /* the user is not served here */
	P2P_OPP_YES,
	P2P_OPP_ORPHAN, /* served here, but Kamailio began anew and the phone has not come back */
	P2P_OPP_MOVED,	/* not served here any more; another peer serves the user */
};

/* Is this user with you? */
struct p2p_opp_user {
	enum p2p_opp_presence presence;
	struct p2p_hit hit; /* MOVED: where to */
	/* YES: phones (the hashes of their +sip.instance) and for how long they have been there */
	uint8_t n_phones;
	struct {
		uint32_t instance; /* not 0 */
		uint64_t age_ms;   /* up to P2P_OPP_AGE_MAX_MS */
	} phone[P2P_OPP_LIST_MAX];
};

/* POST users/query: are these users with you? */
struct p2p_opp_keys {
	uint8_t n; /* 1 at least */
	struct p2p_key key[P2P_OPP_USERS_MAX];
};

/* Of each, in their order; of phones nothing is said. */
struct p2p_opp_users {
	uint8_t n;
	struct {
		bool known; /* else it cannot be said yet */
		enum p2p_opp_presence presence;
		struct p2p_hit hit; /* MOVED: where to */
	} a[P2P_OPP_USERS_MAX];
};

/* Words of one list, the best first: 1 to 15 of a-z, 0-9 and '-'. Which of them mean something is
 * for others to say: later versions may add some. */
struct p2p_opp_words {
	uint8_t n;
	char word[P2P_OPP_LIST_MAX][P2P_OPP_WORD_MAX];
};

/* What a peer is willing to use. */
struct p2p_opp_offer {
	struct p2p_opp_words signalling, family, media;
	uint8_t n_uris;
	char uri[P2P_OPP_LIST_MAX][P2P_LOCATOR_URI_MAX]; /* SIP addresses, the best first */
};

/* PUT: opens a session. */
struct p2p_opp_open {
	uint8_t nonce[P2P_OPP_NONCE_LEN];
	uint64_t instance;   /* of the caller's process: another one knows none of its sessions */
	uint32_t lifetime_s; /* wanted */
	struct p2p_opp_offer offer;
	bool asks;	     /* and is this user with you? */
	struct p2p_key user; /* the key of the user's records */
};

/* The answer. */
struct p2p_opp_opened {
	uint8_t nonce[P2P_OPP_NONCE_LEN];
	uint64_t instance;
	uint32_t lifetime_s;
	struct p2p_opp_offer offer;
	/* what follows from both offers */
	char signalling[P2P_OPP_WORD_MAX], family[P2P_OPP_WORD_MAX], media[P2P_OPP_WORD_MAX];
	bool told; /* of the user; false: not asked, or not known yet */
	struct p2p_opp_user user;
};

/* POST: goes on; its answer; and the answer to DELETE. */
struct p2p_opp_calls {
	uint32_t lifetime_s; /* in the answer to POST: from now on; else 0 */
	uint32_t calls;	     /* that the speaker counts over it */
	bool retiring; /* of POST and its answer: for these calls only, by the speaker's settings */
};

enum p2p_opp_error_code {
	P2P_OPP_E_BADREQUEST = 1,
	P2P_OPP_E_OVERLAY, /* of another overlay */
	P2P_OPP_E_MEMBER,  /* no member, or a proof that does not hold */
	P2P_OPP_E_NOTFOUND,
	P2P_OPP_E_VERSION, /* another version of the protocol; versions says which ones are spoken
			    */
	P2P_OPP_E_BUSY,
	P2P_OPP_E_METHOD,     /* this resource has no such method */
	P2P_OPP_E_REPLAY,     /* a session of this id was opened before */
	P2P_OPP_E_INUSE,      /* calls run over the session */
	P2P_OPP_E_NOCOMMON,   /* no way to talk that both sides offer; uncommon says what is missing
			       */
	P2P_OPP_E_INVITATION, /* unknown, used by another peer, or too old */
};

struct p2p_opp_error {
	enum p2p_opp_error_code code;
	uint8_t n_versions;
	unsigned int version[P2P_OPP_LIST_MAX];
	char reason[P2P_OPP_REASON_MAX]; /* printable ASCII, for people */
	char uncommon[P2P_OPP_WORD_MAX]; /* NOCOMMON: "signalling", "family", "media"; else "" */
	bool told;			 /* NOCOMMON: of the user who was asked about */
	struct p2p_opp_user user;
};

/* The highest version that is spoken here and there. EPROTONOSUPPORT: none. */
int p2p_opp_version_choose(const unsigned int *theirs, size_t n, unsigned int *version);

/* buf: the JSON text and a NUL; len without it. EINVAL: a field out of range; EMSGSIZE: does not
 * fit cap. */
int p2p_opp_peer_encode(const struct p2p_opp_peer *peer, char *buf, size_t cap, size_t *len);
int p2p_opp_user_encode(const struct p2p_opp_user *user, char *buf, size_t cap, size_t *len);
int p2p_opp_error_encode(const struct p2p_opp_error *error, char *buf, size_t cap, size_t *len);
int p2p_opp_open_encode(const struct p2p_opp_open *open, char *buf, size_t cap, size_t *len);
int p2p_opp_opened_encode(const struct p2p_opp_opened *opened, char *buf, size_t cap, size_t *len);
int p2p_opp_calls_encode(const struct p2p_opp_calls *calls, char *buf, size_t cap, size_t *len);

/* EMSGSIZE: over P2P_OPP_BODY_MAX; EBADMSG: no such body; ENOMEM. */
int p2p_opp_peer_decode(struct p2p_opp_peer *peer, const char *text, size_t len);
int p2p_opp_user_decode(struct p2p_opp_user *user, const char *text, size_t len);
int p2p_opp_keys_encode(const struct p2p_opp_keys *keys, char *buf, size_t cap, size_t *len);
int p2p_opp_keys_decode(struct p2p_opp_keys *keys, const char *text, size_t len);
int p2p_opp_users_encode(const struct p2p_opp_users *users, char *buf, size_t cap, size_t *len);
int p2p_opp_users_decode(struct p2p_opp_users *users, const char *text, size_t len);
int p2p_opp_error_decode(struct p2p_opp_error *error, const char *text, size_t len);
int p2p_opp_open_decode(struct p2p_opp_open *open, const char *text, size_t len);
int p2p_opp_opened_decode(struct p2p_opp_opened *opened, const char *text, size_t len);
int p2p_opp_calls_decode(struct p2p_opp_calls *calls, const char *text, size_t len);

/* --- enrolment ---------------------------------------------------------------------------------
 */

/* A certificate in base64, with NUL. */
#define P2P_OPP_CERT_MAX 1400
#define P2P_OPP_TOKEN_LEN 16
#define P2P_OPP_BOOTSTRAP_MAX 4
#define P2P_OPP_ADDRESS_MAX 80
/* Records that one answer or push carries. */
#define P2P_OPP_RECORDS_MAX 4
/* A request header: how many revocations the caller knows. */
#define P2P_OPP_KNOWN_HEADER "P2P-Revocations"

/* POST: lets a new peer in by an invitation, or renews the certificate of a member. */
struct p2p_opp_enrol {
	bool invited; /* token is set */
	uint8_t token[P2P_OPP_TOKEN_LEN];
};

/* The overlay secret of one generation. */
struct p2p_opp_secret {
	uint32_t generation;
	uint8_t len; /* 0: none */
	uint8_t b[64];
};

/* The answer. For a renewal only the certificates are set. */
struct p2p_opp_enrolled {
	char certificate[P2P_OPP_CERT_MAX]; /* base64 of DER, of the peer and of the authority */
	char authority[P2P_OPP_CERT_MAX];
	struct p2p_opp_secret secret;
	uint8_t n_bootstrap;
	/* "host:port" of DHT nodes; ":port": where this gateway was reached */
	char bootstrap[P2P_OPP_BOOTSTRAP_MAX][P2P_OPP_ADDRESS_MAX];
};

/* Answer to GET, body of POST: `count` in all, and some of their records, in order. */
struct p2p_opp_revocations {
	uint32_t count;
	uint8_t n;
	struct {
		uint16_t len;
		uint8_t b[P2P_RECORD_MAX];
	} record[P2P_OPP_RECORDS_MAX];
};

int p2p_opp_enrol_encode(const struct p2p_opp_enrol *enrol, char *buf, size_t cap, size_t *len);
int p2p_opp_enrolled_encode(const struct p2p_opp_enrolled *e, char *buf, size_t cap, size_t *len);
int p2p_opp_secret_encode(const struct p2p_opp_secret *secret, char *buf, size_t cap, size_t *len);
int p2p_opp_revocations_encode(const struct p2p_opp_revocations *r, char *buf, size_t cap,
			       size_t *len);
int p2p_opp_enrol_decode(struct p2p_opp_enrol *enrol, const char *text, size_t len);
int p2p_opp_enrolled_decode(struct p2p_opp_enrolled *e, const char *text, size_t len);
int p2p_opp_secret_decode(struct p2p_opp_secret *secret, const char *text, size_t len);
int p2p_opp_revocations_decode(struct p2p_opp_revocations *r, const char *text, size_t len);

const char *p2p_opp_presence_text(enum p2p_opp_presence presence);
const char *p2p_opp_error_text(enum p2p_opp_error_code code);

/* --- keys --------------------------------------------------------------------------------------
 */

/* What both gateways of a session know, and nobody else: the nonces went through TLS. */
struct p2p_opp_secrets {
	uint8_t initiator_nonce[P2P_OPP_NONCE_LEN], responder_nonce[P2P_OPP_NONCE_LEN];
	struct p2p_overlay_id overlay;
	struct p2p_hit initiator, responder;
	uint8_t id[P2P_OPP_SESSION_ID_LEN];
};

/* The keys of a session's requests, each way: HMAC-SHA-256(both nonces, "p2psip-session" | 0 |
 * overlay | initiator's HIT | responder's HIT | id | 1 or 2); 1: of what the initiator sends. */
int p2p_opp_session_keys(const struct p2p_opp_secrets *secrets,
			 uint8_t from_initiator[P2P_OPP_SESSION_KEY_LEN],
			 uint8_t from_responder[P2P_OPP_SESSION_KEY_LEN],
			 const struct p2p_crypto *crypto);

/* --- membership --------------------------------------------------------------------------------
 */

/* The header's value: HMAC-SHA-256(overlay secret, "p2psip-member" | 0 | overlay | caller's HIT |
 * callee's HIT | time, 64 bits) and the time. It proves that the caller, whose HIT the callee has
 * from the TLS connection, knows the secret; nobody else can use it, for it names the caller. */
int p2p_opp_member_make(char text[P2P_OPP_MEMBER_MAX], const void *secret, size_t secretlen,
			const struct p2p_overlay_id *overlay, const struct p2p_hit *caller,
			const struct p2p_hit *callee, uint64_t now_ms,
			const struct p2p_crypto *crypto);
/* EBADMSG: no such text; ESTALE: made more than P2P_OPP_MEMBER_SKEW_MS ago or ahead; EACCES: does
 * not hold. */
int p2p_opp_member_check(const char *text, size_t len, const void *secret, size_t secretlen,
			 const struct p2p_overlay_id *overlay, const struct p2p_hit *caller,
			 const struct p2p_hit *callee, uint64_t now_ms,
			 const struct p2p_crypto *crypto);

#endif
