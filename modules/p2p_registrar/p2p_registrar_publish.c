// SPDX-License-Identifier: GPL-2.0-or-later
/* p2p_save() that answers 200 when other peers can find the phone, and not before. The stock
 * registrar saves, and prepares its reply; then
 *
 *	nothing has changed of what others find  -->  the reply goes out
 *	else the request is suspended            -->  confirmed: the prepared reply goes out
 *	                                         -->  not in time: 503, Retry-After
 *
 * here: a registration that is answered 503 stays (RFC 3261, 10.3 has it undone). The phone tries
 * again, here or elsewhere, and finds it done, or it runs out; taking it back would be one more
 * change to publish, just when there are too many. */
#include <dlfcn.h>

#include "core/data_lump_rpl.h"
#include "modules/registrar/registrar.h"
#include "modules/sl/sl.h"
#include "modules/tm/h_table.h"
#include "modules/tm/t_lookup.h"
#include "p2p_registrar.h"

/* What the registrar's reply has when it is no 200; PATH_MODE_STRICT alone makes one of what was
 * saved. */
#define ERROR_HEADER "P-Registrar-Error: "

typedef int (*stock_reply_f)(struct sip_msg *msg);

static stock_reply_f stock_reply; /* the registrar's, with the code of its last error */
static sl_api_t sl;
static tm_xapi_t tmx;

int reg_publish_init(void)
{
	const struct sr_module *registrar = find_module_by_name((char *)"registrar");

	if (sl_load_api(&sl) < 0) {
		LM_ERR("module sl must be loaded before this one\n");
		return -1;
	}
	if (tm_load_xapi(&tmx) < 0) {
		LM_ERR("module tm must be loaded before this one\n");
		return -1;
	}
	if (registrar != NULL)
		stock_reply = (stock_reply_f)dlsym(registrar->handle, "reg_send_reply");
	if (stock_reply == NULL) {
		LM_ERR("publish=confirmed: this module registrar has no reg_send_reply\n");
		return -1;
	}
	return 0;
}

bool reg_publish_waits(void)
{
	return stock_reply != NULL;
}

/* Is this call to wait? */
static bool waits(int flags)
{
	if (stock_reply == NULL)
		return false;
	if (flags & REG_PUBLISH_ASYNC)
		return false;
	return (flags & REG_PUBLISH_CONFIRMED) || reg_settings.confirmed;
}

static bool any(const str *uri, void *arg)
{
	(void)uri;
	(void)arg;
	return true;
}

/* Does the request want that the phone can be called? here: one that only takes contacts away is
 * answered at once: nobody is called there any more from now on, whatever others still believe, for
 * this peer says so when it is asked. */
static bool registers(struct sip_msg *msg)
{
	return reg_request_contacts(msg, any, NULL);
}

static bool prepared_error(const struct sip_msg *msg)
{
	const struct lump_rpl *l;

	for (l = msg->reply_lump; l != NULL; l = l->next)
		if (l->text.len > (int)strlen(ERROR_HEADER) &&
		    memcmp(l->text.s, ERROR_HEADER, strlen(ERROR_HEADER)) == 0)
			return true;
	return false;
}

/* Where the script goes on, if it wants to. 0: the script ends. */
static int go_on(struct sip_msg *msg, const struct reg_route_ref *ref, int ret)
{
	if (ref == NULL)
		return ret;
	reg_route_run(msg, ref);
	return 0;
}

static void failed(struct sip_msg *msg)
{
	reg_outcome_set(msg, REG_FAILED, "the registrar did not take it");
}

/* 200, or 420, with what the registrar has prepared. */
static int answer(struct sip_msg *msg, bool silent, int ret)
{
	str ok = str_init("OK"), extension = str_init("Bad Extension");
	bool error = prepared_error(msg);

	if (error)
		failed(msg);
	else
		reg_outcome_set(msg, REG_SAVED, "");
	if (!silent && sl.freply(msg, error ? 420 : 200, error ? &extension : &ok) < 0)
		return -1;
	return ret;
}

static int save_confirmed(struct sip_msg *msg, str *table, int flags, str *uri,
			  const struct reg_route_ref *ref)
{
	const bool silent = (flags & REG_SAVE_NORPL_FL) != 0;
	struct p2p_name name;
	struct cell *t = reg_tm.t_gett();
	int ret;

	/* a retransmission, answered by tm; a transaction that the script has made is this one's */
	if ((t == NULL || t == T_UNDEFINED) && tmx.t_check_trans(msg) == 0)
		return 0;
	ret = reg_save(msg, table,
		       (flags & REG_SAVE_ALL_FL) | REG_SAVE_NORPL_FL | REG_SAVE_PREPRPL_FL, uri);
	if (ret < 0) {
		failed(msg);
		if (!silent)
			stock_reply(msg);
		return go_on(msg, ref, ret);
	}
	if (prepared_error(msg) || !registers(msg) || !reg_request_name(msg, uri, &name) ||
	    reg_ul.confirmed(table, &name)) {
		reg_count(REG_CNT_CONFIRMED_AT_ONCE);
		return go_on(msg, ref, answer(msg, silent, ret));
	}
	switch (reg_suspend_save(msg, &name, ref, silent)) {
	case 1:
	case 0:
		return 0;
	default: /* too many wait, or there is no memory */
		reg_count(REG_CNT_UNCONFIRMED);
		reg_outcome_set(msg, REG_UNAVAILABLE, "too many registrations wait");
		if (!silent && reg_reply(msg) < 0)
			return -1;
		return go_on(msg, ref, -1);
	}
}

static int save_async(struct sip_msg *msg, str *table, int flags, str *uri,
		      const struct reg_route_ref *ref)
{
	int ret = reg_save(msg, table, flags, uri);

	if (ref == NULL)
		return ret;
	if (ret < 0)
		failed(msg);
	else
		reg_outcome_set(msg, REG_SAVED, "");
	return go_on(msg, ref, ret);
}

int reg_save_publish(struct sip_msg *msg, str *table, int flags, str *uri,
		     const struct reg_route_ref *ref)
{
	/* what is not answered here has nothing to wait with, unless a route goes on with it */
	if (waits(flags) && msg->first_line.type == SIP_REQUEST &&
	    (!(flags & REG_SAVE_NORPL_FL) || ref != NULL))
		return save_confirmed(msg, table, flags, uri, ref);
	return save_async(msg, table, flags & REG_SAVE_ALL_FL, uri, ref);
}

void reg_save_answered(struct sip_msg *msg, const str *prepared, enum p2p_answer_code code,
		       bool silent)
{
	static const char *const reason[] = {
		[P2P_ANSWER_FOUND] = "",
		[P2P_ANSWER_ABSENT] = "not registered any more",
		[P2P_ANSWER_UNKNOWN] = "not known to other peers yet",
		[P2P_ANSWER_UNAVAILABLE] = "no gateway",
		[P2P_ANSWER_BUSY] = "too many registrations wait",
		[P2P_ANSWER_BADARG] = "the gateway did not take it",
		[P2P_ANSWER_DENIED] = "the gateway did not take it",
	};

	if (code != P2P_ANSWER_FOUND) {
		reg_count(REG_CNT_UNCONFIRMED);
		reg_outcome_set(msg, REG_UNAVAILABLE, reason[code]);
		if (!silent)
			reg_reply(msg);
		return;
	}
	reg_count(REG_CNT_CONFIRMED);
	if (prepared->len > 0 &&
	    add_lump_rpl(msg, prepared->s, prepared->len, LUMP_RPL_HDR) == NULL) {
		LM_ERR("no memory for the headers of a reply\n");
		return; /* tm answers with an error; the phone tries again */
	}
	reg_outcome_set(msg, REG_SAVED, "");
	if (!silent)
		reg_tm.t_reply(msg, 200, (char *)"OK");
}
