"""Work in batches: where one does not fit into memory, it is halved and the work goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from bigr_cli import console
from bigr_cli.errors import RunError, UsageError
from bigr_cli.setting import whole_number

Some = TypeVar("Some", bound="Sliceable")
Made = TypeVar("Made")

# What torch says where there is no room, besides what accelerate knows.
_SIGNS = ("not enough memory", "cannot allocate memory", "cuda error: out of memory", "cublas_status_alloc_failed")


class Sliceable(Protocol):
    """A sequence or a tensor."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: Any, /) -> Any: ...


class Batches:
    """How many things are worked on at once: at first `size`, and fewer from the moment that these were too many."""

    def __init__(self, size: int) -> None:
        """Raises UsageError if the size is below 1, WrongTypeError if it is no whole number."""
        self.size = whole_number("batch_size", size)
        if self.size < 1:
            raise UsageError(f"batch_size: expected at least 1, got {size}")

    def run(self, items: Some, work: Callable[[Some], Made]) -> Iterator[tuple[Some, Made]]:
        """The items batch by batch, each with what `work` makes of it.

        `work` is called again for the first half of a batch for which there was no room, so it must not have lasting
        effects before it ends.

        Raises:
            RunError: there is no room for a single one.
        """
        start, too_many = 0, 0
        while start < len(items):
            part: Some = items[start : start + self.size]
            try:
                made = work(part)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if len(part) == 1:
                    hint = "a smaller model, a shorter --dtype or --offload needs less"
                    raise RunError("there is too little memory even for one image at a time", hint=hint) from error
                too_many = max(too_many, len(part))
                self.size = len(part) // 2
                fits = False
            else:
                fits = True
            if not fits:
                _release()  # here, because the error held on to what was being computed until its block ended
                continue
            if too_many:
                console.warn(f"there is too little memory for {too_many} images at once; going on with {self.size}")
                too_many = 0
            yield part, made
            start += len(part)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no room for a tensor or an array."""
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__:
        return True
    if not isinstance(error, RuntimeError):
        return False
    if any(sign in str(error).lower() for sign in _SIGNS):
        return True
    from accelerate.utils.memory import should_reduce_batch_size

    return bool(isinstance(error, Exception) and should_reduce_batch_size(error))


def _release() -> None:
    """Give what nobody uses back to the device."""
    from accelerate.utils.memory import clear_device_cache

    clear_device_cache(garbage_collection=True)
