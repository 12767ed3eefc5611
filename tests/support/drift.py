"""Computes drift anew with numpy and scipy and compares it with `kind: drift`, as of each epoch.

usage: drift.py BASELINE VERSION ROWS DRIFT [days]     prints the number of epochs as JSON

Tables have columns label (text), score (double), good (boolean), n (whole number), text and at (timestamp). The baseline are
the rows whose n is not 13.
"""
import collections
import datetime as dt
import json
import math
import os
import sys

import deltalake
import numpy as np
from scipy.spatial.distance import jensenshannon

BASELINE, VERSION, ROWS, DRIFT = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
DAYS = "days" in sys.argv
OPTIONS = {k: v for k, v in os.environ.items() if k.startswith("AWS_")}

OF = {
    "label": lambda row: row["label"],
    "score": lambda row: row["score"],
    "good": lambda row: None if row["good"] is None else str(row["good"]).lower(),
    "length": lambda row: None if row["text"] is None else float(len(row["text"])),
    "word": lambda row: row["text"],
    "constant": lambda row: 5.0,
}
NUMBERS = ("score", "length", "constant")


def epochs(url):
    table = deltalake.DeltaTable(url, storage_options=OPTIONS)
    for epoch, version in sorted((c["epoch"], c["version"]) for c in table.history() if "epoch" in c):
        table.load_as_version(version)
        yield epoch, table.to_pyarrow_table().to_pylist()


def values(rows, name):
    found = [OF[name](row) for row in rows]
    return [None if isinstance(v, float) and math.isnan(v) else v for v in found]


def bins(name, baseline):
    """Label of a value's bin, and all labels."""
    there = [v for v in baseline if v is not None]
    if name in NUMBERS:
        bounds = sorted(set(np.quantile(there, np.arange(1, 10) / 10)))
        if len(bounds) == 1:
            bounds.append(np.nextafter(bounds[0], np.inf))
        return (lambda v: None if v is None else int(np.searchsorted(bounds, v, side="right"))), [*range(len(bounds) + 1), None]
    counts = sorted(collections.Counter(there).items(), key=lambda item: (-item[1], item[0]))
    top = [text for text, _ in counts[:20]]
    return (lambda v: v if v is None or v in top else "(other)"), [*top, "(other)", None]


def shares(rows, name, label, labels):
    counts = collections.Counter(label(v) for v in values(rows, name))
    return np.array([counts[each] for each in labels]) / len(rows)


def main():
    table = deltalake.DeltaTable(BASELINE, version=VERSION, storage_options=OPTIONS)
    baseline = [row for row in table.to_pyarrow_table().to_pylist() if row["n"] != 13]
    rows = dict(epochs(ROWS))
    done = 0
    for epoch, told in epochs(DRIFT):
        groups = collections.defaultdict(list)
        for row in rows[epoch]:
            day = row["at"].replace(hour=0, minute=0, second=0, microsecond=0)
            groups[day if DAYS else None].append(row)
        found = {(row.get("window_start"), row["column"]): row for row in told}
        assert len(found) == len(told) == len(groups) * len(OF), f"epoch {epoch}: {len(told)} rows"
        for start, group in groups.items():
            for name in OF:
                row = found[start, name]
                if DAYS:
                    assert row["window_end"] - start == dt.timedelta(days=1)
                label, labels = bins(name, values(baseline, name))
                now, before = shares(group, name, label, labels), shares(baseline, name, label, labels)
                a, b = np.maximum(now, 1e-4), np.maximum(before, 1e-4)
                psi = float(np.sum((a - b) * np.log(a / b)))
                distance = float(np.nan_to_num(jensenshannon(now, before, base=2)))
                moved = np.abs(now - before)
                what = f"epoch {epoch}, {start}, {name}: {row}"
                assert (row["rows"], row["baseline_rows"], row["baseline_version"]) == (len(group), len(baseline), VERSION), what
                assert math.isclose(row["psi"], psi, rel_tol=1e-9, abs_tol=1e-9), f"{what} and not {psi}"
                # A root loses half of the digits near zero.
                assert abs(row["js_distance"] - distance) < 1e-7, f"{what} and not {distance}"
                assert row["drifted"] == (row["psi"] > 0.2), what
                largest = row["largest"]
                assert math.isclose(abs(largest["share"] - largest["baseline_share"]), moved.max(), abs_tol=1e-12), what
                if name not in NUMBERS:
                    at = labels.index(None if largest["bin"] == "(NULL)" else largest["bin"])
                    assert (largest["share"], largest["baseline_share"]) == (now[at], before[at]), what
        done += 1
    json.dump(done, sys.stdout)


main()
# See read_table.py.
sys.stdout.flush()
os._exit(0)
