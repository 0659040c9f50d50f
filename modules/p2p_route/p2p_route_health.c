// SPDX-License-Identifier: GPL-2.0-or-later
/* Which peers answer.
 *
 *            a branch got no answer in peer_timeout_ms, or nobody listens there (p2p_route_watch.c)
 *     UP  ----------------------------------------------->  DOWN (until retry_at)
 *      ^                                                      |  knocked at, and asked by OPTIONS
 *      '------------------------------------------------------'
 *            anything heard from it; or retry_at has passed: one branch may try
 *
 * All of it is in shared memory under one lock; nothing is called with the lock held. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/locking.h"
#include "core/mem/shm_mem.h"
#include "modules/tm/h_table.h"
#include "modules/tm/t_hooks.h"
#include "modules/tm/uac.h"
#include "p2p_route.h"
#include "p2p_route_health.h"
#include "p2p_route_knock.h"

#define SOCKET_TEXT_MAX 64
#define PROBES_AT_ONCE 16
#define WANTED_MS 20000 /* a peer that is down is probed while somebody wants it */
/* Pauses between knocks at one that is silent; at one that is down: a part of the time it has been
 * so for, up to a limit. */
#define KNOCK_SILENT_MS 150
#define KNOCK_SHARE 50
#define KNOCK_PAUSE_MAX_MS 5000
/* Between requests that try one whose host lives. */
#define RETRY_PAUSE_MIN_MS 25
#define RETRY_SHARE 20
/* The host of a peer that answered all the same refused a knock: it is not to be believed. */
#define DISTRUST_MS 600000

struct peer { /* shm, under lock */
	bool used, down;
	bool trying;  /* DOWN: the one try was granted, and no branch added yet */
	bool refused; /* DOWN: its host says so; it will be started again, most likely */
	struct p2p_hit hit;
	char uri[P2P_CANDIDATE_URI_MAX];
	char socket[SOCKET_TEXT_MAX]; /* ours towards it */
	uint64_t heard_ms;	      /* 0: never */
	uint64_t wanted_ms;	      /* last branch towards it */
	uint64_t retry_ms;	      /* DOWN: not before */
	uint64_t probe_ms;	      /* last probe sent */
	uint64_t down_ms;	      /* DOWN: since */
	uint64_t knock_ms;	      /* last knock */
	uint64_t distrust_ms;	      /* until then what a knock says is not believed */
	unsigned int sent, failures, recoveries;
	unsigned int generation;
};

struct health { /* shm */
	gen_lock_t lock;
	int n_down;  /* peers that are down: nothing to probe without */
	int n_peers; /* slots of peer[] */
	struct peer peer[];
};

static struct health *health;

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int route_health_init(void)
{
	size_t size = sizeof(*health) + (size_t)route_settings.max_peers * sizeof(struct peer);

	health = shm_malloc(size);
	if (health == NULL) {
		SHM_MEM_ERROR;
		return -1;
	}
	memset(health, 0, size);
	health->n_peers = route_settings.max_peers;
	if (lock_init(&health->lock) == 0) {
		LM_ERR("no lock\n");
		shm_free(health);
		health = NULL;
		return -1;
	}
	return 0;
}

void route_health_destroy(void)
{
	if (health == NULL)
		return;
	lock_destroy(&health->lock);
	shm_free(health);
	health = NULL;
}

/* --- the table of peers, under lock --------------------------------------------------------- */

static unsigned int slot_of(const struct p2p_hit *hit)
{
	unsigned int h = 0;
	int i;

	for (i = P2P_HIT_LEN - 4; i < P2P_HIT_LEN; i++)
		h = h * 256 + hit->b[i];
	return h % (unsigned int)health->n_peers;
}

#define PROBE_LEN 16 /* slots a peer may be away from its own */

static struct peer *peer_find(const struct p2p_hit *hit)
{
	unsigned int i, s = slot_of(hit);

	for (i = 0; i < PROBE_LEN; i++) {
		struct peer *p = &health->peer[(s + i) % (unsigned int)health->n_peers];

		if (p->used && memcmp(&p->hit, hit, sizeof(*hit)) == 0)
			return p;
	}
	return NULL;
}

/* Found or made; where there is no room the one that was wanted least recently goes. */
static struct peer *peer_get(const struct p2p_hit *hit, uint64_t now)
{
	struct peer *p = peer_find(hit), *old = NULL;
	unsigned int i, s = slot_of(hit), generation;

	if (p != NULL)
		return p;
	for (i = 0; i < PROBE_LEN; i++) {
		p = &health->peer[(s + i) % (unsigned int)health->n_peers];
		if (!p->used) {
			old = p;
			break;
		}
		if (old == NULL || p->wanted_ms < old->wanted_ms)
			old = p;
	}
	if (old->used)
		route_count(ROUTE_CNT_PEERS_FULL);
	if (old->used && old->down)
		health->n_down--;
	generation = old->generation + 1;
	memset(old, 0, sizeof(*old));
	old->used = true;
	old->hit = *hit;
	old->wanted_ms = now;
	old->generation = generation;
	return old;
}

/* The younger the outage, the more often: what it lasts longer for that is a part of it. */
static uint64_t knock_pause(const struct peer *p, uint64_t now)
{
	uint64_t pause = (now - p->down_ms) / KNOCK_SHARE;

	return pause < ROUTE_KNOCK_AGAIN_MS ? ROUTE_KNOCK_AGAIN_MS
	       : pause > KNOCK_PAUSE_MAX_MS ? KNOCK_PAUSE_MAX_MS
					    : pause;
}

/* A request that tries costs its caller a moment, if in vain; one that does not is refused, perhaps
 * by a peer that has just come back. */
static uint64_t retry_pause(const struct peer *p, uint64_t now)
{
	uint64_t pause = (now - p->down_ms) / RETRY_SHARE,
		 most = (uint64_t)route_settings.peer_down_ms;

	if (!p->refused || pause > most)
		return most;
	return pause < RETRY_PAUSE_MIN_MS ? RETRY_PAUSE_MIN_MS : pause;
}

int route_peer_usable(const struct p2p_hit *hit)
{
	uint64_t now = now_ms();
	struct peer *p;
	int usable = 1;

	lock_get(&health->lock);
	p = peer_find(hit);
	if (p != NULL && p->down) {
		p->wanted_ms = now;
		if (now < p->retry_ms) {
			usable = 0;
		} else { /* one tries; the others wait for what comes of it */
			p->retry_ms = now + retry_pause(p, now);
			p->trying = true;
		}
	}
	lock_release(&health->lock);
	if (!usable)
		route_count(ROUTE_CNT_REFUSED);
	return usable;
}

/* No branch came of route_peer_usable(): the next request may try. */
void route_health_unused(const struct p2p_hit *hit)
{
	struct peer *p;

	lock_get(&health->lock);
	p = peer_find(hit);
	if (p != NULL && p->down && p->trying) {
		p->trying = false;
		p->retry_ms = now_ms();
	}
	lock_release(&health->lock);
}

static void failed(const struct p2p_hit *hit, const char *what, bool refused)
{
	uint64_t now = now_ms();
	char text[P2P_HIT_TEXT_MAX], uri[P2P_CANDIDATE_URI_MAX];
	bool changed = false;
	struct peer *p;

	if (route_tls_refused(hit))
		return; /* it was sent nothing */
	lock_get(&health->lock);
	p = peer_get(hit, now);
	p->failures++;
	p->trying = false;
	if (!p->down) {
		p->down = true;
		p->refused = refused;
		health->n_down++;
		p->down_ms = p->probe_ms = now;
		changed = true;
		memcpy(uri, p->uri, sizeof(uri));
	}
	p->retry_ms = now + retry_pause(p, now);
	lock_release(&health->lock);
	if (changed) {
		p2p_hit_print(hit, text);
		route_count(ROUTE_CNT_PEER_DOWN);
		LM_WARN("peer %s (%s) does not answer: %s; not used until it does, or for %d ms\n",
			text, uri[0] != '\0' ? uri : "address unknown", what,
			route_settings.peer_down_ms);
	}
}

void route_peer_failed(const struct p2p_hit *hit, const char *what)
{
	failed(hit, what, false);
}

void route_health_gone(const struct p2p_hit *hit)
{
	failed(hit, "nobody listens there", true);
}

void route_peer_heard(const struct p2p_hit *hit)
{
	char text[P2P_HIT_TEXT_MAX];
	bool changed = false;
	struct peer *p;

	lock_get(&health->lock);
	p = peer_find(hit);
	if (p != NULL) {
		p->heard_ms = now_ms();
		if (p->down) {
			p->down = false;
			health->n_down--;
			p->recoveries++;
			changed = true;
		}
	}
	lock_release(&health->lock);
	if (changed) {
		p2p_hit_print(hit, text);
		route_count(ROUTE_CNT_PEER_UP);
		LM_NOTICE("peer %s answers again\n", text);
	}
}

void route_health_seen(const struct p2p_hit *hit, const char *uri, const str *own_socket)
{
	uint64_t now = now_ms();
	struct peer *p;

	lock_get(&health->lock);
	p = peer_get(hit, now);
	p->wanted_ms = now;
	p->trying = false;
	p->sent++;
	snprintf(p->uri, sizeof(p->uri), "%s", uri);
	snprintf(p->socket, sizeof(p->socket), "%.*s", own_socket->len, own_socket->s);
	lock_release(&health->lock);
}

static void info_fill(const struct peer *p, struct route_peer_info *info)
{
	uint64_t now = now_ms();

	info->hit = p->hit;
	info->down = p->down;
	memcpy(info->uri, p->uri, sizeof(info->uri));
	info->heard_ms_ago = p->heard_ms == 0 ? UINT64_MAX : now - p->heard_ms;
	info->retry_in_ms = p->down && p->retry_ms > now ? p->retry_ms - now : 0;
	info->sent = p->sent;
	info->failures = p->failures;
	info->recoveries = p->recoveries;
}

int route_health_info(int i, struct route_peer_info *info)
{
	int rc = 1;

	if (i < 0 || i >= health->n_peers)
		return -1;
	lock_get(&health->lock);
	if (health->peer[i].used) {
		info_fill(&health->peer[i], info);
		rc = 0;
	}
	lock_release(&health->lock);
	return rc;
}

int route_health_find(const struct p2p_hit *hit, struct route_peer_info *info)
{
	struct peer *p;
	int rc = -1;

	lock_get(&health->lock);
	p = peer_find(hit);
	if (p != NULL) {
		info_fill(p, info);
		rc = 0;
	}
	lock_release(&health->lock);
	return rc;
}

/* --- asking them ---------------------------------------------------------------------------- */

static void probe_done_h(struct cell *t, int type, struct tmcb_params *ps)
{
	unsigned long ref = (unsigned long)*ps->param;
	unsigned int i = (unsigned int)(ref & 0xffff), generation = (unsigned int)(ref >> 16);
	struct p2p_hit hit;
	bool known = false;

	(void)t;
	(void)type;
	if (ps->rpl == FAKED_REPLY || ps->rpl == NULL)
		return; /* silence: whoever waits for it will say so */
	lock_get(&health->lock);
	if (i < (unsigned int)health->n_peers && health->peer[i].used &&
	    health->peer[i].generation == generation) {
		hit = health->peer[i].hit;
		known = true;
	}
	lock_release(&health->lock);
	if (known)
		route_peer_heard(&hit);
}

struct probe { /* what is copied out of the table before asking */
	char uri[P2P_CANDIDATE_URI_MAX];
	char socket[SOCKET_TEXT_MAX];
	unsigned long ref;
};

static void probe_fill(struct probe *pr, struct peer *p, uint64_t now)
{
	p->probe_ms = now;
	memcpy(pr->uri, p->uri, sizeof(pr->uri));
	memcpy(pr->socket, p->socket, sizeof(pr->socket));
	pr->ref = (unsigned long)(p - health->peer) | (unsigned long)p->generation << 16;
}

/* Ask a peer whether it lives: any reply will do. */
static void probe(const struct probe *pr)
{
	static str method = str_init("OPTIONS");
	static str headers = str_init("Max-Forwards: 1\r\n");
	str to = {(char *)pr->uri, (int)strlen(pr->uri)};
	str own_socket = {(char *)pr->socket, (int)strlen(pr->socket)};
	uac_req_t req;
	str from;

	if (to.len == 0 || route_own_uri(&from) < 0)
		return;
	set_uac_req(&req, &method, &headers, NULL, NULL, TMCB_LOCAL_COMPLETED, probe_done_h,
		    (void *)pr->ref);
	if (own_socket.len > 0)
		req.ssock = &own_socket;
	if (route_tm.t_request(&req, &to, &to, &from, NULL) < 0)
		LM_DBG("no probe could be sent to %s\n", pr->uri);
	else
		route_count(ROUTE_CNT_PROBES);
}

uint64_t route_health_heard(const struct p2p_hit *hit, bool *down)
{
	uint64_t heard = 0;
	struct peer *p;

	*down = false;
	lock_get(&health->lock);
	p = peer_find(hit);
	if (p != NULL) {
		heard = p->heard_ms;
		*down = p->down;
	}
	lock_release(&health->lock);
	return heard;
}

void route_health_ask(const struct p2p_hit *hit, uint64_t since_ms, uint64_t pause_ms, uint64_t now)
{
	struct probe pr = {.ref = 0};
	struct peer *p;

	lock_get(&health->lock);
	p = peer_find(hit);
	if (p != NULL && now >= p->probe_ms + pause_ms && p->heard_ms <= since_ms)
		probe_fill(&pr, p, now);
	lock_release(&health->lock);
	if (pr.uri[0] != '\0')
		probe(&pr);
}

static void knock(const struct p2p_hit *hit, const char *uri, uint64_t now)
{
	str from;

	if (route_own_uri(&from) == 0 && route_knock(hit, uri, from.s, now))
		route_count(ROUTE_CNT_KNOCKS);
}

void route_health_knock(const struct p2p_hit *hit, uint64_t since_ms, uint64_t now)
{
	char uri[P2P_CANDIDATE_URI_MAX] = "";
	struct peer *p;

	lock_get(&health->lock);
	p = peer_find(hit);
	if (p != NULL && !p->down && p->heard_ms <= since_ms && now >= p->distrust_ms &&
	    now >= p->knock_ms + KNOCK_SILENT_MS) {
		p->knock_ms = now;
		memcpy(uri, p->uri, sizeof(uri));
	}
	lock_release(&health->lock);
	if (uri[0] != '\0')
		knock(hit, uri, now);
}

void route_health_distrust(const struct p2p_hit *hit, uint64_t now)
{
	struct peer *p;

	lock_get(&health->lock);
	p = peer_find(hit);
	if (p != NULL)
		p->distrust_ms = now + DISTRUST_MS;
	lock_release(&health->lock);
}

bool route_health_probes(uint64_t now)
{
	struct {
		struct p2p_hit hit;
		char uri[P2P_CANDIDATE_URI_MAX];
	} door[PROBES_AT_ONCE];
	struct probe due[PROBES_AT_ONCE];
	int i, left, n = 0, n_doors = 0;
	bool wanted = false;

	lock_get(&health->lock);
	for (i = 0, left = health->n_down; left > 0 && i < health->n_peers; i++) {
		struct peer *p = &health->peer[i];

		if (!p->used || !p->down)
			continue;
		left--;
		if (now >= p->wanted_ms + WANTED_MS)
			continue;
		wanted = true;
		if (n < PROBES_AT_ONCE &&
		    now >= p->probe_ms + (uint64_t)route_settings.peer_down_ms)
			probe_fill(&due[n++], p, now);
		if (n_doors < PROBES_AT_ONCE && now >= p->knock_ms + knock_pause(p, now)) {
			p->knock_ms = now;
			door[n_doors].hit = p->hit;
			memcpy(door[n_doors++].uri, p->uri, sizeof(p->uri));
		}
	}
	lock_release(&health->lock);
	for (i = 0; i < n; i++)
		probe(&due[i]);
	for (i = 0; i < n_doors; i++)
		knock(&door[i].hit, door[i].uri, now);
	return wanted;
}
