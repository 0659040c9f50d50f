/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The overlay peer protocol's paths and bodies, the proof of membership, and the circuit breaker.
 */
#include "tests/unit/test.h"

#include "lib/model/breaker.h"
#include "lib/proto/opp.h"
#include "lib/proto/opp_members.h"
#include "tests/unit/crypto.h"

#define OVERLAY "afce75dbec9ee285e81bf8b24cf6dba6"
#define KEY "00112233445566778899aabbccddeeff01234567"
#define SESSION "00112233445566778899aabbccddeeff"
#define HIT "2001:22:81c2:d509:f8cf:4fc2:3af3:f782"

static void test_paths(void **state)
{
	static const char *const good[] = {
		"/v1/" OVERLAY "/peer",		 "/v1/" OVERLAY "/users/" KEY,
		"/v1/" OVERLAY "/users/query",	 "/v1/" OVERLAY "/sessions/" SESSION,
		"/v1/" OVERLAY "/enrolment",	 "/v1/" OVERLAY "/revocations",
		"/v1/" OVERLAY "/revocations/7", "/v1/" OVERLAY "/secret",
	};
	static const enum p2p_opp_resource resource[] = {
		P2P_OPP_PEER,	   P2P_OPP_USER,	P2P_OPP_USERS,	     P2P_OPP_SESSION,
		P2P_OPP_ENROLMENT, P2P_OPP_REVOCATIONS, P2P_OPP_REVOCATIONS, P2P_OPP_SECRET};
	static const char *const bad[] = {
		"",
		"/",
		"v1",
		"/v1",
		"/v1/",
		"/v1/" OVERLAY,
		"/v1/" OVERLAY "/",
		"/v1/" OVERLAY "/peer/",
		"/v1/" OVERLAY "/peer/x",
		"/v1/" OVERLAY "//peer",
		"//v1/" OVERLAY "/peer",
		"/v1/" OVERLAY "/peers",
		"/v1/" OVERLAY "/users",
		"/v1/" OVERLAY "/users/",
		"/v1/" OVERLAY "/users/" KEY "0",
		"/v1/" OVERLAY "/users/" KEY "/x",
		"/v1/" OVERLAY "/users/query/x",
		"/v1/" OVERLAY "/users/" KEY "?a=b",
		"/v1/" OVERLAY "/sessions",
		"/v1/" OVERLAY "/sessions/" SESSION "0",
		"/v1/" OVERLAY "/sessions/00112233445566778899aabbccddee",
		"/v1/" OVERLAY "/sessions/00000000000000000000000000000000",
		"/v1/" OVERLAY "/enrolment/x",
		"/v1/" OVERLAY "/secret/1",
		"/v1/" OVERLAY "/revocations/0",
		"/v1/" OVERLAY "/revocations/07",
		"/v1/" OVERLAY "/revocations/4097",
		"/v1/" OVERLAY "/revocations/7/8",
		"/v1/" OVERLAY "0/peer",
		"/v1/x/peer",
		"/v0/" OVERLAY "/peer",
		"/v01/" OVERLAY "/peer",
		"/V1/" OVERLAY "/peer",
		"/v99999/" OVERLAY "/peer",
		"/v1/" OVERLAY "/peer HTTP/1.1",
		"/v1/" OVERLAY "/users/00112233445566778899aabbccddeeff0123456g",
	};
	struct p2p_opp_path path;
	char text[P2P_OPP_PATH_MAX];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_ok(p2p_opp_path_parse(&path, good[i], strlen(good[i])));
		assert_int_equal(path.resource, resource[i]);
		p2p_opp_path_print(&path, text);
		assert_string_equal(text, good[i]);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(p2p_opp_path_parse(&path, bad[i], strlen(bad[i])), EINVAL);
	/* what a later version's paths look like, nobody knows */
	assert_int_equal(p2p_opp_path_parse(&path, "/v2/what/ever", 13), EPROTONOSUPPORT);
	assert_int_equal(path.version, 2);
}

static void test_peer(void **state)
{
	struct p2p_opp_peer peer = {.n_versions = 2,
				    .version = {1, 2},
				    .epoch = UINT64_MAX,
				    .software = "a \"b\" \\c",
				    .n_uris = 2,
				    .uri = {"sip:192.0.2.1:5060;transport=udp",
					    "sip:[2001:db8::1]:5061;transport=tls"}},
			    again;
	char buf[P2P_OPP_BODY_MAX];
	size_t len, cut;

	(void)state;
	assert_ok(p2p_hit_parse(&peer.hit, HIT, strlen(HIT)));
	memset(peer.overlay.b, 0xa5, sizeof(peer.overlay.b));
	assert_ok(p2p_opp_peer_encode(&peer, buf, sizeof(buf), &len));
	assert_int_equal(len, strlen(buf));
	assert_ok(p2p_opp_peer_decode(&again, buf, len));
	assert_memory_equal(&peer, &again, sizeof(peer));
	for (cut = 0; cut < len; cut++)
		assert_int_equal(p2p_opp_peer_decode(&again, buf, cut), EBADMSG);
	for (cut = 0; cut <= len; cut++) {
		char small[P2P_OPP_BODY_MAX];
		size_t n = 0;

		assert_int_equal(p2p_opp_peer_encode(&peer, small, cut, &n), EMSGSIZE);
	}
	peer.n_versions = 0;
	assert_int_equal(p2p_opp_peer_encode(&peer, buf, sizeof(buf), &len), EINVAL);
	peer.n_versions = 1;
	strcpy(peer.uri[1], "sip:example.org");
	assert_int_equal(p2p_opp_peer_encode(&peer, buf, sizeof(buf), &len), EINVAL);
	peer.n_uris = 0;
	peer.software[0] = '\n';
	assert_int_equal(p2p_opp_peer_encode(&peer, buf, sizeof(buf), &len), EINVAL);
}

#define PEER(more)                                                                                 \
	"{\"versions\":[1],\"hit\":\"" HIT "\",\"overlay\":\"" OVERLAY "\",\"epoch\":\"7\"" more "}"

static void test_peer_read(void **state)
{
	/* unknown members and addresses are left out, what is known must be right */
	static const char good[] = PEER(",\"later\":{\"a\":[1,{}]},\"sip\":[\"sips:new\",7,"
					"\"sip:192.0.2.1:5060;transport=udp\"],\"software\":17");
	static const char *const bad[] = {
		PEER("") "x",
		PEER(",\"sip\":{}"),
		PEER(",\"x\":[[[[[[[[[[1]]]]]]]]]]"),
		PEER(",\"x\":\"\xff\""),
		PEER(",\"x\":'single'"),
		PEER(",\"x\":1,"),
		"{\"versions\":[],\"hit\":\"" HIT "\",\"overlay\":\"" OVERLAY "\",\"epoch\":\"7\"}",
		"{\"versions\":[0],\"hit\":\"" HIT "\",\"overlay\":\"" OVERLAY
		"\",\"epoch\":\"7\"}",
		"{\"versions\":[\"1\"],\"hit\":\"" HIT "\",\"overlay\":\"" OVERLAY
		"\",\"epoch\":\"7\"}",
		"{\"versions\":[1],\"hit\":\"2001:db8::1\",\"overlay\":\"" OVERLAY
		"\",\"epoch\":\"7\"}",
		"{\"versions\":[1],\"hit\":\"" HIT "\\u0000\",\"overlay\":\"" OVERLAY
		"\",\"epoch\":\"7\"}",
		"{\"versions\":[1],\"hit\":\"" HIT "\",\"overlay\":\"00\",\"epoch\":\"7\"}",
		"{\"versions\":[1],\"hit\":\"" HIT "\",\"overlay\":\"" OVERLAY "\",\"epoch\":7}",
		"{\"versions\":[1],\"hit\":\"" HIT "\",\"overlay\":\"" OVERLAY
		"\",\"epoch\":\"99999999999999999999\"}",
		"null",
		"[" PEER("") "]",
		"",
	};
	struct p2p_opp_peer peer;
	char big[P2P_OPP_BODY_MAX + 2];
	unsigned int version = 0;
	size_t i;

	(void)state;
	assert_ok(p2p_opp_peer_decode(&peer, good, strlen(good)));
	assert_int_equal(peer.n_uris, 1);
	assert_true(peer.epoch == 7);
	assert_string_equal(peer.software, "");
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(p2p_opp_peer_decode(&peer, bad[i], strlen(bad[i])), EBADMSG);
	assert_int_equal(p2p_opp_peer_decode(&peer, PEER("") "\0", strlen(PEER("")) + 1), EBADMSG);
	memset(big, ' ', sizeof(big));
	assert_int_equal(p2p_opp_peer_decode(&peer, big, P2P_OPP_BODY_MAX + 1), EMSGSIZE);
	assert_ok(p2p_opp_version_choose((const unsigned int[]){3, 1}, 2, &version));
	assert_int_equal(version, 1);
	assert_int_equal(p2p_opp_version_choose((const unsigned int[]){3, 2}, 2, &version),
			 EPROTONOSUPPORT);
}

static void test_user(void **state)
{
	static const char *const bad[] = {
		"{}",
		"{\"user\":\"perhaps\"}",
		"{\"user\":1}",
		"{\"user\":\"moved\"}",
		"[]",
		"\"yes\"",
		"{\"user\":\"moved\",\"hit\":\"192.0.2.1\"}",
		"{\"User\":\"yes\"}",
		"{\"user\":\"yes\",\"phones\":{}}",
		"{\"user\":\"yes\",\"phones\":[1]}",
		"{\"user\":\"yes\",\"phones\":[{\"instance\":\"00000001\"}]}",
		"{\"user\":\"yes\",\"phones\":[{\"instance\":\"00000000\",\"age_ms\":1}]}",
		"{\"user\":\"yes\",\"phones\":[{\"instance\":\"0000000g\",\"age_ms\":1}]}",
		"{\"user\":\"yes\",\"phones\":[{\"instance\":\"00000001\",\"age_ms\":-1}]}",
		"{\"user\":\"yes\",\"phones\":[0,0,0,0,0,0,0,0,0]}",
	};
	static const char later[] = "{\"user\":\"yes\",\"since\":12,\"hit\":false}";
	struct p2p_opp_user user = {0}, again;
	char buf[1024];
	size_t len, i;

	(void)state;
	for (i = P2P_OPP_NO; i <= P2P_OPP_MOVED; i++) {
		memset(&user, 0, sizeof(user));
		user.presence = (enum p2p_opp_presence)i;
		if (i == P2P_OPP_MOVED)
			assert_ok(p2p_hit_parse(&user.hit, HIT, strlen(HIT)));
		assert_ok(p2p_opp_user_encode(&user, buf, sizeof(buf), &len));
		assert_ok(p2p_opp_user_decode(&again, buf, len));
		assert_memory_equal(&user, &again, sizeof(user));
		assert_string_not_equal(p2p_opp_presence_text(user.presence), "?");
	}
	memset(&user, 0, sizeof(user));
	user.presence = P2P_OPP_YES;
	for (i = 0; i < P2P_OPP_LIST_MAX; i++) {
		user.phone[i].instance = 0xa0000001u + (uint32_t)i;
		user.phone[i].age_ms = P2P_OPP_AGE_MAX_MS - i;
	}
	user.n_phones = P2P_OPP_LIST_MAX;
	assert_ok(p2p_opp_user_encode(&user, buf, sizeof(buf), &len));
	assert_ok(p2p_opp_user_decode(&again, buf, len));
	assert_memory_equal(&user, &again, sizeof(user));
	user.phone[3].instance = 0;
	assert_int_equal(p2p_opp_user_encode(&user, buf, sizeof(buf), &len), EINVAL);
	user.n_phones = 0;
	user.presence = (enum p2p_opp_presence)0;
	assert_int_equal(p2p_opp_user_encode(&user, buf, sizeof(buf), &len), EINVAL);
	user.presence = (enum p2p_opp_presence)99;
	assert_int_equal(p2p_opp_user_encode(&user, buf, sizeof(buf), &len), EINVAL);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(p2p_opp_user_decode(&again, bad[i], strlen(bad[i])), EBADMSG);
	assert_ok(p2p_opp_user_decode(&again, later, strlen(later)));
	assert_int_equal(again.presence, P2P_OPP_YES);
}

static void test_users(void **state)
{
	static const char *const bad_keys[] = {"{}", "{\"keys\":[]}", "{\"keys\":[1]}",
					       "{\"keys\":[\"00\"]}", "{\"keys\":\"" KEY "\"}"};
	static const char *const bad_users[] = {"{}", "{\"users\":[1]}",
						"{\"users\":[{\"user\":\"perhaps\"}]}",
						"{\"users\":[{\"user\":\"moved\"}]}"};
	struct p2p_opp_keys keys = {.n = P2P_OPP_USERS_MAX}, keys2;
	struct p2p_opp_users users = {.n = P2P_OPP_USERS_MAX}, users2;
	char buf[P2P_OPP_BODY_MAX];
	size_t len;

	(void)state;
	/* as many and as long ones as there may be have room */
	for (unsigned int i = 0; i < P2P_OPP_USERS_MAX; i++) {
		memset(keys.key[i].b, (int)i, sizeof(keys.key[i].b));
		users.a[i].known = i % 3 != 0;
		users.a[i].presence = i % 3 == 0 ? 0 : P2P_OPP_MOVED;
		assert_ok(p2p_hit_parse(&users.a[i].hit, HIT, strlen(HIT)));
	}
	assert_ok(p2p_opp_keys_encode(&keys, buf, sizeof(buf), &len));
	assert_ok(p2p_opp_keys_decode(&keys2, buf, len));
	assert_int_equal(keys2.n, keys.n);
	assert_memory_equal(keys2.key, keys.key, sizeof(keys.key));
	assert_ok(p2p_opp_users_encode(&users, buf, sizeof(buf), &len));
	assert_ok(p2p_opp_users_decode(&users2, buf, len));
	assert_int_equal(users2.n, users.n);
	for (unsigned int i = 0; i < P2P_OPP_USERS_MAX; i++) {
		assert_int_equal(users2.a[i].known, users.a[i].known);
		assert_int_equal(users2.a[i].presence, users.a[i].presence);
		if (users.a[i].known)
			assert_int_equal(p2p_hit_cmp(&users2.a[i].hit, &users.a[i].hit), 0);
	}
	keys.n = 0;
	assert_int_equal(p2p_opp_keys_encode(&keys, buf, sizeof(buf), &len), EINVAL);
	keys.n = P2P_OPP_USERS_MAX + 1;
	assert_int_equal(p2p_opp_keys_encode(&keys, buf, sizeof(buf), &len), EINVAL);
	users.n = P2P_OPP_USERS_MAX + 1;
	assert_int_equal(p2p_opp_users_encode(&users, buf, sizeof(buf), &len), EINVAL);
	for (size_t i = 0; i < sizeof(bad_keys) / sizeof(bad_keys[0]); i++)
		assert_int_equal(p2p_opp_keys_decode(&keys2, bad_keys[i], strlen(bad_keys[i])),
				 EBADMSG);
	for (size_t i = 0; i < sizeof(bad_users) / sizeof(bad_users[0]); i++)
		assert_int_equal(p2p_opp_users_decode(&users2, bad_users[i], strlen(bad_users[i])),
				 EBADMSG);
}

static void test_error(void **state)
{
	static const char long_reason[] =
		"{\"error\":\"busy\",\"reason\":"
		"\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\""
		"}";
	struct p2p_opp_error error = {0}, again;
	char buf[512];
	size_t len, i;

	(void)state;
	for (i = P2P_OPP_E_BADREQUEST; i <= P2P_OPP_E_NOCOMMON; i++) {
		memset(&error, 0, sizeof(error));
		error.code = (enum p2p_opp_error_code)i;
		strcpy(error.reason, "why \"not\"");
		if (i == P2P_OPP_E_VERSION) {
			error.n_versions = 1;
			error.version[0] = 1;
		}
		if (i == P2P_OPP_E_NOCOMMON) {
			strcpy(error.uncommon, "media");
			error.told = true;
			error.user.presence = P2P_OPP_YES;
		}
		assert_ok(p2p_opp_error_encode(&error, buf, sizeof(buf), &len));
		assert_ok(p2p_opp_error_decode(&again, buf, len));
		assert_memory_equal(&error, &again, sizeof(error));
	}
	/* a reason is for people: one that is too long is left out */
	assert_ok(p2p_opp_error_decode(&again, long_reason, strlen(long_reason)));
	assert_string_equal(again.reason, "");
	assert_int_equal(p2p_opp_error_decode(&again, "{\"error\":\"new\"}", 15), EBADMSG);
}

/* Opening a session: what was said is what is heard. */
static void test_open(void **state)
{
	/* static, so that what is between their members is zero, as it is in what is decoded */
	static const struct p2p_opp_offer offer = {.signalling = {2, {"udp", "tls"}},
						   .family = {1, {"ipv4"}},
						   .media = {3, {"rtp", "srtp-sdes", "x-9"}},
						   .n_uris = 1,
						   .uri = {"sip:192.0.2.1:5060;transport=udp"}};
	static struct p2p_opp_open open = {.instance = UINT64_MAX, .lifetime_s = 600, .asks = true};
	struct p2p_opp_open open2;
	static struct p2p_opp_opened opened = {.instance = 1,
					       .lifetime_s = P2P_OPP_LIFETIME_MAX_S,
					       .signalling = "udp",
					       .family = "ipv4",
					       .media = "rtp",
					       .told = true,
					       .user = {.presence = P2P_OPP_MOVED}};
	struct p2p_opp_opened opened2;
	char buf[P2P_OPP_BODY_MAX];
	size_t len, cut;

	(void)state;
	memcpy(&open.offer, &offer, sizeof(offer));
	memcpy(&opened.offer, &offer, sizeof(offer));
	memset(open.nonce, 0xa5, sizeof(open.nonce));
	memset(opened.nonce, 0x5a, sizeof(opened.nonce));
	memset(open.user.b, 7, sizeof(open.user.b));
	assert_ok(p2p_hit_parse(&opened.user.hit, HIT, strlen(HIT)));
	assert_ok(p2p_opp_open_encode(&open, buf, sizeof(buf), &len));
	assert_ok(p2p_opp_open_decode(&open2, buf, len));
	assert_memory_equal(&open, &open2, sizeof(open));
	for (cut = 0; cut < len; cut++) {
		assert_int_equal(p2p_opp_open_decode(&open2, buf, cut), EBADMSG);
		assert_int_equal(p2p_opp_open_encode(&open, buf + 2048, cut, &len), EMSGSIZE);
		len = strlen(buf);
	}
	assert_ok(p2p_opp_opened_encode(&opened, buf, sizeof(buf), &len));
	assert_ok(p2p_opp_opened_decode(&opened2, buf, len));
	assert_memory_equal(&opened, &opened2, sizeof(opened));
	/* nobody was asked about, and nothing is told */
	open.asks = opened.told = false;
	memset(&open.user, 0, sizeof(open.user));
	memset(&opened.user, 0, sizeof(opened.user));
	assert_ok(p2p_opp_open_encode(&open, buf, sizeof(buf), &len));
	assert_ok(p2p_opp_open_decode(&open2, buf, len));
	assert_memory_equal(&open, &open2, sizeof(open));
	assert_ok(p2p_opp_opened_encode(&opened, buf, sizeof(buf), &len));
	assert_ok(p2p_opp_opened_decode(&opened2, buf, len));
	assert_memory_equal(&opened, &opened2, sizeof(opened));
	/* out of range */
	open.lifetime_s = 0;
	assert_int_equal(p2p_opp_open_encode(&open, buf, sizeof(buf), &len), EINVAL);
	open.lifetime_s = P2P_OPP_LIFETIME_MAX_S + 1;
	assert_int_equal(p2p_opp_open_encode(&open, buf, sizeof(buf), &len), EINVAL);
	strcpy(opened.media, "no word");
	assert_int_equal(p2p_opp_opened_encode(&opened, buf, sizeof(buf), &len), EINVAL);
}

#define NONCE "00000000000000000000000000000000000000000000000000000000000000ff"
#define OPEN_HEAD "{\"nonce\":\"" NONCE "\",\"instance\":\"0000000000000001\",\"lifetime_s\":"
#define OFFER(s)                                                                                   \
	",\"offer\":{\"signalling\":" s ",\"family\":[\"ipv6\"],\"media\":[\"rtp\"],\"sip\":[]}"

static void test_open_read(void **state)
{
	static const char good[] = OPEN_HEAD "60" OFFER("[\"udp\"]") ",\"later\":[1]}";
	static const char longer[] =
		OPEN_HEAD "60" OFFER("[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\"]") "}";
	static const char *const bad[] = {
		OPEN_HEAD "0" OFFER("[\"udp\"]") "}",
		OPEN_HEAD "86401" OFFER("[\"udp\"]") "}",
		OPEN_HEAD "-1" OFFER("[\"udp\"]") "}",
		OPEN_HEAD "1.5" OFFER("[\"udp\"]") "}",
		OPEN_HEAD "\"60\"" OFFER("[\"udp\"]") "}",
		OPEN_HEAD "60" OFFER("\"udp\"") "}",
		OPEN_HEAD "60" OFFER("[\"\"]") "}",
		OPEN_HEAD "60" OFFER("[\"UDP\"]") "}",
		OPEN_HEAD "60" OFFER("[\"a-word-too-long-\"]") "}",
		OPEN_HEAD "60" OFFER("[4]") "}",
		OPEN_HEAD "60,\"offer\":[]}",
		OPEN_HEAD "60}",
		OPEN_HEAD "60" OFFER("[\"udp\"]") ",\"user\":\"00\"}",
		"{\"nonce\":\"00\",\"instance\":\"0000000000000001\",\"lifetime_s\":60" OFFER(
			"[\"udp\"]") "}",
		"{\"instance\":\"0000000000000001\",\"lifetime_s\":60" OFFER("[\"udp\"]") "}",
	};
	struct p2p_opp_open open, before;

	(void)state;
	assert_ok(p2p_opp_open_decode(&open, good, strlen(good)));
	assert_int_equal(open.lifetime_s, 60);
	assert_int_equal(open.nonce[31], 0xff);
	assert_int_equal(open.offer.signalling.n, 1);
	assert_false(open.asks);
	assert_ok(p2p_opp_open_decode(&open, longer, strlen(longer)));
	assert_int_equal(open.offer.signalling.n, P2P_OPP_LIST_MAX);
	before = open;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(p2p_opp_open_decode(&open, bad[i], strlen(bad[i])), EBADMSG);
		assert_memory_equal(&open, &before, sizeof(open)); /* written on success only */
	}
}

static void test_calls(void **state)
{
	static const char *const bad[] = {"{}",
					  "{\"calls\":-1}",
					  "{\"calls\":10000001}",
					  "{\"calls\":true}",
					  "{\"calls\":1,\"lifetime_s\":0}",
					  "{\"calls\":1,\"lifetime_s\":86401}"};
	struct p2p_opp_calls calls = {.calls = P2P_OPP_CALLS_MAX, .lifetime_s = 600}, again;
	char buf[128];
	size_t len;

	(void)state;
	assert_ok(p2p_opp_calls_encode(&calls, buf, sizeof(buf), &len));
	assert_ok(p2p_opp_calls_decode(&again, buf, len));
	assert_memory_equal(&calls, &again, sizeof(calls));
	calls = (struct p2p_opp_calls){0};
	assert_ok(p2p_opp_calls_encode(&calls, buf, sizeof(buf), &len));
	assert_string_equal(buf, "{\"calls\":0}");
	assert_ok(p2p_opp_calls_decode(&again, buf, len));
	assert_memory_equal(&calls, &again, sizeof(calls));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(p2p_opp_calls_decode(&again, bad[i], strlen(bad[i])), EBADMSG);
	calls.calls = P2P_OPP_CALLS_MAX + 1;
	assert_int_equal(p2p_opp_calls_encode(&calls, buf, sizeof(buf), &len), EINVAL);
}

/* Everything that goes into the keys changes both, and the two directions never share one. */
static void test_session_keys(void **state)
{
	static const struct p2p_opp_secrets secrets = {.initiator_nonce = {1},
						       .responder_nonce = {2},
						       .overlay = {{3}},
						       .initiator = {{4}},
						       .responder = {{5}},
						       .id = {6}};
	uint8_t there[32], back[32], there2[32], back2[32];
	struct p2p_crypto crypto;

	(void)state;
	test_crypto(&crypto, NULL);
	assert_ok(p2p_opp_session_keys(&secrets, there, back, &crypto));
	assert_memory_not_equal(there, back, 32);
	for (int i = 0; i < 6; i++) {
		struct p2p_opp_secrets other = secrets;
		uint8_t *const part[] = {other.initiator_nonce, other.responder_nonce,
					 other.overlay.b,	other.initiator.b,
					 other.responder.b,	other.id};

		part[i][1] ^= 0x80;
		assert_ok(p2p_opp_session_keys(&other, there2, back2, &crypto));
		assert_memory_not_equal(there, there2, 32);
		assert_memory_not_equal(back, back2, 32);
	}
	assert_ok(p2p_opp_session_keys(&secrets, there2, back2, &crypto));
	assert_memory_equal(there, there2, 32);
	assert_memory_equal(back, back2, 32);
}

static void test_member(void **state)
{
	static const uint8_t secret[32] = {7};
	struct p2p_crypto crypto;
	struct p2p_overlay_id overlay = {{1}}, overlay2 = {{2}};
	struct p2p_hit a = {{3}}, b = {{4}};
	char text[P2P_OPP_MEMBER_MAX];
	uint64_t now = 1767225600000ull;
	size_t len;

	(void)state;
	test_crypto(&crypto, NULL);
	assert_ok(
		p2p_opp_member_make(text, secret, sizeof(secret), &overlay, &a, &b, now, &crypto));
	len = strlen(text);
#define CHECK(o, x, y, t)                                                                          \
	p2p_opp_member_check(text, len, secret, sizeof(secret), o, x, y, t, &crypto)
	assert_ok(CHECK(&overlay, &a, &b, now));
	assert_ok(CHECK(&overlay, &a, &b, now + 120000));
	assert_ok(CHECK(&overlay, &a, &b, now - 120000));
	assert_int_equal(CHECK(&overlay, &a, &b, now + 120001), ESTALE);
	assert_int_equal(CHECK(&overlay, &a, &b, now - 120001), ESTALE);
	assert_int_equal(CHECK(&overlay, &b, &a, now), EACCES);
	assert_int_equal(CHECK(&overlay, &a, &a, now), EACCES);
	assert_int_equal(CHECK(&overlay2, &a, &b, now), EACCES);
	assert_int_equal(p2p_opp_member_check(text, len, "another secret..", 16, &overlay, &a, &b,
					      now, &crypto),
			 EACCES);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(p2p_opp_member_check(text, i, secret, sizeof(secret), &overlay, &a,
						      &b, now, &crypto),
				 EBADMSG);
	text[len - 1] ^= 1;
	assert_int_not_equal(CHECK(&overlay, &a, &b, now), 0);
	text[len - 1] ^= 1;
	/* the time is signed too */
	text[12] = text[12] == '9' ? '8' : (char)(text[12] + 1);
	assert_int_equal(CHECK(&overlay, &a, &b, now), EACCES);
}

/* --- the breaker ------------------------------------------------------------------------------ */

static void test_breaker(void **state)
{
	struct p2p_breaker b = {0};
	uint64_t now = 5000, wait = 1000;

	(void)state;
	assert_true(p2p_breaker_allows(&b));
	assert_false(p2p_breaker_ok(&b));
	assert_true(p2p_breaker_due(&b) == UINT64_MAX);
	assert_false(p2p_breaker_probe(&b, now));
	/* one failure opens it; those that were under way change nothing */
	assert_true(p2p_breaker_fail(&b, now, 0));
	assert_false(p2p_breaker_fail(&b, now + 10, 0));
	assert_false(p2p_breaker_allows(&b));
	assert_true(p2p_breaker_due(&b) == now + wait);
	assert_false(p2p_breaker_probe(&b, now + wait - 1));
	/* each probe that fails doubles the wait, up to a minute */
	for (int i = 0; i < 12; i++) {
		now += wait;
		assert_true(p2p_breaker_probe(&b, now));
		assert_string_equal(p2p_breaker_text(b.state), "probing");
		assert_false(p2p_breaker_probe(&b, now));
		assert_false(p2p_breaker_allows(&b));
		assert_false(p2p_breaker_fail(&b, now, 0)); /* not the probe's */
		assert_true(p2p_breaker_due(&b) == UINT64_MAX);
		now += 300;
		p2p_breaker_probe_fail(&b, now, 0);
		wait = wait * 2 < 60000 ? wait * 2 : 60000;
		assert_true(p2p_breaker_due(&b) == now + wait);
	}
	assert_true(b.failures == 13);
	/* closed by the probe, and back at the beginning */
	now += wait;
	assert_true(p2p_breaker_probe(&b, now));
	assert_true(p2p_breaker_ok(&b));
	assert_true(p2p_breaker_allows(&b));
	p2p_breaker_probe_fail(&b, now, 0); /* late */
	assert_true(p2p_breaker_allows(&b));
	assert_true(p2p_breaker_fail(&b, now, 0));
	assert_true(p2p_breaker_due(&b) == now + 1000);
	/* a probe that says nothing: the next one is soon, and the wait no longer */
	assert_true(p2p_breaker_probe(&b, now + 1000));
	p2p_breaker_probe_void(&b, now + 2000);
	assert_true(p2p_breaker_due(&b) == now + 3000);
	assert_true(p2p_breaker_probe(&b, now + 3000));
	p2p_breaker_probe_fail(&b, now + 3000, 0);
	assert_true(p2p_breaker_due(&b) == now + 5000);
	/* an answer to one that was under way closes it too */
	assert_true(p2p_breaker_ok(&b));
	assert_true(p2p_breaker_allows(&b));
}

static void test_breaker_jitter(void **state)
{
	uint32_t seed = 1;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		struct p2p_breaker b = {0};

		seed = seed * 1664525u + 1013904223u;
		p2p_breaker_fail(&b, 0, seed);
		assert_in_range(p2p_breaker_due(&b), 751, 1000);
	}
}

/* A sign of life lets the next request through, and in vain it costs no more than the wait that it
 * cut off; the next one only brings the probe forward. */
static void test_breaker_sign(void **state)
{
	struct p2p_breaker b = {0};
	uint64_t now = 5000;

	(void)state;
	assert_false(p2p_breaker_sign(&b, now)); /* closed */
	assert_true(p2p_breaker_fail(&b, now, 0));
	assert_true(p2p_breaker_sign(&b, now + 10));
	assert_true(p2p_breaker_allows(&b));
	assert_true(p2p_breaker_fail(&b, now + 20, 0));
	assert_true(p2p_breaker_due(&b) == now + 20 + 2000);
	assert_false(p2p_breaker_sign(&b, now + 30));
	assert_false(p2p_breaker_allows(&b));
	assert_true(p2p_breaker_due(&b) == now + 30);
	/* one that comes while it is probed does not hurt */
	assert_true(p2p_breaker_probe(&b, now + 30));
	assert_false(p2p_breaker_sign(&b, now + 40));
	assert_string_equal(p2p_breaker_text(b.state), "probing");
	p2p_breaker_probe_fail(&b, now + 50, 0);
	assert_true(p2p_breaker_due(&b) == now + 50 + 4000);
	/* and after a while one counts again, also while it is probed */
	now += 10 + P2P_BREAKER_SIGN_MS;
	assert_true(p2p_breaker_probe(&b, now));
	assert_true(p2p_breaker_sign(&b, now));
	p2p_breaker_probe_fail(&b, now + 10, 0); /* the former one's */
	assert_true(p2p_breaker_allows(&b));
	/* an answer does not make signs come sooner */
	assert_false(p2p_breaker_ok(&b));
	assert_true(p2p_breaker_fail(&b, now + 20, 0));
	assert_false(p2p_breaker_sign(&b, now + 30));
	assert_false(p2p_breaker_allows(&b));
}

/* What members tell each other: everything at once, as much as there may be; and what is none. */
static void test_members(void **state)
{
	static const char *const bad[] = {
		"[]",
		"{\"records\":7}",
		"{\"records\":[\"A\"]}",
		"{\"records\":[\"\"]}",
		"{\"records\":[\"AA==\"]}",
		"{\"doubts\":[{\"hit\":\"2001:22::1\",\"order\":\"7\",\"state\":\"suspect\"}]}",
		"{\"doubts\":[{\"hit\":\"2001:22::1\",\"order\":\"7\",\"state\":\"ill\",\"age_ms\":"
		"1}]}",
		"{\"doubts\":[{\"hit\":\"192.0.2.1\",\"order\":\"7\",\"state\":\"dead\",\"age_ms\":"
		"1}]}",
		"{\"doubts\":[{\"hit\":\"2001:22::1\",\"order\":7,\"state\":\"dead\",\"age_ms\":1}]"
		"}",
		"{\"probe\":[\"2001:22::1\",\"2001:22::1\",\"2001:22::1\",\"2001:22::1\",\"2001:22:"
		":1\"]}",
		"{\"digest\":{\"as_of\":\"1\",\"sums\":\"AAAAAAAAAAEAAAAAAAAAAQAAAAAAAAAB\"}}",
		"{\"digest\":{\"as_of\":\"1\",\"sums\":\"\"}}",
		"{\"have\":{\"of\":3,\"buckets\":\"0000000000000001\",\"members\":\"\"}}",
		"{\"have\":{\"of\":1,\"buckets\":\"01\",\"members\":\"\"}}",
		"{\"want\":\"AAAA\"}",
	};
	struct p2p_opp_members *m = calloc(1, sizeof(*m)), *again = calloc(1, sizeof(*again));
	char *text = malloc(P2P_OPP_MEMBERS_BODY_MAX + 2);
	unsigned int i, j;
	size_t len;

	(void)state;
	m->n_records = P2P_OPP_MEMBERS_RECORDS;
	for (i = 0; i < m->n_records; i++) {
		m->record[i].len = P2P_RECORD_MAX;
		memset(m->record[i].b, (int)i + 1, P2P_RECORD_MAX);
	}
	m->n_doubts = P2P_OPP_MEMBERS_DOUBTS;
	/* member by member: what is between them stays zero, as it is in what is decoded */
	for (i = 0; i < m->n_doubts; i++) {
		m->doubt[i].hit =
			(struct p2p_hit){{0x20, 1, 0, 0x22, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
					  0xff, 0xff, 0xff, 0xff, 0xff, (uint8_t)i}};
		m->doubt[i].order = UINT64_MAX;
		m->doubt[i].dead = i % 2 == 0;
		m->doubt[i].age_ms = UINT32_MAX;
	}
	m->n_probes = m->n_seen = P2P_OPP_MEMBERS_PROBES;
	for (i = 0; i < m->n_probes; i++) {
		m->probe[i] = m->doubt[i].hit;
		m->seen[i].hit = m->doubt[i].hit;
		m->seen[i].age_ms = UINT32_MAX;
	}
	m->n_digest = m->n_buckets = P2P_OPP_MEMBERS_BUCKETS;
	m->as_of = m->buckets = UINT64_MAX;
	for (i = 0; i < m->n_digest; i++)
		m->digest[i] = UINT64_MAX - i;
	m->n_haves = P2P_OPP_MEMBERS_HAVES;
	for (i = 0; i < m->n_haves; i++) {
		m->have[i].hit = m->doubt[i % 4].hit;
		m->have[i].order = UINT64_MAX - i;
		m->have[i].dead = i % 2 == 0;
	}
	m->n_wants = P2P_OPP_MEMBERS_WANTS;
	for (i = 0; i < m->n_wants; i++)
		memset(m->want[i].b, (int)i, P2P_HIT_LEN);
	assert_ok(p2p_opp_members_encode(m, text, P2P_OPP_MEMBERS_BODY_MAX + 1, &len));
	assert_int_equal(strlen(text), len);
	assert_ok(p2p_opp_members_decode(again, text, len));
	assert_memory_equal(m, again, sizeof(*m));
	for (j = 0; j < len; j += 997)
		assert_int_equal(p2p_opp_members_encode(m, text, j, &len), EMSGSIZE);
	m->n_digest = 3;
	assert_int_equal(p2p_opp_members_encode(m, text, P2P_OPP_MEMBERS_BODY_MAX + 1, &len),
			 EINVAL);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(p2p_opp_members_decode(again, bad[i], strlen(bad[i])), EBADMSG);
	memset(text, ' ', P2P_OPP_MEMBERS_BODY_MAX + 1);
	assert_int_equal(p2p_opp_members_decode(again, text, P2P_OPP_MEMBERS_BODY_MAX + 1),
			 EMSGSIZE);
	assert_ok(p2p_opp_members_decode(again, "{\"x\":[1]}", 9));
	memset(m, 0, sizeof(*m));
	assert_memory_equal(m, again, sizeof(*m));
	free(m);
	free(again);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_members),	     cmocka_unit_test(test_paths),
		cmocka_unit_test(test_peer),	     cmocka_unit_test(test_peer_read),
		cmocka_unit_test(test_user),	     cmocka_unit_test(test_open),
		cmocka_unit_test(test_open_read),    cmocka_unit_test(test_calls),
		cmocka_unit_test(test_session_keys), cmocka_unit_test(test_error),
		cmocka_unit_test(test_member),	     cmocka_unit_test(test_breaker),
		cmocka_unit_test(test_users),	     cmocka_unit_test(test_breaker_jitter),
		cmocka_unit_test(test_breaker_sign),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
