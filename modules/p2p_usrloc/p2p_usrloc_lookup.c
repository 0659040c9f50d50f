/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: the lookups under way, and the questions that wait for them; see the header. */
#include <errno.h>
#include <string.h>

#include "core/dprint.h"
#include "core/mem/mem.h"
#include "lib/base/bytes.h"
#include "lib/proto/resp.h"
#include "modules/p2p_usrloc/p2p_usrloc_confirm.h"
#include "modules/p2p_usrloc/p2p_usrloc_lookup_priv.h"

#define TABLE_SIZE 1024
/* Background lookups under way. */
#define BACKGROUND_MAX 64
/* What the gateway may take for one. */
#define BACKGROUND_MS 5000
/* A question asked again for those who can still wait: not for less than this. */
#define AGAIN_MS 50
/* A question that wants no cache joins a lookup that wants none and is no older than this. */
#define FRESH_JOIN_MS 100

/* all pkg, the client process' own */
static struct pul_lookup *table[TABLE_SIZE];
static unsigned int n_background;
static uint64_t next_deadline_ms = UINT64_MAX; /* of a waiting question, at the earliest */

int pul_lookup_init(pul_handshake_h *handshake)
{
	return pul_pool_init(handshake);
}

/* --- the table of lookups under way --- */

_Static_assert(sizeof(struct p2p_hit) == sizeof(struct p2p_session_id), "one key for both");

static bool by_hit(enum p2p_question_kind kind)
{
	return kind == P2P_QUESTION_PEER || kind == P2P_QUESTION_SESSION ||
	       kind == P2P_QUESTION_PEERSESSION;
}

static struct pul_lookup **slot_of(enum p2p_question_kind kind, const struct p2p_name *name,
				   const struct p2p_hit *hit)
{
	uint64_t h = by_hit(kind) ? p2p_hash(&pul_hash_key, hit, sizeof(*hit))
				  : p2p_hash(&pul_hash_key, name->s, name->len);

	return &table[h % TABLE_SIZE];
}

static bool same(const struct pul_lookup *l, enum p2p_question_kind kind,
		 const struct p2p_name *name, const struct p2p_hit *hit)
{
	if (l->kind != kind)
		return false;
	if (by_hit(kind))
		return p2p_hit_cmp(&l->hit, hit) == 0;
	return l->name.len == name->len && memcmp(l->name.s, name->s, name->len) == 0;
}

static struct pul_lookup *lookup_find(enum p2p_question_kind kind, bool fresh,
				      const struct p2p_name *name, const struct p2p_hit *hit)
{
	struct pul_lookup *l;

	for (l = *slot_of(kind, name, hit); l != NULL; l = l->next) {
		if (!same(l, kind, name, hit))
			continue;
		if (!fresh || (l->fresh && pul_now_ms() <= l->started_ms + FRESH_JOIN_MS))
			return l;
	}
	return NULL;
}

static void lookup_free(struct pul_lookup *l)
{
	struct pul_lookup **link = slot_of(l->kind, &l->name, &l->hit);

	for (; *link != l; link = &(*link)->next)
		;
	*link = l->next;
	if (l->background)
		n_background--;
	atomic_fetch_sub(&pul_shared->lookups, 1);
	pkg_free(l);
}

static void wait_add(struct pul_lookup *l, struct pul_box *box)
{
	box->lookup = l;
	box->next = l->waiting;
	l->waiting = box;
	if (box->deadline_ms < next_deadline_ms)
		next_deadline_ms = box->deadline_ms;
}

/* All who wait get one answer. set, serves, auth: as the kind has them. */
static void lookup_answer(struct pul_lookup *l, enum p2p_answer_code code,
			  const struct p2p_candidate_set *set, int serves,
			  const struct p2p_auth *auth)
{
	struct pul_box *box, *next;

	for (box = l->waiting; box != NULL; box = next) {
		next = box->next;
		box->q.serves = serves;
		if (auth != NULL)
			box->q.auth = *auth;
		if (set != NULL) {
			box->q.set.n = set->n;
			memcpy(box->q.set.c, set->c, set->n * sizeof(set->c[0]));
		}
		pul_lookup_answer(box, code);
	}
	l->waiting = NULL;
}

/* --- their end --- */

static void lookup_start(struct pul_lookup *l);

/* Those who can still wait get another search. When this one did not complete: only those who
 * joined it with a later deadline than its own. The others' time has been asked for, and a gateway
 * that gives up early, having nobody to ask, would be asked in circles. */
static void lookup_again(struct pul_lookup *l, bool all)
{
	struct pul_box **link = &l->waiting, *box, *again = NULL, **end = &again;
	uint64_t now = pul_now_ms(), latest = 0;
	struct pul_lookup *l2;

	while ((box = *link) != NULL) {
		if (box->deadline_ms < now + AGAIN_MS ||
		    (!all && box->deadline_ms < l->deadline_ms + AGAIN_MS)) {
			link = &box->next;
			continue;
		}
		*link = box->next;
		box->next = NULL;
		*end = box;
		end = &box->next;
		if (box->deadline_ms > latest)
			latest = box->deadline_ms;
	}
	if (again == NULL)
		return;
	l2 = pkg_malloc(sizeof(*l2));
	if (l2 == NULL) {
		*link = again;
		return;
	}
	*l2 = *l;
	l2->background = false;
	l2->outdated = false;
	l2->started_ms = now;
	l2->deadline_ms = latest;
	l2->waiting = again;
	for (box = again; box != NULL; box = box->next)
		box->lookup = l2;
	l2->next = *slot_of(l2->kind, &l2->name, &l2->hit);
	*slot_of(l2->kind, &l2->name, &l2->hit) = l2;
	atomic_fetch_add(&pul_shared->lookups, 1);
	lookup_start(l2);
}

/* The one end of a lookup. */
static void lookup_reply_h(struct pul_conn *conn, const redisReply *r, void *arg)
{
	static struct p2p_candidate_set set; /* 3 KiB: too much to be zeroed on each */
	struct pul_said said = {.code = P2P_ANSWER_UNAVAILABLE, .sense = true, .set = &set};
	struct pul_lookup *l = arg;

	(void)conn;
	set.n = 0;
	if (r != NULL) {
		pul_lookup_read(l, r, &said);
	} else if (atomic_load(&pul_shared->gateway_up) && !l->retried) {
		/* only this connection was lost */
		l->retried = true;
		lookup_start(l);
		return;
	}
	if (said.code == P2P_ANSWER_ABSENT && l->outdated) {
		/* the user may have registered while the search ran: that would be a false 404 */
		lookup_again(l, true);
		said.code = P2P_ANSWER_UNKNOWN;
	} else if (said.code == P2P_ANSWER_FOUND || said.code == P2P_ANSWER_ABSENT) {
		pul_lookup_remember(l, &said);
	} else if (said.code == P2P_ANSWER_UNKNOWN && said.sense) {
		lookup_again(l, false);
	}
	lookup_answer(l, said.code, &set, said.serves, &said.auth);
	explicit_bzero(&said.auth, sizeof(said.auth));
	if (l->kind == P2P_QUESTION_ROUTE && l->outdated && pul_users_serves(&l->name, NULL)) {
		struct p2p_name name = l->name;

		lookup_free(l);
		if (!pul_lookup_name(&name))
			pul_users_set_others(&name, true);
		return;
	}
	lookup_free(l);
}

/* --- asking --- */

static void refused_told_h(struct pul_conn *conn, const redisReply *r, void *arg)
{
	(void)arg;
	if (r != NULL && r->type == REDIS_REPLY_ERROR)
		pul_conn_doom(conn, "REFUSED: %.*s", (int)r->len, r->str);
}

/* Ahead of a search, on the same connection: the gateway would answer it with that session. */
static void refused_tell(struct pul_conn *conn)
{
	char text[P2P_SESSION_ID_TEXT_MAX];
	uint8_t command[96];
	struct p2p_session_id id;
	struct p2p_writer w;

	while (pul_sessions_take_refused(&id)) {
		p2p_session_id_print(&id, text);
		p2p_writer_init(&w, command, sizeof(command));
		p2p_resp_array(&w, 2);
		p2p_resp_str(&w, "REFUSED");
		p2p_resp_str(&w, text);
		if (pul_conn_send(conn, command, w.len,
				  pul_now_ms() + (uint64_t)pul_settings.gateway_timeout_ms,
				  refused_told_h, NULL) != 0)
			return; /* the connection is lost, and the search with it */
	}
}

static void lookup_start(struct pul_lookup *l)
{
	uint64_t now = pul_now_ms(), left = l->deadline_ms > now ? l->deadline_ms - now : 1;
	uint8_t command[PUL_COMMAND_MAX];
	struct p2p_writer w;
	struct pul_conn *conn;
	int err;

	p2p_writer_init(&w, command, sizeof(command));
	pul_lookup_command(l, left, &w);
	conn = atomic_load(&pul_shared->gateway_up) ? pul_pool_choose() : NULL;
	if (conn != NULL && l->kind == P2P_QUESTION_ROUTE)
		refused_tell(conn);
	err = conn == NULL ? ENOTCONN
			   : pul_conn_send(conn, command, w.len,
					   now + left + (uint64_t)pul_settings.gateway_timeout_ms,
					   lookup_reply_h, l);
	if (err == 0) {
		pul_count(PUL_CNT_LOOKUPS);
		if (l->background)
			pul_count(PUL_CNT_REFRESHES);
		return;
	}
	lookup_answer(l, err == ENOTCONN ? P2P_ANSWER_UNAVAILABLE : P2P_ANSWER_BUSY, NULL, 0, NULL);
	lookup_free(l);
}

static struct pul_lookup *lookup_new(enum p2p_question_kind kind, const struct p2p_name *name,
				     const struct p2p_hit *hit)
{
	struct pul_lookup *l = pkg_malloc(sizeof(*l)), **slot = slot_of(kind, name, hit);

	if (l == NULL)
		return NULL;
	memset(l, 0, sizeof(*l));
	l->kind = kind;
	if (name != NULL)
		l->name = *name;
	if (hit != NULL)
		l->hit = *hit;
	l->started_ms = pul_now_ms();
	l->next = *slot;
	*slot = l;
	atomic_fetch_add(&pul_shared->lookups, 1);
	return l;
}

static bool kind_known(enum p2p_question_kind kind)
{
	return kind == P2P_QUESTION_ROUTE || kind == P2P_QUESTION_SERVES ||
	       kind == P2P_QUESTION_PEER || kind == P2P_QUESTION_SESSION ||
	       kind == P2P_QUESTION_PEERSESSION || kind == P2P_QUESTION_AUTH;
}

void pul_lookup_questions(struct pul_box *box)
{
	struct pul_box *next;
	struct pul_lookup *l;
	bool fresh;

	for (; box != NULL; box = next) {
		next = box->next;
		if (box->q.kind == P2P_QUESTION_CONFIRM) {
			pul_count(PUL_CNT_CONFIRMS);
			pul_confirm_question(box);
			continue;
		}
		if (!kind_known(box->q.kind)) {
			pul_lookup_answer(box, P2P_ANSWER_BADARG);
			continue;
		}
		if (!atomic_load(&pul_shared->gateway_up)) {
			pul_lookup_answer(box, P2P_ANSWER_UNAVAILABLE);
			continue;
		}
		if (box->q.kind == P2P_QUESTION_SESSION)
			memcpy(&box->q.hit, &box->q.session, sizeof(box->q.hit));
		fresh = (box->q.flags & P2P_QUESTION_FRESH) != 0;
		l = lookup_find(box->q.kind, fresh, &box->q.name, &box->q.hit);
		if (l != NULL) {
			wait_add(l, box);
			continue;
		}
		l = lookup_new(box->q.kind, &box->q.name, &box->q.hit);
		if (l == NULL) {
			pul_lookup_answer(box, P2P_ANSWER_BUSY);
			continue;
		}
		l->fresh = fresh;
		l->deadline_ms = box->deadline_ms;
		wait_add(l, box);
		lookup_start(l);
	}
}

static bool background(enum p2p_question_kind kind, const struct p2p_name *name,
		       const struct p2p_hit *hit)
{
	struct pul_lookup *l;

	if (!atomic_load(&pul_shared->gateway_up))
		return false;
	if (lookup_find(kind, false, name, hit) != NULL)
		return true;
	if (n_background >= BACKGROUND_MAX)
		return false;
	l = lookup_new(kind, name, hit);
	if (l == NULL)
		return false;
	l->background = true;
	n_background++;
	l->deadline_ms = l->started_ms + BACKGROUND_MS;
	lookup_start(l);
	return true;
}

bool pul_lookup_name(const struct p2p_name *name)
{
	return background(P2P_QUESTION_ROUTE, name, NULL);
}

bool pul_lookup_peer(const struct p2p_hit *hit)
{
	return background(P2P_QUESTION_PEER, NULL, hit);
}

bool pul_lookup_session(const struct p2p_session_id *id)
{
	struct p2p_hit key;

	memcpy(&key, id, sizeof(key));
	return background(P2P_QUESTION_SESSION, NULL, &key);
}

/* What the gateway has to be told and asked about sessions, when no search does it. */
static void sessions_refresh(void)
{
	struct p2p_session_id id;
	struct pul_conn *conn;
	struct p2p_hit hit;

	if (!pul_sessions_waiting() || !atomic_load(&pul_shared->gateway_up))
		return;
	conn = pul_pool_choose();
	if (conn != NULL)
		refused_tell(conn);
	while (n_background < BACKGROUND_MAX && pul_sessions_take_recheck(&id))
		pul_lookup_session(&id);
	while (n_background < BACKGROUND_MAX && pul_sessions_take_want(&hit))
		background(P2P_QUESTION_PEERSESSION, NULL, &hit);
}

void pul_lookup_refresh(void)
{
	struct p2p_name name;
	char key[P2P_NAME_MAX + 1];
	struct p2p_hit hit;
	size_t len;

	sessions_refresh();
	while (n_background < BACKGROUND_MAX &&
	       pul_cache_take_wanted(pul_routes, name.s, &name.len))
		pul_lookup_name(&name);
	while (n_background < BACKGROUND_MAX && pul_cache_take_wanted(pul_peers, key, &len)) {
		if (len == sizeof(hit)) {
			memcpy(&hit, key, sizeof(hit));
			pul_lookup_peer(&hit);
		}
	}
}

void pul_lookup_outdated(const struct p2p_name *name)
{
	struct pul_lookup *l;

	for (l = *slot_of(P2P_QUESTION_ROUTE, name, NULL); l != NULL; l = l->next) {
		if (same(l, P2P_QUESTION_ROUTE, name, NULL))
			l->outdated = true;
	}
}

void pul_lookup_auth_outdated(const struct p2p_name *name)
{
	struct pul_lookup *l;
	unsigned int i;

	for (i = 0; i < TABLE_SIZE; i++) {
		if (name != NULL && &table[i] != slot_of(P2P_QUESTION_AUTH, name, NULL))
			continue;
		for (l = table[i]; l != NULL; l = l->next)
			if (l->kind == P2P_QUESTION_AUTH &&
			    (name == NULL || same(l, P2P_QUESTION_AUTH, name, NULL)))
				l->outdated = true;
	}
}

void pul_lookup_gateway_lost(void)
{
	pul_pool_lost();
}

/* --- the loop's side --- */

/* Answer those whose time is over. */
static void deadlines_run(uint64_t now_ms)
{
	struct pul_box **link, *box;
	struct pul_lookup *l;
	unsigned int i;

	next_deadline_ms = UINT64_MAX;
	for (i = 0; i < TABLE_SIZE; i++) {
		for (l = table[i]; l != NULL; l = l->next) {
			for (link = &l->waiting; (box = *link) != NULL;) {
				if (box->deadline_ms <= now_ms) {
					*link = box->next;
					pul_lookup_answer(box, P2P_ANSWER_UNKNOWN);
					continue;
				}
				if (box->deadline_ms < next_deadline_ms)
					next_deadline_ms = box->deadline_ms;
				link = &box->next;
			}
		}
	}
}

void pul_lookup_run(const struct pollfd *fds, unsigned int n)
{
	uint64_t now;

	pul_pool_io(fds, n);
	now = pul_now_ms();
	if (now >= next_deadline_ms)
		deadlines_run(now);
	pul_deliver_run(now);
	pul_pool_sweep(now);
}

uint64_t pul_lookup_due(void)
{
	uint64_t due = pul_pool_due(), deliver = pul_deliver_due();

	if (next_deadline_ms < due)
		due = next_deadline_ms;
	return deliver < due ? deliver : due;
}
