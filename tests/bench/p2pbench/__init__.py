# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmarks share: namespaces, processes, the two sides, results."""
