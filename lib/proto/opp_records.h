/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bodies of the overlay peer protocol that carry user records between gateways: announcements to
 * those that hold them, questions to these, synchronisation, and what watchers are told. They are
 * longer than the others: up to P2P_OPP_BULK_MAX bytes. Encoding and decoding as in opp.h. */
#ifndef P2PSIP_PROTO_OPP_RECORDS_H
#define P2PSIP_PROTO_OPP_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/proto/opp.h"

#define P2P_OPP_BULK_MAX 65536
/* Records, results, keys in one body. */
#define P2P_OPP_BATCH_MAX 256
#define P2P_OPP_KEYS_MAX 128
#define P2P_OPP_CHECKS_MAX 1024
/* How long one may watch at a time, in seconds. */
#define P2P_OPP_WATCH_MAX_S 3600

/* --- a row of records --------------------------------------------------------------------------
 */

/* One behind the other. Make it with malloc. */
struct p2p_opp_batch {
	uint16_t n;
	struct {
		uint16_t at, len;
	} r[P2P_OPP_BATCH_MAX];
	uint16_t used;
	uint8_t b[P2P_OPP_BULK_MAX * 3 / 4];
};

void p2p_opp_batch_init(struct p2p_opp_batch *batch);
/* false: it does not fit into one body with those that are there. */
bool p2p_opp_batch_add(struct p2p_opp_batch *batch, const void *record, size_t len);

/* POST records, POST changes: here are some. */
int p2p_opp_batch_encode(const struct p2p_opp_batch *batch, char *buf, size_t cap, size_t *len);
int p2p_opp_batch_decode(struct p2p_opp_batch *batch, const char *text, size_t len);

/* --- the answer --------------------------------------------------------------------------------
 */

enum p2p_opp_result {
	P2P_OPP_KEPT = 1,
	P2P_OPP_STALE,	  /* a later one of this signer is here */
	P2P_OPP_REFUSED,  /* and would be again */
	P2P_OPP_FULL,	  /* no room; later, perhaps */
	P2P_OPP_UNWANTED, /* changes: nobody here wants to know of this key */
};

/* Of each record, in their order. */
struct p2p_opp_results {
	uint64_t instance; /* of the answering process: another one has forgotten what it held */
	uint16_t n;
	struct {
		enum p2p_opp_result result;
		uint64_t order; /* STALE: of the later one */
	} r[P2P_OPP_BATCH_MAX];
	/* announcements: what other peers that serve these users have announced */
	struct p2p_opp_batch others;
};

int p2p_opp_results_encode(const struct p2p_opp_results *results, char *buf, size_t cap,
			   size_t *len);
int p2p_opp_results_decode(struct p2p_opp_results *results, const char *text, size_t len);

/* --- who serves these? -------------------------------------------------------------------------
 */

/* POST records/query */
struct p2p_opp_query {
	uint32_t watch_s; /* and tell me of changes for so long; 0: not */
	uint16_t n;	  /* 0: only whether it is there */
	struct p2p_key key[P2P_OPP_KEYS_MAX];
};

/* Of the first n keys that were asked for, in their order; of the others nothing fitted. */
struct p2p_opp_found {
	uint64_t instance;
	uint16_t n;
	struct {
		bool synced;	/* else records may be missing */
		bool watched;	/* changes will be told */
		uint16_t first; /* of its records in the batch */
		uint16_t n;
	} a[P2P_OPP_KEYS_MAX];
	struct p2p_opp_batch records;
};

int p2p_opp_query_encode(const struct p2p_opp_query *query, char *buf, size_t cap, size_t *len);
int p2p_opp_query_decode(struct p2p_opp_query *query, const char *text, size_t len);
int p2p_opp_found_encode(const struct p2p_opp_found *found, char *buf, size_t cap, size_t *len);
int p2p_opp_found_decode(struct p2p_opp_found *found, const char *text, size_t len);

/* --- synchronisation ---------------------------------------------------------------------------
 */

/* POST records/range: all records whose keys are behind `after` and up to `to`, clockwise. */
struct p2p_opp_range {
	struct p2p_key after, to;
};

/* Whole keys only. */
struct p2p_opp_page {
	uint64_t instance;
	bool synced;	     /* all there are, as far as can be known */
	bool more;	     /* go on behind `next` */
	struct p2p_key next; /* more: the last key that is told of here */
	struct p2p_opp_batch records;
};

int p2p_opp_range_encode(const struct p2p_opp_range *range, char *buf, size_t cap, size_t *len);
int p2p_opp_range_decode(struct p2p_opp_range *range, const char *text, size_t len);
int p2p_opp_page_encode(const struct p2p_opp_page *page, char *buf, size_t cap, size_t *len);
int p2p_opp_page_decode(struct p2p_opp_page *page, const char *text, size_t len);

/* --- do you have these still? ------------------------------------------------------------------
 */

/* POST records/check: records of the asking peer. */
struct p2p_opp_check {
	uint16_t n;
	struct {
		struct p2p_key key;
		uint64_t order;
	} r[P2P_OPP_CHECKS_MAX];
};

/* Those that are not here, or an earlier one is: their places in the question, ascending. */
struct p2p_opp_missing {
	uint64_t instance;
	uint16_t n;
	uint16_t at[P2P_OPP_CHECKS_MAX];
};

int p2p_opp_check_encode(const struct p2p_opp_check *check, char *buf, size_t cap, size_t *len);
int p2p_opp_check_decode(struct p2p_opp_check *check, const char *text, size_t len);
int p2p_opp_missing_encode(const struct p2p_opp_missing *missing, char *buf, size_t cap,
			   size_t *len);
int p2p_opp_missing_decode(struct p2p_opp_missing *missing, const char *text, size_t len);

#endif
