/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records, for their own files only. */
#ifndef P2PSIP_PROTO_RECORD_IMPL_H
#define P2PSIP_PROTO_RECORD_IMPL_H

#include <string.h>
#include "lib/proto/record.h"

/* Where things are in the header; docs/records.md, Layout. */
enum {
	AT_MAGIC = 0, /* 3 bytes, then the version */
	AT_VERSION = 3,
	AT_KIND = 4,
	AT_FLAGS = 5,
	AT_OVERLAY = 6,
	AT_KEY = 22,
	AT_PUBKEY = 42,
	AT_ORDER = 75,
	AT_EXPIRY = 83,
	AT_BODY_LEN = 91,
	AT_BODY = 93,
};

/* p2p_record_cmp()'s rule. */
static inline int p2p_record_order_cmp(uint64_t a, bool atombstone, const void *abytes, size_t alen,
				       uint64_t b, bool btombstone, const void *bbytes, size_t blen)
{
	if (a != b)
		return a < b ? -1 : 1;
	if (atombstone != btombstone)
		return atombstone ? 1 : -1;
	return memcmp((const uint8_t *)abytes + alen - P2P_SIG_LEN,
		      (const uint8_t *)bbytes + blen - P2P_SIG_LEN, P2P_SIG_LEN);
}

/* May it stand in a record? */
bool p2p_locator_valid(const struct p2p_locator *locator);

#endif
