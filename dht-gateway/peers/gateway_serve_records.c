/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/peers/gateway_serve_records.h"
#include <errno.h>
#include <stdlib.h>
#include "dht-gateway/location/gateway_hold.h"
#include "dht-gateway/location/gateway_watch.h"

/* Too big for the stack, all in all. */
union in {
	struct p2p_opp_batch batch;
	struct p2p_opp_query query;
	struct p2p_opp_range range;
	struct p2p_opp_check check;
};

union out {
	struct p2p_opp_results results;
	struct p2p_opp_found found;
	struct p2p_opp_page page;
	struct p2p_opp_missing missing;
};

bool gw_serve_is_records(const struct p2p_opp_path *path)
{
	switch (path->resource) {
	case P2P_OPP_RECORDS:
	case P2P_OPP_QUERY:
	case P2P_OPP_RANGE:
	case P2P_OPP_CHECK:
	case P2P_OPP_CHANGES:
		return true;
	default:
		return false;
	}
}

static int announced(struct gw *gw, const struct p2p_hit *from, const char *body, size_t bodylen,
		     union in *in, union out *out, char *text, size_t *len)
{
	int err = p2p_opp_batch_decode(&in->batch, body, bodylen);

	if (err)
		return err;
	gw_holds_announced(gw->holds, from, &in->batch, &out->results);
	return p2p_opp_results_encode(&out->results, text, P2P_OPP_BULK_MAX, len);
}

static int changed(struct gw *gw, const struct p2p_hit *from, const char *body, size_t bodylen,
		   union in *in, union out *out, char *text, size_t *len)
{
	int err = p2p_opp_batch_decode(&in->batch, body, bodylen);

	if (err)
		return err;
	out->results.instance = gw_holds_instance(gw->holds);
	p2p_opp_batch_init(&out->results.others);
	gw_watches_told(gw->watches, from, &in->batch, &out->results);
	return p2p_opp_results_encode(&out->results, text, P2P_OPP_BULK_MAX, len);
}

static int asked(struct gw *gw, const struct p2p_hit *from, const char *body, size_t bodylen,
		 union in *in, union out *out, char *text, size_t *len)
{
	int err = p2p_opp_query_decode(&in->query, body, bodylen);

	if (err)
		return err;
	gw_holds_asked(gw->holds, from, &in->query, &out->found);
	return p2p_opp_found_encode(&out->found, text, P2P_OPP_BULK_MAX, len);
}

static int ranged(struct gw *gw, const struct p2p_hit *from, const char *body, size_t bodylen,
		  union in *in, union out *out, char *text, size_t *len)
{
	int err = p2p_opp_range_decode(&in->range, body, bodylen);

	(void)from;
	if (err)
		return err;
	gw_holds_ranged(gw->holds, &in->range, &out->page);
	return p2p_opp_page_encode(&out->page, text, P2P_OPP_BULK_MAX, len);
}

static int checked(struct gw *gw, const struct p2p_hit *from, const char *body, size_t bodylen,
		   union in *in, union out *out, char *text, size_t *len)
{
	int err = p2p_opp_check_decode(&in->check, body, bodylen);

	if (err)
		return err;
	gw_holds_checked(gw->holds, from, &in->check, &out->missing);
	return p2p_opp_missing_encode(&out->missing, text, P2P_OPP_BULK_MAX, len);
}

int gw_serve_records(struct gw *gw, const struct p2p_opp_path *path, const struct p2p_hit *from,
		     const char *body, size_t bodylen, char **text, size_t *len)
{
	union in *in = malloc(sizeof(*in));
	union out *out = malloc(sizeof(*out));
	int err = ENOMEM;

	*text = malloc(P2P_OPP_BULK_MAX);
	if (!in || !out || !*text)
		goto end;
	switch (path->resource) {
	case P2P_OPP_RECORDS:
		err = announced(gw, from, body, bodylen, in, out, *text, len);
		break;
	case P2P_OPP_QUERY:
		err = asked(gw, from, body, bodylen, in, out, *text, len);
		break;
	case P2P_OPP_RANGE:
		err = ranged(gw, from, body, bodylen, in, out, *text, len);
		break;
	case P2P_OPP_CHECK:
		err = checked(gw, from, body, bodylen, in, out, *text, len);
		break;
	case P2P_OPP_CHANGES:
		err = changed(gw, from, body, bodylen, in, out, *text, len);
		break;
	default:
		err = EBADMSG;
	}
end:
	free(in);
	free(out);
	return err;
}
