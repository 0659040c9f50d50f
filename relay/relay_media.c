/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Offers, answers, deletions and queries: which rtpengine is asked, and what if it does not
 * answer.
 *
 * An operation, once begun, goes
 *   [LOCATE: ask every instance for a call that is not in the table] ->
 *   ASK an instance -> done, or ASK the next one (offers only), while time is left -> done
 * and ends in finish(), exactly once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "relay/relay_priv.h"

/* A request is not begun when less than this is left of an operation's time. */
#define LEAST_MS 8
/* How long a deletion that nobody waits for may take; the sweep repeats it. */
#define DELETE_MS 1000

struct operation {
	struct relay *relay;
	struct relay_call *call; /* pinned, or NULL */
	struct ng_request *request;
	struct relay_owner *owner;
	enum { OFFER, ANSWER, QUERY } kind;
	bool dialog;  /* both tags known: it may continue a call */
	bool created; /* the call is in the table because of us */
	uint32_t tried;
	uint64_t deadline_ms;
	relay_result_h *done;
	void *arg;
	char *id;
};

/* A call is looked for at all instances. */
struct search {
	struct operation *op; /* NULL once it knows */
	struct relay *relay;
	unsigned int waiting;
	bool unheard; /* one did not say whether it has the call */
};

struct search_leg {
	struct search *search;
	struct ng_instance *instance;
};

const char *relay_code_name(enum relay_code code)
{
	static const char *const names[] = {
		[RELAY_OK] = "OK",
		[RELAY_UNAVAIL] = "UNAVAIL",
		[RELAY_TIMEOUT] = "TIMEOUT",
		[RELAY_BUSY] = "BUSY",
		[RELAY_BADARG] = "BADARG",
		[RELAY_NOTFOUND] = "NOTFOUND",
		[RELAY_INTERNAL] = "INTERNAL",
	};

	return names[code];
}

uint64_t relay_lease_end(const struct relay *relay)
{
	return relay_now_ms() + (uint64_t)relay->settings->lease_s * 1000;
}

void relay_call_own(struct relay_call *call, struct relay_owner *owner)
{
	if (call->owner == owner)
		return;
	if (call->owner != NULL)
		call->owner->calls--;
	call->owner = owner;
	if (owner != NULL)
		owner->calls++;
}

void relay_call_drop(struct relay *relay, struct relay_call *call)
{
	relay_call_own(call, NULL);
	relay_calls_remove(relay->calls, call);
}

static void count_code(struct relay *relay, enum relay_code code)
{
	uint64_t *const counter[] = {
		[RELAY_OK] = &relay->count.ok,
		[RELAY_UNAVAIL] = &relay->count.unavail,
		[RELAY_TIMEOUT] = &relay->count.timeout,
		[RELAY_BUSY] = &relay->count.busy,
		[RELAY_BADARG] = &relay->count.badarg,
		[RELAY_NOTFOUND] = &relay->count.notfound,
		[RELAY_INTERNAL] = &relay->count.internal,
	};

	(*counter[code])++;
}

void relay_delete_at(struct relay *relay, struct ng_instance *instance, const char *id)
{
	struct ng_request *request = ng_request_delete(id);

	(void)relay;
	if (request == NULL)
		return;
	/* should it get lost, the comparison with the instance's list finds the call */
	ng_instance_send(instance, request, DELETE_MS, NULL, NULL);
	ng_request_free(request);
}

struct deletion {
	struct relay *relay;
	struct relay_call *call;
};

static void on_deleted(int err, const struct ng_reply *reply, void *arg)
{
	struct deletion d = *(struct deletion *)arg;

	(void)reply;
	free(arg);
	/* an error result means that there is nothing to delete */
	if (err == 0 && !d.call->removed)
		relay_call_drop(d.relay, d.call);
	relay_calls_unpin(d.call);
}

void relay_call_delete(struct relay *relay, struct relay_call *call)
{
	struct ng_request *request;
	struct deletion *d;

	if (call->removed)
		return;
	if (call->state == RELAY_CALL_LIVE && call->pins > 0) {
		/* rtpengine might take the deletion before what is under way */
		call->delete_wanted = true;
		return;
	}
	if (call->state == RELAY_CALL_LIVE)
		call->deleting_ms = relay_now_ms();
	relay_call_own(call, NULL);
	relay_calls_state(relay->calls, call, RELAY_CALL_DELETING, relay_now_ms() + 2 * DELETE_MS);
	if (!ng_instance_usable(call->instance))
		return;
	d = malloc(sizeof(*d));
	request = ng_request_delete(call->id);
	if (d != NULL && request != NULL) {
		*d = (struct deletion){.relay = relay, .call = call};
		relay_calls_pin(call);
		if (ng_instance_send(call->instance, request, DELETE_MS, on_deleted, d) == 0)
			d = NULL;
		else
			relay_calls_unpin(call);
	}
	free(d);
	ng_request_free(request);
}

void relay_call_release(struct relay *relay, struct relay_call *call)
{
	bool wanted = call->delete_wanted && call->pins == 1 && !call->removed;

	if (!wanted) {
		relay_calls_unpin(call);
		return;
	}
	call->delete_wanted = false;
	call->pins--;
	relay_call_delete(relay, call);
}

static void finish(struct operation *op, enum relay_code code, const char *text, const char *s,
		   size_t len)
{
	struct relay *relay = op->relay;
	struct relay_call *call = op->call;

	count_code(relay, code);
	relay->operations--;
	if (call != NULL) {
		if (code != RELAY_OK && op->created && !call->removed)
			/* what timed out here may yet be done there */
			call->delete_wanted = true;
		relay_call_release(relay, call);
	}
	op->done(code, text, s, len, op->created, op->arg);
	ng_request_free(op->request);
	free(op->id);
	free(op);
}

static void ask(struct operation *op);

/* Another instance for an offer whose own did not take it. */
static bool next_instance(struct operation *op)
{
	struct relay *relay = op->relay;
	struct ng_instance *old = op->call->instance, *next;

	if (op->kind != OFFER || op->call->removed || op->call->delete_wanted)
		return false;
	/* a call that has media stays where it is while that lives */
	if (!op->created && ng_instance_usable(old))
		return false;
	next = ng_pool_pick(relay->pool, op->tried);
	if (next == NULL)
		return false;
	/* it may have been only slow */
	if (ng_instance_usable(old))
		relay_delete_at(relay, old, op->id);
	relay_calls_move(op->call, next);
	if (op->created)
		relay->count.failovers++;
	else
		relay->count.moved++;
	return true;
}

static void on_answer(int err, const struct ng_reply *reply, void *arg)
{
	struct operation *op = arg;
	struct relay *relay = op->relay;

	if (err == ECANCELED || relay->closing) {
		finish(op, RELAY_UNAVAIL, "shutting down", NULL, 0);
		return;
	}
	if (err == EBADMSG) {
		finish(op, RELAY_INTERNAL, "rtpengine's answer cannot be understood", NULL, 0);
		return;
	}
	if (err != 0) {
		if (next_instance(op)) {
			ask(op);
			return;
		}
		if (err == ECONNREFUSED)
			finish(op, RELAY_UNAVAIL, "rtpengine is not there", NULL, 0);
		else
			finish(op, RELAY_TIMEOUT, "rtpengine does not answer", NULL, 0);
		return;
	}
	if (reply->result == NG_RESULT_LIMIT) {
		if (op->created && next_instance(op)) {
			ask(op);
			return;
		}
		finish(op, RELAY_BUSY, "rtpengine is at its limit", NULL, 0);
		return;
	}
	if (reply->result == NG_RESULT_ERROR && ng_reply_unknown_call(reply)) {
		if (!op->call->removed && op->call->state == RELAY_CALL_LIVE) {
			relay->count.lost++;
			relay_call_drop(relay, op->call);
		}
		finish(op, RELAY_NOTFOUND, reply->error, NULL, 0);
		return;
	}
	if (reply->result == NG_RESULT_ERROR) {
		finish(op, RELAY_BADARG, reply->error, NULL, 0);
		return;
	}
	if (op->kind == QUERY) {
		finish(op, RELAY_OK, NULL, reply->text, reply->text_len);
		return;
	}
	if (reply->sdp_len == 0) {
		finish(op, RELAY_INTERNAL, "rtpengine gave no SDP", NULL, 0);
		return;
	}
	if (op->kind == ANSWER)
		op->call->answered = true;
	op->call->media_ms = relay_now_ms();
	if (op->call->state == RELAY_CALL_LIVE)
		relay_calls_renew(relay->calls, op->call, relay_lease_end(relay));
	finish(op, RELAY_OK, NULL, reply->sdp, reply->sdp_len);
}

/* Ask the instance of op->call. */
static void ask(struct operation *op)
{
	struct relay *relay = op->relay;
	uint64_t now = relay_now_ms(), left;
	int err;

	for (;;) {
		left = op->deadline_ms > now ? op->deadline_ms - now : 0;
		if (left < LEAST_MS) {
			finish(op, RELAY_TIMEOUT, "rtpengine does not answer", NULL, 0);
			return;
		}
		op->tried |= UINT32_C(1) << ng_instance_index(op->call->instance);
		if (!ng_instance_usable(op->call->instance)) {
			err = ECONNREFUSED;
		} else {
			/* leave the next one a chance; 5/8 covers one repetition */
			if (op->created && left >= 4 * LEAST_MS &&
			    ng_pool_pick(relay->pool, op->tried) != NULL)
				left = left * 5 / 8;
			err = ng_instance_send(op->call->instance, op->request, (unsigned int)left,
					       on_answer, op);
		}
		if (err == 0)
			return;
		if (err == ENOMEM || err == EMSGSIZE || err == ECANCELED) {
			finish(op, err == EMSGSIZE ? RELAY_BADARG : RELAY_INTERNAL,
			       err == EMSGSIZE ? "too large for rtpengine" : strerror(err), NULL,
			       0);
			return;
		}
		if (!next_instance(op)) {
			if (err == EBUSY)
				finish(op, RELAY_BUSY, "too many requests at rtpengine", NULL, 0);
			else
				finish(op, RELAY_UNAVAIL, "the call's rtpengine is down", NULL, 0);
			return;
		}
	}
}

/* The call is in no rtpengine: make it. */
static void create(struct operation *op)
{
	struct relay *relay = op->relay;
	struct ng_instance *instance;
	struct relay_call *call;

	call = relay_calls_find(relay->calls, op->id, strlen(op->id));
	if (call == NULL) {
		instance = ng_pool_pick(relay->pool, 0);
		if (instance == NULL) {
			finish(op, RELAY_UNAVAIL, "no rtpengine is up", NULL, 0);
			return;
		}
		if (relay_calls_count(relay->calls, RELAY_CALL_LIVE) +
			    relay_calls_count(relay->calls, RELAY_CALL_DELETING) >=
		    (size_t)relay->settings->max_calls) {
			finish(op, RELAY_BUSY, "too many calls", NULL, 0);
			return;
		}
		if (relay_calls_add(relay->calls, &call, op->id, strlen(op->id), instance,
				    relay_now_ms(), relay_lease_end(relay)) != 0) {
			finish(op, RELAY_INTERNAL, strerror(ENOMEM), NULL, 0);
			return;
		}
		relay_call_own(call, op->owner);
		op->created = true;
	}
	op->call = call;
	relay_calls_pin(call);
	ask(op);
}

/* Where it is: instance, or NULL for nowhere. */
static void located(struct operation *op, struct ng_instance *instance)
{
	struct relay *relay = op->relay;
	struct relay_call *call;

	call = relay_calls_find(relay->calls, op->id, strlen(op->id));
	if (call == NULL && instance != NULL) {
		if (relay_calls_add(relay->calls, &call, op->id, strlen(op->id), instance,
				    relay_now_ms(), relay_lease_end(relay)) != 0) {
			finish(op, RELAY_INTERNAL, strerror(ENOMEM), NULL, 0);
			return;
		}
		call->adopted = true;
		call->answered = true;
		relay->count.located++;
	}
	if (call == NULL) {
		/* an rtpengine that was restarted knows nothing, but a new offer and answer
		 * bring the call back */
		if (op->kind == OFFER)
			create(op);
		else
			finish(op, RELAY_NOTFOUND, "no such call", NULL, 0);
		return;
	}
	op->call = call;
	relay_calls_pin(call);
	ask(op);
}

/* No rtpengine has it. Where one of them did not say so, the call may be alive there, and must not
 * be moved away from under the phones. */
static void nowhere(struct operation *op, bool unheard)
{
	if (unheard)
		finish(op, RELAY_TIMEOUT, "no answer about where the call is", NULL, 0);
	else
		located(op, NULL);
}

static void on_found(int err, const struct ng_reply *reply, void *arg)
{
	struct search_leg leg = *(struct search_leg *)arg;
	struct search *search = leg.search;
	struct operation *op = search->op;

	free(arg);
	search->waiting--;
	if (op != NULL && err == 0 && reply->result == NG_RESULT_OK) {
		search->op = NULL;
		located(op, leg.instance);
	} else if (op != NULL) {
		if (err != 0 || !ng_reply_unknown_call(reply))
			search->unheard = true;
		if (search->waiting == 0) {
			search->op = NULL;
			if (err == ECANCELED || search->relay->closing)
				finish(op, RELAY_UNAVAIL, "shutting down", NULL, 0);
			else
				nowhere(op, search->unheard);
		}
	}
	if (search->waiting == 0)
		free(search);
}

static void locate(struct operation *op)
{
	struct relay *relay = op->relay;
	struct ng_request *request = ng_request_query(op->id);
	struct search *search = calloc(1, sizeof(*search));
	struct search_leg *leg;
	struct ng_instance *instance;
	/* the other half is for what then has to be asked */
	unsigned int ms = (unsigned int)relay->settings->deadline_ms / 2, i;
	bool unheard;

	if (search != NULL && request != NULL) {
		search->relay = relay;
		search->op = op;
		for (i = 0; i < NG_INSTANCES_MAX; i++) {
			instance = ng_pool_at(relay->pool, i);
			if (instance == NULL || !ng_instance_usable(instance))
				continue;
			leg = malloc(sizeof(*leg));
			if (leg == NULL) {
				search->unheard = true;
				continue;
			}
			*leg = (struct search_leg){.search = search, .instance = instance};
			if (ng_instance_send(instance, request, ms, on_found, leg) == 0) {
				search->waiting++;
			} else {
				search->unheard = true;
				free(leg);
			}
		}
	}
	unheard = search == NULL || request == NULL || search->unheard;
	ng_request_free(request);
	if (search == NULL || search->waiting == 0) {
		free(search);
		if (ng_pool_up(relay->pool) == 0)
			finish(op, RELAY_UNAVAIL, "no rtpengine is up", NULL, 0);
		else
			nowhere(op, unheard);
	}
}

static struct operation *operation_new(struct relay *relay, int kind, const char *id,
				       relay_result_h *done, void *arg)
{
	struct operation *op = calloc(1, sizeof(*op));

	if (op == NULL)
		return NULL;
	op->id = strdup(id);
	if (op->id == NULL) {
		free(op);
		return NULL;
	}
	op->relay = relay;
	op->kind = kind;
	op->done = done;
	op->arg = arg;
	op->deadline_ms = relay_now_ms() + (uint64_t)relay->settings->deadline_ms;
	relay->operations++;
	return op;
}

static void begin(struct operation *op)
{
	struct relay_call *call = relay_calls_find(op->relay->calls, op->id, strlen(op->id));

	if (call != NULL && (call->state == RELAY_CALL_DELETING || call->delete_wanted)) {
		finish(op, RELAY_NOTFOUND, "the call is being deleted", NULL, 0);
	} else if (call != NULL) {
		op->call = call;
		relay_calls_pin(call);
		ask(op);
	} else if (op->kind == OFFER && !op->dialog) {
		create(op);
	} else {
		locate(op);
	}
}

void relay_media_offer(struct relay *relay, const struct ng_offer *offer, struct relay_owner *owner,
		       relay_result_h *done, void *arg)
{
	const char *flags[RELAY_FLAGS_MAX * 2];
	struct ng_offer o = *offer;
	struct operation *op;
	size_t i;

	if (o.answer)
		relay->count.answers++;
	else
		relay->count.offers++;
	o.n_flags = 0;
	for (i = 0; i < relay->settings->flags.n && o.n_flags < RELAY_FLAGS_MAX; i++)
		flags[o.n_flags++] = relay->settings->flags.v[i];
	for (i = 0; i < offer->n_flags && o.n_flags < RELAY_FLAGS_MAX * 2; i++)
		flags[o.n_flags++] = offer->flags[i];
	o.flags = flags;
	op = operation_new(relay, o.answer ? ANSWER : OFFER, o.call_id, done, arg);
	if (op == NULL) {
		count_code(relay, RELAY_INTERNAL);
		done(RELAY_INTERNAL, strerror(ENOMEM), NULL, 0, false, arg);
		return;
	}
	op->dialog = o.to_tag != NULL;
	op->owner = owner;
	op->request = ng_request_offer(&o);
	if (op->request == NULL) {
		finish(op, RELAY_INTERNAL, strerror(ENOMEM), NULL, 0);
		return;
	}
	begin(op);
}

void relay_media_query(struct relay *relay, const char *id, relay_result_h *done, void *arg)
{
	struct operation *op = operation_new(relay, QUERY, id, done, arg);

	relay->count.queries++;
	if (op == NULL) {
		count_code(relay, RELAY_INTERNAL);
		done(RELAY_INTERNAL, strerror(ENOMEM), NULL, 0, false, arg);
		return;
	}
	op->request = ng_request_query(id);
	if (op->request == NULL) {
		finish(op, RELAY_INTERNAL, strerror(ENOMEM), NULL, 0);
		return;
	}
	begin(op);
}

bool relay_media_delete(struct relay *relay, const char *id)
{
	struct relay_call *call = relay_calls_find(relay->calls, id, strlen(id));
	struct ng_instance *instance;
	unsigned int i;

	relay->count.deletes++;
	count_code(relay, RELAY_OK);
	if (call != NULL) {
		if (call->state == RELAY_CALL_LIVE)
			relay_call_delete(relay, call);
		return true;
	}
	for (i = 0; i < NG_INSTANCES_MAX; i++) {
		instance = ng_pool_at(relay->pool, i);
		if (instance != NULL && ng_instance_usable(instance))
			relay_delete_at(relay, instance, id);
	}
	return false;
}
