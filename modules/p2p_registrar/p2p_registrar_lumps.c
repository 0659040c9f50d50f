// SPDX-License-Identifier: GPL-2.0-or-later
/* A request that is suspended a second time: p2p_lookup() in a route that p2p_authenticate() went
 * on in. tm keeps what the script has changed of the headers (lumps) at the first suspension only;
 * what came after it, a record_route() say, would be lost. So it is moved to where tm has kept the
 * first ones: into the list of the transaction's request, at whose head the first suspension has
 * put a lump that changes nothing, so that the list has a head for good. */
#include "core/atomic_ops.h"
#include "core/data_lump.h"
#include "core/data_lump_rpl.h"
#include "core/mem/mem.h"
#include "core/mem/shm_mem.h"
#include "core/sip_msg_clone.h"
#include "modules/tm/h_table.h"
#include "p2p_registrar.h"

int reg_lumps_anchor(struct sip_msg *msg)
{
	if (msg->add_rm != NULL && msg->add_rm->u.offset == 0)
		return 0;
	return anchor_lump(msg, 0, 0, 0) == NULL ? -1 : 0;
}

static void destroy_h(struct cell *t, int type, struct tmcb_params *p)
{
	(void)t;
	(void)type;
	(void)p;
}

static void block_free(void *block)
{
	shm_free(block);
}

/* Those that this process has made, out of the list, in their order: the others are copies of what
 * tm has kept. */
static struct lump *own_take(struct lump **list)
{
	struct lump *own = NULL, **end = &own, *l;

	while ((l = *list) != NULL) {
		if ((l->flags & LUMPFLAG_SHMEM) != 0) {
			list = &l->next;
			continue;
		}
		*list = l->next;
		l->next = NULL;
		*end = l;
		end = &l->next;
	}
	return own;
}

/* Lists are in the order of offsets. */
static void insert(struct lump **list, struct lump *l)
{
	while (*list != NULL && (*list)->u.offset <= l->u.offset)
		list = &(*list)->next;
	l->next = *list;
	/* whoever else reads the list finds it with or without this one */
	membar_write();
	*list = l;
}

static void insert_all(struct lump **list, struct lump *from)
{
	struct lump *next;

	for (; from != NULL; from = next) {
		next = from->next;
		insert(list, from);
	}
}

int reg_lumps_keep(struct sip_msg *msg, struct cell *t)
{
	struct lump *head = t->uas.request->add_rm, *own, *clones = NULL, *body;
	struct lump_rpl *reply;
	struct sip_msg part;

	if (head == NULL || head->u.offset != 0 || (own = own_take(&msg->add_rm)) == NULL)
		return 0;
	memset(&part, 0, sizeof(part));
	part.add_rm = own;
	if (msg_lump_cloner(&part, &clones, &body, &reply) != 0 ||
	    reg_tm.register_tmcb(msg, t, TMCB_DESTROY, destroy_h, clones, block_free) <= 0) {
		LM_ERR("no memory for what the script has changed of the headers\n");
		if (clones != NULL)
			shm_free(clones);
		insert_all(&msg->add_rm, own); /* the request goes on without being suspended */
		return -1;
	}
	free_lump_list(own);
	insert_all(&head->next, clones);
	return 0;
}

int reg_lumps_reply_take(struct sip_msg *msg, str *text)
{
	struct lump_rpl *l, *next;
	size_t len = 0;
	char *s;

	text->s = NULL;
	text->len = 0;
	/* those that an earlier suspension has kept stay where they are */
	for (l = msg->reply_lump; l != NULL; l = l->next)
		if ((l->flags & (LUMP_RPL_SHMEM | LUMP_RPL_HDR)) == LUMP_RPL_HDR)
			len += (size_t)l->text.len;
	if (len == 0)
		return 0;
	s = shm_malloc(len);
	if (s == NULL) {
		SHM_MEM_ERROR;
		return -1;
	}
	for (l = msg->reply_lump; l != NULL; l = next) {
		next = l->next;
		if ((l->flags & (LUMP_RPL_SHMEM | LUMP_RPL_HDR)) != LUMP_RPL_HDR)
			continue;
		memcpy(s + text->len, l->text.s, (size_t)l->text.len);
		text->len += l->text.len;
		unlink_lump_rpl(msg, l);
		free_lump_rpl(l);
	}
	text->s = s;
	return 0;
}
