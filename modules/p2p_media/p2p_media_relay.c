/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The way to p2psip-relay: one connection per Kamailio process, opened when first needed. It is
 * the one exchange that a SIP worker waits for, so each is bounded by one deadline over everything
 * (connecting, handshake, a second try on a fresh connection), and a circuit breaker that all
 * processes share keeps a hanging relay from costing that deadline again and again:
 *   CLOSED --breaker_failures failures in a row--> OPEN
 *   OPEN --breaker_open_ms over, one process takes the probe--> PROBING
 *   PROBING --answer--> CLOSED;  --failure, or nothing for breaker_open_ms--> OPEN */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "core/atomic_ops.h"
#include "core/dprint.h"
#include "core/mem/mem.h"
#include "core/mem/shm_mem.h"
#include "core/pt.h"
#include "modules/p2p_media/p2p_media.h"

/* Replies to deletions that may be unread: more are read with the next deletion, and when so many
 * are owed the connection is given up. */
#define UNREAD_MAX 32
#define UNREAD_LIMIT 512
#define INSTANCE_HEX 32
#define LOG_INTERVAL_MS 60000

enum { BREAKER_CLOSED = 0, BREAKER_OPEN, BREAKER_PROBING };

/* shm; all fields by atomic operations */
struct shared {
	int breaker;
	int failures;
	uint64_t until_ms;  /* OPEN: when a probe is due; PROBING: when the next one is */
	uint64_t logged_ms; /* when the last refusal was logged */
	char instance[INSTANCE_HEX + 1]; /* of this Kamailio; written before forking */
};

static struct shared *shared;

/* This process' connection. */
static redisContext *conn;
static pid_t conn_pid;
static unsigned int unread; /* replies that nobody waits for */

uint64_t p2p_media_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int p2p_media_relay_init(void)
{
	unsigned char random[INSTANCE_HEX / 2];
	unsigned int i;

	shared = shm_malloc(sizeof(*shared));
	if (shared == NULL) {
		SHM_MEM_ERROR;
		return -1;
	}
	memset(shared, 0, sizeof(*shared));
	if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
		LM_ERR("no random numbers: %s\n", strerror(errno));
		return -1;
	}
	for (i = 0; i < sizeof(random); i++)
		snprintf(shared->instance + 2 * i, 3, "%02x", random[i]);
	return 0;
}

void p2p_media_relay_destroy(void)
{
	p2p_media_relay_close();
	if (shared != NULL)
		shm_free(shared);
	shared = NULL;
}

void p2p_media_relay_close(void)
{
	/* a connection from before a fork is the parent's */
	if (conn != NULL && conn_pid == getpid())
		redisFree(conn);
	conn = NULL;
	unread = 0;
}

/* --- the breaker ---------------------------------------------------------------------------- */

/* May the relay be tried now? */
static bool breaker_allows(void)
{
	int state = __atomic_load_n(&shared->breaker, __ATOMIC_ACQUIRE);
	uint64_t now, until;

	if (state == BREAKER_CLOSED)
		return true;
	now = p2p_media_now_ms();
	until = __atomic_load_n(&shared->until_ms, __ATOMIC_ACQUIRE);
	if (now < until)
		return false;
	/* whoever moves the time on has the probe */
	if (!__atomic_compare_exchange_n(&shared->until_ms, &until,
					 now + (uint64_t)p2p_media_config.breaker_open_ms, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return false;
	__atomic_store_n(&shared->breaker, BREAKER_PROBING, __ATOMIC_RELEASE);
	return true;
}

static void breaker_success(void)
{
	if (__atomic_load_n(&shared->failures, __ATOMIC_RELAXED) != 0)
		__atomic_store_n(&shared->failures, 0, __ATOMIC_RELAXED);
	if (__atomic_load_n(&shared->breaker, __ATOMIC_ACQUIRE) == BREAKER_CLOSED)
		return;
	if (__atomic_exchange_n(&shared->breaker, BREAKER_CLOSED, __ATOMIC_ACQ_REL) !=
	    BREAKER_CLOSED)
		LM_INFO("relay %.*s answers again\n", p2p_media_config.relay_socket.len,
			p2p_media_config.relay_socket.s);
}

static void breaker_failure(const char *why)
{
	int failures = __atomic_add_fetch(&shared->failures, 1, __ATOMIC_RELAXED);
	int state = __atomic_load_n(&shared->breaker, __ATOMIC_ACQUIRE);

	if (state == BREAKER_CLOSED && failures < p2p_media_config.breaker_failures)
		return;
	__atomic_store_n(&shared->until_ms,
			 p2p_media_now_ms() + (uint64_t)p2p_media_config.breaker_open_ms,
			 __ATOMIC_RELEASE);
	if (__atomic_exchange_n(&shared->breaker, BREAKER_OPEN, __ATOMIC_ACQ_REL) != BREAKER_CLOSED)
		return;
	p2p_media_count(P2P_MEDIA_BREAKER_OPENED);
	LM_ERR("relay %.*s: %s; calls that must be anchored are refused until it answers\n",
	       p2p_media_config.relay_socket.len, p2p_media_config.relay_socket.s, why);
}

void p2p_media_relay_state(struct p2p_media_relay_state *st)
{
	static const char *const names[] = {"closed", "open", "probing"};
	uint64_t until = __atomic_load_n(&shared->until_ms, __ATOMIC_ACQUIRE);
	uint64_t now = p2p_media_now_ms();
	int state = __atomic_load_n(&shared->breaker, __ATOMIC_ACQUIRE);

	st->breaker = names[state];
	st->failures = (unsigned int)__atomic_load_n(&shared->failures, __ATOMIC_RELAXED);
	st->open_ms_left = state != BREAKER_CLOSED && until > now ? (unsigned int)(until - now) : 0;
}

void p2p_media_relay_reset(void)
{
	__atomic_store_n(&shared->failures, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&shared->until_ms, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&shared->breaker, BREAKER_CLOSED, __ATOMIC_RELEASE);
}

/* At most one line a minute from all processes, for what a stranger could cause again and again. */
static bool may_log(void)
{
	uint64_t now = p2p_media_now_ms();
	uint64_t last = __atomic_load_n(&shared->logged_ms, __ATOMIC_RELAXED);

	if (last != 0 && now - last < LOG_INTERVAL_MS)
		return false;
	return __atomic_compare_exchange_n(&shared->logged_ms, &last, now, false, __ATOMIC_RELAXED,
					   __ATOMIC_RELAXED);
}

/* --- the connection ------------------------------------------------------------------------- */

/* Waits for the socket. 0, ETIMEDOUT, or errno. */
static int wait_for(short events, uint64_t deadline)
{
	struct pollfd pfd = {.fd = conn->fd, .events = events};
	uint64_t now;
	int n;

	for (;;) {
		now = p2p_media_now_ms();
		/* looked at once in any case: what is there need not be waited for */
		n = poll(&pfd, 1, now < deadline ? (int)(deadline - now) : 0);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return errno;
		if (now >= deadline)
			return ETIMEDOUT;
	}
}

static int write_all(uint64_t deadline)
{
	int done = 0, err;

	for (;;) {
		if (redisBufferWrite(conn, &done) != REDIS_OK)
			return ENOTCONN;
		if (done)
			return 0;
		err = wait_for(POLLOUT, deadline);
		if (err != 0)
			return err;
	}
}

/* The next reply. 0, ENOTCONN, EPROTO, ETIMEDOUT. */
static int read_reply(redisReply **reply, uint64_t deadline)
{
	void *r = NULL;
	int err;

	for (;;) {
		if (redisGetReplyFromReader(conn, &r) != REDIS_OK)
			return EPROTO;
		if (r != NULL) {
			*reply = r;
			return 0;
		}
		err = wait_for(POLLIN, deadline);
		if (err != 0)
			return err;
		if (redisBufferRead(conn) != REDIS_OK)
			return conn->err == REDIS_ERR_PROTOCOL ? EPROTO : ENOTCONN;
	}
}

static int open_connection(void)
{
	const char *argv[] = {"HANDSHAKE", "1", P2P_MEDIA_NAME, shared->instance};

	p2p_media_relay_close();
	conn = redisConnectUnixNonBlock(p2p_media_config.relay_socket.s);
	conn_pid = getpid();
	if (conn == NULL || conn->err != 0) {
		/* EAGAIN here: the relay accepts no connections, its backlog is full */
		p2p_media_relay_close();
		return EHOSTUNREACH;
	}
	/* goes out with the first command: no round trip of its own */
	if (redisAppendCommandArgv(conn, 4, argv, NULL) != REDIS_OK) {
		p2p_media_relay_close();
		return ENOMEM;
	}
	unread = 1;
	return 0;
}

/* A reply that nobody waits for: to a handshake or a deletion. */
static void unread_reply(const redisReply *reply)
{
	if (reply->type == REDIS_REPLY_ERROR && may_log())
		LM_WARN("relay %.*s: %s\n", p2p_media_config.relay_socket.len,
			p2p_media_config.relay_socket.s, reply->str);
}

static int append(int argc, const char **argv, const size_t *argvlen)
{
	return redisAppendCommandArgv(conn, argc, argv, argvlen) == REDIS_OK ? 0 : ENOMEM;
}

/* Send one command over the connection there is, and wait for its reply. */
static int ask_once(int argc, const char **argv, const size_t *argvlen, redisReply **reply,
		    uint64_t deadline)
{
	redisReply *r;
	int err = append(argc, argv, argvlen);

	if (err == 0)
		err = write_all(deadline);
	if (err != 0)
		return err;
	unread++;
	for (;;) {
		err = read_reply(&r, deadline);
		if (err != 0)
			return err;
		if (--unread == 0) {
			*reply = r;
			return 0;
		}
		unread_reply(r);
		freeReplyObject(r);
	}
}

/* Send one command and leave its reply for later. Never waits. */
static int tell_once(int argc, const char **argv, const size_t *argvlen)
{
	redisReply *r;
	int err = append(argc, argv, argvlen);

	if (err == 0)
		err = write_all(0);
	if (err != 0)
		return err;
	unread++;
	/* what has come by now; a relay that does not keep up is not told more */
	while (unread > UNREAD_MAX) {
		err = read_reply(&r, 0);
		if (err != 0)
			return err == ETIMEDOUT && unread < UNREAD_LIMIT ? 0 : err;
		unread--;
		unread_reply(r);
		freeReplyObject(r);
	}
	return 0;
}

static bool connected(void)
{
	return conn != NULL && conn_pid == getpid();
}

static int ask(int argc, const char **argv, const size_t *argvlen, redisReply **reply)
{
	uint64_t deadline = p2p_media_now_ms() + (uint64_t)p2p_media_config.timeout_ms;
	bool fresh;
	int err = 0, tries;

	if (!breaker_allows())
		return EHOSTUNREACH;
	for (tries = 0; tries < 2; tries++) {
		fresh = !connected();
		err = fresh ? open_connection() : 0;
		if (err == 0)
			err = ask_once(argc, argv, argvlen, reply, deadline);
		if (err == 0) {
			breaker_success();
			return 0;
		}
		/* replies that come later must not be taken for others' */
		p2p_media_relay_close();
		/* a relay that was restarted closes connections that it has not seen: all
		 * commands may be repeated */
		if (fresh || err != ENOTCONN)
			break;
	}
	if (err == ENOMEM)
		return err;
	/* be there when it goes on: a Kamailio without any connection is a dead one to it */
	if (err == ETIMEDOUT && open_connection() == 0 && write_all(0) != 0)
		p2p_media_relay_close();
	breaker_failure(err == ETIMEDOUT      ? "no answer in time"
			: err == EHOSTUNREACH ? "cannot connect"
			: err == EPROTO	      ? "its answer cannot be understood"
					      : "it closed the connection");
	return err == ETIMEDOUT ? ETIMEDOUT : EHOSTUNREACH;
}

/* Past the breaker: it costs nothing, and tells nothing of the relay's health either. */
static int tell(int argc, const char **argv, const size_t *argvlen)
{
	bool fresh;
	int err = 0, tries;

	for (tries = 0; tries < 2; tries++) {
		fresh = !connected();
		err = fresh ? open_connection() : 0;
		if (err == 0)
			err = tell_once(argc, argv, argvlen);
		if (err == 0)
			return 0;
		p2p_media_relay_close();
		if (fresh || err != ENOTCONN)
			break;
	}
	return err;
}

/* --- commands ------------------------------------------------------------------------------- */

static int error_code(const redisReply *reply)
{
	static const struct {
		const char *word;
		int err;
	} codes[] = {
		{"UNAVAIL", EHOSTUNREACH}, {"TIMEOUT", ETIMEDOUT}, {"BUSY", EBUSY},
		{"NOTFOUND", ENOENT},	   {"BADARG", EINVAL},
	};
	size_t i, n;

	for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		n = strlen(codes[i].word);
		if (strncmp(reply->str, codes[i].word, n) == 0 &&
		    (reply->str[n] == ' ' || reply->str[n] == '\0'))
			return codes[i].err;
	}
	return EPROTO;
}

/* Collects the arguments of one command. */
struct arguments {
	int n;
	const char *v[24];
	size_t len[24];
};

static void add_len(struct arguments *a, const char *key, const char *s, size_t len)
{
	a->v[a->n] = key;
	a->len[a->n++] = strlen(key);
	a->v[a->n] = s;
	a->len[a->n++] = len;
}

static void add_str(struct arguments *a, const char *key, const char *s)
{
	add_len(a, key, s, strlen(s));
}

static void begin(struct arguments *a, const char *name, uint64_t handle, char text[17],
		  const str *callid)
{
	a->n = 1;
	a->v[0] = name;
	a->len[0] = strlen(name);
	snprintf(text, 17, "%016llx", (unsigned long long)handle);
	add_len(a, "handle", text, 16);
	add_len(a, "callid", callid->s, (size_t)callid->len);
}

int p2p_media_relay_exchange(const struct p2p_media_exchange *x, str *out)
{
	struct arguments a;
	char handle[17];
	redisReply *reply;
	int err;

	begin(&a, x->answer ? "ANSWER" : "OFFER", x->handle, handle, &x->callid);
	add_len(&a, "fromtag", x->offerer_tag.s, (size_t)x->offerer_tag.len);
	if (x->answerer_tag.len > 0)
		add_len(&a, "totag", x->answerer_tag.s, (size_t)x->answerer_tag.len);
	add_str(&a, "from", x->from.overlay ? "ovl" : "ua");
	add_str(&a, "to", x->to.overlay ? "ovl" : "ua");
	if (x->transport != NULL)
		add_str(&a, "transport", x->transport);
	if (x->to.family != 0)
		add_str(&a, "family", x->to.family == 6 ? "ipv6" : "ipv4");
	add_len(&a, "ice", p2p_media_config.ice.s, (size_t)p2p_media_config.ice.len);
	if (p2p_media_config.flags.len > 0)
		add_len(&a, "flags", p2p_media_config.flags.s, (size_t)p2p_media_config.flags.len);
	add_len(&a, "sdp", x->sdp.s, (size_t)x->sdp.len);
	err = ask(a.n, a.v, a.len, &reply);
	if (err != 0)
		return err;
	if (reply->type == REDIS_REPLY_STRING && reply->len > 0 &&
	    (size_t)reply->len <= P2P_MEDIA_SDP_MAX) {
		out->s = pkg_malloc((size_t)reply->len);
		if (out->s == NULL) {
			PKG_MEM_ERROR;
			err = ENOMEM;
		} else {
			out->len = (int)reply->len;
			memcpy(out->s, reply->str, (size_t)reply->len);
		}
	} else if (reply->type == REDIS_REPLY_ERROR) {
		err = error_code(reply);
		if (err == ENOENT)
			LM_DBG("relay, handle %s: %s\n", handle, reply->str);
		else if (may_log())
			LM_WARN("relay refused %s %s (Call-ID %.*s): %s\n", a.v[0], handle,
				x->callid.len, x->callid.s, reply->str);
	} else {
		err = EPROTO;
	}
	freeReplyObject(reply);
	return err;
}

void p2p_media_relay_delete(uint64_t handle, const str *callid)
{
	struct arguments a;
	char text[17];

	begin(&a, "DELETE", handle, text, callid);
	p2p_media_count(P2P_MEDIA_DELETES);
	/* what does not arrive is found by the relay's sweep: its media has stopped */
	if (tell(a.n, a.v, a.len) != 0)
		p2p_media_count(P2P_MEDIA_DELETES_DROPPED);
}
