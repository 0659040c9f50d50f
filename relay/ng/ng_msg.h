/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rtpengine's ng protocol: requests and replies as bytes, without a socket. One UDP datagram is
 * "<cookie> <dictionary>", and a reply's dictionary is in the request's encoding. Here: bencode for
 * what a call waits for, since rtpengine and the relay both handle it in a third of JSON's time and
 * it carries any bytes; JSON for query and list, whose replies are structures. */
#ifndef P2PSIP_RELAY_NG_MSG_H
#define P2PSIP_RELAY_NG_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;
struct ng_request;

/* Longest cookie that is made or accepted, without NUL. */
#define NG_COOKIE_MAX 40
/* A UDP datagram holds no more. */
#define NG_DATAGRAM_MAX 65507
/* How deep a reply's dictionary may nest: query goes to 9. */
#define NG_DEPTH_MAX 24
/* Longest reason of an error that is kept, with NUL. */
#define NG_ERROR_MAX 160

enum ng_result {
	NG_RESULT_OK,
	NG_RESULT_PONG,
	NG_RESULT_LIMIT, /* "load limit": take another instance */
	NG_RESULT_ERROR, /* error holds the reason */
};

/* A parsed reply. The pointers are into the caller's bytes or into root. */
struct ng_reply {
	enum ng_result result;
	const char *sdp;
	size_t sdp_len;		  /* 0: no SDP in it */
	char error[NG_ERROR_MAX]; /* the reason of NG_RESULT_ERROR; may be "" */
	const char *text;	  /* the dictionary as it came */
	size_t text_len;
	struct json_object *root; /* NULL where the reply was in bencode */
};

/* Split a datagram into cookie and dictionary. EBADMSG: no cookie, or one that is too long. */
int ng_datagram_split(const char *buf, size_t len, size_t *cookie_len, size_t *body_off);

/* Parse the dictionary of a reply. EBADMSG: no dictionary, too deep, no result, or an SDP that is
 * no string. On success the caller calls ng_reply_free; s must live as long. */
int ng_reply_parse(struct ng_reply *reply, const char *s, size_t len);
void ng_reply_free(struct ng_reply *reply);

/* Does the reason say that rtpengine does not know the call? */
bool ng_reply_unknown_call(const struct ng_reply *reply);

/* What a query (JSON) said about the life of a call. */
struct ng_call_state {
	uint64_t packets; /* RTP and RTCP, all legs */
	uint64_t rtp_packets;
	bool held;	   /* no media section goes both ways */
	unsigned int tags; /* sides that have spoken: 2 once it is answered */
};
void ng_reply_call_state(const struct ng_reply *reply, struct ng_call_state *state);

/* The call ids of a list reply (JSON): calls f for each until it returns false. Returns how many
 * there were, or -1 when the reply is no list. */
typedef bool ng_call_id_h(const char *id, size_t len, void *arg);
int ng_reply_calls(const struct ng_reply *reply, ng_call_id_h *f, void *arg);

/* How media goes on the leg that an SDP is written for. */
enum ng_transport {
	NG_TRANSPORT_KEEP = 0, /* as the SDP says; an answer: as was offered on that leg */
	NG_TRANSPORT_RTP,      /* RTP/AVP */
	NG_TRANSPORT_SDES,     /* RTP/SAVP, keys in the SDP (RFC 4568) */
	NG_TRANSPORT_DTLS,     /* UDP/TLS/RTP/SAVP, keys by DTLS (RFC 5764) */
	NG_TRANSPORT_OSRTP,    /* RTP/AVP with keys in the SDP, for whoever wants them (RFC 8643) */
};

struct ng_offer {
	bool answer; /* else an offer */
	enum ng_transport transport;
	bool feedback; /* the profile with feedback: AVPF, SAVPF (RFC 4585, RFC 5124) */
	const char *call_id;
	const char *from_tag; /* of the side that offers */
	const char *to_tag;   /* NULL: not known yet */
	const char *from_if;  /* rtpengine's interface towards the sender of this SDP */
	const char *to_if;    /* ... and towards its receiver */
	const char *ice;      /* remove, force, or NULL: as it comes */
	const char *from_family, *to_family; /* "IP4", "IP6", or NULL */
	const char *const *flags;	     /* n_flags further flags */
	size_t n_flags;
	const char *sdp;
	size_t sdp_len;
};

/* Each returns a new request, or NULL when memory is short; ended with ng_request_free. */
struct ng_request *ng_request_offer(const struct ng_offer *offer);
struct ng_request *ng_request_ping(void);
struct ng_request *ng_request_delete(const char *call_id);
struct ng_request *ng_request_query(const char *call_id);
struct ng_request *ng_request_list(unsigned int limit);
void ng_request_free(struct ng_request *request);

/* The whole datagram, malloced: "<cookie> <dictionary>". EMSGSIZE when it does not fit into one. */
int ng_request_datagram(const struct ng_request *request, const char *cookie, char **packet,
			size_t *len);

#endif
