#!/usr/bin/env python3
"""The benchmark's pipeline with DuckDB: newline-delimited JSON to Parquet files.

Usage: peer_duckdb.py IN OUT

Writes OUT/bronze.parquet, OUT/silver.parquet and OUT/mentions.parquet. These are plain Parquet,
NOT Delta tables: no log, no commit, no statistics per file beyond Parquet's own. Read its
figures as what the work costs without a table format. Everything there is, once.
"""
import sys

import duckdb

PIPELINE = r"""
SET TimeZone = 'UTC';

COPY (
    SELECT date, "user", text, sentiment, filename AS source_file, now() AS processing_time
    FROM read_json('{source}/*.json', format = 'newline_delimited', filename = true,
                   columns = {{date: 'VARCHAR', "user": 'VARCHAR', text: 'VARCHAR',
                               sentiment: 'VARCHAR'}})
) TO '{lake}/bronze.parquet';

-- strptime's %Z knows no zone abbreviations, so they become offsets first.
COPY (
    SELECT timestamp,
           unnest(CASE WHEN len(mentions) = 0 THEN [NULL] ELSE mentions END) AS mention,
           cleaned_text, text, sentiment
    FROM (
        SELECT strptime(replace(replace(replace(date,
                            ' PDT ', ' -0700 '), ' PST ', ' -0800 '), ' UTC ', ' +0000 '),
                        '%a %b %d %H:%M:%S %z %Y') AS timestamp,
               regexp_extract_all(lower(text), '@\w+') AS mentions,
               regexp_replace(text, '@\S+', '', 'g') AS cleaned_text,
               text, sentiment
        FROM '{lake}/bronze.parquet'
    )
) TO '{lake}/silver.parquet';

COPY (
    SELECT mention,
           count(*) FILTER (sentiment = '4') AS positive,
           count(*) FILTER (sentiment = '0') AS negative,
           positive + negative AS total,
           min(timestamp) AS min_timestamp,
           max(timestamp) AS max_timestamp
    FROM '{lake}/silver.parquet'
    WHERE mention IS NOT NULL
    GROUP BY mention
) TO '{lake}/mentions.parquet';
"""


def main(source: str, lake: str) -> None:
    paths = {"source": source.replace("'", "''"), "lake": lake.replace("'", "''")}
    duckdb.execute(PIPELINE.format(**paths))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
