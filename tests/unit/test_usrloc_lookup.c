/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc's lookups without Kamailio and without a gateway: the connection is a stub that keeps
 * what was asked, and the test answers. */
#include "tests/unit/test.h"

#include <sys/socket.h>
#include <unistd.h>

#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_back.h"
#include "modules/p2p_usrloc/p2p_usrloc_confirm.h"
#include "modules/p2p_usrloc/p2p_usrloc_lookup.h"

#define ASKED_MAX 16
#define BOXES 4000

_Thread_local int mock_locks_held;
static struct pul_shared shared;
struct pul_shared *pul_shared = &shared;
struct p2p_hash_key pul_hash_key;
struct pul_settings pul_settings;
struct pul_cache *pul_routes, *pul_peers;
static uint64_t now_ms;
static unsigned int drops;

/* --- stubs --- */

static struct asked {
	pul_reply_h *h;
	void *arg;
	char text[128];
} asked[ASKED_MAX];
static unsigned int n_asked;

uint64_t pul_now_ms(void)
{
	return now_ms;
}

uint64_t pul_now_us(void)
{
	return now_ms * 1000;
}

void pul_count(enum pul_counter c)
{
	(void)c;
}

bool pul_log_ok(const void *source, size_t len)
{
	(void)source;
	(void)len;
	return false;
}

static enum pul_users_progress progress;
static bool is_confirmed, in_flight;

bool pul_users_confirmed(const struct p2p_name *name)
{
	(void)name;
	return is_confirmed;
}

enum pul_users_progress pul_users_progress(const struct p2p_name *name)
{
	(void)name;
	return progress;
}

bool pul_users_confirm(const struct p2p_name *name)
{
	(void)name;
	if (!in_flight)
		is_confirmed = progress == PUL_USERS_TOLD;
	return !in_flight;
}

bool pul_users_serves(const struct p2p_name *name, bool *others)
{
	(void)name;
	(void)others;
	return false;
}

void pul_users_set_others(const struct p2p_name *name, bool others)
{
	(void)name;
	(void)others;
}

int pul_cache_put(struct pul_cache *cache, const void *key, size_t len,
		  const struct p2p_candidate_set *set)
{
	(void)cache;
	(void)key;
	(void)len;
	(void)set;
	return 0;
}

bool pul_cache_drop(struct pul_cache *cache, const void *key, size_t len, const struct p2p_hit *hit)
{
	(void)cache;
	(void)key;
	(void)len;
	(void)hit;
	drops++;
	return true;
}

bool pul_cache_take_wanted(struct pul_cache *cache, char *buf, size_t *len)
{
	(void)cache;
	(void)buf;
	(void)len;
	return false;
}

static struct p2p_session put;

int pul_sessions_put(const struct p2p_session *s)
{
	put = *s;
	return 0;
}

static struct p2p_auth auth_put;
static uint64_t auth_ttl_ms;
static unsigned int auth_puts;

void pul_auth_put(const struct p2p_name *name, const struct p2p_auth *auth, uint64_t ttl_ms)
{
	(void)name;
	auth_put = *auth;
	auth_ttl_ms = ttl_ms;
	auth_puts++;
}

static struct p2p_session_id closed, refused, recheck;
static struct p2p_hit wanted;
static bool is_refused, is_recheck, is_wanted;

bool pul_sessions_close(const struct p2p_session_id *id)
{
	closed = *id;
	return true;
}

bool pul_sessions_take_refused(struct p2p_session_id *id)
{
	bool was = is_refused;

	*id = refused;
	is_refused = false;
	return was;
}

bool pul_sessions_take_recheck(struct p2p_session_id *id)
{
	bool was = is_recheck;

	*id = recheck;
	is_recheck = false;
	return was;
}

bool pul_sessions_take_want(struct p2p_hit *hit)
{
	bool was = is_wanted;

	*hit = wanted;
	is_wanted = false;
	return was;
}

bool pul_sessions_waiting(void)
{
	return is_refused || is_recheck || is_wanted;
}

void pul_conn_init(struct pul_conn *conn)
{
	memset(conn, 0, sizeof(*conn));
}

int pul_conn_open(struct pul_conn *conn, const char *path)
{
	(void)path;
	conn->state = PUL_CONN_READY;
	return 0;
}

static bool no_room;

size_t pul_conn_room(const struct pul_conn *conn)
{
	(void)conn;
	return no_room ? 0 : PUL_CONN_OUT_MAX;
}

int pul_conn_send(struct pul_conn *conn, const void *command, size_t n, uint64_t deadline_ms,
		  pul_reply_h *h, void *arg)
{
	struct asked *a;

	(void)deadline_ms;
	if (no_room)
		return ENOBUFS;
	a = &asked[n_asked++];
	assert_true(n_asked <= ASKED_MAX && n < sizeof(a->text));
	a->h = h;
	a->arg = arg;
	memcpy(a->text, command, n);
	a->text[n] = '\0';
	conn->owed++;
	return 0;
}

short pul_conn_events(const struct pul_conn *conn)
{
	(void)conn;
	return 0;
}

void pul_conn_io(struct pul_conn *conn, short revents)
{
	(void)conn;
	(void)revents;
}

void pul_conn_flush(struct pul_conn *conn)
{
	(void)conn;
}

uint64_t pul_conn_due(const struct pul_conn *conn)
{
	(void)conn;
	return UINT64_MAX;
}

void pul_conn_doom(struct pul_conn *conn, const char *fmt, ...)
{
	(void)fmt;
	conn->doomed = true;
}

bool pul_conn_reap(struct pul_conn *conn)
{
	(void)conn;
	return false;
}

static int handshake(struct pul_conn *conn, uint64_t deadline_ms, pul_reply_h *h)
{
	(void)conn;
	(void)deadline_ms;
	(void)h;
	return 0;
}

/* --- the workers' side --- */

static int workers[2]; /* reply_fd, and where its reader reads */
static struct pul_box *boxes;

static struct pul_box *box_of(struct p2p_question *q)
{
	return (struct pul_box *)((char *)q - offsetof(struct pul_box, q));
}

static struct pul_box *ask(unsigned int i, const char *name, unsigned int ms)
{
	struct pul_box *box = &boxes[i];

	memset(box, 0, sizeof(*box));
	box->q.kind = P2P_QUESTION_ROUTE;
	box->q.reply_fd = workers[0];
	box->q.code = (enum p2p_answer_code) - 1;
	box->q.name.len = strlen(name);
	strcpy(box->q.name.s, name);
	box->asked_us = pul_now_us();
	box->deadline_ms = now_ms + ms;
	pul_lookup_questions(box);
	return box;
}

/* The next one handed back, or NULL. */
static struct pul_box *answered(void)
{
	struct p2p_question *q;

	return recv(workers[1], &q, sizeof(q), MSG_DONTWAIT) == sizeof(q) ? box_of(q) : NULL;
}

static void reply(unsigned int i, const redisReply *r)
{
	assert_true(i < n_asked);
	asked[i].h(NULL, r, asked[i].arg);
}

static redisReply error(const char *text)
{
	return (redisReply){
		.type = REDIS_REPLY_ERROR, .str = (char *)(uintptr_t)text, .len = strlen(text)};
}

static int setup(void **state)
{
	(void)state;
	memset(&shared, 0, sizeof(shared));
	now_ms = 1000000;
	n_asked = drops = 0;
	pul_settings.query_connections = 2;
	pul_settings.gateway_timeout_ms = 2000;
	shared.gateway_up = 1;
	boxes = calloc(BOXES, sizeof(*boxes));
	if (boxes == NULL || socketpair(AF_UNIX, SOCK_DGRAM, 0, workers) != 0)
		return -1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(workers[0]);
	close(workers[1]);
	free(boxes);
	return 0;
}

static void one_answer(struct pul_box *box, enum p2p_answer_code code)
{
	assert_ptr_equal(answered(), box);
	assert_int_equal(box->q.code, code);
	assert_null(answered());
}

static redisReply bulk(const char *text)
{
	return (redisReply){
		.type = REDIS_REPLY_STRING, .str = (char *)(uintptr_t)text, .len = strlen(text)};
}

static void keep(const struct p2p_session *s)
{
	put = *s;
}

/* A session that is asked for by its id: the answer is about it, or makes no sense. */
static void test_session(void **state)
{
	static const char *const text[] = {
		"000102030405060708090a0b0c0d0e0f",
		"2001:22:a:1::a",
		"responder",
		"60000",
		"1111111111111111111111111111111111111111111111111111111111111111",
		"2222222222222222222222222222222222222222222222222222222222222222",
		"udp",
		"4",
		"rtp",
		"sip:192.0.2.1:5060;transport=udp",
		"",
	};
	const redisReply none = error("NOTFOUND no such session");
	redisReply e[11], *ep[11], whole = {.type = REDIS_REPLY_ARRAY, .elements = 11};
	static const enum p2p_answer_code code[] = {P2P_ANSWER_FOUND, P2P_ANSWER_UNKNOWN,
						    P2P_ANSWER_ABSENT};
	struct pul_box *box;
	unsigned int i;

	(void)state;
	for (i = 0; i < 11; i++) {
		e[i] = bulk(text[i]);
		ep[i] = &e[i];
	}
	whole.element = ep;
	for (i = 0; i < 3; i++) {
		box = &boxes[i];
		memset(box, 0, sizeof(*box));
		box->q.kind = P2P_QUESTION_SESSION;
		box->q.reply_fd = workers[0];
		assert_int_equal(p2p_session_id_parse(&box->q.session, text[0], 32), 0);
		box->deadline_ms = now_ms + 1000;
		pul_lookup_questions(box);
		assert_int_equal(n_asked, i + 1);
		assert_non_null(strstr(asked[i].text, "SESSION\r\n$32\r\n00010203"));
		memset(&put, 0, sizeof(put));
		if (i == 1) /* about another one */
			e[0].str = (char *)(uintptr_t) "ff0102030405060708090a0b0c0d0e0f";
		reply(i, i < 2 ? &whole : &none);
		one_answer(box, code[i]);
		assert_int_equal(put.ttl_ms, i == 0 ? 60000 : 0);
	}
	/* what the gateway does not know is not used any more */
	assert_memory_equal(&closed, &boxes[2].q.session, sizeof(closed));
}

/* ROUTE's session element: an array, or why there is none. */
static void test_route_session(void **state)
{
	static const char *const text[] = {
		"000102030405060708090a0b0c0d0e0f",
		"2001:22:a:1::a",
		"initiator",
		"60000",
		"1111111111111111111111111111111111111111111111111111111111111111",
		"2222222222222222222222222222222222222222222222222222222222222222",
		"tcp",
		"6",
		"srtp-sdes",
		"sip:[2001:db8::1]:5060;transport=tcp",
		"",
		"1",
		"of a later version",
	};
	static const struct {
		const char *text, *why;
		enum p2p_candidate_session session;
	} none[] = {
		{"", "", P2P_CANDIDATE_SESSION_NONE},
		{"unreachable no answer", "no answer", P2P_CANDIDATE_SESSION_UNREACHABLE},
		{"nocommon-signalling tls", "tls", P2P_CANDIDATE_SESSION_NOCOMMON_SIGNALLING},
		{"nocommon-media", "", P2P_CANDIDATE_SESSION_NOCOMMON_MEDIA},
		{"refused revoked\r\nX: y", "revoked??X: y", P2P_CANDIDATE_SESSION_REFUSED},
		{"later word", "word", P2P_CANDIDATE_SESSION_NONE},
	};
	redisReply e[13], *ep[13], s = {.type = REDIS_REPLY_ARRAY, .elements = 13, .element = ep};
	redisReply hit = bulk(text[1]), order = bulk("5"), ttl = bulk("60000"), flags = bulk("0"),
		   why, one = bulk("1"), uri = bulk("sip:192.0.2.1:5060");
	redisReply *cp[] = {&hit, &order, &ttl, &flags, &s, &one, &uri};
	redisReply cand = {.type = REDIS_REPLY_ARRAY, .elements = 7, .element = cp},
		   *rp[] = {&cand};
	const redisReply route = {.type = REDIS_REPLY_ARRAY, .elements = 1, .element = rp};
	struct p2p_candidate_set set;
	unsigned int i;

	(void)state;
	for (i = 0; i < 13; i++) {
		e[i] = bulk(text[i]);
		ep[i] = &e[i];
	}
	memset(&put, 0, sizeof(put));
	assert_true(pul_answer_route(&set, &route, keep));
	assert_int_equal(set.c[0].session, P2P_CANDIDATE_SESSION_OPEN);
	assert_true(put.retiring && put.initiator && put.family == 6);
	assert_int_equal(put.media, P2P_MEDIA_SDES);
	e[11] = bulk("0");
	assert_true(pul_answer_route(&set, &route, keep));
	assert_false(put.retiring);
	e[1] = bulk("2001:22:a:1::b"); /* with another peer than the candidate */
	assert_false(pul_answer_route(&set, &route, keep));
	cp[4] = &why;
	for (i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		why = bulk(none[i].text);
		assert_true(pul_answer_route(&set, &route, NULL));
		assert_int_equal(set.c[0].session, none[i].session);
		assert_string_equal(set.c[0].why, none[i].why);
	}
	why.type = REDIS_REPLY_INTEGER;
	assert_false(pul_answer_route(&set, &route, NULL));
}

/* REFUSED goes ahead of a search, and without one; sessions to be asked about are asked about. */
static void test_sessions_told_and_asked(void **state)
{
	struct pul_box *box = &boxes[0];

	(void)state;
	refused.b[0] = 0xab;
	is_refused = true;
	memset(box, 0, sizeof(*box));
	box->q.kind = P2P_QUESTION_ROUTE;
	box->q.flags = P2P_QUESTION_FRESH;
	box->q.reply_fd = workers[0];
	box->q.name = (struct p2p_name){.len = 3, .s = "bob"};
	box->deadline_ms = now_ms + 1000;
	pul_lookup_questions(box);
	assert_int_equal(n_asked, 2);
	assert_non_null(strstr(asked[0].text, "REFUSED\r\n$32\r\nab0000"));
	assert_non_null(strstr(asked[1].text, "ROUTE"));
	reply(0, &(redisReply){.type = REDIS_REPLY_STATUS, .str = "OK", .len = 2});
	reply(1, NULL);
	reply(2, &(redisReply){.type = REDIS_REPLY_ERROR, .str = "NOTFOUND", .len = 8});
	one_answer(box, P2P_ANSWER_ABSENT);

	n_asked = 0;
	is_refused = is_recheck = true;
	recheck.b[0] = 0xcd;
	pul_lookup_refresh();
	assert_int_equal(n_asked, 2);
	assert_non_null(strstr(asked[0].text, "REFUSED"));
	assert_non_null(strstr(asked[1].text, "SESSION\r\n$32\r\ncd0000"));
	reply(1, &(redisReply){.type = REDIS_REPLY_ERROR, .str = "NOTFOUND", .len = 8});
	assert_memory_equal(&closed, &recheck, sizeof(closed));

	n_asked = 0;
	is_wanted = true;
	assert_int_equal(p2p_hit_parse(&wanted, "2001:22:a:1::a", 14), 0);
	pul_lookup_refresh();
	assert_int_equal(n_asked, 1);
	assert_non_null(strstr(asked[0].text, "PEERSESSION\r\n$14\r\n2001:22:a:1::a"));
	reply(0, &(redisReply){.type = REDIS_REPLY_ERROR, .str = "UNREACHABLE x", .len = 13});
}

static void test_absent(void **state)
{
	const redisReply none = error("NOTFOUND nobody");
	struct pul_box *box;

	(void)state;
	box = ask(0, "alice", 2000);
	assert_int_equal(n_asked, 1);
	reply(0, &none);
	one_answer(box, P2P_ANSWER_ABSENT);
	assert_int_equal(n_asked, 1);
	assert_int_equal(shared.lookups, 0);
}

/* The name changed while the search ran: its absence is no news any more. */
static void test_absence_outdated(void **state)
{
	const redisReply none = error("NOTFOUND nobody");
	struct pul_box *box, *late;

	(void)state;
	box = ask(0, "alice", 2000);
	now_ms += 1970;
	late = ask(1, "alice", 2000);
	assert_int_equal(n_asked, 1);
	pul_lookup_outdated(&box->q.name);
	reply(0, &none);
	/* who has no time left does not know; the other one asks again, in what is left */
	one_answer(box, P2P_ANSWER_UNKNOWN);
	assert_int_equal(n_asked, 2);
	assert_non_null(strstr(asked[1].text, "$5\r\nalice\r\n$4\r\n2000\r\n"));
	assert_int_equal(drops, 0);
	assert_int_equal(shared.lookups, 1);
	/* nothing changed since: that counts */
	reply(1, &none);
	one_answer(late, P2P_ANSWER_ABSENT);
	assert_int_equal(n_asked, 2);
	assert_int_equal(drops, 1);
	assert_int_equal(shared.lookups, 0);
}

static void test_gives_up_early(void **state)
{
	const redisReply timeout = error("TIMEOUT nobody to ask");
	struct pul_box *box;

	(void)state;
	box = ask(0, "alice", 2000);
	pul_lookup_outdated(&box->q.name);
	reply(0, &timeout);
	one_answer(box, P2P_ANSWER_UNKNOWN);
	assert_int_equal(n_asked, 1);
	assert_int_equal(shared.lookups, 0);
}

/* Answers that a busy worker does not take at once come in their order, and all of them. */
static void test_full_worker(void **state)
{
	unsigned int i, n = 0, rounds;
	struct pul_box *box;

	(void)state;
	shared.gateway_up = 0;
	for (i = 0; i < BOXES; i++)
		ask(i, "alice", 2000);
	for (rounds = 0; n < BOXES; rounds++) {
		assert_true(rounds < BOXES);
		/* takes a few, then does something else */
		for (i = 0; i < 7 && (box = answered()) != NULL; i++) {
			assert_ptr_equal(box, &boxes[n]);
			assert_int_equal(box->q.code, P2P_ANSWER_UNAVAILABLE);
			n++;
		}
		now_ms += 10;
		pul_lookup_run(NULL, 0);
	}
	assert_true(rounds > BOXES / 8); /* or it was never full */
	assert_null(answered());
	assert_true(pul_lookup_due() > now_ms + 1000);
	/* and the next one is not behind anybody */
	box = ask(0, "bob", 2000);
	one_answer(box, P2P_ANSWER_UNAVAILABLE);
}

static struct pul_box *ask_kind(unsigned int i, enum p2p_question_kind kind, unsigned int ms)
{
	struct pul_box *box = &boxes[i];

	memset(box, 0, sizeof(*box));
	box->q.kind = kind;
	box->q.reply_fd = workers[0];
	box->q.session.b[0] = (uint8_t)i;
	strcpy(box->q.name.s, "alice");
	box->q.name.len = 5;
	box->asked_us = pul_now_us();
	box->deadline_ms = now_ms + ms;
	pul_lookup_questions(box);
	return box;
}

/* The gateway is being started: what is to be known of a peer's request is waited for, but not for
 * long, and nothing else is. */
static void test_back(void **state)
{
	const redisReply none = error("NOTFOUND no such session"),
			 one = {.type = REDIS_REPLY_INTEGER, .integer = 1};
	struct pul_box *session, *serves;

	(void)state;
	shared.gateway_up = 0;
	shared.gateway_seen = 1;
	shared.gateway_changed_ms = now_ms;
	assert_true(pul_back_soon(P2P_QUESTION_SESSION));
	assert_false(pul_back_soon(P2P_QUESTION_ROUTE));
	one_answer(ask(0, "bob", 2000), P2P_ANSWER_UNAVAILABLE);
	session = ask_kind(1, P2P_QUESTION_SESSION, 2000);
	serves = ask_kind(2, P2P_QUESTION_SERVES, 700);
	assert_null(answered());
	assert_true(pul_back_due() == now_ms + 700);
	now_ms += 699;
	pul_back_run(now_ms);
	assert_null(answered());
	/* one has no time any more, the other goes on waiting */
	now_ms += 1;
	pul_back_run(now_ms);
	one_answer(serves, P2P_ANSWER_UNAVAILABLE);
	assert_true(pul_back_due() == now_ms + 800);
	/* it is back: asked in the order in which they came, and the answer is the gateway's */
	serves = ask_kind(3, P2P_QUESTION_SERVES, 700);
	assert_int_equal(n_asked, 0);
	shared.gateway_up = 1;
	pul_back_run(now_ms);
	assert_true(pul_back_due() == UINT64_MAX);
	assert_int_equal(n_asked, 2);
	assert_non_null(strstr(asked[0].text, "SESSION"));
	assert_non_null(strstr(asked[1].text, "SERVES"));
	reply(0, &none);
	one_answer(session, P2P_ANSWER_ABSENT);
	/* lost while it was asked: likewise */
	shared.gateway_up = 0;
	shared.gateway_changed_ms = now_ms;
	reply(1, NULL);
	assert_null(answered());
	shared.gateway_up = 1;
	pul_back_run(now_ms);
	assert_int_equal(n_asked, 3);
	reply(2, &one);
	one_answer(serves, P2P_ANSWER_FOUND);
	/* away for longer: not waited for */
	shared.gateway_up = 0;
	shared.gateway_changed_ms = now_ms;
	session = ask_kind(4, P2P_QUESTION_SESSION, 5000);
	now_ms += 1500;
	pul_back_run(now_ms);
	one_answer(session, P2P_ANSWER_UNAVAILABLE);
	assert_false(pul_back_soon(P2P_QUESTION_SESSION));
	one_answer(ask_kind(5, P2P_QUESTION_SESSION, 2000), P2P_ANSWER_UNAVAILABLE);
	assert_true(pul_back_due() == UINT64_MAX);
}

/* This Kamailio was just started, and its gateway has not answered the handshake yet: whatever is
 * asked waits for that, within its own time. */
static void test_back_at_the_start(void **state)
{
	const redisReply none = error("NOTFOUND nobody");
	struct pul_box *first, *second;

	(void)state;
	shared.gateway_up = 0;
	shared.gateway_seen = 0;
	shared.gateway_changed_ms = now_ms;
	assert_true(pul_back_soon(P2P_QUESTION_ROUTE));
	assert_true(pul_back_soon(P2P_QUESTION_AUTH));
	first = ask(0, "bob", 300);
	second = ask(1, "carol", 2000);
	assert_null(answered());
	now_ms += 300;
	pul_back_run(now_ms);
	one_answer(first, P2P_ANSWER_UNAVAILABLE);
	shared.gateway_up = 1;
	shared.gateway_seen = 1;
	pul_back_run(now_ms);
	assert_int_equal(n_asked, 1);
	assert_non_null(strstr(asked[0].text, "carol"));
	reply(0, &none);
	one_answer(second, P2P_ANSWER_ABSENT);
	/* there is none at all: that is not waited for any longer */
	shared.gateway_up = 0;
	shared.gateway_seen = 0;
	shared.gateway_changed_ms = now_ms;
	first = ask(2, "bob", 2000);
	now_ms += 1500;
	pul_back_run(now_ms);
	one_answer(first, P2P_ANSWER_UNAVAILABLE);
	assert_false(pul_back_soon(P2P_QUESTION_ROUTE));
	one_answer(ask(3, "bob", 2000), P2P_ANSWER_UNAVAILABLE);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Two ask about one user's digest; what the gateway says is theirs, and remembered unless it has
 * changed meanwhile. */
static void test_auth(void **state)
{
	static const char *const text[] = {
		"overlay.example.org",
		"60000",
		"SHA-256",
		"1111111111111111111111111111111111111111111111111111111111111111",
		"MD5",
		"22222222222222222222222222222222",
		"SHA3-512",
		"33",
	};
	const redisReply none = error("NOTFOUND no such user"), denied = error("DENIED not here");
	redisReply e[8], *ep[8], whole = {.type = REDIS_REPLY_ARRAY, .elements = 8};
	struct p2p_question *q;
	unsigned int i;

	(void)state;
	for (i = 0; i < 8; i++) {
		e[i] = bulk(text[i]);
		ep[i] = &e[i];
	}
	whole.element = ep;
	auth_puts = 0;
	for (i = 0; i < 2; i++) {
		memset(&boxes[i], 0, sizeof(boxes[i]));
		boxes[i].q.kind = P2P_QUESTION_AUTH;
		boxes[i].q.reply_fd = workers[0];
		boxes[i].q.name.len = 5;
		strcpy(boxes[i].q.name.s, "alice");
		boxes[i].deadline_ms = now_ms + 1000;
		pul_lookup_questions(&boxes[i]);
	}
	assert_int_equal(n_asked, 1);
	assert_non_null(strstr(asked[0].text, "AUTH\r\n$5\r\nalice\r\n$4\r\n1000"));
	reply(0, &whole);
	for (i = 0; i < 2; i++) {
		q = &answered()->q;
		assert_int_equal(q->code, P2P_ANSWER_FOUND);
		assert_true(q->auth.enrolled);
		assert_string_equal(q->auth.realm, text[0]);
		assert_int_equal(q->auth.digests, P2P_DIGEST_MD5 | P2P_DIGEST_SHA256);
		assert_int_equal(q->auth.ha1[0], 0x22);
		assert_int_equal(q->auth.ha1[P2P_HA1_MD5_LEN], 0x11);
	}
	assert_int_equal(auth_puts, 1);
	assert_int_equal(auth_ttl_ms, 60000);
	/* told of a change meanwhile */
	boxes[0].deadline_ms = now_ms + 1000;
	pul_lookup_questions((boxes[0].next = NULL, &boxes[0]));
	pul_lookup_auth_outdated(NULL);
	reply(1, &whole);
	one_answer(&boxes[0], P2P_ANSWER_FOUND);
	assert_int_equal(auth_puts, 1);
	/* no such user is remembered; one of another peer is not */
	pul_lookup_questions((boxes[0].next = NULL, &boxes[0]));
	reply(2, &none);
	one_answer(&boxes[0], P2P_ANSWER_ABSENT);
	assert_int_equal(auth_puts, 2);
	assert_false(auth_put.enrolled);
	pul_lookup_questions((boxes[0].next = NULL, &boxes[0]));
	reply(3, &denied);
	one_answer(&boxes[0], P2P_ANSWER_DENIED);
	assert_int_equal(auth_puts, 2);
	/* one digest alone is the first */
	whole.elements = 4;
	pul_lookup_questions((boxes[0].next = NULL, &boxes[0]));
	reply(4, &whole);
	one_answer(&boxes[0], P2P_ANSWER_FOUND);
	assert_int_equal(boxes[0].q.auth.digests, P2P_DIGEST_SHA256);
	assert_int_equal(boxes[0].q.auth.ha1[0], 0x11);
	/* rubbish */
	for (i = 0; i < 4; i++) {
		redisReply kept = e[i];

		e[i] = i == 2 ? (redisReply){.type = REDIS_REPLY_NIL} : bulk("\"");
		pul_lookup_questions((boxes[0].next = NULL, &boxes[0]));
		reply(5 + i, &whole);
		one_answer(&boxes[0], P2P_ANSWER_UNKNOWN);
		e[i] = kept;
	}
}

/* --- registrations that wait --- */

static uint64_t number;

static uint64_t number_next(void)
{
	return ++number;
}

static struct pul_box *wait_for(unsigned int i, const char *name, unsigned int ms)
{
	struct pul_box *box = &boxes[i];

	memset(box, 0, sizeof(*box));
	box->q.kind = P2P_QUESTION_CONFIRM;
	box->q.reply_fd = workers[0];
	box->q.name.len = strlen(name);
	strcpy(box->q.name.s, name);
	box->q.deadline_ms = ms;
	box->deadline_ms = now_ms + ms;
	pul_lookup_questions(box);
	return box;
}

static void push(const char *text)
{
	pul_confirm_push(text, strlen(text));
}

static void test_confirm(void **state)
{
	struct pul_conn conn = {.state = PUL_CONN_READY};
	struct p2p_name alice = {.len = 5, .s = "alice"}, name;
	struct pul_box *box, *other;

	(void)state;
	number = 10;
	is_confirmed = in_flight = false;
	progress = PUL_USERS_PENDING;
	pul_confirm_init("abcd", &conn, number_next);
	assert_string_equal(pul_confirm_channel(), "confirms:abcd");
	/* published first, ahead of others */
	box = wait_for(0, "alice", 1000);
	other = wait_for(1, "alice", 500);
	assert_true(pul_confirm_hurry());
	assert_true(pul_confirm_next(&name));
	assert_string_equal(name.s, "alice");
	pul_confirm_told(&alice, PUL_JOB_PUBLISH, 11);
	assert_false(pul_confirm_hurry());
	assert_int_equal(n_asked, 1); /* one for both, for as long as the longer one waits */
	assert_non_null(strstr(asked[0].text, "CONFIRM\r\n$5\r\nalice\r\n$2\r\n11\r\n$4\r\n1000"));
	/* what was told earlier, of others, or makes no sense */
	push("10 alice");
	push("11 bob");
	push("11");
	push(" alice");
	push("11 ");
	push("99999999999999999999999 alice");
	assert_null(answered());
	/* before the answer to PUBLISH was read: waits for that */
	progress = PUL_USERS_TOLD;
	in_flight = true;
	push("11 alice");
	assert_null(answered());
	in_flight = false;
	pul_confirm_taken(&alice);
	assert_int_equal(pul_confirm_waiting(), 0);
	assert_non_null(answered());
	assert_non_null(answered());
	assert_int_equal(box->q.code, P2P_ANSWER_FOUND);
	assert_int_equal(other->q.code, P2P_ANSWER_FOUND);
	/* nothing to wait for */
	one_answer(wait_for(0, "alice", 1000), P2P_ANSWER_FOUND);
	/* told already: asked at once */
	is_confirmed = false;
	box = wait_for(0, "alice", 1000);
	assert_int_equal(n_asked, 2);
	/* changed since it was asked: published and asked again */
	progress = PUL_USERS_PENDING;
	push("10 alice");
	assert_false(pul_confirm_hurry());
	push("11 alice");
	assert_null(answered());
	assert_true(pul_confirm_hurry());
	pul_confirm_told(&alice, PUL_JOB_PUBLISH, 13);
	progress = PUL_USERS_TOLD;
	push("13 alice");
	one_answer(box, P2P_ANSWER_FOUND);
}

static void test_confirm_ends(void **state)
{
	struct pul_conn conn = {.state = PUL_CONN_READY};
	struct p2p_name alice = {.len = 5, .s = "alice"}, name;
	struct pul_box *box;

	(void)state;
	is_confirmed = in_flight = false;
	progress = PUL_USERS_PENDING;
	pul_confirm_init("abcd", &conn, number_next);
	/* deadlines, whatever the order they came in */
	wait_for(0, "alice", 300);
	box = wait_for(1, "bob", 100);
	assert_int_equal(pul_confirm_due(), now_ms + 100);
	now_ms += 100;
	pul_confirm_run(now_ms);
	one_answer(box, P2P_ANSWER_UNKNOWN);
	/* it left, and came again */
	pul_confirm_told(&alice, PUL_JOB_WITHDRAW, 20);
	one_answer(&boxes[0], P2P_ANSWER_UNKNOWN);
	/* refused for a while, and for good */
	box = wait_for(0, "alice", 300);
	assert_true(pul_confirm_next(&name));
	pul_confirm_told(&alice, PUL_JOB_PUBLISH, 21);
	pul_confirm_refused(&alice, true);
	push("21 alice");
	assert_true(pul_confirm_hurry());
	pul_confirm_refused(&alice, false);
	one_answer(box, P2P_ANSWER_DENIED);
	assert_false(pul_confirm_hurry());
	/* no gateway: as long as one may come back */
	shared.gateway_up = 0;
	shared.gateway_changed_ms = now_ms;
	box = wait_for(0, "alice", 300);
	assert_null(answered());
	now_ms += 300;
	pul_confirm_run(now_ms);
	one_answer(box, P2P_ANSWER_UNAVAILABLE);
	now_ms++;
	one_answer(wait_for(0, "alice", 300), P2P_ANSWER_UNAVAILABLE);
	shared.gateway_up = 1;
	/* neither here nor looked for */
	progress = PUL_USERS_ABSENT;
	one_answer(wait_for(0, "alice", 300), P2P_ANSWER_UNKNOWN);
	shared.rescan = 1;
	box = wait_for(0, "alice", 300);
	assert_null(answered());
	/* all again when the gateway is there again; and when it is heard again */
	(void)pul_confirm_next(&name);
	pul_confirm_again();
	assert_true(pul_confirm_hurry());
	progress = PUL_USERS_TOLD;
	n_asked = 0;
	pul_confirm_subscribed();
	assert_int_equal(n_asked, 1);
	assert_int_equal(pul_confirm_waiting(), 1);
	pul_confirm_refused(&alice, false);
	one_answer(box, P2P_ANSWER_DENIED);
	assert_int_equal(pul_confirm_due(), UINT64_MAX);
}

/* The gateway does not read: who waits is asked for when it does again, once for each name. */
static void test_confirm_no_room(void **state)
{
	struct pul_conn conn = {.state = PUL_CONN_READY};
	struct pul_box *box[3];
	unsigned int i;

	(void)state;
	is_confirmed = in_flight = false;
	progress = PUL_USERS_TOLD;
	number = 50;
	pul_confirm_init("abcd", &conn, number_next);
	no_room = true;
	box[0] = wait_for(0, "alice", 1000);
	box[1] = wait_for(1, "bob", 1000);
	box[2] = wait_for(2, "alice", 1000);
	pul_confirm_run(now_ms);
	assert_int_equal(n_asked, 0);
	no_room = false;
	pul_confirm_run(now_ms);
	assert_int_equal(n_asked, 2);
	pul_confirm_run(now_ms);
	assert_int_equal(n_asked, 2);
	push("54 alice");
	push("55 bob");
	assert_int_equal(pul_confirm_waiting(), 0);
	for (i = 0; i < 3; i++)
		assert_non_null(answered());
	assert_int_equal(box[0]->q.code, P2P_ANSWER_FOUND);
	assert_int_equal(box[1]->q.code, P2P_ANSWER_FOUND);
	assert_int_equal(box[2]->q.code, P2P_ANSWER_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_absent),
		T(test_session),
		T(test_absence_outdated),
		T(test_route_session),
		T(test_sessions_told_and_asked),
		T(test_gives_up_early),
		T(test_full_worker),
		T(test_back),
		T(test_back_at_the_start),
		T(test_auth),
		T(test_confirm),
		T(test_confirm_ends),
		T(test_confirm_no_room),
	};

	pul_settings.query_connections = 2;
	if (pul_lookup_init(handshake) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
