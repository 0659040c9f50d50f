/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names, HIT text, RESP encoding, SIP URIs of locators, the low form of signatures, and the rules
 * of records that need a key of choice. */
#include "tests/unit/test.h"

#include "lib/model/userset.h"
#include "lib/proto/crypto.h"
#include "lib/proto/name.h"
#include "lib/proto/record.h"
#include "lib/proto/resp.h"
#include "tests/unit/crypto.h"

#define T0 1767225600000ull

static void name_is(const char *user, const char *host, bool sensitive, const char *want)
{
	char out[P2P_NAME_MAX + 1];
	size_t len;

	assert_ok(p2p_name_make(out, &len, user, strlen(user), host,
				host != NULL ? strlen(host) : 0, sensitive));
	assert_string_equal(out, want);
	assert_int_equal(len, strlen(want));
	assert_true(p2p_name_valid(out, len));
}

static void name_fails(const char *user, size_t len, const char *host, int err)
{
	char out[P2P_NAME_MAX + 1] = "untouched";
	size_t outlen = 99;

	assert_int_equal(p2p_name_make(out, &outlen, user, len, host,
				       host != NULL ? strlen(host) : 0, false),
			 err);
	assert_string_equal(out, "untouched");
	assert_int_equal(outlen, 99);
}

static void test_name(void **state)
{
	char big[P2P_NAME_MAX + 2];

	(void)state;
	name_is("alice", NULL, false, "alice");
	name_is("Alice", NULL, false, "alice");
	name_is("Alice", NULL, true, "Alice");
	name_is("Alice", "Example.COM", true, "Alice@example.com");
	name_is("a", "example.com.", false, "a@example.com");
	name_is("a", "[2001:DB8::1]", false, "a@[2001:db8::1]");
	/* RFC 3261 section 19.1.4: an escaped and a plain character are the same */
	name_is("%61lice", NULL, false, "alice");
	name_is("%41lice", NULL, false, "alice");
	name_is("j%C3%b6rg", NULL, false, "j\xc3\xb6rg");
	name_is("a%25b", NULL, false, "a%b");
	name_is("a%40b", "c", false, "a@b@c");
	name_is("+49-30*#", NULL, false, "+49-30*#");

	name_fails("", 0, NULL, EINVAL);
	name_fails("%", 1, NULL, EINVAL);
	name_fails("a%4", 3, NULL, EINVAL);
	name_fails("a%4g", 4, NULL, EINVAL);
	name_fails("a%00", 4, NULL, EINVAL);
	name_fails("a%0d%0a", 7, NULL, EINVAL);
	name_fails("a\0b", 3, NULL, EINVAL);
	name_fails("a\n", 2, NULL, EINVAL);
	name_fails("a%7f", 4, NULL, EINVAL);
	name_fails("a", 1, "", EINVAL);
	name_fails("a", 1, "exa mple", EINVAL);
	name_fails("a", 1, "a@b", EINVAL);
	memset(big, 'x', sizeof(big));
	big[P2P_NAME_MAX] = '\0';
	name_is(big, NULL, false, big);
	name_fails(big, P2P_NAME_MAX + 1, NULL, EINVAL); /* its end is a NUL */
	big[P2P_NAME_MAX] = 'x';
	name_fails(big, P2P_NAME_MAX + 1, NULL, ENAMETOOLONG);
	name_fails(big, P2P_NAME_MAX - 1, "a", ENAMETOOLONG);

	assert_false(p2p_name_valid("", 0));
	assert_false(p2p_name_valid("a\r", 2));
	assert_false(p2p_name_valid(big, P2P_NAME_MAX + 1));
}

static void test_hit_text(void **state)
{
	static const char *const bad[] = {
		"",
		"2001:2",
		"2001:1f::1",
		"2001:10::1",
		"2001:30::1",
		"::1",
		"192.0.2.1",
		"[2001:22::1]",
		"2001:22::1%lo",
		" 2001:22::1",
		"2001:22::1 ",
		"2001:22:::1",
		"2001:0022:0000:0000:0000:0000:0000:0000:0001",
		"2001:0022:0000:0000:0000:0000:0000:00010000000",
	};
	struct p2p_hit hit, other;
	char text[P2P_HIT_TEXT_MAX];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(p2p_hit_parse(&hit, bad[i], strlen(bad[i])), EINVAL);
	assert_int_equal(p2p_hit_parse(&hit, "2001:22::1\0", 11), EINVAL);
	assert_ok(p2p_hit_parse(&hit, "2001:0022:0:0:0:0:AB:0001", 25));
	p2p_hit_print(&hit, text);
	assert_string_equal(text, "2001:22::ab:1");
	assert_ok(p2p_hit_parse(&other, "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff", 37));
	p2p_hit_print(&other, text);
	assert_string_equal(text, "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff");
	assert_true(p2p_hit_cmp(&hit, &other) < 0);
	assert_int_equal(p2p_hit_cmp(&hit, &hit), 0);
}

static void test_value_id(void **state)
{
	struct p2p_hit hit = {{0x20, 0x01, 0, 0x22, 1, 2, 3, 4}};

	(void)state;
	assert_true(p2p_record_value_id(&hit) == 1); /* 0 means "any" to the DHT engine */
	hit.b[15] = 9;
	assert_true(p2p_record_value_id(&hit) == 9);
}

static void test_resp(void **state)
{
	char buf[128];
	struct p2p_writer w;
	static const char want[] = "*4\r\n$7\r\nPUBLISH\r\n$3\r\na\0b\r\n"
				   "$20\r\n18446744073709551615\r\n$8\r\n0000beef\r\n";
	size_t n;

	(void)state;
	p2p_writer_init(&w, buf, sizeof(buf));
	p2p_resp_array(&w, 4);
	p2p_resp_str(&w, "PUBLISH");
	p2p_resp_bulk(&w, "a\0b", 3);
	p2p_resp_u64(&w, UINT64_MAX);
	p2p_resp_hex32(&w, 0xbeef);
	assert_false(w.full);
	assert_int_equal(w.len, sizeof(want) - 1);
	assert_memory_equal(buf, want, w.len);
	for (n = 0; n < sizeof(want) - 1; n++) {
		p2p_writer_init(&w, buf, n);
		p2p_resp_array(&w, 4);
		p2p_resp_str(&w, "PUBLISH");
		p2p_resp_bulk(&w, "a\0b", 3);
		p2p_resp_u64(&w, UINT64_MAX);
		p2p_resp_hex32(&w, 0xbeef);
		assert_true(w.full);
	}

	assert_int_equal(p2p_resp_code("NOTFOUND", 8), P2P_RESP_NOTFOUND);
	assert_int_equal(p2p_resp_code("STALE 17", 8), P2P_RESP_STALE);
	assert_int_equal(p2p_resp_code("BUSYNESS", 8), P2P_RESP_OTHER);
	assert_int_equal(p2p_resp_code("", 0), P2P_RESP_OTHER);
	assert_string_equal(p2p_resp_code_text(P2P_RESP_NOHANDSHAKE), "NOHANDSHAKE");
}

static void test_locator(void **state)
{
	static const struct {
		const char *in, *out; /* out NULL: refused */
	} uris[] = {
		{"sip:192.0.2.1:5060;transport=udp", "sip:192.0.2.1:5060;transport=udp"},
		{"SIP:192.0.2.1:5070;Transport=TCP", "sip:192.0.2.1:5070;transport=tcp"},
		{"sip:192.0.2.1", "sip:192.0.2.1:5060;transport=udp"},
		{"sip:192.0.2.1;transport=tls", "sip:192.0.2.1:5061;transport=tls"},
		{"sip:[2001:DB8::1]:65535;transport=tcp", "sip:[2001:db8::1]:65535;transport=tcp"},
		{"sip:[2001:db8::1]", "sip:[2001:db8::1]:5060;transport=udp"},
		{"sip:example.com", NULL},
		{"sip:alice@192.0.2.1", NULL},
		{"sips:192.0.2.1", NULL},
		{"sip:192.0.2.1:0", NULL},
		{"sip:192.0.2.1:65536", NULL},
		{"sip:192.0.2.1:", NULL},
		{"sip:192.0.2.1:5060 ", NULL},
		{"sip:192.0.2.1;transport=sctp", NULL},
		{"sip:192.0.2.1;transport=udp;lr", NULL},
		{"sip:192.0.2.1;lr", NULL},
		{"sip:192.0.2", NULL},
		{"sip:[::]", NULL},
		{"sip:[ff02::1]", NULL},
		{"sip:[::ffff:192.0.2.1]", NULL},
		{"sip:[2001:db8::1", NULL},
		{"sip:[]", NULL},
		{"sip:2001:db8::1", NULL},
		{"sip:0.0.0.0", NULL},
		{"sip:239.1.1.1", NULL},
		{"sip:255.255.255.255", NULL},
		{"sip:", NULL},
		{"", NULL},
	};
	struct p2p_locator l;
	char uri[P2P_LOCATOR_URI_MAX];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
		int err = p2p_locator_parse(&l, uris[i].in, strlen(uris[i].in));

		if (uris[i].out == NULL) {
			assert_int_equal(err, EINVAL);
			continue;
		}
		assert_ok(err);
		assert_ok(p2p_locator_print(&l, (enum p2p_transport)l.transports, uri));
		assert_string_equal(uri, uris[i].out);
	}
	assert_ok(p2p_locator_parse(&l, "sip:192.0.2.1", 13));
	assert_int_equal(p2p_locator_print(&l, P2P_TRANSPORT_TCP, uri), EINVAL);
	assert_int_equal(p2p_locator_print(&l, (enum p2p_transport)8, uri), EINVAL);
	l.service = P2P_SERVICE_HIP;
	assert_int_equal(p2p_locator_print(&l, P2P_TRANSPORT_UDP, uri), EINVAL);
}

/* What is added in some order of preference comes out in that order. */
static void test_uris_keep_order(void **state)
{
	static const char *const all[] = {
		"sip:192.0.2.1:5060;transport=udp",
		"sip:192.0.2.1:5060;transport=tcp",
		"sip:192.0.2.1:5061;transport=tls",
		"sip:[2001:db8::1]:5060;transport=tcp",
	};
	unsigned int order, i;

	(void)state;
	for (order = 0; order < 256; order++) {
		struct p2p_record rec = {0};
		char uri[P2P_LOCATOR_URI_MAX];
		unsigned int pick[4];

		for (i = 0; i < 4; i++) {
			pick[i] = order >> (2 * i) & 3;
			assert_ok(p2p_record_add_uri(&rec, all[pick[i]], strlen(all[pick[i]])));
		}
		for (i = 0; i < 4; i++) {
			assert_ok(p2p_record_uri(&rec, i, uri));
			assert_string_equal(uri, all[pick[i]]);
		}
		assert_int_equal(p2p_record_uri(&rec, 4, uri), ENOENT);
	}
	{
		struct p2p_record rec = {0};

		for (i = 0; i < P2P_LOCATORS_MAX; i++)
			assert_ok(p2p_record_add_uri(&rec, all[2 + i % 2], strlen(all[2 + i % 2])));
		assert_int_equal(p2p_record_add_uri(&rec, all[0], strlen(all[0])), ENOSPC);
	}
}

static void test_instances(void **state)
{
	struct p2p_record rec = {0};
	uint32_t i;

	(void)state;
	for (i = 20; i > 0; i--)
		p2p_record_add_instance(&rec, i * 3);
	assert_int_equal(rec.n_instances, 8);
	for (i = 0; i < 8; i++)
		assert_int_equal(rec.instance[i], (i + 1) * 3);
	p2p_record_add_instance(&rec, 1000);
	p2p_record_add_instance(&rec, 6);
	p2p_record_add_instance(&rec, 4);
	assert_int_equal(rec.n_instances, 8);
	assert_int_equal(rec.instance[0], 3);
	assert_int_equal(rec.instance[1], 4);
	assert_int_equal(rec.instance[7], 21);
}

static void test_low(void **state)
{
	uint8_t sig[P2P_SIG_LEN] = {0}, again[P2P_SIG_LEN];
	uint8_t pubkey[P2P_PUBKEY_LEN], scalar[32] = {[31] = 1};
	struct test_key *key = test_key_new(scalar, pubkey);
	struct p2p_crypto crypto;
	unsigned int i, high = 0;

	(void)state;
	assert_true(p2p_sig_is_low(sig));
	memset(sig + 32, 0xff, 32); /* past n: no signature at all, left as it is */
	memcpy(again, sig, sizeof(sig));
	p2p_sig_make_low(sig);
	assert_memory_equal(sig, again, sizeof(sig));
	assert_false(p2p_sig_is_low(sig));

	test_crypto(&crypto, key);
	for (i = 0; i < 16; i++) {
		assert_ok(crypto.sign(crypto.arg, &i, sizeof(i), sig));
		high += !p2p_sig_is_low(sig);
		p2p_sig_make_low(sig);
		assert_true(p2p_sig_is_low(sig));
		assert_ok(crypto.verify(NULL, pubkey, &i, sizeof(i), sig));
		memcpy(again, sig, sizeof(sig));
		p2p_sig_make_low(again);
		assert_memory_equal(sig, again, sizeof(sig));
	}
	(void)high; /* about half of them; chance must not fail a test */
	test_key_free(key);
}

static void good_user(struct p2p_record *rec, const uint8_t pubkey[P2P_PUBKEY_LEN])
{
	memset(rec, 0, sizeof(*rec));
	rec->kind = P2P_RECORD_USER;
	memcpy(rec->pubkey, pubkey, P2P_PUBKEY_LEN);
	rec->order = T0;
	rec->expiry_ms = T0 + 1000;
	rec->epoch = 1;
	assert_ok(p2p_record_add_uri(rec, "sip:192.0.2.1", 13));
}

/* What sign refuses to make is what decode refuses to take. */
static void test_sign_refuses(void **state)
{
	uint8_t pubkey[P2P_PUBKEY_LEN], buf[P2P_RECORD_MAX];
	struct test_key *key = test_key_seed(1, pubkey);
	struct p2p_crypto crypto;
	struct p2p_record rec;
	size_t len = 7;

	(void)state;
	test_crypto(&crypto, key);
#define REFUSED(change)                                                                            \
	do {                                                                                       \
		good_user(&rec, pubkey);                                                           \
		change;                                                                            \
		assert_int_equal(p2p_record_sign(&rec, &crypto, buf, sizeof(buf), &len), EINVAL);  \
		assert_int_equal(len, 7);                                                          \
	} while (0)
	REFUSED(rec.kind = 0);
	REFUSED(rec.kind = 6);
	REFUSED(rec.order = 0);
	REFUSED(rec.expiry_ms = T0);
	REFUSED(rec.expiry_ms = T0 + p2p_record_life_max(P2P_RECORD_USER) + 1);
	REFUSED(rec.epoch = 0);
	REFUSED(rec.n_locators = 0);
	REFUSED(rec.n_locators = P2P_LOCATORS_MAX + 1);
	REFUSED(rec.locator[0].port = 0);
	REFUSED(rec.locator[0].family = 5);
	REFUSED(rec.tombstone = true);
	REFUSED(rec.lease_ms = T0);
	REFUSED(strcpy(rec.software, "x"));
	REFUSED(memset(rec.software, 'x', sizeof(rec.software)));
	REFUSED(rec.n_instances = 1);
	REFUSED(rec.n_instances = P2P_RECORD_INSTANCES_MAX + 1);
	REFUSED(rec.permission_len = P2P_PERMISSION_MAX + 1);
	REFUSED(rec.body_len = 2);
	REFUSED(rec.pubkey[0] = 4);
	REFUSED(rec.kind = P2P_RECORD_PEER); /* without a lease */
	REFUSED(rec.kind = P2P_RECORD_PEER; rec.lease_ms = rec.expiry_ms + 1);
	REFUSED(rec.kind = P2P_RECORD_RELAY); /* with fields */
#undef REFUSED
	good_user(&rec, pubkey);
	assert_ok(p2p_record_sign(&rec, &crypto, buf, sizeof(buf), &len));
	test_key_free(key);
}

/* The largest record of each kind that the rules allow fits its 500 bytes. */
static void test_largest(void **state)
{
	uint8_t pubkey[P2P_PUBKEY_LEN], buf[P2P_RECORD_MAX];
	struct test_key *key = test_key_seed(1, pubkey);
	struct p2p_record_expect expect = {.now_ms = T0};
	struct p2p_crypto crypto;
	struct p2p_record rec, back;
	size_t len = 0;
	unsigned int i;

	(void)state;
	test_crypto(&crypto, key);
	good_user(&rec, pubkey);
	rec.n_locators = 0;
	for (i = 0; i < P2P_LOCATORS_MAX; i++)
		assert_ok(p2p_record_add_uri(
			&rec, i % 2 ? "sip:[2001:db8::1]" : "sip:[2001:db8::2]", 17));
	for (i = 1; i <= P2P_RECORD_INSTANCES_MAX; i++)
		p2p_record_add_instance(&rec, i);
	assert_ok(p2p_record_sign(&rec, &crypto, buf, sizeof(buf), &len));
	assert_int_equal(p2p_record_check(&back, NULL, buf, len, &expect, &crypto), P2P_RECORD_OK);
	rec.permission_len = P2P_PERMISSION_MAX;
	rec.permission[0] = 1;
	assert_ok(p2p_record_sign(&rec, &crypto, buf, sizeof(buf), &len));
	assert_int_equal(len, 483);
	assert_int_equal(p2p_record_check(&back, NULL, buf, len, &expect, &crypto), P2P_RECORD_OK);

	memset(&rec, 0, sizeof(rec));
	rec.kind = P2P_RECORD_RELAY;
	memcpy(rec.pubkey, pubkey, sizeof(pubkey));
	rec.order = T0;
	rec.expiry_ms = T0 + 1;
	rec.body_len = P2P_RECORD_BODY_MAX;
	rec.body[0] = 0x10;
	rec.body[1] = 255;
	rec.body[257] = 0x11;
	rec.body[258] = P2P_RECORD_BODY_MAX - 259;
	assert_ok(p2p_record_sign(&rec, &crypto, buf, sizeof(buf), &len));
	assert_int_equal(len, P2P_RECORD_MAX);
	assert_int_equal(p2p_record_check(&back, NULL, buf, len, &expect, &crypto), P2P_RECORD_OK);
	test_key_free(key);
}

/* Whatever single bit of a record is flipped, it is refused: nothing is left out of the signature.
 */
static void test_every_bit_counts(void **state)
{
	uint8_t pubkey[P2P_PUBKEY_LEN], buf[P2P_RECORD_MAX];
	struct test_key *key = test_key_seed(2, pubkey);
	struct p2p_record_expect expect = {.now_ms = T0};
	struct p2p_crypto crypto;
	struct p2p_record rec;
	size_t len = 0, bit;

	(void)state;
	test_crypto(&crypto, key);
	good_user(&rec, pubkey);
	assert_ok(p2p_record_sign(&rec, &crypto, buf, sizeof(buf), &len));
	for (bit = 0; bit < 8 * len; bit++) {
		buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(p2p_record_check(NULL, NULL, buf, len, &expect, &crypto),
				     P2P_RECORD_OK);
		buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(p2p_record_check(NULL, NULL, buf, len, &expect, &crypto), P2P_RECORD_OK);
	for (bit = 0; bit < len; bit++)
		assert_int_not_equal(p2p_record_decode(&rec, buf, bit), P2P_RECORD_OK);
	test_key_free(key);
}

static int broken_verify(void *arg, const uint8_t pubkey[P2P_PUBKEY_LEN], const void *msg,
			 size_t len, const uint8_t sig[P2P_SIG_LEN])
{
	(void)arg;
	(void)pubkey;
	(void)msg;
	(void)len;
	(void)sig;
	return ENOMEM;
}

static void test_times(void **state)
{
	uint8_t pubkey[P2P_PUBKEY_LEN], buf[P2P_RECORD_MAX];
	struct test_key *key = test_key_seed(3, pubkey);
	struct p2p_record_expect expect = {0};
	struct p2p_crypto crypto;
	struct p2p_record rec;
	size_t len = 0;

	(void)state;
	test_crypto(&crypto, key);
	good_user(&rec, pubkey);
	assert_ok(p2p_record_sign(&rec, &crypto, buf, sizeof(buf), &len));
	expect.now_ms = T0 - P2P_RECORD_FUTURE_MS;
	assert_int_equal(p2p_record_check(NULL, NULL, buf, len, &expect, &crypto), P2P_RECORD_OK);
	expect.now_ms--;
	assert_int_equal(p2p_record_check(NULL, NULL, buf, len, &expect, &crypto),
			 P2P_RECORD_BAD_FUTURE);
	expect.now_ms = T0 + 999;
	assert_int_equal(p2p_record_check(NULL, NULL, buf, len, &expect, &crypto), P2P_RECORD_OK);
	crypto.verify = broken_verify;
	assert_int_equal(p2p_record_check(NULL, NULL, buf, len, &expect, &crypto),
			 P2P_RECORD_UNCHECKED);
	expect.now_ms = T0 + 1000;
	assert_int_equal(p2p_record_check(NULL, NULL, buf, len, &expect, &crypto),
			 P2P_RECORD_EXPIRED);
	test_key_free(key);
}

/* One peer, one order, two records: holders (p2p_record_cmp) and readers (p2p_userset_add) take the
 * same one, in whichever order they come. */
static void test_ties(void **state)
{
	uint8_t pubkey[P2P_PUBKEY_LEN], buf[2][P2P_RECORD_MAX];
	struct test_key *key = test_key_seed(4, pubkey);
	struct p2p_crypto crypto;
	struct p2p_record rec[2];
	size_t len[2] = {0, 0};
	struct p2p_hit hit;
	unsigned int i, j;

	(void)state;
	test_crypto(&crypto, key);
	assert_ok(p2p_hit_from_pubkey(&hit, pubkey, &crypto));
	for (i = 0; i < 8; i++) {
		static struct p2p_userset set;
		int cmp, want;

		for (j = 0; j < 2; j++) {
			good_user(&rec[j], pubkey);
			rec[j].expiry_ms += j;
			assert_ok(
				p2p_record_sign(&rec[j], &crypto, buf[j], sizeof(buf[j]), &len[j]));
		}
		cmp = p2p_record_cmp(&rec[0], buf[0], len[0], &rec[1], buf[1], len[1]);
		assert_int_not_equal(cmp, 0);
		for (j = 0; j < 2; j++) {
			p2p_userset_init(&set);
			assert_ok(p2p_userset_add(&set, &rec[j], &hit, buf[j], len[j]));
			want = (cmp > 0) == (j == 0) ? EALREADY : 0;
			assert_int_equal(
				p2p_userset_add(&set, &rec[1 - j], &hit, buf[1 - j], len[1 - j]),
				want);
		}
	}
	test_key_free(key);
}

static void test_texts(void **state)
{
	int i;

	(void)state;
	for (i = 0; i <= P2P_RECORD_UNCHECKED; i++)
		assert_string_not_equal(p2p_record_fault_text((enum p2p_record_fault)i), "?");
	for (i = P2P_RECORD_USER; i <= P2P_RECORD_REVOCATION; i++)
		assert_string_not_equal(p2p_record_kind_text((enum p2p_record_kind)i), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_name),
		cmocka_unit_test(test_hit_text),
		cmocka_unit_test(test_value_id),
		cmocka_unit_test(test_resp),
		cmocka_unit_test(test_locator),
		cmocka_unit_test(test_uris_keep_order),
		cmocka_unit_test(test_instances),
		cmocka_unit_test(test_low),
		cmocka_unit_test(test_sign_refuses),
		cmocka_unit_test(test_largest),
		cmocka_unit_test(test_every_bit_counts),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_ties),
		cmocka_unit_test(test_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
