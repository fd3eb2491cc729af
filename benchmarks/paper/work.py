"""Trainings and measurements in a folder, done once: what a program that was stopped had finished is not done again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from bigr_cli import yaml_text
from bigr_cli.files import atomic_write

Settings = Mapping[str, Any]


class Work:
    """A folder with `measured/` (a JSON file each, written when it is whole) and `trained/` (a run each).

    `seconds` counts the processor's time of all that was asked for, whenever it was done.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds = 0.0

    def measured(self, name: str, identity: Settings, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `measure` found, now or, with an equal name and identity, before. Both have to be JSON."""
        path = self.folder / "measured" / f"{name}-{_digest(identity)}.json"
        if not path.exists():
            start = _processor_seconds()
            found = measure()
            kept = {"identity": identity, "found": found, "seconds": _processor_seconds() - start}
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as temporary:
                temporary.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
            print(f"{name}: {found}", file=sys.stderr, flush=True)
        kept = json.loads(path.read_text(encoding="utf-8"))
        self.seconds += kept["seconds"]
        return {**kept["found"], "seconds": kept["seconds"]}

    def trained(self, kind: Literal["tokenizer", "generator"], name: str, settings: Settings) -> tuple[str, float]:
        """A training with one thread, which begins, goes on, or is through already: its folder, processor's seconds.

        Of a training that was stopped, the seconds are those since it went on.
        """
        digest = _digest(settings)
        run = self.folder / "trained" / f"{name}-{digest}"
        config = run.parent / f"{run.name}.yaml"

        def train() -> dict[str, Any]:
            words = ["--resume", str(run)]
            if not (run / "training.yaml").exists():
                shutil.rmtree(run, ignore_errors=True)
                config.parent.mkdir(parents=True, exist_ok=True)
                config.write_text(yaml_text.dump(settings), encoding="utf-8")
                words = ["--config", str(config), "-o", str(run)]
            command = [sys.executable, "-m", "bigr_cli", f"train-{kind}", *words, "--threads", "1", "--device", "cpu"]
            before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # the training ends with this program
            try:
                subprocess.run(command, check=True)
            finally:
                signal.signal(signal.SIGTERM, before)
            return {"run": run.name}

        return str(run), self.measured(f"training-{name}", dict(settings), train)["seconds"]


def merged(base: Settings, *others: Settings) -> dict[str, Any]:
    """Nested settings with those of `others` laid over them, the last one's on top."""
    result = dict(base)
    for other in others:
        for key, value in other.items():
            inner = result.get(key)
            both = isinstance(inner, Mapping) and isinstance(value, Mapping)
            result[key] = merged(inner, value) if both and inner is not None else value
    return result


def _digest(identity: Settings) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def _processor_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
