"""`bigr serve` under load: requests that are lost, memory, and images a second beside the command line's batches.

python benchmarks/serving.py --requests 1000 --clients 16

Where other programs want the cores too, seconds of the CPU tell more than those of the clock.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import psutil

FIRST = 50  # requests after which memory counts
BATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--model", default="scenes-64")
    parser.add_argument("--preset", default=None)
    given = parser.parse_args()
    served = serving(given.model, given.requests, given.clients, given.preset)
    command = command_line(given.model, given.requests, given.preset)
    ratios = {f"ratio by {name}": round(served[name] / command[name], 3) for name in command}
    print(json.dumps({"server": served, "command line": command, **ratios}, indent=2))


def serving(model: str, requests: int, clients: int, preset: str | None) -> dict[str, float]:
    """Ask a fresh server, by so many clients at a time."""
    words = [sys.executable, "-m", "bigr_cli", "serve", model, "--device", "cpu", "--dtype", "float32"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        address, _, token = process.stdout.readline().strip().partition("?token=")
        watched, numbers = psutil.Process(process.pid), iter(range(requests))
        statuses, memory, lock = Counter(), [], threading.Lock()
        headers = {"authorization": f"Bearer {token}"}

        def ask() -> None:
            with httpx.Client(base_url=address, headers=headers, timeout=600) as client:
                while True:
                    with lock:
                        seed = next(numbers, None)
                    if seed is None:
                        return
                    body = {"prompts": ["cat"], "seed": seed} | ({"preset": preset} if preset else {})
                    answer = client.post("/api/v1/generate", json=body)
                    good = answer.status_code == 200 and answer.json()["images"][0]["seed"] == seed
                    with lock:
                        statuses["good" if good else answer.status_code] += 1
                        memory.append(watched.memory_info().rss)

        busy = sum(watched.cpu_times()[:2])
        threads = [threading.Thread(target=ask) for _ in range(clients)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - began
        busy = sum(watched.cpu_times()[:2]) - busy
    finally:
        process.terminate()
        process.wait(30)
    growth = max(memory[FIRST:]) / memory[FIRST - 1] - 1
    return {
        "good": statuses["good"],
        "lost": requests - statuses["good"],
        "images/s": round(requests / seconds, 3),
        "images/CPU s": round(requests / busy, 3),
        "MiB after the first": round(memory[FIRST - 1] / 2**20),
        "MiB at most": round(max(memory) / 2**20),
        "growth": round(growth, 4),
    }


def command_line(model: str, count: int, preset: str | None) -> dict[str, float]:
    """Images a second that `bigr generate` makes, by the seconds of each in its lines of JSON, and of the CPU.

    What it takes to start is measured with one batch of images and left out.
    """
    (seconds, busy), (_, start) = (_made(model, images, preset) for images in (count, BATCH))
    return {"images/s": round(count / seconds, 3), "images/CPU s": round((count - BATCH) / (busy - start), 3)}


def _made(model: str, count: int, preset: str | None) -> tuple[float, float]:
    """The seconds of so many images by the clock, without the start, and of the CPU, with it."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "bigr_cli", "generate", "cat", "-n", str(count), "--seed", "0", "-m", model]
        words += ["--device", "cpu", "--dtype", "float32", "-o", f"{folder}/{{index}}.png", "--json", "-q"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [*words, *(["--preset", preset] if preset else [])], capture_output=True, text=True, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if len(list(Path(folder).iterdir())) != count:
            raise RuntimeError("the command line has not made all images")
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return sum(json.loads(line)["seconds"] for line in done.stdout.splitlines()), busy


if __name__ == "__main__":
    main()
