"""What features are worth, and what they cost: the probe, `bigr embed` and `bigr search`, in whole processes.

    python benchmarks/representation.py

The probe of 1,000 training and 500 test scenes; probes of 4,000 and 1,000 by how tokens are pooled, and by which blocks
are read together; images a second and peak memory of embedding a folder, against a
plain loop over `model.embed`; an embedding that is killed half-way and started again; memory of a million images,
with reading and the model replaced by numbers; the time of a search among 100,000 codes, and its recall among features.
`--only` limits it to some of these. Features are of the default model's default layer.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tables import add_record, record, show

BIGR = [sys.executable, "-m", "bigr_cli"]
LOOP = 200  # images that the plain loop sees
SIMULATED = (10_000, 1_000_000)
POOLS = (
    *(("6", pool) for pool in ("mean", "grid2", "grid3", "grid4", "attention")),
    ("5,7", "mean"),
    ("3,5,7", "mean"),
    ("3,5,7", "attention"),
)
CODES, BITS, FEATURES, WIDTH, QUERIES = 100_000, 1536, 20_000, 192, 100

# Everything but what takes the time: items, shards, resuming and the file are the real ones.
SIMULATION = """
import sys
import numpy as np
from bigr_cli.representation import embedding, items
square = np.zeros((64, 64, 3), np.uint8)
items.read_item = lambda item, size: items.Pixels(square, "house")
embedding.embed_pixels = lambda model, pixels, wanted: np.zeros((len(pixels), *wanted.shape), wanted.dtype)
from bigr_cli.app import main
sys.exit(main(sys.argv[1:]))
"""


class Run:
    """A command that ran: how long it took, on how much processor time and memory, and what it said."""

    def __init__(self, *words: object) -> None:
        start = time.perf_counter()
        process = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE)
        self.out = process.stdout.read().decode() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), list(map(str, words)))
        self.seconds = time.perf_counter() - start
        self.processor = usage.ru_utime + usage.ru_stime
        self.megabytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


Row = dict[str, object]


def probe(place: Path, options: argparse.Namespace) -> list[Row]:
    """Accuracy by layer, and how far the best one is above pixels and codes."""
    words = ("--data", "scenes", "--count", 1000, "--test-count", 500, "--json", "-q")
    run = Run(*BIGR, "evaluate", "probe", *words)
    found = json.loads(run.out)
    best, rows = found["best"], found["rows"]
    others = {row["features"]: row["top1"] for row in rows if row["layer"] is None}
    layers = " ".join(f"{100 * row['top1']:.1f}" for row in rows if row["layer"] is not None)
    record(
        options.record,
        {"train": 1000, "test": 500, "best_layer": best["layer"], "top1": round(100 * best["top1"], 2)},
    )
    above = {name: 100 * (best["top1"] - other) for name, other in others.items()}
    return [
        {"what": "probe, best layer, % right", "value": 100 * best["top1"], "layer": best["layer"]},
        {"what": "probe, by layer, % right", "value": layers},
        *({"what": f"probe, best layer above {name}, points", "value": points} for name, points in above.items()),
        {"what": "probe, seconds", "value": run.seconds, "of the processor": run.processor},
    ]


def pools(place: Path, options: argparse.Namespace) -> list[Row]:
    """Accuracy by pooling and by blocks read together, with the raw pixels and codes of the same scenes."""
    words = ("--data", "scenes", "--count", 4000, "--test-count", 1000, "--json", "-q")
    rows: list[Row] = []
    for layers, pool in POOLS:
        run = Run(*BIGR, "evaluate", "probe", *words, "--pool", pool, "--layer", layers)
        found = json.loads(run.out)
        others = {row["features"]: 100 * row["top1"] for row in found["rows"] if row["layer"] is None}
        shares = {"% right": 100 * found["best"]["top1"], "held out": 100 * found["best"]["held_out"], **others}
        rows.append({"blocks": layers, "pool": pool, **shares, "of the processor": run.processor})
    return rows


def embed(place: Path, options: argparse.Namespace) -> list[Row]:
    """A folder of images, in one process and in one for each core, against one image at a time."""
    count, cores = options.count, os.cpu_count() or 1
    Run(*BIGR, "data", "scenes", "--count", count, "--size", 64, "--seed", 5, "-o", place / "in", "-q")
    words = ("bigr_cli", "embed", place / "in", "--recursive", "-q")
    begin = Run(sys.executable, "-m", *words[:2], "scenes", "--count", 1, "-o", place / "one.npz", "-q")
    whole = Run(sys.executable, "-m", *words, "-o", place / "whole.npz")
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", cores, "-m")
    shared = Run(*torchrun, *words, "--threads", 1, "-o", place / "shared.npz")
    loop, loop_processor = _loop(place / "in")
    rows: list[Row] = [
        {
            "what": f"a loop over model.embed, {LOOP} images, a second",
            "value": LOOP / loop,
            "by processor": LOOP / loop_processor,
        }
    ]
    for name, run in (("bigr embed", whole), (f"torchrun, {cores} processes", shared)):
        rate, share = count / (run.seconds - begin.seconds), count / (run.processor - begin.processor)
        faster = {"times the loop": rate * loop / LOOP, "by processor": share}
        rows.append({"what": f"{name}, {count} images, a second", "value": rate, **faster})
        rows.append({"what": f"{name}, peak memory of a process in MB", "value": run.megabytes})
    return rows


def _loop(folder: Path) -> tuple[float, float]:
    """Seconds, and seconds of the processor, of embedding images one by one."""
    from PIL import Image

    import bigr_cli

    model = bigr_cli.load(None)
    paths = sorted(folder.rglob("*.png"))[:LOOP]
    model.embed(Image.open(paths[0]))
    start, processor = time.perf_counter(), time.process_time()
    np.concatenate([model.embed(Image.open(path)) for path in paths])
    return time.perf_counter() - start, time.process_time() - processor


def resume(place: Path, options: argparse.Namespace) -> list[Row]:
    """SIGKILL when half of the parts are there; then the same command again."""
    count = min(options.count, 3000)
    words = [*BIGR, "embed", "scenes", "--count", str(count), "-q", "-o"]
    process = subprocess.Popen([*words, str(place / "killed.npz")])
    parts = place / ".killed.npz.features"
    while process.poll() is None and len(list(parts.glob("0*.npz"))) < count // 512:
        time.sleep(0.01)
    process.kill()
    process.wait()
    kept = len(list(parts.glob("0*.npz")))
    Run(*words, place / "killed.npz")
    Run(*words, place / "left-alone.npz")
    digests = {hashlib.sha256((place / name).read_bytes()).hexdigest() for name in ("killed.npz", "left-alone.npz")}
    return [{"what": f"killed with {kept} parts done, {count} images: files that differ", "value": len(digests) - 1}]


def memory(place: Path, options: argparse.Namespace) -> list[Row]:
    """Peak memory, reading and the model being simulated."""
    rows: list[Row] = []
    for count in SIMULATED:
        run = Run(
            sys.executable, "-c", SIMULATION, "embed", "scenes", "--count", count, "-o", place / f"{count}.npz", "-q"
        )
        size = (place / f"{count}.npz").stat().st_size / 1e6
        rows.append({"what": f"peak memory in MB, {count:,} images simulated", "value": run.megabytes, "of": size})
    return rows


def search(place: Path, options: argparse.Namespace) -> list[Row]:
    """A query among codes, and among features against sorting by cosines in float64."""
    from bigr_cli.representation.index_files import cosine, hamming, nearest

    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (CODES, BITS // 8), dtype=np.uint8)
    times = [_seconds(lambda query=query: nearest(hamming(codes, query), 10)) for query in codes[:50]]
    features = (rng.normal(size=(FEATURES, WIDTH)) + 3).astype(np.float32)
    queries = features[:QUERIES] + rng.normal(size=(QUERIES, WIDTH)).astype(np.float32)
    exact = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    alike = (queries - features.mean(axis=0, dtype=np.float64)) @ exact.T  # (Q, N), but for the query's length
    right = np.argsort(-alike, axis=1)[:, :10]
    found = [nearest(-cosine(features, query), 10) for query in queries]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, right, strict=True)])
    return [
        {"what": f"search, {CODES:,} codes of {BITS} bits, seconds (median)", "value": float(np.median(times))},
        {"what": f"search, {CODES:,} codes of {BITS} bits, seconds (most of 50)", "value": max(times)},
        {"what": f"search, {FEATURES:,} features of {WIDTH}, recall@10 of {QUERIES} queries", "value": float(recall)},
    ]


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


PARTS = {"probe": probe, "pools": pools, "embed": embed, "resume": resume, "memory": memory, "search": search}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--count", type=int, default=10_000, help="images to embed (default 10000)")
    parser.add_argument("--json", action="store_true")
    add_record(parser)
    options = parser.parse_args()
    if options.record and options.only != ["probe"]:
        parser.error("--record: keeps what --only probe measures")
    for name in options.only:
        with TemporaryDirectory() as folder:
            show(PARTS[name](Path(folder), options), as_json=options.json)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end", file=sys.stderr)


if __name__ == "__main__":
    main()
