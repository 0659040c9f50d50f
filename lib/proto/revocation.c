/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/proto/revocation.h"

#include <errno.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/proto/key.h"

#define TLV_NUMBER 0x20
#define TLV_PEER 0x21
#define TLV_MARK 0x22
#define TLV_OPTIONAL 0x80

static void put_tlv(struct p2p_writer *w, uint8_t type, const void *value, size_t len)
{
	p2p_write_u8(w, type);
	p2p_write_u8(w, (uint8_t)len);
	p2p_write(w, value, len);
}

int p2p_revocation_encode(const struct p2p_revocation *r, struct p2p_record *rec)
{
	static const struct p2p_hit none;
	uint8_t number[4];
	struct p2p_writer w;

	if (r->number == 0 || r->number > P2P_REVOCATIONS_MAX)
		return EINVAL;
	p2p_put_be32(number, r->number);
	p2p_writer_init(&w, rec->body, sizeof(rec->body));
	put_tlv(&w, TLV_NUMBER, number, sizeof(number));
	if (p2p_hit_cmp(&r->hit, &none) != 0)
		put_tlv(&w, TLV_PEER, r->hit.b, sizeof(r->hit.b));
	put_tlv(&w, TLV_MARK, r->mark, sizeof(r->mark));
	rec->kind = P2P_RECORD_REVOCATION;
	rec->body_len = (uint16_t)w.len;
	return 0;
}

enum p2p_record_fault p2p_revocation_decode(struct p2p_revocation *out,
					    const struct p2p_record *rec)
{
	static const struct p2p_hit none;
	struct p2p_revocation r;
	const uint8_t *p = rec->body;
	size_t left = rec->body_len, n;
	unsigned int last = 0;
	bool mark = false;

	if (rec->kind != P2P_RECORD_REVOCATION)
		return P2P_RECORD_BAD_KIND;
	if (rec->tombstone)
		return P2P_RECORD_BAD_FLAGS; /* what was revoked stays so */
	memset(&r, 0, sizeof(r));
	for (; left > 0; left -= 2 + n, p += 2 + n) {
		if (left < 2 || (n = p[1]) > left - 2 || p[0] <= last)
			return P2P_RECORD_BAD_BODY;
		last = p[0];
		if (last == TLV_NUMBER && n == 4) {
			r.number = p2p_be32(p + 2);
		} else if (last == TLV_PEER && n == sizeof(r.hit.b)) {
			memcpy(r.hit.b, p + 2, n);
			if (p2p_hit_cmp(&r.hit, &none) == 0)
				return P2P_RECORD_BAD_BODY;
		} else if (last == TLV_MARK && n == sizeof(r.mark)) {
			memcpy(r.mark, p + 2, n);
			mark = true;
		} else if (last >= TLV_NUMBER && last <= TLV_MARK) {
			return P2P_RECORD_BAD_BODY;
		} else if ((last & TLV_OPTIONAL) == 0) {
			return P2P_RECORD_BAD_UNKNOWN;
		}
	}
	if (r.number == 0 || r.number > P2P_REVOCATIONS_MAX || !mark)
		return P2P_RECORD_BAD_BODY;
	*out = r;
	return P2P_RECORD_OK;
}

int p2p_revocation_key(struct p2p_key *key, const struct p2p_overlay_id *overlay, uint32_t number,
		       const struct p2p_crypto *crypto)
{
	uint8_t name[4];

	p2p_put_be32(name, number);
	return p2p_key_make(key, overlay->b, sizeof(overlay->b), P2P_RECORD_REVOCATION, name,
			    sizeof(name), crypto);
}

int p2p_secret_mark(uint8_t mark[P2P_SECRET_MARK_LEN], const void *secret, size_t len,
		    const struct p2p_overlay_id *overlay, uint32_t generation,
		    const struct p2p_crypto *crypto)
{
	static const char label[] = "p2psip-secret"; /* its NUL too */
	uint8_t msg[sizeof(label) + P2P_OVERLAY_ID_LEN + 4], mac[32];
	struct p2p_writer w;
	int err;

	p2p_writer_init(&w, msg, sizeof(msg));
	p2p_write(&w, label, sizeof(label));
	p2p_write(&w, overlay->b, sizeof(overlay->b));
	p2p_write_be32(&w, generation);
	err = crypto->hmac_sha256(crypto->arg, secret, len, msg, w.len, mac);
	if (err == 0)
		memcpy(mark, mac, P2P_SECRET_MARK_LEN);
	return err;
}
