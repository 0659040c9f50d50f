/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Users' enrolment on the administrator's socket. */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "dht-gateway/enrol/gateway_auth_rules.h"
#include "dht-gateway/gateway_resp.h"
#include "dht-gateway/gateway_settings.h"
#include "dht-gateway/enrol/gateway_user_enrolment.h"
#include "lib/base/bytes.h"

#define PAGE_DEFAULT 100
#define PAGE_MAX 1000

static struct gw *gw_of(void *arg)
{
	return *(struct gw **)arg;
}

static bool is(const struct resp_arg *a, const char *word)
{
	return a->len == strlen(word) && !strncasecmp(a->s, word, a->len);
}

static void on_done(int err, const char *text, void *arg)
{
	struct resp_request *req = arg;

	if (!err)
		resp_reply_ok(req);
	else if (err == EINPROGRESS)
		resp_reply_str(req, text);
	else
		resp_reply_error(req,
				 err == ENOENT	    ? "NOTFOUND"
				 : err == EEXIST    ? "EXISTS"
				 : err == EPERM	    ? "DENIED"
				 : err == EINVAL    ? "BADARG"
				 : err == ETIMEDOUT ? "TIMEOUT"
						    : "INTERNAL",
				 "%s", *text ? text : strerror(err));
}

/* HA1 <digest> <hex> */
static int arg_ha1(struct gw_enrolled *u, uint8_t ha1[P2P_HA1_MAX], const struct resp_arg *digest,
		   const struct resp_arg *hex)
{
	uint8_t which;
	size_t at, len;

	if (p2p_digests_parse(&which, digest->s, digest->len) ||
	    p2p_digests_find(P2P_DIGEST_MD5 | P2P_DIGEST_SHA256, (enum p2p_digest)which, &at,
			     &len) ||
	    (u->digests & which) != 0 || p2p_hex_parse(ha1 + at, len, hex->s, hex->len))
		return EINVAL;
	u->digests |= which;
	return 0;
}

static int arg_peer(struct gw_enrolled *u, const struct resp_arg *a)
{
	struct p2p_hit hit;

	if (u->n_peers == GW_ENROLLED_PEERS_MAX || p2p_hit_parse(&hit, a->s, a->len) ||
	    gw_enrolled_peer_find(u, &hit))
		return EINVAL;
	u->peer[u->n_peers++].hit = hit;
	return 0;
}

/* What follows the name. Text: what is wrong, or NULL. */
static const char *args_user(struct gw *gw, struct gw_enrol_order *o, int argc,
			     const struct resp_arg *argv)
{
	const struct p2p_enrolment *rules = gw_auth_rules_get(gw->rules);
	bool password = o->what == GW_ENROL_ADD || o->what == GW_ENROL_PASSWD;
	bool where =
		o->what == GW_ENROL_ADD || o->what == GW_ENROL_ALLOW || o->what == GW_ENROL_DENY;
	struct gw_enrolled *u = &o->user;
	uint8_t ha1[P2P_HA1_MAX];

	for (int i = 3; i < argc; i++) {
		if (password && i + 2 < argc && is(&argv[i], "HA1") &&
		    !arg_ha1(u, ha1, &argv[i + 1], &argv[i + 2]))
			i += 2;
		else if (where && i + 1 < argc && is(&argv[i], "PEER") &&
			 !arg_peer(u, &argv[i + 1]))
			i++;
		else if (where && is(&argv[i], "ANY") && u->any == GW_ENROLLED_NEVER)
			u->any = GW_ENROLLED_YES;
		else
			return "HA1 <MD5|SHA-256> <hex>, PEER <hit>, or ANY, as the order has them";
	}
	if (where && !u->any == !u->n_peers)
		return "either peers, 32 at most, or ANY";
	if (!password)
		return NULL;
	if (!u->digests)
		return "an HA1 is missing";
	memcpy(u->ha1, ha1 + (u->digests == P2P_DIGEST_SHA256 ? P2P_HA1_MD5_LEN : 0),
	       p2p_digests_len(u->digests));
	OPENSSL_cleanse(ha1, sizeof(ha1));
	if (!rules)
		return "the overlay has no realm yet: p2psipctl overlay rules --realm REALM";
	if ((rules->digests & ~u->digests) != 0)
		return "an HA1 for each of the overlay's digests";
	strcpy(u->realm, rules->realm);
	return NULL;
}

/* ENROLUSER what name ... */
void gw_auth_admin_user(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	static const struct {
		const char *word;
		enum gw_enrol_what what;
	} words[] = {{"ADD", GW_ENROL_ADD},
		     {"PASSWD", GW_ENROL_PASSWD},
		     {"REMOVE", GW_ENROL_REMOVE},
		     {"ALLOW", GW_ENROL_ALLOW},
		     {"DENY", GW_ENROL_DENY}};
	struct gw_enrol_order o = {0};
	const char *wrong = NULL;
	size_t i = 0;

	while (i < sizeof(words) / sizeof(words[0]) && !is(&argv[1], words[i].word))
		i++;
	if (i == sizeof(words) / sizeof(words[0]))
		wrong = "ADD, PASSWD, REMOVE, ALLOW or DENY";
	else if (!p2p_name_valid(argv[2].s, argv[2].len))
		wrong = "no canonical user name";
	if (!wrong) {
		o.what = words[i].what;
		o.user.len = argv[2].len;
		memcpy(o.user.name, argv[2].s, argv[2].len);
		wrong = args_user(gw_of(arg), &o, argc, argv);
	}
	if (wrong)
		resp_reply_error(req, "BADARG", "%s", wrong);
	else
		gw_enrol_order(gw_of(arg), &o, on_done, req);
	OPENSSL_cleanse(&o, sizeof(o));
}

/* ENROLPEER ALLOW|DENY hit */
void gw_auth_admin_peer(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_enrol_order o = {0};

	(void)argc;
	if ((!is(&argv[1], "ALLOW") && !is(&argv[1], "DENY")) || arg_peer(&o.user, &argv[2])) {
		resp_reply_error(req, "BADARG", "ALLOW or DENY, and a HIT");
		return;
	}
	o.what = is(&argv[1], "ALLOW") ? GW_ENROL_PEER_ALLOW : GW_ENROL_PEER_DENY;
	gw_enrol_order(gw_of(arg), &o, on_done, req);
}

/* REFRESH */
void gw_auth_admin_refresh(struct resp_request *req, int argc, const struct resp_arg *argv,
			   void *arg)
{
	struct gw_enrol_order o = {.what = GW_ENROL_REFRESH};

	(void)argc;
	(void)argv;
	gw_enrol_order(gw_of(arg), &o, on_done, req);
}

static void pair_str(struct resp_request *req, const char *key, const char *value)
{
	resp_reply_str(req, key);
	resp_reply_str(req, value);
}

static void pair_u64(struct resp_request *req, const char *key, uint64_t value)
{
	resp_reply_str(req, key);
	resp_reply_u64(req, value);
}

void gw_rules_reply(struct gw *gw, struct resp_request *req)
{
	const struct p2p_enrolment *rules = gw_auth_rules_get(gw->rules);

	if (!rules) {
		resp_reply_error(req, "NOTFOUND", "%s",
				 gw->enrolled ? "the overlay's rules have not been found yet"
					      : "this overlay has no authority");
		return;
	}
	resp_reply_array(req, 8);
	pair_str(req, "realm", rules->realm);
	pair_str(req, "digests", p2p_digests_text(rules->digests));
	pair_str(req, "permission", rules->permission_required ? "required" : "optional");
	pair_u64(req, "changes", rules->changes);
}

/* RULES [REALM realm] [DIGESTS digests] [PERMISSION required|optional] */
void gw_auth_admin_rules(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_enrol_order o = {.what = GW_ENROL_RULES, .keep_permission = true};
	bool good = argc % 2 == 1;

	if (argc == 1) {
		gw_rules_reply(gw_of(arg), req);
		return;
	}
	for (int i = 1; i + 1 < argc && good; i += 2) {
		const struct resp_arg *v = &argv[i + 1];

		if (is(&argv[i], "REALM") && p2p_realm_valid(v->s, v->len)) {
			memcpy(o.rules.realm, v->s, v->len);
		} else if (is(&argv[i], "PERMISSION") && (is(v, "required") || is(v, "optional"))) {
			o.keep_permission = false;
			o.rules.permission_required = is(v, "required");
		} else {
			good = is(&argv[i], "DIGESTS") &&
			       !p2p_digests_parse(&o.rules.digests, v->s, v->len);
		}
	}
	if (!good) {
		resp_reply_error(req, "BADARG",
				 "REALM: 1 to 64 printable characters but quote and backslash; "
				 "DIGESTS: MD5, SHA-256 or both; PERMISSION: required or optional");
		return;
	}
	gw_enrol_order(gw_of(arg), &o, on_done, req);
}

/* --- the list --------------------------------------------------------------------------------- */

struct page {
	struct gw_enrolled *u;
	size_t n, max;
	uint64_t skip, at;
	bool more;
};

static bool gather(const struct gw_enrolled *u, void *arg)
{
	struct page *p = arg;

	if (p->at++ < p->skip)
		return true;
	if (p->n == p->max) {
		p->more = true;
		return false;
	}
	p->u[p->n++] = *u;
	return true;
}

static void peers_text(const struct gw_enrolled *u, char *text, size_t cap)
{
	char hit[P2P_HIT_TEXT_MAX];
	struct p2p_text t;

	p2p_text_init(&t, text, cap);
	if (u->any == GW_ENROLLED_YES)
		p2p_text_add(&t, "any");
	for (unsigned int i = 0; i < u->n_peers; i++) {
		if (u->peer[i].state != GW_ENROLLED_YES)
			continue;
		p2p_hit_print(&u->peer[i].hit, hit);
		p2p_text_add(&t, "%s%s", t.len ? "," : "", hit);
	}
}

static void reply_row(struct resp_request *req, const struct gw_enrolled *u)
{
	char text[GW_ENROLLED_PEERS_MAX * (P2P_HIT_TEXT_MAX + 1)];

	resp_reply_array(req, 10);
	resp_reply_str(req, "name");
	resp_reply_bulk(req, u->len ? u->name : "(any user)", u->len ? u->len : 10);
	pair_str(req, "state",
		 u->removed || (!u->len && u->peer[0].state != GW_ENROLLED_YES) ? "removed"
										: "enrolled");
	pair_str(req, "digests", p2p_digests_text(u->digests));
	pair_u64(req, "order", u->order);
	peers_text(u, text, sizeof(text));
	pair_str(req, "peers", text);
}

/* ENROLLED [cursor [count]] */
void gw_auth_admin_list(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw *gw = gw_of(arg);
	struct page p = {.max = PAGE_DEFAULT};
	uint64_t count = PAGE_DEFAULT;
	char err[512];
	int ret;

	if ((argc > 1 && p2p_u64_parse(&p.skip, argv[1].s, argv[1].len)) ||
	    (argc > 2 && p2p_u64_parse(&count, argv[2].s, argv[2].len)) || !count ||
	    count > PAGE_MAX) {
		resp_reply_error(req, "BADARG", "[cursor [count]], count within 1 to %d", PAGE_MAX);
		return;
	}
	p.max = (size_t)count;
	p.u = calloc(p.max, sizeof(*p.u));
	if (!p.u) {
		resp_reply_error(req, "INTERNAL", "no memory");
		return;
	}
	ret = gw_enrolled_scan(gw->settings->authority_dir, gather, &p, err, sizeof(err));
	if (ret && ret != ENOENT) {
		resp_reply_error(req, "INTERNAL", "%s", err);
	} else {
		resp_reply_array(req, 2);
		resp_reply_u64(req, p.more ? p.skip + p.n : 0);
		resp_reply_array(req, p.n);
		for (size_t i = 0; i < p.n; i++)
			reply_row(req, &p.u[i]);
	}
	OPENSSL_cleanse(p.u, p.max * sizeof(*p.u));
	free(p.u);
}
