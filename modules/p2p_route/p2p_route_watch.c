// SPDX-License-Identifier: GPL-2.0-or-later
/* Branches towards peers: does the peer say anything?
 *
 *   sent --KNOCK_AFTER_MS: nothing heard from the peer--> knocked at, until probe_after_ms
 *          nobody listens there, and OPTIONS is not answered either: the branch fails at once
 *   sent to one that is down: fails after TRIAL_MS
 *
 * An INVITE towards a peer fails after peer_timeout_ms without any reply: a peer says 100 at once.
 * Another request may be answered late because the phone behind the peer is slow, and a proxy sends
 * no 100 for it (RFC 4320). So the peer is asked by OPTIONS when it has been silent for
 * probe_after_ms; if it is heard of, the branch gets the ordinary time-out back, else it fails.
 *
 * The list is in shared memory under one lock; nothing is called with the lock held. One process
 * looks at what is due every TICK_MS, or every IDLE_MS while no branch is watched and no peer is
 * down that is wanted. */
#include <errno.h>
#include <poll.h>
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
#include "modules/tm/h_table.h"
#include "p2p_route.h"
#include "p2p_route_health.h"
#include "p2p_route_knock.h"

#define TICK_MS 50
#define IDLE_MS 1000
#define KNOCK_AFTER_MS 50
#define TRIAL_MS 100	  /* what a request has that tries a peer which is known to be down */
#define VERDICT_MS 250	  /* after the branch's time is up, tm has said so by then */
#define WATCHES_MAX 20000 /* more are not watched: their calls go on as usual */
#define BATCH 64
/* How often calls over sessions are looked through. */
#define CALLS_SWEEP_MS 5000
/* Longer than its host took to refuse the knock, a peer may take to answer OPTIONS. */
#define ANSWER_MS 60
#define SUSPECTS_MAX ROUTE_KNOCKS_MAX

enum watch_stage {
	WATCH_KNOCK,   /* due when the peer has been silent for a moment, and each tick from then */
	WATCH_PROBE,   /* not INVITE: due when the peer has been silent for long enough to ask */
	WATCH_ALIVE,   /* not INVITE: probed; due each tick until it is heard of */
	WATCH_VERDICT, /* due after the branch's time: did it answer? */
};

struct watch { /* shm */
	struct watch *next;
	struct p2p_hit hit;
	unsigned int hash_index, label, branch;
	uint64_t sent_ms;
	enum watch_stage stage;
	bool invite;
};

static struct watches {	 /* shm */
	gen_lock_t lock; /* guards all below, and what is in the list */
	int n;
	struct watch *first, **last; /* in the order they were sent */
	struct watch *spare;	     /* to be used again; given back when nothing is watched */
} * watches;

/* The watching process' own: peers whose host has refused a knock, and are being asked. */
static struct suspect {
	bool used;
	struct p2p_hit hit;
	uint64_t since_ms, verdict_ms;
} suspects[SUSPECTS_MAX];

static int wake_fd = -1; /* eventfd: the first branch that is watched */

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int route_watch_init(void)
{
	wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (wake_fd < 0) {
		LM_ERR("eventfd: %s\n", strerror(errno));
		return -1;
	}
	watches = shm_malloc(sizeof(*watches));
	if (watches == NULL) {
		SHM_MEM_ERROR;
		return -1;
	}
	memset(watches, 0, sizeof(*watches));
	watches->last = &watches->first;
	if (lock_init(&watches->lock) == 0) {
		LM_ERR("no lock\n");
		shm_free(watches);
		watches = NULL;
		return -1;
	}
	return 0;
}

static void list_free(struct watch *w)
{
	struct watch *next;

	for (; w != NULL; w = next) {
		next = w->next;
		shm_free(w);
	}
}

void route_watch_destroy(void)
{
	if (watches == NULL)
		return;
	list_free(watches->first);
	list_free(watches->spare);
	lock_destroy(&watches->lock);
	shm_free(watches);
	watches = NULL;
}

/* One that is counted, and in no list; NULL: there are too many, or no memory is left. */
static struct watch *watch_new(void)
{
	struct watch *w;

	lock_get(&watches->lock);
	if (watches->n >= WATCHES_MAX) {
		lock_release(&watches->lock);
		return NULL;
	}
	watches->n++;
	w = watches->spare;
	if (w != NULL)
		watches->spare = w->next;
	lock_release(&watches->lock);
	if (w != NULL)
		return w;
	w = shm_malloc(sizeof(*w));
	if (w == NULL) {
		SHM_MEM_ERROR;
		lock_get(&watches->lock);
		watches->n--;
		lock_release(&watches->lock);
	}
	return w;
}

static void watch_free(struct watch *w)
{
	lock_get(&watches->lock);
	watches->n--;
	w->next = watches->spare;
	watches->spare = w;
	lock_release(&watches->lock);
}

void route_watch(const struct p2p_hit *hit, struct cell *t, unsigned int b, bool invite)
{
	static const uint64_t one = 1;
	struct watch *w = watch_new();
	bool first;

	if (w == NULL) {
		route_count(ROUTE_CNT_UNWATCHED);
		return;
	}
	w->next = NULL;
	w->hit = *hit;
	w->hash_index = t->hash_index;
	w->label = t->label;
	w->branch = b;
	w->sent_ms = now_ms();
	w->invite = invite;
	w->stage = WATCH_KNOCK;
	lock_get(&watches->lock);
	first = watches->first == NULL;
	*watches->last = w;
	watches->last = &w->next;
	lock_release(&watches->lock);
	if (first && write(wake_fd, &one, sizeof(one)) < 0)
		LM_DBG("the process that watches the peers is late\n");
}

/* --- in the watching process ---------------------------------------------------------------- */

static bool is_due(const struct watch *w, uint64_t now)
{
	switch (w->stage) {
	case WATCH_PROBE:
		return now >= w->sent_ms + (uint64_t)route_settings.probe_after_ms;
	case WATCH_KNOCK:
	case WATCH_ALIVE:
		return true;
	case WATCH_VERDICT:
	default:
		return now >= w->sent_ms + (uint64_t)route_settings.peer_timeout_ms + VERDICT_MS;
	}
}

/* A branch that got nothing from its peer need not wait for its time to be over. tm's timer finds
 * that it is, at its next tick (tm looks at fr_expire when a retransmission is due only, so the
 * timer is set anew). Whoever stops the timer meanwhile, because a reply has come after all, has
 * marked it before. */
static void branch_end(struct cell *t, const struct watch *w)
{
	struct retr_buf *rb = &t->uac[w->branch].request;
	struct p2p_hit hit;

	if (route_branch_state(t, (int)w->branch, &hit) != P2P_BRANCH_OPEN ||
	    t->uac[w->branch].last_received > 0 || !rb->t_active ||
	    (rb->flags & (F_RB_DEL_TIMER | F_RB_REPLIED)) || timer_del(&rb->timer) != 0)
		return;
	rb->fr_expire = get_ticks_raw();
	timer_reinit(&rb->timer);
	timer_add(&rb->timer, 1);
}

/* Nothing was heard from the peer since the branch was sent. True: the watch goes on. */
static bool silent(struct watch *w, struct cell *t, bool down, uint64_t now)
{
	if (t->uac[w->branch].last_received >= 200)
		return false;
	if (down && now >= w->sent_ms + TRIAL_MS) {
		branch_end(t, w);
		return false;
	}
	if (now >= w->sent_ms + (uint64_t)route_settings.probe_after_ms)
		w->stage = w->invite ? WATCH_VERDICT : WATCH_PROBE;
	else
		route_health_knock(&w->hit, w->sent_ms, now);
	return true;
}

/* Look at the branch. Returns true when the watch goes on. */
static bool watch_look(struct watch *w, uint64_t now)
{
	struct ua_client *uac;
	struct cell *t = NULL;
	struct p2p_hit hit;
	bool go_on = false, dead = false, ask = false, down;
	uint64_t heard_ms = route_health_heard(&w->hit, &down);

	if (w->stage == WATCH_KNOCK && heard_ms > w->sent_ms) {
		/* a peer that speaks: should it fall silent now, its branch's time will tell */
		w->stage = WATCH_PROBE;
		return !w->invite;
	}
	if (route_tm.t_lookup_ident(&t, w->hash_index, w->label) < 0 || t == NULL)
		return false;
	if ((int)w->branch < t->nr_of_outgoings) {
		uac = &t->uac[w->branch];
		switch (w->stage) {
		case WATCH_KNOCK:
			go_on = silent(w, t, down, now);
			break;
		case WATCH_PROBE:
			go_on = ask = uac->last_received < 200;
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
	if (ask) {
		route_health_ask(&w->hit, w->sent_ms, 500, now);
		w->stage = WATCH_ALIVE;
	}
	return go_on;
}

/* Take up to n watches that are due off the list; those of one peer: whatever they wait for. The
 * list is in the order of sending, and no stage comes earlier than KNOCK_AFTER_MS: stop at the
 * first that is younger. */
static int watches_take(struct watch **out, int n, const struct p2p_hit *hit, uint64_t now)
{
	struct watch **wp;
	int got = 0;

	lock_get(&watches->lock);
	for (wp = &watches->first; *wp != NULL && got < n;) {
		struct watch *w = *wp;

		if (hit == NULL && now < w->sent_ms + KNOCK_AFTER_MS)
			break;
		if (hit != NULL ? p2p_hit_cmp(&w->hit, hit) != 0 : !is_due(w, now)) {
			wp = &w->next;
			continue;
		}
		*wp = w->next;
		out[got++] = w;
	}
	for (wp = &watches->first; *wp != NULL;)
		wp = &(*wp)->next;
	watches->last = wp;
	lock_release(&watches->lock);
	return got;
}

static void watches_run(uint64_t now)
{
	struct watch *batch[BATCH], *again = NULL, *w;
	int i, n;

	while ((n = watches_take(batch, BATCH, NULL, now)) > 0) {
		for (i = 0; i < n; i++) {
			w = batch[i];
			if (watch_look(w, now)) {
				w->next = again;
				again = w;
			} else {
				watch_free(w);
			}
		}
	}
	/* what goes on is older than what has come meanwhile: back to the front */
	lock_get(&watches->lock);
	while (again != NULL) {
		w = again;
		again = w->next;
		w->next = watches->first;
		if (watches->first == NULL)
			watches->last = &w->next;
		watches->first = w;
	}
	lock_release(&watches->lock);
}

static void peer_gone(const struct p2p_hit *hit, uint64_t now)
{
	struct watch *batch[BATCH], *w;
	struct cell *t = NULL;
	int i, n;

	route_health_gone(hit);
	while ((n = watches_take(batch, BATCH, hit, now)) > 0) {
		for (i = 0; i < n; i++) {
			w = batch[i];
			if (route_tm.t_lookup_ident(&t, w->hash_index, w->label) >= 0 &&
			    t != NULL) {
				if ((int)w->branch < t->nr_of_outgoings)
					branch_end(t, w);
				route_tm.unref_cell(t);
				route_tm.t_sett(T_UNDEFINED, T_BR_UNDEFINED);
			}
			watch_free(w);
		}
	}
}

/* --- what knocking came to ------------------------------------------------------------------ */

static void knocked_h(const struct p2p_hit *hit, bool refused, uint64_t took_ms, uint64_t now)
{
	struct suspect *s = NULL;
	struct route_peer_info info;
	int i;

	if (!refused) {
		route_peer_heard(hit);
		return;
	}
	if (route_health_find(hit, &info) < 0 || info.down)
		return; /* that is known */
	for (i = 0; i < SUSPECTS_MAX; i++) {
		if (!suspects[i].used)
			s = &suspects[i];
		else if (p2p_hit_cmp(&suspects[i].hit, hit) == 0)
			return;
	}
	if (s == NULL)
		return;
	s->used = true;
	s->hit = *hit;
	s->since_ms = now - took_ms;
	s->verdict_ms = now + took_ms + ANSWER_MS;
	route_health_ask(hit, s->since_ms, 0, now);
}

static void suspects_run(uint64_t now)
{
	bool down;
	int i;

	for (i = 0; i < SUSPECTS_MAX; i++) {
		struct suspect *s = &suspects[i];

		if (!s->used || now < s->verdict_ms)
			continue;
		s->used = false;
		if (route_health_heard(&s->hit, &down) > s->since_ms)
			route_health_distrust(&s->hit, now);
		else
			peer_gone(&s->hit, now);
	}
}

/* --- the process ---------------------------------------------------------------------------- */

/* For how long there is nothing to do. */
static int tick(void)
{
	static uint64_t calls_ms;
	uint64_t now = now_ms();
	struct watch *spare = NULL;
	bool some, wanted;

	suspects_run(now);
	watches_run(now);
	if (now >= calls_ms + CALLS_SWEEP_MS) {
		calls_ms = now;
		route_calls_sweep();
	}
	wanted = route_health_probes(now);
	lock_get(&watches->lock);
	some = watches->n > 0;
	if (!some) {
		spare = watches->spare;
		watches->spare = NULL;
	}
	lock_release(&watches->lock);
	list_free(spare);
	return some || wanted ? TICK_MS : IDLE_MS;
}

static void run(void)
{
	struct pollfd fds[1 + ROUTE_KNOCKS_MAX] = {{.fd = wake_fd, .events = POLLIN}};
	unsigned int n;
	uint64_t count, due = 0, now;
	int pause = 0;

	for (;;) {
		n = route_knock_poll(&fds[1]);
		/* what is woken for is looked at in the next tick at the earliest */
		if (poll(fds, n + 1, pause) < 0 && errno != EINTR)
			sleep_us(TICK_MS * 1000);
		if ((fds[0].revents & POLLIN) && read(wake_fd, &count, sizeof(count)) > 0 &&
		    due > now_ms() + TICK_MS)
			due = now_ms() + TICK_MS;
		now = now_ms();
		route_knock_run(&fds[1], n, now, knocked_h);
		if (now >= due) {
			cfg_update();
			due = now + (uint64_t)tick();
		}
		now = now_ms();
		pause = due > now ? (int)(due - now) : 0;
	}
}

int route_watch_child(void)
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
