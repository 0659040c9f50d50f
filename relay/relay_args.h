/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The arguments of OFFER, ANSWER, DELETE and QUERY: checked before anything is done with them. */
#ifndef P2PSIP_RELAY_ARGS_H
#define P2PSIP_RELAY_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include "lib/io/resp_server.h"
#include "relay/relay_call.h"
#include "relay/relay_settings.h"
#include "relay/ng/ng_msg.h"

/* Hexadecimal digits of a handle. */
#define RELAY_HANDLE_LEN 16
#define RELAY_CALLID_MAX 512
#define RELAY_TAG_MAX 256
#define RELAY_SDP_MAX (60 * 1024)

struct relay_args {
	char id[RELAY_CALL_ID_MAX + 1]; /* prefix-handle-Call-ID */
	const char *from_tag, *to_tag;	/* NULL: not given */
	bool from_overlay, to_overlay;
	const char *ice;	     /* as ng wants it; NULL: keep */
	enum ng_transport transport; /* of the leg towards the receiver */
	enum relay_family family;    /* the same leg's addresses */
	bool feedback;		     /* the SDP offers a profile with feedback (AVPF, SAVPF) */
	const char *flags[RELAY_FLAGS_MAX];
	size_t n_flags;
	const char *sdp;
	size_t sdp_len;
	char flag_text[256]; /* what flags points into */
};

enum relay_args_need {
	RELAY_NEED_SDP = 1, /* sdp, from, to, fromtag */
	RELAY_NEED_TO_TAG = 2,
};

/* argv[0] is the command; pairs of keyword and value follow. Pointers in a are into argv. EINVAL,
 * and the reason in err (a static string). */
int relay_args_parse(struct relay_args *a, const char *prefix, int argc,
		     const struct resp_arg *argv, unsigned int need, const char **err);

#endif
