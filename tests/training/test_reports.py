import json
import sys
import time
from pathlib import Path

import pytest

from bigr_cli.errors import UsageError
from bigr_cli.progress import readable_time
from bigr_cli.training.reports import MetricsLog, Throughput, shown


def records(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_line_for_each_record(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, step=0, tensorboard=False)
    log.write(5, {"loss": 0.123456789, "gradient": float("inf"), "x": float("nan")}, kind="train")
    log.write(5, {"psnr": 20}, kind="validation")
    log.close()
    first, second = records(tmp_path)
    assert (first["step"], first["kind"], first["loss"]) == (5, "train", 0.123457)
    assert first["gradient"] is None and first["x"] is None
    assert (second["kind"], second["psnr"]) == ("validation", 20.0)
    assert isinstance(first["time"], float)


def test_going_on_drops_what_comes_again(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, step=0, tensorboard=False)
    for step in (10, 20, 30):
        log.write(step, {"loss": 1.0}, kind="train")
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"step": 15, "kind": "tr')  # cut off
    MetricsLog(tmp_path, step=20, tensorboard=False).write(30, {"loss": 2.0}, kind="train")
    assert [(record["step"], record["loss"]) for record in records(tmp_path)] == [(10, 1.0), (20, 1.0), (30, 2.0)]


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    log = MetricsLog(tmp_path, step=0, tensorboard=True)
    log.write(1, {"loss": 1.0}, kind="train")
    log.close()
    assert list((tmp_path / "tensorboard").iterdir())


def test_no_tensorboard_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(UsageError, match=r"run\.tensorboard: TensorBoard is not installed") as caught:
        MetricsLog(tmp_path, step=0, tensorboard=True)
    assert "bigr-cli[tensorboard]" in str(caught.value.hint)


def test_throughput_counts_since_the_last_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    throughput = Throughput()
    throughput.add(30)
    throughput.add(30)
    now[0] = 2.0
    assert throughput.read() == 30
    now[0] = 3.0
    assert throughput.read() == 0


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0m00s"), (67, "1m07s"), (3599, "59m59s"), (11100, "3h05m")])
def test_durations(seconds: float, text: str) -> None:
    assert readable_time(seconds) == text


def test_values_as_text() -> None:
    assert shown({"loss": 0.123456, "psnr": 20.0}) == "loss 0.1235  psnr 20"
