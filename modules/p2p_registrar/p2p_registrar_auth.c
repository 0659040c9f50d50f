// SPDX-License-Identifier: GPL-2.0-or-later
/* p2p_authenticate(): phones of the overlay's users, by digest.
 *
 *   no or stale credentials            challenged
 *   the user is remembered (auth_get)  judged at once, in this process
 *   else                               suspended; the gateway is asked; judged in a lookup worker
 *
 * Nonces are the auth module's business: it judges them before anybody is asked, once, so that its
 * nonce count sees each only once. The response is checked here, since that module knows one
 * algorithm only and an overlay may have two. */
#include "core/data_lump.h"
#include "core/data_lump_rpl.h"
#include "core/mem/mem.h"
#include "core/parser/parse_from.h"
#include "core/parser/parse_to.h"
#include "core/parser/parse_uri.h"
#include "core/pvar.h"
#include "core/usr_avp.h"
#include "modules/auth/api.h"
#include "modules/sl/sl.h"
#include "modules/tm/h_table.h"
#include "modules/tm/t_lookup.h"
#include "p2p_registrar.h"

static auth_api_s_t api;
static sl_api_t sl;
static tm_xapi_t tmx;
static bool bound;
static avp_ident_t challenge_avp; /* where the auth module leaves a challenge */
static pv_spec_t *var_auth;

/* --- start ---------------------------------------------------------------------------------- */

static int challenge_avp_find(void)
{
	struct sr_module *module = find_module_by_name("auth");
	modparam_t type;
	str *param, name;

	param = module != NULL ? find_param_export(module, "challenge_attr", PARAM_STR, &type)
			       : NULL;
	if (param == NULL || param->len < 2 || param->s[0] != '$')
		return -1;
	name.s = param->s + 1;
	name.len = param->len - 1;
	return parse_avp_ident(&name, &challenge_avp);
}

int reg_auth_init(void)
{
	str name = str_init("$var(p2p_auth)");

	if (bound)
		return 0;
	var_auth = pv_cache_get(&name);
	if (find_export("bind_auth_s", 0, 0) == NULL || auth_load_api(&api) < 0 ||
	    api.calc_HA1 == NULL || challenge_avp_find() < 0) {
		LM_ERR("p2p_authenticate() needs the module auth\n");
		return -1;
	}
	if (sl_load_api(&sl) < 0 || tm_load_xapi(&tmx) < 0 || var_auth == NULL) {
		LM_ERR("p2p_authenticate() needs the modules sl, tm and pv\n");
		return -1;
	}
	bound = true;
	return 0;
}

bool reg_auth_ready(void)
{
	if (!bound)
		LM_ERR("p2p_authenticate() needs the module auth, loaded before this one\n");
	return bound;
}

/* --- replies: by tm where there is a transaction, else without state, as the auth module's ---- */

static int reply(struct sip_msg *msg, int code, const char *phrase)
{
	str reason;

	reason.s = (char *)phrase;
	reason.len = (int)strlen(phrase);
	return sl.freply(msg, code, &reason) < 0 ? -1 : 1;
}

static int header_add(struct sip_msg *msg, const char *s, int len)
{
	return add_lump_rpl(msg, (char *)s, len, LUMP_RPL_HDR) == NULL ? -1 : 0;
}

static int challenge_add(struct sip_msg *msg, const char *realm, const char *algorithm, int hftype,
			 bool stale)
{
	str r = {(char *)realm, (int)strlen(realm)}, alg, *algp = NULL;
	struct usr_avp *avp;
	avp_value_t val;
	int ret;

	if (algorithm != NULL) {
		alg.s = (char *)algorithm;
		alg.len = (int)strlen(algorithm);
		algp = &alg;
	}
	if (api.build_challenge(msg, stale, &r, NULL, algp, hftype) < 0)
		return -1;
	avp = search_first_avp(challenge_avp.flags | AVP_VAL_STR, challenge_avp.name, &val, NULL);
	if (avp == NULL)
		return -1;
	ret = header_add(msg, val.s.s, val.s.len);
	destroy_avp(avp);
	return ret;
}

static int hftype_of(const struct sip_msg *msg)
{
	return msg->REQ_METHOD == METHOD_REGISTER ? HDR_AUTHORIZATION_T : HDR_PROXYAUTH_T;
}

int reg_auth_challenge(struct sip_msg *msg, bool stale)
{
	char realm[P2P_REALM_MAX + 1];
	int hftype = hftype_of(msg);
	uint8_t digests;
	/* RFC 8760, 2.3: the preferred one first. Alone, MD5 is not named: it is the default, and
	 * what the auth module does. */
	if (reg_ul.auth_rules(realm, &digests) < 0)
		return -1;
	if (((digests & P2P_DIGEST_SHA256) != 0 &&
	     challenge_add(msg, realm, "SHA-256", hftype, stale) < 0) ||
	    ((digests & P2P_DIGEST_MD5) != 0 &&
	     challenge_add(msg, realm, digests == P2P_DIGEST_MD5 ? NULL : "MD5", hftype, stale) <
		     0)) {
		LM_ERR("no challenge can be made\n");
		return reply(msg, 500, "Server Internal Error");
	}
	reg_count(REG_CNT_AUTH_CHALLENGED);
	return hftype == HDR_AUTHORIZATION_T ? reply(msg, 401, "Unauthorized")
					     : reply(msg, 407, "Proxy Authentication Required");
}

static int unavailable(struct sip_msg *msg)
{
	char text[48];
	int n = snprintf(text, sizeof(text), "Retry-After: %d\r\n", reg_settings.retry_after_s);

	if (header_add(msg, text, n) < 0)
		return -1;
	return reply(msg, 503, "Service Unavailable");
}

/* --- the outcome ---------------------------------------------------------------------------- */

static void var_set(struct sip_msg *msg, int code)
{
	pv_value_t val;

	memset(&val, 0, sizeof(val));
	val.flags = PV_VAL_INT | PV_TYPE_INT;
	val.ri = code;
	if (pv_set_spec_value(msg, var_auth, 0, &val) < 0)
		LM_ERR("cannot set $var(p2p_auth)\n");
}

static void count(int code)
{
	switch (code) {
	case REG_AUTH_OK:
		reg_count(REG_CNT_AUTH_OK);
		break;
	case REG_AUTH_PASSWORD:
	case REG_AUTH_NOUSER:
		reg_count(REG_CNT_AUTH_WRONG);
		break;
	case REG_AUTH_MISMATCH:
	case REG_AUTH_DENIED:
		reg_count(REG_CNT_AUTH_DENIED);
		break;
	case REG_AUTH_UNAVAILABLE:
		reg_count(REG_CNT_AUTH_UNAVAILABLE);
		break;
	default:
		break;
	}
}

/* Once a minute and user. */
static void denied_log(struct sip_msg *msg, const struct reg_auth *a, int code)
{
	if (!reg_ul.log_ok(a->name.s, a->name.len))
		return;
	if (code == REG_AUTH_DENIED)
		LM_WARN("%.*s by user [%s] is refused (403): the authority does not allow this "
			"peer "
			"to serve it\n",
			msg->first_line.u.request.method.len, msg->first_line.u.request.method.s,
			a->name.s);
	else
		LM_WARN("%.*s by user [%s] is refused (403): it names another user\n",
			msg->first_line.u.request.method.len, msg->first_line.u.request.method.s,
			a->name.s);
}

/* True: the route is to be run. Else the request has been answered. */
static bool finish(struct sip_msg *msg, const struct reg_auth *a, int code)
{
	bool stale = code == REG_AUTH_STALE || code == REG_AUTH_REUSED;

	count(code);
	var_set(msg, code);
	if (code == REG_AUTH_DENIED || code == REG_AUTH_MISMATCH)
		denied_log(msg, a, code);
	if (code == REG_AUTH_OK || (a->flags & REG_AUTH_ALWAYS) != 0)
		return true;
	switch (code) {
	case REG_AUTH_DENIED:
	case REG_AUTH_MISMATCH:
		reply(msg, 403, "Forbidden");
		break;
	case REG_AUTH_UNAVAILABLE:
		unavailable(msg);
		break;
	default:
		if (reg_auth_challenge(msg, stale) < 0)
			unavailable(msg);
	}
	return false;
}

/* Authentication-Info, where the auth module is told to add it; it does so by its own algorithm. */
static void info_add(struct sip_msg *msg, const struct reg_auth *a, char *ha1)
{
	str realm = {(char *)a->realm, (int)strlen(a->realm)};
	struct hdr_field *h = NULL;
	char probe[128] = "";
	str none = {(char *)"x", 1};

	api.calc_HA1(HA_MD5, &none, &none, &none, NULL, NULL, probe);
	if (strlen(probe) != strlen(ha1))
		return;
	get_authorized_cred(
		hftype_of(msg) == HDR_AUTHORIZATION_T ? msg->authorization : msg->proxy_auth, &h);
	/* after a suspension the credentials have to be found anew, perhaps */
	if (h == NULL && find_credentials(msg, &realm, (hdr_types_t)hftype_of(msg), &h) != 0)
		return;
	if (h != NULL && mark_authorized_cred(msg, h) == 0)
		api.post_auth(msg, h, ha1);
}

static int judge(struct sip_msg *msg, const struct reg_auth *a, const struct p2p_auth *auth)
{
	char ha1[2 * P2P_HA1_SHA256_LEN + 1];

	if (!reg_digest_check(&a->digest, auth, a->realm, ha1))
		return auth->enrolled ? REG_AUTH_PASSWORD : REG_AUTH_NOUSER;
	if (!a->matches) {
		explicit_bzero(ha1, sizeof(ha1));
		return REG_AUTH_MISMATCH;
	}
	info_add(msg, a, ha1);
	explicit_bzero(ha1, sizeof(ha1));
	return REG_AUTH_OK;
}

bool reg_auth_answered(struct sip_msg *msg, const struct reg_auth *a, enum p2p_answer_code code,
		       const struct p2p_auth *auth)
{
	static const struct p2p_auth nobody;

	switch (code) {
	case P2P_ANSWER_FOUND:
		return finish(msg, a, judge(msg, a, auth));
	case P2P_ANSWER_ABSENT:
		return finish(msg, a, judge(msg, a, &nobody));
	case P2P_ANSWER_DENIED:
		return finish(msg, a, REG_AUTH_DENIED);
	default:
		return finish(msg, a, REG_AUTH_UNAVAILABLE);
	}
}

/* --- the credentials ------------------------------------------------------------------------ */

/* The name of whom the credentials are: their user name, at the domain that they name, or else that
 * of the address of record. -1: no name. */
static int name_make(const dig_cred_t *cred, const struct sip_uri *aor, struct p2p_name *name)
{
	static const char unreserved[] = "-_.!~*'()&=+$,;?/";
	const str *login = &cred->username.user;
	const str *host = cred->username.domain.len > 0 ? &cred->username.domain : &aor->host;
	char text[4 + 3 * P2P_NAME_MAX + 1 + 256];
	str uri = {text, 0};
	int i;

	if (login->len <= 0 || login->len > P2P_NAME_MAX || host->len <= 0 || host->len > 255)
		return -1;
	memcpy(text, "sip:", 4);
	uri.len = 4;
	for (i = 0; i < login->len; i++) {
		unsigned char c = (unsigned char)login->s[i];

		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c != '\0' && strchr(unreserved, c) != NULL)) {
			text[uri.len++] = (char)c;
		} else {
			snprintf(text + uri.len, 4, "%%%02X", c);
			uri.len += 3;
		}
	}
	text[uri.len++] = '@';
	memcpy(text + uri.len, host->s, (size_t)host->len);
	uri.len += host->len;
	return reg_ul.name_from_uri(&uri, name);
}

static bool name_same(const str *uri, const struct p2p_name *name)
{
	struct p2p_name other;

	return reg_ul.name_from_uri(uri, &other) == 0 && other.len == name->len &&
	       memcmp(other.s, name->s, name->len) == 0;
}

/* From, and To of what is about oneself, are whom the credentials are. */
static bool names_match(struct sip_msg *msg, const struct p2p_name *name)
{
	bool self = (msg->REQ_METHOD & (METHOD_REGISTER | METHOD_PUBLISH)) != 0;

	return name_same(&get_from(msg)->uri, name) &&
	       (!self || name_same(&get_to(msg)->uri, name));
}

/* What the auth module says of the nonce; REG_AUTH_ASK: it is good. */
static int nonce_judge(struct sip_msg *msg, const char *realm, int hftype, struct hdr_field **h)
{
	str r = {(char *)realm, (int)strlen(realm)};

	switch (api.pre_auth(msg, &r, (hdr_types_t)hftype, h, NULL)) {
	case DO_AUTHENTICATION:
		return REG_AUTH_ASK;
	case AUTHENTICATED:
		return REG_AUTH_OK;
	case NO_CREDENTIALS:
		return REG_AUTH_NONE;
	case STALE_NONCE:
		return REG_AUTH_STALE;
	case NONCE_REUSED:
		return REG_AUTH_REUSED;
	default:
		return REG_AUTH_ERROR;
	}
}

/* REG_AUTH_ASK: a is complete; else what came of it. */
static int credentials(struct sip_msg *msg, struct reg_auth *a)
{
	struct hdr_field *h = NULL;
	const dig_cred_t *cred;
	struct sip_uri aor;
	uint8_t digests;
	const str *uri;
	int code;

	if (reg_ul.auth_rules(a->realm, &digests) < 0) {
		if (reg_ul.log_ok("realm", 5))
			LM_WARN("nobody can be authenticated: the overlay's realm is not known (no "
				"gateway yet, or an overlay without an authority)\n");
		return REG_AUTH_UNAVAILABLE;
	}
	if (parse_from_header(msg) < 0 || parse_to_header(msg) < 0)
		return REG_AUTH_ERROR;
	code = nonce_judge(msg, a->realm, hftype_of(msg), &h);
	if (code != REG_AUTH_ASK)
		return code;
	cred = &((auth_body_t *)h->parsed)->digest;
	switch (reg_digest_take(&a->digest, cred, &msg->first_line.u.request.method, digests)) {
	case 0:
		break;
	case ENOTSUP:
		return REG_AUTH_NONE;
	default:
		return REG_AUTH_ERROR;
	}
	uri = msg->REQ_METHOD == METHOD_REGISTER ? &get_to(msg)->uri : &get_from(msg)->uri;
	if (parse_uri(uri->s, uri->len, &aor) < 0 || name_make(cred, &aor, &a->name) < 0)
		return REG_AUTH_NOUSER;
	a->matches = (a->flags & REG_AUTH_NOMATCH) != 0 || names_match(msg, &a->name);
	return REG_AUTH_ASK;
}

int reg_auth_consume(struct sip_msg *msg)
{
	char realm[P2P_REALM_MAX + 1];
	struct hdr_field *h = NULL;
	uint8_t digests;
	int n = 0;
	str r;

	if (reg_ul.auth_rules(realm, &digests) < 0)
		return -1;
	r.s = realm;
	r.len = (int)strlen(realm);
	if (parse_headers(msg, HDR_EOH_F, 0) < 0)
		return -1;
	for (h = msg->proxy_auth; h != NULL; h = next_sibling_hdr(h)) {
		const str *theirs;

		if (parse_credentials(h) != 0)
			continue;
		theirs = &((auth_body_t *)h->parsed)->digest.realm;
		if (theirs->len != r.len || strncasecmp(theirs->s, r.s, (size_t)r.len) != 0)
			continue;
		if (del_lump(msg, (int)(h->name.s - msg->buf), h->len, 0) == NULL)
			return -1;
		n++;
	}
	return n > 0 ? 1 : -1;
}

/* It is answered by tm, and its nonce is not judged again. */
static bool retransmitted(struct sip_msg *msg)
{
	struct cell *t = reg_tm.t_gett();

	/* a transaction that the script has made is this request's own */
	return (msg->REQ_METHOD & (METHOD_ACK | METHOD_CANCEL)) == 0 &&
	       (t == NULL || t == T_UNDEFINED) && tmx.t_check_trans(msg) == 0;
}

int reg_authenticate(struct sip_msg *msg, const struct reg_route_ref *ref, int flags)
{
	struct reg_auth a = {.flags = flags};
	struct p2p_auth auth;
	struct cell *t;
	int code, ret;
	bool run;

	if (!reg_auth_ready())
		return -1;
	if (retransmitted(msg))
		return 0;
	reg_count(REG_CNT_AUTHS);
	code = (msg->REQ_METHOD & (METHOD_ACK | METHOD_CANCEL | METHOD_PRACK)) != 0
		       ? REG_AUTH_OK
		       : credentials(msg, &a);
	/* What is answered here without a transaction would be judged again when it is repeated,
	 * and its nonce count refused. Others have one sooner or later. */
	t = reg_tm.t_gett();
	if (code == REG_AUTH_ASK && (t == NULL || t == T_UNDEFINED) &&
	    (msg->REQ_METHOD & (METHOD_REGISTER | METHOD_PUBLISH)) != 0) {
		ret = reg_tm.t_newtran(msg);
		if (ret == 0)
			return 0; /* a retransmission: tm has answered it */
		if (ret < 0)
			return -1;
	}
	if (code == REG_AUTH_ASK && reg_ul.auth_get(&a.name, &auth) == 0) {
		run = finish(msg, &a, judge(msg, &a, &auth));
		explicit_bzero(&auth, sizeof(auth));
	} else if (code == REG_AUTH_ASK) {
		switch (reg_ul.gateway_soon(P2P_QUESTION_AUTH) ? reg_suspend_auth(msg, &a, ref)
							       : -1) {
		case -1:
			run = finish(msg, &a, REG_AUTH_UNAVAILABLE);
			break;
		default:
			return 0;
		}
	} else {
		run = finish(msg, &a, code);
	}
	if (run)
		reg_route_run(msg, ref);
	return 0;
}
