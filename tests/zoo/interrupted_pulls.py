"""Pull a model again and again, interrupting each time; a JSON line tells what was left after each.

python interrupted_pulls.py COUNT SEED CARDS

CARDS is a folder with the card of a model named tiny. BIGR_HOME and HF_ENDPOINT say where to and where from. Everything
is imported once; the pulls are forks of this process, killed or interrupted at random moments.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import huggingface_hub.file_download  # noqa: F401  as what follows it, for the forks

import bigr_cli.zoo.hub.pull  # noqa: F401
from bigr_cli import home
from bigr_cli.app import main
from bigr_cli.registry import discover
from bigr_cli.zoo import find
from bigr_cli.zoo.folder import check_model

SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)


def pull() -> int:
    """Start `bigr models pull tiny` in a process of its own."""
    process = os.fork()
    if process:
        return process
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(quiet, stream)
    code = 1
    try:
        code = main(["models", "pull", "tiny", "--overwrite"])
    finally:
        os._exit(code)


def fetched() -> int:
    """Bytes of the downloads that are there, whole or in part."""
    return sum(path.stat().st_size for path in (home.cache_dir() / "downloads").rglob("*") if path.is_file())


def hidden() -> list[str]:
    """What lies beside the models and is none."""
    return sorted(path.name for path in find.home_models().glob(".*"))


def main_loop(count: int, seed: int) -> None:
    """Interrupt `count` pulls, and let the last one end."""
    rng = random.Random(seed)
    start = time.perf_counter()
    os.waitpid(pull(), 0)
    whole, done = time.perf_counter() - start, 0
    while done < count:
        before, process, sent = fetched(), pull(), rng.choice(SIGNALS)
        time.sleep(rng.random() * whole)
        ended, status = os.waitpid(process, os.WNOHANG)
        if not ended:
            os.kill(process, sent)
            _, status = os.waitpid(process, 0)
        code = os.waitstatus_to_exitcode(status)
        done += code != 0
        report(signal=sent.name, code=code, before=before)
    _, status = os.waitpid(pull(), 0)
    report(signal="", code=os.waitstatus_to_exitcode(status), before=0)


def report(**known: object) -> None:
    """What there is now, as a line of JSON."""
    folder = find.home_models() / "tiny"
    problems = check_model(folder) if folder.exists() else []
    there = {"there": folder.exists(), "problems": problems, "fetched": fetched(), "hidden": hidden()}
    print(json.dumps({**known, **there}), flush=True)


if __name__ == "__main__":
    discover()
    cards = Path(sys.argv[3])
    find.packaged_models = lambda: cards
    main_loop(int(sys.argv[1]), int(sys.argv[2]))
