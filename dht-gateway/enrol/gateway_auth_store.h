/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Enrolment records that this gateway keeps: those that the authority's operator gave to it, and
 * those that concern this peer. They are in a file of the state folder, and are put into the DHT
 * again and again: an authority that is offline is not missed. Only records that were verified get
 * here; of one key and id only the latest is kept, and never an earlier one in its place. */
#ifndef P2PSIP_GATEWAY_AUTH_STORE_H
#define P2PSIP_GATEWAY_AUTH_STORE_H

#include "dht-gateway/gateway.h"
#include "lib/proto/enrolment.h"

struct gw_auth_held {
	struct p2p_record rec;
	struct p2p_enrolment en;
	uint64_t id;
	/* The overlay's rules say that it has changed since: good for nothing until it is read
	 * again. */
	bool suspect;
	bool confirmed; /* another node has it, as far as is known */
	size_t len;
	uint8_t bytes[P2P_RECORD_MAX];
};

/* Reads the file. 0 or errno, with the reason in err. */
int gw_auth_store_new(struct gw_auth_store **sp, struct gw *gw, char *err, size_t errlen);
void gw_auth_store_free(struct gw_auth_store *s);

/* Verified bytes, and what they say. 0: taken, and on the disk; EALREADY: it is there; ESTALE: a
 * later one is there; ENOSPC, ENOMEM, or why the file cannot be written. */
int gw_auth_store_add(struct gw_auth_store *s, const struct p2p_record *rec,
		      const struct p2p_enrolment *en, const void *bytes, size_t len);
/* NULL: none that has not expired. Valid until the loop goes on. */
const struct gw_auth_held *gw_auth_store_get(const struct gw_auth_store *s,
					     const struct p2p_key *key, uint64_t id);
/* Those whose key begins so have changed. all: whatever their key. */
void gw_auth_store_suspect(struct gw_auth_store *s, uint32_t prefix, bool all);

/* The overlay has a new secret: what is here lies under keys that nobody looks under any more soon.
 * It is let go of when all members have had time to change. */
void gw_auth_store_rekey(struct gw_auth_store *s);

/* err 0: another node has it, or there is none. */
typedef void gw_auth_put_h(int err, void *arg);
/* Put it now and read it back. h is called once, later. ring: tell those who watch the key. EBUSY:
 * somebody waits for it already; ENOENT. */
int gw_auth_store_put(struct gw_auth_store *s, const struct p2p_key *key, uint64_t id, bool ring,
		      gw_auth_put_h *h, void *arg);
/* Others have come that know nothing yet. */
void gw_auth_store_renew(struct gw_auth_store *s);

size_t gw_auth_store_count(const struct gw_auth_store *s);
/* A page; as gw_map_scan. */
void gw_auth_store_scan(const struct gw_auth_store *s, uint64_t *cursor, size_t count,
			void (*fn)(const struct gw_auth_held *held, void *arg), void *arg);

#endif
