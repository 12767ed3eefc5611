"""Computes profiles of a table anew and compares them with those of `kind: profile`, as of each epoch.

usage: profile.py ROWS PROFILE TOP exact|about [COLUMN...]     prints the number of epochs as JSON

COLUMN are the columns that are described, all if none is named. `about` allows estimates their errors.
"""
import datetime as dt
import json
import math
import os
import re
import statistics
import sys

import deltalake
import numpy as np
import pyarrow as pa

TOP, EXACT, COLUMNS = int(sys.argv[3]), sys.argv[4] == "exact", sys.argv[5:]
MOST_DIFFERENT = 4096


def epochs(url):
    table = deltalake.DeltaTable(url)
    for epoch, version in sorted((c["epoch"], c["version"]) for c in table.history() if "epoch" in c):
        table.load_as_version(version)
        yield epoch, table.to_pyarrow_table()


def shown(kind):
    if pa.types.is_decimal(kind):
        return f"decimal128({kind.precision}, {kind.scale})"
    names = {"int64": "bigint", "int32": "int", "bool": "boolean", "date32[day]": "date", "timestamp[us, tz=UTC]": "timestamp"}
    return names.get(str(kind), str(kind))


def text(value):
    """As SQL has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dt.datetime):
        value = value.astimezone(dt.timezone.utc).replace(tzinfo=None)
        digits = 0 if value.microsecond == 0 else 3 if value.microsecond % 1000 == 0 else 6
        fraction = f".{value.microsecond:06}"[: digits + 1] if digits else ""
        return value.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"
    return str(value)


def reads_as(word):
    word = word.strip()
    if word.lower() in ("true", "false", "yes", "no"):
        yield "boolean"
    if re.fullmatch(r"[+-]?[0-9]{1,18}", word):
        yield "integer"
    if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", word):
        yield "number"
    try:
        # Python takes more forms than this; the rows have no others.
        if re.match(r"\d{4}-\d\d-\d\d", word) and dt.datetime.fromisoformat(word):
            yield "timestamp"
    except ValueError:
        pass


def order(value):
    nan = isinstance(value, float) and math.isnan(value)
    return (nan, 0 if nan else value)


def profile(name, kind, values):
    there = [v for v in values if v is not None]
    row = {"column": name, "rows": len(values), "nulls": len(values) - len(there)}
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    nested = pa.types.is_list(kind) or pa.types.is_struct(kind)
    finite = [v for v in there if not isinstance(v, float) or math.isfinite(v)]
    row["type"] = shown(kind) if not nested else None
    if not nested:
        counts = {}
        for value in there:
            key = order(value)
            counts.setdefault(key, [0, value])[0] += 1
        row["distinct"] = len(counts)
        best = sorted(counts.items(), key=lambda item: (-item[1][0], item[0]))[:TOP]
        too_many = not EXACT and len(counts) > MOST_DIFFERENT
        row["top"] = None if too_many else [{"value": v, "rows": n} for _, (n, v) in best]
        row["min"], row["max"] = (min(finite), max(finite)) if finite else (None, None)
    if number:
        floats = sorted(float(v) for v in finite)
        row["mean"] = math.fsum(floats) / len(floats) if floats else None
        row["stddev"] = statistics.stdev(floats) if len(floats) > 1 else None
        for q in ("p05", "p25", "p50", "p75", "p95"):
            at = int(q[1:]) / 100
            near = floats[math.floor(at * (len(floats) - 1) + 0.5)] if floats else None
            row[q] = near if not EXACT or near is None else float(np.quantile(floats, at))
        if pa.types.is_floating(kind):
            row["not_finite"] = len(there) - len(finite)
    lengths = [len(v) for v in there] if isinstance(next(iter(there), None), (str, bytes, list)) else []
    if lengths:
        row |= {"min_length": min(lengths), "max_length": max(lengths), "mean_length": sum(lengths) / len(lengths)}
    if pa.types.is_string(kind):
        full = [v for v in there if v.strip()]
        row["empty"] = len(there) - len(full)
        for looks in ("boolean", "integer", "number", "timestamp"):
            fit = sum(looks in reads_as(v) for v in full)
            if full and fit >= 0.95 * len(full):
                row["looks_like"], row["type_problems"] = looks, len(there) - fit
                break
    return row


def same_value(found, expected, kind):
    if found is None or expected is None:
        return found is None and expected is None
    if isinstance(expected, float):
        single = np.float32 if kind == pa.float32() else float
        return order(float(single(found))) == order(float(single(expected)))
    return found == text(expected)


def close(found, expected, error=1e-9):
    if found is None or expected is None:
        return found is None and expected is None
    return abs(found - expected) <= error * max(abs(expected), 1e-9) + 1e-12


def compare(found, expected, kind):
    for name, value in found.items():
        wanted = expected.get(name)
        if name == "type" and wanted is None:
            good = value
        elif name in ("min", "max"):
            good = same_value(value, wanted, kind)
        elif name == "top" and wanted is not None:
            good = value is not None and len(value) == len(wanted) and all(
                a["rows"] == b["rows"] and same_value(a["value"], b["value"], kind) for a, b in zip(value, wanted))
        elif name == "distinct" and wanted and not EXACT:
            good = close(value, wanted, 0.06)
        elif re.fullmatch(r"p\d\d", name) and not EXACT:
            good = close(value, wanted, 0.0101)
        elif isinstance(value, float) or isinstance(wanted, float):
            good = close(value, wanted)
        else:
            good = value == wanted
        assert good, f"{name} of {expected['column']!r} is {value!r} and not {wanted!r}"


def main():
    rows = dict(epochs(sys.argv[1]))
    done = 0
    for epoch, told in epochs(sys.argv[2]):
        table = rows[epoch]
        names = COLUMNS or table.column_names
        told = {row["column"]: row for row in told.to_pylist()}
        expected = names if table.num_rows else []
        assert sorted(told) == sorted(expected), f"epoch {epoch}: {sorted(told)}"
        for name in expected:
            kind = table.schema.field(name).type
            try:
                compare(told[name], profile(name, kind, table.column(name).to_pylist()), kind)
            except AssertionError as error:
                raise SystemExit(f"epoch {epoch}: {error}")
        done += 1
    json.dump(done, sys.stdout)


main()
# See read_table.py.
sys.stdout.flush()
os._exit(0)
