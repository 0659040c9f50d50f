/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is known of each transaction whose media is (or will be) anchored, and its release.
 *
 * A session hangs on its transaction as the parameter of a tm callback: it is found by walking the
 * transaction's callbacks (a handful, and only ever added to), and freed by tm with the
 * transaction. Each branch's state says whether the relay may hold media for it:
 *   FREE -> RESERVED (a handle was chosen) -> OFFERED (the relay has taken an offer)
 *   RESERVED | OFFERED -> DELETED (only from OFFERED is the relay told)
 * By compare-and-swap, since a CANCEL's 487 and an offer under way may meet in two processes:
 * whoever moves a branch on does what goes with it, once. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "core/dprint.h"
#include "core/config.h"
#include "core/locking.h"
#include "core/mem/shm_mem.h"
#include "core/parser/parse_cseq.h"
#include "core/parser/parse_from.h"
#include "core/dset.h"
#include "lib/base/hash.h"
#include "modules/p2p_media/p2p_media.h"

/* shm */
struct session_list {
	gen_lock_t lock;
	TAILQ_HEAD(, p2p_media_session) all; /* by serial; under lock */
	unsigned int serial, count;	     /* under lock */
	struct p2p_hash_key salt;	     /* written before forking */
};

static struct session_list *list;

/* The session of a request whose transaction does not exist yet, in this process. tm keeps it with
 * the callbacks that wait for that transaction. */
static struct p2p_media_session *early;
static unsigned int early_id;
static int early_pid;

int p2p_media_session_init(void)
{
	list = shm_malloc(sizeof(*list));
	if (list == NULL) {
		SHM_MEM_ERROR;
		return -1;
	}
	memset(list, 0, sizeof(*list));
	TAILQ_INIT(&list->all);
	if (lock_init(&list->lock) == NULL) {
		LM_ERR("cannot make a lock\n");
		shm_free(list);
		list = NULL;
		return -1;
	}
	if (getrandom(&list->salt, sizeof(list->salt), 0) != sizeof(list->salt)) {
		LM_ERR("no random numbers: %s\n", strerror(errno));
		return -1;
	}
	return 0;
}

void p2p_media_session_destroy(void)
{
	if (list == NULL)
		return;
	lock_destroy(&list->lock);
	shm_free(list);
	list = NULL;
}

uint32_t p2p_media_tag_hash(const str *tag)
{
	/* not salted: it must be the same after a restart, and is no secret */
	static const struct p2p_hash_key key = {{0}};

	return (uint32_t)p2p_hash(&key, tag->s, (size_t)tag->len) & 0xffffff;
}

uint64_t p2p_media_handle(struct sip_msg *msg, int branch)
{
	struct cseq_body *cseq;
	struct to_body *from;
	char buf[1024];
	int n;

	if (msg->callid == NULL || msg->via1 == NULL || parse_from_header(msg) < 0)
		return 0;
	cseq = msg->cseq != NULL ? get_cseq(msg) : NULL;
	from = get_from(msg);
	/* what overflows is cut: it only has to differ from other calls' */
	n = snprintf(buf, sizeof(buf), "%d|%.*s|%.*s|%.*s|%.*s", branch,
		     cseq != NULL ? cseq->number.len : 0, cseq != NULL ? cseq->number.s : "",
		     msg->via1->branch != NULL ? msg->via1->branch->value.len : 0,
		     msg->via1->branch != NULL ? msg->via1->branch->value.s : "",
		     from->tag_value.len, from->tag_value.s, msg->callid->body.len,
		     msg->callid->body.s);
	if (n >= (int)sizeof(buf))
		n = sizeof(buf) - 1;
	return p2p_hash(&list->salt, buf, (size_t)n);
}

/* What a side of a call can be, in one number. */
static const struct p2p_media_side sides[] = {
	{.overlay = false},
	{.overlay = true},
	{.overlay = true, .media = P2P_MEDIA_RTP},
	{.overlay = true, .media = P2P_MEDIA_SDES},
	{.overlay = true, .media = P2P_MEDIA_DTLS},
};
#define SIDES (sizeof(sides) / sizeof(sides[0]))

static size_t side_number(const struct p2p_media_side *side)
{
	size_t i;

	for (i = 0; i < SIDES; i++)
		if (sides[i].overlay == side->overlay && sides[i].media == side->media)
			return i;
	return side->overlay ? 1 : 0;
}

/* Both sides in one letter, a to y. */
static char sides_letter(const struct p2p_media_ticket *t)
{
	return (char)('a' + side_number(&t->caller) + SIDES * side_number(&t->callee));
}

static bool sides_parse(struct p2p_media_ticket *t, char letter)
{
	size_t n = (size_t)(letter - 'a');

	if (letter < 'a' || n >= SIDES * SIDES)
		return false;
	t->caller = sides[n % SIDES];
	t->callee = sides[n / SIDES];
	return true;
}

void p2p_media_ticket_print(const struct p2p_media_ticket *t, char text[P2P_MEDIA_TICKET_LEN + 1])
{
	uint8_t b[P2P_MEDIA_TICKET_BYTES + 1];

	p2p_put_be64(b, t->handle);
	p2p_put_be32(b + 8, t->caller_hash << 8);
	text[0] = sides_letter(t);
	p2p_base64url_print(text + 1, b, P2P_MEDIA_TICKET_BYTES);
}

int p2p_media_ticket_parse(struct p2p_media_ticket *t, const char *s, size_t len)
{
	uint8_t b[P2P_MEDIA_TICKET_BYTES + 1] = {0};

	if (len != P2P_MEDIA_TICKET_LEN || !sides_parse(t, s[0]) ||
	    p2p_base64url_parse(b, P2P_MEDIA_TICKET_BYTES, s + 1, len - 1) != 0)
		return EBADMSG;
	t->handle = p2p_be64(b);
	t->caller_hash = p2p_be32(b + 8) >> 8;
	return 0;
}

bool p2p_media_branch_move(struct p2p_media_branch *b, int from, int to)
{
	return __atomic_compare_exchange_n(&b->state, &from, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

void p2p_media_branch_end(struct p2p_media_session *s, unsigned int branch)
{
	struct p2p_media_branch *b = &s->branch[branch];

	/* RESERVED: an offer may be under way in another process, which finds the state changed
	 * and deletes it then */
	if (!p2p_media_branch_move(b, P2P_MEDIA_RESERVED, P2P_MEDIA_DELETED) &&
	    p2p_media_branch_move(b, P2P_MEDIA_OFFERED, P2P_MEDIA_DELETED))
		p2p_media_relay_delete(b->handle, &s->callid);
}

void p2p_media_session_end(struct p2p_media_session *s, int winner)
{
	unsigned int i;

	if (s->dialog)
		return;
	if (s->whole && winner >= 0)
		return;
	for (i = 0; i < s->n; i++)
		if ((int)i != winner)
			p2p_media_branch_end(s, i);
}

/* The first 2xx wins; tm relays further ones too (RFC 3261 section 16.7 step 5), but their calls
 * are ended by the caller, and their media with them. */
static void won(struct p2p_media_session *s, const struct cell *t)
{
	int none = P2P_MEDIA_NO_WINNER;

	__atomic_compare_exchange_n(&s->winner, &none, (int)t->relayed_reply_branch, false,
				    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
	p2p_media_session_end(s, __atomic_load_n(&s->winner, __ATOMIC_ACQUIRE));
}

static void on_transaction(struct cell *t, int type, struct tmcb_params *ps)
{
	struct p2p_media_session *s = *ps->param;

	/* at shutdown tm ends after this module: then the relay sees that we are gone */
	if (list == NULL)
		return;
	switch (type) {
	case TMCB_ON_FAILURE:
		/* all branches so far have failed; what a failure route adds comes after this */
		if (!s->whole)
			p2p_media_session_end(s, -1);
		break;
	case TMCB_RESPONSE_OUT:
		if (ps->code >= 300)
			p2p_media_session_end(s, -1);
		else if (ps->code >= 200)
			won(s, t);
		break;
	case TMCB_DESTROY:
		/* whatever was missed: a reply that could not be sent, a silent end */
		if (t->uas.status >= 200 && t->uas.status < 300)
			won(s, t);
		else
			p2p_media_session_end(s, -1);
		s->settled = true;
		break;
	}
}

static void session_free(void *param)
{
	struct p2p_media_session *s = param;

	if (list == NULL) {
		shm_free(s);
		return;
	}
	/* a request that never got a transaction */
	if (!s->settled)
		p2p_media_session_end(s, -1);
	lock_get(&list->lock);
	TAILQ_REMOVE(&list->all, s, all);
	list->count--;
	lock_release(&list->lock);
	if (early == s)
		early = NULL;
	shm_free(s);
}

static struct cell *transaction(void)
{
	struct cell *t = p2p_media_tm.t_gett();

	return t == T_UNDEFINED ? NULL : t;
}

struct p2p_media_session *p2p_media_session_find(struct sip_msg *msg)
{
	struct cell *t = transaction();
	struct tm_callback *cb;

	if (t == NULL) {
		if (early != NULL && early_id == msg->id && early_pid == msg->pid)
			return early;
		return NULL;
	}
	for (cb = (struct tm_callback *)t->tmcb_hl.first; cb != NULL; cb = cb->next)
		if (cb->callback == on_transaction)
			return cb->param;
	return NULL;
}

struct p2p_media_session *p2p_media_session_get(struct sip_msg *msg)
{
	struct p2p_media_session *s = p2p_media_session_find(msg);
	unsigned int n = (unsigned int)sr_dst_max_branches + 1;
	struct to_body *from;
	size_t size;

	if (s != NULL)
		return s;
	if (msg->callid == NULL || parse_from_header(msg) < 0)
		return NULL;
	from = get_from(msg);
	size = sizeof(*s) + n * sizeof(s->branch[0]) + (size_t)msg->callid->body.len;
	s = shm_malloc(size);
	if (s == NULL) {
		SHM_MEM_ERROR;
		return NULL;
	}
	memset(s, 0, size);
	s->n = n;
	s->winner = P2P_MEDIA_NO_WINNER;
	s->caller_hash = p2p_media_tag_hash(&from->tag_value);
	s->callid.s = (char *)&s->branch[n];
	s->callid.len = msg->callid->body.len;
	memcpy(s->callid.s, msg->callid->body.s, (size_t)s->callid.len);
	lock_get(&list->lock);
	s->serial = ++list->serial;
	list->count++;
	TAILQ_INSERT_TAIL(&list->all, s, all);
	lock_release(&list->lock);
	if (p2p_media_tm.register_tmcb(msg, transaction(),
				       TMCB_ON_FAILURE | TMCB_RESPONSE_OUT | TMCB_DESTROY,
				       on_transaction, s, session_free) <= 0) {
		LM_ERR("cannot watch the transaction\n");
		session_free(s);
		return NULL;
	}
	if (transaction() == NULL) {
		early = s;
		early_id = msg->id;
		early_pid = msg->pid;
	}
	return s;
}

unsigned int p2p_media_session_count(void)
{
	unsigned int n;

	if (list == NULL)
		return 0;
	lock_get(&list->lock);
	n = list->count;
	lock_release(&list->lock);
	return n;
}

unsigned int p2p_media_session_visit(unsigned int after, unsigned int max,
				     p2p_media_session_visit_f *f, void *arg)
{
	struct p2p_media_session *s;
	unsigned int n = 0;

	lock_get(&list->lock);
	TAILQ_FOREACH(s, &list->all, all) {
		if (s->serial <= after)
			continue;
		if (n == max)
			break;
		f(s, arg);
		n++;
	}
	lock_release(&list->lock);
	return n;
}
