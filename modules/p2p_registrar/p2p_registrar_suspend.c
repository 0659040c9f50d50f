// SPDX-License-Identifier: GPL-2.0-or-later
/* Suspended requests.
 *
 *   SIP worker                    client process (p2p_usrloc)         lookup worker
 *   t_newtran, t_suspend
 *   question_ask  ------------->  asks the gateway, or gives up  -->  reg_finish: asks on, or
 *   leaves the script             at the deadline                     t_continue: continuation_h
 *                                                                     puts the answer in place,
 * then the route runs
 *
 * The question carries the request's state (struct pending) from one process to the other. Whoever
 * holds the question owns both; reg_finish ends both, once, whatever t_continue returns:
 *    0  the route ran (or tm ended the transaction because the route did neither reply nor relay)
 *    1  cancelled this moment, or fr_timer was first: a reply has gone out
 *   -1  the transaction is gone;  -2 it is not suspended any more */
#include "core/dset.h"
#include "core/locking.h"
#include "core/atomic_ops.h"
#include "core/mem/shm_mem.h"
#include "core/script_cb.h"
#include "core/timer.h"
#include "core/timer_ticks.h"
#include "modules/tm/h_table.h"
#include "modules/tm/t_lookup.h"
#include "p2p_registrar.h"

#define SERVES_MIN_MS 20 /* less is no time for a question on a local socket */

struct pending { /* shm; owned with its question */
	struct reg_lookup lk;
	struct reg_route_ref ref;
	struct reg_answers an;
	enum reg_stage stage;
	unsigned int hash_index, label;
	ticks_t asked; /* lookup_timeout_ms is for all its questions together */
	flag_t branch_flags;
	struct reg_tried skip; /* REG_STAGE_NEXT */
	/* REG_STAGE_AUTH */
	struct reg_auth auth;
	enum p2p_answer_code auth_code;
	struct p2p_auth auth_answer;
	/* REG_STAGE_SAVE */
	enum p2p_answer_code save_code;
	bool silent;  /* the script answers */
	str prepared; /* shm: headers of the reply */
};

static atomic_t *pending_count;	   /* shm */
static struct pending *continuing; /* what this process is about to continue with */

int reg_pending_init(void)
{
	pending_count = shm_malloc(sizeof(*pending_count));
	if (pending_count == NULL) {
		SHM_MEM_ERROR;
		return -1;
	}
	atomic_set(pending_count, 0);
	return 0;
}

void reg_pending_destroy(void)
{
	if (pending_count != NULL)
		shm_free(pending_count);
	pending_count = NULL;
}

int reg_pending(void)
{
	return pending_count != NULL ? atomic_get(pending_count) : 0;
}

/* With publish=confirmed a quarter is kept for registrations: calls to users whom nobody finds must
 * not cost them. */
static int pending_max(bool save)
{
	return reg_settings.lookups_max -
	       (!save && reg_publish_waits() ? reg_settings.lookups_max / 4 : 0);
}

static struct pending *pending_new(bool save)
{
	struct pending *p;

	if (atomic_add(pending_count, 1) > pending_max(save)) {
		atomic_dec(pending_count);
		reg_count(REG_CNT_REFUSED);
		return NULL;
	}
	p = shm_malloc(sizeof(*p));
	if (p == NULL) {
		SHM_MEM_ERROR;
		atomic_dec(pending_count);
		return NULL;
	}
	memset(p, 0, sizeof(*p));
	return p;
}

static void pending_free(struct pending *p)
{
	explicit_bzero(&p->auth_answer, sizeof(p->auth_answer));
	if (p->prepared.s != NULL)
		shm_free(p->prepared.s);
	shm_free(p);
	atomic_dec(pending_count);
}

/* The lookup's strs point into its own buffers: set them anew after copying. */
static void lookup_copy(struct reg_lookup *to, const struct reg_lookup *from)
{
	*to = *from;
	to->aor.s = to->aor_buf;
	to->table.s = to->table_buf;
}

static void question_fill(struct p2p_question *q, struct pending *p, enum p2p_question_kind kind,
			  unsigned int flags, unsigned int deadline_ms)
{
	q->kind = kind;
	q->flags = flags;
	q->name = p->stage == REG_STAGE_AUTH ? p->auth.name : p->lk.name;
	q->hit = p->lk.hit;
	q->session = p->lk.session;
	q->deadline_ms = deadline_ms;
	q->reply_fd = reg_workers_reply_fd();
	q->user[0] = p;
	q->user[1] = NULL;
}

void reg_refresh(const struct p2p_name *name)
{
	struct p2p_question *q;

	if (!reg_ul.gateway_up() || (q = reg_ul.question_new()) == NULL)
		return;
	q->kind = P2P_QUESTION_ROUTE;
	q->flags = 0;
	q->name = *name;
	q->deadline_ms = (unsigned int)reg_settings.lookup_timeout_ms;
	q->reply_fd = reg_workers_reply_fd();
	q->user[0] = q->user[1] = NULL;
	reg_count(REG_CNT_REFRESHES);
	if (reg_ul.question_ask(q) < 0)
		reg_ul.question_free(q);
}

/* tm leaves the transaction marked as suspended, and would drop every reply. */
static void suspend_undo(struct pending *p)
{
	struct cell *t = reg_tm.t_gett();

	reg_tm.t_cancel_suspend(p->hash_index, p->label);
	if (t != NULL && t != T_UNDEFINED)
		t->flags &= ~T_ASYNC_SUSPENDED;
}

/* Takes p over, whatever comes of it. What reg_suspend() returns. */
static int suspend(struct sip_msg *msg, struct pending *p, enum p2p_question_kind kind,
		   unsigned int flags, int deadline_ms)
{
	struct p2p_question *q = reg_ul.question_new();
	struct cell *t;
	int ret;

	if (q == NULL) {
		pending_free(p);
		return -1;
	}
	getbflagsval(0, &p->branch_flags);
	t = reg_tm.t_gett();
	if (t == NULL || t == T_UNDEFINED) {
		ret = reg_tm.t_newtran(msg);
		if (ret <= 0) {
			if (ret < 0)
				LM_DBG("no transaction for a request of [%.*s]\n",
				       msg->first_line.u.request.uri.len,
				       msg->first_line.u.request.uri.s);
			goto gone; /* 0: a retransmission, which tm has answered */
		}
	} else if (p->stage != REG_STAGE_NEXT && reg_lumps_keep(msg, t) < 0) {
		goto failed;
	}
	if (p->stage == REG_STAGE_AUTH && reg_lumps_anchor(msg) < 0)
		goto failed;
	ret = reg_tm.t_suspend(msg, &p->hash_index, &p->label);
	if (ret != 0) {
		/* 1: cancelled before; -3: a final reply went out. Not suspended. */
		if (ret < 0 && ret != -3)
			goto failed;
		reg_count(REG_CNT_CANCELLED);
		goto gone;
	}
	p->asked = get_ticks_raw();
	question_fill(q, p, kind, flags, (unsigned int)deadline_ms);
	if (reg_ul.question_ask(q) < 0) {
		suspend_undo(p);
		goto failed;
	}
	/* from here on a worker may already be at it: not ours any more */
	reg_count(REG_CNT_SUSPENDED);
	return 1;
failed:
	reg_ul.question_free(q);
	pending_free(p);
	return -1;
gone:
	reg_ul.question_free(q);
	pending_free(p);
	return 0;
}

int reg_suspend(struct sip_msg *msg, const struct reg_lookup *lk, const struct reg_route_ref *ref,
		enum p2p_question_kind kind, unsigned int flags, enum reg_stage stage,
		const struct reg_tried *skip)
{
	struct pending *p = pending_new(false);

	if (p == NULL)
		return -1;
	lookup_copy(&p->lk, lk);
	p->ref = *ref;
	p->stage = stage;
	if (skip != NULL)
		p->skip = *skip;
	return suspend(msg, p, kind, flags,
		       stage == REG_STAGE_OTHERS ? reg_settings.local_wait_ms
						 : reg_settings.lookup_timeout_ms);
}

int reg_suspend_auth(struct sip_msg *msg, const struct reg_auth *a, const struct reg_route_ref *ref)
{
	struct pending *p = pending_new(false);

	if (p == NULL)
		return -1;
	p->auth = *a;
	p->ref = *ref;
	p->stage = REG_STAGE_AUTH;
	return suspend(msg, p, P2P_QUESTION_AUTH, 0, reg_settings.lookup_timeout_ms);
}

int reg_suspend_save(struct sip_msg *msg, const struct p2p_name *name,
		     const struct reg_route_ref *ref, bool silent)
{
	struct pending *p = pending_new(true);

	if (p == NULL)
		return -1;
	p->lk.name = *name;
	if (ref != NULL)
		p->ref = *ref;
	else
		p->ref.index = REG_ROUTE_NONE;
	p->stage = REG_STAGE_SAVE;
	p->silent = silent;
	if (reg_lumps_reply_take(msg, &p->prepared) < 0) {
		pending_free(p);
		return -1;
	}
	return suspend(msg, p, P2P_QUESTION_CONFIRM, 0, reg_settings.confirm_ms);
}

/* --- in the lookup worker ------------------------------------------------------------------- */

/* tm runs this with the request before the route. */
static int continuation_h(struct sip_msg *msg, unsigned int flags, void *arg)
{
	struct pending *p = continuing;
	str *now;

	(void)flags;
	(void)arg;
	if (p == NULL)
		return 1; /* an ordinary failure route */
	continuing = NULL;
	reg_count(REG_CNT_CONTINUED);
	if (p->stage == REG_STAGE_AUTH) {
		setbflagsval(0, p->branch_flags);
		return reg_auth_answered(msg, &p->auth, p->auth_code, &p->auth_answer) ? 1 : 0;
	}
	if (p->stage == REG_STAGE_SAVE) {
		setbflagsval(0, p->branch_flags);
		reg_save_answered(msg, &p->prepared, p->save_code, p->silent);
		return p->ref.index != REG_ROUTE_NONE ? 1 : 0;
	}
	if (p->stage == REG_STAGE_NEXT) {
		reg_next_apply(msg, &p->lk, &p->an, &p->skip);
		return 1;
	}
	/* the Request-URI as it was when the lookup began: tm kept the one of t_newtran */
	now = GET_RURI(msg);
	if (now->len != p->lk.aor.len || memcmp(now->s, p->lk.aor.s, (size_t)now->len) != 0)
		rewrite_uri(msg, &p->lk.aor);
	ruri_mark_new();
	setbflagsval(0, p->branch_flags);
	reg_lookup_apply(msg, &p->lk, &p->an);
	return 1;
}

int reg_continuation_init(void)
{
	if (register_script_cb(continuation_h, PRE_SCRIPT_CB | FAILURE_CB, NULL) < 0) {
		LM_ERR("cannot register the callback that runs before a continued route\n");
		return -1;
	}
	return 0;
}

/* One answer may call for another question, which has what is left of the time. True: asked. */
static bool ask_on(struct pending *p)
{
	unsigned int total = (unsigned int)reg_settings.lookup_timeout_ms, spent;
	struct p2p_question *q;
	bool need;

	if (p->stage != REG_STAGE_LOOKUP || p->an.asked_serves || !p->lk.has_name ||
	    !reg_in_orphan_window())
		return false;
	need = (p->an.asked_session && p->an.session == P2P_ANSWER_FOUND) ||
	       (p->an.asked_route && p->an.route == P2P_ANSWER_ABSENT);
	if (!need)
		return false;
	spent = TICKS_TO_MS(get_ticks_raw() - p->asked);
	if (spent + SERVES_MIN_MS <= total && (q = reg_ul.question_new()) != NULL) {
		question_fill(q, p, P2P_QUESTION_SERVES, 0, total - spent);
		if (reg_ul.question_ask(q) == 0)
			return true;
		reg_ul.question_free(q);
	}
	/* not asked: nobody can say that the user is absent */
	p->an.asked_serves = true;
	p->an.serves_code = P2P_ANSWER_UNKNOWN;
	return false;
}

static void answer_keep(struct pending *p, const struct p2p_question *q)
{
	switch (q->kind) {
	case P2P_QUESTION_ROUTE:
		p->an.asked_route = true;
		p->an.route = q->code;
		if (q->code == P2P_ANSWER_FOUND)
			p->an.set = q->set;
		break;
	case P2P_QUESTION_SERVES:
		p->an.asked_serves = true;
		p->an.serves_code = q->code;
		p->an.serves = q->serves;
		break;
	case P2P_QUESTION_SESSION:
		p->an.asked_session = true;
		p->an.session = q->code;
		break;
	case P2P_QUESTION_AUTH:
		p->auth_code = q->code;
		p->auth_answer = q->auth;
		break;
	case P2P_QUESTION_CONFIRM:
		p->save_code = q->code;
		break;
	case P2P_QUESTION_PEER: /* not asked here */
	case P2P_QUESTION_PEERSESSION:
		break;
	}
}

/* Cancelled while it waited: the caller has its 487, and tm would only complain that there is
 * nothing to continue. */
static bool cancelled(const struct pending *p)
{
	struct cell *t = NULL;
	bool yes;

	if (reg_tm.t_lookup_ident(&t, p->hash_index, p->label) < 0 || t == NULL)
		return false;
	yes = (t->flags & T_CANCELED) != 0;
	reg_tm.unref_cell(t);
	reg_tm.t_sett(T_UNDEFINED, T_BR_UNDEFINED);
	return yes;
}

static void finish(struct pending *p)
{
	str name, event = str_init("p2p_registrar:lookup");
	int ret;

	if (cancelled(p)) {
		reg_count(REG_CNT_CANCELLED);
		pending_free(p);
		return;
	}
	clear_branches(); /* of the last request this process continued */
	continuing = p;
	if (p->ref.index == REG_ROUTE_NONE) {
		ret = reg_tm.t_continue(p->hash_index, p->label, NULL);
	} else if (p->ref.index >= 0) {
		ret = reg_tm.t_continue(p->hash_index, p->label, main_rt.rlist[p->ref.index]);
	} else {
		name.s = p->ref.name;
		name.len = (int)strlen(p->ref.name);
		ret = reg_tm.t_continue_cb(p->hash_index, p->label, &name, &event);
	}
	continuing = NULL;
	clear_branches();
	if (ret == 1)
		reg_count(REG_CNT_CANCELLED);
	else if (ret < 0)
		reg_count(REG_CNT_LATE);
	pending_free(p);
}

void reg_finish(struct p2p_question *q)
{
	struct pending *p = q->user[0];

	if (p == NULL) { /* a refresh: the cache has what it needs */
		reg_ul.question_free(q);
		return;
	}
	answer_keep(p, q);
	reg_ul.question_free(q);
	if (!ask_on(p))
		finish(p);
}
