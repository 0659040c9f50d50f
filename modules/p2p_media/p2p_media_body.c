/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The SDP of a message: finding it, and putting another in its place. */
#include <errno.h>
#include <string.h>
#include <strings.h>
#include "core/data_lump.h"
#include "core/dprint.h"
#include "core/mem/mem.h"
#include "core/parser/parse_content.h"
#include "modules/p2p_media/p2p_media.h"

/* Has another module (rtpengine, say, in the script's NAT handling) put its own body in place of
 * this one? It reads the message as it came in, so there can be one such module for a message. */
static bool replaced(const struct sip_msg *msg, const char *sdp)
{
	const struct lump *l;

	for (l = msg->body_lumps; l != NULL; l = l->next)
		if (l->op == LUMP_DEL && l->u.offset <= (int)(sdp - msg->buf) &&
		    l->u.offset + l->len > (int)(sdp - msg->buf) && l->after != NULL)
			return true;
	return false;
}

int p2p_media_body_find(struct sip_msg *msg, struct p2p_media_body *b)
{
	size_t off, len, total;
	char *body;
	int err;

	memset(b, 0, sizeof(*b));
	if (parse_headers(msg, HDR_EOH_F, 0) < 0)
		return P2P_MEDIA_BAD_SDP;
	if (msg->content_type == NULL)
		return 0;
	body = get_body(msg);
	if (body == NULL)
		return 0;
	total = (size_t)(msg->buf + msg->len - body);
	if (msg->content_length != NULL && get_content_length(msg) >= 0 &&
	    (size_t)get_content_length(msg) < total)
		total = (size_t)get_content_length(msg);
	err = p2p_media_sdp_find(msg->content_type->body.s, (size_t)msg->content_type->body.len,
				 body, total, &off, &len);
	if (err == ENOENT)
		return 0;
	b->sdp.s = body + off;
	b->sdp.len = (int)len;
	if (err == 0 && replaced(msg, b->sdp.s)) {
		LM_DBG("another module takes care of the media of %.*s\n",
		       msg->callid ? msg->callid->body.len : 0,
		       msg->callid ? msg->callid->body.s : "");
		return 0;
	}
	if (err != 0 || p2p_media_sdp_inspect(b->sdp.s, len, &b->info) != 0) {
		p2p_media_count(P2P_MEDIA_BAD_BODIES);
		LM_DBG("body of %.*s cannot be understood\n",
		       msg->callid ? msg->callid->body.len : 0,
		       msg->callid ? msg->callid->body.s : "");
		return P2P_MEDIA_BAD_SDP;
	}
	/* a session without any media has nothing to anchor */
	b->there = b->info.sections > 0;
	return 0;
}

int p2p_media_body_replace(struct sip_msg *msg, const str *old, str *fresh)
{
	struct lump *l;

	/* Content-Length is set by the core, which counts body lumps */
	l = del_lump(msg, (unsigned int)(old->s - msg->buf), (unsigned int)old->len, 0);
	if (l == NULL || insert_new_lump_after(l, fresh->s, (unsigned int)fresh->len, 0) == NULL) {
		LM_ERR("cannot replace the body\n");
		pkg_free(fresh->s);
		return P2P_MEDIA_ERROR;
	}
	return P2P_MEDIA_DONE;
}

void p2p_media_body_drop(struct sip_msg *msg)
{
	struct hdr_field *h;
	char *body = get_body(msg);

	for (h = msg->headers; h != NULL; h = h->next)
		if (h->name.len == 4 && strncasecmp(h->name.s, "RSeq", 4) == 0)
			return;
	h = msg->content_type;
	if (body == NULL || h == NULL ||
	    del_lump(msg, (unsigned int)(body - msg->buf),
		     (unsigned int)(msg->buf + msg->len - body), 0) == NULL ||
	    del_lump(msg, (unsigned int)(h->name.s - msg->buf), (unsigned int)h->len,
		     HDR_CONTENTTYPE_T) == NULL)
		LM_ERR("cannot drop the body\n");
}
