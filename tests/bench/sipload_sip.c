/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sipload.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* RFC 3261, section 7.3.3 */
static const struct {
	const char *name, *compact;
} compact_forms[] = {
	{"Via", "v"}, {"From", "f"}, {"To", "t"}, {"Call-ID", "i"}, {"Contact", "m"},
};

static int span_is(const struct sip_span *sp, const char *word)
{
	return strlen(word) == sp->len && strncasecmp(sp->s, word, sp->len) == 0;
}

int sip_parse(const char *buf, size_t len, struct sip_view *v)
{
	const char *end = buf + len, *p, *eol;
	const struct sip_span *cseq;
	const char *sp;

	memset(v, 0, sizeof(*v));
	eol = memchr(buf, '\n', len);
	if (eol == NULL)
		return EBADMSG;
	if (len > 12 && strncmp(buf, "SIP/2.0 ", 8) == 0) {
		v->status = atoi(buf + 8);
		if (v->status < 100 || v->status > 699)
			return EBADMSG;
	}
	for (p = eol + 1; p < end && *p != '\r' && *p != '\n'; p = eol + 1) {
		const char *colon, *ve;

		eol = memchr(p, '\n', (size_t)(end - p));
		if (eol == NULL)
			return EBADMSG;
		ve = eol > p && eol[-1] == '\r' ? eol - 1 : eol;
		colon = memchr(p, ':', (size_t)(ve - p));
		if (colon == NULL || v->n == SL_HEADERS_MAX)
			return EBADMSG;
		v->h[v->n].name.s = p;
		v->h[v->n].name.len = (size_t)(colon - p);
		for (colon++; colon < ve && (*colon == ' ' || *colon == '\t');)
			colon++;
		v->h[v->n].value.s = colon;
		v->h[v->n].value.len = (size_t)(ve - colon);
		v->n++;
	}
	if (p < end)
		p = memchr(p, '\n', (size_t)(end - p));
	if (p != NULL && p < end) {
		v->body.s = p + 1;
		v->body.len = (size_t)(end - p - 1);
	}
	cseq = sip_header(v, "CSeq", 0);
	if (cseq == NULL || (sp = memchr(cseq->s, ' ', cseq->len)) == NULL)
		return EBADMSG;
	v->cseq = (unsigned int)strtoul(cseq->s, NULL, 10);
	v->method.s = sp + 1;
	v->method.len = cseq->len - (size_t)(sp + 1 - cseq->s);
	if (v->status == 0) {
		sp = memchr(buf, ' ', len);
		if (sp == NULL)
			return EBADMSG;
		v->method.s = buf;
		v->method.len = (size_t)(sp - buf);
	}
	return 0;
}

const struct sip_span *sip_header(const struct sip_view *v, const char *name, size_t n)
{
	const char *compact = NULL;
	size_t i;

	for (i = 0; i < sizeof(compact_forms) / sizeof(compact_forms[0]); i++) {
		if (strcasecmp(compact_forms[i].name, name) == 0)
			compact = compact_forms[i].compact;
	}
	for (i = 0; i < v->n; i++) {
		const struct sip_span *h = &v->h[i].name;

		if ((span_is(h, name) || (compact != NULL && span_is(h, compact))) && n-- == 0)
			return &v->h[i].value;
	}
	return NULL;
}

int sip_sdp_is_at(const struct sip_span *body, const struct sl_addr *at)
{
	static const char line[] = "\nc=IN ";
	const char *p = body->len > 0 ? memmem(body->s, body->len, line, sizeof(line) - 1) : NULL;
	const char *end = body->s + body->len, *eol;
	size_t host = strlen(at->host);

	if (p == NULL || end - p < (ptrdiff_t)sizeof(line) + 4)
		return 0;
	p += sizeof(line) - 1 + 4; /* past "IP4 " */
	eol = memchr(p, '\r', (size_t)(end - p));
	return eol != NULL && (size_t)(eol - p) == host && memcmp(p, at->host, host) == 0;
}

int sip_method_is(const struct sip_view *v, const char *method)
{
	return strlen(method) == v->method.len && memcmp(v->method.s, method, v->method.len) == 0;
}

void sip_put(struct sip_out *o, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(o->s + o->len, sizeof(o->s) - o->len, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(o->s) - o->len)
		o->full = 1;
	else
		o->len += (size_t)n;
}

void sip_put_headers(struct sip_out *o, const struct sip_view *v, const char *name)
{
	const struct sip_span *h;
	size_t i;

	for (i = 0; (h = sip_header(v, name, i)) != NULL; i++)
		sip_put(o, "%s: %.*s\r\n", name, (int)h->len, h->s);
}

void sip_put_sdp(struct sip_out *o, const struct sl_addr *at, unsigned int port)
{
	const char *ip = at->family == AF_INET6 ? "IP6" : "IP4";
	char body[512];
	int n;

	n = snprintf(
		body, sizeof(body),
		"v=0\r\no=- %u 1 IN %s %s\r\ns=-\r\nc=IN %s %s\r\nt=0 0\r\n"
		"m=audio %u RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
		"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n"
		"a=sendrecv\r\n",
		port, ip, at->host, ip, at->host, port);
	sip_put(o, "Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", n, body);
}
