"""How long the commands take that people type most: whole processes, after one run to warm the disk's cache.

    python benchmarks/startup.py
    python benchmarks/startup.py --busy 2      # beside so many programs that are busy all the time

The median, least and most of nine runs of `bigr --help`, of `bigr models list`, of `import bigr_cli` (beside an empty
program, for what Python itself takes) and of `bigr generate cat -n 8`, which loads the default model and writes eight
images.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tables import show

BIGR = [sys.executable, "-m", "bigr_cli"]


def commands(folder: Path, model: str | None) -> dict[str, list[str]]:
    """What is timed, by the name it is shown under."""
    chosen = ["--model", model] if model else []
    generate = ["generate", "cat", "-n", "8", "--seed", "0", "--overwrite", "-o", f"{folder}/", *chosen]
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import bigr_cli": [sys.executable, "-c", "import bigr_cli"],
        "bigr --help": [*BIGR, "--help"],
        "bigr models list": [*BIGR, "models", "list"],
        "bigr generate cat -n 8": [*BIGR, *generate],
    }


def timed(command: list[str], runs: int) -> list[float]:
    """Seconds of each run; raises CalledProcessError if one fails."""
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]  # the first one was to warm the caches


@contextmanager
def others(count: int) -> Iterator[None]:
    """So many programs that do nothing, as fast as they can, while the block runs."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in busy:
            program.kill()
            program.wait()


def main() -> None:
    """Run, time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9, help="of each command (default 9)")
    parser.add_argument("--model", help="name or folder of the model that generates; or the default model")
    parser.add_argument("--no-generate", action="store_true", help="leave that command out: it needs a trained model")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="programs to run beside (default none)")
    parser.add_argument("--json", action="store_true", help="print a JSON object a row instead of a table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, others(options.busy):
        chosen = commands(Path(folder), options.model)
        if options.no_generate:
            del chosen["bigr generate cat -n 8"]
        rows: list[dict[str, object]] = []
        for name, command in chosen.items():
            seconds = timed(command, options.runs)
            middle, least, most = statistics.median(seconds), min(seconds), max(seconds)
            rows.append({"command": name, "median_s": middle, "min_s": least, "max_s": most, "runs": options.runs})
    show(rows, as_json=options.json)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end", file=sys.stderr)


if __name__ == "__main__":
    main()
