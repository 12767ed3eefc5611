"""Writes a Delta table with the deltalake package, as another program would while we read it.

usage: write_table.py URL STEPS     STEPS is a JSON list; each step is a mapping with one of the keys below

append, overwrite   rows, with "schema" (column: pyarrow type, or "time" for moments), "partition_by", "properties" if the table is new
delete              a predicate, or null for all rows
update              column: expression; with "where"
merge               rows; with "on": key column. Rows whose "gone" is true are deleted
optimize, vacuum, checkpoint
set                 table properties
add_column          column: Delta type
forget              writes a checkpoint and deletes the log entries before this version
raw                 a commit as it is: a list of actions
"""
import datetime as dt
import json
import os
import sys

import deltalake
import pyarrow as pa
from deltalake import DeltaTable, Field, write_deltalake

OPTIONS = {k: v for k, v in os.environ.items() if k.startswith("AWS_")}
URL = sys.argv[1]
# Moments have no alias.
TIME = pa.timestamp("us", "UTC")


def typed(rows, schema):
    if schema is None:
        return pa.Table.from_pylist(rows)
    types = {name: TIME if kind == "time" else pa.type_for_alias(kind) for name, kind in schema.items()}

    def value(name, text):
        if text is None or isinstance(text, (int, float, bool)):
            return text
        if pa.types.is_date(types[name]):
            return dt.date.fromisoformat(text)
        if pa.types.is_timestamp(types[name]):
            return dt.datetime.fromisoformat(text)
        return text

    columns = {name: pa.array([value(name, row.get(name)) for row in rows], types[name]) for name in types}
    return pa.table(columns)


def step(one):
    for mode in ("append", "overwrite"):
        if mode in one:
            extra = {k: one[k] for k in ("partition_by",) if k in one}
            if "properties" in one:
                extra["configuration"] = one["properties"]
            if one.get("new_schema"):
                extra["schema_mode"] = "overwrite" if mode == "overwrite" else "merge"
            data = typed(one[mode], one.get("schema"))
            return write_deltalake(URL, data, mode=mode, storage_options=OPTIONS, **extra)
    if "raw" in one:
        # The package need not understand the table for this.
        log = os.path.join(URL, "_delta_log")
        version = max(int(name[:20]) for name in os.listdir(log) if name.endswith(".json")) + 1
        with open(os.path.join(log, f"{version:020}.json"), "w") as file:
            return file.writelines(json.dumps(action) + "\n" for action in one["raw"])
    table = DeltaTable(URL, storage_options=OPTIONS)
    if "delete" in one:
        table.delete(one["delete"])
    elif "update" in one:
        table.update(updates=one["update"], predicate=one.get("where"))
    elif "merge" in one:
        key = one["on"]
        names = [n for n in one["merge"][0] if n != "gone"]
        merge = table.merge(
            pa.Table.from_pylist(one["merge"]),
            predicate=f"t.{key} = s.{key}",
            source_alias="s",
            target_alias="t",
        )
        values = {n: f"s.{n}" for n in names}
        merge = merge.when_matched_delete("s.gone").when_matched_update(values)
        merge.when_not_matched_insert(values, "not s.gone").execute()
    elif "optimize" in one:
        table.optimize.compact()
    elif "vacuum" in one:
        table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    elif "checkpoint" in one:
        table.create_checkpoint()
    elif "set" in one:
        table.alter.set_table_properties(one["set"])
    elif "add_column" in one:
        fields = [Field(name, deltalake.schema.PrimitiveType(kind)) for name, kind in one["add_column"].items()]
        table.alter.add_columns(fields)
    elif "forget" in one:
        table.create_checkpoint()
        log = os.path.join(URL, "_delta_log")
        for name in os.listdir(log):
            if name.endswith(".json") and name[:20].isdigit() and int(name[:20]) < one["forget"]:
                os.remove(os.path.join(log, name))
    else:
        raise ValueError(f"not a step: {one}")


for each in json.loads(sys.argv[2]):
    step(each)
sys.stdout.flush()
# See read_table.py.
os._exit(0)
