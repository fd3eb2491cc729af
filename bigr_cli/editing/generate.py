"""Images from labels or texts: which ones, and their sampling batch by batch. torch is imported in functions only."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bigr_cli.core.config import LARGEST_SEED, Prompt, SamplingConfig
from bigr_cli.editing.requests import Inpaint
from bigr_cli.errors import UsageError
from bigr_cli.progress import ProgressOption, for_caller
from bigr_cli.prompts import Label, every_label, listing, name_of, prompt_of, warn_of_contradiction
from bigr_cli.recipe import GENERATE, MOST
from bigr_cli.runtime.memory import Batches
from bigr_cli.setting import whole_number, with_own_names
from bigr_cli.zoo.config import ModelConfig
from bigr_cli.zoo.presets import check_arguments

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from bigr_cli.core.model import BinaryModel
    from bigr_cli.imaging.metadata import MadeImage
    from bigr_cli.loaded import LoadedModel

# Called after each iteration with the batch's jobs, the iteration (from 0), codes (B, L, K) and what is masked (B, L).
Watcher = Callable[[Sequence["Job"], int, "Tensor", "Tensor"], None]


@dataclass(frozen=True)
class Job:
    """One image to be made: `prompt` is its label or text for the model, `index` its place in the request.

    `negative` is the negative prompt; None is no label.
    """

    label: str
    prompt: Prompt
    seed: int
    index: int
    negative: Prompt = None


Made = TypeVar("Made", bound="Image")


@dataclass(frozen=True)
class Generated(Generic[Made]):
    """An image that was generated: its label, its place in the request, its seed, and how long it took."""

    image: Made
    label: str
    index: int
    seed: int
    seconds: float


def plan(
    config: ModelConfig,
    labels: Sequence[Label],
    *,
    count: int = 1,
    seed: int | None = None,
    negative: Label = None,
) -> list[Job]:
    """The images of a request: `count` of each label or text, image i with seed + i.

    Without a seed, a random one is taken. `negative` is the negative prompt.

    Raises:
        UnknownNameError: a label that the model has not; suggests the nearest.
        WrongTypeError: a count or a seed that is no whole number.
        UsageError: no label, too many images, or seeds that do not lie within 0 to 2^63 - 1.
    """
    count = whole_number("count", count)
    if not labels or count < 1:
        raise UsageError(f"expected at least one label and a count of at least 1, got {len(labels)} and {count}")
    total = len(labels) * count
    if total > MOST:
        raise UsageError(f"{total:,} images are too many at once; the limit is {MOST:,}")
    first = secrets.randbelow(2**32) if seed is None else whole_number("seed", seed)
    if not 0 <= first <= LARGEST_SEED - (total - 1):
        last = f"; {total} images use the seeds from it on" if total > 1 else ""
        raise UsageError(f"seed: expected whole numbers from 0 to 2^63 - 1, got {first}{last}")
    wanted = [(name_of(config, prompt), prompt) for prompt in (prompt_of(config, label) for label in labels)]
    unwanted = prompt_of(config, negative)
    for _, prompt in wanted:
        warn_of_contradiction(config, prompt, unwanted)
    return [
        Job(name, prompt, first + place * count + number, place * count + number, unwanted)
        for place, (name, prompt) in enumerate(wanted)
        for number in range(count)
    ]


def asked(config: ModelConfig, labels: Label | Sequence[Label], given: dict[str, Any]) -> list[Label]:
    """What Python asks for: `labels`, or instead `prompt` or `prompts`, which are taken out of the arguments `given`.

    Raises:
        UsageError: it is given twice, or not at all.
    """
    named: dict[str, Any] = {name: given.pop(name) for name in ("prompt", "prompts") if name in given}
    ways = [*([] if isinstance(labels, tuple) and not labels else ["labels"]), *named]
    if len(ways) > 1:
        raise UsageError(f"{ways[0]} and {ways[1]} exclude each other: both say what to paint")
    if not ways:
        raise UsageError(
            "labels: expected a label or a text, or several", hint=f"{config.name} knows {listing(config)}"
        )
    wanted: Any = labels if ways == ["labels"] else named[ways[0]]
    if ways == ["prompts"] and isinstance(wanted, str | os.PathLike) and os.path.isfile(wanted):
        from bigr_cli.data.captions import read_texts

        return list(every_label(config, read_texts(Path(wanted))))
    if wanted is None or isinstance(wanted, str) or not isinstance(wanted, Iterable):
        return list(every_label(config, [wanted]))
    return list(every_label(config, list(wanted)))


def sample_jobs(
    network: BinaryModel, jobs: Sequence[Job], settings: SamplingConfig, watch: Watcher | None = None
) -> Tensor:
    """The codes (B, L, K) of a batch of jobs; `watch` is called after each iteration."""
    return network.sample_codes(
        network.conditions([job.prompt for job in jobs]),
        [job.seed for job in jobs],
        settings=settings,
        negative=network.conditions([job.negative for job in jobs]),
        observe=(lambda i, codes, masked: watch(jobs, i, codes, masked)) if watch else None,
    )


def generated(
    network: BinaryModel, jobs: Sequence[Job], settings: SamplingConfig, batches: Batches, watch: Watcher | None = None
) -> Iterator[Generated[Image]]:
    """The images of these jobs, as soon as the batch of each is done; RunError if there is no room for a single one."""
    from bigr_cli.imaging.arrays import decode_images

    start = time.perf_counter()
    for batch, codes in batches.run(jobs, lambda batch: sample_jobs(network, batch, settings, watch)):
        images = decode_images(network, codes)
        seconds = (time.perf_counter() - start) / len(batch)
        for job, image in zip(batch, images, strict=True):
            yield Generated(image, job.label, job.index, job.seed, seconds)
        start = time.perf_counter()


def images_of(
    model: LoadedModel,
    labels: Label | Sequence[Label],
    *,
    count: int,
    seed: int | None,
    negative: Label,
    batch_size: int | None,
    progress: ProgressOption,
    sampling: dict[str, Any],
) -> Iterator[Generated[MadeImage]]:
    """What `Model.generate_iter` gives; its errors are raised by this call itself."""
    once = {} if count == 1 else {"count": count}
    # Inpaint names negative prompts as other programs do.
    given = with_own_names(Inpaint, {"negative": negative, **once, **sampling})
    wanted, count = asked(model.config, labels, given), given.pop("count", 1)
    jobs = plan(model.config, wanted, count=count, seed=seed, negative=given.pop("negative"))
    check_arguments("generate", with_own_names(SamplingConfig, given), ("count", "negative", "prompt", "seed"))
    settings = model.settings(**given)
    return _made(model, jobs, settings, Batches(model.batch_size() if batch_size is None else batch_size), progress)


def _made(
    model: LoadedModel, jobs: Sequence[Job], settings: SamplingConfig, batches: Batches, progress: ProgressOption
) -> Iterator[Generated[MadeImage]]:
    from bigr_cli.imaging.metadata import MadeImage

    shown = {} if jobs[0].negative is None else {"negative": name_of(model.config, jobs[0].negative)}
    with for_caller(len(jobs), "generating", progress) as advance:

        def watch(batch: Sequence[Job], iteration: int, codes: Tensor, masked: Tensor) -> None:
            advance(len(batch) / settings.iterations)

        for made in generated(model.network, jobs, settings, batches, watch):
            recipe = model.recipe(settings, task=GENERATE, labels=[made.label], seed=made.seed, options=shown)
            yield Generated(MadeImage.of(made.image, recipe), made.label, made.index, made.seed, made.seconds)
