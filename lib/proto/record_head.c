/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/proto/record_head.h"

#include <errno.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/proto/record_impl.h"

int p2p_record_head(struct p2p_record_head *head, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	if (len < AT_BODY + P2P_SIG_LEN || len > P2P_RECORD_MAX || memcmp(p, "p2p", 3) != 0 ||
	    p[AT_VERSION] != 1 || p[AT_KIND] == 0 || p[AT_FLAGS] > 1 ||
	    len != (size_t)AT_BODY + p2p_be16(p + AT_BODY_LEN) + P2P_SIG_LEN)
		return EBADMSG;
	*head = (struct p2p_record_head){
		.kind = p[AT_KIND],
		.tombstone = p[AT_FLAGS] != 0,
		.overlay = p + AT_OVERLAY,
		.key = p + AT_KEY,
		.pubkey = p + AT_PUBKEY,
		.order = p2p_be64(p + AT_ORDER),
		.expiry_ms = p2p_be64(p + AT_EXPIRY),
	};
	return 0;
}

int p2p_record_head_cmp(const struct p2p_record_head *a, const void *abytes, size_t alen,
			const struct p2p_record_head *b, const void *bbytes, size_t blen)
{
	return p2p_record_order_cmp(a->order, a->tombstone, abytes, alen, b->order, b->tombstone,
				    bbytes, blen);
}
