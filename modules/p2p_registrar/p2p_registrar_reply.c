// SPDX-License-Identifier: GPL-2.0-or-later
/* What a lookup came to: shown to the script in $var(p2p_result) and $var(p2p_reason), answered by
 * p2p_reply(). Always through tm, so that it works in request, failure and continued routes. */
#include <stdio.h>

#include "core/data_lump_rpl.h"
#include "core/pvar.h"
#include "modules/tm/h_table.h"
#include "modules/tm/t_lookup.h"
#include "p2p_registrar.h"

static pv_spec_t *var_result, *var_reason;
static struct reg_outcome current; /* of this process's last lookup */
static const char *next_header;

static const struct {
	const char *name;
	int code;
	const char *phrase;
	enum reg_counter counter;
} results[] = {
	[REG_FOUND] = {"found", 0, "", REG_CNT_FOUND},
	[REG_ABSENT] = {"absent", 404, "Not Found", REG_CNT_ABSENT},
	[REG_UNKNOWN] = {"unknown", 480, "Temporarily Unavailable", REG_CNT_UNKNOWN},
	[REG_UNAVAILABLE] = {"unavailable", 503, "Service Unavailable", REG_CNT_UNAVAILABLE},
	[REG_DENIED] = {"denied", 403, "Forbidden", REG_CNT_DENIED},
	[REG_SAVED] = {"saved", 200, "OK", REG_CNT_MAX},
	[REG_FAILED] = {"failed", 500, "Server Internal Error", REG_CNT_MAX},
};

int reg_outcome_init(void)
{
	str result = str_init("$var(p2p_result)"), reason = str_init("$var(p2p_reason)");

	var_result = pv_cache_get(&result);
	var_reason = pv_cache_get(&reason);
	if (var_result == NULL || var_reason == NULL) {
		LM_ERR("no $var(): module pv must be loaded before this one\n");
		return -1;
	}
	return 0;
}

static void var_set(struct sip_msg *msg, pv_spec_t *spec, const char *text)
{
	pv_value_t val;

	memset(&val, 0, sizeof(val));
	val.flags = PV_VAL_STR;
	val.rs.s = (char *)text;
	val.rs.len = (int)strlen(text);
	if (pv_set_spec_value(msg, spec, 0, &val) < 0)
		LM_ERR("cannot set $var(p2p_result)\n");
}

void reg_outcome_header(const char *header)
{
	next_header = header;
}

void reg_outcome_set_code(struct sip_msg *msg, enum reg_result result, int code, const char *phrase,
			  const char *reason)
{
	current.header = next_header;
	next_header = NULL;
	current.result = result;
	current.code = code;
	current.phrase = phrase;
	current.reason = reason;
	var_set(msg, var_result, results[result].name);
	var_set(msg, var_reason, reason);
	if (results[result].counter != REG_CNT_MAX)
		reg_count(results[result].counter);
}

void reg_outcome_set(struct sip_msg *msg, enum reg_result result, const char *reason)
{
	reg_outcome_set_code(msg, result, results[result].code, results[result].phrase, reason);
}

const struct reg_outcome *reg_outcome(void)
{
	return &current;
}

static int header_add(struct sip_msg *msg, const char *text)
{
	if (add_lump_rpl(msg, (char *)text, (int)strlen(text), LUMP_RPL_HDR) == NULL) {
		LM_ERR("cannot add a header to the reply\n");
		return -1;
	}
	return 0;
}

int reg_reply_code(struct sip_msg *msg, int code, const char *phrase, const char *reason)
{
	char text[192];
	struct cell *t = reg_tm.t_gett();
	int ret;

	if (msg->REQ_METHOD == METHOD_ACK)
		return 1;
	if (t == NULL || t == T_UNDEFINED) {
		ret = reg_tm.t_newtran(msg);
		if (ret == 0)
			return 1; /* a retransmission: tm has answered it */
		if (ret < 0) {
			LM_ERR("no transaction to answer with %d\n", code);
			return -1;
		}
	}
	if (code == 480 || code == 503) {
		snprintf(text, sizeof(text), "Retry-After: %d\r\n", reg_settings.retry_after_s);
		if (header_add(msg, text) < 0)
			return -1;
	}
	/* RFC 3326; here: with the text that says which part failed */
	if ((code == 503 || code == 488) && reason != NULL && reason[0] != '\0') {
		snprintf(text, sizeof(text), "Reason: SIP;cause=%d;text=\"%s\"\r\n", code, reason);
		if (header_add(msg, text) < 0)
			return -1;
	}
	return reg_tm.t_reply(msg, (unsigned int)code, (char *)phrase) > 0 ? 1 : -1;
}

int reg_reply(struct sip_msg *msg)
{
	if (current.result == REG_FOUND)
		return reg_reply_code(msg, 500, "Server Internal Error", NULL);
	if (current.header != NULL && msg->REQ_METHOD != METHOD_ACK &&
	    header_add(msg, current.header) < 0)
		return -1;
	return reg_reply_code(msg, current.code, current.phrase, current.reason);
}

int reg_reply_unavailable(struct sip_msg *msg, const str *reason)
{
	char text[96];
	int i, n = 0;

	/* into a quoted string: nothing that would need escaping */
	for (i = 0; i < reason->len && n < (int)sizeof(text) - 1; i++)
		if (reason->s[i] >= ' ' && reason->s[i] < 0x7f && reason->s[i] != '"' &&
		    reason->s[i] != '\\')
			text[n++] = reason->s[i];
	text[n] = '\0';
	return reg_reply_code(msg, 503, results[REG_UNAVAILABLE].phrase, text);
}
