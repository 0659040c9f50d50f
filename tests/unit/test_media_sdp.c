/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_media's view of bodies. */
#include "tests/unit/test.h"
#include "modules/p2p_media/p2p_media_sdp.h"

#define SDP                                                                                        \
	"v=0\r\no=- 1 1 IN IP4 192.0.2.5\r\ns=-\r\nc=IN IP4 192.0.2.5\r\nt=0 0\r\n"                \
	"m=audio 4000 RTP/AVP 0\r\nm=video 0 RTP/AVP 96\r\n"

static int find(const char *type, const char *body, const char **sdp, size_t *len)
{
	size_t off;
	int err = p2p_media_sdp_find(type, strlen(type), body, strlen(body), &off, len);

	if (err == 0)
		*sdp = body + off;
	return err;
}

static void test_find(void **state)
{
	static const char multi[] =
		"preamble\r\n--b1\r\nContent-Type: text/plain\r\n\r\nsee --b1\r\n--b1\r\n"
		"Content-ID: x\r\nContent-type:application/sdp;charset=utf-8\r\n\r\n" SDP
		"\r\n--b1--\r\nepilogue";
	static const struct {
		const char *type, *body;
		int err;
	} bad[] = {
		{"text/plain", SDP, ENOENT},
		{"application/sdpx", SDP, ENOENT},
		{"application/sdp", "", ENOENT},
		{"", SDP, ENOENT},
		{"multipart/mixed", multi, EBADMSG},
		{"multipart/mixed;boundary=", multi, EBADMSG},
		{"multipart/mixed;boundary=\"b1", multi, EBADMSG},
		{"multipart/mixed;boundary=b2", multi, EBADMSG},
		{"multipart/mixed;boundary=b", "--b\r\nContent-Type: application/sdp\r\n\r\n" SDP,
		 EBADMSG},
		{"multipart/mixed;boundary=b", "--b\r\nContent-Type: application/sdp\r\n--b--",
		 EBADMSG},
		{"multipart/mixed;boundary=b",
		 "--b\r\nContent-Type: application/sdp\r\n\r\n\r\n--b--", EBADMSG},
		{"multipart/mixed;boundary=b", "--b\r\nContent-Type: text/x\r\n\r\nx\r\n--b--",
		 ENOENT},
		{"multipart/mixed;boundary=b", "--b--\r\n", ENOENT},
	};
	const char *sdp = NULL;
	size_t i, len = 0;

	(void)state;
	assert_ok(find("application/sdp", SDP, &sdp, &len));
	assert_int_equal(len, strlen(SDP));
	assert_ok(find("Application/SDP ; x=y", SDP, &sdp, &len));
	assert_ok(find("multipart/mixed; boundary=b1", multi, &sdp, &len));
	assert_int_equal(len, strlen(SDP));
	assert_memory_equal(sdp, SDP, len);
	assert_ok(find("Multipart/Alternative; a=\"b;c\"; Boundary=\"b1\"", multi, &sdp, &len));
	assert_int_equal(len, strlen(SDP));
	/* bare line feeds, and a boundary that is the beginning of another */
	assert_ok(find("multipart/mixed;boundary=b",
		       "--bb\n\nx\n--b\nContent-Type: application/sdp\n\nv=0\n--b--", &sdp, &len));
	assert_int_equal(len, 3);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int err = find(bad[i].type, bad[i].body, &sdp, &len);

		if (err != bad[i].err)
			fail_msg("%d instead of %d for %s: %s", err, bad[i].err, bad[i].type,
				 bad[i].body);
	}
}

static void test_inspect(void **state)
{
	static const char v6[] = "v=0\n\nm=audio 1 x 0\nc=IN IP6 fd00::1/64";
	static char big[P2P_MEDIA_SDP_MAX + 8];
	static const char *const bad[] = {
		"",
		"v=",
		"v=1\r\n",
		"nonsense",
		"v=0\r\nM=audio\r\n",
		"v=0\r\nx\r\n",
		"v=0\r\na=\x01\r\n",
		"v=0\r\n =x\r\n",
	};
	struct p2p_media_sdp sdp;
	size_t i;

	(void)state;
	assert_ok(p2p_media_sdp_inspect(SDP, strlen(SDP), &sdp));
	assert_int_equal(sdp.sections, 2);
	assert_int_equal(sdp.active, 1);
	assert_string_equal(sdp.address, "192.0.2.5");
	assert_ok(p2p_media_sdp_inspect(v6, strlen(v6), &sdp));
	assert_string_equal(sdp.address, "fd00::1");
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(p2p_media_sdp_inspect(bad[i], strlen(bad[i]), &sdp), EBADMSG);
	strcpy(big, "v=0\n");
	for (i = 0; i < P2P_MEDIA_SECTIONS_MAX; i++)
		strcat(big, "m=a 1 b 0\n");
	assert_ok(p2p_media_sdp_inspect(big, strlen(big), &sdp));
	strcat(big, "m=a 1 b 0\n");
	assert_int_equal(p2p_media_sdp_inspect(big, strlen(big), &sdp), E2BIG);
	memset(big, '\n', sizeof(big));
	memcpy(big, "v=0", 3);
	assert_ok(p2p_media_sdp_inspect(big, P2P_MEDIA_SDP_MAX, &sdp));
	assert_int_equal(p2p_media_sdp_inspect(big, P2P_MEDIA_SDP_MAX + 1, &sdp), E2BIG);
}

/* The sections' media of an SDP with these lines after the session's. */
static uint8_t media(const char *lines)
{
	struct p2p_media_sdp sdp;
	char text[1024];

	snprintf(text, sizeof(text), "v=0\r\no=- 1 1 IN IP4 192.0.2.5\r\ns=-\r\n%s", lines);
	assert_ok(p2p_media_sdp_inspect(text, strlen(text), &sdp));
	return sdp.media;
}

#define CRYPTO "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc|2^31\r\n"
#define FINGERPRINT "a=fingerprint:sha-256 AB:CD\r\n"

static void test_transport(void **state)
{
	static const struct {
		const char *lines;
		uint8_t media;
	} want[] = {
		{"", 0},
		{"m=audio 0 RTP/AVP 0\r\n", 0},
		{"m=audio 0/2 RTP/AVP 0\r\n" CRYPTO, 0},
		{"m=audio 4000 RTP/AVP 0\r\n", P2P_MEDIA_RTP},
		{"m=audio 4000 RTP/AVPF 0\r\n", P2P_MEDIA_RTP},
		/* RFC 8643: offered besides, so it may come to nothing */
		{"m=audio 4000 RTP/AVP 0\r\n" CRYPTO FINGERPRINT, P2P_MEDIA_RTP},
		{"m=audio 4000 RTP/SAVP 0\r\n" CRYPTO, P2P_MEDIA_SDES},
		{"m=audio 4000 RTP/SAVPF 0\n" CRYPTO, P2P_MEDIA_SDES},
		{"m=audio 4000 RTP/SAVP 0\r\n", P2P_MEDIA_SDP_BROKEN},
		{CRYPTO "m=audio 4000 RTP/SAVP 0\r\n", P2P_MEDIA_SDP_BROKEN},
		{"m=audio 4000 RTP/SAVP 0\r\na=crypto:1 NULL_HMAC_SHA1_80 inline:abc\r\n" CRYPTO,
		 P2P_MEDIA_SDP_BROKEN},
		{"m=audio 4000 RTP/SAVP 0\r\na=crypto:1  NULL_HMAC_SHA1_80 inline:abc\r\n",
		 P2P_MEDIA_SDP_BROKEN},
		{"m=audio 4000 RTP/SAVP 0\r\na=crypto:1\r\n", P2P_MEDIA_SDP_BROKEN},
		{"m=audio 4000 RTP/SAVP 0\r\n"
		 "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc UNENCRYPTED_SRTP\r\n",
		 P2P_MEDIA_SDP_BROKEN},
		{"m=audio 4000 UDP/TLS/RTP/SAVP 0\r\n" FINGERPRINT, P2P_MEDIA_DTLS},
		{"m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n" CRYPTO, P2P_MEDIA_SDP_BROKEN},
		{FINGERPRINT "m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n", P2P_MEDIA_DTLS},
		{"m=audio 4000 RTP/SAVPF 0\r\n" CRYPTO FINGERPRINT, P2P_MEDIA_DTLS},
		{"m=image 4000 udptl t38\r\n", P2P_MEDIA_SDP_OTHER},
		{"m=audio 4000 RTP/AVPX 0\r\n", P2P_MEDIA_SDP_OTHER},
		{"m=audio 4000\r\n", P2P_MEDIA_SDP_OTHER},
		/* what some parser may take for a port */
		{"m=audio  4000 RTP/AVP 0\r\n", P2P_MEDIA_SDP_OTHER},
		{"m=audio 0x RTP/AVP 0\r\n", P2P_MEDIA_RTP},
		/* each by itself: one in clear is seen */
		{"m=audio 4000 RTP/SAVP 0\r\n" CRYPTO "m=video 4002 RTP/AVP 96\r\n",
		 P2P_MEDIA_SDES | P2P_MEDIA_RTP},
		{"m=video 4002 RTP/SAVP 96\r\nm=audio 4000 RTP/SAVP 0\r\n" CRYPTO,
		 P2P_MEDIA_SDES | P2P_MEDIA_SDP_BROKEN},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		if (media(want[i].lines) != want[i].media)
			fail_msg("0x%x instead of 0x%x for %s", media(want[i].lines), want[i].media,
				 want[i].lines);
}

static void test_decline(void **state)
{
	static const struct {
		const char *sdp, *want;
	} texts[] = {
		{"v=0\r\nm=audio 4000 RTP/AVP 0\r\na=x\r\nm=video 0 RTP/AVP 96\r\n",
		 "v=0\r\nm=audio 0 RTP/AVP 0\r\na=x\r\nm=video 0 RTP/AVP 96\r\n"},
		{"v=0\nm=audio 4000/2 RTP/AVP 0", "v=0\nm=audio 0 RTP/AVP 0"},
		{"v=0\nm=audio  1 x\nm=audio 7\r\n", "v=0\nm=audio 0 1 x\nm=audio 0\r\n"},
		{"v=0\ns=m=audio 1 x\n", "v=0\ns=m=audio 1 x\n"},
	};
	char out[256];
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		n = p2p_media_sdp_decline(texts[i].sdp, strlen(texts[i].sdp), out);
		assert_int_equal(n, strlen(texts[i].want));
		assert_memory_equal(out, texts[i].want, n);
	}
}

static void test_private(void **state)
{
	static const char *const yes[] = {"10.0.0.1",	 "172.16.0.1",	"172.31.255.255",
					  "192.168.1.1", "169.254.0.1", "100.64.0.1",
					  "100.127.1.1", "fd00::1",	"fe80::1"};
	static const char *const no[] = {"192.0.2.1",
					 "172.32.0.1",
					 "100.128.0.1",
					 "2001:db8::1",
					 "11.0.0.1",
					 "phone.example.com",
					 ""};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		assert_true(p2p_media_address_private(yes[i]));
	for (i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		assert_false(p2p_media_address_private(no[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),	  cmocka_unit_test(test_inspect),
		cmocka_unit_test(test_transport), cmocka_unit_test(test_decline),
		cmocka_unit_test(test_private),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
