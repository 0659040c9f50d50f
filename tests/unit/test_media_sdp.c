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
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_inspect),
		cmocka_unit_test(test_private),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
