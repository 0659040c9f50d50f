-- SPDX-License-Identifier: GPL-2.0-or-later
-- media.cfg's routes once more, through KEMI.

function ksr_request_route()
	if KSR.is_CANCEL() then
		if KSR.tm.t_check_trans() > 0 then KSR.tm.t_relay() end
		return 1
	end
	if KSR.siputils.has_totag() > 0 then
		if KSR.rr.loose_route() > 0 then
			KSR.p2p_media.p2p_media_manage()
			KSR.tm.t_on_reply("ksr_onreply_media")
			KSR.tm.t_relay()
		elseif KSR.is_ACK() and KSR.tm.t_check_trans() > 0 then
			KSR.tm.t_relay()
		end
		return 1
	end
	KSR.rr.record_route()
	KSR.pv.sets("$du", (string.gsub(KSR.pv.getw("$def(NEXTHOP)"), '"', '')))
	KSR.tm.t_on_branch("ksr_branch_media")
	KSR.tm.t_on_reply("ksr_onreply_media")
	if KSR.tm.t_relay() < 0 and KSR.p2p_media.p2p_media_failed() > 0 then
		KSR.tm.t_reply(503, "Media Relay Unavailable")
	end
	return 1
end

function ksr_branch_media()
	if KSR.p2p_media.p2p_media_manage() < 0 then KSR.x.drop() end
	return 1
end

function ksr_onreply_media()
	KSR.p2p_media.p2p_media_manage()
	return 1
end
