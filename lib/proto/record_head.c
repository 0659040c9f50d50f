/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/proto/record_head.h"

#include <errno.h>
#include <string.h>

#include "lib/base/bytes.h"

/* docs/records.md, Layout */
enum { VERSION = 3, KIND = 4, FLAGS = 5, OVERLAY = 6, KEY = 22, PUBKEY = 42, ORDER = 75 };
enum { EXPIRY = 83, BODY_LEN = 91, BODY = 93 };

int p2p_record_head(struct p2p_record_head *head, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	if (len < BODY + P2P_SIG_LEN || len > P2P_RECORD_MAX || memcmp(p, "p2p", 3) != 0 ||
	    p[VERSION] != 1 || p[KIND] == 0 || p[FLAGS] > 1 ||
	    len != (size_t)BODY + p2p_be16(p + BODY_LEN) + P2P_SIG_LEN)
		return EBADMSG;
	*head = (struct p2p_record_head){
		.kind = p[KIND],
		.tombstone = p[FLAGS] != 0,
		.overlay = p + OVERLAY,
		.key = p + KEY,
		.pubkey = p + PUBKEY,
		.order = p2p_be64(p + ORDER),
		.expiry_ms = p2p_be64(p + EXPIRY),
	};
	return 0;
}

int p2p_record_head_cmp(const struct p2p_record_head *a, const void *abytes, size_t alen,
			const struct p2p_record_head *b, const void *bbytes, size_t blen)
{
	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	if (a->tombstone != b->tombstone)
		return a->tombstone ? 1 : -1;
	return memcmp((const uint8_t *)abytes + alen - P2P_SIG_LEN,
		      (const uint8_t *)bbytes + blen - P2P_SIG_LEN, P2P_SIG_LEN);
}
