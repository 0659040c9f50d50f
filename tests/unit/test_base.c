/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test.h"

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/hash.h"
#include "lib/base/log.h"

/* The vectors of SipHash's own reference implementation: key 00..0f, input 00..n-1. */
static void test_hash(void **state)
{
	static const uint64_t want[] = {
		0x726fdb47dd0e0e31ull, 0x74f839c593dc67fdull, 0x0d6c8009d9a94f5aull,
		0x85676696d7fb7e2dull, 0xcf2794e0277187b7ull, 0x18765564cd99a68dull,
		0xcbc9466e58fee3ceull, 0xab0200f58b01d137ull, 0x93f5f5799a932462ull,
	};
	struct p2p_hash_key key;
	uint8_t in[16];
	size_t i;

	(void)state;
	for (i = 0; i < 16; i++)
		key.b[i] = in[i] = (uint8_t)i;
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		assert_true(p2p_hash(&key, in, i) == want[i]);
	assert_true(p2p_hash(&key, in, 15) == 0xa129ca6149be45e5ull);
}

static void test_bytes(void **state)
{
	uint8_t buf[16];
	struct p2p_writer w;
	struct p2p_text t;
	char text[8];

	(void)state;
	p2p_writer_init(&w, buf, sizeof(buf));
	p2p_write_u8(&w, 1);
	p2p_write_be16(&w, 0x0203);
	p2p_write_be32(&w, 0x04050607);
	p2p_write_be64(&w, 0x08090a0b0c0d0e0full);
	assert_false(w.full);
	assert_int_equal(w.len, 15);
	assert_int_equal(p2p_be16(buf + 1), 0x0203);
	assert_int_equal(p2p_be32(buf + 3), 0x04050607);
	assert_true(p2p_be64(buf + 7) == 0x08090a0b0c0d0e0full);
	p2p_write_be16(&w, 1); /* does not fit: nothing of it is written, nor anything after */
	assert_true(w.full);
	p2p_write_u8(&w, 1);
	assert_int_equal(w.len, 15);

	p2p_text_init(&t, text, sizeof(text));
	p2p_text_add(&t, "%s", "abc");
	p2p_text_add(&t, "%d", 1234);
	assert_string_equal(text, "abc1234");
	assert_false(t.cut);
	p2p_text_add(&t, "x");
	assert_true(t.cut);
	assert_string_equal(text, "abc1234");
}

static void test_numbers(void **state)
{
	uint64_t v = 7;
	uint8_t b[2];
	char text[5];
	char text64[16];
	uint8_t b64[2];

	(void)state;
	assert_ok(p2p_u64_parse(&v, "0", 1));
	assert_true(v == 0);
	assert_ok(p2p_u64_parse(&v, "18446744073709551615", 20));
	assert_true(v == UINT64_MAX);
	assert_int_equal(p2p_u64_parse(&v, "18446744073709551616", 20), ERANGE);
	assert_int_equal(p2p_u64_parse(&v, "", 0), EINVAL);
	assert_int_equal(p2p_u64_parse(&v, "-1", 2), EINVAL);
	assert_int_equal(p2p_u64_parse(&v, "+1", 2), EINVAL);
	assert_int_equal(p2p_u64_parse(&v, " 1", 2), EINVAL);
	assert_int_equal(p2p_u64_parse(&v, "01", 2), EINVAL);
	assert_int_equal(p2p_u64_parse(&v, "1\0", 2), EINVAL);
	assert_true(v == UINT64_MAX);

	assert_ok(p2p_hex_parse(b, 2, "aF09", 4));
	p2p_hex_print(text, b, 2);
	assert_string_equal(text, "af09");
	assert_int_equal(p2p_hex_parse(b, 2, "af0", 3), EINVAL);
	assert_int_equal(p2p_hex_parse(b, 2, "af0g", 4), EINVAL);
	/* RFC 4648 section 10, without padding */
	p2p_base64url_print(text64, "foobar", 6);
	assert_string_equal(text64, "Zm9vYmFy");
	p2p_base64url_print(text64, "foob", 4);
	assert_string_equal(text64, "Zm9vYg");
	p2p_base64url_print(text64, "\xff\xef\xbf", 2);
	assert_string_equal(text64, "_-8");
	assert_ok(p2p_base64url_parse(b64, 2, "_-8", 3));
	assert_memory_equal(b64, "\xff\xef", 2);
	assert_int_equal(p2p_base64url_parse(b64, 2, "_-9", 3), EINVAL); /* a bit behind the end */
	assert_int_equal(p2p_base64url_parse(b64, 2, "_-", 2), EINVAL);
	assert_int_equal(p2p_base64url_parse(b64, 2, "_+8", 3), EINVAL);
	assert_int_equal(p2p_base64url_parse(b64, 2,
					     "_\0"
					     "8",
					     3),
			 EINVAL);
	assert_int_equal(b[0], 0xaf);
}

static void test_clock(void **state)
{
	uint64_t a = p2p_clock_mono(&p2p_clock_system), b = p2p_clock_mono(&p2p_clock_system);

	(void)state;
	assert_true(b >= a);
	assert_true(p2p_clock_wall(&p2p_clock_system) > 1600000000000ull);
}

static char logged[P2P_LOG_LINE_MAX];
static int n_logged;

static void sink(enum p2p_log_level level, const char *msg, void *arg)
{
	(void)level;
	(void)arg;
	n_logged++;
	snprintf(logged, sizeof(logged), "%s", msg);
}

static void test_log(void **state)
{
	struct p2p_log log = {.sink = sink, .level = P2P_LOG_INFO};
	enum p2p_log_level level;
	char big[2000];

	(void)state;
	p2p_log(NULL, P2P_LOG_ERR, "nobody");
	p2p_log(&log, P2P_LOG_DBG, "quiet");
	assert_int_equal(n_logged, 0);
	p2p_log(&log, P2P_LOG_WARN, "a\r\nERR forged \x1b[2J%d", 5);
	assert_string_equal(logged, "a??ERR forged ?[2J5");
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	p2p_log(&log, P2P_LOG_ERR, "%s", big);
	assert_int_equal(strlen(logged), P2P_LOG_LINE_MAX - 1);
	assert_string_equal(logged + strlen(logged) - 4, "x...");
	assert_ok(p2p_log_level_parse(&level, "warn"));
	assert_int_equal(level, P2P_LOG_WARN);
	assert_int_equal(p2p_log_level_parse(&level, "warning"), EINVAL);
	assert_string_equal(p2p_log_level_name(P2P_LOG_DBG), "dbg");
}

static void test_limit(void **state)
{
	static struct p2p_limit limit;
	struct p2p_hash_key key = {{1, 2, 3}};
	uint32_t silenced;
	unsigned int i, said = 0;
	uint64_t now = 1000; /* a clock that just started */

	(void)state;
	p2p_limit_init(&limit, 60000, &key);
	assert_true(p2p_limit_ok(&limit, "a", 1, now, &silenced));
	assert_int_equal(silenced, 0);
	for (i = 0; i < 5; i++)
		assert_false(p2p_limit_ok(&limit, "a", 1, now + 10000 * i, NULL));
	assert_true(p2p_limit_ok(&limit, "b", 1, now, NULL));
	assert_true(p2p_limit_ok(&limit, "a", 1, now + 60000, &silenced));
	assert_int_equal(silenced, 5);
	/* a stranger with many addresses: as many lines as there are places, not more */
	for (i = 0; i < 100000; i++)
		said += p2p_limit_ok(&limit, &i, sizeof(i), now + 60000, NULL);
	assert_true(said <= P2P_LIMIT_SETS * P2P_LIMIT_WAYS);
	assert_true(said > P2P_LIMIT_SETS);
	i = 1;
	assert_true(p2p_limit_ok(&limit, &i, sizeof(i), now + 200000, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hash),	cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_numbers), cmocka_unit_test(test_clock),
		cmocka_unit_test(test_log),	cmocka_unit_test(test_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
