/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: lookups; see the header. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/dprint.h"
#include "core/mem/mem.h"
#include "lib/base/bytes.h"
#include "lib/proto/resp.h"
#include "modules/p2p_usrloc/p2p_usrloc_back.h"
#include "modules/p2p_usrloc/p2p_usrloc_confirm.h"
#include "modules/p2p_usrloc/p2p_usrloc_lookup.h"

#define TABLE_SIZE 1024
/* Background lookups under way. */
#define BACKGROUND_MAX 64
/* What the gateway may take for one. */
#define BACKGROUND_MS 5000
/* A question asked again for those who can still wait: not for less than this. */
#define AGAIN_MS 50
/* A question that wants no cache joins a lookup that wants none and is no older than this. */
#define FRESH_JOIN_MS 100
/* Pause before an answer is offered again to a full reply_fd. */
#define REDELIVER_MS 5
/* Pool connections without work are closed after this. */
#define IDLE_MS 30000
/* After a pool connection failed in its handshake no more are opened for this long. */
#define HOLD_OFF_MS 1000

struct pul_lookup {
	struct pul_lookup *next; /* of the table's slot */
	enum p2p_question_kind kind;
	bool fresh;	 /* past the gateway's cache */
	bool background; /* counted in n_background */
	bool retried;	 /* its connection was lost once */
	bool outdated;	 /* the name changed after it was asked */
	struct p2p_name name;
	struct p2p_hit hit; /* of SESSION: the session's id, which is as long */
	uint64_t started_ms;
	uint64_t deadline_ms;
	struct pul_box *waiting;
};

/* all pkg, the client process' own */
static struct pul_lookup *table[TABLE_SIZE];
static struct pul_conn *pool;
static unsigned int pool_size;
static uint64_t pool_hold_ms; /* no new connection before */
static unsigned int n_background;
static uint64_t next_deadline_ms = UINT64_MAX; /* of a waiting question, at the earliest */
static struct pul_box *undelivered, **undelivered_end = &undelivered; /* oldest first */
static uint64_t redeliver_ms = UINT64_MAX;
static pul_handshake_h *shake;

int pul_lookup_init(pul_handshake_h *handshake)
{
	unsigned int i;

	shake = handshake;
	pool_size = (unsigned int)pul_settings.query_connections;
	pool = pkg_malloc(pool_size * sizeof(*pool));
	if (pool == NULL) {
		PKG_MEM_ERROR;
		return ENOMEM;
	}
	for (i = 0; i < pool_size; i++)
		pul_conn_init(&pool[i]);
	return 0;
}

unsigned int pul_lookup_connections(void)
{
	return pool_size;
}

/* --- answers to SIP workers --- */

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
static void question_answer(struct pul_box *box, enum p2p_answer_code code)
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

void pul_lookup_answer(struct pul_box *box, enum p2p_answer_code code)
{
	question_answer(box, code);
}

static void redeliver(uint64_t now_ms)
{
	struct pul_box **link = &undelivered, *box, *next;
	int full = -1;

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
		question_answer(box, code);
	}
	l->waiting = NULL;
}

/* --- reading the gateway's answers --- */

static enum p2p_answer_code error_code(const struct pul_lookup *l, const redisReply *r)
{
	enum p2p_resp_code code = p2p_resp_code(r->str, r->len);

	if (code == P2P_RESP_DENIED && l->kind == P2P_QUESTION_AUTH)
		return P2P_ANSWER_DENIED;
	switch (code) {
	case P2P_RESP_NOTFOUND:
		return P2P_ANSWER_ABSENT;
	case P2P_RESP_TIMEOUT:
		return P2P_ANSWER_UNKNOWN;
	case P2P_RESP_BUSY:
		return P2P_ANSWER_BUSY;
	case P2P_RESP_BADARG:
		return P2P_ANSWER_BADARG;
	case P2P_RESP_UNAVAIL:
		return P2P_ANSWER_UNAVAILABLE;
	default:
		if (pul_log_ok("error", 5))
			LM_WARN("the gateway says to a lookup: %.*s\n", (int)r->len, r->str);
		return P2P_ANSWER_UNKNOWN;
	}
}

static void name_cache(const struct pul_lookup *l, enum p2p_answer_code code,
		       const struct p2p_candidate_set *set)
{
	bool serves = pul_users_serves(&l->name, NULL);

	if (code == P2P_ANSWER_FOUND) {
		if (pul_cache_put(pul_routes, l->name.s, l->name.len, set) != 0 &&
		    pul_log_ok("cache", 5))
			LM_WARN("no shared memory for the cache\n");
	} else if (serves) {
		/* put, not dropped: "others: none known" */
		pul_cache_put(pul_routes, l->name.s, l->name.len, set);
	} else {
		pul_cache_drop(pul_routes, l->name.s, l->name.len, NULL);
	}
	if (serves)
		pul_users_set_others(&l->name, code == P2P_ANSWER_FOUND);
}

/* The answer about the session that was asked for, and no other. */
static bool session_read(const struct pul_lookup *l, const redisReply *r)
{
	struct p2p_session s;

	return pul_answer_session(&s, r) && memcmp(&s.id, &l->hit, sizeof(s.id)) == 0 &&
	       pul_sessions_put(&s) == 0;
}

/* The gateway does not know it (any more). */
static void session_gone(const struct p2p_hit *hit)
{
	struct p2p_session_id id;

	memcpy(&id, hit, sizeof(id));
	pul_sessions_close(&id);
}

/* One that came with the answer to ROUTE. */
static void session_learn(const struct p2p_session *s)
{
	if (pul_sessions_put(s) != 0) {
		pul_count(PUL_CNT_PROTOCOL_ERRORS);
		if (pul_log_ok("session", 7))
			LM_WARN("the gateway gives one session to two peers\n");
	}
}

/* The session with the peer that was asked about. */
static bool peersession_read(const struct pul_lookup *l, const redisReply *r)
{
	struct p2p_session s;

	return pul_answer_session(&s, r) && p2p_hit_cmp(&s.hit, &l->hit) == 0 &&
	       pul_sessions_put(&s) == 0;
}

/* What is remembered of a user's digest. */
static void auth_cache(const struct pul_lookup *l, enum p2p_answer_code code,
		       const struct p2p_auth *auth, uint64_t ttl_ms)
{
	static const struct p2p_auth none;

	if (code == P2P_ANSWER_FOUND)
		pul_auth_put(&l->name, auth, ttl_ms);
	else
		pul_auth_put(&l->name, &none, UINT64_MAX);
}

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
	struct p2p_auth auth = {.enrolled = false};
	uint64_t ttl_ms = 0;
	struct pul_lookup *l = arg;
	enum p2p_answer_code code = P2P_ANSWER_FOUND;
	bool sense = true;
	int serves = 0;

	(void)conn;
	set.n = 0;
	if (r == NULL) {
		if (atomic_load(&pul_shared->gateway_up) && !l->retried) {
			/* only this connection was lost */
			l->retried = true;
			lookup_start(l);
			return;
		}
		code = P2P_ANSWER_UNAVAILABLE;
	} else if (r->type == REDIS_REPLY_ERROR) {
		code = error_code(l, r);
	} else if (l->kind == P2P_QUESTION_SERVES) {
		sense = r->type == REDIS_REPLY_INTEGER && r->integer >= 0 && r->integer <= 2;
		serves = sense ? (int)r->integer : 0;
	} else if (l->kind == P2P_QUESTION_PEER) {
		sense = pul_answer_peer(&set, r, &l->hit);
	} else if (l->kind == P2P_QUESTION_SESSION) {
		sense = session_read(l, r);
	} else if (l->kind == P2P_QUESTION_PEERSESSION) {
		sense = peersession_read(l, r);
	} else if (l->kind == P2P_QUESTION_AUTH) {
		sense = pul_answer_auth(&auth, &ttl_ms, r);
	} else {
		sense = pul_answer_route(&set, r, session_learn);
	}
	if (!sense) {
		set.n = 0;
		code = P2P_ANSWER_UNKNOWN;
		pul_count(PUL_CNT_PROTOCOL_ERRORS);
		if (pul_log_ok("sense", 5))
			LM_WARN("the gateway's answer to a lookup of [%s] makes no sense\n",
				l->name.s);
	}
	if (code == P2P_ANSWER_ABSENT && l->outdated) {
		/* the user may have registered while the search ran: that would be a false 404 */
		lookup_again(l, true);
		code = P2P_ANSWER_UNKNOWN;
	} else if (code == P2P_ANSWER_FOUND || code == P2P_ANSWER_ABSENT) {
		if (l->kind == P2P_QUESTION_ROUTE && !l->outdated)
			name_cache(l, code, &set);
		else if (l->kind == P2P_QUESTION_AUTH && !l->outdated)
			auth_cache(l, code, &auth, ttl_ms);
		else if (l->kind == P2P_QUESTION_PEER && code == P2P_ANSWER_FOUND)
			pul_cache_put(pul_peers, &l->hit, sizeof(l->hit), &set);
		else if (l->kind == P2P_QUESTION_PEER)
			pul_cache_drop(pul_peers, &l->hit, sizeof(l->hit), NULL);
		else if (l->kind == P2P_QUESTION_SESSION && code == P2P_ANSWER_ABSENT)
			session_gone(&l->hit);
	} else if (code == P2P_ANSWER_UNKNOWN && sense) {
		lookup_again(l, false);
	}
	lookup_answer(l, code, &set, serves, &auth);
	explicit_bzero(&auth, sizeof(auth));
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

static void pool_handshake_h(struct pul_conn *conn, const redisReply *r, void *arg)
{
	(void)arg;
	if (r != NULL && r->type == REDIS_REPLY_ARRAY) {
		conn->state = PUL_CONN_READY;
		return;
	}
	pool_hold_ms = pul_now_ms() + HOLD_OFF_MS;
	if (r != NULL)
		pul_conn_doom(conn, "handshake refused");
}

/* A connection with nothing to do, else a new one, else the one with the least. */
static struct pul_conn *pool_choose(void)
{
	struct pul_conn *best = NULL, *closed = NULL, *c;
	uint64_t now;

	for (c = pool; c < pool + pool_size; c++) {
		if (c->doomed)
			continue;
		if (c->state == PUL_CONN_CLOSED) {
			if (closed == NULL)
				closed = c;
		} else if (c->owed == 0) {
			return c;
		} else if (best == NULL || c->owed < best->owed) {
			best = c;
		}
	}
	now = pul_now_ms();
	if (closed != NULL && (now >= pool_hold_ms || best == NULL) &&
	    pul_conn_open(closed, pul_settings.gateway_socket) == 0) {
		if (shake(closed, now + (uint64_t)pul_settings.gateway_timeout_ms,
			  pool_handshake_h) == 0)
			return closed;
		pul_conn_doom(closed, "no memory");
	}
	return best;
}

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
	char hit[P2P_HIT_TEXT_MAX], id[P2P_SESSION_ID_TEXT_MAX];
	int err;

	p2p_writer_init(&w, command, sizeof(command));
	switch (l->kind) {
	case P2P_QUESTION_SERVES:
		p2p_resp_array(&w, 2);
		p2p_resp_str(&w, "SERVES");
		p2p_resp_bulk(&w, l->name.s, l->name.len);
		break;
	case P2P_QUESTION_PEER:
		p2p_hit_print(&l->hit, hit);
		p2p_resp_array(&w, 3);
		p2p_resp_str(&w, "PEER");
		p2p_resp_str(&w, hit);
		p2p_resp_u64(&w, left);
		break;
	case P2P_QUESTION_PEERSESSION:
		p2p_hit_print(&l->hit, hit);
		p2p_resp_array(&w, 3);
		p2p_resp_str(&w, "PEERSESSION");
		p2p_resp_str(&w, hit);
		p2p_resp_u64(&w, left);
		break;
	case P2P_QUESTION_SESSION:
		p2p_hex_print(id, l->hit.b, sizeof(l->hit.b));
		p2p_resp_array(&w, 2);
		p2p_resp_str(&w, "SESSION");
		p2p_resp_str(&w, id);
		break;
	case P2P_QUESTION_AUTH:
		p2p_resp_array(&w, 3);
		p2p_resp_str(&w, "AUTH");
		p2p_resp_bulk(&w, l->name.s, l->name.len);
		p2p_resp_u64(&w, left);
		break;
	default:
		p2p_resp_array(&w, l->fresh ? 4 : 3);
		p2p_resp_str(&w, "ROUTE");
		p2p_resp_bulk(&w, l->name.s, l->name.len);
		p2p_resp_u64(&w, left);
		if (l->fresh)
			p2p_resp_str(&w, "FRESH");
		break;
	}
	conn = atomic_load(&pul_shared->gateway_up) ? pool_choose() : NULL;
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
			question_answer(box, P2P_ANSWER_BADARG);
			continue;
		}
		if (!atomic_load(&pul_shared->gateway_up)) {
			question_answer(box, P2P_ANSWER_UNAVAILABLE);
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
			question_answer(box, P2P_ANSWER_BUSY);
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
	conn = pool_choose();
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
	struct pul_conn *c;

	for (c = pool; c < pool + pool_size; c++) {
		pul_conn_doom(c, "gateway lost");
		pul_conn_reap(c);
	}
	atomic_store(&pul_shared->connections, 0);
}

/* --- the loop's side --- */

unsigned int pul_lookup_poll(struct pollfd *fds, unsigned int max)
{
	unsigned int n = 0;
	struct pul_conn *c;

	for (c = pool; c < pool + pool_size && n < max; c++) {
		if (c->state == PUL_CONN_CLOSED)
			continue;
		fds[n].fd = c->fd;
		fds[n].events = pul_conn_events(c);
		fds[n].revents = 0;
		n++;
	}
	return n;
}

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
					question_answer(box, P2P_ANSWER_UNKNOWN);
					continue;
				}
				if (box->deadline_ms < next_deadline_ms)
					next_deadline_ms = box->deadline_ms;
				link = &box->next;
			}
		}
	}
}

void pul_lookup_flush(void)
{
	struct pul_conn *c;

	for (c = pool; c < pool + pool_size; c++) {
		if (c->state != PUL_CONN_CLOSED)
			pul_conn_flush(c);
	}
}

void pul_lookup_run(const struct pollfd *fds, unsigned int n)
{
	uint64_t now;
	struct pul_conn *c;
	unsigned int i, open = 0;

	for (c = pool, i = 0; c < pool + pool_size && i < n; c++) {
		/* connections opened since the poll have no entry */
		if (c->state == PUL_CONN_CLOSED || c->fd != fds[i].fd)
			continue;
		if (fds[i].revents != 0)
			pul_conn_io(c, fds[i].revents);
		i++;
	}
	now = pul_now_ms();
	if (now >= next_deadline_ms)
		deadlines_run(now);
	if (now >= redeliver_ms)
		redeliver(now);
	for (c = pool; c < pool + pool_size; c++) {
		if (c->state == PUL_CONN_CLOSED)
			continue;
		if (now > pul_conn_due(c))
			pul_conn_doom(c, "no answer in time");
		else if (c->owed == 0 && now > c->used_ms + IDLE_MS)
			pul_conn_doom(c, "idle");
		if (c->doomed)
			LM_DBG("lookup connection: %s\n", c->why);
		if (!pul_conn_reap(c))
			open++;
	}
	atomic_store(&pul_shared->connections, (int)open);
}

uint64_t pul_lookup_due(void)
{
	uint64_t due = next_deadline_ms < redeliver_ms ? next_deadline_ms : redeliver_ms;
	struct pul_conn *c;

	for (c = pool; c < pool + pool_size; c++) {
		if (c->state == PUL_CONN_CLOSED)
			continue;
		if (c->doomed)
			return 0;
		if (pul_conn_due(c) < due)
			due = pul_conn_due(c);
		if (c->owed == 0 && c->used_ms + IDLE_MS < due)
			due = c->used_ms + IDLE_MS;
	}
	return due;
}
