-- SPDX-License-Identifier: GPL-2.0-or-later
-- What authenticates phones as the overlay's users, through KEMI.

function ksr_request_route()
	if KSR.is_ACK() or KSR.is_CANCEL() then return 1 end
	if KSR.p2p_route.is_peer() > 0 then
		KSR.p2p_registrar.lookup_route("location", "ksr_p2p_call")
		return 1
	end
	if KSR.is_REGISTER() then
		KSR.tm.t_newtran()		-- a script may have its reasons
		KSR.p2p_registrar.authenticate("ksr_authenticated")
	else
		-- the route looks at what it came to
		KSR.p2p_registrar.authenticate_flags("ksr_judged", 1)
	end
	return 1
end

function ksr_authenticated()
	KSR.p2p_registrar.save("location", 0)
	return 1
end

function ksr_judged()
	local code = KSR.pv.getvn("$var(p2p_auth)", 0)
	if code == 1 then
		KSR.p2p_registrar.consume_credentials()
		KSR.p2p_registrar.lookup_route("location", "ksr_p2p_call")
	elseif code == -5 then
		KSR.p2p_registrar.challenge()
	else
		KSR.tm.t_newtran()
		KSR.tm.t_reply(600 - code, "Judged")
	end
	return 1
end

function ksr_p2p_call()
	if KSR.pv.getw("$var(p2p_result)") ~= "found" then
		KSR.p2p_registrar.reply()
	else
		KSR.tm.t_relay()
	end
	return 1
end
