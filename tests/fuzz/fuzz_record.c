/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A value that came from the DHT: decode, check, encode again, merge. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "lib/model/userset.h"
#include "lib/proto/record.h"

#define NOW 1767225601000ull

static int sign(void *arg, const void *msg, size_t len, uint8_t sig[P2P_SIG_LEN])
{
	(void)arg;
	(void)msg;
	(void)len;
	memset(sig, 0, P2P_SIG_LEN);
	return 0;
}

/* Everything is well signed, so that what comes after is reached. */
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

static int point(void *arg, const uint8_t pubkey[P2P_PUBKEY_LEN], uint8_t xy[64])
{
	(void)arg;
	memset(xy, 0, 64);
	memcpy(xy, pubkey + 1, 32);
	return 0;
}

static int sha384(const void *a, size_t alen, const void *b, size_t blen, uint8_t out[48])
{
	(void)a;
	(void)alen;
	memset(out, 0, 48);
	memcpy(out + 18, (const uint8_t *)b + 3, blen < 12 ? blen : 12);
	return 0;
}

static void state_of(const struct p2p_hit *hit, struct p2p_peer_state *out, void *arg)
{
	(void)arg;
	out->known = (hit->b[15] & 1) != 0;
	out->epoch = 1;
	out->lease_ms = NOW + 1000;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct p2p_crypto crypto = {
		.sign = sign,
		.verify = verify,
		.point = point,
		.sha384 = sha384,
	};
	const struct p2p_record_expect expect = {.now_ms = NOW};
	struct p2p_record rec, again;
	enum p2p_record_fault fault;
	uint8_t out[P2P_RECORD_MAX];
	struct p2p_hit hit;
	size_t len;

	fault = p2p_record_decode(&rec, data, size);
	must(strcmp(p2p_record_fault_text(fault), "?") != 0);
	if (fault != P2P_RECORD_OK)
		return 0;
	must(size <= P2P_RECORD_MAX && strlen(rec.software) <= P2P_SOFTWARE_MAX);
	/* What was decoded can be encoded, to the same bytes but for what was skipped. */
	must(p2p_record_sign(&rec, &crypto, out, sizeof(out), &len) == 0);
	must(len <= size);
	if (len == size) {
		/* the same, but for the signature (and unless a part was skipped) */
		must(memcmp(out, data, len - P2P_SIG_LEN) == 0);
	}
	must(p2p_record_decode(&again, out, len) == P2P_RECORD_OK);
	must(memcmp(&rec, &again, sizeof(rec)) == 0);
	must(p2p_record_cmp(&rec, data, size, &again, out, len) ==
	     -p2p_record_cmp(&again, out, len, &rec, data, size));

	if (p2p_record_check(&rec, &hit, data, size, &expect, &crypto) == P2P_RECORD_OK) {
		static struct p2p_userset set;
		struct p2p_candidate_set candidates;
		struct p2p_candidate c;
		unsigned int i, j;

		if (rec.kind == P2P_RECORD_PEER)
			p2p_candidate_from_peer(&c, &rec, &hit, NOW);
		if (rec.kind != P2P_RECORD_USER)
			return 0;
		p2p_userset_init(&set);
		must(p2p_userset_add(&set, &rec, &hit, data, size) == 0);
		p2p_userset_candidates(&set, NOW, NULL, state_of, NULL, &candidates);
		must(candidates.n <= 1);
		for (i = 0; i < candidates.n; i++) {
			must(candidates.c[i].n_uris <= P2P_CANDIDATE_URIS_MAX);
			for (j = 0; j < candidates.c[i].n_uris; j++) {
				struct p2p_locator l;
				const char *uri = candidates.c[i].uri[j];

				must(p2p_locator_parse(&l, uri, strlen(uri)) == 0);
			}
		}
	}
	return 0;
}
