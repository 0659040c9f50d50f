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

int p2p_media_sdp_inspect(const char *s, size_t len, struct p2p_media_sdp *sdp)
{
	const char *p = s, *end = s + len, *e;
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
			if (++sdp->sections > P2P_MEDIA_SECTIONS_MAX)
				return E2BIG;
			if (active(p, n))
				sdp->active++;
		} else if (n > 2 && p[0] == 'c' && sdp->address[0] == '\0') {
			address_of(p, n, sdp->address);
		}
		if (e == NULL)
			break;
		p = e + 1;
	}
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
