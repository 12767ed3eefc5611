#!/usr/bin/env python3
"""Compare the tables that several engines made from the same tweets.

Usage: verify.py [--rows N] [--json FILE] DIR...

Each DIR holds bronze, silver and mentions, as Delta tables (a folder, read with the `deltalake`
package) or as Parquet (`bronze.parquet` or a folder of Parquet files). For each table it
computes row counts, sums of timestamps and text lengths, and order-independent hashes of the
rows, and shows every figure in which a DIR differs from the first one. With --rows, bronze must
hold exactly N rows. Exits 1 on a difference, on a wrong column or on a missing table.

Tables are streamed, not loaded. Source files are compared by name,
because a path and a file:// URL mean the same object. Processing times only have to be there.
"""
import argparse
import json
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

UTC = "timestamp[us, tz=UTC]"
COLUMNS = {
    "bronze": {"date": "string", "user": "string", "text": "string", "sentiment": "string",
               "source_file": "string", "processing_time": UTC},
    "silver": {"timestamp": UTC, "mention": "string", "cleaned_text": "string", "text": "string",
               "sentiment": "string"},
    "mentions": {"mention": "string", "positive": "int64", "negative": "int64", "total": "int64",
                 "min_timestamp": UTC, "max_timestamp": UTC},
}
# A hash of all rows that does not depend on their order: the sum of the rows' hashes.
ROWS = "sum(hash({})::HUGEINT) % 1000000000000000000"
FIGURES = {
    "bronze": {
        "rows": "count(*)",
        "source_files": "count(DISTINCT parse_filename(source_file))",
        "text_length": "sum(length(text))",
        "no_processing_time": "count(*) - count(processing_time)",
        "hash": ROWS.format('date, "user", text, sentiment, parse_filename(source_file)'),
    },
    "silver": {
        "rows": "count(*)",
        "mentions": "count(mention)",
        "distinct_mentions": "count(DISTINCT mention)",
        "no_timestamp": 'count(*) - count("timestamp")',
        "timestamp_sum": 'sum(epoch_us("timestamp"))',
        "text_length": "sum(length(text))",
        "cleaned_text_length": "sum(length(cleaned_text))",
        "mention_hash": ROWS.format("mention"),
        "hash": ROWS.format('epoch_us("timestamp"), mention, cleaned_text, text, sentiment'),
    },
    "mentions": {
        "rows": "count(*)",
        "distinct_mentions": "count(DISTINCT mention)",
        "positive": "sum(positive)",
        "negative": "sum(negative)",
        "total": "sum(total)",
        "min_timestamp_sum": "sum(epoch_us(min_timestamp))",
        "max_timestamp_sum": "sum(epoch_us(max_timestamp))",
        "hash": ROWS.format("mention, positive::BIGINT, negative::BIGINT, total::BIGINT, "
                            "epoch_us(min_timestamp), epoch_us(max_timestamp)"),
    },
}


def open_table(folder: Path, name: str) -> tuple[str, ds.Dataset]:
    """The table's format and rows."""
    table, file = folder / name, folder / f"{name}.parquet"
    if (table / "_delta_log").is_dir():
        return "delta", DeltaTable(table).to_pyarrow_dataset()
    for path in (file, table):
        if path.exists():
            return "parquet", ds.dataset(path, format="parquet")
    raise FileNotFoundError(f"no table {name} in {folder}")


def plain(kind: pa.DataType) -> str:
    """The type's name, whichever way Arrow lays its strings out."""
    if kind in (pa.large_string(), pa.string_view()):
        return "string"
    return str(kind).replace("tz=Etc/UTC", "tz=UTC").replace("tz=+00:00", "tz=UTC")


def summarise(folder: Path) -> dict:
    """All figures of one engine's tables, by table."""
    summary = {}
    for name, figures in FIGURES.items():
        kind, dataset = open_table(folder, name)
        columns = {field.name: plain(field.type) for field in dataset.schema}
        # The dataset is found by DuckDB under its Python name.
        query = ", ".join(f'{sql} AS "{figure}"' for figure, sql in figures.items())
        result = duckdb.sql(f"SELECT {query} FROM dataset")
        row = [value if value is None else int(value) for value in result.fetchall()[0]]
        summary[name] = {"format": kind, "columns": columns} | dict(zip(figures, row))
    return summary


def problems(summaries: dict[str, dict], rows: int | None) -> list[str]:
    found = []
    first = next(iter(summaries))
    for folder, summary in summaries.items():
        for name, expected in COLUMNS.items():
            table, reference = summary[name], summaries[first][name]
            if table["columns"] != expected:
                found.append(f"{folder}: {name} has the columns {table['columns']}, not {expected}")
            for figure in FIGURES[name]:
                if figure.startswith("no_") and table[figure]:
                    found.append(f"{folder}: {name}.{figure} is {table[figure]}, not 0")
                if table[figure] != reference[figure]:
                    found.append(f"{folder}: {name}.{figure} is {table[figure]}, "
                                 f"but {reference[figure]} in {first}")
        if summary["mentions"]["rows"] != summary["mentions"]["distinct_mentions"]:
            found.append(f"{folder}: mentions has a mention twice, or one without a name")
        if rows is not None and summary["bronze"]["rows"] != rows:
            found.append(f"{folder}: bronze has {summary['bronze']['rows']} rows, not {rows}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("folders", nargs="+", type=Path)
    args = parser.parse_args()
    try:
        summaries = {str(folder): summarise(folder) for folder in args.folders}
    except (OSError, DeltaError, duckdb.Error) as error:
        sys.exit(f"verify: {error}")
    if args.json:
        args.json.write_text(json.dumps(summaries, indent=2) + "\n")
    for folder, summary in summaries.items():
        counts = ", ".join(f"{name} {table['rows']} ({table['format']})"
                           for name, table in summary.items())
        print(f"{folder}: {counts}")
    differences = problems(summaries, args.rows)
    if differences:
        sys.exit("\n".join(["DIFFERENT", *differences]))
    print("all equal")


if __name__ == "__main__":
    main()
