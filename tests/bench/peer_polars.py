#!/usr/bin/env python3
"""The benchmark's pipeline with Polars and deltalake: newline-delimited JSON to Delta tables.

Usage: peer_polars.py IN OUT

Writes OUT/bronze, OUT/silver and OUT/mentions, each read back from the table before it, on
Polars' streaming engine with its default settings. (Polars can write one Delta table per query;
doing all three from one scan of the input reads and parses it three times and costs more CPU.)
Everything there is, once: no checkpoints, no incremental second run, no quarantine.
"""
import sys
from datetime import datetime, timezone
from pathlib import Path

import polars as pl

COLUMNS = ("date", "user", "text", "sentiment")
# Polars does not parse zone names, so they become offsets first.
ZONES = {" PDT ": " -0700 ", " PST ": " -0800 ", " UTC ": " +0000 "}


def main(source: str, lake: str) -> None:
    files = sorted(Path(source).glob("*.json"))
    if not files:
        sys.exit(f"no *.json files in {source}")
    tweets = pl.scan_ndjson(files, schema=dict.fromkeys(COLUMNS, pl.String),
                            include_file_paths="source_file")
    tweets.with_columns(
        processing_time=pl.lit(datetime.now(timezone.utc)),
    ).sink_delta(f"{lake}/bronze", mode="append")

    date = pl.col("date")
    for name, offset in ZONES.items():
        date = date.str.replace(name, offset, literal=True)
    pl.scan_delta(f"{lake}/bronze").select(
        timestamp=date.str.strptime(pl.Datetime("us", "UTC"), "%a %b %d %H:%M:%S %z %Y"),
        mention=pl.col("text").str.to_lowercase().str.extract_all(r"@\w+"),
        cleaned_text=pl.col("text").str.replace_all(r"@\S+", ""),
        text="text",
        sentiment="sentiment",
    ).explode("mention", empty_as_null=True).sink_delta(f"{lake}/silver", mode="append")

    positive, negative = pl.col("sentiment") == "4", pl.col("sentiment") == "0"
    pl.scan_delta(f"{lake}/silver").filter(pl.col("mention").is_not_null()).group_by("mention").agg(
        positive=positive.sum().cast(pl.Int64),
        negative=negative.sum().cast(pl.Int64),
        total=(positive.sum() + negative.sum()).cast(pl.Int64),
        min_timestamp=pl.col("timestamp").min(),
        max_timestamp=pl.col("timestamp").max(),
    ).sink_delta(f"{lake}/mentions", mode="overwrite")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
