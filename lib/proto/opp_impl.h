/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of libp2popp share. */
#ifndef P2PSIP_PROTO_OPP_IMPL_H
#define P2PSIP_PROTO_OPP_IMPL_H

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/base/bytes.h"

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

#endif
