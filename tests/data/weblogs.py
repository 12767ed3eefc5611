#!/usr/bin/env python3
"""The sample web server access logs in pipelines/data/weblogs.

Usage: weblogs.py [--check] [DIR]

Writes three days of logs as CSV with a header, the last day compressed with gzip. The output
is always the same. With --check nothing is written: the exit code is 1 unless DIR holds exactly
these files (compressed bytes depend on the zlib at hand, so those are compared unpacked).

The rows make a small story for queries to find: traffic follows the day, one crawler is busy at
night, and on 3 March from 14:00 to 14:20 UTC the shop answers 503 slowly. Hosts log in their own
time zones (a file ends at midnight UTC), some fields need quotes, and `bytes` is empty where no
body was sent.
"""
import csv
import gzip
import io
import random
import sys
from bisect import bisect
from datetime import datetime, timedelta, timezone
from itertools import accumulate
from pathlib import Path

DIR = Path(__file__).resolve().parents[2] / "pipelines" / "data" / "weblogs"
HEADER = ["time", "host", "method", "path", "status", "bytes", "duration_ms", "agent"]
DAYS = [datetime(2026, 3, day, tzinfo=timezone.utc) for day in (2, 3, 4)]
ROWS_PER_DAY = 1_000
INCIDENT = (DAYS[1] + timedelta(hours=14), DAYS[1] + timedelta(hours=14, minutes=20))

# Host, weight, hours from UTC at which it logs.
HOSTS = [("www.example.com", 45, 1), ("shop.example.com", 30, 1), ("api.example.com", 15, 0),
         ("shop.example.org", 7, -5), ("docs.example.org", 3, 5.5)]
# Requests per hour of the day in UTC, relative to each other.
HOURS = [3, 2, 2, 2, 2, 3, 5, 8, 11, 13, 14, 14, 12, 12, 13, 13, 12, 11, 11, 12, 12, 10, 7, 5]

# Per site: method, path, weight, usual size in bytes (0: no body), usual milliseconds.
ROUTES = {
    "www": [("GET", "/", 20, 14_200, 18), ("GET", "/about", 4, 8_100, 12),
            ("GET", "/assets/site.css", 12, 22_400, 2.5),
            ("GET", "/assets/site.js", 12, 88_000, 3.5),
            ("GET", "/assets/logo.svg", 10, 3_100, 1.5), ("GET", "/news/{n}", 9, 19_000, 25),
            ("GET", "/search?q={word}", 6, 11_000, 95), ("HEAD", "/", 3, 0, 9),
            ("POST", "/contact", 1, 900, 60), ("GET", "/news/feed.xml", 5, 31_000, 14)],
    "shop": [("GET", "/", 10, 25_000, 35), ("GET", "/items/{n}", 22, 17_500, 40),
             ("GET", "/items?category={word}&page={page}", 12, 36_000, 85),
             ("POST", "/cart", 8, 640, 30), ("DELETE", "/cart/{n}", 2, 0, 22),
             ("GET", "/cart", 6, 7_800, 28), ("POST", "/checkout", 3, 1_900, 340),
             ("GET", "/assets/items/{n}.jpg", 25, 140_000, 6)],
    "api": [("GET", "/v2/items?limit=50", 14, 42_000, 55), ("GET", "/v2/items/{n}", 20, 1_300, 12),
            ("PUT", "/v2/items/{n}", 4, 1_300, 48), ("POST", "/v2/orders", 5, 720, 130),
            ("GET", "/v2/health", 16, 15, 0.8), ("OPTIONS", "/v2/orders", 2, 0, 1.2)],
    "docs": [("GET", "/", 8, 9_000, 8), ("GET", "/guide/{word}", 20, 26_000, 11),
             ("GET", "/search.json?q={word}", 5, 5_200, 30)],
}
WORDS = ["kettle", "rain+coat", "bicycle", "green%20tea", "lamp", "notebook", "caf%C3%A9", "map",
         "garden", "wool", "compass", "start", "install", "first-steps"]
MISSING = ["/wp-login.php", "/.env", "/old/index.html", "/favicon.ico", "/robots.txt"]
BROWSERS = [
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
     "Chrome/144.0.0.0 Safari/537.36", 30),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:147.0) Gecko/20100101 Firefox/147.0", 16),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 "
     "(KHTML, like Gecko) Version/18.3 Mobile/15E148 Safari/604.1", 24),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 "
     "(KHTML, like Gecko) Version/18.3 Safari/605.1.15", 14),
]
CLIENTS = [("curl/8.12.1", 5), ("example-app/4.2 (android 15; \"tablet\")", 6),
           ("python-requests/2.32.3", 3), ("UptimeProbe/1.0", 4)]
CRAWLER = "PebbleBot/2.1 (+https://bot.example.net/about, respects robots.txt)"


class Dice:
    """Random choices from `random()` alone: that sequence is promised to stay the same."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed).random

    def below(self, limit: int) -> int:
        return int(self.random() * limit)

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def one(self, items: list) -> object:
        return items[self.below(len(items))]

    def weighted(self, weights: list[int]) -> int:
        """An index, as often as its weight says."""
        sums = list(accumulate(weights))
        return bisect(sums, self.below(sums[-1]))

    def around(self, value: float) -> float:
        """Near `value`, sometimes much larger."""
        spread = 0.5 + self.random()
        return value * spread * (1 + 9 * self.random() if self.chance(0.04) else 1)


def request(dice: Dice, at: datetime) -> list[object]:
    """One row of the log."""
    down = INCIDENT[0] <= at < INCIDENT[1]
    weights = [weight * (5 if down and host.startswith("shop") else 1) for host, weight, _ in HOSTS]
    host, _, hours = HOSTS[dice.weighted(weights)]
    site = host.partition(".")[0]
    routes = ROUTES[site]
    method, path, _, size, millis = routes[dice.weighted([route[2] for route in routes])]
    path = path.format(n=100 + dice.below(400), page=1 + dice.below(9), word=dice.one(WORDS))

    agents = CLIENTS if site == "api" or dice.chance(0.04) else BROWSERS
    agent = agents[dice.weighted([weight for _, weight in agents])][0]
    if site != "api" and method == "GET" and dice.chance(0.45 if at.hour < 6 else 0.04):
        agent = CRAWLER

    status, duration = 200, dice.around(millis)
    if down and site == "shop" and "/assets/" not in path:
        status, size, duration = 503, 310, 4_000 + dice.around(900)
    elif method in ("GET", "HEAD") and site != "api" and dice.chance(0.03):
        path, status, size, duration = dice.one(MISSING), 404, 1_250, dice.around(2)
    elif method == "GET" and agent in [name for name, _ in BROWSERS] and dice.chance(0.14):
        status, size, duration = 304, 0, dice.around(1.2)
    elif method == "GET" and path == "/" and dice.chance(0.05):
        status, size = 301, 178
    elif method == "POST" and site != "www":
        status = 201 if dice.chance(0.93) else 422
    elif method in ("DELETE", "OPTIONS"):
        status = 204
    elif site == "api" and path != "/v2/health" and dice.chance(0.05):
        status, size = (401, 96) if dice.chance(0.7) else (429, 88)
    elif dice.chance(0.004):
        status, size, duration = 500, 520, dice.around(60)
    sent = round(size * (0.8 + 0.4 * dice.random())) if size and method != "HEAD" else ""

    local = at.astimezone(timezone(timedelta(hours=hours)))
    return [local.isoformat(), host, method, path, status, sent, f"{duration:.1f}", agent]


def files() -> dict[str, str]:
    """The text of every file, by name."""
    dice = Dice(20260302)
    made = {}
    for day in DAYS:
        seconds = sorted(dice.weighted(HOURS) * 3600 + dice.below(3600)
                         for _ in range(ROWS_PER_DAY))
        if day == DAYS[1]:  # people reload while the shop is down
            start = int((INCIDENT[0] - day).total_seconds())
            seconds = sorted(seconds + [start + dice.below(1200) for _ in range(60)])
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(request(dice, day + timedelta(seconds=second)) for second in seconds)
        name = f"access-{day:%Y-%m-%d}.csv" + (".gz" if day == DAYS[-1] else "")
        made[name] = text.getvalue()
    return made


def main() -> None:
    args = sys.argv[1:]
    check = "--check" in args
    args = [arg for arg in args if arg != "--check"]
    if len(args) > 1 or any(arg.startswith("-") for arg in args):
        sys.exit(__doc__)
    folder = Path(args[0]) if args else DIR
    made = {name: text.encode() for name, text in files().items()}
    if check:
        there = {file.name: file.read_bytes() for file in folder.iterdir()}
        for name, data in there.items():
            if name.endswith(".gz"):
                there[name] = gzip.decompress(data)
        if there != made:
            wrong = [name for name in sorted(there.keys() | made.keys())
                     if there.get(name) != made.get(name)]
            sys.exit(f"{folder}: not what the generator makes: {', '.join(wrong)}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in made.items():
        if name.endswith(".gz"):
            data = gzip.compress(data, mtime=0)
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
