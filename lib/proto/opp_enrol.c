/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bodies of the overlay peer protocol: enrolment, revocations, the overlay secret. */
#include "lib/proto/opp.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/proto/key.h"
#include "lib/proto/opp_impl.h"
#include "lib/proto/revocation.h"

static int base64_valid(const char *s, size_t cap)
{
	size_t i, len = strnlen(s, cap);

	for (i = 0; i < len; i++) {
		char c = p2p_lower(s[i]);

		if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '+' && c != '/' &&
		    (c != '=' || i + 2 < len))
			return 0;
	}
	return len > 0 && len < cap && len % 4 == 0;
}

/* "host:port", or ":port". */
static int address_valid(const char *s)
{
	size_t i, len = strnlen(s, P2P_OPP_ADDRESS_MAX);

	if (len < 2 || len == P2P_OPP_ADDRESS_MAX || strchr(s, ':') == NULL)
		return 0;
	for (i = 0; i < len; i++) {
		char c = p2p_lower(s[i]);

		if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && strchr(".:[]-_", c) == NULL)
			return 0;
	}
	return 1;
}

static int put_secret(struct p2p_text *t, const struct p2p_opp_secret *s)
{
	char hex[2 * sizeof(s->b) + 1];

	if (s->len < P2P_SECRET_MIN || s->len > sizeof(s->b) || s->generation > P2P_REVOCATIONS_MAX)
		return EINVAL;
	p2p_hex_print(hex, s->b, s->len);
	p2p_text_add(t, "\"generation\":%" PRIu32 ",\"secret\":\"%s\"", s->generation, hex);
	memset(hex, 0, sizeof(hex));
	return 0;
}

static int get_secret(json_object *o, struct p2p_opp_secret *s)
{
	const char *hex = p2p_opp_get_string(o, "secret", 2 * sizeof(s->b) + 1);
	size_t len = hex != NULL ? strlen(hex) : 0;

	if (len < 2 * P2P_SECRET_MIN || len % 2 != 0 || p2p_hex_parse(s->b, len / 2, hex, len) != 0)
		return EBADMSG;
	s->len = (uint8_t)(len / 2);
	return p2p_opp_get_u32(o, "generation", 0, P2P_REVOCATIONS_MAX, &s->generation);
}

int p2p_opp_enrol_encode(const struct p2p_opp_enrol *enrol, char *buf, size_t cap, size_t *len)
{
	char hex[2 * P2P_OPP_TOKEN_LEN + 1];
	struct p2p_text t;

	if (cap == 0)
		return EMSGSIZE;
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{");
	if (enrol->invited) {
		p2p_hex_print(hex, enrol->token, sizeof(enrol->token));
		p2p_text_add(&t, "\"token\":\"%s\"", hex);
	}
	p2p_text_add(&t, "}");
	return p2p_opp_put_end(&t, len);
}

int p2p_opp_enrol_decode(struct p2p_opp_enrol *out, const char *text, size_t len)
{
	struct p2p_opp_enrol enrol = {0};
	json_object *o;
	int err = p2p_opp_body_parse(text, len, &o);

	if (err != 0)
		return err;
	enrol.invited = json_object_object_get_ex(o, "token", NULL);
	if (enrol.invited)
		err = p2p_opp_get_hex(o, "token", enrol.token, sizeof(enrol.token));
	if (err == 0)
		*out = enrol;
	json_object_put(o);
	return err;
}

int p2p_opp_enrolled_encode(const struct p2p_opp_enrolled *e, char *buf, size_t cap, size_t *len)
{
	struct p2p_text t;
	unsigned int i;

	if (cap == 0)
		return EMSGSIZE;
	if (!base64_valid(e->certificate, sizeof(e->certificate)) ||
	    !base64_valid(e->authority, sizeof(e->authority)) ||
	    e->n_bootstrap > P2P_OPP_BOOTSTRAP_MAX)
		return EINVAL;
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{\"certificate\":\"%s\",\"authority\":\"%s\"", e->certificate,
		     e->authority);
	if (e->secret.len > 0) {
		p2p_text_add(&t, ",");
		if (put_secret(&t, &e->secret) != 0)
			return EINVAL;
	}
	if (e->n_bootstrap > 0) {
		p2p_text_add(&t, ",\"bootstrap\":[");
		for (i = 0; i < e->n_bootstrap; i++) {
			if (!address_valid(e->bootstrap[i]))
				return EINVAL;
			p2p_text_add(&t, "%s\"%s\"", i > 0 ? "," : "", e->bootstrap[i]);
		}
		p2p_text_add(&t, "]");
	}
	p2p_text_add(&t, "}");
	return p2p_opp_put_end(&t, len);
}

static int get_cert(json_object *o, const char *name, char out[P2P_OPP_CERT_MAX])
{
	const char *s = p2p_opp_get_string(o, name, P2P_OPP_CERT_MAX);

	if (s == NULL || !base64_valid(s, P2P_OPP_CERT_MAX))
		return EBADMSG;
	strcpy(out, s);
	return 0;
}

/* Addresses of a form that is not known here are left out. */
static int get_bootstrap(json_object *o, struct p2p_opp_enrolled *e)
{
	json_object *list;
	size_t i, len;

	if (p2p_opp_find_list(o, "bootstrap", SIZE_MAX, &list, &len) != 0)
		return EBADMSG;
	for (i = 0; i < len && e->n_bootstrap < P2P_OPP_BOOTSTRAP_MAX; i++) {
		const char *s =
			p2p_opp_string_of(json_object_array_get_idx(list, i), P2P_OPP_ADDRESS_MAX);

		if (s != NULL && address_valid(s))
			strcpy(e->bootstrap[e->n_bootstrap++], s);
	}
	return 0;
}

int p2p_opp_enrolled_decode(struct p2p_opp_enrolled *out, const char *text, size_t len)
{
	struct p2p_opp_enrolled e = {0};
	json_object *o;
	int err = p2p_opp_body_parse(text, len, &o);

	if (err != 0)
		return err;
	err = get_cert(o, "certificate", e.certificate);
	if (err == 0)
		err = get_cert(o, "authority", e.authority);
	if (err == 0 && json_object_object_get_ex(o, "secret", NULL))
		err = get_secret(o, &e.secret);
	if (err == 0)
		err = get_bootstrap(o, &e);
	if (err == 0)
		*out = e;
	json_object_put(o);
	return err;
}

int p2p_opp_secret_encode(const struct p2p_opp_secret *secret, char *buf, size_t cap, size_t *len)
{
	struct p2p_text t;

	if (cap == 0)
		return EMSGSIZE;
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{");
	if (put_secret(&t, secret) != 0)
		return EINVAL;
	p2p_text_add(&t, "}");
	return p2p_opp_put_end(&t, len);
}

int p2p_opp_secret_decode(struct p2p_opp_secret *out, const char *text, size_t len)
{
	struct p2p_opp_secret s = {0};
	json_object *o;
	int err = p2p_opp_body_parse(text, len, &o);

	if (err != 0)
		return err;
	err = get_secret(o, &s);
	if (err == 0)
		*out = s;
	json_object_put(o);
	return err;
}

int p2p_opp_revocations_encode(const struct p2p_opp_revocations *r, char *buf, size_t cap,
			       size_t *len)
{
	struct p2p_text t;
	unsigned int i;

	if (cap == 0)
		return EMSGSIZE;
	if (r->count > P2P_REVOCATIONS_MAX || r->n > P2P_OPP_RECORDS_MAX)
		return EINVAL;
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{\"count\":%" PRIu32 ",\"records\":[", r->count);
	for (i = 0; i < r->n; i++) {
		if (i > 0)
			p2p_text_add(&t, ",");
		if (p2p_opp_put_record(&t, r->record[i].b, r->record[i].len) != 0)
			return EINVAL;
	}
	p2p_text_add(&t, "]}");
	return p2p_opp_put_end(&t, len);
}

int p2p_opp_revocations_decode(struct p2p_opp_revocations *out, const char *text, size_t len)
{
	struct p2p_opp_revocations r = {0};
	json_object *o, *list;
	size_t i, n = 0;
	int err = p2p_opp_body_parse(text, len, &o);

	if (err != 0)
		return err;
	err = p2p_opp_get_u32(o, "count", 0, P2P_REVOCATIONS_MAX, &r.count);
	if (err == 0)
		err = p2p_opp_get_list(o, "records", SIZE_MAX, &list, &n);
	for (i = 0; err == 0 && i < n && i < P2P_OPP_RECORDS_MAX; i++) {
		err = p2p_opp_record_of(json_object_array_get_idx(list, i), r.record[i].b,
					&r.record[i].len);
		r.n++;
	}
	if (err == 0)
		*out = r;
	json_object_put(o);
	return err;
}
