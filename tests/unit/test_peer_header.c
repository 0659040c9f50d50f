/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_route: the header between peers. */
#include "tests/unit/test.h"
#include <errno.h>
#include "modules/p2p_route/p2p_route_header.h"

static const char hit_text[] = "2001:22:81c2:d509:f8cf:4fc2:3af3:f782";

static struct route_header parse(const char *value)
{
	struct route_header h;

	memset(&h, 0, sizeof(h));
	route_header_parse(&h, value, strlen(value));
	return h;
}

static void is_hit(const struct route_header *h)
{
	char text[P2P_HIT_TEXT_MAX];

	assert_true(h->has_hit);
	p2p_hit_print(&h->hit, text);
	assert_string_equal(text, hit_text);
}

static void good_values(void **state)
{
	static const struct {
		const char *rest;
		unsigned int hops;
	} good[] = {
		{"", 0},
		{";v=2;hops=1", 1},
		{";hops=17;v=2", 17},
		{" ; v = 2 ; hops = 2 ", 2},
		{";V=2;HOPS=3", 3},
		{";v=2;hops=99999", 99999},
		{";v=2;new=thing;flag;hops=4", 4},
		{";;;v=2;;hops=0;", 0},
		{";v=2;hops=1;hops=5", 5},
	};
	char text[200];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct route_header h;

		snprintf(text, sizeof(text), "%s%s", hit_text, good[i].rest);
		h = parse(text);
		is_hit(&h);
		assert_int_equal(h.hops, good[i].hops);
		assert_false(h.is_signed);
	}
}

static void bad_values(void **state)
{
	static const char *const no_hit[] = {
		"",
		";",
		";v=2;hops=1",
		"nonsense",
		"::1;v=2",
		"2001:db8::1;v=2;hops=1",
		"2001:22:81c2:d509:f8cf:4fc2:3af3:f782;v=1",
		"2001:22:81c2:d509:f8cf:4fc2:3af3:f782;v=",
		"2001:22:81c2:d509:f8cf:4fc2:3af3:f782;v=22",
		"[2001:22:81c2:d509:f8cf:4fc2:3af3:f782]",
		"2001:22:81c2:d509:f8cf:4fc2:3af3:f782 x;v=2",
	};
	static const char *const many[] = {";hops=",	";hops=x",   ";hops=-1", ";hops=100000",
					   ";hops=1 2", ";hops=0x1", ";hops=+1"};
	char text[200];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(no_hit) / sizeof(no_hit[0]); i++) {
		struct route_header h = parse(no_hit[i]);

		assert_false(h.has_hit);
	}
	for (i = 0; i < sizeof(many) / sizeof(many[0]); i++) {
		struct route_header h;

		snprintf(text, sizeof(text), "%s%s", hit_text, many[i]);
		h = parse(text);
		is_hit(&h);
		assert_int_equal(h.hops, ROUTE_HOPS_MANY);
	}
}

#define ID_TEXT "000102030405060708090a0b0c0d0e0f"
#define MAC_TEXT "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf"

static struct route_header whole(void)
{
	struct route_header h = {.present = true,
				 .has_hit = true,
				 .is_signed = true,
				 .hops = 1,
				 .t_ms = 1795740000123};
	size_t i;

	assert_int_equal(p2p_hit_parse(&h.hit, hit_text, strlen(hit_text)), 0);
	for (i = 0; i < sizeof(h.session); i++)
		h.session.b[i] = (uint8_t)i;
	for (i = 0; i < sizeof(h.mac); i++)
		h.mac[i] = (uint8_t)(0xa0 + i);
	return h;
}

static void printed_and_read(void **state)
{
	struct route_header h = whole(), got;
	char text[ROUTE_HEADER_MAX];
	size_t len = route_header_print(&h, text);

	(void)state;
	assert_int_equal(len, strlen(text));
	assert_string_equal(text,
			    "P2P-Peer: 2001:22:81c2:d509:f8cf:4fc2:3af3:f782;v=2;hops=1;s=" ID_TEXT
			    ";t=1795740000123;mac=" MAC_TEXT "\r\n");
	got = parse(text + ROUTE_HEADER_LEN + 2);
	is_hit(&got);
	assert_true(got.is_signed);
	assert_int_equal(got.hops, 1);
	assert_int_equal(got.t_ms, h.t_ms);
	assert_memory_equal(&got.session, &h.session, sizeof(h.session));
	assert_memory_equal(got.mac, h.mac, sizeof(h.mac));

	h.within_dialog = true;
	memset(h.uri_hash, 0xee, sizeof(h.uri_hash));
	route_header_print(&h, text);
	assert_non_null(strstr(text, ";t=1795740000123;u=eeeeeeeeeeeeeeee;mac=a0"));
	got = parse(text + ROUTE_HEADER_LEN + 2);
	assert_true(got.is_signed && got.within_dialog);
	assert_memory_equal(got.uri_hash, h.uri_hash, sizeof(h.uri_hash));

	h.is_signed = false;
	route_header_print(&h, text);
	assert_string_equal(text, "P2P-Peer: 2001:22:81c2:d509:f8cf:4fc2:3af3:f782;v=2;hops=1\r\n");

	/* the longest there can be */
	h = whole();
	h.hops = ROUTE_HOPS_MANY;
	h.t_ms = UINT64_MAX;
	h.within_dialog = true;
	assert_true(route_header_print(&h, text) < ROUTE_HEADER_MAX);
}

static void half_signed_is_not_signed(void **state)
{
	static const char *const rest[] = {
		";v=2;s=" ID_TEXT ";t=1",
		";v=2;s=" ID_TEXT ";mac=" MAC_TEXT,
		";v=2;t=1;mac=" MAC_TEXT,
		";v=1;s=" ID_TEXT ";t=1;mac=" MAC_TEXT,
		";v=2;s=" ID_TEXT ";s=" ID_TEXT ";t=1;mac=" MAC_TEXT,
		";v=2;s=" ID_TEXT ";t=1;t=2;mac=" MAC_TEXT,
		";v=2;s=" ID_TEXT ";t=1;mac=" MAC_TEXT ";mac=" MAC_TEXT,
		";v=2;s=" ID_TEXT "00;t=1;mac=" MAC_TEXT,
		";v=2;s=" ID_TEXT ";t=-1;mac=" MAC_TEXT,
		";v=2;s=" ID_TEXT ";t=99999999999999999999;mac=" MAC_TEXT,
		";v=2;s=" ID_TEXT ";t=1;mac=" MAC_TEXT "00",
		";v=2;s=" ID_TEXT ";t=1;mac=",
		";v=2;s=" ID_TEXT ";t=1;u=1;mac=" MAC_TEXT,
		";v=2;s=" ID_TEXT ";t=1;u=0000000000000000;u=0000000000000000;mac=" MAC_TEXT,
		";v=2;s=00000000000000000000000000000000;t=1;mac=" MAC_TEXT,
	};
	char text[400];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rest) / sizeof(rest[0]); i++) {
		snprintf(text, sizeof(text), "%s%s", hit_text, rest[i]);
		assert_false(parse(text).is_signed);
	}
	snprintf(text, sizeof(text), "%s;mac=%s;t=1;later=x;s=%s;v=2", hit_text, MAC_TEXT, ID_TEXT);
	assert_true(parse(text).is_signed);
}

/* What is signed, byte by byte: changing it breaks calls between versions. */
static void signed_bytes(void **state)
{
	static const uint8_t expected[] =
		"p2psip-sip\0"
		"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
		"\x00\x00\x01\xa2\x1a\x6a\x0e\x7b"
		"\x00\x00\x00\x01"
		"\x00\x06INVITE"
		"\x00\x0fsip:bob@example"
		"\x00\x03"
		"abc"
		"\x00\x02"
		"10"
		"\x00\x00";
	struct route_signed s = {.part = {"INVITE", "sip:bob@example", "abc", "10", ""},
				 .len = {6, 15, 3, 2, 0}};
	struct route_header h = whole();
	struct p2p_writer w;
	uint8_t buf[256];

	(void)state;
	h.t_ms = 0x1a21a6a0e7b;
	p2p_writer_init(&w, buf, sizeof(buf));
	assert_int_equal(route_signed_bytes(&h, &s, &w), 0);
	assert_int_equal(w.len, sizeof(expected) - 1);
	assert_memory_equal(buf, expected, w.len);
	p2p_writer_init(&w, buf, 40);
	assert_int_equal(route_signed_bytes(&h, &s, &w), EMSGSIZE);
	s.len[1] = 65536;
	p2p_writer_init(&w, buf, sizeof(buf));
	assert_int_equal(route_signed_bytes(&h, &s, &w), EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_values),	    cmocka_unit_test(bad_values),
		cmocka_unit_test(printed_and_read), cmocka_unit_test(half_signed_is_not_signed),
		cmocka_unit_test(signed_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
