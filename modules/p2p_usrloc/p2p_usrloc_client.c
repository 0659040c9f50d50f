/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: the client process, which alone talks to the gateway. One poll loop with deadlines
 * of its own; nothing in it blocks.
 *
 * Three kinds of connection: `main` publishes and is what "connected" means; `sub` is told of
 * changes; a pool asks (_lookup.c).
 *
 *	away --main's handshake--> connected: publish all users, or those that it does not have
 *	(_sync.c) --all told--> SYNCED --> in step
 *	connected --main lost or silent--> away: questions are answered UNAVAILABLE at once */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "core/cfg/cfg_struct.h"
#include "core/dprint.h"
#include "core/mem/mem.h"
#include "core/pt.h"
#include "lib/base/bytes.h"
#include "lib/proto/resp.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_back.h"
#include "modules/p2p_usrloc/p2p_usrloc_confirm.h"
#include "modules/p2p_usrloc/p2p_usrloc_conn.h"
#include "modules/p2p_usrloc/p2p_usrloc_lookup.h"
#include "modules/p2p_usrloc/p2p_usrloc_sync.h"

#define SCAN_PARTS 64
/* Pause before a scan that could not be finished, or another one, is tried. */
#define SCAN_AGAIN_MS 1000
/* How often to look whether Kamailio has started (and loaded its database) */
#define START_POLL_MS 50
#define BACKOFF_MIN_MS 50
/* A connection that lived for this long was a good one: the next back-off starts small. */
#define GOOD_MS 5000
/* Publishing pauses when the gateway says BUSY, or that it cannot now. */
#define HOLD_BUSY_MS 100
#define HOLD_ERROR_MS 1000
#define SWEEP_MS 60000
#define SESSIONS_SWEEP_MS 10000
/* How often the gateway is told of calls over sessions. */
#define REPORT_MS 2000
/* Channels that are subscribed: users, peers, sessions, auth, moves, and one of our own. */
#define SUBSCRIPTIONS 6
/* Lines a minute about the gateway's coming and going */
#define CHANGES_LOGGED 8

struct sent {
	struct sent *next; /* of those not in use */
	struct p2p_name name;
	enum pul_job_kind kind;
	uint64_t seq;
};

enum scan_state { SCAN_NONE, SCAN_RUNS };

/* pkg; before forking */
static char uris[P2P_CANDIDATE_URIS_MAX][P2P_CANDIDATE_URI_MAX];
static unsigned int n_uris;

/* the client process' own */
static struct pul_conn main_conn, sub_conn;
static char instance[33]; /* of this Kamailio run, hex */
static uint64_t seq;	  /* of PUBLISH and WITHDRAW */
static struct pul_cursor cursor;
static bool synced;	    /* SYNCED was sent since the handshake */
static struct sent *window; /* publish_window of them */
static struct sent *window_free;
static unsigned int in_window; /* PUBLISH and WITHDRAW not answered yet */
static bool window_full;
static uint64_t hold_until_ms;
static uint64_t soon_ms; /* when to look for work; UINT64_MAX: nobody said there is some */
static bool lost_told;	 /* the loss of the gateway has been logged */
static bool ever_connected;

/* of the main and of the sub connection */
struct backoff {
	uint64_t next_ms; /* not before */
	uint64_t up_ms;	  /* when the connection came */
	unsigned int wait_ms;
};
static struct backoff main_backoff, sub_backoff;

static struct {
	enum scan_state state;
	unsigned int part, gen;
	bool done_once;
	uint64_t next_ms;
} scan;
static uint64_t next_sweep_ms, next_sessions_ms;
static uint64_t next_report_ms;
static bool name_all_due;	   /* all users are to be named anew */
static bool naming_asked;	   /* by a handshake that is under way */
static unsigned int subscriptions; /* of SUBSCRIPTIONS, that were answered */

int pul_client_advertise(const str *uri)
{
	int i;

	if (uri == NULL || uri->s == NULL || uri->len <= 0 || uri->len >= P2P_CANDIDATE_URI_MAX ||
	    n_uris == P2P_CANDIDATE_URIS_MAX)
		return -1;
	for (i = 0; i < uri->len; i++) {
		if ((unsigned char)uri->s[i] <= ' ' || (unsigned char)uri->s[i] >= 0x7f)
			return -1;
	}
	memcpy(uris[n_uris], uri->s, uri->len);
	uris[n_uris][uri->len] = '\0';
	n_uris++;
	return 0;
}

int pul_client_init(void)
{
	uint8_t random_bytes[16];

	if (getrandom(random_bytes, sizeof(random_bytes), 0) != sizeof(random_bytes)) {
		LM_ERR("no random bytes: %s\n", strerror(errno));
		return EIO;
	}
	p2p_hex_print(instance, random_bytes, sizeof(random_bytes));
	return 0;
}

/* --- coming and going of the gateway --- */

static void backoff_next(struct backoff *b, uint64_t now_ms)
{
	unsigned int max = (unsigned int)pul_settings.reconnect_max_ms;

	if (b->up_ms != 0 && now_ms - b->up_ms >= GOOD_MS)
		b->wait_ms = 0;
	b->up_ms = 0;
	b->wait_ms = b->wait_ms == 0 ? BACKOFF_MIN_MS : b->wait_ms * 2;
	if (b->wait_ms > max)
		b->wait_ms = max;
	/* from three quarters to the whole of it, so that many peers' do not beat together */
	b->next_ms = now_ms + b->wait_ms - (unsigned int)random() % (b->wait_ms / 4 + 1);
}

static void info_error(const char *why)
{
	lock_get(&pul_shared->info_lock);
	strncpy(pul_shared->info.error, why, sizeof(pul_shared->info.error) - 1);
	pul_shared->info.synced_ms = 0;
	lock_release(&pul_shared->info_lock);
}

/* Comings and goings are logged, but not those of a gateway that does nothing else. */
static bool change_log_ok(uint64_t now_ms)
{
	static uint64_t minute_ms;
	static unsigned int n;

	if (now_ms - minute_ms >= 60000) {
		minute_ms = now_ms;
		n = 0;
	}
	n++;
	if (n == CHANGES_LOGGED)
		LM_WARN("the gateway comes and goes: no more about it for a minute\n");
	return n < CHANGES_LOGGED;
}

static void gateway_lost(const char *why)
{
	uint64_t now = pul_now_ms();

	backoff_next(&main_backoff, now);
	if (atomic_load(&pul_shared->gateway_up)) {
		/* when, before whether: who sees it gone must not take an old time for it */
		atomic_store(&pul_shared->gateway_changed_ms, now);
		atomic_store(&pul_shared->gateway_up, 0);
		pul_count(PUL_CNT_DISCONNECTS);
		lost_told = false;
	}
	if (!lost_told && ever_connected && change_log_ok(now))
		LM_ERR("the gateway at %s is gone: %s; trying again until it is back\n",
		       pul_settings.gateway_socket, why);
	else if (!lost_told && !ever_connected)
		LM_WARN("no gateway at %s yet: %s; trying again until there is one\n",
			pul_settings.gateway_socket, why);
	lost_told = true;
	info_error(why);
	in_window = 0;
	window_full = naming_asked = false;
	atomic_store(&pul_shared->publishing, 0);
	pul_conn_doom(&sub_conn, "gateway lost");
	if (pul_conn_reap(&sub_conn))
		backoff_next(&sub_backoff, now);
	pul_lookup_gateway_lost();
}

/* What is on the work lists is told, then SYNCED. */
static void sync_begin(void)
{
	pul_confirm_again();
	pul_sessions_recheck_all();
	cursor.left = pul_users_buckets();
	synced = false;
	hold_until_ms = 0;
	soon_ms = 0;
	lock_get(&pul_shared->info_lock);
	pul_shared->info.synced_ms = 0;
	lock_release(&pul_shared->info_lock);
}

static void sync_all(void)
{
	pul_count(PUL_CNT_SYNCS_ALL);
	pul_users_mark_all();
	sync_begin();
}

static unsigned int withdrawals_left(void)
{
	return atomic_load(&pul_shared->withdrawals_left);
}

/* --- the overlay's rules --- */

static void rules_h(struct pul_conn *conn, const redisReply *r, void *arg)
{
	struct pul_rules rules = {.known = false};

	(void)conn;
	(void)arg;
	if (r == NULL)
		return;
	/* NOTFOUND: none are known, or there is no authority; a gateway of old knows no such
	 * command */
	if (r->type != REDIS_REPLY_ERROR && !pul_answer_rules(&rules, r)) {
		pul_count(PUL_CNT_PROTOCOL_ERRORS);
		if (pul_log_ok("rules", 5))
			LM_WARN("the gateway's answer to RULES makes no sense\n");
		return;
	}
	lock_get(&pul_shared->info_lock);
	pul_shared->rules = rules;
	lock_release(&pul_shared->info_lock);
}

static void rules_ask(void)
{
	static const char rules[] = "*1\r\n$5\r\nRULES\r\n";

	pul_conn_send(&main_conn, rules, sizeof(rules) - 1,
		      pul_now_ms() + (uint64_t)pul_settings.gateway_timeout_ms, rules_h, NULL);
}

static void shaken(const struct pul_gateway_info *info, enum pul_sync_how how)
{
	uint64_t now = pul_now_ms();
	bool other;

	main_conn.state = PUL_CONN_READY;
	main_backoff.up_ms = now;
	sub_backoff.next_ms = now;
	lock_get(&pul_shared->info_lock);
	other = pul_shared->info.known && p2p_hit_cmp(&pul_shared->info.hit, &info->hit) != 0;
	pul_shared->info = *info;
	lock_release(&pul_shared->info_lock);
	if (other)
		pul_users_unconfirm_all();
	atomic_store(&pul_shared->gateway_changed_ms, now);
	atomic_store(&pul_shared->gateway_up, 1);
	pul_count(PUL_CNT_CONNECTS);
	lost_told = false;
	ever_connected = true;
	if (change_log_ok(now))
		LM_INFO("connected to the gateway at %s: %s %s, overlay %s, epoch %s%s\n",
			pul_settings.gateway_socket, info->server, info->version, info->overlay,
			info->epoch,
			how == PUL_SYNC_REST ? "; it has what it was told before" : "");
	rules_ask();
}

static void main_handshake_h(struct pul_conn *conn, const redisReply *r, void *arg)
{
	struct pul_gateway_info info;
	enum pul_sync_how how;

	(void)arg;
	if (r == NULL)
		return;
	if (r->type == REDIS_REPLY_ERROR) {
		pul_sync_refused();
		pul_conn_doom(conn, "handshake refused: %.*s", (int)r->len, r->str);
		return;
	}
	if (!pul_answer_handshake(&info, r)) {
		pul_count(PUL_CNT_PROTOCOL_ERRORS);
		pul_conn_doom(conn, "the answer to the handshake makes no sense");
		return;
	}
	how = pul_sync_shaken(&info, withdrawals_left(), pul_now_ms());
	if (conn->state != PUL_CONN_READY)
		shaken(&info, how);
	naming_asked = false;
	switch (how) {
	case PUL_SYNC_ALL:
		sync_all();
		break;
	case PUL_SYNC_REST:
		pul_count(PUL_CNT_SYNCS_REST);
		sync_begin();
		break;
	case PUL_SYNC_AGAIN:
		name_all_due = true;
		soon_ms = 0;
		break;
	}
}

/* resume: pul_sync_offer(), or NULL. */
static int shake(struct pul_conn *conn, uint64_t deadline_ms, const char *resume, pul_reply_h *h)
{
	uint8_t command[PUL_COMMAND_MAX];
	struct p2p_writer w;
	unsigned int i;

	p2p_writer_init(&w, command, sizeof(command));
	p2p_resp_array(&w, 4 + 2 * n_uris + (resume != NULL ? 2 : 0));
	p2p_resp_str(&w, "HANDSHAKE");
	p2p_resp_u64(&w, P2P_RESP_VERSION);
	p2p_resp_str(&w, "p2p_usrloc");
	p2p_resp_str(&w, instance);
	for (i = 0; i < n_uris; i++) {
		p2p_resp_str(&w, "uri");
		p2p_resp_str(&w, uris[i]);
	}
	if (resume != NULL) {
		p2p_resp_str(&w, "resume");
		p2p_resp_str(&w, resume);
	}
	return pul_conn_send(conn, command, w.len, deadline_ms, h, NULL);
}

static int handshake_send(struct pul_conn *conn, uint64_t deadline_ms, pul_reply_h *h)
{
	return shake(conn, deadline_ms, NULL, h);
}

static int main_handshake_send(void)
{
	return shake(&main_conn, pul_now_ms() + (uint64_t)pul_settings.gateway_timeout_ms,
		     pul_sync_offer(withdrawals_left()), main_handshake_h);
}

/* All users anew, over the connection that there is; when there is no room, later. */
static void name_all(void)
{
	pul_sync_forget();
	if (pul_sync_offer(withdrawals_left()) == NULL) {
		pul_sync_named(withdrawals_left(), pul_now_ms());
		sync_all();
		name_all_due = false;
	} else if (main_handshake_send() == 0) {
		naming_asked = true;
		name_all_due = false;
	}
}

static void ping_h(struct pul_conn *conn, const redisReply *r, void *arg)
{
	(void)arg;
	if (r != NULL && r->type == REDIS_REPLY_ERROR)
		pul_conn_doom(conn, "PING: %.*s", (int)r->len, r->str);
}

static void main_run(uint64_t now)
{
	const uint64_t timeout = (uint64_t)pul_settings.gateway_timeout_ms;
	static const char ping[] = "*1\r\n$4\r\nPING\r\n";
	int err;

	if (main_conn.state == PUL_CONN_CLOSED) {
		if (now < main_backoff.next_ms)
			return;
		err = pul_conn_open(&main_conn, pul_settings.gateway_socket);
		if (err == 0)
			err = main_handshake_send();
		if (err != 0 && main_conn.state == PUL_CONN_CLOSED)
			gateway_lost(strerror(err));
		else if (err != 0)
			pul_conn_doom(&main_conn, "%s", strerror(err));
		return;
	}
	if (now > pul_conn_due(&main_conn))
		pul_conn_doom(&main_conn, "no answer within %d ms",
			      pul_settings.gateway_timeout_ms);
	else if (main_conn.owed == 0 && now >= main_conn.used_ms + timeout)
		pul_conn_send(&main_conn, ping, sizeof(ping) - 1, now + timeout, ping_h, NULL);
}

/* --- publishing --- */

static void sent_free(struct sent *sent)
{
	sent->next = window_free;
	window_free = sent;
}

static void published_h(struct pul_conn *conn, const redisReply *r, void *arg)
{
	struct sent *sent = arg;
	uint64_t now, newer;
	const char *p;
	bool retry = true;

	if (in_window > 0)
		in_window--;
	atomic_store(&pul_shared->publishing, (int)in_window);
	if (r == NULL || r->type != REDIS_REPLY_ERROR) {
		/* lost: told again after the next handshake */
		pul_users_done(&sent->name, sent->kind, r != NULL, r == NULL);
		if (r != NULL) {
			pul_sync_taken(sent->seq);
			pul_confirm_taken(&sent->name);
		}
		/* the gateway told of others because the name was ours; now it has to be asked */
		if (sent->kind == PUL_JOB_WITHDRAW)
			pul_cache_drop(pul_routes, sent->name.s, sent->name.len, NULL);
		sent_free(sent);
		return;
	}
	pul_count(PUL_CNT_PUBLISH_ERRORS);
	now = pul_now_ms();
	switch (p2p_resp_code(r->str, r->len)) {
	case P2P_RESP_STALE:
		/* "STALE n": go on above n */
		p = memchr(r->str, ' ', r->len);
		if (p != NULL && p2p_u64_parse(&newer, p + 1, strcspn(p + 1, " ")) == 0 &&
		    newer > seq)
			seq = newer;
		break;
	case P2P_RESP_BUSY:
		hold_until_ms = now + HOLD_BUSY_MS;
		break;
	case P2P_RESP_BADARG:
	case P2P_RESP_DENIED:
		retry = false;
		break;
	case P2P_RESP_NOHANDSHAKE:
	case P2P_RESP_PROTO:
		pul_conn_doom(conn, "%.*s", (int)r->len, r->str);
		break;
	default:
		hold_until_ms = now + HOLD_ERROR_MS;
		break;
	}
	if (pul_log_ok("publish", 7))
		LM_WARN("the gateway did not take [%s]: %.*s; %s\n", sent->name.s, (int)r->len,
			r->str, retry ? "trying again" : "given up");
	pul_users_done(&sent->name, sent->kind, false, retry);
	pul_confirm_refused(&sent->name, retry);
	sent_free(sent);
}

/* False: it could not be sent, and is to be done again. */
static bool job_send(const struct pul_job *job)
{
	uint8_t command[PUL_COMMAND_MAX];
	struct p2p_writer w;
	struct sent *sent;
	unsigned int i;

	sent = window_free; /* there is one: in_window is below publish_window */
	window_free = sent->next;
	sent->name.len = job->name.len;
	memcpy(sent->name.s, job->name.s, job->name.len + 1);
	sent->kind = job->kind;
	sent->seq = ++seq;
	p2p_writer_init(&w, command, sizeof(command));
	if (job->kind == PUL_JOB_PUBLISH) {
		p2p_resp_array(&w, 3 + job->n_instances);
		p2p_resp_str(&w, "PUBLISH");
	} else {
		p2p_resp_array(&w, 3);
		p2p_resp_str(&w, "WITHDRAW");
	}
	p2p_resp_bulk(&w, job->name.s, job->name.len);
	p2p_resp_u64(&w, sent->seq);
	for (i = 0; job->kind == PUL_JOB_PUBLISH && i < job->n_instances; i++)
		p2p_resp_hex32(&w, job->instance[i]);
	/* the first of a full window waits for all before it; they are all local and quick */
	if (pul_conn_send(&main_conn, command, w.len,
			  pul_now_ms() + (uint64_t)pul_settings.gateway_timeout_ms, published_h,
			  sent) != 0) {
		sent_free(sent);
		return false;
	}
	pul_count(job->kind == PUL_JOB_PUBLISH ? PUL_CNT_PUBLISH : PUL_CNT_WITHDRAW);
	in_window++;
	pul_confirm_told(&job->name, job->kind, seq);
	return true;
}

static void synced_h(struct pul_conn *conn, const redisReply *r, void *arg)
{
	(void)conn;
	(void)arg;
	if (r == NULL)
		return;
	lock_get(&pul_shared->info_lock);
	pul_shared->info.synced_ms = pul_now_ms();
	pul_shared->info.orphans = r->type == REDIS_REPLY_INTEGER ? r->integer : -1;
	lock_release(&pul_shared->info_lock);
	if (r->type == REDIS_REPLY_INTEGER && r->integer > 0)
		LM_INFO("the gateway has %lld users of an earlier run of this server, whose phones "
			"have not registered again\n",
			r->integer);
}

static void synced_send(void)
{
	uint8_t command[64];
	struct p2p_writer w;

	p2p_writer_init(&w, command, sizeof(command));
	p2p_resp_array(&w, 2);
	p2p_resp_str(&w, "SYNCED");
	p2p_resp_u64(&w, (uint64_t)atomic_load(&pul_shared->users));
	synced = pul_conn_send(&main_conn, command, w.len,
			       pul_now_ms() + (uint64_t)pul_settings.gateway_timeout_ms, synced_h,
			       NULL) == 0;
}

static uint64_t seq_next(void)
{
	return ++seq;
}

/* Those for whom a registration waits come first: not behind all users when the gateway has come
 * back. */
static bool job_next(struct pul_job *job)
{
	struct p2p_name name;

	while (pul_confirm_next(&name))
		if (pul_users_take_name(&name, job))
			return true;
	return pul_users_take(&cursor, job);
}

static bool rename_due(uint64_t now)
{
	return synced && !naming_asked &&
	       pul_sync_rename_due(withdrawals_left(),
				   (unsigned int)atomic_load(&pul_shared->withdrawn), now);
}

static void publish_run(uint64_t now)
{
	struct pul_job job;
	bool more = true;

	if (main_conn.state != PUL_CONN_READY || main_conn.doomed || now < hold_until_ms)
		return;
	if (name_all_due || rename_due(now))
		name_all();
	while (in_window < (unsigned int)pul_settings.publish_window) {
		more = job_next(&job);
		if (!more)
			break;
		/* when there is no room for it, the next call to that user asks */
		if (job.ask)
			pul_lookup_name(&job.name);
		if (job.kind != PUL_JOB_NONE && !job_send(&job)) {
			pul_users_done(&job.name, job.kind, false, true);
			hold_until_ms = now + HOLD_BUSY_MS;
			break;
		}
	}
	window_full = in_window >= (unsigned int)pul_settings.publish_window;
	atomic_store(&pul_shared->publishing, (int)in_window);
	/* once round, or nothing left: all that was there at the handshake has been told */
	if (!synced && scan.done_once && (!more || cursor.left == 0))
		synced_send();
}

/* --- calls over sessions --- */

static void used_h(struct pul_conn *conn, const redisReply *r, void *arg)
{
	struct p2p_session_id *id = arg;

	(void)conn;
	if (r != NULL && r->type == REDIS_REPLY_ERROR) {
		if (p2p_resp_code(r->str, r->len) == P2P_RESP_NOTFOUND)
			pul_sessions_close(id);
		else if (pul_log_ok("used", 4))
			LM_WARN("the gateway says to USED: %.*s\n", (int)r->len, r->str);
	}
	pkg_free(id);
}

/* False: it could not be sent. */
static bool used_send(const struct p2p_session_id *id, uint32_t calls, uint64_t now)
{
	char text[P2P_SESSION_ID_TEXT_MAX];
	struct p2p_session_id *kept = pkg_malloc(sizeof(*kept));
	uint8_t command[96];
	struct p2p_writer w;

	if (kept == NULL) {
		PKG_MEM_ERROR;
		return false;
	}
	*kept = *id;
	p2p_session_id_print(id, text);
	p2p_writer_init(&w, command, sizeof(command));
	p2p_resp_array(&w, 3);
	p2p_resp_str(&w, "USED");
	p2p_resp_str(&w, text);
	p2p_resp_u64(&w, calls);
	if (pul_conn_send(&main_conn, command, w.len,
			  now + (uint64_t)pul_settings.gateway_timeout_ms, used_h, kept) == 0)
		return true;
	pkg_free(kept);
	return false;
}

static void report_run(uint64_t now)
{
	struct p2p_session_id id;
	unsigned int at = 0;
	uint32_t calls;

	if (now < next_report_ms || main_conn.state != PUL_CONN_READY || main_conn.doomed)
		return;
	next_report_ms = now + REPORT_MS;
	while (pul_sessions_take_report(&at, &id, &calls)) {
		if (!used_send(&id, calls, now)) {
			pul_sessions_report_again(&id);
			return;
		}
	}
}

/* --- sessions that the gateway has --- */

static void session_ids_ask(uint64_t from);

static void session_ids_h(struct pul_conn *conn, const redisReply *r, void *arg)
{
	uint64_t next;

	(void)conn;
	(void)arg;
	if (r == NULL || r->type == REDIS_REPLY_ERROR)
		return; /* the first use of each asks */
	if (!pul_answer_session_ids(r, &next, pul_sessions_heard)) {
		pul_count(PUL_CNT_PROTOCOL_ERRORS);
		if (pul_log_ok("sessions", 8))
			LM_WARN("the gateway's answer to SESSIONS makes no sense\n");
	} else if (next != 0) {
		session_ids_ask(next);
	}
}

/* After a restart of this server, or while nobody was told. */
static void session_ids_ask(uint64_t from)
{
	uint8_t command[64];
	struct p2p_writer w;

	p2p_writer_init(&w, command, sizeof(command));
	p2p_resp_array(&w, 2);
	p2p_resp_str(&w, "SESSIONS");
	p2p_resp_u64(&w, from);
	pul_conn_send(&main_conn, command, w.len,
		      pul_now_ms() + (uint64_t)pul_settings.gateway_timeout_ms, session_ids_h,
		      NULL);
}

/* --- being told --- */

static void name_changed(const redisReply *r)
{
	struct p2p_name name;
	bool had;

	if (!p2p_name_valid(r->str, r->len)) {
		pul_count(PUL_CNT_PROTOCOL_ERRORS);
		return;
	}
	name.len = r->len;
	memcpy(name.s, r->str, r->len);
	name.s[r->len] = '\0';
	pul_lookup_outdated(&name);
	had = pul_cache_drop(pul_routes, name.s, name.len, NULL);
	if (pul_users_serves(&name, NULL)) {
		if (!pul_lookup_name(&name))
			pul_users_set_others(&name, true); /* the next call asks */
	} else if (had) {
		pul_lookup_name(&name);
	}
}

static void peer_changed(const redisReply *r)
{
	struct p2p_hit hit;

	if (p2p_hit_parse(&hit, r->str, r->len) != 0) {
		pul_count(PUL_CNT_PROTOCOL_ERRORS);
		return;
	}
	if (pul_cache_drop(pul_peers, &hit, sizeof(hit), NULL))
		pul_lookup_peer(&hit);
}

/* "open id", "change id", "close id", "tls" */
static void session_changed(const redisReply *r)
{
	struct p2p_session_id id;
	const char *space = memchr(r->str, ' ', r->len);
	size_t word = space != NULL ? (size_t)(space - r->str) : 0;

	if (r->len == 3 && memcmp(r->str, "tls", 3) == 0)
		return; /* new certificates: p2p_route looks for them itself */
	if (space == NULL || p2p_session_id_parse(&id, space + 1, r->len - word - 1) != 0) {
		pul_count(PUL_CNT_PROTOCOL_ERRORS);
		return;
	}
	if (word == 5 && memcmp(r->str, "close", 5) == 0)
		pul_sessions_close(&id);
	else
		pul_lookup_session(&id); /* when there is no room for it, its first use asks */
}

static bool word_is(const redisReply *r, size_t len, const char *word)
{
	return len == strlen(word) && memcmp(r->str, word, len) == 0;
}

/* "change name", "gone name", "all", "rules" */
static void auth_changed(const redisReply *r)
{
	const char *space = memchr(r->str, ' ', r->len);
	size_t word = space != NULL ? (size_t)(space - r->str) : r->len;
	struct p2p_name name;
	unsigned int n;

	if (space == NULL) {
		pul_lookup_auth_outdated(NULL);
		pul_auth_flush();
		if (word_is(r, word, "rules"))
			rules_ask();
		return;
	}
	name.len = r->len - word - 1;
	if (!p2p_name_valid(space + 1, name.len)) {
		pul_count(PUL_CNT_PROTOCOL_ERRORS);
		return;
	}
	memcpy(name.s, space + 1, name.len);
	name.s[name.len] = '\0';
	pul_lookup_auth_outdated(&name);
	pul_auth_drop(&name);
	if (!word_is(r, word, "gone"))
		return;
	n = pul_ul_expire(&name);
	if (n > 0)
		LM_INFO("[%s] may not be served here any more: %u contacts are over\n", name.s, n);
}

static void push_h(struct pul_conn *conn, const redisReply *r)
{
	(void)conn;
	if (r->elements != 3 || r->element[1]->type != REDIS_REPLY_STRING ||
	    r->element[2]->type != REDIS_REPLY_STRING) {
		pul_count(PUL_CNT_PROTOCOL_ERRORS);
		return;
	}
	pul_count(PUL_CNT_NOTIFIED);
	if (strcmp(r->element[1]->str, "users") == 0)
		name_changed(r->element[2]);
	else if (strcmp(r->element[1]->str, "peers") == 0)
		peer_changed(r->element[2]);
	else if (strcmp(r->element[1]->str, "sessions") == 0)
		session_changed(r->element[2]);
	else if (strcmp(r->element[1]->str, "auth") == 0)
		auth_changed(r->element[2]);
	else if (strcmp(r->element[1]->str, "moves") == 0)
		pul_moves_push(r->element[2]->str, r->element[2]->len);
	else if (strcmp(r->element[1]->str, pul_confirm_channel()) == 0)
		pul_confirm_push(r->element[2]->str, r->element[2]->len);
}

static void subscribed_h(struct pul_conn *conn, const redisReply *r, void *arg)
{
	(void)arg;
	if (r == NULL)
		return;
	if (r->type != REDIS_REPLY_ARRAY) {
		pul_conn_doom(conn, "SUBSCRIBE: %.*s", r->str != NULL ? (int)r->len : 0,
			      r->str != NULL ? r->str : "");
		return;
	}
	/* what happened while nobody was told: what is cached has to be asked again */
	atomic_fetch_add(&pul_shared->cache_gen, 1);
	if (++subscriptions == SUBSCRIPTIONS) {
		pul_sessions_recheck_all();
		session_ids_ask(0);
		pul_lookup_auth_outdated(NULL);
		pul_auth_flush();
		rules_ask();
		pul_confirm_subscribed();
	}
	conn->state = PUL_CONN_READY;
	sub_backoff.up_ms = pul_now_ms();
}

static void sub_handshake_h(struct pul_conn *conn, const redisReply *r, void *arg)
{
	static const char users[] = "*2\r\n$9\r\nSUBSCRIBE\r\n$5\r\nusers\r\n";
	static const char peers[] = "*2\r\n$9\r\nSUBSCRIBE\r\n$5\r\npeers\r\n";
	static const char sessions[] = "*2\r\n$9\r\nSUBSCRIBE\r\n$8\r\nsessions\r\n";
	static const char auth[] = "*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\nauth\r\n";
	uint64_t deadline = pul_now_ms() + (uint64_t)pul_settings.gateway_timeout_ms;
	static const char moves[] = "*2\r\n$9\r\nSUBSCRIBE\r\n$5\r\nmoves\r\n";
	uint8_t confirms[128];
	struct p2p_writer w;

	(void)arg;
	if (r == NULL)
		return;
	p2p_writer_init(&w, confirms, sizeof(confirms));
	p2p_resp_array(&w, 2);
	p2p_resp_str(&w, "SUBSCRIBE");
	p2p_resp_str(&w, pul_confirm_channel());
	subscriptions = 0;
	if (r->type != REDIS_REPLY_ARRAY ||
	    pul_conn_send(conn, users, sizeof(users) - 1, deadline, subscribed_h, NULL) != 0 ||
	    pul_conn_send(conn, peers, sizeof(peers) - 1, deadline, subscribed_h, NULL) != 0 ||
	    pul_conn_send(conn, sessions, sizeof(sessions) - 1, deadline, subscribed_h, NULL) !=
		    0 ||
	    pul_conn_send(conn, auth, sizeof(auth) - 1, deadline, subscribed_h, NULL) != 0 ||
	    pul_conn_send(conn, moves, sizeof(moves) - 1, deadline, subscribed_h, NULL) != 0 ||
	    pul_conn_send(conn, confirms, w.len, deadline, subscribed_h, NULL) != 0)
		pul_conn_doom(conn, "handshake refused");
}

static void sub_run(uint64_t now)
{
	uint64_t deadline = now + (uint64_t)pul_settings.gateway_timeout_ms;

	if (sub_conn.state == PUL_CONN_CLOSED) {
		if (main_conn.state != PUL_CONN_READY || now < sub_backoff.next_ms)
			return;
		if (pul_conn_open(&sub_conn, pul_settings.gateway_socket) != 0)
			backoff_next(&sub_backoff, now);
		else if (handshake_send(&sub_conn, deadline, sub_handshake_h) != 0)
			pul_conn_doom(&sub_conn, "no memory");
	} else if (now > pul_conn_due(&sub_conn)) {
		pul_conn_doom(&sub_conn, "no answer in time");
	}
}

/* --- usrloc's contacts --- */

static void scan_run(uint64_t now)
{
	unsigned int swept;
	int err;

	if (scan.state == SCAN_NONE) {
		if (now < scan.next_ms)
			return;
		if (!scan.done_once) {
			/* usrloc loads its database in a process that starts after this one */
			if (!sr_instance_ready()) {
				scan.next_ms = now + START_POLL_MS;
				return;
			}
		} else if (!atomic_load(&pul_shared->rescan)) {
			return;
		}
		atomic_store(&pul_shared->rescan, 0);
		pul_ul_tables_find();
		scan.state = SCAN_RUNS;
		scan.part = 0;
		scan.gen = atomic_fetch_add(&pul_shared->scan_gen, 1) + 1;
	}
	if (now < scan.next_ms)
		return;
	err = pul_ul_scan_part(scan.part, SCAN_PARTS);
	if (err != 0) {
		LM_WARN("looking through usrloc's contacts, part %u: %s; trying again\n", scan.part,
			strerror(err));
		scan.next_ms = now + SCAN_AGAIN_MS;
		return;
	}
	if (++scan.part < SCAN_PARTS)
		return;
	scan.state = SCAN_NONE;
	scan.done_once = true;
	scan.next_ms = now + SCAN_AGAIN_MS;
	pul_count(PUL_CNT_SCANS);
	swept = pul_users_sweep(scan.gen);
	if (swept > 0)
		LM_INFO("%u contacts were gone from usrloc\n", swept);
	soon_ms = 0;
	if (atomic_exchange(&pul_shared->resync, 0) && main_conn.state == PUL_CONN_READY)
		name_all_due = true;
}

static uint64_t scan_due(void)
{
	if (scan.state == SCAN_RUNS || !scan.done_once || atomic_load(&pul_shared->rescan))
		return scan.next_ms;
	return UINT64_MAX;
}

/* --- the loop --- */

static void wake_read(void)
{
	uint64_t count;
	ssize_t n = read(pul_wake_fd, &count, sizeof(count));

	(void)n; /* EAGAIN: nobody woke us */
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t loop_due(uint64_t now)
{
	uint64_t due = earlier(scan_due(), next_sweep_ms);

	due = earlier(earlier(due, pul_lookup_due()), pul_confirm_due());
	due = earlier(due, pul_back_due());
	if (main_conn.state == PUL_CONN_CLOSED)
		due = earlier(due, main_backoff.next_ms);
	else if (main_conn.owed > 0)
		due = earlier(due, pul_conn_due(&main_conn) + 1);
	else
		due = earlier(due, main_conn.used_ms + (uint64_t)pul_settings.gateway_timeout_ms);
	if (main_conn.state == PUL_CONN_READY) {
		if (pul_sessions_count() > 0)
			due = earlier(due, next_report_ms);
		if (synced)
			due = earlier(due, pul_sync_due(withdrawals_left(), now));
		if (sub_conn.state == PUL_CONN_CLOSED)
			due = earlier(due, sub_backoff.next_ms);
		else if (sub_conn.owed > 0)
			due = earlier(due, pul_conn_due(&sub_conn) + 1);
	}
	return earlier(due, soon_ms);
}

static void work_run(uint64_t now)
{
	if (main_conn.state == PUL_CONN_READY &&
	    (rename_due(now) || (name_all_due && pul_conn_room(&main_conn) >= PUL_COMMAND_MAX)))
		soon_ms = 0;
	if (pul_confirm_hurry() && main_conn.state == PUL_CONN_READY && now >= hold_until_ms &&
	    in_window < (unsigned int)pul_settings.publish_window)
		soon_ms = 0;
	/* Besides what workers tell there is what changed while it was on its way, and what the
	 * gateway did not take. */
	if (soon_ms == UINT64_MAX &&
	    (atomic_load(&pul_shared->wake_soon) ||
	     (main_conn.state == PUL_CONN_READY && (pul_users_work() || pul_sessions_waiting()))))
		soon_ms = now + (uint64_t)pul_settings.publish_delay_ms;
	if (now < soon_ms && !window_full)
		return;
	/* cleared first: who has something new after this wakes us again */
	atomic_store(&pul_shared->wake_soon, 0);
	soon_ms = UINT64_MAX;
	pul_lookup_refresh();
	publish_run(now);
	if (now < hold_until_ms)
		soon_ms = hold_until_ms;
}

void pul_client_run(void)
{
	const unsigned int n_fixed = 3,
			   n_max = n_fixed + (unsigned int)pul_settings.query_connections;
	struct pollfd *fds = pkg_malloc(n_max * sizeof(*fds));
	uint64_t now, due;
	unsigned int n;
	int timeout, i;

	window = pkg_malloc((size_t)pul_settings.publish_window * sizeof(*window));
	if (fds == NULL || window == NULL || pul_lookup_init(handshake_send) != 0) {
		LM_ERR("no private memory for the client process\n");
		exit(-1);
	}
	for (i = 0; i < pul_settings.publish_window; i++)
		sent_free(&window[i]);
	pul_conn_init(&main_conn);
	pul_confirm_init(instance, &main_conn, seq_next);
	pul_conn_init(&sub_conn);
	sub_conn.push = push_h;
	soon_ms = UINT64_MAX;
	cursor.left = pul_users_buckets();
	next_sweep_ms = pul_now_ms() + SWEEP_MS;
	next_sessions_ms = pul_now_ms() + SESSIONS_SWEEP_MS;
	pul_pieces_shared_init();

	for (;;) {
		now = pul_now_ms();
		pul_pieces_shared_run();
		main_run(now);
		sub_run(now);
		scan_run(now);
		if (atomic_exchange(&pul_shared->wake_now, 0))
			pul_lookup_questions(pul_question_take_all());
		pul_back_run(now);
		work_run(now);
		pul_confirm_run(now);
		report_run(now);
		if (now >= next_sweep_ms) {
			pul_cache_sweep(pul_routes);
			pul_cache_sweep(pul_peers);
			next_sweep_ms = now + SWEEP_MS;
		}
		if (now >= next_sessions_ms) {
			pul_sessions_sweep();
			next_sessions_ms = now + SESSIONS_SWEEP_MS;
		}
		pul_conn_flush(&main_conn);
		pul_conn_flush(&sub_conn);
		pul_lookup_flush();

		fds[0].fd = pul_wake_fd;
		fds[0].events = POLLIN;
		fds[1].fd = main_conn.fd; /* negative: poll passes over it */
		fds[1].events = pul_conn_events(&main_conn);
		fds[2].fd = sub_conn.fd;
		fds[2].events = pul_conn_events(&sub_conn);
		n = n_fixed + pul_lookup_poll(fds + n_fixed, n_max - n_fixed);
		now = pul_now_ms();
		due = loop_due(now);
		if (main_conn.doomed || sub_conn.doomed || due <= now)
			timeout = 0;
		else
			timeout = due - now > 10000 ? 10000 : (int)(due - now);
		if (poll(fds, n, timeout) < 0) {
			for (i = 0; i < (int)n; i++)
				fds[i].revents = 0;
		}
		cfg_update();
		if (fds[0].revents != 0)
			wake_read();
		if (fds[1].revents != 0)
			pul_conn_io(&main_conn, fds[1].revents);
		if (fds[2].revents != 0)
			pul_conn_io(&sub_conn, fds[2].revents);
		pul_lookup_run(fds + n_fixed, n - n_fixed);
		if (main_conn.doomed) {
			char why[sizeof(main_conn.why)];

			/* first of all: whoever is told of the loss must not find it connected */
			strcpy(why, main_conn.why);
			pul_conn_reap(&main_conn);
			gateway_lost(why);
		}
		if (pul_conn_reap(&sub_conn)) {
			LM_DBG("subscription: %s\n", sub_conn.why);
			/* nobody tells of changes now: nothing cached is fresh */
			atomic_fetch_add(&pul_shared->cache_gen, 1);
			backoff_next(&sub_backoff, pul_now_ms());
		}
	}
}
