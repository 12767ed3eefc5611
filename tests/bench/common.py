"""What the benchmarks share: where things are, the input, the build, a measured run."""
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = Path.home() / ".cache" / "alluvium"
VENV = Path(os.environ.get("ALLUVIUM_BENCH_VENV") or CACHE / "bench-venv")
DATA = Path(os.environ.get("ALLUVIUM_BENCH_DIR") or CACHE / "bench")
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or CACHE / "target")
PYTHON = VENV / "bin" / "python"
BINARY = TARGET / "release" / "alluvium"
SEED = 7


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def call(*command: object, **options: object) -> None:
    """Run a step of the preparation; end with its code if it fails."""
    code = subprocess.run([str(part) for part in command], stdout=sys.stderr, **options).returncode
    if code:
        sys.exit(code)


def install() -> None:
    """Make the virtual environment, unless it holds these very requirements."""
    wanted, stamp = (HERE / "requirements.txt").read_text(), VENV / "requirements.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say(f"installing the peers into {VENV}")
    call(sys.executable, "-m", "venv", VENV)
    call(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--requirement", HERE / "requirements.txt")
    stamp.write_text(wanted)


def generate(folder: Path, tweets: int, lines: int = 50_000, users: int = 100_000) -> Path:
    """Make the input, in files of so many lines and about so many users, unless the same generator has made it before."""
    source, stamp = folder / "tweets", folder / "tweets.sha256"
    recipe = b"".join((HERE / name).read_bytes() for name in ("generate.py", "requirements.txt"))
    wanted = hashlib.sha256(recipe).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        say(f"generating {tweets} tweets in {source}")
        stamp.unlink(missing_ok=True)
        shutil.rmtree(source, ignore_errors=True)
        call(PYTHON, HERE / "generate.py", source, tweets, lines, SEED, users)
        stamp.write_text(wanted)
    for file in source.iterdir():  # every engine finds its input in the page cache
        file.read_bytes()
    return source


def build() -> None:
    say("building alluvium")
    call("cargo", "build", "--release", "--bin", "alluvium", cwd=ROOT,
         env=os.environ | {"CARGO_TARGET_DIR": str(TARGET)})


def measure(name: str, command: list[str], log: Path, env: dict[str, str]) -> dict:
    """One measured run; ends this process if it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    os.sync()  # no run pays for what another one left to be written
    done = subprocess.run(
        [sys.executable, HERE / "measure.py", "--log", log, "--", *command],
        cwd=ROOT, env=os.environ | env, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        tail = log.read_text(errors="replace").splitlines()[-30:] if log.exists() else []
        sys.exit("\n".join([*tail, f"{name} failed with code {done.returncode}; its log: {log}"]))
    return {"engine": name} | json.loads(done.stdout)


def aligned(rows: list[tuple]) -> str:
    """A table: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
             for row in rows]
    return "\n".join(lines)


def machine() -> dict:
    model = [line.partition(":")[2].strip()
             for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")]
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return {"cpu": model[0] if model else platform.machine(), "cpus": len(os.sched_getaffinity(0)),
            "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
            "system": platform.platform(), "commit": commit.stdout.strip() or None,
            "peers": [line for line in (HERE / "requirements.txt").read_text().splitlines()
                      if line and not line.startswith("#")]}
