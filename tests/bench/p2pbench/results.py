# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures: medians over alternating runs, as a table and as bench-results/<bench>.json."""
import json
import os
import statistics


class Figures:
    def __init__(self, bench):
        self.bench = bench
        self.skipped = []  # (what was not measured, why)
        self.samples = {}  # figure -> {"unit":, "bar":, "ours": [..], "baseline": [..]}

    def add(self, figure, unit, side, value, bar=None):
        f = self.samples.setdefault(figure, {"unit": unit, "bar": bar, "ours": [], "baseline": []})
        f[side].append(value)

    def skip(self, what, why):
        self.skipped.append((what, why))

    def rows(self):
        rows = []
        for name, f in self.samples.items():
            ours = statistics.median(f["ours"]) if f["ours"] else None
            base = statistics.median(f["baseline"]) if f["baseline"] else None
            rows.append({
                "figure": name,
                "ours": rounded(ours),
                "baseline": rounded(base),
                "ratio": rounded(ours / base) if ours is not None and base else None,
                "unit": f["unit"],
                "runs": max(len(f["ours"]), len(f["baseline"])),
                "bar": f["bar"],
                "samples": {"ours": [rounded(v) for v in f["ours"]],
                            "baseline": [rounded(v) for v in f["baseline"]]},
            })
        return rows

    def table(self):
        head = ("figure", "ours", "baseline", "ratio", "unit", "runs", "bar")
        lines = [head] + [tuple(text(r[k]) for k in head) for r in self.rows()]
        width = [max(len(line[i]) for line in lines) for i in range(len(head))]
        return "\n".join(["  ".join(
            cell.ljust(w) if i in (0, 4, 6) else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, width))).rstrip() for line in lines]
            + [f"not measured: {what}: {why}" for what, why in self.skipped])

    def write(self, directory):
        os.makedirs(directory, exist_ok=True)
        path = os.path.join(directory, self.bench + ".json")
        with open(path + ".new", "w") as f:
            json.dump(self.rows(), f, indent=1)
            f.write("\n")
        os.replace(path + ".new", path)
        return path


def rounded(v):
    return None if v is None else float(f"{v:.4g}")


def text(v):
    return "-" if v is None else str(v)
