// SPDX-License-Identifier: GPL-2.0-or-later
/* A REGISTER that was saved, and not answered, for Kamailio was killed. The phone sends it again,
 * to a Kamailio that has its binding back, and knows nothing of the transaction. usrloc passes over
 * what has the binding's Call-ID and CSeq only while that is younger than cseq_delay (20 s), and
 * the registrar says 400 (Invalid CSeq) from then on: a phone sends its request again for 32 s.
 *
 * So such a binding is as young as the request that names it again. Nothing else about it changes,
 * and what is older (a lower CSeq) is refused as ever. */
#include <time.h>

#include "core/globals.h"
#include "core/parser/parse_cseq.h"
#include "core/trim.h"
#include "modules/usrloc/usrloc.h"
#include "p2p_registrar.h"

/* After a start; no transaction of before it goes on for longer (RFC 3261, timer F: 64 * T1, 32 s).
 * Twice that, for the phone that tries a second time as it did the first. */
#define AGAIN_S 64

struct again {
	urecord_t *r;
	str callid;
	int cseq;
	time_t now;
};

/* One of the contacts that the request wants to have. False: the others too. */
static bool renew(const str *uri, void *arg)
{
	const struct again *a = arg;
	ucontact_t *c;

	for (c = a->r->contacts; c != NULL; c = c->next) {
		if (c->last_modified <= up_since && c->cseq == a->cseq &&
		    c->callid.len == a->callid.len &&
		    memcmp(c->callid.s, a->callid.s, (size_t)a->callid.len) == 0 &&
		    c->c.len == uri->len && memcmp(c->c.s, uri->s, (size_t)uri->len) == 0 &&
		    (c->expires == 0 || c->expires > a->now)) {
			c->last_modified = a->now;
			reg_count(REG_CNT_SENT_AGAIN);
		}
	}
	return false;
}

void reg_again(const struct usrloc_api *ul, struct sip_msg *msg, const str *table, const str *uri)
{
	char table_buf[REG_TABLE_MAX], aor_buf[REG_URI_MAX];
	struct again a = {.now = time(NULL)};
	struct p2p_name name;
	unsigned int cseq;
	udomain_t *domain;
	int i;

	if (reg_ul.uptime() >= AGAIN_S || msg->first_line.type != SIP_REQUEST ||
	    parse_headers(msg, HDR_EOH_F, 0) < 0 || msg->callid == NULL || msg->cseq == NULL ||
	    str2int(&get_cseq(msg)->number, &cseq) < 0 || !reg_request_name(msg, uri, &name))
		return;
	a.cseq = (int)cseq;
	a.callid = msg->callid->body;
	trim_trailing(&a.callid);
	for (i = 0;; i++) {
		str where = {table_buf, sizeof(table_buf)}, aor = {aor_buf, sizeof(aor_buf)};

		if (!reg_ul.local_aor(&name, i, &where, &aor))
			return;
		if (where.len != table->len || memcmp(where.s, table->s, (size_t)table->len) != 0 ||
		    ul->get_udomain(table->s, &domain) != 0)
			continue;
		ul->lock_udomain(domain, &aor);
		if (ul->get_urecord(domain, &aor, &a.r) == 0)
			reg_request_contacts(msg, renew, &a);
		ul->unlock_udomain(domain, &aor);
	}
}
