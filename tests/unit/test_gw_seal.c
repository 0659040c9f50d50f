/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sealed digests: the golden ones open, ours open too, and nobody else's key does it. */
#include "tests/unit/test.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include "dht-gateway/keys/gateway_authority.h"
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/keys/gateway_seal.h"
#include "lib/base/bytes.h"
#include "lib/proto/enrolment.h"

#define T0 1767225600000ull

static size_t vector(const char *name, uint8_t *out, size_t max)
{
	const char *top = getenv("top_srcdir");
	char path[4096], line[4096];
	size_t n = strlen(name), len = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/tests/golden/vectors.txt", top != NULL ? top : ".");
	f = fopen(path, "r");
	assert_non_null(f);
	while (len == 0 && fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, name, n) != 0 || line[n] != ' ')
			continue;
		len = strcspn(line + n + 1, "\n") / 2;
		assert_true(len <= max);
		assert_ok(p2p_hex_parse(out, len, line + n + 1, 2 * len));
	}
	fclose(f);
	assert_true(len > 0);
	return len;
}

static void enrolment(const char *name, struct p2p_record *rec, struct p2p_enrolment *en,
		      const struct p2p_crypto *crypto)
{
	struct p2p_record_expect expect = {.kind = P2P_RECORD_ENROLMENT, .now_ms = T0 + 1000};
	uint8_t bytes[P2P_RECORD_MAX];
	size_t len = vector(name, bytes, sizeof(bytes));

	assert_int_equal(p2p_record_check(rec, NULL, bytes, len, &expect, crypto), P2P_RECORD_OK);
	assert_int_equal(p2p_enrolment_decode(en, rec), P2P_RECORD_OK);
}

static void test_any(void **state)
{
	uint8_t ha1[P2P_HA1_MAX], plain[P2P_HA1_MAX], sealed[P2P_SEALED_MAX], secret[64];
	size_t slen = vector("secret", secret, sizeof(secret));
	struct p2p_crypto crypto;
	struct p2p_enrolment en;
	struct p2p_record rec;
	struct p2p_key other;

	(void)state;
	gw_crypto_init(&crypto, NULL);
	vector("ha1", ha1, sizeof(ha1));
	enrolment("enrolment:user-any", &rec, &en, &crypto);
	assert_ok(gw_seal_any_open(plain, en.sealed, en.sealed_len, &rec.overlay, &rec.key, secret,
				   slen, &crypto));
	assert_memory_equal(plain, ha1 + P2P_HA1_MD5_LEN, P2P_HA1_SHA256_LEN);
	/* another secret, another user, a changed byte */
	secret[0] ^= 1;
	assert_int_equal(gw_seal_any_open(plain, en.sealed, en.sealed_len, &rec.overlay, &rec.key,
					  secret, slen, &crypto),
			 EBADMSG);
	secret[0] ^= 1;
	other = rec.key;
	other.b[19] ^= 1;
	assert_int_equal(gw_seal_any_open(plain, en.sealed, en.sealed_len, &rec.overlay, &other,
					  secret, slen, &crypto),
			 EBADMSG);
	en.sealed[en.sealed_len - 1] ^= 1;
	assert_int_equal(gw_seal_any_open(plain, en.sealed, en.sealed_len, &rec.overlay, &rec.key,
					  secret, slen, &crypto),
			 EBADMSG);
	assert_int_equal(gw_seal_any_open(plain, en.sealed, GW_SEAL_ANY_EXTRA - 1, &rec.overlay,
					  &rec.key, secret, slen, &crypto),
			 EBADMSG);
	assert_ok(gw_seal_any(sealed, ha1, sizeof(ha1), &rec.overlay, &rec.key, secret, slen,
			      &crypto));
	assert_ok(gw_seal_any_open(plain, sealed, sizeof(ha1) + GW_SEAL_ANY_EXTRA, &rec.overlay,
				   &rec.key, secret, slen, &crypto));
	assert_memory_equal(plain, ha1, sizeof(ha1));
}

static void test_peer(void **state)
{
	EVP_PKEY *peer = EVP_EC_gen("P-256"), *stranger = EVP_EC_gen("P-256");
	uint8_t ha1[P2P_HA1_MAX], plain[P2P_HA1_MAX], one[P2P_SEALED_MAX], two[P2P_SEALED_MAX];
	uint8_t pubkey[P2P_PUBKEY_LEN], none[P2P_PUBKEY_LEN];
	struct p2p_overlay_id overlay = {{1}};
	struct p2p_key key = {{2}};
	struct p2p_crypto crypto;
	size_t i;

	(void)state;
	memset(none, 0xff, sizeof(none)); /* beyond the field: no point */
	none[0] = 2;
	gw_crypto_init(&crypto, NULL);
	assert_ok(gw_crypto_pubkey(peer, pubkey));
	memset(ha1, 'h', sizeof(ha1));
	assert_ok(gw_seal_peer(one, ha1, sizeof(ha1), &overlay, &key, pubkey, &crypto));
	assert_ok(gw_seal_peer(two, ha1, sizeof(ha1), &overlay, &key, pubkey, &crypto));
	/* never the same twice */
	assert_memory_not_equal(one, two, sizeof(one));
	assert_ok(gw_seal_peer_open(plain, one, sizeof(one), &overlay, &key, peer, &crypto));
	assert_memory_equal(plain, ha1, sizeof(ha1));
	assert_int_equal(
		gw_seal_peer_open(plain, one, sizeof(one), &overlay, &key, stranger, &crypto),
		EBADMSG);
	for (i = 0; i < sizeof(one); i++) {
		one[i] ^= 1;
		assert_int_not_equal(
			gw_seal_peer_open(plain, one, sizeof(one), &overlay, &key, peer, &crypto),
			0);
		one[i] ^= 1;
	}
	key.b[0] ^= 1;
	assert_int_equal(gw_seal_peer_open(plain, one, sizeof(one), &overlay, &key, peer, &crypto),
			 EBADMSG);
	assert_int_equal(gw_seal_peer(one, ha1, sizeof(ha1), &overlay, &key, none, &crypto),
			 EINVAL);
	EVP_PKEY_free(peer);
	EVP_PKEY_free(stranger);
}

static EVP_PKEY *private_key(const uint8_t scalar[32], const uint8_t pubkey[P2P_PUBKEY_LEN])
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
	BIGNUM *n = BN_bin2bn(scalar, 32, NULL);
	EVP_PKEY *key = NULL;
	OSSL_PARAM *params;

	assert_int_equal(
		OSSL_PARAM_BLD_push_utf8_string(b, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0), 1);
	assert_int_equal(OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_PRIV_KEY, n), 1);
	assert_int_equal(OSSL_PARAM_BLD_push_octet_string(b, OSSL_PKEY_PARAM_PUB_KEY, pubkey,
							  P2P_PUBKEY_LEN),
			 1);
	params = OSSL_PARAM_BLD_to_param(b);
	assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
	assert_int_equal(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params), 1);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(b);
	BN_free(n);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

/* The golden record for peer 0, opened with the golden private key. */
static void test_golden_peer(void **state)
{
	uint8_t scalar[32], pubkey[P2P_PUBKEY_LEN], ha1[P2P_HA1_MAX], plain[P2P_HA1_MAX];
	struct p2p_crypto crypto;
	struct p2p_enrolment en;
	struct p2p_record rec;
	EVP_PKEY *identity;

	(void)state;
	gw_crypto_init(&crypto, NULL);
	vector("private0", scalar, sizeof(scalar));
	vector("ha1", ha1, sizeof(ha1));
	vector("public0", pubkey, sizeof(pubkey));
	identity = private_key(scalar, pubkey);
	enrolment("enrolment:user", &rec, &en, &crypto);
	assert_ok(gw_seal_peer_open(plain, en.sealed, en.sealed_len, &rec.overlay, &rec.key,
				    identity, &crypto));
	assert_memory_equal(plain, ha1, sizeof(ha1));
	EVP_PKEY_free(identity);
}

static uint64_t golden_clock(void *arg)
{
	(void)arg;
	return T0 + 1000;
}

static bool stored(struct gw *gw, const char *name, const char *id)
{
	uint8_t bytes[P2P_RECORD_MAX], raw[8];
	size_t len = vector(name, bytes, sizeof(bytes));
	struct p2p_record rec;

	vector(id, raw, sizeof(raw));
	assert_int_equal(p2p_record_decode(&rec, bytes, len), P2P_RECORD_OK);
	return gw_record_policy_store(DHT_RECORD, rec.key.b, p2p_be64(raw), bytes, len, gw);
}

/* An enrolment record is kept for others by the id of the peer that it names, and only whole. */
static void test_store(void **state)
{
	struct p2p_clock clock = {.wall_ms = golden_clock, .mono_ms = golden_clock};
	struct gw *gw = calloc(1, sizeof(*gw));
	struct gw_anchor anchor = {0};
	struct p2p_crypto crypto;

	(void)state;
	assert_non_null(gw);
	vector("hit2", anchor.hit.b, sizeof(anchor.hit.b));
	gw->anchor = &anchor;
	gw->enrolled = true;
	gw_crypto_init(&crypto, NULL);
	gw->crypto = &crypto;
	gw->clock = &clock;
	vector("overlay", gw->overlay.b, sizeof(gw->overlay.b));
	assert_true(stored(gw, "enrolment:user", "value-id0"));
	assert_true(stored(gw, "enrolment:user-tombstone", "value-id0"));
	assert_true(stored(gw, "enrolment:user-any", "value-id2"));
	assert_true(stored(gw, "enrolment:peer", "value-id2"));
	assert_true(stored(gw, "enrolment:overlay", "value-id2"));
	assert_int_equal(gw->refused[P2P_RECORD_BAD_SIGNER], 0);
	assert_false(stored(gw, "enrolment:user", "value-id2"));
	assert_false(stored(gw, "enrolment:user", "value-id1"));
	assert_false(stored(gw, "enrolment:user-any", "value-id0"));
	assert_int_equal(gw->refused[P2P_RECORD_BAD_SIGNER], 3);
	assert_false(stored(gw, "bad-enrolment:body:no-realm", "value-id0"));
	assert_int_equal(gw->refused[P2P_RECORD_BAD_BODY], 1);
	assert_false(stored(gw, "bad-enrolment:unknown:subject", "value-id2"));
	assert_int_equal(gw->refused[P2P_RECORD_BAD_UNKNOWN], 1);
	/* by the overlay's authority, and nobody else */
	vector("hit1", anchor.hit.b, sizeof(anchor.hit.b));
	assert_false(stored(gw, "enrolment:user", "value-id0"));
	assert_int_equal(gw->refused[P2P_RECORD_BAD_SIGNER], 4);
	gw->enrolled = false;
	assert_false(stored(gw, "enrolment:user", "value-id0"));
	assert_int_equal(gw->refused[P2P_RECORD_BAD_KIND], 1);
	free(gw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any),
		cmocka_unit_test(test_peer),
		cmocka_unit_test(test_golden_peer),
		cmocka_unit_test(test_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
