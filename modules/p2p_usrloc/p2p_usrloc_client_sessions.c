/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: what the client process and the gateway tell each other of sessions by themselves:
 * the calls that run over each, and which ones there are. */
#include "core/dprint.h"
#include "core/mem/mem.h"
#include "lib/proto/resp.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_client_priv.h"

/* How often the gateway is told of calls over sessions. */
#define REPORT_MS 2000
#define SWEEP_MS 10000

static uint64_t next_report_ms, next_sweep_ms;

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
static bool used_send(const struct p2p_session_id *id, uint32_t calls)
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
	if (pul_main_send(command, w.len, used_h, kept) == 0)
		return true;
	pkg_free(kept);
	return false;
}

void pul_client_sessions_run(uint64_t now)
{
	struct p2p_session_id id;
	unsigned int at = 0;
	uint32_t calls;

	if (now >= next_sweep_ms) {
		pul_sessions_sweep();
		next_sweep_ms = now + SWEEP_MS;
	}
	if (now < next_report_ms || !pul_main_connected() || pul_main_conn()->doomed)
		return;
	next_report_ms = now + REPORT_MS;
	while (pul_sessions_take_report(&at, &id, &calls)) {
		if (!used_send(&id, calls)) {
			pul_sessions_report_again(&id);
			return;
		}
	}
}

uint64_t pul_client_sessions_due(void)
{
	return pul_main_connected() && pul_sessions_count() > 0 ? next_report_ms : UINT64_MAX;
}

static void ids_ask(uint64_t from);

static void ids_h(struct pul_conn *conn, const redisReply *r, void *arg)
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
		ids_ask(next);
	}
}

/* After a restart of this server, or while nobody was told. */
static void ids_ask(uint64_t from)
{
	uint8_t command[64];
	struct p2p_writer w;

	p2p_writer_init(&w, command, sizeof(command));
	p2p_resp_array(&w, 2);
	p2p_resp_str(&w, "SESSIONS");
	p2p_resp_u64(&w, from);
	pul_main_send(command, w.len, ids_h, NULL);
}

void pul_client_ids_ask(void)
{
	ids_ask(0);
}
