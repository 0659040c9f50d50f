/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tokens, revocations and the bodies of enrolment: text and bytes <-> structs. */
#include "tests/unit/test.h"

#include "lib/proto/opp.h"
#include "lib/proto/revocation.h"
#include "lib/proto/token.h"
#include "tests/unit/crypto.h"

#define HIT "2001:22:81c2:d509:f8cf:4fc2:3af3:f782"

static struct p2p_token some_token(void)
{
	struct p2p_token t = {.expiry_s = 1767229200, .n_addresses = 2};

	memset(t.overlay.b, 0xa5, sizeof(t.overlay.b));
	memset(t.secret, 0x5a, sizeof(t.secret));
	assert_ok(p2p_hit_parse(&t.hit, HIT, strlen(HIT)));
	strcpy(t.address[0], "192.0.2.1:7443");
	strcpy(t.address[1], "[2001:db8::1]:7443");
	return t;
}

static void test_token(void **state)
{
	struct p2p_token t = some_token(), again;
	char text[P2P_TOKEN_MAX], host[P2P_TOKEN_ADDRESS_MAX];
	uint16_t port;
	size_t len;

	(void)state;
	assert_ok(p2p_token_print(&t, text));
	len = strlen(text);
	/* one word that a terminal selects with a double click and a shell does not touch */
	assert_int_equal(strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_"),
			 len);
	assert_ok(p2p_token_parse(&again, text, len));
	assert_memory_equal(&t, &again, sizeof(t));
	/* whatever is cut or changed is seen */
	for (size_t cut = 0; cut < len; cut++)
		assert_int_not_equal(p2p_token_parse(&again, text, cut), 0);
	for (size_t i = 0; i < len; i++) {
		char was = text[i];

		text[i] = was == 'A' ? 'B' : 'A';
		assert_int_not_equal(p2p_token_parse(&again, text, len), 0);
		text[i] = was;
	}
	p2p_token_address_split(t.address[1], host, &port);
	assert_string_equal(host, "2001:db8::1");
	assert_int_equal(port, 7443);
	p2p_token_address_split(t.address[0], host, &port);
	assert_string_equal(host, "192.0.2.1");
}

static void test_token_address(void **state)
{
	static const char *const good[] = {"a:1", "192.0.2.1:65535", "[::1]:7443",
					   "[::ffff:1.2.3.4]:1", "peer-1.example.org:7443"};
	static const char *const bad[] = {"",	     "a",	  "a:",	      ":1",    "a:0",
					  "a:65536", "a:01",	  "a:1,b:1",  "a b:1", "[::1]",
					  "[]:1",    "[x]:1",	  "::1:7443", "-a:1",  "a:1:2",
					  "a:1x",    "[::1]7443", "\"a\":1"};
	struct p2p_token t = some_token();
	char text[P2P_TOKEN_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_ok(p2p_token_address_check(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(p2p_token_address_check(bad[i]), EINVAL);
		strcpy(t.address[0], bad[i]);
		assert_int_equal(p2p_token_print(&t, text), EINVAL);
	}
	t.n_addresses = 0;
	assert_int_equal(p2p_token_print(&t, text), EINVAL);
	/* the longest one fits */
	t.n_addresses = P2P_TOKEN_ADDRESSES_MAX;
	for (unsigned int i = 0; i < P2P_TOKEN_ADDRESSES_MAX; i++) {
		memset(t.address[i], 'a', P2P_TOKEN_ADDRESS_MAX);
		strcpy(t.address[i] + P2P_TOKEN_ADDRESS_MAX - 6, ":7443");
	}
	assert_ok(p2p_token_print(&t, text));
	assert_ok(p2p_token_parse(&t, text, strlen(text)));
}

static void test_revocation(void **state)
{
	struct p2p_revocation r = {.number = 7}, again;
	struct p2p_overlay_id overlay = {{1}};
	struct p2p_record rec = {0};
	struct p2p_crypto crypto;
	struct p2p_key key, other;
	uint8_t mark[P2P_SECRET_MARK_LEN];

	(void)state;
	test_crypto(&crypto, NULL);
	assert_ok(p2p_hit_parse(&r.hit, HIT, strlen(HIT)));
	assert_ok(p2p_secret_mark(r.mark, "0123456789abcdef", 16, &overlay, 7, &crypto));
	assert_ok(p2p_revocation_encode(&r, &rec));
	assert_int_equal(rec.kind, P2P_RECORD_REVOCATION);
	assert_int_equal(p2p_revocation_decode(&again, &rec), P2P_RECORD_OK);
	assert_memory_equal(&r, &again, sizeof(r));
	rec.tombstone = true;
	assert_int_equal(p2p_revocation_decode(&again, &rec), P2P_RECORD_BAD_FLAGS);
	rec.tombstone = false;
	for (uint16_t n = 0; n < rec.body_len; n++) {
		struct p2p_record cut = rec;

		cut.body_len = n;
		assert_int_equal(p2p_revocation_decode(&again, &cut), P2P_RECORD_BAD_BODY);
	}
	rec.kind = P2P_RECORD_ENROLMENT;
	assert_int_equal(p2p_revocation_decode(&again, &rec), P2P_RECORD_BAD_KIND);
	r.number = 0;
	assert_int_equal(p2p_revocation_encode(&r, &rec), EINVAL);
	r.number = P2P_REVOCATIONS_MAX + 1;
	assert_int_equal(p2p_revocation_encode(&r, &rec), EINVAL);
	/* the mark tells one secret and one generation of one overlay */
	assert_ok(p2p_secret_mark(mark, "0123456789abcdeF", 16, &overlay, 7, &crypto));
	assert_memory_not_equal(mark, r.mark, sizeof(mark));
	assert_ok(p2p_secret_mark(mark, "0123456789abcdef", 16, &overlay, 8, &crypto));
	assert_memory_not_equal(mark, r.mark, sizeof(mark));
	assert_ok(p2p_revocation_key(&key, &overlay, 1, &crypto));
	assert_ok(p2p_revocation_key(&other, &overlay, 2, &crypto));
	assert_memory_not_equal(&key, &other, sizeof(key));
}

#define ROUND(type, x)                                                                             \
	do {                                                                                       \
		struct p2p_opp_##type again_;                                                      \
		char buf_[P2P_OPP_BODY_MAX];                                                       \
		size_t n_;                                                                         \
		assert_ok(p2p_opp_##type##_encode(x, buf_, sizeof(buf_), &n_));                    \
		assert_ok(p2p_opp_##type##_decode(&again_, buf_, n_));                             \
		assert_memory_equal(x, &again_, sizeof(again_));                                   \
		for (size_t cut_ = 0; cut_ < n_; cut_++)                                           \
			assert_int_equal(p2p_opp_##type##_decode(&again_, buf_, cut_), EBADMSG);   \
		for (size_t cap_ = 0; cap_ <= n_; cap_++)                                          \
			assert_int_equal(p2p_opp_##type##_encode(x, buf_, cap_, &n_), EMSGSIZE);   \
	} while (0)

static void test_bodies(void **state)
{
	struct p2p_opp_enrol enrol = {.invited = true, .token = {1, 2, 3}};
	struct p2p_opp_enrolled e = {.n_bootstrap = P2P_OPP_BOOTSTRAP_MAX};
	struct p2p_opp_secret secret = {.generation = P2P_REVOCATIONS_MAX, .len = 64};
	struct p2p_opp_revocations r = {.count = 9, .n = P2P_OPP_RECORDS_MAX};
	char buf[P2P_OPP_BODY_MAX];
	size_t n;

	(void)state;
	ROUND(enrol, &enrol);
	memset(&enrol, 0, sizeof(enrol));
	ROUND(enrol, &enrol);
	memset(secret.b, 0xee, sizeof(secret.b));
	ROUND(secret, &secret);
	/* the longest answer fits a body */
	memset(e.certificate, 'A', sizeof(e.certificate) - 1 - (sizeof(e.certificate) - 1) % 4);
	memset(e.authority, 'z', sizeof(e.authority) - 1 - (sizeof(e.authority) - 1) % 4);
	e.secret = secret;
	for (unsigned int i = 0; i < P2P_OPP_BOOTSTRAP_MAX; i++) {
		memset(e.bootstrap[i], 'a', P2P_OPP_ADDRESS_MAX - 1);
		e.bootstrap[i][70] = ':';
	}
	ROUND(enrolled, &e);
	memset(&e.secret, 0, sizeof(e.secret));
	memset(e.bootstrap, 0, sizeof(e.bootstrap));
	e.n_bootstrap = 0;
	ROUND(enrolled, &e);
	for (unsigned int i = 0; i < P2P_OPP_RECORDS_MAX; i++) {
		r.record[i].len = (uint16_t)(P2P_RECORD_MAX - i);
		memset(r.record[i].b, (int)(0x11 * i), r.record[i].len);
	}
	ROUND(revocations, &r);
	/* out of range */
	e.certificate[0] = '"';
	assert_int_equal(p2p_opp_enrolled_encode(&e, buf, sizeof(buf), &n), EINVAL);
	secret.len = 15;
	assert_int_equal(p2p_opp_secret_encode(&secret, buf, sizeof(buf), &n), EINVAL);
	r.n++;
	assert_int_equal(p2p_opp_revocations_encode(&r, buf, sizeof(buf), &n), EINVAL);
}

static void test_bodies_read(void **state)
{
	static const char *const bad_enrol[] = {"[]", "{\"token\":1}", "{\"token\":\"00\"}",
						"{\"token\":null}"};
	static const char *const bad_secret[] = {
		"{}", "{\"secret\":\"00112233445566778899aabbccddeeff\"}",
		"{\"secret\":\"00112233445566778899aabbccddee\",\"generation\":1}",
		"{\"secret\":\"00112233445566778899aabbccddeeff\",\"generation\":-1}",
		"{\"secret\":\"00112233445566778899aabbccddeeff\",\"generation\":4097}"};
	static const char *const bad_revocations[] = {"{}",
						      "{\"count\":1}",
						      "{\"count\":1,\"records\":{}}",
						      "{\"count\":1,\"records\":[1]}",
						      "{\"count\":1,\"records\":[\"\"]}",
						      "{\"count\":1,\"records\":[\"A=\"]}",
						      "{\"count\":4097,\"records\":[]}"};
	struct p2p_opp_revocations r;
	struct p2p_opp_enrol enrol;
	struct p2p_opp_secret s;

	(void)state;
	for (size_t i = 0; i < sizeof(bad_enrol) / sizeof(bad_enrol[0]); i++)
		assert_int_equal(p2p_opp_enrol_decode(&enrol, bad_enrol[i], strlen(bad_enrol[i])),
				 EBADMSG);
	for (size_t i = 0; i < sizeof(bad_secret) / sizeof(bad_secret[0]); i++)
		assert_int_equal(p2p_opp_secret_decode(&s, bad_secret[i], strlen(bad_secret[i])),
				 EBADMSG);
	for (size_t i = 0; i < sizeof(bad_revocations) / sizeof(bad_revocations[0]); i++)
		assert_int_equal(p2p_opp_revocations_decode(&r, bad_revocations[i],
							    strlen(bad_revocations[i])),
				 EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_token),	    cmocka_unit_test(test_token_address),
		cmocka_unit_test(test_revocation),  cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_bodies_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
