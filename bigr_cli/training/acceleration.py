"""Hugging Face accelerate, which places a training on its device, alone or as one of several processes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import torch

from bigr_cli.errors import DeviceError

_PATIENCE = timedelta(hours=6)  # the others wait while the first process validates


def accelerator_for(device: torch.device, precision: str) -> Any:
    """An `accelerate.Accelerator`. Raises DeviceError if the device cannot train in that precision."""
    from accelerate import Accelerator, InitProcessGroupKwargs
    from accelerate.state import AcceleratorState

    # The device and precision of an earlier training in this process would be kept otherwise.
    AcceleratorState._reset_state(reset_partial_state=True)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if precision == "float16" and device.type == "cpu":  # accelerate would train in float32 without a word
        raise DeviceError("run.precision: a CPU cannot train in float16", hint="bfloat16 or float32 will do")
    short = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}[precision]
    try:
        patience = InitProcessGroupKwargs(timeout=_PATIENCE)
        return Accelerator(cpu=device.type == "cpu", mixed_precision=short, kwargs_handlers=[patience])
    except ValueError as error:
        raise DeviceError(f"run.precision: {device.type} cannot train in {precision}: {error}") from error
