"""Where the time and the memory go while a model works, looked at from outside."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bigr_cli.core.architectures import GeneratorConfig
from bigr_cli.core.network import Generator, Prefix

TRANSFORMER = "transformer"
TRANSCODER = "transcoder"
_LOOK = 0.002  # seconds between two looks at the process's memory


def wait(device: torch.device) -> None:
    """Until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@dataclass
class Meter:
    """What a generator's two networks have done: seconds, rows and calls of each, by its name.

    A row of the transformer is an image with or without its label, one of the transcoder a token at a timestep.
    `prefix` is the number of condition tokens in front of an image's. `clock` may be that of the processor alone.
    """

    device: torch.device
    clock: Callable[[], float] = time.perf_counter
    seconds: dict[str, float] = field(default_factory=lambda: {TRANSFORMER: 0.0, TRANSCODER: 0.0})
    rows: dict[str, int] = field(default_factory=lambda: {TRANSFORMER: 0, TRANSCODER: 0})
    prefix: int = 1

    @contextmanager
    def attached(self, generator: Generator) -> Iterator[None]:
        """Count what the generator does in the block. On a GPU each call then waits for its end, which costs a bit."""
        places = ((generator, "condition", TRANSFORMER), (generator.transcoder, "denoise", TRANSCODER))
        for owner, method, part in places:
            setattr(owner, method, self._timed(getattr(owner, method), part))
        try:
            yield
        finally:
            for owner, method, _ in places:
                delattr(owner, method)  # the class's own shows again

    def _timed(self, method: Callable[..., torch.Tensor], part: str) -> Callable[..., torch.Tensor]:
        def timed(rows: torch.Tensor, *more: Any, **named: Any) -> torch.Tensor:
            wait(self.device)
            start = self.clock()
            made = method(rows, *more, **named)
            wait(self.device)
            self.seconds[part] += self.clock() - start
            self.rows[part] += len(rows)
            tokens = getattr(more[0], "tokens", None) if more and part == TRANSFORMER else None
            self.prefix = self.prefix if tokens is None else tokens.shape[1]
            return made

        return timed


class PeakMemory(AbstractContextManager["PeakMemory"]):
    """The most memory in use while the block runs, in bytes: on a CPU all that the process has, elsewhere torch's.

    `bytes` tells it after the block.
    """

    bytes = 0

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.device.type == "cuda":
            self.bytes = int(torch.cuda.max_memory_allocated(self.device))
            return
        self._ended.set()
        self._watcher.join()
        self._look()

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK):
            self._look()

    def _look(self) -> None:
        resident = self.device.type != "mps"
        used = psutil.Process().memory_info().rss if resident else torch.mps.driver_allocated_memory()
        self.bytes = max(self.bytes, int(used))


def operations(config: GeneratorConfig, prefix: int = 1, *, training: bool = False) -> tuple[int, int]:
    """What one image costs the transformer, and one token at one timestep the transcoder; backwards too in training.

    Both are counted without computing anything, on the meta device: there every operation is a plain one that torch
    knows how to count, whatever the device at hand would use in its place. `prefix` is the number of condition tokens.
    """
    with torch.device("meta"):
        generator = Generator(config).eval()
    generator.to("meta")  # the tables of positions and noise, which are made on the CPU wherever the rest is
    tokens, bits = config.tokens, config.bits
    codes = torch.zeros(1, tokens, bits, dtype=torch.bool, device="meta")
    masked = torch.zeros(1, tokens, dtype=torch.bool, device="meta")
    front = Prefix(
        torch.zeros(1, prefix, config.dim, device="meta", requires_grad=training),
        torch.zeros(1, 1, config.dim, device="meta", requires_grad=training),
    )
    noisy = torch.zeros(1, bits, dtype=torch.bool, device="meta")
    context = torch.zeros(1, config.transcoder_width, device="meta", requires_grad=training)
    with torch.set_grad_enabled(training):
        return (
            _counted(lambda: generator.condition(codes, front, masked)),
            _counted(lambda: generator.transcoder.denoise(noisy, context)),
        )


def _counted(forward: Callable[[], Tensor]) -> int:
    with FlopCounterMode(display=False) as counter:
        made = forward()
        if made.requires_grad:
            made.sum().backward()
    return int(counter.get_total_flops())
