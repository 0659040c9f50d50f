/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of libp2popp share. */
#ifndef P2PSIP_PROTO_OPP_IMPL_H
#define P2PSIP_PROTO_OPP_IMPL_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/base/bytes.h"
#include "lib/proto/opp.h"
#include "lib/proto/record.h"

/* Highest number of a version. */
#define P2P_OPP_VERSION_NUMBER_MAX 1000

/* Printable ASCII that needs no escape, and ends within cap bytes. */
int p2p_opp_printable(const char *s, size_t cap);
/* 1 to 15 of a-z, 0-9 and '-'. */
int p2p_opp_word_valid(const char *s);
/* A string of printable ASCII, quoted. */
void p2p_opp_put_string(struct p2p_text *t, const char *s);
/* EMSGSIZE: it was cut. */
int p2p_opp_put_end(const struct p2p_text *t, size_t *len);

/* The body as an object that the caller puts. */
int p2p_opp_body_parse(const char *text, size_t len, json_object **out);
/* The same of a body whose length the caller has judged. */
int p2p_opp_bulk_parse(const char *text, size_t len, json_object **out);
/* A string of less than max bytes, without NULs; NULL: it is not there, or is none. */
const char *p2p_opp_string_of(json_object *o, size_t max);
const char *p2p_opp_get_string(json_object *o, const char *name, size_t max);
/* Exactly n bytes, at most 32, in hexadecimal. */
int p2p_opp_get_hex(json_object *o, const char *name, uint8_t *out, size_t n);
int p2p_opp_get_u32(json_object *o, const char *name, uint32_t min, uint32_t max, uint32_t *out);
/* One of n words, to its number. */
int p2p_opp_get_word(json_object *o, const char *name, const char *const *words, size_t n,
		     int *out);
/* A word like those of lists. */
int p2p_opp_get_name(json_object *o, const char *name, char word[P2P_OPP_WORD_MAX]);
int p2p_opp_get_hit(json_object *o, struct p2p_hit *hit);
/* 64 bits as a decimal string: not every reader of JSON has them as numbers. */
int p2p_opp_get_u64(json_object *o, const char *name, uint64_t *v);
int p2p_opp_get_flag(json_object *o, const char *name, bool *v);
/* A list of at most max; *n: how many it has. */
int p2p_opp_get_list(json_object *o, const char *name, size_t max, json_object **list, size_t *n);
/* Likewise; none is an empty one. */
int p2p_opp_find_list(json_object *o, const char *name, size_t max, json_object **list, size_t *n);

/* A record in base64url, quoted. */
int p2p_opp_put_record(struct p2p_text *t, const uint8_t *record, size_t len);
int p2p_opp_record_of(json_object *o, uint8_t record[P2P_RECORD_MAX], uint16_t *len);

/* "versions": [..]. Of more than we count, the first ones are taken. */
int p2p_opp_put_versions(struct p2p_text *t, const unsigned int *version, size_t n);
int p2p_opp_get_versions(json_object *o, unsigned int *version, uint8_t *n);
/* "sip": [..]. Addresses of a form that is not known here are left out. */
int p2p_opp_put_uris(struct p2p_text *t, const char (*uri)[P2P_LOCATOR_URI_MAX], unsigned int n);
int p2p_opp_get_uris(json_object *o, char (*uri)[P2P_LOCATOR_URI_MAX], uint8_t *n);
/* The members of a user's body, without its braces. */
int p2p_opp_put_user(struct p2p_text *t, const struct p2p_opp_user *user);
int p2p_opp_get_user(json_object *o, struct p2p_opp_user *user);

#endif
