import json
import math
from pathlib import Path

import pytest
import torch

from bigr_cli.errors import DeviceError, UsageError
from bigr_cli.runtime import device

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _forget() -> None:
    device._remembered_rates.cache_clear()


def rates(monkeypatch: pytest.MonkeyPatch, **measured: float) -> list[torch.device]:
    """Let every measurement give these; returns the list of devices measured."""
    asked: list[torch.device] = []

    def measure(which: torch.device) -> dict[str, float]:
        asked.append(which)
        return measured

    monkeypatch.setattr(device, "measure", measure)
    return asked


def test_cpu_is_always_there() -> None:
    assert device.select_device("cpu") == CPU
    assert device.select_device(" CPU ") == CPU
    assert device.available_devices()[-1] == "cpu"
    assert device.select_device("auto") == torch.device(device.available_devices()[0])


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "cuda:-1", "cpu:0:1", "xpu", "cuda:999"])
def test_anything_else_is_an_error(name: str) -> None:
    with pytest.raises(DeviceError):
        device.select_device(name)


@pytest.mark.parametrize(
    ("asked", "place", "expected"),
    [
        ("auto", "", "cuda:0"),
        ("auto", "1", "cuda:1"),
        ("cuda", "3", "cuda:1"),
        ("cuda:0", "1", "cuda:0"),
        ("cpu", "1", "cpu"),
    ],
)
def test_processes_of_torchrun_take_turns(
    monkeypatch: pytest.MonkeyPatch, asked: str, place: str, expected: str
) -> None:
    monkeypatch.setattr(device, "available_devices", lambda: ["cuda:0", "cuda:1", "cpu"])
    monkeypatch.setenv("LOCAL_RANK", place)
    assert device.select_device(asked) == torch.device(expected)


def test_a_device_that_is_not_there_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "available_devices", lambda: ["cuda:0", "cpu"])
    assert device.select_device("auto") == device.select_device("cuda") == torch.device("cuda:0")
    for name in ("cuda:1", "mps"):
        with pytest.raises(DeviceError, match="there is cuda:0, cpu"):
            device.select_device(name)


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ({"float32": 100.0, "bfloat16": 129.0}, torch.float32),
        ({"float32": 100.0, "bfloat16": 131.0}, torch.bfloat16),
        ({"float32": 100.0, "float16": 400.0}, torch.float16),
        ({"float32": 100.0}, torch.float32),
        ({"float32": 100.0, "int8": 900.0}, torch.float32),
        ({"float32": 100.0, "bfloat16": 200.0, "int8": 900.0}, torch.bfloat16),
    ],
)
def test_auto_goes_by_the_measurement(
    monkeypatch: pytest.MonkeyPatch, measured: dict[str, float], expected: torch.dtype
) -> None:
    rates(monkeypatch, **measured)
    assert device.select_dtype("auto", CPU) is expected


def test_named_formats_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = rates(monkeypatch, float32=1.0)
    for name in ("float32", "bfloat16", "float16"):
        assert device.select_dtype(name, CPU) is getattr(torch, name)
    assert asked == []
    with pytest.raises(DeviceError, match="half"):
        device.select_dtype("half", CPU)


def test_int8_is_for_cpus_that_multiply_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (True, False):
        monkeypatch.setattr("bigr_cli.runtime.fast_layers.int8_works", lambda there=there: there)
        if there:
            assert device.select_dtype("int8", CPU) is torch.int8
        for name in ("cuda:0", "mps") if there else ("cpu", "cuda:0"):
            with pytest.raises(DeviceError, match=f"{name} cannot compute in int8"):
                device.select_dtype("int8", torch.device(name))


def test_measured_once_per_process_and_remembered(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    asked = rates(monkeypatch, float32=1.0, bfloat16=2.0)
    for _ in range(3):
        assert device.select_dtype("auto", CPU) is torch.bfloat16
    device._remembered_rates.cache_clear()
    assert device.select_dtype("auto", CPU) is torch.bfloat16
    assert len(asked) == 1
    (kept,) = (home / "cache" / "rates").iterdir()
    assert json.loads(kept.read_text()) == {"float32": 1.0, "bfloat16": 2.0}


@pytest.mark.parametrize("content", ["", "[]", "{", "3", '{"bfloat16": 1}', '{"float32": "fast"}', '{"float32": null}'])
def test_a_spoilt_cache_is_measured_again(monkeypatch: pytest.MonkeyPatch, home: Path, content: str) -> None:
    asked = rates(monkeypatch, float32=1.0)
    assert device.select_dtype("auto", CPU) is torch.float32
    (kept,) = (home / "cache" / "rates").iterdir()
    kept.write_text(content)
    device._remembered_rates.cache_clear()
    assert device.select_dtype("auto", CPU) is torch.float32
    assert len(asked) == 2


def test_a_home_that_cannot_be_written_to_does_no_harm(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    (home / "cache").write_text("a file where the folder should be")
    rates(monkeypatch, float32=1.0, bfloat16=2.0)
    assert device.select_dtype("auto", CPU) is torch.bfloat16


def test_measuring_gives_rates() -> None:
    measured = device.measure(CPU)
    assert set(measured) <= set(device.DTYPES)
    assert all(rate > 0 for rate in measured.values())


def test_a_gpu_gets_products_that_keep_it_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[torch.dtype, int]] = []

    def rate(dtype: torch.dtype, device: torch.device, shape: tuple[int, int, int]) -> float:
        asked.append((dtype, math.prod(shape)))
        return 100.0 if dtype is torch.float32 else 800.0

    monkeypatch.setattr(device, "_rate", rate)
    monkeypatch.setattr(device, "_multiplies", lambda dtype, _: dtype is not torch.int8)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert device.measure(torch.device("cuda")) == {"float32": 100.0, "bfloat16": 800.0}
    largest = {dtype: max(work for kind, work in asked if kind is dtype) for dtype, _ in asked}
    assert min(largest.values()) > 1e11  # operations; a GPU needs a millisecond or less for so many
    asked.clear()
    device.measure(CPU)
    assert max(work for _, work in asked) < 1e9


def test_threads() -> None:
    before = torch.get_num_threads()
    try:
        device.set_threads(None)
        assert torch.get_num_threads() == before
        device.set_threads(1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    with pytest.raises(UsageError):
        device.set_threads(0)
