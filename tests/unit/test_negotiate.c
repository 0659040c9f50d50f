/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What two peers make of both their offers. */
#include "tests/unit/test.h"

#include <string.h>
#include "lib/model/negotiate.h"

#define UDP P2P_SIGNALLING_UDP
#define TCP P2P_SIGNALLING_TCP
#define TLS P2P_SIGNALLING_TLS
#define RTP P2P_MEDIA_RTP
#define SDES P2P_MEDIA_SDES
#define DTLS P2P_MEDIA_DTLS

static const char *const uris[2][6] = {
	{"sip:192.0.2.1:5060;transport=udp", "sip:192.0.2.1:5060;transport=tcp",
	 "sip:192.0.2.1:5061;transport=tls", "sip:[2001:db8::1]:5060;transport=udp",
	 "sip:[2001:db8::1]:5060;transport=tcp", "sip:[2001:db8::1]:5061;transport=tls"},
	{"sip:192.0.2.2:5060;transport=udp", "sip:192.0.2.2:5060;transport=tcp",
	 "sip:192.0.2.2:5061;transport=tls", "sip:[2001:db8::2]:5060;transport=udp",
	 "sip:[2001:db8::2]:5060;transport=tcp", "sip:[2001:db8::2]:5061;transport=tls"},
};

/* Lists end with 0; addresses is a mask over uris. */
static struct p2p_offer offer(int side, const uint8_t *s, const uint8_t *f, const uint8_t *m,
			      unsigned int addresses)
{
	struct p2p_offer o = {0};

	while (*s)
		o.signalling[o.n_signallings++] = *s++;
	while (*f)
		o.family[o.n_families++] = *f++;
	while (*m)
		o.media[o.n_medias++] = *m++;
	for (unsigned int i = 0; i < 6; i++)
		if (addresses & 1u << i)
			assert_ok(p2p_offer_add(&o, uris[side][i], strlen(uris[side][i])));
	assert_true(p2p_offer_valid(&o));
	return o;
}

#define L(...)                                                                                     \
	(const uint8_t[])                                                                          \
	{                                                                                          \
		__VA_ARGS__, 0                                                                     \
	}
#define V4 7u
#define V6 56u

struct row {
	const char *what;
	struct {
		uint8_t s[4], f[3], m[4];
		unsigned int addresses;
	} side[2];
	enum p2p_uncommon result;
	struct p2p_agreed agreed;
};

static const struct row rows[] = {
	{"one word each",
	 {{{UDP}, {4}, {RTP}, V4}, {{UDP}, {4}, {RTP}, V4}},
	 P2P_COMMON,
	 {UDP, 4, RTP, 0}},
	{"both like udp best; big requests over tcp",
	 {{{UDP, TCP, TLS}, {4, 6}, {RTP}, V4 | V6}, {{UDP, TCP}, {4}, {RTP}, V4 | V6}},
	 P2P_COMMON,
	 {UDP, 4, RTP, 4}},
	{"one demands tls",
	 {{{UDP, TCP, TLS}, {4}, {RTP}, V4}, {{TLS}, {4}, {RTP}, V4}},
	 P2P_COMMON,
	 {TLS, 4, RTP, 0}},
	{"opposite orders: what protects more",
	 {{{UDP, TLS}, {4, 6}, {RTP, DTLS}, V4 | V6}, {{TLS, UDP}, {6, 4}, {DTLS, RTP}, V4 | V6}},
	 P2P_COMMON,
	 {TLS, 6, DTLS, 0}},
	{"sdes before rtp where the lists say so",
	 {{{UDP}, {4}, {SDES, RTP}, V4}, {{UDP}, {4}, {RTP, SDES}, V4}},
	 P2P_COMMON,
	 {UDP, 4, SDES, 0}},
	{"tls has no address there",
	 {{{TLS, TCP}, {4}, {RTP}, V4}, {{TLS, TCP}, {4}, {RTP}, 3}},
	 P2P_COMMON,
	 {TCP, 4, RTP, 0}},
	{"udp over IPv4, its tcp only over IPv6",
	 {{{UDP, TCP}, {4, 6}, {RTP}, 1 | 16}, {{UDP, TCP}, {4, 6}, {RTP}, 1 | 16}},
	 P2P_COMMON,
	 {UDP, 4, RTP, 6}},
	{"no common word",
	 {{{UDP, TCP}, {4}, {RTP}, V4}, {{TLS}, {4}, {RTP}, V4}},
	 P2P_UNCOMMON_SIGNALLING,
	 {0}},
	{"a common word, no address for it",
	 {{{TLS}, {4}, {RTP}, V4}, {{TLS}, {4}, {RTP}, 1}},
	 P2P_UNCOMMON_SIGNALLING,
	 {0}},
	{"IPv4 here, IPv6 there",
	 {{{UDP}, {4, 6}, {RTP}, V4}, {{UDP}, {4, 6}, {RTP}, V6}},
	 P2P_UNCOMMON_FAMILY,
	 {0}},
	{"IPv4 wanted here, IPv6 there",
	 {{{UDP}, {4}, {RTP}, V4 | V6}, {{UDP}, {6}, {RTP}, V4 | V6}},
	 P2P_UNCOMMON_FAMILY,
	 {0}},
	{"rtp here, srtp there",
	 {{{UDP}, {4}, {RTP}, V4}, {{UDP}, {4}, {SDES, DTLS}, V4}},
	 P2P_UNCOMMON_MEDIA,
	 {0}},
	{"nothing offered",
	 {{{0}, {0}, {0}, 0}, {{UDP}, {4}, {RTP}, V4}},
	 P2P_UNCOMMON_SIGNALLING,
	 {0}},
};

static void same(const struct p2p_agreed *a, const struct p2p_agreed *b)
{
	assert_int_equal(a->signalling, b->signalling);
	assert_int_equal(a->family, b->family);
	assert_int_equal(a->media, b->media);
	assert_int_equal(a->stream_family, b->stream_family);
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		struct p2p_agreed one = {0}, other = {0};
		struct p2p_offer o[2];

		print_message("%s\n", r->what);
		for (int k = 0; k < 2; k++)
			o[k] = offer(k, r->side[k].s, r->side[k].f, r->side[k].m,
				     r->side[k].addresses);
		assert_int_equal(p2p_negotiate(&o[0], &o[1], &one), r->result);
		assert_int_equal(p2p_negotiate(&o[1], &o[0], &other), r->result);
		same(&one, &r->agreed);
		same(&other, &r->agreed);
	}
}

/* --- every pair of lists ---------------------------------------------------------------------- */

static const uint8_t orders[16][4] = {
	{0},	{1},	{2},	   {4},	      {1, 2},	 {2, 1},    {1, 4},    {4, 1},
	{2, 4}, {4, 2}, {1, 2, 4}, {1, 4, 2}, {2, 1, 4}, {2, 4, 1}, {4, 1, 2}, {4, 2, 1}};
static const uint8_t families[5][3] = {{0}, {4}, {6}, {4, 6}, {6, 4}};

static int place(const uint8_t *list, uint8_t what)
{
	for (int i = 0; list[i]; i++)
		if (list[i] == what)
			return i;
	return -1;
}

static unsigned int bit(uint8_t signalling, uint8_t family)
{
	return 1u << ((signalling == UDP ? 0 : signalling == TCP ? 1 : 2) + (family == 6 ? 3 : 0));
}

/* By other means: the least sum of places of a signalling that can be used at all, -1: none. */
static int least_signalling(const uint8_t *sa, const uint8_t *sb, const uint8_t *fa,
			    const uint8_t *fb, unsigned int both)
{
	int least = -1;

	for (int i = 0; sa[i]; i++) {
		int j = place(sb, sa[i]);
		bool usable = false;

		for (int k = 0; fa[k]; k++)
			usable |= place(fb, fa[k]) >= 0 && (both & bit(sa[i], fa[k]));
		if (j >= 0 && usable && (least < 0 || i + j < least))
			least = i + j;
	}
	return least;
}

/* All masks of addresses at one side against a few at the other, and all orders of the lists. */
static void test_every_signalling(void **state)
{
	static const unsigned int theirs[] = {0, V4, V6, V4 | V6, 1 | 16, 4 | 8};
	unsigned long agreed_n = 0, refused_n = 0;
	uint8_t rtp[2] = {RTP, 0};

	(void)state;
	for (int i = 0; i < 16 * 5 * 64; i++) {
		const uint8_t *sa = orders[i % 16], *fa = families[i / 16 % 5];
		unsigned int mine = (unsigned int)i / 80;
		struct p2p_offer a = offer(0, sa, fa, rtp, mine);

		for (int j = 0; j < 16 * 5 * 6; j++) {
			const uint8_t *sb = orders[j % 16], *fb = families[j / 16 % 5];
			unsigned int both = mine & theirs[j / 80];
			struct p2p_offer b = offer(1, sb, fb, rtp, theirs[j / 80]);
			struct p2p_agreed x = {0}, y = {0};
			enum p2p_uncommon what = p2p_negotiate(&a, &b, &x);
			int least = least_signalling(sa, sb, fa, fb, both);

			assert_int_equal(what, p2p_negotiate(&b, &a, &y));
			same(&x, &y);
			if (what) {
				assert_int_equal(least, -1);
				refused_n++;
				continue;
			}
			agreed_n++;
			assert_int_equal(place(sa, x.signalling) + place(sb, x.signalling), least);
			assert_true(place(fa, x.family) >= 0 && place(fb, x.family) >= 0);
			assert_true(both & bit(x.signalling, x.family));
			if (x.stream_family) {
				assert_int_equal(x.signalling, UDP);
				assert_true(both & bit(TCP, x.stream_family));
				assert_true(place(sa, TCP) >= 0 && place(sb, TCP) >= 0);
			} else if (x.signalling == UDP && place(sa, TCP) >= 0 &&
				   place(sb, TCP) >= 0) {
				assert_false(both & bit(TCP, x.family));
			}
		}
	}
	assert_true(agreed_n > 10000 && refused_n > 10000);
}

static void test_every_media(void **state)
{
	(void)state;
	for (int i = 0; i < 16; i++) {
		for (int j = 0; j < 16; j++) {
			struct p2p_offer a = offer(0, L(UDP), L(4), orders[i], V4);
			struct p2p_offer b = offer(1, L(UDP), L(4), orders[j], V4);
			struct p2p_agreed x = {0}, y = {0};
			enum p2p_uncommon what = p2p_negotiate(&a, &b, &x);
			int least = -1;

			assert_int_equal(what, p2p_negotiate(&b, &a, &y));
			same(&x, &y);
			for (int k = 0; orders[i][k]; k++) {
				int c = place(orders[j], orders[i][k]);

				if (c >= 0 && (least < 0 || c + k < least))
					least = c + k;
			}
			assert_int_equal(what, least < 0 ? P2P_UNCOMMON_MEDIA : P2P_COMMON);
			if (!what)
				assert_int_equal(place(orders[i], x.media) +
							 place(orders[j], x.media),
						 least);
		}
	}
}

/* --- offers ----------------------------------------------------------------------------------- */

static void test_offers(void **state)
{
	struct p2p_offer o = {0}, bad;

	(void)state;
	assert_ok(p2p_offer_add(&o, uris[0][0], strlen(uris[0][0])));
	assert_int_equal(p2p_offer_add(&o, uris[0][0], strlen(uris[0][0])), EEXIST);
	assert_int_equal(p2p_offer_add(&o, "sip:peer.example.org", 20), EINVAL);
	assert_int_equal(p2p_offer_add(&o, "sip:192.0.2.1:0", 15), EINVAL);
	assert_int_equal(o.n_addresses, 1);
	assert_string_equal(p2p_offer_uri(&o, UDP, 4), uris[0][0]);
	assert_null(p2p_offer_uri(&o, UDP, 6));
	for (unsigned int port = 6000; o.n_addresses < P2P_OFFER_ADDRESSES_MAX; port++) {
		char text[64];

		snprintf(text, sizeof(text), "sip:192.0.2.1:%u;transport=udp", port);
		assert_ok(p2p_offer_add(&o, text, strlen(text)));
	}
	assert_int_equal(p2p_offer_add(&o, uris[0][1], strlen(uris[0][1])), ENOSPC);
	assert_true(p2p_offer_valid(&o));

	bad = o;
	bad.signalling[0] = bad.signalling[1] = UDP;
	bad.n_signallings = 2;
	assert_false(p2p_offer_valid(&bad)); /* named twice */
	bad = o;
	bad.media[bad.n_medias++] = 8;
	assert_false(p2p_offer_valid(&bad));
	bad = o;
	bad.family[bad.n_families++] = 5;
	assert_false(p2p_offer_valid(&bad));
	bad = o;
	bad.n_addresses = P2P_OFFER_ADDRESSES_MAX + 1;
	assert_false(p2p_offer_valid(&bad));
	bad = o;
	bad.address[0].signalling = TLS; /* not what its URI says */
	assert_false(p2p_offer_valid(&bad));
	bad = o;
	memset(bad.address[0].uri, 'x', sizeof(bad.address[0].uri)); /* no NUL */
	assert_false(p2p_offer_valid(&bad));
	bad = o;
	bad.n_medias = 200;
	assert_false(p2p_offer_valid(&bad));
}

static void test_reasons(void **state)
{
	struct p2p_offer a = offer(0, L(TLS), L(4), L(RTP), V4);
	struct p2p_offer b = offer(1, L(UDP, TCP), L(4, 6), L(DTLS, SDES), V4 | V6);
	char text[128];

	(void)state;
	p2p_uncommon_reason(P2P_UNCOMMON_SIGNALLING, &a, &b, text, sizeof(text));
	assert_string_equal(text, "no common signalling: tls here, udp tcp there");
	p2p_uncommon_reason(P2P_UNCOMMON_FAMILY, &a, &b, text, sizeof(text));
	assert_string_equal(text, "no common IP family: IPv4 here, IPv4 IPv6 there");
	p2p_uncommon_reason(P2P_UNCOMMON_MEDIA, &a, &b, text, sizeof(text));
	assert_string_equal(text, "no common media: rtp here, srtp-dtls srtp-sdes there");
	a.n_medias = 0;
	p2p_uncommon_reason(P2P_UNCOMMON_MEDIA, &a, &b, text, sizeof(text));
	assert_string_equal(text, "no common media: none here, srtp-dtls srtp-sdes there");
	for (int w = P2P_UNCOMMON_SIGNALLING; w <= P2P_UNCOMMON_MEDIA; w++) {
		const char *word = p2p_uncommon_text((enum p2p_uncommon)w);

		assert_int_equal(p2p_uncommon_parse(word, strlen(word)), w);
	}
	assert_null(p2p_uncommon_text(P2P_COMMON));
	assert_int_equal(p2p_uncommon_parse("other", 5), P2P_COMMON);
}

static void test_session_words(void **state)
{
	struct p2p_session_id id, again;
	char text[P2P_SESSION_ID_TEXT_MAX];

	(void)state;
	for (unsigned int i = 0; i < 256; i++) {
		const char *s = p2p_signalling_text((uint8_t)i), *m = p2p_media_text((uint8_t)i);

		assert_int_equal(s != NULL, i == UDP || i == TCP || i == TLS);
		assert_int_equal(m != NULL, i == RTP || i == SDES || i == DTLS);
		if (s)
			assert_int_equal(p2p_signalling_parse(s, strlen(s)), i);
		if (m)
			assert_int_equal(p2p_media_parse(m, strlen(m)), i);
	}
	assert_int_equal(p2p_signalling_parse("UDP", 3), 0);
	assert_int_equal(p2p_media_parse("srtp", 4), 0);
	assert_ok(p2p_session_id_parse(&id, "00112233445566778899aabbccddeeff", 32));
	p2p_session_id_print(&id, text);
	assert_string_equal(text, "00112233445566778899aabbccddeeff");
	again = id;
	assert_int_equal(p2p_session_id_parse(&again, "00112233445566778899AABBCCDDEEFF", 32),
			 EINVAL);
	assert_int_equal(p2p_session_id_parse(&again, "00112233445566778899aabbccddeef", 31),
			 EINVAL);
	assert_int_equal(p2p_session_id_parse(&again, "00000000000000000000000000000000", 32),
			 EINVAL);
	assert_memory_equal(&again, &id, sizeof(id));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),	    cmocka_unit_test(test_every_signalling),
		cmocka_unit_test(test_every_media), cmocka_unit_test(test_offers),
		cmocka_unit_test(test_reasons),	    cmocka_unit_test(test_session_words),
	};

	return cmocka_run_group_tests_name("negotiate", tests, NULL, NULL);
}
