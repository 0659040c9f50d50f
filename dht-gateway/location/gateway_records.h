/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signed records between the gateway and the DHT: made, read, and judged for storing. */
#ifndef P2PSIP_GATEWAY_RECORDS_H
#define P2PSIP_GATEWAY_RECORDS_H

#include "dht-gateway/gateway.h"

/* The id of the bell for a record: one for each order, so that each is told. */
uint64_t gw_record_bell_id(const struct p2p_hit *hit, uint64_t order);

/* Under which key. 0 or what lib/proto/key.h says. */
int gw_record_key_user(const struct gw *gw, const char *name, size_t len, struct p2p_key *key);
int gw_record_key_peer(const struct gw *gw, const struct p2p_hit *hit, struct p2p_key *key);
/* For a while after the overlay's secret has changed, what is not found under the new one (age 0)
 * may lie under an older one, by members that do not have it yet. ages: how many to look under, at
 * least 1. */
unsigned int gw_record_ages(const struct gw *gw);
int gw_record_key_user_at(const struct gw *gw, const char *name, size_t len, unsigned int age,
			  struct p2p_key *key);
int gw_record_key_peer_at(const struct gw *gw, const struct p2p_hit *hit, unsigned int age,
			  struct p2p_key *key);

/* A value that came from the DHT: is it good, all rules applied? A bad one is counted, and logged
 * at most once a minute per signer. hit NULL: any signer. */
bool gw_record_read(struct gw *gw, enum p2p_record_kind kind, const uint8_t key[DHT_KEY_LEN],
		    const struct p2p_hit *hit, const void *data, size_t len, struct p2p_record *rec,
		    struct p2p_hit *signer);

/* A user record that came from another gateway, not from the DHT: is it good? When it is `from`
 * who signed it, and it came over from's own connection, its signature was as good as seen. rec and
 * signer are written when it is P2P_RECORD_OK; nothing is counted or logged. */
enum p2p_record_fault gw_record_judge(const struct gw *gw, const struct p2p_hit *from,
				      const void *data, size_t len, struct p2p_record *rec,
				      struct p2p_hit *signer);

/* The same of a record whose signature was verified before, byte by byte the same. */
enum p2p_record_fault gw_record_judge_again(const struct gw *gw, const void *data, size_t len,
					    struct p2p_record *rec, struct p2p_hit *signer);

/* A verified record: what is signed here from now on is later. Our own of this life change nothing.
 */
void gw_record_seen(struct gw *gw, const struct p2p_record *rec, const struct p2p_hit *signer);

/* Sign with our key; overlay, pubkey, order and expiry are filled in here. rec->order on entry: of
 * the record that it replaces, 0: none. A tombstone lives until min_expiry_ms at least. buf:
 * P2P_RECORD_MAX bytes. 0 or errno. */
int gw_record_make(struct gw *gw, struct p2p_record *rec, uint64_t lifetime_ms,
		   uint64_t min_expiry_ms, uint8_t *buf, size_t *len);

/* What the engine may store for others. Thread-safe; arg is the gw. */
bool gw_record_policy_store(enum dht_kind kind, const uint8_t key[DHT_KEY_LEN], uint64_t id,
			    const void *data, size_t len, void *arg);
bool gw_record_policy_edit(const void *prev, size_t prevlen, const void *next, size_t nextlen,
			   void *arg);

#endif
