// SPDX-License-Identifier: GPL-2.0-or-later
/* The header between peers (p2p_route_header.h): read, taken out, put in. It is never shown to a
 * phone or taken from one. */
#include "core/data_lump.h"
#include "core/mem/mem.h"
#include "p2p_route.h"

#define PREFIX "P2P-"
#define PREFIX_LEN (sizeof(PREFIX) - 1)

static bool is_ours(const struct hdr_field *hf)
{
	return hf->name.len > (int)PREFIX_LEN && strncasecmp(hf->name.s, PREFIX, PREFIX_LEN) == 0;
}

void route_header_read(struct sip_msg *msg, struct route_header *h)
{
	struct hdr_field *hf;

	memset(h, 0, sizeof(*h));
	if (parse_headers(msg, HDR_EOH_F, 0) < 0)
		return;
	for (hf = msg->headers; hf != NULL; hf = hf->next) {
		if (hf->name.len == (int)ROUTE_HEADER_LEN &&
		    strncasecmp(hf->name.s, ROUTE_HEADER, ROUTE_HEADER_LEN) == 0) {
			if (h->present) { /* twice: no peer does that */
				h->has_hit = false;
				return;
			}
			h->present = true;
			route_header_parse(h, hf->body.s, (size_t)hf->body.len);
		}
	}
}

/* A lump of ours at this place already (the function may be called in several routes). */
static bool stripped(const struct sip_msg *msg, unsigned int offset)
{
	const struct lump *l;

	for (l = msg->add_rm; l != NULL; l = l->next)
		if (l->op == LUMP_DEL && l->u.offset == (int)offset)
			return true;
	return false;
}

void route_header_strip(struct sip_msg *msg)
{
	struct hdr_field *hf;

	if (parse_headers(msg, HDR_EOH_F, 0) < 0)
		return;
	for (hf = msg->headers; hf != NULL; hf = hf->next) {
		if (!is_ours(hf) || stripped(msg, (unsigned int)(hf->name.s - msg->buf)))
			continue;
		if (del_lump(msg, (int)(hf->name.s - msg->buf), hf->len, 0) == NULL)
			LM_ERR("cannot take %.*s out of a request\n", hf->name.len, hf->name.s);
		else
			route_count(ROUTE_CNT_STRIPPED);
	}
}

void route_header_add(struct sip_msg *msg, const struct p2p_session *session)
{
	struct route_header in, out = {.has_hit = true};
	struct lump *anchor;
	char *text;
	size_t len;

	if (route_ul.own_hit(&out.hit) < 0)
		return; /* no gateway yet: the other peer may know us by our address */
	route_header_read(msg, &in);
	out.hops = in.has_hit ? in.hops + 1 : 1;
	if (session != NULL)
		route_auth_sign(msg, &out, session);
	text = pkg_malloc(ROUTE_HEADER_MAX);
	if (text == NULL) {
		PKG_MEM_ERROR;
		return;
	}
	len = route_header_print(&out, text);
	anchor = anchor_lump(msg, (int)(msg->unparsed - msg->buf), 0, HDR_OTHER_T);
	if (anchor == NULL || insert_new_lump_before(anchor, text, (int)len, HDR_OTHER_T) == NULL) {
		LM_ERR("cannot add the peer's header\n");
		pkg_free(text);
	}
}
