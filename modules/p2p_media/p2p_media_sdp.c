/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include "modules/p2p_media/p2p_media_sdp.h"

/* RFC 2046 section 5.1.1 */
#define BOUNDARY_MAX 70

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool type_is(const char *type, size_t len, const char *want)
{
	size_t n = strlen(want);

	return len >= n && strncasecmp(type, want, n) == 0 &&
	       (len == n || type[n] == ';' || is_space(type[n]));
}

static void skip_space(const char **p, const char *end)
{
	while (*p < end && is_space(**p))
		(*p)++;
}

/* The boundary parameter of a multipart Content-Type. */
static int boundary_of(const char *type, size_t len, char out[BOUNDARY_MAX + 1])
{
	const char *p = memchr(type, ';', len), *end = type + len, *name;
	size_t n, namelen;
	bool quoted;

	while (p != NULL && p < end) {
		p++;
		skip_space(&p, end);
		name = p;
		while (p < end && *p != '=' && *p != ';' && !is_space(*p))
			p++;
		namelen = (size_t)(p - name);
		skip_space(&p, end);
		if (p >= end || *p != '=') {
			p = p < end ? memchr(p, ';', (size_t)(end - p)) : NULL;
			continue;
		}
		p++;
		skip_space(&p, end);
		quoted = p < end && *p == '"';
		if (quoted)
			p++;
		n = 0;
		while (p < end && (quoted ? *p != '"' : *p != ';' && !is_space(*p))) {
			if (n == BOUNDARY_MAX || (unsigned char)*p < 0x20)
				return EBADMSG;
			out[n++] = *p++;
		}
		if (namelen == strlen("boundary") && strncasecmp(name, "boundary", namelen) == 0) {
			if (n == 0 || (quoted && p >= end))
				return EBADMSG;
			out[n] = '\0';
			return 0;
		}
		p = p < end ? memchr(p, ';', (size_t)(end - p)) : NULL;
	}
	return EBADMSG;
}

/* The next delimiter line from p on: *line is its beginning (the CRLF before it is part of it,
 * RFC 2046 section 5.1.1), *next what follows it; *last whether it is the closing one. */
static bool delimiter(const char *body, const char *p, const char *end, const char *boundary,
		      const char **line, const char **next, bool *last)
{
	size_t n = strlen(boundary);
	const char *q, *e;

	while (p < end && (q = memmem(p, (size_t)(end - p), "--", 2)) != NULL) {
		p = q + 1;
		if ((q != body && q[-1] != '\n') || (size_t)(end - q) < n + 2 ||
		    memcmp(q + 2, boundary, n) != 0)
			continue;
		e = q + 2 + n;
		*last = end - e >= 2 && e[0] == '-' && e[1] == '-';
		if (*last)
			e += 2;
		while (e < end && (*e == ' ' || *e == '\t'))
			e++;
		if (e < end && *e == '\r')
			e++;
		if (e < end && *e != '\n')
			continue; /* a longer boundary that begins like ours */
		*next = e < end ? e + 1 : end;
		if (q > body)
			q--; /* the line feed */
		if (q > body && q[-1] == '\r')
			q--;
		*line = q;
		return true;
	}
	return false;
}

/* Where a part's headers end; its Content-Type in *type. */
static const char *part_headers(const char *p, const char *end, const char **type, size_t *typelen)
{
	static const char name[] = "content-type";
	const char *e, *v;

	*type = "";
	*typelen = 0;
	while (p < end) {
		e = memchr(p, '\n', (size_t)(end - p));
		if (e == NULL)
			return NULL;
		if (e == p || (e == p + 1 && *p == '\r'))
			return e + 1;
		if ((size_t)(e - p) > sizeof(name) - 1 &&
		    strncasecmp(p, name, sizeof(name) - 1) == 0) {
			v = p + sizeof(name) - 1;
			while (v < e && (*v == ' ' || *v == '\t'))
				v++;
			if (v < e && *v == ':') {
				v++;
				skip_space(&v, e);
				*type = v;
				*typelen = (size_t)(e - v);
			}
		}
		p = e + 1;
	}
	return NULL;
}

int p2p_media_sdp_find(const char *type, size_t typelen, const char *body, size_t len, size_t *off,
		       size_t *sdplen)
{
	const char *p, *end = body + len, *line, *next, *content, *ptype, *part;
	char boundary[BOUNDARY_MAX + 1];
	size_t ptypelen;
	bool last = false;
	int parts;

	if (len == 0)
		return ENOENT;
	if (type_is(type, typelen, "application/sdp")) {
		*off = 0;
		*sdplen = len;
		return 0;
	}
	if (typelen < 10 || strncasecmp(type, "multipart/", 10) != 0)
		return ENOENT;
	if (boundary_of(type, typelen, boundary) != 0 ||
	    !delimiter(body, body, end, boundary, &line, &next, &last))
		return EBADMSG;
	for (parts = 0; !last && parts < P2P_MEDIA_PARTS_MAX; parts++) {
		part = next;
		if (!delimiter(body, part, end, boundary, &line, &p, &last))
			return EBADMSG; /* cut off */
		if (line < part)
			line = part;
		content = part_headers(part, p, &ptype, &ptypelen);
		if (content == NULL)
			return EBADMSG;
		if (type_is(ptype, ptypelen, "application/sdp")) {
			if (content >= line)
				return EBADMSG;
			*off = (size_t)(content - body);
			*sdplen = (size_t)(line - content);
			return 0;
		}
		next = p;
	}
	return ENOENT;
}

static void address_of(const char *line, size_t len, char out[P2P_MEDIA_ADDRESS_MAX])
{
	size_t n;

	/* c=IN IP4 192.0.2.1/127 */
	if (len < 9 || (memcmp(line, "c=IN IP4 ", 9) != 0 && memcmp(line, "c=IN IP6 ", 9) != 0))
		return;
	line += 9;
	len -= 9;
	for (n = 0; n < len && line[n] != '/' && line[n] != ' '; n++)
		;
	if (n == 0 || n >= P2P_MEDIA_ADDRESS_MAX)
		return;
	memcpy(out, line, n);
	out[n] = '\0';
}

/* m=audio 49170/2 RTP/AVP 0: is the port other than 0? */
static bool active(const char *line, size_t len)
{
	const char *sp = memchr(line, ' ', len), *end = line + len;

	if (sp == NULL)
		return false;
	for (sp++; sp < end && *sp >= '0' && *sp <= '9'; sp++)
		if (*sp != '0')
			return true;
	return false;
}

/* Is the port 0, and nothing that a more lenient parser might take for another? */
static bool declined(const char *line, size_t len)
{
	const char *p = memchr(line, ' ', len), *end = line + len, *port;

	if (p == NULL)
		return false;
	for (port = ++p; p < end && *p == '0'; p++)
		;
	return p > port && (p == end || *p == ' ' || *p == '/');
}

/* One media section, or the lines before the first. */
struct section {
	bool open; /* not declined */
	enum { PLAIN, SECURE, TLS, OTHER } profile;
	bool crypto, in_clear; /* a=crypto; one that does not encrypt */
	bool fingerprint;
};

static bool begins(const char *line, size_t len, const char *word)
{
	size_t n = strlen(word);

	return len >= n && memcmp(line, word, n) == 0;
}

/* m=audio 49170/2 RTP/AVP 0 */
static void section_begin(struct section *x, const char *line, size_t len)
{
	static const struct {
		const char *name;
		int profile;
	} profiles[] = {
		{"RTP/AVP", PLAIN},    {"RTP/AVPF", PLAIN},	  {"RTP/SAVP", SECURE},
		{"RTP/SAVPF", SECURE}, {"UDP/TLS/RTP/SAVP", TLS}, {"UDP/TLS/RTP/SAVPF", TLS},
	};
	const char *p = memchr(line, ' ', len), *end = line + len, *e;
	size_t i;

	memset(x, 0, sizeof(*x));
	x->open = !declined(line, len);
	x->profile = OTHER;
	p = p != NULL ? memchr(p + 1, ' ', (size_t)(end - p - 1)) : NULL;
	if (p == NULL)
		return;
	p++;
	e = memchr(p, ' ', (size_t)(end - p));
	if (e == NULL)
		e = end;
	for (i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++)
		if ((size_t)(e - p) == strlen(profiles[i].name) &&
		    strncasecmp(p, profiles[i].name, (size_t)(e - p)) == 0)
			x->profile = profiles[i].profile;
}

static void section_attribute(struct section *x, const char *line, size_t len)
{
	const char *suite;

	if (begins(line, len, "a=fingerprint:")) {
		x->fingerprint = true;
	} else if (begins(line, len, "a=crypto:")) {
		/* a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:... (RFC 4568 section 9.1) */
		x->crypto = true;
		suite = memchr(line, ' ', len);
		while (suite != NULL && suite < line + len && *suite == ' ')
			suite++;
		if (suite == NULL || begins(suite, (size_t)(line + len - suite), "NULL") ||
		    memmem(line, len, "UNENCRYPTED_SRTP", strlen("UNENCRYPTED_SRTP")) != NULL)
			x->in_clear = true;
	}
}

static uint8_t section_media(const struct section *x, const struct section *session)
{
	bool fingerprint = x->fingerprint || session->fingerprint;

	if (!x->open)
		return 0;
	switch (x->profile) {
	case PLAIN:
		return P2P_MEDIA_RTP;
	case OTHER:
		return P2P_MEDIA_SDP_OTHER;
	case TLS:
		return fingerprint ? P2P_MEDIA_DTLS : P2P_MEDIA_SDP_BROKEN;
	case SECURE:
		break;
	}
	if (fingerprint)
		return P2P_MEDIA_DTLS;
	return x->crypto && !x->in_clear ? P2P_MEDIA_SDES : P2P_MEDIA_SDP_BROKEN;
}

size_t p2p_media_sdp_decline(const char *s, size_t len, char *out)
{
	const char *p = s, *end = s + len, *e, *sp, *port;
	size_t n = 0;

	for (; p < end; p = e) {
		e = memchr(p, '\n', (size_t)(end - p));
		e = e != NULL ? e + 1 : end;
		sp = e - p > 2 && p[0] == 'm' && p[1] == '=' ? memchr(p, ' ', (size_t)(e - p))
							     : NULL;
		if (sp != NULL && !declined(p, (size_t)(e - p))) {
			sp++;
			memcpy(out + n, p, (size_t)(sp - p));
			n += (size_t)(sp - p);
			out[n++] = '0';
			for (port = sp; port < e && *port != ' ' && *port != '\r' && *port != '\n';
			     port++)
				;
			p = port;
		}
		memcpy(out + n, p, (size_t)(e - p));
		n += (size_t)(e - p);
	}
	return n;
}

int p2p_media_sdp_inspect(const char *s, size_t len, struct p2p_media_sdp *sdp)
{
	const char *p = s, *end = s + len, *e;
	struct section session = {0}, x = {0};
	size_t n, i;

	memset(sdp, 0, sizeof(*sdp));
	if (len > P2P_MEDIA_SDP_MAX)
		return E2BIG;
	if (len < 3 || memcmp(s, "v=0", 3) != 0)
		return EBADMSG;
	while (p < end) {
		e = memchr(p, '\n', (size_t)(end - p));
		n = (size_t)((e != NULL ? e : end) - p);
		if (n > 0 && p[n - 1] == '\r')
			n--;
		/* some phones end with an empty line */
		if (n > 0 && (n < 2 || p[1] != '=' || p[0] < 'a' || p[0] > 'z'))
			return EBADMSG;
		for (i = 0; i < n; i++)
			if (((unsigned char)p[i] < 0x20 && p[i] != '\t') || p[i] == 0x7f)
				return EBADMSG;
		if (n > 2 && p[0] == 'm') {
			sdp->media |= section_media(&x, &session);
			if (++sdp->sections > P2P_MEDIA_SECTIONS_MAX)
				return E2BIG;
			section_begin(&x, p, n);
			if (active(p, n))
				sdp->active++;
		} else if (n > 2 && p[0] == 'a') {
			section_attribute(sdp->sections == 0 ? &session : &x, p, n);
		} else if (n > 2 && p[0] == 'c' && sdp->address[0] == '\0') {
			address_of(p, n, sdp->address);
		}
		if (e == NULL)
			break;
		p = e + 1;
	}
	sdp->media |= section_media(&x, &session);
	return 0;
}

bool p2p_media_address_private(const char *address)
{
	struct in6_addr a6;
	struct in_addr a4;
	uint32_t a;

	if (inet_pton(AF_INET, address, &a4) == 1) {
		a = ntohl(a4.s_addr);
		return a >> 24 == 10 || a >> 20 == 0xac1 || a >> 16 == 0xc0a8 ||
		       a >> 16 == 0xa9fe || a >> 22 == 0x191; /* 100.64.0.0/10 */
	}
	if (inet_pton(AF_INET6, address, &a6) == 1)
		return (a6.s6_addr[0] & 0xfe) == 0xfc ||
		       (a6.s6_addr[0] == 0xfe && (a6.s6_addr[1] & 0xc0) == 0x80);
	return false;
}
