/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: the connections that lookups are asked on. */
#include <errno.h>

#include "core/dprint.h"
#include "core/mem/mem.h"
#include "modules/p2p_usrloc/p2p_usrloc_lookup_priv.h"

/* Those without work are closed after this. */
#define IDLE_MS 30000
/* After one failed in its handshake no more are opened for this long. */
#define HOLD_OFF_MS 1000

static struct pul_conn *pool;
static unsigned int pool_size;
static uint64_t pool_hold_ms; /* no new connection before */
static pul_handshake_h *shake;

int pul_pool_init(pul_handshake_h *handshake)
{
	unsigned int i;

	shake = handshake;
	pool_size = (unsigned int)pul_settings.query_connections;
	pool = pkg_malloc(pool_size * sizeof(*pool));
	if (pool == NULL) {
		PKG_MEM_ERROR;
		return ENOMEM;
	}
	for (i = 0; i < pool_size; i++)
		pul_conn_init(&pool[i]);
	return 0;
}

unsigned int pul_lookup_connections(void)
{
	return pool_size;
}

static void pool_handshake_h(struct pul_conn *conn, const redisReply *r, void *arg)
{
	(void)arg;
	if (r != NULL && r->type == REDIS_REPLY_ARRAY) {
		conn->state = PUL_CONN_READY;
		return;
	}
	pool_hold_ms = pul_now_ms() + HOLD_OFF_MS;
	if (r != NULL)
		pul_conn_doom(conn, "handshake refused");
}

struct pul_conn *pul_pool_choose(void)
{
	struct pul_conn *best = NULL, *closed = NULL, *c;
	uint64_t now;

	for (c = pool; c < pool + pool_size; c++) {
		if (c->doomed)
			continue;
		if (c->state == PUL_CONN_CLOSED) {
			if (closed == NULL)
				closed = c;
		} else if (c->owed == 0) {
			return c;
		} else if (best == NULL || c->owed < best->owed) {
			best = c;
		}
	}
	now = pul_now_ms();
	if (closed != NULL && (now >= pool_hold_ms || best == NULL) &&
	    pul_conn_open(closed, pul_settings.gateway_socket) == 0) {
		if (shake(closed, now + (uint64_t)pul_settings.gateway_timeout_ms,
			  pool_handshake_h) == 0)
			return closed;
		pul_conn_doom(closed, "no memory");
	}
	return best;
}

void pul_pool_lost(void)
{
	struct pul_conn *c;

	for (c = pool; c < pool + pool_size; c++) {
		pul_conn_doom(c, "gateway lost");
		pul_conn_reap(c);
	}
	atomic_store(&pul_shared->connections, 0);
}

unsigned int pul_lookup_poll(struct pollfd *fds, unsigned int max)
{
	unsigned int n = 0;
	struct pul_conn *c;

	for (c = pool; c < pool + pool_size && n < max; c++) {
		if (c->state == PUL_CONN_CLOSED)
			continue;
		fds[n].fd = c->fd;
		fds[n].events = pul_conn_events(c);
		fds[n].revents = 0;
		n++;
	}
	return n;
}

void pul_lookup_flush(void)
{
	struct pul_conn *c;

	for (c = pool; c < pool + pool_size; c++) {
		if (c->state != PUL_CONN_CLOSED)
			pul_conn_flush(c);
	}
}

void pul_pool_io(const struct pollfd *fds, unsigned int n)
{
	struct pul_conn *c;
	unsigned int i;

	for (c = pool, i = 0; c < pool + pool_size && i < n; c++) {
		/* connections opened since the poll have no entry */
		if (c->state == PUL_CONN_CLOSED || c->fd != fds[i].fd)
			continue;
		if (fds[i].revents != 0)
			pul_conn_io(c, fds[i].revents);
		i++;
	}
}

void pul_pool_sweep(uint64_t now_ms)
{
	unsigned int open = 0;
	struct pul_conn *c;

	for (c = pool; c < pool + pool_size; c++) {
		if (c->state == PUL_CONN_CLOSED)
			continue;
		if (now_ms > pul_conn_due(c))
			pul_conn_doom(c, "no answer in time");
		else if (c->owed == 0 && now_ms > c->used_ms + IDLE_MS)
			pul_conn_doom(c, "idle");
		if (c->doomed)
			LM_DBG("lookup connection: %s\n", c->why);
		if (!pul_conn_reap(c))
			open++;
	}
	atomic_store(&pul_shared->connections, (int)open);
}

uint64_t pul_pool_due(void)
{
	uint64_t due = UINT64_MAX;
	struct pul_conn *c;

	for (c = pool; c < pool + pool_size; c++) {
		if (c->state == PUL_CONN_CLOSED)
			continue;
		if (c->doomed)
			return 0;
		if (pul_conn_due(c) < due)
			due = pul_conn_due(c);
		if (c->owed == 0 && c->used_ms + IDLE_MS < due)
			due = c->used_ms + IDLE_MS;
	}
	return due;
}
