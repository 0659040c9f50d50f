/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What stands at the beginning of a record, for who keeps and passes on records without looking
 * into their bodies. */
#ifndef P2PSIP_PROTO_RECORD_HEAD_H
#define P2PSIP_PROTO_RECORD_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/proto/record.h"

struct p2p_record_head {
	enum p2p_record_kind kind;
	bool tombstone;
	const uint8_t *overlay, *key, *pubkey; /* into the bytes */
	uint64_t order, expiry_ms;
};

/* 0; EBADMSG: no record of a form that is known here. Believe nothing of it. */
int p2p_record_head(struct p2p_record_head *head, const void *bytes, size_t len);

/* As p2p_record_cmp, of two that have the same signer, kind and key. */
int p2p_record_head_cmp(const struct p2p_record_head *a, const void *abytes, size_t alen,
			const struct p2p_record_head *b, const void *bbytes, size_t blen);

#endif
