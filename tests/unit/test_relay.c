/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The relay's operations against rtpengines of our own in the same event loop, which misbehave as
 * they are told. Real UDP on loopback and a real clock: what is tested is what happens in time. */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <json-c/json.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/unit/test.h"
#include "tests/unit/alloc.h"
#include "relay/relay_priv.h"

#define CALLS_MAX 64
#define DEADLINE_MS 250
/* a machine with other things to do */
#define GRACE_MS 250

enum mood { NORMAL, SILENT, GARBAGE, WRONG_COOKIE, HUGE_SDP, REFUSE, FULL, NO_SDP, DROP_ONE };

struct mock {
	int fd;
	int port;
	struct event *ev;
	enum mood mood;
	bool deaf_to_calls; /* answers pings only */
	unsigned int dropped, offers, answers, deletes, queries;
	char call[CALLS_MAX][128];
	bool rings[CALLS_MAX]; /* offered here and not answered: one tag */
};

static struct event_base *base;
static struct mock mock[2];
static struct relay_settings settings;
static struct relay *relay;

static int call_index(struct mock *m, const char *id)
{
	int i;

	for (i = 0; i < CALLS_MAX; i++)
		if (strcmp(m->call[i], id) == 0)
			return i;
	return -1;
}

/* A request's strings, whichever encoding it is in. */
struct asked {
	bool bencode;
	char command[16], call_id[128];
};

static void ben_pairs(const char *p, struct asked *a)
{
	char word[2][128] = {"", ""};
	int n = 0;

	for (p++; *p != 'e'; p++) {
		unsigned long len;
		char *end;

		if (*p == 'l' || *p == 'i') { /* no lists in lists here */
			if (*p == 'i')
				p = strchr(p, 'e');
			else
				for (p++; *p != 'e'; p = end + 1 + len)
					len = strtoul(p, &end, 10);
			n = 0;
			continue;
		}
		len = strtoul(p, &end, 10);
		assert_true(*end == ':');
		snprintf(word[n], sizeof(word[n]), "%.*s", (int)(len < 127 ? len : 127), end + 1);
		p = end + len;
		n++;
		if (n == 2) {
			if (strcmp(word[0], "command") == 0)
				snprintf(a->command, sizeof(a->command), "%.15s", word[1]);
			else if (strcmp(word[0], "call-id") == 0)
				snprintf(a->call_id, sizeof(a->call_id), "%s", word[1]);
			n = 0;
		}
	}
}

static struct asked request_read(const char *text)
{
	struct asked a = {.bencode = text[0] == 'd'};
	struct json_object *o, *v;

	if (a.bencode) {
		ben_pairs(text, &a);
		return a;
	}
	o = json_tokener_parse(text);
	assert_non_null(o);
	if (json_object_object_get_ex(o, "command", &v))
		snprintf(a.command, sizeof(a.command), "%s", json_object_get_string(v));
	if (json_object_object_get_ex(o, "call-id", &v))
		snprintf(a.call_id, sizeof(a.call_id), "%s", json_object_get_string(v));
	json_object_put(o);
	return a;
}

/* {"result":result,key:value}, key may be NULL */
static void say(const struct asked *a, char *out, size_t cap, const char *result, const char *key,
		const char *value)
{
	if (!a->bencode && key == NULL)
		snprintf(out, cap, "{\"result\":\"%s\"}", result);
	else if (!a->bencode)
		snprintf(out, cap, "{\"result\":\"%s\",\"%s\":\"%s\"}", result, key, value);
	else if (key == NULL)
		snprintf(out, cap, "d6:result%zu:%se", strlen(result), result);
	else
		snprintf(out, cap, "d%zu:%s%zu:%s6:result%zu:%se", strlen(key), key, strlen(value),
			 value, strlen(result), result);
}

static void answer(struct mock *m, const struct asked *a, char *out, size_t cap)
{
	static char sdp[60100];
	int i = call_index(m, a->call_id), k;
	const char *command = a->command;

	if (strcmp(command, "ping") == 0) {
		say(a, out, cap, "pong", NULL, NULL);
	} else if (strcmp(command, "offer") == 0 || strcmp(command, "answer") == 0) {
		if (command[0] == 'o')
			m->offers++;
		else
			m->answers++;
		if (i < 0 && command[0] == 'o') {
			i = call_index(m, "");
			assert_true(i >= 0);
			snprintf(m->call[i], sizeof(m->call[i]), "%s", a->call_id);
			m->rings[i] = true;
		}
		if (i >= 0 && command[0] == 'a')
			m->rings[i] = false;
		snprintf(sdp, sizeof(sdp), m->mood == HUGE_SDP ? "v=0%060000d" : "v=0 from %d",
			 m->port);
		if (m->mood == REFUSE)
			say(a, out, cap, "error", "error-reason", "Failed to parse SDP");
		else if (m->mood == FULL)
			say(a, out, cap, "load limit", NULL, NULL);
		else if (m->mood == NO_SDP)
			say(a, out, cap, "ok", NULL, NULL);
		else if (i < 0)
			say(a, out, cap, "error", "error-reason", "Unknown call-id");
		else
			say(a, out, cap, "ok", "sdp", sdp);
	} else if (strcmp(command, "query") == 0) {
		m->queries++;
		if (i < 0)
			say(a, out, cap, "error", "error-reason", "Unknown call-id");
		else
			snprintf(out, cap,
				 "{\"result\":\"ok\",\"totals\":{\"RTP\":{\"packets\":%u"
				 "}},\"tags\":{\"a\":{}%s}}",
				 strcmp(a->call_id, "p2p-talks") == 0 ? m->queries : 0,
				 m->rings[i] ? "" : ",\"b\":{}");
	} else if (strcmp(command, "delete") == 0) {
		m->deletes++;
		if (i >= 0) {
			m->call[i][0] = '\0';
			m->rings[i] = false;
		}
		say(a, out, cap, "ok", NULL, NULL);
	} else if (strcmp(command, "list") == 0) {
		size_t n = (size_t)snprintf(out, cap, "{\"result\":\"ok\",\"calls\":[\"other\"");

		for (k = 0; k < CALLS_MAX; k++)
			if (m->call[k][0] != '\0')
				n += (size_t)snprintf(out + n, cap - n, ",\"%s\"", m->call[k]);
		snprintf(out + n, cap - n, "]}");
	} else {
		fail_msg("mock: command %s", command);
	}
}

static void on_mock(evutil_socket_t fd, short what, void *arg)
{
	static char in[NG_DATAGRAM_MAX + 1], body[NG_DATAGRAM_MAX], out[NG_DATAGRAM_MAX + 64];
	struct sockaddr_in from;
	socklen_t fromlen = sizeof(from);
	ssize_t n =
		recvfrom(fd, in, NG_DATAGRAM_MAX, MSG_DONTWAIT, (struct sockaddr *)&from, &fromlen);
	struct mock *m = arg;
	struct asked a;
	char *sp;
	bool ping;

	(void)what;
	if (n <= 0)
		return;
	in[n] = '\0';
	sp = strchr(in, ' ');
	assert_non_null(sp);
	*sp++ = '\0';
	a = request_read(sp);
	ping = strcmp(a.command, "ping") == 0;
	if (m->mood == SILENT || (m->deaf_to_calls && !ping) ||
	    (m->mood == DROP_ONE && !ping && m->dropped++ == 0))
		return;
	answer(m, &a, body, sizeof(body));
	if (m->mood == GARBAGE && !ping)
		n = snprintf(out, sizeof(out), "%s %.20s", in, body);
	else if (m->mood == WRONG_COOKIE && !ping)
		n = snprintf(out, sizeof(out), "%s_0 %s", in, body);
	else
		n = snprintf(out, sizeof(out), "%s %s", in, body);
	sendto(fd, out, (size_t)n, 0, (struct sockaddr *)&from, fromlen);
}

static void mock_open(struct mock *m)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)m->port)};
	socklen_t len = sizeof(sa);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	m->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_true(m->fd >= 0);
	assert_int_equal(bind(m->fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(getsockname(m->fd, (struct sockaddr *)&sa, &len), 0);
	m->port = ntohs(sa.sin_port);
	m->ev = event_new(base, m->fd, EV_READ | EV_PERSIST, on_mock, m);
	event_add(m->ev, NULL);
}

static void mock_close(struct mock *m)
{
	if (m->ev != NULL)
		event_free(m->ev);
	m->ev = NULL;
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
}

static uint64_t now(void)
{
	return p2p_clock_mono(&p2p_clock_system);
}

/* Turn the loop until the condition holds; fails after `ms`. */
#define until(ms, condition)                                                                       \
	do {                                                                                       \
		uint64_t end_ = now() + (ms);                                                      \
		while (!(condition)) {                                                             \
			if (now() > end_)                                                          \
				fail_msg("not within %d ms: %s", (int)(ms), #condition);           \
			event_base_loop(base, EVLOOP_NONBLOCK);                                    \
			usleep(200);                                                               \
		}                                                                                  \
	} while (0)

static void spec_add(int port, const char *name)
{
	char text[64], err[64];

	snprintf(text, sizeof(text), "%s udp:127.0.0.1:%d", name, port);
	assert_int_equal(ng_spec_parse(&settings.spec[settings.n_spec++], text, err, sizeof(err)),
			 0);
}

static void relay_open(void)
{
	assert_int_equal(relay_new(&relay, base, &settings, NULL, NULL, false), 0);
}

static int setup(void **state)
{
	char err[200];
	int i;

	(void)state;
	base = event_base_new();
	assert_int_equal(relay_settings_load(&settings, NULL, err, sizeof(err)), 0);
	settings.deadline_ms = DEADLINE_MS;
	settings.retransmit_ms = 20;
	settings.ping_interval_ms = 50;
	settings.ping_timeout_ms = 40;
	for (i = 0; i < 2; i++) {
		memset(&mock[i], 0, sizeof(mock[i]));
		mock_open(&mock[i]);
	}
	spec_add(mock[0].port, "a");
	spec_add(mock[1].port, "b");
	relay_open();
	until(500, ng_pool_up(relay->pool) == 2);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	relay_free(relay);
	relay = NULL;
	mock_close(&mock[0]);
	mock_close(&mock[1]);
	relay_settings_free(&settings);
	event_base_free(base);
	return 0;
}

struct outcome {
	bool done, created;
	enum relay_code code;
	char text[128];
	size_t len;
	uint64_t took_ms;
};

static void on_outcome(enum relay_code code, const char *text, const char *s, size_t len,
		       bool created, void *arg)
{
	struct outcome *o = arg;

	assert_false(o->done);
	o->done = true;
	o->code = code;
	o->created = created;
	o->len = len;
	snprintf(o->text, sizeof(o->text), "%.*s", s != NULL ? (int)(len < 100 ? len : 100) : 100,
		 s != NULL ? s : text);
}

static struct outcome ask(const char *id, bool is_answer, bool dialog, struct relay_owner *owner)
{
	struct ng_offer o = {
		.answer = is_answer,
		.call_id = id,
		.from_tag = "f",
		.to_tag = is_answer || dialog ? "t" : NULL,
		.from_if = "ua",
		.to_if = "ovl",
		.ice = "remove",
		.sdp = "v=0\r\n",
		.sdp_len = 5,
	};
	struct outcome out = {0};
	uint64_t start = now();

	relay_media_offer(relay, &o, owner, on_outcome, &out);
	until(1000, out.done);
	out.took_ms = now() - start;
	return out;
}

static struct outcome offer(const char *id)
{
	return ask(id, false, false, NULL);
}

static struct mock *holder(const char *id)
{
	int i;

	for (i = 0; i < 2; i++)
		if (call_index(&mock[i], id) >= 0)
			return &mock[i];
	return NULL;
}

static size_t live(void)
{
	return relay_calls_count(relay->calls, RELAY_CALL_LIVE);
}

static size_t all(void)
{
	return live() + relay_calls_count(relay->calls, RELAY_CALL_DELETING);
}

/* --- the usual ----------------------------------------------------------------------------- */
static void test_offer_answer_delete(void **state)
{
	struct outcome o = offer("p2p-1-x");
	struct mock *m = holder("p2p-1-x");

	(void)state;
	assert_int_equal(o.code, RELAY_OK);
	assert_true(o.created);
	assert_non_null(m);
	o = ask("p2p-1-x", true, true, NULL);
	assert_int_equal(o.code, RELAY_OK);
	assert_false(o.created);
	assert_int_equal(m->answers, 1);
	assert_int_equal(live(), 1);
	assert_true(relay_media_delete(relay, "p2p-1-x"));
	until(500, holder("p2p-1-x") == NULL && all() == 0);
	/* not known: asked for everywhere all the same */
	assert_false(relay_media_delete(relay, "p2p-1-x"));
	until(500, mock[0].deletes >= 1 && mock[1].deletes >= 1);
}

static void test_calls_are_spread_by_weight(void **state)
{
	char id[16];
	int i;

	(void)state;
	settings.spec[1].weight = 3;
	assert_int_equal(relay_reload(relay, &settings), 0);
	for (i = 0; i < 8; i++) {
		snprintf(id, sizeof(id), "p2p-%d", i);
		assert_int_equal(offer(id).code, RELAY_OK);
	}
	assert_int_equal(mock[0].offers, 2);
	assert_int_equal(mock[1].offers, 6);
}

static void test_a_lost_datagram_is_repeated(void **state)
{
	struct outcome o;

	(void)state;
	mock[0].mood = mock[1].mood = DROP_ONE;
	o = offer("p2p-1");
	assert_int_equal(o.code, RELAY_OK);
	assert_true(o.took_ms >= 15);
}

/* --- who misbehaves ------------------------------------------------------------------------ */
static void test_a_silent_instance_is_passed_over_in_time(void **state)
{
	struct outcome o;

	(void)state;
	mock[0].deaf_to_calls = true;
	o = offer("p2p-1");
	assert_int_equal(o.code, RELAY_OK);
	assert_true(o.took_ms < DEADLINE_MS + GRACE_MS);
	assert_int_equal(relay->count.failovers, 1);
	assert_ptr_equal(holder("p2p-1"), &mock[1]);
}

static void test_all_silent(void **state)
{
	struct outcome o;

	(void)state;
	mock[0].deaf_to_calls = mock[1].deaf_to_calls = true;
	o = offer("p2p-1");
	assert_int_equal(o.code, RELAY_TIMEOUT);
	assert_true(o.took_ms >= DEADLINE_MS && o.took_ms < DEADLINE_MS + GRACE_MS);
	mock[0].deaf_to_calls = mock[1].deaf_to_calls = false;
	/* what they may have done all the same is deleted */
	until(3000, all() == 0);
}

static void test_nobody_there(void **state)
{
	struct outcome o;

	(void)state;
	mock_close(&mock[0]);
	mock_close(&mock[1]);
	o = offer("p2p-1");
	assert_int_equal(o.code, RELAY_UNAVAIL);
	assert_true(o.took_ms < DEADLINE_MS);
	assert_int_equal(ng_pool_up(relay->pool), 0);
	assert_int_equal(offer("p2p-2").code, RELAY_UNAVAIL);
	mock_open(&mock[0]);
	until(500, ng_pool_up(relay->pool) == 1);
	assert_int_equal(offer("p2p-3").code, RELAY_OK);
}

static void test_strange_replies(void **state)
{
	struct outcome o;

	(void)state;
	mock[0].mood = mock[1].mood = GARBAGE;
	assert_int_equal(offer("p2p-1").code, RELAY_INTERNAL);
	mock[0].mood = mock[1].mood = NO_SDP;
	assert_int_equal(offer("p2p-2").code, RELAY_INTERNAL);
	mock[0].mood = mock[1].mood = WRONG_COOKIE;
	assert_int_equal(offer("p2p-3").code, RELAY_TIMEOUT);
	mock[0].mood = mock[1].mood = REFUSE;
	o = offer("p2p-4");
	assert_int_equal(o.code, RELAY_BADARG);
	assert_string_equal(o.text, "Failed to parse SDP");
	mock[0].mood = mock[1].mood = FULL;
	assert_int_equal(offer("p2p-5").code, RELAY_BUSY);
	mock[0].mood = mock[1].mood = HUGE_SDP;
	o = offer("p2p-6");
	assert_int_equal(o.code, RELAY_OK);
	assert_int_equal(o.len, 60003); /* v=0 and 60,000 digits */
	mock[0].mood = mock[1].mood = NORMAL;
	until(3000, all() == 1 && holder("p2p-5") == NULL);
}

static void test_a_full_instance_is_passed_over(void **state)
{
	(void)state;
	mock[0].mood = FULL;
	assert_int_equal(offer("p2p-1").code, RELAY_OK);
	assert_ptr_equal(holder("p2p-1"), &mock[1]);
}

/* --- bounds -------------------------------------------------------------------------------- */
static void test_too_many_calls(void **state)
{
	(void)state;
	settings.max_calls = 2;
	assert_int_equal(offer("p2p-1").code, RELAY_OK);
	assert_int_equal(offer("p2p-2").code, RELAY_OK);
	assert_int_equal(offer("p2p-3").code, RELAY_BUSY);
	assert_int_equal(offer("p2p-1").code, RELAY_OK);
}

static void test_too_many_requests(void **state)
{
	struct outcome out[8] = {{0}};
	struct ng_offer o = {
		.from_tag = "f", .from_if = "ua", .to_if = "ua", .sdp = "v=0\r\n", .sdp_len = 5};
	char id[16];
	int i, busy = 0;

	(void)state;
	relay_free(relay);
	settings.instance_max_pending = 3; /* one may be a ping */
	relay_open();
	until(500, ng_pool_up(relay->pool) == 2);
	mock[0].deaf_to_calls = mock[1].deaf_to_calls = true;
	for (i = 0; i < 8; i++) {
		snprintf(id, sizeof(id), "p2p-%d", i);
		o.call_id = id;
		relay_media_offer(relay, &o, NULL, on_outcome, &out[i]);
	}
	for (i = 0; i < 8; i++)
		busy += out[i].done && out[i].code == RELAY_BUSY;
	assert_true(busy >= 2);
	for (i = 0; i < 8; i++)
		until(500, out[i].done);
}

/* --- restarts ------------------------------------------------------------------------------ */
static void test_a_restarted_relay_finds_its_calls(void **state)
{
	(void)state;
	assert_int_equal(offer("p2p-1").code, RELAY_OK);
	relay_free(relay);
	relay_open();
	/* by the instances' own lists */
	until(500, live() == 1);
	assert_int_equal(relay->count.adopted, 1);
	assert_int_equal(ask("p2p-1", true, true, NULL).code, RELAY_OK);
	/* and by asking, when it came after the list */
	snprintf(mock[1].call[5], sizeof(mock[1].call[5]), "p2p-late");
	assert_int_equal(ask("p2p-late", true, true, NULL).code, RELAY_OK);
	assert_int_equal(relay->count.located, 1);
	assert_int_equal(ask("p2p-never", true, true, NULL).code, RELAY_NOTFOUND);
	/* a new offer within a call that no rtpengine knows makes it anew */
	assert_int_equal(ask("p2p-gone", false, true, NULL).code, RELAY_OK);
}

/* Only what said that it does not know the call does not have it. */
static void test_a_silent_rtpengine_may_have_the_call(void **state)
{
	unsigned int i;

	(void)state;
	snprintf(mock[1].call[5], sizeof(mock[1].call[5]), "p2p-late");
	for (i = 0; i < 2; i++) {
		mock[0].deaf_to_calls = i == 1;
		mock[1].deaf_to_calls = true;
		assert_int_equal(ask("p2p-late", false, true, NULL).code, RELAY_TIMEOUT);
		assert_int_equal(ask("p2p-late", true, true, NULL).code, RELAY_TIMEOUT);
	}
	assert_int_equal(mock[0].offers + mock[1].offers, 0);
	mock[0].deaf_to_calls = mock[1].deaf_to_calls = false;
	assert_int_equal(ask("p2p-late", false, true, NULL).code, RELAY_OK);
	assert_int_equal(mock[1].offers, 1);
	assert_int_equal(relay->count.located, 1);
}

static void test_a_restarted_rtpengine_is_noticed(void **state)
{
	(void)state;
	assert_int_equal(offer("p2p-1").code, RELAY_OK);
	memset(mock[0].call, 0, sizeof(mock[0].call));
	memset(mock[1].call, 0, sizeof(mock[1].call));
	assert_int_equal(ask("p2p-1", true, true, NULL).code, RELAY_NOTFOUND);
	assert_int_equal(relay->count.lost, 1);
	assert_int_equal(all(), 0);
}

static void test_a_call_moves_when_its_rtpengine_is_down(void **state)
{
	struct mock *m, *other;

	(void)state;
	assert_int_equal(offer("p2p-1").code, RELAY_OK);
	m = holder("p2p-1");
	other = m == &mock[0] ? &mock[1] : &mock[0];
	mock_close(m);
	until(500, ng_pool_up(relay->pool) == 1);
	assert_int_equal(ask("p2p-1", true, true, NULL).code, RELAY_UNAVAIL);
	assert_int_equal(ask("p2p-1", false, true, NULL).code, RELAY_OK);
	assert_true(call_index(other, "p2p-1") >= 0);
	assert_int_equal(relay->count.moved, 1);
	/* back again, it is told to forget the call */
	mock_open(m);
	until(500, call_index(m, "p2p-1") < 0);
	assert_true(call_index(other, "p2p-1") >= 0);
}

static void test_a_deletion_is_repeated_until_it_is_heard(void **state)
{
	struct mock *m;

	(void)state;
	assert_int_equal(offer("p2p-1").code, RELAY_OK);
	m = holder("p2p-1");
	m->deaf_to_calls = true;
	assert_true(relay_media_delete(relay, "p2p-1"));
	until(1500, relay->count.ok > 0);
	m->deaf_to_calls = false;
	until(4000, all() == 0 && holder("p2p-1") == NULL);
}

static void test_drain(void **state)
{
	struct mock *m;

	(void)state;
	assert_int_equal(offer("p2p-1").code, RELAY_OK);
	m = holder("p2p-1");
	assert_ptr_equal(m, &mock[0]);
	settings.spec[0] = settings.spec[1];
	settings.n_spec = 1;
	assert_int_equal(relay_reload(relay, &settings), 0);
	/* its call goes on, new ones go elsewhere */
	assert_int_equal(ask("p2p-1", true, true, NULL).code, RELAY_OK);
	assert_int_equal(m->answers, 1);
	assert_int_equal(offer("p2p-2").code, RELAY_OK);
	assert_int_equal(m->offers, 1);
	assert_true(relay_media_delete(relay, "p2p-1"));
	until(1000, ng_pool_find(relay->pool, "a") == NULL);
}

/* --- the sweep ----------------------------------------------------------------------------- */
static void test_sweep(void **state)
{
	struct relay_owner *gone;

	(void)state;
	settings.lease_s = 1;
	settings.media_timeout_s = 2;
	settings.owner_grace_s = 1;
	settings.reconcile_interval_s = 1;
	gone = relay_owner_join(relay, "kam1", 4);
	assert_int_equal(ask("p2p-rings", false, false, gone).code, RELAY_OK);
	assert_int_equal(offer("p2p-talks").code, RELAY_OK);
	assert_int_equal(ask("p2p-talks", true, true, NULL).code, RELAY_OK);
	assert_int_equal(offer("p2p-silent").code, RELAY_OK);
	assert_int_equal(ask("p2p-silent", true, true, NULL).code, RELAY_OK);
	snprintf(mock[0].call[7], sizeof(mock[0].call[7]), "p2p-found");
	relay_owner_leave(relay, gone);
	/* an unanswered call goes with its Kamailio, and calls without packets go */
	until(10000, holder("p2p-rings") == NULL);
	assert_int_equal(relay->count.orphaned, 1);
	until(10000, holder("p2p-silent") == NULL && holder("p2p-found") == NULL && all() == 1);
	assert_non_null(holder("p2p-talks"));
	assert_int_equal(relay->count.swept, 2);
	/* what is not ours was left alone */
	assert_int_equal(relay->count.adopted, 1);
}

static void test_freed_with_requests_under_way(void **state)
{
	struct ng_offer o = {.call_id = "p2p-1",
			     .from_tag = "f",
			     .from_if = "ua",
			     .to_if = "ua",
			     .sdp = "v=0\r\n",
			     .sdp_len = 5};
	struct outcome out = {0};

	(void)state;
	mock[0].deaf_to_calls = mock[1].deaf_to_calls = true;
	relay_media_offer(relay, &o, NULL, on_outcome, &out);
	relay_free(relay);
	assert_true(out.done);
	assert_int_equal(out.code, RELAY_UNAVAIL);
	relay_open();
}

/* --- when memory is short ------------------------------------------------------------------- */
static int step_offer(void *arg)
{
	char id[32];

	snprintf(id, sizeof(id), "p2p-alloc-%u", (*(unsigned int *)arg)++);
	return offer(id).code == RELAY_OK ? 0 : ENOMEM;
}

static int step_find(void *arg)
{
	(void)arg;
	return ask("p2p-far", true, true, NULL).code == RELAY_OK ? 0 : ENOMEM;
}

static int step_relay(void *arg)
{
	struct relay *r;
	int err = relay_new(&r, base, &settings, NULL, NULL, false);

	(void)arg;
	if (err == 0)
		relay_free(r);
	return err;
}

static void test_allocations_fail(void **state)
{
	struct relay_call *call;
	unsigned int n = 0;

	(void)state;
	/* a health check that is left out does no harm, nor does a table that does not grow */
	alloc_loop(step_offer, &n, true);
	assert_true(n > 5);
	snprintf(mock[0].call[60], sizeof(mock[0].call[60]), "p2p-far");
	alloc_loop(step_find, NULL, true);
	call = relay_calls_find(relay->calls, "p2p-far", 7);
	assert_non_null(call);
	alloc_loop(step_relay, NULL, true);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_offer_answer_delete),
		T(test_calls_are_spread_by_weight),
		T(test_a_lost_datagram_is_repeated),
		T(test_a_silent_instance_is_passed_over_in_time),
		T(test_all_silent),
		T(test_nobody_there),
		T(test_strange_replies),
		T(test_a_full_instance_is_passed_over),
		T(test_too_many_calls),
		T(test_too_many_requests),
		T(test_a_restarted_relay_finds_its_calls),
		T(test_a_silent_rtpengine_may_have_the_call),
		T(test_a_restarted_rtpengine_is_noticed),
		T(test_a_call_moves_when_its_rtpengine_is_down),
		T(test_a_deletion_is_repeated_until_it_is_heard),
		T(test_drain),
		T(test_sweep),
		T(test_freed_with_requests_under_way),
		T(test_allocations_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
