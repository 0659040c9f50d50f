/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the authority's folder keeps of users and rules, in small text files: enough to sign all
 * enrolment records anew. A file is replaced at one stroke and brought to the disk.
 *
 *   users/<40 hexadecimal digits>   a user, or a peer that may serve any; by the hash of its name
 *   rules                           realm, digests, and the changes so far
 */
#ifndef P2PSIP_GATEWAY_USER_ENROLMENT_FILE_H
#define P2PSIP_GATEWAY_USER_ENROLMENT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/proto/enrolment.h"
#include "lib/proto/name.h"

/* Peers named for one user; each has a record of its own under one key. */
#define GW_ENROLLED_PEERS_MAX 32
#define GW_ENROLLED_TEXT_MAX 8192

enum gw_enrolled_state {
	GW_ENROLLED_NEVER,
	GW_ENROLLED_YES,
	GW_ENROLLED_NO, /* was, and a tombstone says so */
};

struct gw_enrolled_peer {
	struct p2p_hit hit;
	uint8_t pubkey[P2P_PUBKEY_LEN]; /* what is sealed to it needs it */
	enum gw_enrolled_state state;
};

/* A user; or, without a name, the peer[0] that may serve any user. */
struct gw_enrolled {
	size_t len;
	char name[P2P_NAME_MAX + 1];
	uint64_t order; /* of its last records */
	bool removed;
	enum gw_enrolled_state any; /* at any enrolled peer */
	uint8_t digests;
	uint8_t ha1[P2P_HA1_MAX];
	char realm[P2P_REALM_MAX + 1]; /* that of the HA1s */
	unsigned int n_peers;
	struct gw_enrolled_peer peer[GW_ENROLLED_PEERS_MAX];
};

struct gw_enrolled_rules {
	uint64_t order, changes;
	uint8_t digests, n_changed;
	bool permission_required;
	char realm[P2P_REALM_MAX + 1];
	uint32_t changed[P2P_CHANGED_MAX];
};

/* Text of at most GW_ENROLLED_TEXT_MAX bytes with its NUL. 0 or EMSGSIZE. */
int gw_enrolled_print(const struct gw_enrolled *u, char *text, size_t cap, size_t *len);
/* EINVAL: not such a text, or a line that is not known. */
int gw_enrolled_parse(struct gw_enrolled *u, const char *text, size_t len);
int gw_enrolled_rules_print(const struct gw_enrolled_rules *r, char *text, size_t cap, size_t *len);
int gw_enrolled_rules_parse(struct gw_enrolled_rules *r, const char *text, size_t len);

/* ENOENT: no such user; EINVAL, EIO: a damaged file; err names it. u has the name (or the peer). */
int gw_enrolled_load(const char *dir, struct gw_enrolled *u, char *err, size_t errlen);
int gw_enrolled_save(const char *dir, const struct gw_enrolled *u, char *err, size_t errlen);
/* fn for each, in no order, until it returns false. ENOENT: there are none. A damaged file ends it
 * with EINVAL, after all others. */
int gw_enrolled_scan(const char *dir, bool (*fn)(const struct gw_enrolled *u, void *arg), void *arg,
		     char *err, size_t errlen);
/* ENOENT: there are no rules yet. */
int gw_enrolled_rules_load(const char *dir, struct gw_enrolled_rules *r, char *err, size_t errlen);
int gw_enrolled_rules_save(const char *dir, const struct gw_enrolled_rules *r, char *err,
			   size_t errlen);

struct gw_enrolled_peer *gw_enrolled_peer_find(struct gw_enrolled *u, const struct p2p_hit *hit);

#endif
