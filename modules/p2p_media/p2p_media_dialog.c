/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the dialog module is loaded, the end of a dialog releases its media too: what BYE and the
 * relay's sweep do anyway, but at once when a dialog times out or is ended by the proxy. */
#include <string.h>
#include "core/dprint.h"
#include "modules/dialog/dlg_load.h"
#include "modules/dialog/dlg_hash.h"
#include "modules/p2p_media/p2p_media.h"

static struct dlg_binds dlgb;
static bool bound;
static str variable = str_init("p2p_media");

static void on_end(struct dlg_cell *dlg, int type, struct dlg_cb_params *params)
{
	uint64_t handle = 0;
	str value;
	int i;

	(void)type;
	(void)params;
	if (dlgb.get_dlg_varval(dlg, &variable, &value) < 0 || value.len != 16)
		return;
	for (i = 0; i < value.len; i++) {
		char c = value.s[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return;
		handle = handle << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	p2p_media_relay_delete(handle, &dlg->callid);
}

static void on_created(struct dlg_cell *dlg, int type, struct dlg_cb_params *params)
{
	(void)type;
	(void)params;
	/* FAILED: the transaction's end has released it */
	if (dlgb.register_dlgcb(dlg, DLGCB_TERMINATED | DLGCB_EXPIRED, on_end, NULL, NULL) != 0)
		LM_ERR("cannot watch the dialog of %.*s\n", dlg->callid.len, dlg->callid.s);
}

int p2p_media_dialog_init(void)
{
	if (!module_loaded("dialog"))
		return 0;
	if (load_dlg_api(&dlgb) < 0) {
		LM_ERR("dialog is loaded, but cannot be bound\n");
		return -1;
	}
	/* LOADED: those that dialog keeps in a database over a restart */
	if (dlgb.register_dlgcb(NULL, DLGCB_CREATED, on_created, NULL, NULL) != 0 ||
	    dlgb.register_dlgcb(NULL, DLGCB_LOADED, on_created, NULL, NULL) != 0) {
		LM_ERR("cannot watch dialogs\n");
		return -1;
	}
	bound = true;
	return 0;
}

void p2p_media_dialog_answered(struct sip_msg *reply, uint64_t handle)
{
	struct dlg_cell *dlg;
	char text[17];
	str value;

	if (!bound)
		return;
	dlg = dlgb.get_dlg(reply);
	if (dlg == NULL)
		return;
	value.s = text;
	value.len = snprintf(text, sizeof(text), "%016llx", (unsigned long long)handle);
	if (dlgb.set_dlg_var(dlg, &variable, &value) < 0)
		LM_WARN("cannot note the media of %.*s in its dialog\n", dlg->callid.len,
			dlg->callid.s);
	dlgb.release_dlg(dlg);
}
