"""Reads a Delta table with the deltalake package, for tests.

usage: read_table.py URL            rows as {"columns": {name: type}, "rows": [[...], ...]}, sorted
       read_table.py URL --version N    the same of an older version
       read_table.py URL --feed N       the same of the changes since version N, with what became of each row
       read_table.py URL --history      commits as a list, newest first
       read_table.py URL --epochs       the same as of each epoch, as [[epoch, {"columns": ...}], ...]
"""
import datetime as dt
import json
import math
import os
import sys

import deltalake
import pyarrow as pa

OPTIONS = {k: v for k, v in os.environ.items() if k.startswith("AWS_")}


def plain(value):
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.timezone.utc).isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    return value


def main() -> None:
    table = deltalake.DeltaTable(sys.argv[1], storage_options=OPTIONS)
    if "--history" in sys.argv:
        json.dump(table.history(), sys.stdout)
        return
    if "--epochs" in sys.argv:
        commits = sorted((c["epoch"], c["version"]) for c in table.history() if "epoch" in c)
        json.dump([[epoch, content(table, version)] for epoch, version in commits], sys.stdout)
        return
    if "--feed" in sys.argv:
        changes = table.load_cdf(starting_version=int(sys.argv[3]))
        json.dump(plainly(pa.table(changes.read_all())), sys.stdout)
        return
    json.dump(content(table, int(sys.argv[3]) if "--version" in sys.argv else None), sys.stdout)


def content(table: deltalake.DeltaTable, version: int | None = None) -> dict:
    if version is not None:
        table.load_as_version(version)
    return plainly(table.to_pyarrow_table())


def plainly(data: pa.Table) -> dict:
    names = sorted(data.schema.names)
    rows = [[plain(row[name]) for name in names] for row in data.to_pylist()]
    rows.sort(key=lambda row: json.dumps(row))
    columns = {name: str(data.schema.field(name).type) for name in data.schema.names}
    return {"columns": columns, "names": names, "rows": rows}


main()
# The package's threads sometimes abort the interpreter on its way out; everything is written by now.
sys.stdout.flush()
os._exit(0)
