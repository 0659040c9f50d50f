/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: questions on their way from SIP workers to the client process. */
#include <string.h>

#include "core/dprint.h"
#include "core/mem/shm_mem.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"

static struct pul_box *box_of(struct p2p_question *q)
{
	return (struct pul_box *)((char *)q - offsetof(struct pul_box, q));
}

struct p2p_question *pul_question_new(void)
{
	struct pul_box *box;

	if (atomic_fetch_add(&pul_shared->questions, 1) >= pul_settings.question_max) {
		atomic_fetch_sub(&pul_shared->questions, 1);
		pul_count(PUL_CNT_REFUSED);
		return NULL;
	}
	box = shm_malloc(sizeof(*box));
	if (box == NULL) {
		SHM_MEM_ERROR;
		atomic_fetch_sub(&pul_shared->questions, 1);
		pul_count(PUL_CNT_REFUSED);
		return NULL;
	}
	memset(box, 0, offsetof(struct pul_box, q.set));
	box->q.set.n = 0;
	box->q.took_us = 0;
	box->q.reply_fd = -1;
	box->next = NULL;
	box->lookup = NULL;
	return &box->q;
}

void pul_question_free(struct p2p_question *q)
{
	if (q == NULL)
		return;
	explicit_bzero(&q->auth, sizeof(q->auth));
	shm_free(box_of(q));
	atomic_fetch_sub(&pul_shared->questions, 1);
}

int pul_question_ask(struct p2p_question *q)
{
	struct pul_box *box = box_of(q);

	if (q->reply_fd < 0 || q->name.len > P2P_NAME_MAX)
		return -1;
	q->name.s[q->name.len] = '\0';
	box->asked_us = pul_now_us();
	box->deadline_ms = box->asked_us / 1000 + q->deadline_ms;
	box->next = NULL;
	/* bounded by question_max: each question was counted when it was made */
	lock_get(&pul_shared->ask_lock);
	if (pul_shared->ask_tail != NULL)
		pul_shared->ask_tail->next = box;
	else
		pul_shared->ask_head = box;
	pul_shared->ask_tail = box;
	lock_release(&pul_shared->ask_lock);
	pul_count(PUL_CNT_QUESTIONS);
	pul_wake_now();
	return 0;
}

struct pul_box *pul_question_take_all(void)
{
	struct pul_box *box;

	lock_get(&pul_shared->ask_lock);
	box = pul_shared->ask_head;
	pul_shared->ask_head = pul_shared->ask_tail = NULL;
	lock_release(&pul_shared->ask_lock);
	return box;
}
