/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: the main connection to the gateway, which publishes and is what "connected" means.
 *
 *	away --handshake--> connected: publish all users, or those that it does not have (_sync.c)
 *	connected --lost or silent--> away: questions are answered UNAVAILABLE at once */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/dprint.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_client_priv.h"
#include "modules/p2p_usrloc/p2p_usrloc_lookup.h"
#include "modules/p2p_usrloc/p2p_usrloc_sync.h"

/* Lines a minute about the gateway's coming and going */
#define CHANGES_LOGGED 8

/* the client process' own */
static struct pul_conn main_conn;
static struct pul_backoff backoff;
static bool lost_told; /* the loss of the gateway has been logged */
static bool ever_connected;

void pul_main_init(void)
{
	pul_conn_init(&main_conn);
}

struct pul_conn *pul_main_conn(void)
{
	return &main_conn;
}

bool pul_main_connected(void)
{
	return main_conn.state == PUL_CONN_READY;
}

int pul_main_send(const void *command, size_t n, pul_reply_h *h, void *arg)
{
	return pul_conn_send(&main_conn, command, n,
			     pul_now_ms() + (uint64_t)pul_settings.gateway_timeout_ms, h, arg);
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

	pul_backoff_next(&backoff, now);
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
	pul_publish_lost();
	pul_sub_lost();
	pul_lookup_gateway_lost();
}

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

void pul_main_ask_rules(void)
{
	static const char rules[] = "*1\r\n$5\r\nRULES\r\n";

	pul_main_send(rules, sizeof(rules) - 1, rules_h, NULL);
}

static void shaken(const struct pul_gateway_info *info, enum pul_sync_how how)
{
	uint64_t now = pul_now_ms();
	bool other;

	main_conn.state = PUL_CONN_READY;
	backoff.up_ms = now;
	pul_sub_wanted();
	lock_get(&pul_shared->info_lock);
	other = pul_shared->info.known && p2p_hit_cmp(&pul_shared->info.hit, &info->hit) != 0;
	pul_shared->info = *info;
	lock_release(&pul_shared->info_lock);
	if (other)
		pul_users_unconfirm_all();
	atomic_store(&pul_shared->gateway_changed_ms, now);
	atomic_store(&pul_shared->gateway_up, 1);
	atomic_store(&pul_shared->gateway_seen, 1);
	pul_count(PUL_CNT_CONNECTS);
	lost_told = false;
	ever_connected = true;
	if (change_log_ok(now))
		LM_INFO("connected to the gateway at %s: %s %s, overlay %s, epoch %s%s\n",
			pul_settings.gateway_socket, info->server, info->version, info->overlay,
			info->epoch,
			how == PUL_SYNC_REST ? "; it has what it was told before" : "");
	pul_main_ask_rules();
}

static void handshake_h(struct pul_conn *conn, const redisReply *r, void *arg)
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
	how = pul_sync_shaken(&info, pul_withdrawals_left(), pul_now_ms());
	if (conn->state != PUL_CONN_READY)
		shaken(&info, how);
	pul_publish_shaken(how);
}

int pul_main_shake(void)
{
	return pul_client_shake(&main_conn,
				pul_now_ms() + (uint64_t)pul_settings.gateway_timeout_ms,
				pul_sync_offer(pul_withdrawals_left()), handshake_h);
}

static void ping_h(struct pul_conn *conn, const redisReply *r, void *arg)
{
	(void)arg;
	if (r != NULL && r->type == REDIS_REPLY_ERROR)
		pul_conn_doom(conn, "PING: %.*s", (int)r->len, r->str);
}

void pul_main_run(uint64_t now)
{
	const uint64_t timeout = (uint64_t)pul_settings.gateway_timeout_ms;
	static const char ping[] = "*1\r\n$4\r\nPING\r\n";
	int err;

	if (main_conn.state == PUL_CONN_CLOSED) {
		if (now < backoff.next_ms)
			return;
		err = pul_conn_open(&main_conn, pul_settings.gateway_socket);
		if (err == 0)
			err = pul_main_shake();
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

uint64_t pul_main_due(void)
{
	if (main_conn.state == PUL_CONN_CLOSED)
		return backoff.next_ms;
	if (main_conn.owed > 0)
		return pul_conn_due(&main_conn) + 1;
	return main_conn.used_ms + (uint64_t)pul_settings.gateway_timeout_ms;
}

void pul_main_reap(void)
{
	char why[sizeof(main_conn.why)];

	if (!main_conn.doomed)
		return;
	strcpy(why, main_conn.why);
	pul_conn_reap(&main_conn);
	gateway_lost(why);
}
