// SPDX-License-Identifier: GPL-2.0-or-later
/* Which peers answer.
 *
 *            a branch got no answer in peer_timeout_ms
 *     UP  ----------------------------------------------->  DOWN (until retry_at)
 *      ^                                                      |  probed by OPTIONS every
 * peer_down_ms
 *      '------------------------------------------------------'
 *            anything heard from it; or retry_at has passed: one branch may try
 *
 * An INVITE towards a peer fails after peer_timeout_ms without any reply: a peer says 100 at once.
 * Another request may be answered late because the phone behind the peer is slow, and a proxy sends
 * no 100 for it (RFC 4320). So the peer is asked by OPTIONS when it has been silent for
 * probe_after_ms; if it is heard of, the branch gets the ordinary time-out back, else it fails.
 *
 * All of it is in shared memory under one lock; nothing is called with the lock held. One process
 * looks at what is due every TICK_MS, or every IDLE_MS while no branch is watched. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "core/cfg/cfg_struct.h"
#include "core/locking.h"
#include "core/mem/shm_mem.h"
#include "core/pt.h"
#include "core/timer.h"
#include "core/timer_ticks.h"
#include "core/globals.h"
#include "modules/tm/h_table.h"
#include "modules/tm/t_hooks.h"
#include "modules/tm/uac.h"
#include "p2p_route.h"

#define TICK_MS 100
#define IDLE_MS 1000
#define SOCKET_TEXT_MAX 64
#define VERDICT_MS 250	  /* after the branch's time is up, tm has said so by then */
#define WATCHES_MAX 20000 /* more are not watched: their calls go on as usual */
#define PROBES_A_TICK 16
#define WANTED_MS 20000 /* a peer that is down is probed while somebody wants it */
#define BATCH 64
/* How often calls over sessions are looked through. */
#define CALLS_SWEEP_MS 5000

struct peer { /* shm, under lock */
	bool used, down;
	bool trying; /* DOWN: the one try was granted, and no branch added yet */
	struct p2p_hit hit;
	char uri[P2P_CANDIDATE_URI_MAX];
	char socket[SOCKET_TEXT_MAX]; /* ours towards it */
	uint64_t heard_ms;	      /* 0: never */
	uint64_t wanted_ms;	      /* last branch towards it */
	uint64_t retry_ms;	      /* DOWN: not before */
	uint64_t probe_ms;	      /* last probe sent */
	unsigned int sent, failures, recoveries;
	unsigned int generation;
};

enum watch_stage {
	WATCH_PROBE,   /* not INVITE: due when the peer has been silent for long enough to ask */
	WATCH_ALIVE,   /* not INVITE: probed; due each tick until it is heard of */
	WATCH_VERDICT, /* due after the branch's time: did it answer? */
};

struct watch { /* shm, under lock */
	struct watch *next;
	struct p2p_hit hit;
	unsigned int hash_index, label, branch;
	uint64_t sent_ms;
	enum watch_stage stage;
	bool invite;
};

struct health { /* shm */
	gen_lock_t lock;
	int n_watches;
	struct watch *first, **last; /* in the order they were sent */
	int n_down;		     /* peers that are down: nothing to probe without */
	int n_peers;		     /* slots of peer[] */
	struct peer peer[];
};

static struct health *health;
static int wake_fd = -1; /* eventfd: the first branch that is watched */

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int route_health_init(void)
{
	size_t size = sizeof(*health) + (size_t)route_settings.max_peers * sizeof(struct peer);

	wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (wake_fd < 0) {
		LM_ERR("eventfd: %s\n", strerror(errno));
		return -1;
	}
	health = shm_malloc(size);
	if (health == NULL) {
		SHM_MEM_ERROR;
		return -1;
	}
	memset(health, 0, size);
	health->n_peers = route_settings.max_peers;
	health->last = &health->first;
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
	struct watch *w, *next;

	if (health == NULL)
		return;
	for (w = health->first; w != NULL; w = next) {
		next = w->next;
		shm_free(w);
	}
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
			p->retry_ms = now + (uint64_t)route_settings.peer_down_ms;
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

void route_peer_failed(const struct p2p_hit *hit, const char *what)
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
	p->retry_ms = now + (uint64_t)route_settings.peer_down_ms;
	if (!p->down) {
		p->down = true;
		health->n_down++;
		p->probe_ms = now;
		changed = true;
		memcpy(uri, p->uri, sizeof(uri));
	}
	lock_release(&health->lock);
	if (changed) {
		p2p_hit_print(hit, text);
		route_count(ROUTE_CNT_PEER_DOWN);
		LM_WARN("peer %s (%s) does not answer: %s; not used until it does, or for %d ms\n",
			text, uri[0] != '\0' ? uri : "address unknown", what,
			route_settings.peer_down_ms);
	}
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

/* --- watching branches ---------------------------------------------------------------------- */

void route_health_watch(const struct p2p_hit *hit, struct cell *t, unsigned int b, bool invite)
{
	static const uint64_t one = 1;
	uint64_t now = now_ms();
	struct watch *w;
	struct peer *p;
	bool first, full;

	lock_get(&health->lock);
	p = peer_find(hit);
	/* a peer that just spoke will be found silent by the failure route, or the next call */
	full = health->n_watches >= WATCHES_MAX;
	if (full || (invite && p != NULL && p->heard_ms + 2000 > now)) {
		lock_release(&health->lock);
		if (full)
			route_count(ROUTE_CNT_UNWATCHED);
		return;
	}
	health->n_watches++;
	lock_release(&health->lock);
	w = shm_malloc(sizeof(*w));
	if (w == NULL) {
		SHM_MEM_ERROR;
		lock_get(&health->lock);
		health->n_watches--;
		lock_release(&health->lock);
		route_count(ROUTE_CNT_UNWATCHED);
		return;
	}
	w->next = NULL;
	w->hit = *hit;
	w->hash_index = t->hash_index;
	w->label = t->label;
	w->branch = b;
	w->sent_ms = now;
	w->invite = invite;
	w->stage = invite ? WATCH_VERDICT : WATCH_PROBE;
	lock_get(&health->lock);
	first = health->first == NULL;
	*health->last = w;
	health->last = &w->next;
	lock_release(&health->lock);
	if (first && write(wake_fd, &one, sizeof(one)) < 0)
		LM_DBG("the process that watches the peers is late\n");
}

static bool is_due(const struct watch *w, uint64_t now)
{
	switch (w->stage) {
	case WATCH_PROBE:
		return now >= w->sent_ms + (uint64_t)route_settings.probe_after_ms;
	case WATCH_ALIVE:
		return true;
	case WATCH_VERDICT:
	default:
		return now >= w->sent_ms + (uint64_t)route_settings.peer_timeout_ms + VERDICT_MS;
	}
}

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

/* Look at the branch. Returns true when the watch goes on. Runs without our lock. */
static bool watch_look(struct watch *w, uint64_t heard_ms)
{
	struct ua_client *uac;
	struct cell *t = NULL;
	struct p2p_hit hit;
	bool go_on = false, dead = false;

	if (route_tm.t_lookup_ident(&t, w->hash_index, w->label) < 0 || t == NULL)
		return false;
	if ((int)w->branch < t->nr_of_outgoings) {
		uac = &t->uac[w->branch];
		switch (w->stage) {
		case WATCH_PROBE:
			go_on = uac->last_received < 200;
			break;
		case WATCH_ALIVE:
			if (uac->last_received >= 200) {
				w->stage = WATCH_VERDICT;
				go_on = true;
			} else if (heard_ms > w->sent_ms) {
				uac->flags |= ROUTE_UAC_ALIVE;
				uac->request.fr_expire = get_ticks_raw() + t->fr_timeout;
			} else {
				go_on = true;
			}
			break;
		case WATCH_VERDICT:
			dead = route_branch_state(t, (int)w->branch, &hit) == P2P_BRANCH_DEAD;
			break;
		}
	}
	route_tm.unref_cell(t);
	route_tm.t_sett(T_UNDEFINED, T_BR_UNDEFINED);
	if (dead)
		route_peer_failed(&w->hit,
				  w->invite ? "no reply to INVITE" : "no reply to a request");
	return go_on;
}

/* Ask the watched peer now, unless it has been asked this moment. */
static void watch_probe(const struct watch *w, uint64_t now)
{
	struct probe pr = {.ref = 0};
	struct peer *p;

	lock_get(&health->lock);
	p = peer_find(&w->hit);
	if (p != NULL && now >= p->probe_ms + 500 && p->heard_ms <= w->sent_ms)
		probe_fill(&pr, p, now);
	lock_release(&health->lock);
	if (pr.uri[0] != '\0')
		probe(&pr);
}

/* Take up to n watches that are due off the list. The list is in the order of sending, and no
 * stage comes earlier than probe_after_ms: stop at the first that is younger. */
static int watches_take(struct watch **out, int n, uint64_t now)
{
	struct watch **wp;
	int got = 0;

	lock_get(&health->lock);
	for (wp = &health->first; *wp != NULL && got < n;) {
		struct watch *w = *wp;

		if (now < w->sent_ms + (uint64_t)route_settings.probe_after_ms)
			break;
		if (!is_due(w, now)) {
			wp = &w->next;
			continue;
		}
		*wp = w->next;
		out[got++] = w;
	}
	for (wp = &health->first; *wp != NULL;)
		wp = &(*wp)->next;
	health->last = wp;
	lock_release(&health->lock);
	return got;
}

static void watches_run(uint64_t now)
{
	struct watch *batch[BATCH], *again = NULL, *w;
	struct peer *p;
	uint64_t heard;
	int i, n;

	while ((n = watches_take(batch, BATCH, now)) > 0) {
		for (i = 0; i < n; i++) {
			w = batch[i];
			lock_get(&health->lock);
			p = peer_find(&w->hit);
			heard = p != NULL ? p->heard_ms : 0;
			lock_release(&health->lock);
			if (watch_look(w, heard)) {
				if (w->stage == WATCH_PROBE) {
					watch_probe(w, now);
					w->stage = WATCH_ALIVE;
				}
				w->next = again;
				again = w;
			} else {
				shm_free(w);
				lock_get(&health->lock);
				health->n_watches--;
				lock_release(&health->lock);
			}
		}
	}
	/* what goes on is older than what has come meanwhile: back to the front */
	lock_get(&health->lock);
	while (again != NULL) {
		w = again;
		again = w->next;
		w->next = health->first;
		if (health->first == NULL)
			health->last = &w->next;
		health->first = w;
	}
	lock_release(&health->lock);
}

/* Peers that are down and still wanted are asked from time to time. */
static void probes_run(uint64_t now)
{
	struct probe due[PROBES_A_TICK];
	int i, left, n = 0;

	lock_get(&health->lock);
	for (i = 0, left = health->n_down; left > 0 && i < health->n_peers && n < PROBES_A_TICK;
	     i++) {
		struct peer *p = &health->peer[i];

		if (!p->used || !p->down)
			continue;
		left--;
		if (now >= p->probe_ms + (uint64_t)route_settings.peer_down_ms &&
		    now < p->wanted_ms + WANTED_MS)
			probe_fill(&due[n++], p, now);
	}
	lock_release(&health->lock);
	for (i = 0; i < n; i++)
		probe(&due[i]);
}

static void tick(void)
{
	static uint64_t probes_ms, calls_ms;
	uint64_t now = now_ms();

	watches_run(now);
	if (now >= calls_ms + CALLS_SWEEP_MS) {
		calls_ms = now;
		route_calls_sweep();
	}
	if (now >= probes_ms + 1000) {
		probes_ms = now;
		probes_run(now);
	}
}

static bool watching(void)
{
	bool some;

	lock_get(&health->lock);
	some = health->n_watches > 0;
	lock_release(&health->lock);
	return some;
}

static void run(void)
{
	struct pollfd p = {.fd = wake_fd, .events = POLLIN};
	uint64_t count;

	for (;;) {
		if (watching())
			sleep_us(TICK_MS * 1000);
		else if (poll(&p, 1, IDLE_MS) > 0 && read(wake_fd, &count, sizeof(count)) < 0)
			sleep_us(TICK_MS * 1000);
		cfg_update();
		tick();
	}
}

int route_health_child(void)
{
	int pid = fork_process(PROC_TIMER, "p2p_route health", 1);

	if (pid < 0) {
		LM_ERR("cannot fork the process that watches the peers\n");
		return -1;
	}
	if (pid == 0) {
		if (cfg_child_init()) {
			LM_ERR("no configuration for the process that watches the peers\n");
			exit(-1);
		}
		run();
	}
	return 0;
}
