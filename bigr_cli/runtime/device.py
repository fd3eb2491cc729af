"""Which device to compute on, and in which number format. torch is imported in functions only."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bigr_cli.errors import DeviceError, UsageError
from bigr_cli.home import Cache, intact

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16", "int8")
WORTHWHILE = 1.3  # a shorter format must be this many times faster: below that its rounding is not worth it

_RATES = Cache("rates")  # without a word where it cannot be kept: measuring again costs a tenth of a second

_Shape = tuple[int, int, int]  # rows, inner, columns

_LAYER: _Shape = (512, 1024, 1024)  # what a layer of a mid-sized transformer multiplies for an image or two
_PROBE: _Shape = (128, 512, 512)
# On a GPU, where the product above takes no longer than to ask for it.
_LARGE: _Shape = (8192, 4096, 4096)
_IN_A_ROW = 4  # products that a GPU is given before it is waited for
_BUDGET = 0.02  # seconds of measuring per format, after the first product


@dataclass(frozen=True)
class DeviceInfo:
    """What `bigr doctor` says about a device. `rates` are GFLOP/s of a matrix product by format, as measured now."""

    name: str
    model: str
    memory: int  # bytes
    dtype: str
    rates: dict[str, float]


def select_device(name: str = "auto") -> torch.device:
    """The torch device of that name: "auto" (CUDA, then MPS, then CPU), "cpu", "cuda", "cuda:N" or "mps".

    Where torchrun has started several processes on a machine (LOCAL_RANK), "auto" and "cuda" give each its own GPU in
    turn. Raises DeviceError for any other name, and for a device that is not there; it never falls back to another one.
    """
    import torch

    wanted = name.strip().lower()
    present = available_devices()
    if wanted in ("auto", "cuda") and present[0] == "cuda:0":
        gpus, place = [each for each in present if each.startswith("cuda")], os.environ.get("LOCAL_RANK", "")
        wanted = gpus[int(place) % len(gpus)] if place.isdecimal() else gpus[0]
    if wanted == "auto":
        return torch.device(present[0])
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", wanted):
        raise DeviceError(f"unknown device {name!r}: expected auto, cpu, cuda, cuda:N or mps")
    full = "cuda:0" if wanted == "cuda" else wanted
    if full not in present:
        raise DeviceError(f"there is no device {wanted!r} here; there is {', '.join(present)}")
    return torch.device(full)


def available_devices() -> list[str]:
    """Names of the devices that torch can use here, the one that "auto" takes first."""
    import torch

    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def select_dtype(name: str, device: torch.device) -> torch.dtype:
    """The torch format of that name: "float32", "bfloat16", "float16", "int8", or "auto".

    "auto" is a shorter format where a matrix product measured here is at least 1.3 times as fast in it, otherwise
    float32. It is never int8: that pays for wide networks only, and samples other images. Raises DeviceError for any
    other name, or a format in which the device cannot multiply.
    """
    import torch

    if name == "auto":
        name = _fastest(_remembered_rates(device))
    elif name not in DTYPES:
        raise DeviceError(f"unknown dtype {name!r}: expected auto, {', '.join(DTYPES)}")
    dtype: torch.dtype = getattr(torch, name)
    if dtype is not torch.float32 and not _multiplies(dtype, device):
        raise DeviceError(f"{device} cannot compute in {name}")
    return dtype


def set_threads(count: int | None) -> None:
    """Let torch use `count` CPU threads; None leaves its own choice. Raises UsageError below 1."""
    if count is None:
        return
    if count < 1:
        raise UsageError(f"threads: expected at least 1, got {count}")
    import torch

    torch.set_num_threads(count)


def describe() -> list[DeviceInfo]:
    """Every device of this machine, measured anew."""
    import torch

    found = []
    for name in available_devices():
        device = torch.device(name)
        rates = measure(device)
        found.append(DeviceInfo(name, model_name(device), _memory(device), _fastest(rates), rates))
    return found


def measure(device: torch.device) -> dict[str, float]:
    """GFLOP/s of a matrix product by format: float32, the shorter one that suits the device, and int8 on a CPU that
    has it, where bringing what is multiplied into 8 bits counts too. Below 0.2 s on a CPU.
    """
    import torch

    shorter = torch.bfloat16
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        shorter = torch.float16
    layer, probe = (_LAYER, _PROBE) if device.type == "cpu" else (_LARGE, _LAYER)
    rates = {"float32": _rate(torch.float32, device, layer)}
    if _multiplies(shorter, device):
        small, plain = (_rate(dtype, device, probe) for dtype in (shorter, torch.float32))
        # Where the format is emulated a whole layer could take a second; the small product has told already.
        rate = _rate(shorter, device, layer) if small > 0.7 * plain else small / plain * rates["float32"]
        rates[str(shorter).removeprefix("torch.")] = rate
    if _multiplies(torch.int8, device):
        rates["int8"] = _int8_rate(_LAYER)
    return rates


def _int8_rate(shape: _Shape) -> float:
    import torch

    from bigr_cli.runtime.fast_layers import Int8Linear

    rows, inner, columns = shape
    layer, x = Int8Linear(torch.nn.Linear(inner, columns)), torch.full((rows, inner), 0.5)
    return _best_rate(lambda: layer(x), torch.device("cpu"), shape)


def _rate(dtype: torch.dtype, device: torch.device, shape: _Shape) -> float:
    import torch

    rows, inner, columns = shape
    # By chance, but always the same: some devices multiply faster, at less power, where all numbers are equal.
    numbers = torch.Generator(device).manual_seed(0)
    left = torch.rand(rows, inner, device=device, generator=numbers).to(dtype)
    right = torch.rand(inner, columns, device=device, generator=numbers).to(dtype)
    return _best_rate(lambda: left @ right, device, shape)


def _best_rate(multiply: Callable[[], torch.Tensor], device: torch.device, shape: _Shape) -> float:
    in_a_row = 1 if device.type == "cpu" else _IN_A_ROW
    _wait(device, multiply())
    best, begin = float("inf"), time.perf_counter()
    while time.perf_counter() - begin < _BUDGET:
        start = time.perf_counter()
        for _ in range(in_a_row):
            product = multiply()
        _wait(device, product)
        best = min(best, (time.perf_counter() - start) / in_a_row)
    return 2e-9 * math.prod(shape) / best


def _wait(device: torch.device, product: torch.Tensor) -> None:
    if device.type != "cpu":
        product[0, 0].item()


def _multiplies(dtype: torch.dtype, device: torch.device) -> bool:
    import torch

    if dtype is torch.int8:  # torch multiplies whole numbers everywhere, but not in layers, and seldom fast
        from bigr_cli.runtime import fast_layers

        return device.type == "cpu" and fast_layers.int8_works()
    try:
        one = torch.ones((1, 1), dtype=dtype, device=device)
        return bool((one @ one).item() == 1)
    except (RuntimeError, TypeError):  # how torch says that a device lacks a format
        return False


def _fastest(rates: dict[str, float]) -> str:
    best = max((name for name in rates if name != "int8"), key=lambda name: rates[name])
    return best if rates[best] >= WORTHWHILE * rates["float32"] else "float32"


@cache
def _remembered_rates(device: torch.device) -> dict[str, float]:
    """Rates measured in this process, or earlier on the same machine with the same torch and threads."""
    import torch

    key = f"{model_name(device)} | torch {torch.__version__} | {torch.get_num_threads()} threads"
    path = _RATES.path(key, ".json")
    known = intact(_read_rates, path)
    if known is None:
        known = measure(device)
        text = json.dumps(known)
        _RATES.write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return known


def _read_rates(path: Path) -> dict[str, float]:
    rates = json.loads(path.read_text(encoding="utf-8"))
    return {name: float(rates[name]) for name in ("float32", *rates) if name in DTYPES}


def model_name(device: torch.device) -> str:
    """What the processor or GPU is called."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_processor()} {torch.backends.cpu.get_cpu_capability()}" if device.type == "cpu" else _processor()


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory(device: torch.device) -> int:
    import torch

    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return main_memory()


def main_memory() -> int:
    """Bytes of main memory, or 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
