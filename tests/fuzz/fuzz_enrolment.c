/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The body of an enrolment record, and the permission in it. The first byte: a tombstone or not. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "lib/proto/enrolment.h"

static int verify(void *arg, const uint8_t pubkey[P2P_PUBKEY_LEN], const void *msg, size_t len,
		  const uint8_t sig[P2P_SIG_LEN])
{
	(void)arg;
	(void)pubkey;
	(void)msg;
	(void)len;
	(void)sig;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct p2p_crypto crypto = {.verify = verify};
	static const struct p2p_hit signer = {{1}};
	static const struct p2p_overlay_id overlay;
	static const struct p2p_key user;
	static const uint8_t authority[P2P_PUBKEY_LEN];
	struct p2p_record rec, again;
	struct p2p_enrolment en, second;
	enum p2p_record_fault fault;
	size_t at, len;
	uint8_t digests;

	if (size < 1 || size - 1 > P2P_RECORD_BODY_MAX)
		return 0;
	memset(&rec, 0, sizeof(rec));
	rec.kind = P2P_RECORD_ENROLMENT;
	rec.tombstone = (data[0] & 1) != 0;
	rec.body_len = (uint16_t)(size - 1);
	memcpy(rec.body, data + 1, size - 1);
	if (p2p_enrolment_decode(&en, &rec) != P2P_RECORD_OK)
		return 0;
	must(p2p_enrolment_value_id(&en, &signer) != 0);
	memset(&again, 0, sizeof(again));
	again.tombstone = rec.tombstone;
	must(p2p_enrolment_encode(&en, &again) == 0);
	/* what this version does not know is not kept; what it knows comes back as it was */
	must(again.body_len <= rec.body_len);
	must(p2p_enrolment_decode(&second, &again) == P2P_RECORD_OK);
	must(memcmp(&en, &second, sizeof(en)) == 0);
	if (en.digests != 0) {
		const char *text = p2p_digests_text(en.digests);

		must(p2p_digests_parse(&digests, text, strlen(text)) == 0 && digests == en.digests);
		if (p2p_digests_find(en.digests, P2P_DIGEST_SHA256, &at, &len) == 0)
			must(at + len == p2p_digests_len(en.digests));
	}
	if (en.permission_len > 0) {
		fault = p2p_permission_check(en.permission, en.permission_len, &overlay, &user,
					     &en.peer, authority, 1000, &crypto);
		must(fault == P2P_RECORD_OK || fault == P2P_RECORD_BAD_PERMISSION ||
		     fault == P2P_RECORD_OLD_PERMISSION);
		must((fault == P2P_RECORD_OK) <=
		     (p2p_permission_expiry(en.permission, en.permission_len) > 1000));
	}
	return 0;
}
