"""What the tweet pipeline must give, computed with Python's own tools from the input.

usage: expected_tweets.py INPUT_FOLDER GOLD_URL

The predictions are taken from the gold table: this is about the aggregates over them.
"""
import datetime as dt
import json
import os
import pathlib
import re
import sys

import deltalake

ZONES = {"PDT": -7, "PST": -8, "EST": -5, "UTC": 0, "GMT": 0, "BST": 1}


def utc(date: str) -> str:
    weekday, month, day, time, zone, year = date.split()
    local = dt.datetime.strptime(f"{month} {day} {year} {time}", "%b %d %Y %H:%M:%S")
    moment = (local - dt.timedelta(hours=ZONES[zone])).replace(tzinfo=dt.timezone.utc)
    return moment.isoformat()


def ordered(rows: list) -> list:
    return sorted(rows, key=lambda row: json.dumps(row, ensure_ascii=False, separators=(",", ":")))


def main() -> None:
    bronze, silver = [], []
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.json")):
        for line in path.read_text().splitlines():
            t = json.loads(line)
            url = "file://" + str(path.resolve())
            bronze.append([t["date"], t["user"], t["text"], t["sentiment"], url])
            for mention in re.findall(r"@\w+", t["text"]) or [None]:
                cleaned = re.sub(r"@\S+", "", t["text"])
                silver.append([utc(t["date"]), mention and mention.lower(), cleaned, t["text"], t["sentiment"]])
    groups: dict = {}
    for row in deltalake.DeltaTable(sys.argv[2]).to_pyarrow_table().to_pylist():
        if row["mention"] is not None:
            group = groups.setdefault(row["mention"], {"positive": 0, "negative": 0, "neutral": 0, "times": []})
            group[row["predicted_sentiment"]] += 1
            group["times"].append(row["timestamp"].astimezone(dt.timezone.utc).isoformat())
    mentions = [
        [name, g["positive"], g["negative"], g["positive"] + g["negative"], min(g["times"]), max(g["times"])]
        for name, g in groups.items()
    ]
    result = {"bronze": ordered(bronze), "silver": ordered(silver), "mentions": ordered(mentions)}
    json.dump(result, sys.stdout, ensure_ascii=False)


main()
# The package's threads sometimes abort the interpreter on its way out; everything is written by now.
sys.stdout.flush()
os._exit(0)
