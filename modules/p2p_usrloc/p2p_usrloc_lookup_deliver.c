/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: answers to SIP workers, and those that a worker's socket had no room for. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/dprint.h"
#include "modules/p2p_usrloc/p2p_usrloc_back.h"
#include "modules/p2p_usrloc/p2p_usrloc_lookup_priv.h"

/* Pause before an answer is offered again to a full reply_fd. */
#define REDELIVER_MS 5

static struct pul_box *undelivered, **undelivered_end = &undelivered; /* oldest first */
static uint64_t redeliver_ms = UINT64_MAX;

static bool deliver(struct pul_box *box)
{
	struct p2p_question *q = &box->q;
	const int fd = q->reply_fd;
	ssize_t n;

	do {
		n = send(fd, &q, sizeof(q), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == ENOTSOCK)
			n = write(fd, &q, sizeof(q));
	} while (n < 0 && errno == EINTR);
	if (n == sizeof(q))
		return true;
	if (errno != EAGAIN && errno != ENOBUFS && pul_log_ok("deliver", 7))
		LM_ERR("cannot hand an answer back (fd %d): %s\n", fd, strerror(errno));
	return false;
}

/* The only place that hands a question back. */
void pul_lookup_answer(struct pul_box *box, enum p2p_answer_code code)
{
	static const enum pul_counter counter[] = {
		[P2P_ANSWER_FOUND] = PUL_CNT_FOUND,
		[P2P_ANSWER_ABSENT] = PUL_CNT_ABSENT,
		[P2P_ANSWER_UNKNOWN] = PUL_CNT_UNKNOWN,
		[P2P_ANSWER_UNAVAILABLE] = PUL_CNT_UNAVAILABLE,
		[P2P_ANSWER_BUSY] = PUL_CNT_BUSY,
		[P2P_ANSWER_BADARG] = PUL_CNT_UNKNOWN,
		[P2P_ANSWER_DENIED] = PUL_CNT_DENIED,
	};

	if (code == P2P_ANSWER_UNAVAILABLE && pul_back_wait(box))
		return;
	box->q.code = code;
	if (code != P2P_ANSWER_FOUND)
		box->q.set.n = 0;
	box->q.took_us = (unsigned int)(pul_now_us() - box->asked_us);
	box->lookup = NULL;
	if (box->q.kind == P2P_QUESTION_CONFIRM)
		pul_count(code == P2P_ANSWER_FOUND ? PUL_CNT_CONFIRMED : PUL_CNT_UNCONFIRMED);
	else
		pul_count(counter[code]);
	/* behind those that wait already, so that none is overtaken for ever */
	if (undelivered == NULL && deliver(box))
		return;
	box->next = NULL;
	*undelivered_end = box;
	undelivered_end = &box->next;
	redeliver_ms = pul_now_ms() + REDELIVER_MS;
}

void pul_deliver_run(uint64_t now_ms)
{
	struct pul_box **link = &undelivered, *box, *next;
	int full = -1;

	if (now_ms < redeliver_ms)
		return;
	while ((box = *link) != NULL) {
		/* once delivered it is its owner's, who may free it at once */
		next = box->next;
		if (box->q.reply_fd != full && deliver(box)) {
			*link = next;
		} else {
			full = box->q.reply_fd; /* none behind it overtakes */
			link = &box->next;
		}
	}
	undelivered_end = link;
	redeliver_ms = undelivered != NULL ? now_ms + REDELIVER_MS : UINT64_MAX;
}

uint64_t pul_deliver_due(void)
{
	return redeliver_ms;
}
