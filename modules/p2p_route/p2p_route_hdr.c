// SPDX-License-Identifier: GPL-2.0-or-later
/* The header that a request carries from one peer to the next:
 *
 *   P2P-Peer: 2001:2f:...;v=1;hops=1
 *
 * It names the sending peer and counts the peers it went through. It proves nothing (p2p_route_peer
 * compares the source address), and it is never shown to a phone or taken from one. */
#include <stdio.h>

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

void route_header_add(struct sip_msg *msg)
{
	struct route_header in;
	struct p2p_hit own;
	char text[P2P_HIT_TEXT_MAX];
	struct lump *anchor;
	char *s;
	int len;

	if (route_ul.own_hit(&own) < 0)
		return; /* no gateway yet: the other peer may know us by our address */
	route_header_read(msg, &in);
	p2p_hit_print(&own, text);
	s = pkg_malloc(ROUTE_HEADER_LEN + sizeof(text) + 32);
	if (s == NULL) {
		PKG_MEM_ERROR;
		return;
	}
	len = snprintf(s, ROUTE_HEADER_LEN + sizeof(text) + 32, "%s: %s;v=1;hops=%u\r\n",
		       ROUTE_HEADER, text, in.has_hit ? in.hops + 1 : 1);
	anchor = anchor_lump(msg, (int)(msg->unparsed - msg->buf), 0, HDR_OTHER_T);
	if (anchor == NULL || insert_new_lump_before(anchor, s, len, HDR_OTHER_T) == NULL) {
		LM_ERR("cannot add the peer's header\n");
		pkg_free(s);
	}
}
