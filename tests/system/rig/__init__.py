# SPDX-License-Identifier: GPL-2.0-or-later
"""The system test rig: real Kamailio, rtpengine, DHT and phones in network namespaces.

tests/README.md says how the pieces fit together.
"""
