#!/usr/bin/env python3
"""Synthetic tweets as newline-delimited JSON, for the benchmark.

Usage: generate.py OUT [N=1000000] [FILE_LINES=50000] [SEED=7] [USERS=100000]

Writes OUT/tweets-00000.json, ... Each file is drawn from its own seed, so the output depends
on (N, FILE_LINES, SEED, USERS) only, memory does not grow with N, and a larger N begins with the same
full files as a smaller one. The shape: about 78 characters of text, 50% of the tweets mention
nobody, 45% one user, 5% two or three; mentioned users follow Zipf's law over USERS names;
sentiment is "0" or "4"; every date is PDT, between 6 April and 24 June 2009.
Needs numpy; the same numpy version gives the same bytes.
"""
import json
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np

WORDS, DAYS = 20_000, 80
FIRST_DAY = date(2009, 4, 6)
LETTERS = np.array(list("eeeetttaaaooiinnsshhrrddllcumwfgypbvk"))
COMMON = ["I", "the", "to", "a", "my", "and", "you", "is", "it", "for"]
# Placed among the frequent words: JSON escapes, non-ASCII, entities, links, an e-mail-like '@'.
ODD = ["&amp;", "don't", "I'm", "lol!!", "http://example.com/x1y2", '"quoted"', "café", "naïve",
       "♥", ":)", "#fail", "a@b", "...", "back\\slash"]


def letters(rng: np.random.Generator, count: int, low: int, high: int) -> list[str]:
    """`count` made-up words of `low` to `high - 1` letters."""
    lengths = rng.integers(low, high, count)
    grid = LETTERS[rng.integers(0, len(LETTERS), (count, high))]
    return ["".join(row[:length]) for row, length in zip(grid, lengths)]


def vocabulary(seed: int, count: int) -> tuple[list[str], list[str]]:
    """User names and words, both from the most to the least frequent."""
    rng = np.random.default_rng(seed)
    users = []
    for i, base in enumerate(letters(rng, count, 4, 11)):
        # Every name is unique; some have capitals and underscores, which tests lower-casing.
        users.append(f"{base.capitalize()}_{i}" if i % 7 == 0 else f"{base}{i}")
    words = COMMON + letters(rng, WORDS - len(COMMON), 2, 10)
    for i, word in enumerate(ODD):
        words[20 + 13 * i] = word
    return users, words


def zipf(size: int, exponent: float) -> np.ndarray:
    """Cumulative probabilities of Zipf's law over `size` ranks."""
    weights = np.arange(1, size + 1) ** -exponent
    return np.cumsum(weights / weights.sum())


def draw(rng: np.random.Generator, cumulative: np.ndarray, size: int) -> list[int]:
    picks = np.searchsorted(cumulative, rng.random(size))
    return picks.clip(0, len(cumulative) - 1).tolist()


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    numbers = [int(value) for value in sys.argv[2:6]]
    total, per_file, seed, names = numbers + [1_000_000, 50_000, 7, 100_000][len(numbers):]
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)

    started = time.time()
    users, words = vocabulary(seed, names)
    mention_law, word_law, author_law = zipf(names, 1.0), zipf(WORDS, 0.9), zipf(names, 0.8)
    days = [(FIRST_DAY + timedelta(d)).strftime("%a %b %d ") for d in range(DAYS)]
    times = [f"{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02} PDT 2009" for s in range(86_400)]
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    size = chars = 0

    for number, low in enumerate(range(0, total, per_file)):
        rows = min(per_file, total - low)
        rng = np.random.default_rng([seed, number])
        mentions = np.searchsorted([0.5, 0.95, 0.975], rng.random(rows), side="right").tolist()
        lengths = rng.poisson(12.6, rows).clip(1, 24).tolist()
        sentiments = np.where(rng.random(rows) < 0.5, "0", "4").tolist()
        seconds = rng.integers(0, DAYS * 86_400, rows).tolist()
        tails = rng.integers(0, 10, rows).tolist()
        leads = (rng.random(rows) < 0.85).tolist()
        authors = draw(rng, author_law, rows)
        who = iter(draw(rng, mention_law, sum(mentions)))
        what = iter(draw(rng, word_law, sum(lengths)))
        lines = []
        for i in range(rows):
            tags = ["@" + users[next(who)] for _ in range(mentions[i])]
            body = [words[next(what)] for _ in range(lengths[i])]
            if tags and tails[i] < 2:  # what may follow a mention without being part of it
                tags[-1] += (":", "!,")[tails[i]]
            text = " ".join(tags + body if leads[i] else body + tags)
            chars += len(text)
            day, second = divmod(seconds[i], 86_400)
            lines.append(encode({"date": days[day] + times[second], "user": users[authors[i]],
                                 "text": text, "sentiment": sentiments[i]}))
        data = ("\n".join(lines) + "\n").encode()
        (out / f"tweets-{number:05}.json").write_bytes(data)
        size += len(data)

    print(f"{total} tweets, {-(-total // per_file)} files, {size / 1e6:.1f} MB, "
          f"mean text {chars / max(total, 1):.1f} characters, {time.time() - started:.1f} s")


if __name__ == "__main__":
    main()
