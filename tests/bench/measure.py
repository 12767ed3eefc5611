#!/usr/bin/env python3
"""Run a command and measure it with everything it starts (Linux).

Usage: measure.py [--json FILE] [--log FILE] -- COMMAND...

Prints one JSON object (and writes it to FILE): exit code, wall seconds, user and system CPU
seconds, peak resident memory. The command's own output goes to LOG, or to standard error.
Exits with the command's code.

CPU: `wait4` tells what the command and every process it waited for have used; this process
becomes the reaper of orphans and waits for those too. Wall ends with the command itself.
Memory: the resident set of the process tree is sampled every 20 ms and the largest sum is
taken; the kernel's own exact peak of the largest single process is the lower bound (a single
process is thus measured exactly, without sampling error; nothing measures below the 15 MiB of
this script, which the command starts as). Pages shared by several processes count in each.
"""
import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

SAMPLE_S = 0.02
SCAN_EVERY = 5  # samples between two looks for new processes, which cost more
PR_SET_CHILD_SUBREAPER = 36
PAGE = os.sysconf("SC_PAGE_SIZE")


def descendants() -> list[int]:
    """All living processes below this one."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            parent = int(stat[stat.rindex(")") + 2:].split()[1])
            children.setdefault(parent, []).append(int(entry))
    found, todo = [], [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0  # it has ended


class Sampler(threading.Thread):
    """Keeps the largest resident set of the process tree seen so far."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self.done = threading.Event()

    def run(self) -> None:
        pids: list[int] = []
        turn = 0
        while not self.done.wait(SAMPLE_S):
            if turn % SCAN_EVERY == 0:
                pids = descendants()
            turn += 1
            self.peak = max(self.peak, sum(map(resident, pids)))


def measure(command: list[str], log: Path | None) -> dict:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    output = log.open("wb") if log else sys.stderr
    sampler = Sampler()
    load = os.getloadavg()[0]
    started = time.perf_counter()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    sampler.start()
    try:
        _, status, used = os.wait4(child.pid, 0)
    except KeyboardInterrupt:
        child.send_signal(signal.SIGTERM)
        _, status, used = os.wait4(child.pid, 0)
    wall = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    usages = [used]
    while True:  # processes it left behind
        try:
            usages.append(os.wait3(0)[2])
        except ChildProcessError:
            break
    sampler.done.set()
    sampler.join()
    user, system = sum(u.ru_utime for u in usages), sum(u.ru_stime for u in usages)
    largest = max(u.ru_maxrss for u in usages) * 1024
    return {
        "command": command,
        "code": child.returncode,
        "wall_s": round(wall, 3),
        "user_s": round(user, 3),
        "system_s": round(system, 3),
        "cpu_s": round(user + system, 3),
        "peak_rss_mib": round(max(sampler.peak, largest) / 2**20, 1),
        "peak_process_rss_mib": round(largest / 2**20, 1),
        "load_before": round(load, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--log", type=Path)
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    try:
        result = measure(args.command, args.log)
    except OSError as error:
        sys.exit(f"measure: {error}")
    print(json.dumps(result))
    if args.json:
        args.json.write_text(json.dumps(result) + "\n")
    code = result["code"]
    sys.exit(128 - code if code < 0 else code)


if __name__ == "__main__":
    main()
