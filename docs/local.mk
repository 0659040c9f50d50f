# SPDX-License-Identifier: GPL-2.0-or-later
dist_man_MANS += docs/man/p2psip-gateway.8 docs/man/p2psip-relay.8 docs/man/p2psipctl.8
nobase_dist_doc_DATA = README.md \
	docs/benchmarks.md docs/code.md docs/decisions.md docs/engines.md docs/enrolment.md docs/failures.md docs/flows.md docs/limits.md docs/locking.md docs/moving.md \
	docs/peer-protocol.md docs/peer-protocol.openapi.yaml \
	docs/records.md docs/resp.md docs/resp-relay.md docs/scaling.md docs/states.md docs/users.md \
	docs/scaling/latency.svg docs/scaling/membership.svg docs/scaling/memory.svg \
	docs/scaling/results.json docs/scaling/users.svg \
	docs/modules/p2p_media.md docs/modules/p2p_registrar.md docs/modules/p2p_route.md \
	docs/modules/p2p_usrloc.md
