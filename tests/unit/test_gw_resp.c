/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The gateway's commands through its real sockets. */
#include "tests/unit/test.h"
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <hiredis/read.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "dht-gateway/gateway_metrics.h"
#include "dht-gateway/gateway_resp.h"
#include "dht-gateway/peers/gateway_session.h"
#include "lib/base/bytes.h"
#include "tests/unit/test_gw_fixture.h"

#define URI2 "sip:192.0.2.2:5060;transport=udp"

struct socks {
	struct gw_fixture *f;
	struct gw_resp *resp;
	struct gw_admin *admin;
	unsigned int reloads, stops;
	char level[16];
};

struct conn {
	struct socks *s;
	int fd;
	redisReader *reader;
};

static void on_reload(void *arg)
{
	((struct socks *)arg)->reloads++;
}

static void on_stop(void *arg)
{
	((struct socks *)arg)->stops++;
}

static int on_level(const char *name, void *arg)
{
	enum p2p_log_level level;

	(void)arg;
	return p2p_log_level_parse(&level, name);
}

static int setup(void **state)
{
	struct socks *s = calloc(1, sizeof(*s));
	void *f;
	struct gw_admin_hooks hooks = {
		.reload = on_reload, .stop = on_stop, .log_level = on_level, .arg = s};
	char err[512];

	if (gw_fixture_setup(&f))
		return -1;
	s->f = f;
	if (gw_resp_new(&s->resp, s->f->gw, err, sizeof(err)) ||
	    gw_admin_new(&s->admin, s->f->gw, s->resp, &hooks, err, sizeof(err))) {
		fprintf(stderr, "%s\n", err);
		return -1;
	}
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct socks *s = *state;
	void *f = s->f;

	gw_admin_free(s->admin);
	gw_resp_free(s->resp);
	free(s);
	return gw_fixture_teardown(&f);
}

static struct conn dial(struct socks *s, const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct conn c = {.s = s};

	c.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	assert_int_equal(connect(c.fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	c.reader = redisReaderCreate();
	return c;
}

static void hang_up(struct conn *c)
{
	close(c->fd);
	redisReaderFree(c->reader);
	gw_fixture_run(c->s->f, 5);
}

static void say(struct conn *c, const char *fmt, ...)
{
	va_list ap;
	char *cmd;
	int len;

	va_start(ap, fmt);
	len = redisvFormatCommand(&cmd, fmt, ap);
	va_end(ap);
	assert_true(len > 0);
	assert_int_equal(write(c->fd, cmd, (size_t)len), len);
	redisFreeCommand(cmd);
}

static redisReply *hear(struct conn *c)
{
	void *reply = NULL;

	for (int i = 0; i < 400 && !reply; i++) {
		char buf[65536];
		ssize_t n;

		gw_fixture_run(c->s->f, 5);
		n = read(c->fd, buf, sizeof(buf));
		if (n > 0)
			redisReaderFeed(c->reader, buf, (size_t)n);
		if (!n)
			break;
		assert_int_equal(redisReaderGetReply(c->reader, &reply), REDIS_OK);
	}
	assert_non_null(reply);
	return reply;
}

/* The reply is this status or error, or begins with it. */
static void expect(struct conn *c, const char *text)
{
	redisReply *r = hear(c);

	if (!r->str || strncmp(r->str, text, strlen(text)))
		fail_msg("'%s' instead of '%s'", r->str ? r->str : "(no text)", text);
	freeReplyObject(r);
}

static void expect_int(struct conn *c, long long v)
{
	redisReply *r = hear(c);

	assert_int_equal(r->type, REDIS_REPLY_INTEGER);
	assert_int_equal(r->integer, v);
	freeReplyObject(r);
}

static void shake(struct conn *c, const char *instance)
{
	redisReply *r;

	say(c, "HANDSHAKE 2 test %s", instance);
	r = hear(c);
	assert_int_equal(r->type, REDIS_REPLY_ARRAY);
	assert_int_equal(r->elements, 12);
	assert_string_equal(r->element[4]->str, "hit");
	assert_string_equal(r->element[5]->str, c->s->f->gw->hit_text);
	freeReplyObject(r);
}

static void other_serves(struct socks *s, const char *name)
{
	uint8_t buf[P2P_RECORD_MAX];
	size_t len = gw_fixture_record(s->f, s->f->other, name, URI2, false, 0, 1, buf);

	fake_store_name(s->f, name, p2p_record_value_id(gw_identity_hit(s->f->other)), buf, len);
}

static void test_handshake(void **state)
{
	struct socks *s = *state;
	struct conn c = dial(s, s->f->settings.socket);

	say(&c, "PUBLISH alice 1");
	expect(&c, "NOHANDSHAKE");
	say(&c, "HANDSHAKE 3 test abcd");
	expect(&c, "PROTO");
	say(&c, "HANDSHAKE 2 test");
	expect(&c, "BADARG");
	say(&c, "HANDSHAKE 2 test abcd uri");
	expect(&c, "BADARG");
	say(&c, "HANDSHAKE 2 test abcd uri sip:name@example.org");
	expect(&c, "BADARG");
	say(&c, "PUBLISH alice 1");
	expect(&c, "NOHANDSHAKE");
	say(&c, "PING");
	expect(&c, "PONG");
	shake(&c, "abcd");
	/* again, with an address this time */
	say(&c, "HANDSHAKE 2 test abcd uri %s", URI2);
	freeReplyObject(hear(&c));
	say(&c, "HANDSHAKE 2 test dcba");
	expect(&c, "BADARG");
	say(&c, "NONSENSE");
	expect(&c, "BADARG");
	hang_up(&c);
}

/* HANDSHAKE with `resume`: what the gateway says was resumed, or -1; its run is kept. */
static long long go_on(struct conn *c, char run[17], const char *resume)
{
	long long seq = -1;
	redisReply *r;

	say(c, "HANDSHAKE 2 test abcd resume %s", resume);
	r = hear(c);
	assert_int_equal(r->type, REDIS_REPLY_ARRAY);
	for (size_t i = 0; i + 1 < r->elements; i += 2) {
		if (!strcmp(r->element[i]->str, "run"))
			snprintf(run, 17, "%s", r->element[i + 1]->str);
		else if (!strcmp(r->element[i]->str, "resumed"))
			seq = atoll(r->element[i + 1]->str);
	}
	freeReplyObject(r);
	return seq;
}

/* Who lost its connection goes on; what is not named in a new beginning is an orphan. */
static void test_resume(void **state)
{
	struct socks *s = *state;
	char run[17] = "", again[17];
	struct conn c = dial(s, s->f->settings.socket);

	assert_int_equal(go_on(&c, run, "0"), -1);
	assert_int_equal(strlen(run), 16);
	say(&c, "PUBLISH alice 1");
	expect(&c, "OK");
	say(&c, "PUBLISH bob 5");
	expect(&c, "OK");
	hang_up(&c);
	c = dial(s, s->f->settings.socket);
	assert_int_equal(go_on(&c, again, run), 5);
	assert_string_equal(again, run);
	say(&c, "SYNCED 2");
	expect_int(&c, 0);
	/* of another run, and when it wants to begin anew, here on the same connection */
	assert_int_equal(go_on(&c, again, "0123456789abcdef"), -1);
	assert_int_equal(go_on(&c, again, "0"), -1);
	say(&c, "PUBLISH alice 6");
	expect(&c, "OK");
	say(&c, "SYNCED 1");
	expect_int(&c, 1);
	say(&c, "SERVES bob");
	expect_int(&c, 2);
	/* a further connection, which says nothing of it, begins nothing */
	struct conn d = dial(s, s->f->settings.socket);

	shake(&d, "abcd");
	say(&d, "SYNCED 1");
	expect_int(&d, 1);
	say(&d, "SERVES alice");
	expect_int(&d, 1);
	say(&d, "HANDSHAKE 2 test abcd resume");
	expect(&d, "BADARG");
	hang_up(&c);
	hang_up(&d);
}

static void test_publish(void **state)
{
	struct socks *s = *state;
	struct conn c = dial(s, s->f->settings.socket);

	shake(&c, "abcd");
	say(&c, "SERVES alice");
	expect_int(&c, 0);
	say(&c, "PUBLISH alice 5 0000abcd 00ff0000");
	expect(&c, "OK");
	say(&c, "SERVES alice");
	expect_int(&c, 1);
	say(&c, "PUBLISH alice 4");
	expect(&c, "STALE 5");
	say(&c, "PUBLISH alice x");
	expect(&c, "BADARG");
	say(&c, "PUBLISH alice -1");
	expect(&c, "BADARG");
	say(&c, "PUBLISH alice 6 abc");
	expect(&c, "BADARG");
	say(&c, "PUBLISH alice 6 00000000");
	expect(&c, "BADARG");
	say(&c, "PUBLISH %b 6", "a\0b", (size_t)3);
	expect(&c, "BADARG");
	say(&c, "PUBLISH %s 6", "");
	expect(&c, "BADARG");
	say(&c, "CONFIRM alice 6 0");
	expect(&c, "BADARG");
	say(&c, "CONFIRM alice x 50");
	expect(&c, "BADARG");
	say(&c, "CONFIRM alice 6 50 users");
	expect(&c, "BADARG");
	say(&c, "CONFIRM alice 6 50 confirms:");
	expect(&c, "BADARG");
	say(&c, "SYNCED 1");
	expect_int(&c, 0);
	say(&c, "WITHDRAW alice 3");
	expect(&c, "STALE 5");
	say(&c, "WITHDRAW alice 7");
	expect(&c, "OK");
	say(&c, "WITHDRAW nobody 8");
	expect(&c, "OK");
	say(&c, "SERVES alice");
	expect_int(&c, 0);
	hang_up(&c);
}

/* Another Kamailio comes in the place of the first: what it does not name is an orphan. */
static void test_orphans(void **state)
{
	struct socks *s = *state;
	struct conn a = dial(s, s->f->settings.socket), b;

	shake(&a, "first");
	say(&a, "PUBLISH alice 1");
	expect(&a, "OK");
	say(&a, "PUBLISH bob 2");
	expect(&a, "OK");
	hang_up(&a);
	b = dial(s, s->f->settings.socket);
	shake(&b, "second");
	say(&b, "PUBLISH alice 1");
	expect(&b, "OK");
	say(&b, "SYNCED 1");
	expect_int(&b, 1);
	say(&b, "SERVES bob");
	expect_int(&b, 2);
	say(&b, "SERVES alice");
	expect_int(&b, 1);
	hang_up(&b);
}

static void test_route(void **state)
{
	struct socks *s = *state;
	struct conn c = dial(s, s->f->settings.socket);
	char hit[P2P_HIT_TEXT_MAX];
	redisReply *all, *r;

	shake(&c, "abcd");
	other_serves(s, "alice");
	say(&c, "ROUTE alice 500");
	all = hear(&c);
	assert_int_equal(all->type, REDIS_REPLY_ARRAY);
	assert_int_equal(all->elements, 1);
	r = all->element[0];
	assert_int_equal(r->elements, 7);
	p2p_hit_print(gw_identity_hit(s->f->other), hit);
	assert_string_equal(r->element[0]->str, hit);
	assert_string_equal(r->element[3]->str, "0");
	assert_string_equal(r->element[4]->str, ""); /* a peer without a gateway */
	assert_string_equal(r->element[5]->str, "1");
	assert_string_equal(r->element[6]->str, URI2);
	freeReplyObject(all);
	say(&c, "ROUTE nobody 500");
	expect(&c, "NOTFOUND");
	fake.incomplete = 1000;
	say(&c, "ROUTE nobody 50 fresh");
	expect(&c, "TIMEOUT");
	say(&c, "ROUTE nobody 0");
	expect(&c, "BADARG");
	say(&c, "ROUTE nobody 1000000");
	expect(&c, "BADARG");
	say(&c, "ROUTE nobody 50 stale");
	expect(&c, "BADARG");
	hang_up(&c);
}

/* Answers come in the order of the questions, whatever takes how long. */
static void test_pipeline(void **state)
{
	struct socks *s = *state;
	struct conn c = dial(s, s->f->settings.socket);
	redisReply *r;

	shake(&c, "abcd");
	other_serves(s, "alice");
	say(&c, "ROUTE nobody 500");
	say(&c, "ROUTE alice 500");
	say(&c, "SERVES x");
	expect(&c, "NOTFOUND");
	r = hear(&c);
	assert_int_equal(r->type, REDIS_REPLY_ARRAY);
	freeReplyObject(r);
	expect_int(&c, 0);
	hang_up(&c);
}

/* The client goes while its question is under way. */
static void test_gone(void **state)
{
	struct socks *s = *state;
	struct conn c = dial(s, s->f->settings.socket);

	shake(&c, "abcd");
	fake.get_mute = true;
	say(&c, "ROUTE nobody 100");
	gw_fixture_run(s->f, 10);
	hang_up(&c);
	gw_fixture_run(s->f, 150);
}

static void test_peer(void **state)
{
	struct socks *s = *state;
	struct conn c = dial(s, s->f->settings.socket);
	uint8_t buf[P2P_RECORD_MAX];
	char hit[P2P_HIT_TEXT_MAX];
	redisReply *r;
	size_t len;

	shake(&c, "abcd");
	p2p_hit_print(gw_identity_hit(s->f->other), hit);
	say(&c, "PEER %s 300", hit);
	expect(&c, "NOTFOUND");
	len = gw_fixture_peer_record(s->f, s->f->other, 9, 30000, buf);
	fake_store_peer(s->f, gw_identity_hit(s->f->other),
			p2p_record_value_id(gw_identity_hit(s->f->other)), buf, len);
	say(&c, "PEER %s 300", hit);
	r = hear(&c);
	assert_int_equal(r->type, REDIS_REPLY_ARRAY);
	assert_int_equal(r->elements, 5);
	assert_string_equal(r->element[0]->str, hit);
	assert_string_equal(r->element[1]->str, "9");
	assert_string_equal(r->element[4]->str, URI2);
	freeReplyObject(r);
	say(&c, "PEER 192.0.2.1 300");
	expect(&c, "BADARG");
	say(&c, "PEER 2001:db8::1 300");
	expect(&c, "BADARG");
	hang_up(&c);
}

#define ID "000102030405060708090a0b0c0d0e0f"

/* The other peer opens a session, as its gateway would. */
static void other_opens(struct socks *s)
{
	uint8_t id[P2P_OPP_SESSION_ID_LEN];
	struct p2p_opp_open open = {
		.instance = 1,
		.lifetime_s = 60,
		.offer = {.signalling = {.n = 1, .word = {"udp"}},
			  .family = {.n = 1, .word = {"ipv4"}},
			  .media = {.n = 1, .word = {"srtp-sdes"}},
			  .n_uris = 1,
			  .uri = {URI2}},
	};
	struct p2p_opp_opened opened;
	struct p2p_opp_error error;

	assert_ok(p2p_hex_parse(id, sizeof(id), ID, 32));
	assert_int_equal(gw_session_accept(s->f->gw->sessions, gw_identity_hit(s->f->other), id,
					   &open, &opened, &error),
			 0);
}

static void hear_event(struct conn *c, const char *what)
{
	redisReply *r = hear(c);
	char want[64];

	snprintf(want, sizeof(want), "%s " ID, what);
	assert_int_equal(r->elements, 3);
	assert_string_equal(r->element[1]->str, "sessions");
	assert_string_equal(r->element[2]->str, want);
	freeReplyObject(r);
}

static const char *value_of(const redisReply *pairs, const char *key);

static void test_sessions(void **state)
{
	struct socks *s = *state;
	struct conn c = dial(s, s->f->settings.socket), sub = dial(s, s->f->settings.socket),
		    admin = dial(s, s->f->settings.admin_socket);
	char hit[P2P_HIT_TEXT_MAX];
	redisReply *r;

	shake(&c, "abcd");
	p2p_hit_print(gw_identity_hit(s->f->other), hit);
	say(&sub, "SUBSCRIBE sessions");
	freeReplyObject(hear(&sub));
	say(&c, "SESSION " ID);
	expect(&c, "NOTFOUND");
	say(&c, "USED " ID " 1");
	expect(&c, "NOTFOUND");
	say(&c, "REFUSED " ID);
	expect(&c, "OK");
	other_opens(s);
	hear_event(&sub, "open");
	say(&c, "SESSION " ID);
	r = hear(&c);
	assert_int_equal(r->type, REDIS_REPLY_ARRAY);
	assert_int_equal(r->elements, 12);
	assert_string_equal(r->element[0]->str, ID);
	assert_string_equal(r->element[1]->str, hit);
	assert_string_equal(r->element[2]->str, "responder");
	assert_in_range(atoi(r->element[3]->str), 59000, 60000);
	assert_int_equal(r->element[4]->len, 64);
	assert_int_equal(r->element[5]->len, 64);
	assert_string_not_equal(r->element[4]->str, r->element[5]->str);
	assert_string_equal(r->element[6]->str, "udp");
	assert_string_equal(r->element[7]->str, "4");
	assert_string_equal(r->element[8]->str, "srtp-sdes");
	assert_string_equal(r->element[9]->str, URI2);
	assert_string_equal(r->element[10]->str, "");
	assert_string_equal(r->element[11]->str, "0");
	freeReplyObject(r);
	/* the same for whoever asks for one with that peer, and ROUTE */
	say(&c, "PEERSESSION %s 300", hit);
	r = hear(&c);
	assert_int_equal(r->type, REDIS_REPLY_ARRAY);
	assert_string_equal(r->element[0]->str, ID);
	freeReplyObject(r);
	other_serves(s, "bob");
	say(&c, "ROUTE bob 500");
	r = hear(&c);
	assert_int_equal(r->element[0]->element[4]->type, REDIS_REPLY_ARRAY);
	assert_string_equal(r->element[0]->element[4]->element[0]->str, ID);
	freeReplyObject(r);
	say(&c, "USED " ID " 2");
	expect(&c, "OK");
	say(&admin, "SESSIONS");
	r = hear(&admin);
	assert_int_equal(r->element[1]->elements, 1);
	assert_string_equal(value_of(r->element[1]->element[0], "id"), ID);
	assert_string_equal(value_of(r->element[1]->element[0], "peer"), hit);
	assert_string_equal(value_of(r->element[1]->element[0], "state"), "open");
	assert_string_equal(value_of(r->element[1]->element[0], "calls"), "2");
	assert_string_equal(value_of(r->element[1]->element[0], "media"), "srtp-sdes");
	assert_string_equal(value_of(r->element[1]->element[0], "family"), "ipv4");
	freeReplyObject(r);
	say(&c, "REFUSED " ID);
	expect(&c, "OK");
	hear_event(&sub, "close");
	say(&c, "SESSION " ID);
	expect(&c, "NOTFOUND");
	/* nobody who could be asked for another */
	say(&c, "PEERSESSION %s 300", hit);
	expect(&c, "NOTFOUND");
	/* arguments */
	say(&c, "SESSION 00");
	expect(&c, "BADARG");
	say(&c, "SESSION 000102030405060708090A0B0C0D0E0F");
	expect(&c, "BADARG");
	say(&c, "USED " ID " x");
	expect(&c, "BADARG");
	say(&c, "USED " ID " 10000001");
	expect(&c, "BADARG");
	say(&c, "REFUSED x");
	expect(&c, "BADARG");
	say(&c, "PEERSESSION 192.0.2.1 300");
	expect(&c, "BADARG");
	say(&c, "PEERSESSION %s 0", hit);
	expect(&c, "BADARG");
	hang_up(&sub);
	hang_up(&admin);
	hang_up(&c);
}

static void test_events(void **state)
{
	struct socks *s = *state;
	struct conn c = dial(s, s->f->settings.socket), sub = dial(s, s->f->settings.socket);
	uint8_t buf[P2P_RECORD_MAX];
	redisReply *r;
	size_t len;

	shake(&c, "abcd");
	say(&sub, "SUBSCRIBE users peers");
	freeReplyObject(hear(&sub));
	freeReplyObject(hear(&sub));
	say(&c, "PUBLISH alice 1");
	expect(&c, "OK");
	gw_fixture_run(s->f, 30);
	len = gw_fixture_record(s->f, s->f->other, "alice", URI2, false, 0, 1, buf);
	fake_ring_name(s->f, "alice", buf, len);
	r = hear(&sub);
	assert_int_equal(r->elements, 3);
	assert_string_equal(r->element[0]->str, "message");
	assert_string_equal(r->element[1]->str, "users");
	assert_string_equal(r->element[2]->str, "alice");
	freeReplyObject(r);
	hang_up(&sub);
	hang_up(&c);
}

/* The n-th entry of a list as pairs: the value of key. */
static const char *value_of(const redisReply *pairs, const char *key)
{
	for (size_t i = 0; i + 1 < pairs->elements; i += 2)
		if (!strcmp(pairs->element[i]->str, key))
			return pairs->element[i + 1]->str;
	fail_msg("no %s", key);
	return NULL;
}

static void test_admin(void **state)
{
	struct socks *s = *state;
	struct conn c = dial(s, s->f->settings.socket), a = dial(s, s->f->settings.admin_socket);
	struct stat st;
	redisReply *r;

	assert_ok(stat(s->f->settings.admin_socket, &st));
	assert_int_equal(st.st_mode & 0777, 0600);
	shake(&c, "abcd");
	for (int i = 0; i < 25; i++) {
		say(&c, "PUBLISH user%d %d 0000abcd", i, i + 1);
		expect(&c, "OK");
	}
	other_serves(s, "alice");
	say(&c, "ROUTE alice 500");
	freeReplyObject(hear(&c));

	say(&a, "STATUS");
	r = hear(&a);
	assert_string_equal(value_of(r, "hit"), s->f->gw->hit_text);
	assert_string_equal(value_of(r, "users_claimed"), "25");
	assert_string_equal(value_of(r, "dht_state"), "connected");
	freeReplyObject(r);

	say(&a, "USERS 0 10");
	r = hear(&a);
	assert_int_equal(r->elements, 2);
	assert_string_not_equal(r->element[0]->str, "0");
	assert_true(r->element[1]->elements <= 12);
	assert_string_equal(value_of(r->element[1]->element[0], "desired"), "claimed");
	assert_string_equal(value_of(r->element[1]->element[0], "instances"), "0000abcd");
	freeReplyObject(r);
	say(&a, "USERS 0 0");
	expect(&a, "BADARG");
	say(&a, "USERS x");
	expect(&a, "BADARG");

	say(&a, "RECORDS");
	r = hear(&a);
	assert_true(r->element[1]->elements >= 1);
	freeReplyObject(r);
	say(&a, "PEERS");
	r = hear(&a);
	assert_int_equal(r->element[1]->elements, 1);
	assert_string_equal(value_of(r->element[1]->element[0], "state"), "unknown");
	freeReplyObject(r);
	say(&a, "LOOKUP alice");
	r = hear(&a);
	assert_string_equal(value_of(r->element[0], "uris"), URI2);
	freeReplyObject(r);
	say(&a, "LOOKUP nobody");
	expect(&a, "NOTFOUND");
	say(&a, "METRICS");
	expect(&a, "# HELP p2psip_gateway_routes_total");
	say(&a, "INFO");
	expect(&a, "# Server");
	say(&a, "RELOAD");
	expect(&a, "OK");
	assert_int_equal(s->reloads, 1);
	say(&a, "LOGLEVEL");
	expect(&a, "dbg");
	say(&a, "LOGLEVEL warn");
	expect(&a, "OK");
	say(&a, "LOGLEVEL loud");
	expect(&a, "BADARG");
	say(&a, "PUBLISH alice 1");
	expect(&a, "BADARG");
	say(&a, "SHUTDOWN");
	expect(&a, "OK");
	assert_int_equal(s->stops, 1);
	/* the modules' socket knows none of these */
	say(&c, "SHUTDOWN");
	expect(&c, "BADARG");
	assert_int_equal(s->stops, 1);
	hang_up(&a);
	hang_up(&c);
}

static void test_metrics_table(void **state)
{
	char err[256];

	(void)state;
	if (metrics_check(gw_metrics_table, err, sizeof(err)))
		fail_msg("%s", err);
}

/* Whatever comes, the gateway stays. */
static void test_garbage(void **state)
{
	static const char *const junk[] = {
		"GET / HTTP/1.1\r\n\r\n", "*-1\r\n",
		"*1000000\r\n",		  "*1\r\n$100000\r\n",
		"*1\r\n$-5\r\n",	  "*2\r\n$4\r\nPING\r\n:1\r\n",
		"\r\n\r\n\0\0\0",	  "*1\r\n*1\r\n*1\r\n",
	};
	struct socks *s = *state;
	struct conn c;

	for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
		c = dial(s, s->f->settings.socket);
		assert_true(write(c.fd, junk[i], strlen(junk[i])) > 0);
		gw_fixture_run(s->f, 5);
		hang_up(&c);
	}
	c = dial(s, s->f->settings.socket);
	shake(&c, "abcd");
	hang_up(&c);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_handshake),
		T(test_resume),
		T(test_publish),
		T(test_orphans),
		T(test_route),
		T(test_pipeline),
		T(test_gone),
		T(test_peer),
		T(test_sessions),
		T(test_events),
		T(test_admin),
		T(test_garbage),
		cmocka_unit_test(test_metrics_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
