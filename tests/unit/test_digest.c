/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The digest of phones, by the examples of RFC 7616 (3.9.1) and RFC 2617 (3.5). */
#include "tests/unit/test.h"

#include "lib/base/bytes.h"
#include "modules/p2p_registrar/p2p_registrar_digest.h"

#define REALM "http-auth@example.org"

static str s(const char *text)
{
	return (str){(char *)(uintptr_t)text, (int)strlen(text)};
}

/* GET of Mufasa with "Circle of Life". */
static dig_cred_t rfc7616(bool sha256)
{
	return (dig_cred_t){
		.nonce = s("7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"),
		.uri = s("/dir/index.html"),
		.cnonce = s("f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"),
		.nc = s("00000001"),
		.response = s(
			sha256 ? "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
			       : "8ca523f5e9506fed4657c9700eebdbec"),
		.alg.alg_str = s(sha256 ? "SHA-256" : "MD5"),
		.qop = {.qop_str = s("auth"), .qop_parsed = QOP_AUTH},
	};
}

/* MD5 and SHA-256 of "Mufasa:http-auth@example.org:Circle of Life" */
static struct p2p_auth mufasa(void)
{
	struct p2p_auth a = {
		.enrolled = true, .digests = P2P_DIGEST_MD5 | P2P_DIGEST_SHA256, .realm = REALM};

	assert_ok(p2p_hex_parse(a.ha1, P2P_HA1_MD5_LEN, "3d78807defe7de2157e2b0b6573a855f", 32));
	assert_ok(p2p_hex_parse(a.ha1 + P2P_HA1_MD5_LEN, P2P_HA1_SHA256_LEN,
				"7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232",
				64));
	return a;
}

static void test_rfc7616(void **state)
{
	const uint8_t both = P2P_DIGEST_MD5 | P2P_DIGEST_SHA256;
	struct p2p_auth a = mufasa(), nobody = {.enrolled = false};
	str get = s("GET"), put = s("PUT");
	struct reg_digest d;
	char ha1[65];

	(void)state;
	for (int i = 0; i < 2; i++) {
		dig_cred_t c = rfc7616(i == 1);

		assert_ok(reg_digest_take(&d, &c, &get, both));
		assert_int_equal(d.digest, i == 1 ? P2P_DIGEST_SHA256 : P2P_DIGEST_MD5);
		assert_true(reg_digest_check(&d, &a, REALM, ha1));
		assert_int_equal(strlen(ha1), i == 1 ? 64 : 32);
		assert_false(reg_digest_check(&d, &a, "elsewhere", NULL));
		assert_false(reg_digest_check(&d, &nobody, REALM, NULL));
		a.ha1[0] ^= 1;
		a.ha1[P2P_HA1_MD5_LEN] ^= 1;
		assert_false(reg_digest_check(&d, &a, REALM, NULL));
		a = mufasa();
		assert_ok(reg_digest_take(&d, &c, &put, both));
		assert_false(reg_digest_check(&d, &a, REALM, NULL));
		c.nc = s("00000002");
		assert_ok(reg_digest_take(&d, &c, &get, both));
		assert_false(reg_digest_check(&d, &a, REALM, NULL));
		/* an HA1 of the other digest only */
		c = rfc7616(i == 1);
		assert_ok(reg_digest_take(&d, &c, &get, both));
		a.digests = i == 1 ? P2P_DIGEST_MD5 : P2P_DIGEST_SHA256;
		assert_false(reg_digest_check(&d, &a, REALM, NULL));
		a = mufasa();
		assert_int_equal(reg_digest_take(&d, &c, &get, a.digests & ~(1u << i)), ENOTSUP);
	}
}

/* Without qop, as RFC 2069 had it; and in capitals. */
static void test_old(void **state)
{
	dig_cred_t c = {.nonce = s("dcd98b7102dd2f0e8b11d0f600bfb0c093"),
			.uri = s("/dir/index.html"),
			.response = s("670FD8C2DF070C60B045671B8B24FF02")};
	struct p2p_auth a = {
		.enrolled = true, .digests = P2P_DIGEST_MD5, .realm = "testrealm@host.com"};
	str get = s("GET");
	struct reg_digest d;

	(void)state;
	assert_ok(p2p_hex_parse(a.ha1, P2P_HA1_MD5_LEN, "939e7578ed9e3c518a452acee763bce9", 32));
	assert_ok(reg_digest_take(&d, &c, &get, P2P_DIGEST_MD5));
	assert_true(reg_digest_check(&d, &a, "testrealm@host.com", NULL));
}

static void test_refused(void **state)
{
	char huge[1024];
	str get = s("GET");
	struct reg_digest d;
	dig_cred_t c = rfc7616(false);

	(void)state;
	memset(huge, 'x', sizeof(huge));
	c.cnonce = (str){huge, sizeof(huge)};
	assert_int_equal(reg_digest_take(&d, &c, &get, P2P_DIGEST_MD5), EINVAL);
	c = rfc7616(false);
	c.response = s("00");
	assert_int_equal(reg_digest_take(&d, &c, &get, P2P_DIGEST_MD5), EINVAL);
	c = rfc7616(false);
	c.qop.qop_parsed = QOP_AUTHINT;
	assert_int_equal(reg_digest_take(&d, &c, &get, P2P_DIGEST_MD5), EINVAL);
	c = rfc7616(false);
	c.alg.alg_str = s("MD5-sess");
	assert_int_equal(reg_digest_take(&d, &c, &get, P2P_DIGEST_MD5), ENOTSUP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc7616),
		cmocka_unit_test(test_old),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
