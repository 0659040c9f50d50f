/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: what the client process tells the gateway of this server's users: PUBLISH and
 * WITHDRAW, a window of them at once, and SYNCED when all have been told. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/dprint.h"
#include "core/mem/mem.h"
#include "lib/base/bytes.h"
#include "lib/proto/resp.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_client_priv.h"
#include "modules/p2p_usrloc/p2p_usrloc_confirm.h"
#include "modules/p2p_usrloc/p2p_usrloc_lookup.h"
#include "modules/p2p_usrloc/p2p_usrloc_sync.h"

/* Publishing pauses when the gateway says BUSY, or that it cannot now. */
#define HOLD_BUSY_MS 100
#define HOLD_ERROR_MS 1000

struct sent {
	struct sent *next; /* of those not in use */
	struct p2p_name name;
	enum pul_job_kind kind;
	uint64_t seq;
};

/* the client process' own */
static uint64_t seq; /* of PUBLISH and WITHDRAW */
static struct pul_cursor cursor;
static bool synced;	    /* SYNCED was sent since the handshake */
static struct sent *window; /* publish_window of them */
static struct sent *window_free;
static unsigned int in_window; /* PUBLISH and WITHDRAW not answered yet */
static bool window_full;
static uint64_t hold_until_ms;
static uint64_t soon_ms = UINT64_MAX; /* when to look for work; UINT64_MAX: nobody said there is */
static bool name_all_due;	      /* all users are to be named anew */
static bool naming_asked;	      /* by a handshake that is under way */

static void sent_free(struct sent *sent)
{
	sent->next = window_free;
	window_free = sent;
}

int pul_publish_init(void)
{
	int i;

	window = pkg_malloc((size_t)pul_settings.publish_window * sizeof(*window));
	if (window == NULL)
		return ENOMEM;
	for (i = 0; i < pul_settings.publish_window; i++)
		sent_free(&window[i]);
	cursor.left = pul_users_buckets();
	return 0;
}

/* --- the gateway comes and goes --- */

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

void pul_publish_shaken(enum pul_sync_how how)
{
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

void pul_publish_lost(void)
{
	in_window = 0;
	window_full = naming_asked = false;
	atomic_store(&pul_shared->publishing, 0);
}

/* All users anew, over the connection that there is; when there is no room, later. */
static void name_all(void)
{
	pul_sync_forget();
	if (pul_sync_offer(pul_withdrawals_left()) == NULL) {
		pul_sync_named(pul_withdrawals_left(), pul_now_ms());
		sync_all();
		name_all_due = false;
	} else if (pul_main_shake() == 0) {
		naming_asked = true;
		name_all_due = false;
	}
}

/* --- publishing --- */

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
	if (pul_main_send(command, w.len, published_h, sent) != 0) {
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
	synced = pul_main_send(command, w.len, synced_h, NULL) == 0;
}

uint64_t pul_publish_seq_next(void)
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
	       pul_sync_rename_due(pul_withdrawals_left(),
				   (unsigned int)atomic_load(&pul_shared->withdrawn), now);
}

static void publish_run(uint64_t now)
{
	struct pul_job job;
	bool more = true;

	if (!pul_main_connected() || pul_main_conn()->doomed || now < hold_until_ms)
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
	if (!synced && pul_scan_done() && (!more || cursor.left == 0))
		synced_send();
}

void pul_publish_run(uint64_t now)
{
	if (pul_main_connected() &&
	    (rename_due(now) ||
	     (name_all_due && pul_conn_room(pul_main_conn()) >= PUL_COMMAND_MAX)))
		soon_ms = 0;
	if (pul_confirm_hurry() && pul_main_connected() && now >= hold_until_ms &&
	    in_window < (unsigned int)pul_settings.publish_window)
		soon_ms = 0;
	/* Besides what workers tell there is what changed while it was on its way, and what the
	 * gateway did not take. */
	if (soon_ms == UINT64_MAX &&
	    (atomic_load(&pul_shared->wake_soon) ||
	     (pul_main_connected() && (pul_users_work() || pul_sessions_waiting()))))
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

uint64_t pul_publish_due(uint64_t now)
{
	uint64_t due = UINT64_MAX;

	if (pul_main_connected() && synced)
		due = pul_sync_due(pul_withdrawals_left(), now);
	return due < soon_ms ? due : soon_ms;
}

void pul_publish_scanned(void)
{
	soon_ms = 0;
	if (atomic_exchange(&pul_shared->resync, 0) && pul_main_connected())
		name_all_due = true;
}
