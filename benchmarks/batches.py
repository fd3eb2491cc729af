"""What sharing batches is worth: `bigr inpaint` on a folder of scenes, in whole processes.

    python benchmarks/batches.py --count 64

One process with the default batch size, one with --batch-size 1, and, for the first images, a process for each:
seconds and images a second; the speed-up is without what a process needs to begin (measured with a single image).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tables import show

ALONE = 4  # images that get a process each


def timed(*words: str) -> float:
    """Seconds that a `bigr` command takes."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "bigr_cli", *words, "-q"], check=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=64, help="images (default 64)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        place = Path(folder)
        timed("data", "scenes", "--count", str(options.count), "--size", "64", "--seed", "5", "-o", str(place / "in"))
        images = sorted(map(str, (place / "in").rglob("*.png")))
        common = ["--mask-box", "30%,30%,40%,40%", "--seed", "1", "--class", "cat"]

        def run(name: str, words: list[str], *more: str) -> float:
            return timed("inpaint", *words, *common, "-o", str(place / name) + "/", *more)

        begin = run("one", images[:1])
        together = run("together", images)
        single = run("single", images, "--batch-size", "1")
        alone = sum(run(f"alone{index}", [image]) for index, image in enumerate(images[:ALONE])) / ALONE
    count = options.count
    work = together - begin
    rows = [
        {"what": "one process, batches", "seconds": together, "images_per_second": count / together},
        {"what": "one process, one at a time", "seconds": single, "images_per_second": count / single},
        {"what": "a process for each", "seconds": alone * count, "images_per_second": 1 / alone},
    ]
    speedups = [1.0, (single - begin) / work, alone * count / together]
    show([row | {"batches_are_faster": speedup} for row, speedup in zip(rows, speedups, strict=True)],
         as_json=options.json)  # fmt: skip


if __name__ == "__main__":
    main()
