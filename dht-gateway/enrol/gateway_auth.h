/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Users' enrolment as this peer sees it: may it serve a user, by what HA1 is the user's digest
 * checked, and which permission goes into the user's records. What was read is remembered until the
 * overlay's rules name a change (gateway_auth_rules.h). In a closed overlay nobody is enrolled. */
#ifndef P2PSIP_GATEWAY_AUTH_H
#define P2PSIP_GATEWAY_AUTH_H

#include "dht-gateway/gateway.h"
#include "lib/proto/enrolment.h"

struct gw_auth_answer {
	uint64_t ttl_ms; /* how long it may be used without asking again, unless a change is told */
	uint8_t digests; /* enum p2p_digest */
	char realm[P2P_REALM_MAX + 1];
	uint8_t ha1[P2P_HA1_MAX]; /* as p2p_digests_find() says */
};

/* 0 or ENOMEM. */
int gw_auth_new(struct gw_auth **ap, struct gw *gw);
void gw_auth_free(struct gw_auth *a);

/* err: 0; ENOENT: no such user, by completed searches; EACCES: there is, and this peer may not
 * serve it; EPERM: a closed overlay; ETIMEDOUT; EBUSY; EINVAL: no name. answer is valid during the
 * call, NULL unless 0. */
typedef void gw_auth_h(int err, const struct gw_auth_answer *answer, void *arg);
/* h is called once, now or later. */
void gw_auth_user(struct gw_auth *a, const char *name, size_t len, uint64_t deadline_ms,
		  gw_auth_h *h, void *arg);

/* The authority's permission for this peer to serve the user, at most P2P_PERMISSION_MAX bytes. 0;
 * EAGAIN: it is being read; EACCES: there is none; EPERM: a closed overlay. Never waits. */
int gw_auth_permission(struct gw_auth *a, const char *name, size_t len, uint8_t *out, uint8_t *n);

/* The enrolment of users whose key begins with one of these has changed; all: of any. own: changed
 * by this gateway, whose store has it already. */
void gw_auth_changed(struct gw_auth *a, const uint32_t *prefix, unsigned int n, bool all, bool own);

/* The overlay has a new secret: enrolment lies elsewhere. Until the authority's gateway has signed
 * it anew, what lies under the secret before is as good. */
void gw_auth_rekey(struct gw_auth *a);

/* Under which key a user's enrolment lies. 0 or what lib/proto/key.h says. */
int gw_auth_key(const struct gw *gw, const char *name, size_t len, struct p2p_key *key);
/* A value from the DHT: the authority's enrolment record under this key? Counts and warns as
 * gw_record_read(). */
bool gw_auth_read(struct gw *gw, const uint8_t key[20], const void *data, size_t len,
		  struct p2p_record *rec, struct p2p_enrolment *en);

#endif
