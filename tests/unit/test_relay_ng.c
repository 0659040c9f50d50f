/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the relay does with bytes and tables: ng messages, specs of instances, arguments, settings,
 * the table of calls. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/unit/test.h"
#include "relay/ng/ng_msg.h"
#include "relay/ng/ng_pool.h"
#include "relay/relay.h"
#include "relay/relay_args.h"
#include "relay/relay_call.h"

static int parse(struct ng_reply *r, const char *s)
{
	return ng_reply_parse(r, s, strlen(s));
}

static void test_split(void **state)
{
	size_t clen, off;
	char big[200];

	(void)state;
	assert_int_equal(ng_datagram_split("abc {}", 6, &clen, &off), 0);
	assert_int_equal(clen, 3);
	assert_int_equal(off, 4);
	assert_int_equal(ng_datagram_split("", 0, &clen, &off), EBADMSG);
	assert_int_equal(ng_datagram_split("abc", 3, &clen, &off), EBADMSG);
	assert_int_equal(ng_datagram_split(" {}", 3, &clen, &off), EBADMSG);
	memset(big, 'x', sizeof(big));
	big[NG_COOKIE_MAX] = ' ';
	assert_int_equal(ng_datagram_split(big, sizeof(big), &clen, &off), 0);
	big[NG_COOKIE_MAX] = 'x';
	big[NG_COOKIE_MAX + 1] = ' ';
	assert_int_equal(ng_datagram_split(big, sizeof(big), &clen, &off), EBADMSG);
}

static void test_reply(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"7",
		"\"ok\"",
		"{}",
		"{\"result\":7}",
		"{\"result\":\"maybe\"}",
		"{\"result\":\"ok\",\"sdp\":7}",
		"{\"result\":\"ok\"}x",
		"{\"result\":\"ok\"} {}",
		"{\"result\":",
		"d6:result2:ok",
		"d6:result5:maybee",
		"de",
		"d6:result2:okee",
		"d6:result2:ok3:sdpi7ee",
		"d6:resulti1ee",
		"d3:abc",
		"d99999999999999999999:e",
		"d6:result99:ok",
		"d1:alllllllllllllllllllllllllllllllllllll",
		"d1:ai1",
		"d1:a",
		"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
	};
	struct ng_reply r;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(parse(&r, bad[i]), EBADMSG);
	assert_int_equal(parse(&r, "{\"result\":\"pong\"}"), 0);
	assert_int_equal(r.result, NG_RESULT_PONG);
	ng_reply_free(&r);
	assert_int_equal(parse(&r, "{\"sdp\":\"v=0\\r\\n\",\"result\":\"ok\"}"), 0);
	assert_int_equal(r.result, NG_RESULT_OK);
	assert_int_equal(r.sdp_len, 5);
	assert_memory_equal(r.sdp, "v=0\r\n", 5);
	ng_reply_free(&r);
	assert_int_equal(parse(&r, "d1:xd1:yli1e1:zee3:sdp5:v=0\r\n6:result2:oke"), 0);
	assert_int_equal(r.result, NG_RESULT_OK);
	assert_int_equal(r.sdp_len, 5);
	assert_memory_equal(r.sdp, "v=0\r\n", 5);
	ng_reply_free(&r);
	assert_int_equal(parse(&r, "d12:error-reason15:Unknown call-id6:result5:errore"), 0);
	assert_true(ng_reply_unknown_call(&r));
	assert_null(r.root);
	ng_reply_free(&r);
	assert_int_equal(parse(&r, "{\"result\":\"load limit\",\"message\":\"x\"}"), 0);
	assert_int_equal(r.result, NG_RESULT_LIMIT);
	ng_reply_free(&r);
	assert_int_equal(parse(&r, "{\"result\":\"error\",\"error-reason\":\"Unknown call-id\"}"),
			 0);
	assert_int_equal(r.result, NG_RESULT_ERROR);
	assert_true(ng_reply_unknown_call(&r));
	ng_reply_free(&r);
	assert_int_equal(parse(&r, "{\"result\":\"error\"}"), 0);
	assert_string_equal(r.error, "");
	assert_false(ng_reply_unknown_call(&r));
	ng_reply_free(&r);
}

static void test_call_state(void **state)
{
	struct ng_call_state st;
	struct ng_reply r;

	(void)state;
	assert_int_equal(
		parse(&r, "{\"result\":\"ok\",\"totals\":{\"RTP\":{\"packets\":7},\"RTCP\":"
			  "{\"packets\":2}},\"tags\":{\"a\":{\"medias\":[{\"flags\":[\"send\"]}]},"
			  "\"b\":{\"medias\":[{\"flags\":[\"initialized\",\"recv\"]}]}}}"),
		0);
	ng_reply_call_state(&r, &st);
	assert_int_equal(st.packets, 9);
	assert_int_equal(st.rtp_packets, 7);
	assert_int_equal(st.tags, 2);
	assert_true(st.held);
	ng_reply_free(&r);
	/* a declined section beside one that talks; a side that has not answered */
	assert_int_equal(parse(&r, "{\"result\":\"ok\",\"tags\":{\"a\":{\"medias\":[{\"flags\":[]},"
				   "{\"flags\":[\"send\",\"recv\"]}]},\"<untagged 1>\":{}}}"),
			 0);
	ng_reply_call_state(&r, &st);
	assert_int_equal(st.tags, 1);
	assert_false(st.held);
	ng_reply_free(&r);
	/* of other shapes: nothing is known */
	assert_int_equal(parse(&r, "{\"result\":\"ok\",\"totals\":[],\"tags\":[1]}"), 0);
	ng_reply_call_state(&r, &st);
	assert_int_equal(st.packets + st.tags, 0);
	ng_reply_free(&r);
	assert_int_equal(parse(&r, "{\"result\":\"ok\",\"totals\":{\"RTP\":{\"packets\":-3}},"
				   "\"tags\":{\"a\":7,\"b\":{\"medias\":[7,{\"flags\":7}]}}}"),
			 0);
	ng_reply_call_state(&r, &st);
	assert_int_equal(st.packets, 0);
	assert_int_equal(st.tags, 2);
	ng_reply_free(&r);
}

static bool on_call(const char *id, size_t len, void *arg)
{
	strncat(arg, id, len);
	return true;
}

static void test_list(void **state)
{
	char seen[64] = "";
	struct ng_reply r;

	(void)state;
	assert_int_equal(parse(&r, "{\"result\":\"ok\",\"calls\":[\"a\",7,\"b\"]}"), 0);
	assert_int_equal(ng_reply_calls(&r, on_call, seen), 3);
	assert_string_equal(seen, "ab");
	ng_reply_free(&r);
	assert_int_equal(parse(&r, "{\"result\":\"ok\"}"), 0);
	assert_int_equal(ng_reply_calls(&r, on_call, seen), -1);
	ng_reply_free(&r);
}

static void test_request(void **state)
{
	const char *const flags[] = {"media-handover"};
	struct ng_offer o = {
		.call_id = "p2p-1-x",
		.from_tag = "a\"b",
		.from_if = "ua",
		.to_if = "ovl",
		.ice = "remove",
		.to_family = "IP6",
		.flags = flags,
		.n_flags = 1,
		.sdp = "v=0\r\ns=\xff\xe4\xc3\xa9\r\n",
		.sdp_len = 13,
	};
	static const char want[] =
		"c00kie d7:command5:offer7:call-id7:p2p-1-x8:from-tag3:a\"b9:directionl2:ua3:ovle"
		"7:replacel6:origin18:session-connectione3:ICE6:remove14:address-family3:IP6"
		"5:flagsl14:media-handovere3:sdp13:v=0\r\ns=\xff\xe4\xc3\xa9\r\ne";
	struct ng_request *req = ng_request_offer(&o);
	char *packet;
	size_t len;

	(void)state;
	assert_non_null(req);
	assert_int_equal(ng_request_datagram(req, "c00kie", &packet, &len), 0);
	assert_int_equal(len, sizeof(want) - 1);
	assert_memory_equal(packet, want, len);
	free(packet);
	ng_request_free(req);
	req = ng_request_query("a\"b");
	assert_int_equal(ng_request_datagram(req, "c", &packet, &len), 0);
	assert_int_equal(len, 38);
	assert_memory_equal(packet, "c {\"command\":\"query\",\"call-id\":\"a\\\"b\"}", 38);
	free(packet);
	ng_request_free(req);
	o.sdp = calloc(1, NG_DATAGRAM_MAX);
	o.sdp_len = NG_DATAGRAM_MAX;
	req = ng_request_offer(&o);
	assert_int_equal(ng_request_datagram(req, "c", &packet, &len), EMSGSIZE);
	ng_request_free(req);
	free((char *)o.sdp);
}

/* The request's text, in `text`. */
static void offer_text(const struct ng_offer *o, char *text, size_t size)
{
	struct ng_request *req = ng_request_offer(o);
	char *packet;
	size_t len;

	assert_non_null(req);
	assert_int_equal(ng_request_datagram(req, "c", &packet, &len), 0);
	assert_true(len < size);
	memcpy(text, packet, len);
	text[len] = '\0';
	free(packet);
	ng_request_free(req);
}

static void test_transport(void **state)
{
	/* what rtpengine is told for each, with and without feedback; answers keep the profile */
	static const struct {
		enum ng_transport transport;
		const char *plain, *feedback;
		bool dtls, sdes, osrtp;
	} want[] = {
		{NG_TRANSPORT_RTP, "7:RTP/AVP", "8:RTP/AVPF", false, false, false},
		{NG_TRANSPORT_SDES, "8:RTP/SAVP", "9:RTP/SAVPF", false, true, false},
		{NG_TRANSPORT_DTLS, "16:UDP/TLS/RTP/SAVP", "17:UDP/TLS/RTP/SAVPF", true, false,
		 false},
		{NG_TRANSPORT_OSRTP, "7:RTP/AVP", "8:RTP/AVPF", false, true, true},
	};
	struct ng_offer o = {
		.call_id = "x",
		.from_tag = "f",
		.from_if = "ua",
		.to_if = "ovl",
		.sdp = "v=0",
		.sdp_len = 3,
	};
	char text[1024], profile[64];
	size_t i;

	(void)state;
	offer_text(&o, text, sizeof(text));
	assert_null(strstr(text, "transport-protocol"));
	assert_null(strstr(text, "DTLS"));
	assert_null(strstr(text, "SDES"));
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		o.transport = want[i].transport;
		o.answer = o.feedback = false;
		snprintf(profile, sizeof(profile), "18:transport-protocol%s", want[i].plain);
		offer_text(&o, text, sizeof(text));
		assert_non_null(strstr(text, profile));
		assert_int_equal(strstr(text, "4:DTLS3:off") == NULL, want[i].dtls);
		assert_int_equal(strstr(text, "4:SDESl3:offe") == NULL, want[i].sdes);
		/* a suite that does not encrypt is never one of them */
		assert_int_equal(strstr(text, "4:SDESl20:no-NULL_HMAC_SHA1_80") != NULL,
				 want[i].sdes);
		assert_int_equal(strstr(text, "5:OSRTPl5:offere") != NULL, want[i].osrtp);
		assert_int_equal(strstr(text, "no-AEAD_AES_256_GCM") != NULL, want[i].sdes);
		o.feedback = true;
		snprintf(profile, sizeof(profile), "18:transport-protocol%s", want[i].feedback);
		offer_text(&o, text, sizeof(text));
		assert_non_null(strstr(text, profile));
		o.answer = true;
		offer_text(&o, text, sizeof(text));
		assert_null(strstr(text, "transport-protocol"));
		assert_null(strstr(text, "OSRTP"));
		assert_int_equal(strstr(text, "4:DTLS3:off") == NULL, want[i].dtls);
		assert_int_equal(strstr(text, "4:SDESl3:offe") == NULL, want[i].sdes);
	}
}

static void test_spec(void **state)
{
	static const char *const bad[] = {
		"",
		"a",
		"a tcp:127.0.0.1:1",
		"a udp:127.0.0.1",
		"a udp:127.0.0.1:0",
		"a udp:127.0.0.1:65536",
		"a udp:127.0.0.1:1x",
		"a udp:localhost:1",
		"a udp:::1:1",
		"a udp:[::1:1",
		"a udp:[::1]x:1",
		"a udp:127.0.0.1:1 weight",
		"a udp:127.0.0.1:1 weight 0",
		"a udp:127.0.0.1:1 weight 1001",
		"a udp:127.0.0.1:1 weight -1",
		"a udp:127.0.0.1:1 heavy 1",
		"a/b udp:127.0.0.1:1",
		"abcdefghijklmnopqrstuvwxyzabcdefgh udp:127.0.0.1:1",
	};
	struct ng_spec s;
	char err[200];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err[0] = '\0';
		assert_int_equal(ng_spec_parse(&s, bad[i], err, sizeof(err)), EINVAL);
		assert_true(err[0] != '\0');
	}
	assert_int_equal(ng_spec_parse(&s, "main udp:127.0.0.1:2223", err, sizeof(err)), 0);
	assert_string_equal(s.name, "main");
	assert_int_equal(s.weight, 1);
	assert_int_equal(
		ng_spec_parse(&s, "m-2  udp:[2001:db8::1]:2223\tweight 7", err, sizeof(err)), 0);
	assert_int_equal(s.weight, 7);
	assert_string_equal(s.text, "udp:[2001:db8::1]:2223");
	assert_int_equal(s.addr.ss_family, AF_INET6);
}

static int args(struct relay_args *a, unsigned int need, const char **why, int argc,
		const char *const *argv)
{
	struct resp_arg v[32];
	int i;

	for (i = 0; i < argc; i++)
		v[i] = (struct resp_arg){.s = argv[i], .len = strlen(argv[i])};
	return relay_args_parse(a, "p2p", argc, v, need, why);
}

static void test_args(void **state)
{
	const char *good[] = {"OFFER",	"handle", "0123456789abcdef",
			      "callid", "c@x",	  "fromtag",
			      "f",	"from",	  "ua",
			      "to",	"ovl",	  "sdp",
			      "v=0"};
	static const struct {
		int at;
		const char *value;
	} bad[] = {
		{1, "handles"}, {2, "0123456789ABCDEF"},
		{2, "0123"},	{2, ""},
		{4, ""},	{4, "a\nb"},
		{6, ""},	{8, "ovl2"},
		{10, ""},	{12, ""},
		{4, "caf\xe9"}, {11, "callid"},
	};
	struct relay_args a;
	const char *why;
	size_t i;

	(void)state;
	assert_int_equal(args(&a, RELAY_NEED_SDP, &why, 13, good), 0);
	assert_string_equal(a.id, "p2p-0123456789abcdef-c@x");
	assert_string_equal(a.from_tag, "f");
	assert_null(a.to_tag);
	assert_false(a.from_overlay);
	assert_true(a.to_overlay);
	assert_string_equal(a.ice, "remove");
	assert_int_equal(args(&a, RELAY_NEED_SDP | RELAY_NEED_TO_TAG, &why, 13, good), EINVAL);
	assert_int_equal(args(&a, RELAY_NEED_SDP, &why, 11, good), EINVAL);
	assert_int_equal(args(&a, RELAY_NEED_SDP, &why, 12, good), EINVAL);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *keep = good[bad[i].at];

		good[bad[i].at] = bad[i].value;
		why = NULL;
		assert_int_equal(args(&a, RELAY_NEED_SDP, &why, 13, good), EINVAL);
		assert_non_null(why);
		good[bad[i].at] = keep;
	}
	{
		const char *more[] = {"DELETE", "HANDLE", "0123456789abcdef",
				      "callid", "c",	  "ice",
				      "keep",	"flags",  "a,b,,c"};

		assert_int_equal(args(&a, 0, &why, 9, more), 0);
		assert_null(a.ice);
		assert_int_equal(a.n_flags, 3);
		assert_string_equal(a.flags[2], "c");
	}
}

static void test_args_transport(void **state)
{
	static const struct {
		const char *text;
		enum ng_transport transport;
	} good[] = {
		{"keep", NG_TRANSPORT_KEEP},	  {"rtp", NG_TRANSPORT_RTP},
		{"srtp-sdes", NG_TRANSPORT_SDES}, {"srtp-dtls", NG_TRANSPORT_DTLS},
		{"osrtp", NG_TRANSPORT_OSRTP},
	};
	static const char *const bad[] = {"", "RTP", "srtp", "rtp ", "RTP/SAVP", "srtp-dtls2"};
	const char *v[] = {"OFFER",  "handle",	  "0123456789abcdef",
			   "callid", "c",	  "fromtag",
			   "f",	     "from",	  "ua",
			   "to",     "ovl",	  "sdp",
			   "v=0",    "transport", ""};
	struct relay_args a;
	const char *why;
	size_t i;

	(void)state;
	assert_int_equal(args(&a, RELAY_NEED_SDP, &why, 13, v), 0);
	assert_int_equal(a.transport, NG_TRANSPORT_KEEP);
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		v[14] = good[i].text;
		assert_int_equal(args(&a, RELAY_NEED_SDP, &why, 15, v), 0);
		assert_int_equal(a.transport, good[i].transport);
		assert_false(a.feedback);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		v[14] = bad[i];
		assert_int_equal(args(&a, RELAY_NEED_SDP, &why, 15, v), EINVAL);
		assert_non_null(strstr(why, "srtp-sdes"));
	}
	assert_int_equal(a.family, RELAY_FAMILY_AUTO);
	v[13] = "family";
	v[14] = "ipv6";
	assert_int_equal(args(&a, RELAY_NEED_SDP, &why, 15, v), 0);
	assert_int_equal(a.family, RELAY_FAMILY_IPV6);
	v[14] = "ipv5";
	assert_int_equal(args(&a, RELAY_NEED_SDP, &why, 15, v), EINVAL);
	assert_non_null(strstr(why, "family"));
	v[13] = "transport";
	v[14] = "rtp";
	v[12] = "v=0\r\ns=AVPF \r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n";
	assert_int_equal(args(&a, RELAY_NEED_SDP, &why, 15, v), 0);
	assert_true(a.feedback);
	v[12] = "v=0\ns=AVPF \nm=audio 9 RTP/AVP 0\nm=AVPF";
	assert_int_equal(args(&a, RELAY_NEED_SDP, &why, 15, v), 0);
	assert_false(a.feedback);
}

static void test_settings(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{"[relay]\nsocket_mode = 0999\n", "socket_mode"},
		{"[relay]\nsocket = run/x\n", "absolute"},
		{"[relay]\nsocket = /a\nadmin_socket = /a\n", "different"},
		{"[relay]\nprefix = a b\n", "prefix"},
		{"[rtpengine]\ninstance = a udp:1.2.3.4:1\ninstance = a udp:1.2.3.4:2\n", "twice"},
		{"[rtpengine]\ninstance = a udp:1.2.3.4:1\ninstance = b udp:1.2.3.4:1\n", "twice"},
		{"[rtpengine]\ninstance = nonsense\n", "nonsense"},
		{"[rtpengine]\ndeadline_ms = 50\nretransmit_ms = 50\n", "retransmit_ms"},
		{"[rtpengine]\nping_timeout_ms = 2000\n", "ping_timeout_ms"},
		{"[sweep]\nmedia_timeout_s = 10\n", "media_timeout_s"},
		{"[rtpengine]\ndeadline_ms = 9\n", "deadline_ms"},
		{"[rtpengine]\ndeadline_s = 1\n", "deadline_s"},
	};
	char path[] = "/tmp/p2psip-test-XXXXXX", err[512];
	struct relay_settings s;
	size_t i;
	FILE *f;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		f = fopen(path, "w");
		assert_non_null(f);
		fputs(bad[i].text, f);
		fclose(f);
		err[0] = '\0';
		assert_int_not_equal(relay_settings_load(&s, path, err, sizeof(err)), 0);
		if (strstr(err, bad[i].says) == NULL || strstr(err, path) == NULL)
			fail_msg("\"%s\" for: %s", err, bad[i].text);
	}
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("[rtpengine]\ninstance = a udp:127.0.0.1:2223 weight 3\n"
	      "instance = b udp:[::1]:2223\nflags = x,y\noverlay_family = ipv6\n",
	      f);
	fclose(f);
	assert_int_equal(relay_settings_load(&s, path, err, sizeof(err)), 0);
	assert_int_equal(s.n_spec, 2);
	assert_int_equal(s.spec[0].weight, 3);
	assert_int_equal(s.flags.n, 2);
	assert_int_equal(s.overlay_family, RELAY_FAMILY_IPV6);
	assert_int_equal(s.socket_mode_bits, 0660);
	relay_settings_free(&s);
	unlink(path);
	assert_int_equal(metrics_check(relay_metrics_table, err, sizeof(err)), 0);
}

/* --- the table of calls: needs instances, of which only the count is used --- */
#include <event2/event.h>

static void count(struct relay_call *call, void *arg)
{
	(void)call;
	(*(unsigned int *)arg)++;
}

static void test_calls(void **state)
{
	const struct ng_pool_config pc = {.ping_interval_ms = 1000,
					  .ping_timeout_ms = 100,
					  .fail_after = 2,
					  .max_pending = 8,
					  .retransmit_ms = 10};
	struct event_base *base = event_base_new();
	const struct p2p_hash_key key = {{1}};
	struct relay_call *call, *first;
	struct ng_instance_stats st;
	struct relay_calls *calls;
	struct ng_pool *pool;
	struct ng_spec spec;
	unsigned int i, n;
	uint64_t cursor;
	char id[32], err[64];

	(void)state;
	assert_int_equal(ng_pool_new(&pool, base, &pc), 0);
	assert_int_equal(ng_spec_parse(&spec, "a udp:127.0.0.1:9", err, sizeof(err)), 0);
	assert_int_equal(ng_pool_set(pool, &spec, 1), 0);
	assert_int_equal(relay_calls_new(&calls, &key), 0);
	for (i = 0; i < 1000; i++) {
		snprintf(id, sizeof(id), "p2p-%u", i);
		assert_int_equal(relay_calls_add(calls, &call, id, strlen(id), ng_pool_at(pool, 0),
						 i, i + 100),
				 0);
	}
	assert_int_equal(relay_calls_count(calls, RELAY_CALL_LIVE), 1000);
	ng_instance_stats(ng_pool_at(pool, 0), &st);
	assert_int_equal(st.calls, 1000);
	for (i = 0; i < 1000; i++) {
		snprintf(id, sizeof(id), "p2p-%u", i);
		assert_non_null(relay_calls_find(calls, id, strlen(id)));
	}
	assert_null(relay_calls_find(calls, "p2p-", 4));
	n = 0;
	cursor = 0;
	do {
		cursor = relay_calls_visit(calls, cursor, 50, count, &n);
	} while (cursor != 0);
	assert_int_equal(n, 1000);
	/* leases end in order; a renewed one goes to the end */
	assert_null(relay_calls_expired(calls, RELAY_CALL_LIVE, 99));
	first = relay_calls_expired(calls, RELAY_CALL_LIVE, 100);
	assert_non_null(first);
	assert_string_equal(first->id, "p2p-0");
	relay_calls_renew(calls, first, 5000);
	assert_null(relay_calls_expired(calls, RELAY_CALL_LIVE, 100));
	/* a pinned call outlives its removal */
	relay_calls_pin(first);
	relay_calls_remove(calls, first);
	assert_null(relay_calls_find(calls, "p2p-0", 5));
	assert_true(first->removed);
	relay_calls_renew(calls, first, 6000);
	relay_calls_remove(calls, first);
	relay_calls_unpin(first);
	call = relay_calls_expired(calls, RELAY_CALL_LIVE, 5000);
	relay_calls_state(calls, call, RELAY_CALL_DELETING, 7000);
	assert_int_equal(relay_calls_count(calls, RELAY_CALL_LIVE), 998);
	assert_int_equal(relay_calls_count(calls, RELAY_CALL_DELETING), 1);
	relay_calls_free(calls);
	ng_instance_stats(ng_pool_at(pool, 0), &st);
	assert_int_equal(st.calls, 0);
	ng_pool_free(pool);
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split),	       cmocka_unit_test(test_reply),
		cmocka_unit_test(test_call_state),     cmocka_unit_test(test_list),
		cmocka_unit_test(test_request),	       cmocka_unit_test(test_spec),
		cmocka_unit_test(test_args),	       cmocka_unit_test(test_transport),
		cmocka_unit_test(test_args_transport), cmocka_unit_test(test_settings),
		cmocka_unit_test(test_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
