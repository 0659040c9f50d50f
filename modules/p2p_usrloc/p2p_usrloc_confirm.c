/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: registrations that wait until other peers can find the user; see the header. */
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "core/dprint.h"
#include "core/mem/mem.h"
#include "lib/base/bytes.h"
#include "lib/proto/resp.h"
#include "modules/p2p_usrloc/p2p_usrloc_confirm.h"
#include "modules/p2p_usrloc/p2p_usrloc_lookup.h"

#define TABLE_SIZE 1024

/* One question. */
struct waiting {
	LIST_ENTRY(waiting) same; /* of the table's slot */
	TAILQ_ENTRY(waiting) all; /* the soonest deadline first */
	TAILQ_ENTRY(waiting) unpublished;
	struct pul_box *box;
	bool queued;  /* it is of `unpublished` */
	bool early;   /* confirmed, before the gateway's answer to PUBLISH was read */
	uint64_t seq; /* of the CONFIRM that was sent for it; 0: none yet */
};

static LIST_HEAD(, waiting) table[TABLE_SIZE];
static TAILQ_HEAD(waiting_list, waiting) all = TAILQ_HEAD_INITIALIZER(all);
/* whose users are to be published before all others */
static TAILQ_HEAD(, waiting) unpublished = TAILQ_HEAD_INITIALIZER(unpublished);
static unsigned int n_waiting;
static bool unsent; /* CONFIRM of some could not be sent: no room */
static struct pul_conn *main_conn;
static uint64_t (*seq_next)(void);
static char channel[PUL_CONFIRM_CHANNEL_MAX];

void pul_confirm_init(const char *instance, struct pul_conn *conn, uint64_t (*next_seq)(void))
{
	snprintf(channel, sizeof(channel), "confirms:%s", instance);
	main_conn = conn;
	seq_next = next_seq;
}

const char *pul_confirm_channel(void)
{
	return channel;
}

static unsigned int slot_of(const char *name, size_t len)
{
	return (unsigned int)(p2p_hash(&pul_hash_key, name, len) % TABLE_SIZE);
}

static bool is_of(const struct waiting *w, const char *name, size_t len)
{
	return w->box->q.name.len == len && memcmp(w->box->q.name.s, name, len) == 0;
}

static void queue(struct waiting *w)
{
	w->seq = 0;
	w->early = false;
	if (!w->queued)
		TAILQ_INSERT_TAIL(&unpublished, w, unpublished);
	w->queued = true;
}

static void unqueue(struct waiting *w)
{
	if (w->queued)
		TAILQ_REMOVE(&unpublished, w, unpublished);
	w->queued = false;
}

/* The one end of a question. */
static void finish(struct waiting *w, enum p2p_answer_code code)
{
	struct pul_box *box = w->box;

	unqueue(w);
	LIST_REMOVE(w, same);
	TAILQ_REMOVE(&all, w, all);
	n_waiting--;
	pkg_free(w);
	pul_lookup_answer(box, code);
}

static void confirm_h(struct pul_conn *conn, const redisReply *r, void *arg)
{
	(void)conn;
	(void)arg;
	/* BUSY, or a gateway of before: those who wait are answered at their deadline */
	if (r != NULL && r->type == REDIS_REPLY_ERROR && pul_log_ok("confirm", 7))
		LM_WARN("the gateway does not confirm registrations: %.*s\n", (int)r->len, r->str);
}

/* CONFIRM for all who wait for this name. */
static void confirm_send(const char *name, size_t len, uint64_t seq)
{
	uint64_t now = pul_now_ms(), until = 0;
	uint8_t command[PUL_COMMAND_MAX];
	struct p2p_writer w;
	struct waiting *e;

	if (main_conn->state != PUL_CONN_READY)
		return; /* all is published again when it is */
	LIST_FOREACH(e, &table[slot_of(name, len)], same) {
		if (!is_of(e, name, len))
			continue;
		e->seq = seq;
		e->early = false;
		unqueue(e);
		if (e->box->deadline_ms > until)
			until = e->box->deadline_ms;
	}
	if (until <= now)
		return;
	p2p_writer_init(&w, command, sizeof(command));
	p2p_resp_array(&w, 5);
	p2p_resp_str(&w, "CONFIRM");
	p2p_resp_bulk(&w, name, len);
	p2p_resp_u64(&w, seq);
	p2p_resp_u64(&w, until - now);
	p2p_resp_str(&w, channel);
	if (pul_conn_send(main_conn, command, w.len,
			  now + (uint64_t)pul_settings.gateway_timeout_ms, confirm_h, NULL) == 0)
		return;
	LIST_FOREACH(e, &table[slot_of(name, len)], same)
		if (is_of(e, name, len))
			e->seq = 0;
	unsent = true;
}

/* For all of whose CONFIRM nothing is known; once for each name: confirm_send() numbers all of it.
 */
static void confirm_send_missing(void)
{
	struct waiting *w;

	unsent = false;
	TAILQ_FOREACH(w, &all, all) {
		if (w->seq == 0 && pul_users_progress(&w->box->q.name) == PUL_USERS_TOLD)
			confirm_send(w->box->q.name.s, w->box->q.name.len, seq_next());
		if (unsent)
			break;
	}
}

void pul_confirm_question(struct pul_box *box)
{
	const struct p2p_name *name = &box->q.name;
	enum pul_users_progress progress = pul_users_progress(name);
	uint64_t now = pul_now_ms();
	struct waiting *w, *at;

	if (pul_users_confirmed(name)) {
		pul_lookup_answer(box, P2P_ANSWER_FOUND);
		return;
	}
	/* away for longer than anybody here waits: do not gather them */
	if (!atomic_load(&pul_shared->gateway_up) &&
	    now > atomic_load(&pul_shared->gateway_changed_ms) + box->q.deadline_ms) {
		pul_lookup_answer(box, P2P_ANSWER_UNAVAILABLE);
		return;
	}
	/* The table lacks what usrloc has: it is being looked for. Else it has left, or the
	 * gateway does not want it. */
	if (progress == PUL_USERS_ABSENT && !atomic_load(&pul_shared->rescan)) {
		pul_lookup_answer(box, P2P_ANSWER_UNKNOWN);
		return;
	}
	w = pkg_malloc(sizeof(*w));
	if (w == NULL) {
		pul_lookup_answer(box, P2P_ANSWER_BUSY);
		return;
	}
	w->box = box;
	w->seq = 0;
	w->queued = w->early = false;
	LIST_INSERT_HEAD(&table[slot_of(name->s, name->len)], w, same);
	/* they mostly come in the order of their deadlines */
	TAILQ_FOREACH_REVERSE(at, &all, waiting_list, all)
	{
		if (at->box->deadline_ms <= box->deadline_ms)
			break;
	}
	if (at != NULL)
		TAILQ_INSERT_AFTER(&all, at, w, all);
	else
		TAILQ_INSERT_HEAD(&all, w, all);
	n_waiting++;
	if (progress == PUL_USERS_TOLD)
		confirm_send(name->s, name->len, seq_next());
	else
		queue(w);
}

bool pul_confirm_hurry(void)
{
	return !TAILQ_EMPTY(&unpublished);
}

bool pul_confirm_next(struct p2p_name *name)
{
	struct waiting *w = TAILQ_FIRST(&unpublished);

	if (w == NULL)
		return false;
	unqueue(w);
	*name = w->box->q.name;
	return true;
}

void pul_confirm_again(void)
{
	struct waiting *w;

	TAILQ_FOREACH(w, &all, all)
		queue(w);
}

/* Calls fn with each who waits for the name; fn may finish it. */
static void each(const char *name, size_t len, void (*fn)(struct waiting *w, uint64_t arg),
		 uint64_t arg)
{
	struct waiting *w, *next;

	for (w = LIST_FIRST(&table[slot_of(name, len)]); w != NULL; w = next) {
		next = LIST_NEXT(w, same);
		if (is_of(w, name, len))
			fn(w, arg);
	}
}

static void answer_one(struct waiting *w, uint64_t code)
{
	finish(w, (enum p2p_answer_code)code);
}

void pul_confirm_told(const struct p2p_name *name, enum pul_job_kind kind, uint64_t seq)
{
	if (n_waiting == 0)
		return;
	if (kind == PUL_JOB_WITHDRAW) /* what they registered is gone again */
		each(name->s, name->len, answer_one, P2P_ANSWER_UNKNOWN);
	else
		confirm_send(name->s, name->len, seq);
}

static void unsend_one(struct waiting *w, uint64_t arg)
{
	(void)arg;
	queue(w);
}

void pul_confirm_refused(const struct p2p_name *name, bool again)
{
	if (n_waiting == 0)
		return;
	if (again)
		each(name->s, name->len, unsend_one, 0);
	else
		each(name->s, name->len, answer_one, P2P_ANSWER_DENIED);
}

/* Those whom it was sent for, and whose user is as it was then. */
static void confirmed_one(struct waiting *w, uint64_t seq)
{
	if (seq != 0 ? w->seq != seq : !w->early)
		return;
	if (pul_users_confirmed(&w->box->q.name))
		finish(w, P2P_ANSWER_FOUND);
	else
		queue(w); /* changed since: that is published, and confirmed, too */
}

static void early_one(struct waiting *w, uint64_t seq)
{
	w->early = w->seq == seq;
}

static bool any(const struct p2p_name *name, uint64_t seq)
{
	const struct waiting *w;

	LIST_FOREACH(w, &table[slot_of(name->s, name->len)], same) {
		if (is_of(w, name->s, name->len) && (seq != 0 ? w->seq == seq : w->early))
			return true;
	}
	return false;
}

void pul_confirm_taken(const struct p2p_name *name)
{
	if (n_waiting > 0 && any(name, 0) && pul_users_confirm(name))
		each(name->s, name->len, confirmed_one, 0);
}

void pul_confirm_push(const char *s, size_t len)
{
	const char *space = memchr(s, ' ', len);
	struct p2p_name name;
	uint64_t seq;

	if (space == NULL || p2p_u64_parse(&seq, s, (size_t)(space - s)) != 0 || seq == 0 ||
	    !p2p_name_valid(space + 1, len - (size_t)(space - s) - 1)) {
		pul_count(PUL_CNT_PROTOCOL_ERRORS);
		return;
	}
	name.len = len - (size_t)(space - s) - 1;
	memcpy(name.s, space + 1, name.len);
	name.s[name.len] = '\0';
	if (!any(&name, seq))
		return; /* too late, or of what was told before */
	each(name.s, name.len, pul_users_confirm(&name) ? confirmed_one : early_one, seq);
}

void pul_confirm_subscribed(void)
{
	struct waiting *w;

	TAILQ_FOREACH(w, &all, all)
		w->seq = 0;
	confirm_send_missing();
}

void pul_confirm_run(uint64_t now_ms)
{
	struct waiting *w;

	if (unsent && pul_conn_room(main_conn) >= PUL_CONN_OUT_MAX / 2)
		confirm_send_missing();
	while ((w = TAILQ_FIRST(&all)) != NULL && w->box->deadline_ms <= now_ms) {
		if (pul_users_confirmed(&w->box->q.name))
			finish(w, P2P_ANSWER_FOUND); /* it changed, and back */
		else
			finish(w, atomic_load(&pul_shared->gateway_up) ? P2P_ANSWER_UNKNOWN
								       : P2P_ANSWER_UNAVAILABLE);
	}
}

uint64_t pul_confirm_due(void)
{
	const struct waiting *w = TAILQ_FIRST(&all);

	return w != NULL ? w->box->deadline_ms : UINT64_MAX;
}

unsigned int pul_confirm_waiting(void)
{
	return n_waiting;
}
