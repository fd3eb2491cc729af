"""How many images fit into memory at once, by the sizes in a model's config, and batches that halve where they do not.

torch is imported in functions only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from bigr_cli import console
from bigr_cli.core.architectures import GeneratorConfig, TokenizerConfig
from bigr_cli.errors import RunError, UsageError
from bigr_cli.setting import whole_number

if TYPE_CHECKING:
    import torch

Some = TypeVar("Some", bound="Sliceable")
Made = TypeVar("Made")

SHARE = 0.8  # of the free memory that is planned with
RESERVE = 400 * 2**20  # bytes for random numbers, which are sampled in blocks, and the libraries' own buffers

_TOKENS_AT_ONCE = {"cpu": 1024, "cuda": 16384, "mps": 4096}
_HALVES = 2  # of guidance: with and without the label
_SLACK = 1.75  # what allocators lose between tensors
# What torch says where there is no room, besides what accelerate knows.
_SIGNS = ("not enough memory", "cannot allocate memory", "cuda error: out of memory", "cublas_status_alloc_failed")


def sampling_bytes(config: GeneratorConfig, itemsize: int) -> int:
    """Bytes that each image of a batch needs while it is sampled, weights aside; `itemsize` is that of the weights.

    Counted are the tensors that are there together in the most crowded moment of a transformer's block and of the
    transcoder; what the rotary embedding and the random numbers are computed in is float32 and int64 always.
    """
    dim, hidden, width = config.dim, config.ffn_width, config.transcoder_width
    tokens = config.tokens + (config.text.prefix if config.text else 1)
    attention = tokens * (8 * dim * itemsize + 12 * dim)
    feedforward = tokens * (2 * dim + 4 * hidden) * itemsize
    transcoder = config.tokens * ((12 * width + config.bits) * itemsize + 16 * config.bits)
    random = config.tokens * config.bits * 8 * 8
    return round(_SLACK * (_HALVES * max(attention, feedforward, transcoder) + random))


def coding_bytes(config: TokenizerConfig) -> int:
    """Bytes that each image of a batch needs while it is encoded or decoded, in float32."""
    side, maps = config.image_size, 6  # what is there together in a residual block, and its convolution's buffers
    return round(_SLACK * maps * 4 * max(side * side * 3, *(size * size * width for size, width in config.maps)))


def refining_bytes(config: TokenizerConfig) -> int:
    """Bytes that each image of a batch needs while its codes are looked for, in float32."""
    return coding_bytes(config) * config.row.gradient


def free_memory(device: torch.device) -> int:
    """Bytes that can still be had on a device, with what torch keeps there and does not use."""
    import torch

    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    import psutil

    free = min([int(psutil.virtual_memory().available), *_left_in_group()])
    if device.type == "mps":
        free = min(free, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return free


def fitting(each: int, free: int, *, reserve: int = RESERVE) -> int:
    """How many things of so many bytes fit into what is free, one at least: a power of two.

    So small a change in what is free changes nothing, and a run that goes on works with the same batches.
    """
    room = int(SHARE * free) - reserve
    return 1 << max(0, (room // max(1, each)).bit_length() - 1) if room > each else 1


def sampling_batch_size(
    tokenizer: TokenizerConfig, generator: GeneratorConfig, dtype: torch.dtype, device: torch.device
) -> int:
    """How many images to sample at once: as many as pay, and fit into memory beside the decoding of one."""
    free = free_memory(device) - coding_bytes(tokenizer)
    return min(_worthwhile(generator, device), fitting(sampling_bytes(generator, dtype.itemsize), free))


def coding_batch_size(
    tokenizer: TokenizerConfig, generator: GeneratorConfig, dtype: torch.dtype, device: torch.device
) -> int:
    """How many images to encode, and to look at with the generator, at once."""
    each = max(sampling_bytes(generator, dtype.itemsize), coding_bytes(tokenizer))
    return min(_worthwhile(generator, device), fitting(each, free_memory(device)))


def _worthwhile(generator: GeneratorConfig, device: torch.device) -> int:
    """The number of images above which more at once are hardly faster."""
    tokens = _TOKENS_AT_ONCE.get(device.type, _TOKENS_AT_ONCE["cpu"])
    return max(1, min(64, tokens // generator.tokens))


def _left_in_group(root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """What a container's limit leaves, if there is one: both versions of control groups."""
    left = []
    pairs = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
    for limit, used in pairs:
        try:
            left.append(int((root / limit).read_text()) - int((root / used).read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return left


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
