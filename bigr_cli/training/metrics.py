"""What a training says about itself: metrics.jsonl, a line on the terminal, TensorBoard."""

from __future__ import annotations

import json
import math
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from bigr_cli.errors import UsageError
from bigr_cli.files import whole_file


class MetricsLog:
    """Appends one JSON object a line to `metrics.jsonl`, and to TensorBoard when asked for."""

    def __init__(self, run: Path, *, step: int, tensorboard: bool) -> None:
        """`step` is where training begins or goes on: later lines, of a run that was cut off, are dropped.

        Raises:
            UsageError: TensorBoard is asked for and not installed.
        """
        self._board: Any = _tensorboard(run / "tensorboard", step) if tensorboard else None
        self.path = run / "metrics.jsonl"
        if self.path.exists():
            kept = [line for line in self.path.read_text(encoding="utf-8").splitlines() if _is_before(line, step)]
            with whole_file(self.path) as hidden:
                hidden.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def write(self, step: int, values: dict[str, float], *, kind: str) -> None:
        """Record values after `step` steps; `kind` is "train" or "validation". What is not finite becomes null."""
        record: dict[str, Any] = {"step": step, "kind": kind, "time": round(time.time(), 1)}
        record |= {key: float(f"{value:.6g}") if math.isfinite(value) else None for key, value in values.items()}
        with self.path.open("a", encoding="utf-8") as opened:
            opened.write(json.dumps(record) + "\n")
        if self._board is not None:
            for key, value in values.items():
                self._board.add_scalar(f"{kind}/{key}", value, step)

    def close(self) -> None:
        """Flush TensorBoard."""
        if self._board is not None:
            self._board.close()


class Throughput:
    """Pictures per second since the last reading."""

    def __init__(self) -> None:
        self._since, self._pictures = time.perf_counter(), 0

    def add(self, pictures: int) -> None:
        """So many more are done."""
        self._pictures += pictures

    def read(self) -> float:
        """Pictures per second since the last call."""
        now = time.perf_counter()
        rate = self._pictures / max(now - self._since, 1e-9)
        self._since, self._pictures = now, 0
        return rate


def shown(values: dict[str, float]) -> str:
    """Values by name, for a person to read."""
    return "  ".join(f"{key} {value:.4g}" for key, value in values.items())


def best_value(run: Path) -> float | None:
    """How good the best validation of a run was, of those in its metrics; None without any."""
    found = [record["goodness"] for record in _validations(run) if isinstance(record.get("goodness"), float)]
    return max(found, default=None)


def last_validation(run: Path) -> int:
    """The step of the last validation in a run's metrics; 0 without any."""
    return max((int(record["step"]) for record in _validations(run)), default=0)


def _validations(run: Path) -> list[dict[str, Any]]:
    path = run / "metrics.jsonl"
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with suppress(ValueError, TypeError, KeyError):  # a line that was cut off
            record = json.loads(line)
            records += [record] if record["kind"] == "validation" and isinstance(record["step"], int) else []
    return records


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        hint = "pip install 'bigr-cli[tensorboard]', or set run.tensorboard=false"
        raise UsageError("run.tensorboard: TensorBoard is not installed", hint=hint) from error
    return SummaryWriter(str(folder), purge_step=step)


def _is_before(line: str, step: int) -> bool:
    try:
        return bool(json.loads(line)["step"] <= step)
    except (ValueError, KeyError, TypeError):
        return False  # a line that was cut off when the run was killed
