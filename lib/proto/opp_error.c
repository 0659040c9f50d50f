/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Refusals. */
#include "lib/proto/opp.h"

#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/proto/opp_impl.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static const char *const errors[] = {
	[P2P_OPP_E_BADREQUEST] = "bad-request", [P2P_OPP_E_OVERLAY] = "overlay",
	[P2P_OPP_E_MEMBER] = "member",		[P2P_OPP_E_NOTFOUND] = "not-found",
	[P2P_OPP_E_VERSION] = "version",	[P2P_OPP_E_BUSY] = "busy",
	[P2P_OPP_E_METHOD] = "method",		[P2P_OPP_E_REPLAY] = "replay",
	[P2P_OPP_E_INUSE] = "in-use",		[P2P_OPP_E_NOCOMMON] = "no-common",
	[P2P_OPP_E_INVITATION] = "invitation",
};

const char *p2p_opp_error_text(enum p2p_opp_error_code code)
{
	return (size_t)code < N(errors) && errors[code] ? errors[code] : "?";
}

int p2p_opp_error_encode(const struct p2p_opp_error *error, char *buf, size_t cap, size_t *len)
{
	struct p2p_text t;

	if (cap == 0)
		return EMSGSIZE;
	if ((size_t)error->code >= N(errors) || errors[error->code] == NULL ||
	    !p2p_opp_printable(error->reason, sizeof(error->reason)))
		return EINVAL;
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{\"error\":\"%s\",\"reason\":", errors[error->code]);
	p2p_opp_put_string(&t, error->reason);
	if (error->n_versions > 0) {
		p2p_text_add(&t, ",\"versions\":");
		if (p2p_opp_put_versions(&t, error->version, error->n_versions) != 0)
			return EINVAL;
	}
	if (error->code == P2P_OPP_E_NOCOMMON) {
		if (!p2p_opp_word_valid(error->uncommon))
			return EINVAL;
		p2p_text_add(&t, ",\"uncommon\":\"%s\"", error->uncommon);
		if (error->told) {
			p2p_text_add(&t, ",");
			if (p2p_opp_put_user(&t, &error->user) != 0)
				return EINVAL;
		}
	}
	p2p_text_add(&t, "}");
	return p2p_opp_put_end(&t, len);
}

int p2p_opp_error_decode(struct p2p_opp_error *out, const char *text, size_t len)
{
	struct p2p_opp_error error = {0};
	json_object *o;
	const char *s;
	int code, err = p2p_opp_body_parse(text, len, &o);

	if (err != 0)
		return err;
	err = p2p_opp_get_word(o, "error", errors, N(errors), &code);
	if (err == 0) {
		error.code = (enum p2p_opp_error_code)code;
		s = p2p_opp_get_string(o, "reason", sizeof(error.reason));
		if (s != NULL && p2p_opp_printable(s, sizeof(error.reason)))
			strcpy(error.reason, s);
		if (json_object_object_get_ex(o, "versions", NULL))
			err = p2p_opp_get_versions(o, error.version, &error.n_versions);
	}
	if (err == 0 && error.code == P2P_OPP_E_NOCOMMON) {
		err = p2p_opp_get_name(o, "uncommon", error.uncommon);
		error.told = json_object_object_get_ex(o, "user", NULL);
		if (err == 0 && error.told)
			err = p2p_opp_get_user(o, &error.user);
	}
	if (err == 0)
		*out = error;
	json_object_put(o);
	return err;
}
