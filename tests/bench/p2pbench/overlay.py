# SPDX-License-Identifier: GPL-2.0-or-later
"""Our side: overlay peers out of a build tree."""
from . import sides


class Overlay:
    def __init__(self, bench):
        self.bench = bench
        self.module_dirs = sides.built_module_dirs(bench.args.build)
