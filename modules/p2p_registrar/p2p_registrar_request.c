// SPDX-License-Identifier: GPL-2.0-or-later
/* What a REGISTER asks for. */
#include "core/parser/contact/parse_contact.h"
#include "core/parser/parse_expires.h"
#include "core/parser/parse_to.h"
#include "p2p_registrar.h"

static bool is_zero(const str *s)
{
	int i;

	for (i = 0; i < s->len; i++)
		if (s->s[i] != '0')
			return false;
	return s->len > 0;
}

bool reg_request_contacts(struct sip_msg *msg, reg_contact_h *h, void *arg)
{
	const struct hdr_field *hdr;
	contact_t *c;
	bool zero;

	if (parse_headers(msg, HDR_EOH_F, 0) < 0 || msg->contact == NULL)
		return false;
	zero = msg->expires != NULL && parse_expires(msg->expires) == 0 &&
	       ((exp_body_t *)msg->expires->parsed)->valid &&
	       ((exp_body_t *)msg->expires->parsed)->val == 0;
	for (hdr = msg->contact; hdr != NULL; hdr = next_sibling_hdr(hdr)) {
		if (hdr->type != HDR_CONTACT_T || parse_contact((struct hdr_field *)hdr) < 0 ||
		    ((contact_body_t *)hdr->parsed)->star)
			continue;
		for (c = ((contact_body_t *)hdr->parsed)->contacts; c != NULL; c = c->next) {
			if (c->expires != NULL && c->expires->body.len > 0
				    ? is_zero(&c->expires->body)
				    : zero)
				continue;
			if (h(&c->uri, arg))
				return true;
		}
	}
	return false;
}

bool reg_request_name(struct sip_msg *msg, const str *uri, struct p2p_name *name)
{
	if (uri == NULL || uri->len == 0) {
		if (parse_to_header(msg) < 0 || msg->to == NULL)
			return false;
		uri = &get_to(msg)->uri;
	}
	return reg_ul.name_from_uri(uri, name) == 0;
}
