/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/engine/gateway_bootstrap.h"
#include <errno.h>
#include <string.h>
#include "dht-gateway/keys/gateway_file.h"
#include "lib/base/bytes.h"

#define TEXT_MAX (GW_BOOTSTRAP_MAX * GW_BOOTSTRAP_LEN + 1)

void gw_bootstrap_add(struct gw_bootstrap *b, const char *entry)
{
	size_t len = strlen(entry);

	if (!len || len >= GW_BOOTSTRAP_LEN || b->n == GW_BOOTSTRAP_MAX)
		return;
	for (size_t i = 0; i < len; i++)
		if (entry[i] <= ' ' || entry[i] > '~')
			return;
	for (size_t i = 0; i < b->n; i++)
		if (!strcmp(b->entry[i], entry))
			return;
	memcpy(b->entry[b->n++], entry, len + 1);
}

int gw_bootstrap_load(struct gw_bootstrap *b, const char *path)
{
	char text[TEXT_MAX], *save = NULL;
	size_t len;
	int err = gw_file_read(path, text, sizeof(text), &len);

	if (err)
		return err == ENOENT ? 0 : err;
	for (char *line = strtok_r(text, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save))
		if (*line != '#')
			gw_bootstrap_add(b, line);
	return 0;
}

int gw_bootstrap_save(const struct gw_bootstrap *b, const char *path)
{
	char text[TEXT_MAX];
	struct p2p_text t;

	p2p_text_init(&t, text, sizeof(text));
	for (size_t i = 0; i < b->n; i++)
		p2p_text_add(&t, "%s\n", b->entry[i]);
	return gw_file_replace(path, text, t.len);
}
