/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: questions that wait until the gateway is back; see the header. */
#include "modules/p2p_usrloc/p2p_usrloc_back.h"
#include "modules/p2p_usrloc/p2p_usrloc_lookup.h"

/* Away for longer, it is not waited for. */
#define BACK_MS 1500

/* the client process' own */
static struct pul_box *first, **last = &first;
static uint64_t due_ms = UINT64_MAX;

static uint64_t hopeless_ms(void)
{
	return atomic_load(&pul_shared->gateway_changed_ms) + BACK_MS;
}

static bool kind_waits(enum p2p_question_kind kind)
{
	if (kind == P2P_QUESTION_CONFIRM)
		return false; /* _confirm.c has had it wait */
	return kind == P2P_QUESTION_SESSION || kind == P2P_QUESTION_SERVES ||
	       !atomic_load(&pul_shared->gateway_seen);
}

bool pul_back_soon(enum p2p_question_kind kind)
{
	return atomic_load(&pul_shared->gateway_up) ||
	       (kind_waits(kind) && pul_now_ms() < hopeless_ms());
}

bool pul_back_wait(struct pul_box *box)
{
	uint64_t now = pul_now_ms(), until = hopeless_ms();

	if (!kind_waits(box->q.kind))
		return false;
	if (box->deadline_ms < until)
		until = box->deadline_ms;
	if (atomic_load(&pul_shared->gateway_up) || now >= until)
		return false;
	box->next = NULL;
	*last = box;
	last = &box->next;
	if (until < due_ms)
		due_ms = until;
	return true;
}

void pul_back_run(uint64_t now_ms)
{
	struct pul_box *box = first, *next;
	bool up = atomic_load(&pul_shared->gateway_up);

	if (first == NULL || (!up && now_ms < due_ms))
		return;
	first = NULL;
	last = &first;
	due_ms = UINT64_MAX;
	if (up) {
		pul_lookup_questions(box);
		return;
	}
	for (; box != NULL; box = next) {
		next = box->next;
		/* those that can wait on are taken in again */
		pul_lookup_answer(box, P2P_ANSWER_UNAVAILABLE);
	}
}

uint64_t pul_back_due(void)
{
	return due_ms;
}
