/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A question to a member about this:
 *   PULL    give me those after the ones I know; then, if the secret is wanted, SECRET
 *   SECRET  the one in use; taken if a revocation has its mark
 *   PUSH    here are the last ones
 * and while this peer is behind, one member after the other is asked. */
#include <errno.h>
#include <event2/event.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/enrol/gateway_auth.h"
#include "dht-gateway/location/gateway_cache.h"
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/enrol/gateway_enrol.h"
#include "dht-gateway/enrol/gateway_known.h"
#include "dht-gateway/enrol/gateway_member.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/enrol/gateway_renew.h"
#include "dht-gateway/enrol/gateway_rotate_impl.h"
#include "dht-gateway/peers/gateway_session.h"
#include "dht-gateway/enrol/gateway_user_enrolment.h"
#include "dht-gateway/location/gateway_users.h"
#include "dht-gateway/location/gateway_watch.h"
#include "lib/model/userset.h"

#define ASK_MS 3000
#define SEARCH_MS 3000
/* The DHT is looked at so often, after the start sooner; while this peer is behind, a member is
 * asked so often, and after the start a few are in any case. */
#define LOOK_MS 15000
#define LOOK_FIRST_MS 500
#define GREETINGS 4
#define BEHIND_MS 1000
#define FIRST_MS 300
/* Questions under way at once. */
#define OPS_MAX 64

enum purpose { PULL, SECRET, PUSH };

struct op {
	struct gw_rotation *r;
	LIST_ENTRY(op) all;
	enum purpose purpose;
	struct p2p_hit hit;
	struct gw_ask *ask;
	bool reading; /* gw_peers_get will call back */
	bool over;    /* and then only memory is left */
	union {
		struct p2p_opp_revocations got;
		struct p2p_opp_secret secret;
	};
};

static void arm(struct gw_rotation *r);
static int ask_member(struct gw_rotation *r, enum purpose purpose, const struct p2p_hit *hit);

uint32_t gw_rotation_count(const struct gw_rotation *r)
{
	return gw_revocations_count(r->gw->members);
}

uint32_t gw_rotation_generation(const struct gw_rotation *r)
{
	return r->gw->secrets.e[0].generation;
}

bool gw_rotation_behind(const struct gw_rotation *r)
{
	uint32_t count = gw_rotation_count(r);

	return r->heard > count || gw_rotation_generation(r) != count;
}

/* --- in force ----------------------------------------------------------------------------------
 */

/* Everything that lies under the secret lies elsewhere now. */
void gw_rotation_rekey(struct gw *gw)
{
	gw->secret = gw->secrets.e[0].s;
	gw_peers_rekey(gw->peers);
	gw_watches_rekey(gw->watches);
	gw_auth_rekey(gw->auth);
	gw_enrol_rekeyed(gw);
	gw_users_rekey(gw->users);
	p2p_log(gw->log, P2P_LOG_INFO, "the overlay has a new secret, generation %u",
		gw->secrets.e[0].generation);
}

/* The mark of a generation's secret, if its revocation is known. */
bool gw_rotation_right_secret(const struct gw_rotation *r, const struct gw_secret *s,
			      uint32_t generation)
{
	uint8_t mark[P2P_SECRET_MARK_LEN];
	struct p2p_revocation rev;
	uint64_t when;

	return !gw_revocation_get(r->gw->members, generation, &rev, &when) &&
	       !p2p_secret_mark(mark, s->b, s->len, &r->gw->overlay, generation, r->gw->crypto) &&
	       !CRYPTO_memcmp(mark, rev.mark, sizeof(mark));
}

int gw_rotation_take_secret(struct gw_rotation *r, const struct gw_secret *s, uint32_t generation)
{
	struct gw *gw = r->gw;
	struct gw_secrets next = gw->secrets;
	int err = gw_secrets_push(&next, s, generation, gw_wall(gw));

	next.has_next = false;
	if (!err)
		err = gw_secrets_save(&next, gw->settings->secret_file);
	if (!err)
		gw->secrets = next;
	OPENSSL_cleanse(&next, sizeof(next));
	if (err && err != EALREADY)
		p2p_log(gw->log, P2P_LOG_ERR, "%s: the new secret cannot be written: %s",
			gw->settings->secret_file, strerror(err));
	return err;
}

void gw_rotation_enforce(struct gw_rotation *r, uint32_t number)
{
	struct gw *gw = r->gw;
	struct p2p_revocation rev;
	char text[P2P_HIT_TEXT_MAX];
	uint64_t when;

	if (gw_revocation_get(gw->members, number, &rev, &when))
		return;
	p2p_hit_print(&rev.hit, text);
	gw->metrics.revocations++;
	if (!p2p_hit_cmp(&rev.hit, &gw->hit)) {
		p2p_log(gw->log, P2P_LOG_ERR,
			"this peer was revoked (revocation %u): other peers do not speak with it "
			"any more",
			number);
		return;
	}
	p2p_log(gw->log, P2P_LOG_INFO, "peer %s was revoked (revocation %u)", text, number);
	gw_sessions_close_peer(gw->sessions, &rev.hit, "the peer was revoked");
	gw_peers_forget(gw->peers, &rev.hit);
	gw_cache_forget(gw->cache, &rev.hit);
	gw_peers_event(gw, &rev.hit);
}

/* --- questions ---------------------------------------------------------------------------------
 */

static void op_end(struct op *op)
{
	struct gw_rotation *r = op->r;

	if (op->ask)
		gw_ask_cancel(op->ask);
	LIST_REMOVE(op, all);
	r->n_ops--;
	op->ask = NULL;
	op->over = true;
	if (op->purpose == SECRET)
		OPENSSL_cleanse(&op->secret, sizeof(op->secret));
	if (!op->reading)
		free(op);
}

void gw_rotation_run(struct gw_rotation *r)
{
	while (r->n_queue && r->n_ops < OPS_MAX)
		ask_member(r, PUSH, &r->queue[--r->n_queue]);
}

void gw_rotation_queue(struct gw_rotation *r, const struct p2p_hit *hit)
{
	if (!p2p_hit_cmp(hit, &r->gw->hit) || gw_member_revoked(r->gw, hit) ||
	    r->n_queue == GW_ROTATION_QUEUE_MAX)
		return;
	for (size_t i = 0; i < r->n_queue; i++)
		if (!p2p_hit_cmp(&r->queue[i], hit))
			return;
	r->queue[r->n_queue++] = *hit;
}

static int read_answer(const char *body, size_t len, void *arg)
{
	struct op *op = arg;

	return op->purpose == SECRET ? p2p_opp_secret_decode(&op->secret, body, len)
				     : p2p_opp_revocations_decode(&op->got, body, len);
}

/* Those that are new, in their order. 0; EBADMSG: one was not the authority's; ERANGE: some are
 * missing before them. */
static int take(struct gw_rotation *r, const struct p2p_hit *from,
		const struct p2p_opp_revocations *got)
{
	struct gw *gw = r->gw;
	char text[P2P_HIT_TEXT_MAX];
	enum p2p_record_fault fault;
	int err = 0;

	for (unsigned int i = 0; i < got->n && !err; i++) {
		err = gw_revocation_add(gw->members, got->record[i].b, got->record[i].len, &fault);
		if (!err)
			gw_rotation_enforce(r, gw_rotation_count(r));
		if (err == EALREADY)
			err = 0;
		if (err != EBADMSG)
			continue;
		p2p_hit_print(from, text);
		gw_warn_fault(gw, fault, from, sizeof(*from),
			      "gateway of %s: a revocation that it tells of is no good", text);
	}
	if (err && err != EBADMSG && err != ERANGE)
		p2p_log(gw->log, P2P_LOG_ERR, "%s: a revocation cannot be kept: %s",
			gw->settings->state_dir, strerror(err));
	return err;
}

static void secret_got(struct gw_rotation *r, const struct op *op)
{
	struct gw *gw = r->gw;
	struct gw_secret s = {.len = op->secret.len};
	char text[P2P_HIT_TEXT_MAX];

	if (op->secret.generation <= gw_rotation_generation(r))
		return;
	memcpy(s.b, op->secret.b, s.len);
	if (gw_rotation_right_secret(r, &s, op->secret.generation)) {
		if (!gw_rotation_take_secret(r, &s, op->secret.generation))
			gw_rotation_rekey(gw);
	} else if (op->secret.generation <= gw_rotation_count(r)) {
		p2p_hit_print(&op->hit, text);
		gw_warn_source(gw, &op->hit, sizeof(op->hit),
			       "gateway of %s: its overlay secret of generation %u is not the "
			       "authority's",
			       text, op->secret.generation);
	}
	OPENSSL_cleanse(&s, sizeof(s));
}

static void on_answer(const struct gw_answer *a, void *arg)
{
	struct op *op = arg;
	struct gw_rotation *r = op->r;
	struct p2p_hit hit = op->hit;
	enum purpose purpose = op->purpose;
	uint32_t before = gw_rotation_count(r);

	op->ask = NULL;
	/* who says that there are more, and has none to show, is not believed */
	if (!a->err && purpose == PULL) {
		take(r, &hit, &op->got);
		r->heard =
			gw_rotation_count(r) > before ? op->got.count : gw_rotation_generation(r);
	}
	if (!a->err && purpose == SECRET)
		secret_got(r, op);
	op_end(op);
	/* the same one has more of it, and the secret */
	if (!a->err && purpose == PULL && gw_rotation_count(r) > before &&
	    r->heard > gw_rotation_count(r))
		ask_member(r, PULL, &hit);
	else if (!a->err && purpose == PULL && gw_rotation_generation(r) < gw_rotation_count(r))
		ask_member(r, SECRET, &hit);
	gw_rotation_run(r);
	arm(r);
}

static int op_send(struct op *op, const struct p2p_locator *gateway, unsigned int n)
{
	struct gw_rotation *r = op->r;
	struct p2p_opp_path path = {.version = P2P_OPP_VERSION,
				    .overlay = r->gw->overlay,
				    .resource = op->purpose == SECRET ? P2P_OPP_SECRET
								      : P2P_OPP_REVOCATIONS};
	struct gw_question q = {
		.method = op->purpose == PUSH ? "POST" : "GET", .path = &path, .read = read_answer};
	char body[P2P_OPP_BODY_MAX];
	uint32_t count = gw_rotation_count(r);

	if (op->purpose == PULL) {
		path.number = count + 1;
	} else if (op->purpose == PUSH) {
		gw_rotation_list(r,
				 count > P2P_OPP_RECORDS_MAX ? count - P2P_OPP_RECORDS_MAX + 1 : 1,
				 &op->got);
		if (p2p_opp_revocations_encode(&op->got, body, sizeof(body), &q.len))
			return EINVAL;
		q.body = body;
	}
	return gw_asks_question(r->gw->asks, &op->hit, gateway, n, &q, ASK_MS, on_answer, op,
				&op->ask);
}

static void on_peer(int err, const struct p2p_record *rec, void *arg)
{
	struct op *op = arg;
	struct gw_rotation *r = op->r;
	struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX];
	unsigned int n;

	op->reading = false;
	if (op->over) {
		free(op);
		return;
	}
	n = err ? 0 : p2p_record_gateways(rec, gateway);
	/* its record may lie where this peer cannot look yet */
	if (!n)
		n = gw_known_gateways(r->gw->known, &op->hit, gateway);
	if (op_send(op, gateway, n)) {
		op->ask = NULL;
		op_end(op);
	}
}

static int ask_member(struct gw_rotation *r, enum purpose purpose, const struct p2p_hit *hit)
{
	struct op *op;

	LIST_FOREACH(op, &r->ops, all)
		if (op->purpose == purpose && !p2p_hit_cmp(&op->hit, hit))
			return EALREADY;
	if (r->n_ops >= OPS_MAX || gw_member_revoked(r->gw, hit) || !r->gw->settings->peers_enabled)
		return EBUSY;
	op = calloc(1, sizeof(*op));
	if (!op)
		return ENOMEM;
	op->r = r;
	op->purpose = purpose;
	op->hit = *hit;
	LIST_INSERT_HEAD(&r->ops, op, all);
	r->n_ops++;
	op->reading = true;
	gw_peers_get(r->gw->peers, hit, SEARCH_MS, on_peer, op);
	return 0;
}

/* --- what others say and ask -------------------------------------------------------------------
 */

void gw_rotation_heard(struct gw_rotation *r, const struct p2p_hit *hit, uint32_t count)
{
	uint32_t ours = gw_rotation_count(r);

	if (count > P2P_REVOCATIONS_MAX || count == ours)
		return;
	if (count > ours) {
		ask_member(r, PULL, hit);
		return;
	}
	gw_rotation_queue(r, hit);
	gw_rotation_run(r);
}

void gw_rotation_list(const struct gw_rotation *r, uint32_t number, struct p2p_opp_revocations *out)
{
	const uint8_t *bytes;
	size_t len;

	memset(out, 0, sizeof(*out));
	out->count = gw_rotation_count(r);
	while (out->n < P2P_OPP_RECORDS_MAX &&
	       !gw_revocation_bytes(r->gw->members, number++, &bytes, &len)) {
		memcpy(out->record[out->n].b, bytes, len);
		out->record[out->n++].len = (uint16_t)len;
	}
}

int gw_rotation_told(struct gw_rotation *r, const struct p2p_hit *hit,
		     const struct p2p_opp_revocations *said)
{
	int err = take(r, hit, said);

	if (err == EBADMSG)
		return err;
	if (said->count > gw_rotation_count(r) || gw_rotation_generation(r) < gw_rotation_count(r))
		ask_member(r, said->count > gw_rotation_count(r) ? PULL : SECRET, hit);
	arm(r);
	return 0;
}

/* --- the DHT -----------------------------------------------------------------------------------
 */

static void on_found(const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data, size_t len,
		     bool here, void *arg)
{
	struct gw_rotation *r = arg;
	enum p2p_record_fault fault = P2P_RECORD_OK;
	int err;

	(void)id;
	/* what only this node keeps is as good as not there */
	if (r->putting) {
		r->found = r->found || !here;
		return;
	}
	if (r->searched != gw_rotation_count(r) + 1)
		return;
	err = gw_revocation_add(r->gw->members, data, len, &fault);
	if (!err) {
		r->found = true;
		gw_rotation_enforce(r, gw_rotation_count(r));
	} else if (err == EBADMSG) {
		gw_warn_fault(r->gw, fault, key, DHT_KEY_LEN,
			      "a bad revocation record on the DHT is ignored");
	}
}

static void on_put(int err, unsigned int nodes, void *arg)
{
	(void)err;
	(void)nodes;
	(void)arg;
}

void gw_rotation_put(struct gw_rotation *r, uint32_t number)
{
	struct gw *gw = r->gw;
	const uint8_t *bytes;
	struct p2p_key key;
	size_t len;

	if (gw->dht && !gw_revocation_bytes(gw->members, number, &bytes, &len) &&
	    !p2p_revocation_key(&key, &gw->overlay, number, gw->crypto))
		gw->dht_ops->put(gw->dht, key.b, p2p_record_value_id(&gw->anchor->hit), bytes, len,
				 on_put, gw);
}

static void search_begin(struct gw_rotation *r, uint32_t number, bool putting);

static void search_end(struct gw_rotation *r, bool complete)
{
	uint32_t searched = r->searched;

	r->search = NULL;
	event_del(r->deadline);
	if (r->putting) {
		if (!r->found && complete)
			gw_rotation_put(r, searched);
		r->kept = searched;
		r->all = r->all && searched < gw_rotation_count(r);
		if (r->all)
			search_begin(r, searched + 1, true);
	} else if (r->found) {
		/* and the next */
		search_begin(r, gw_rotation_count(r) + 1, false);
	} else if (gw_rotation_count(r)) {
		/* one of those that are known is looked after at each turn */
		search_begin(r, r->kept >= gw_rotation_count(r) ? 1 : r->kept + 1, true);
	}
	arm(r);
}

static void on_got(enum dht_verdict verdict, unsigned int nodes, void *arg)
{
	(void)nodes;
	search_end(arg, verdict == DHT_COMPLETE);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct gw_rotation *r = arg;

	(void)fd;
	(void)what;
	if (!r->search)
		return;
	r->gw->dht_ops->cancel(r->gw->dht, r->search);
	search_end(r, false);
}

static void search_begin(struct gw_rotation *r, uint32_t number, bool putting)
{
	struct gw *gw = r->gw;
	struct p2p_key key;

	if (r->search || !gw->dht || number > P2P_REVOCATIONS_MAX ||
	    p2p_revocation_key(&key, &gw->overlay, number, gw->crypto))
		return;
	r->searched = number;
	r->found = false;
	r->putting = putting;
	if (gw->dht_ops->get(gw->dht, key.b, on_found, on_got, r, &r->search))
		r->search = NULL;
	else
		gw_timer_set(r->deadline, SEARCH_MS);
}

/* --- the clock ---------------------------------------------------------------------------------
 */

static void nth(const struct gw_peer_info *info, void *arg)
{
	*(struct p2p_hit *)arg = info->hit;
}

/* Another member at each turn: who invited this peer, those whose gateways were known once, then
 * those heard of now. */
static void ask_next(struct gw_rotation *r)
{
	struct gw *gw = r->gw;
	struct p2p_hit hit = gw->hit;
	size_t first = r->invited, known = gw_known_count(gw->known);
	uint64_t i = r->turn++, cursor;

	if (i < first) {
		hit = r->inviter;
	} else if (i - first < known) {
		hit = gw_known_hit(gw->known, i - first);
	} else {
		cursor = i - first - known;
		gw_peers_scan(gw->peers, &cursor, 1, nth, &hit);
		if (!cursor)
			r->turn = 0;
	}
	if (p2p_hit_cmp(&hit, &gw->hit))
		ask_member(r, PULL, &hit);
}

static uint64_t jitter(uint64_t ms)
{
	uint32_t x = 0;

	gw_crypto_random(&x, sizeof(x));
	return ms - ms / 4 + x % (ms / 2);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct gw_rotation *r = arg;
	uint64_t now = gw_mono(r->gw);
	struct dht_stats st = {0};

	(void)fd;
	(void)what;
	if (r->gw->dht)
		r->gw->dht_ops->stats(r->gw->dht, &st);
	if (st.connected && now >= r->look_ms) {
		r->look_ms = now + jitter(r->pause_ms);
		r->pause_ms = r->pause_ms * 2 < LOOK_MS ? r->pause_ms * 2 : LOOK_MS;
		search_begin(r, gw_rotation_count(r) + 1, false);
	}
	if (st.connected && r->spread) {
		/* it may have been stopped before it has told anybody */
		r->spread = false;
		gw_rotation_spread(r);
	}
	if (gw_rotation_behind(r) || r->greetings)
		ask_next(r);
	r->greetings -= r->greetings > 0;
	gw_rotation_run(r);
	gw_known_update(r->gw->known);
	arm(r);
}

static void arm(struct gw_rotation *r)
{
	gw_timer_set(r->timer, BEHIND_MS);
}

/* --- its life ----------------------------------------------------------------------------------
 */

int gw_rotation_new(struct gw_rotation **rp, struct gw *gw, char *err, size_t errlen)
{
	struct gw_rotation *r = calloc(1, sizeof(*r));

	snprintf(err, errlen, "no memory");
	if (!r)
		return ENOMEM;
	r->gw = gw;
	r->timer = event_new(gw->base, -1, 0, on_timer, r);
	r->deadline = event_new(gw->base, -1, 0, on_deadline, r);
	r->queue = gw->enrolled ? calloc(GW_ROTATION_QUEUE_MAX, sizeof(*r->queue)) : NULL;
	if (!r->timer || !r->deadline || (gw->enrolled && !r->queue)) {
		gw_rotation_free(r);
		return ENOMEM;
	}
	if (gw->enrolled) {
		gw_rotation_promote(r);
		r->heard = gw_rotation_generation(r);
		r->pause_ms = LOOK_FIRST_MS;
		r->greetings = GREETINGS;
		r->invited = !gw_inviter_load(gw, &r->inviter);
		r->spread = r->all = gw_rotation_count(r) && gw_enrol_here(gw);
		gw_timer_set(r->timer, FIRST_MS);
	}
	*rp = r;
	return 0;
}

void gw_rotation_free(struct gw_rotation *r)
{
	if (!r)
		return;
	while (!LIST_EMPTY(&r->ops))
		op_end(LIST_FIRST(&r->ops));
	if (r->search && r->gw->dht)
		r->gw->dht_ops->cancel(r->gw->dht, r->search);
	if (r->timer)
		event_free(r->timer);
	if (r->deadline)
		event_free(r->deadline);
	free(r->queue);
	free(r);
}
