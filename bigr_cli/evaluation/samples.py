"""Images that a model samples to be evaluated: the same ones in any batch, in any number of processes, after any stop.

Image i is of class i modulo the number of classes, or of text i, and has the seed SEED + i. What was sampled is kept
as codes in a folder of the cache, a file for every 64 images, until the evaluation is through; a run that was stopped
finds them there, and several processes share the work by writing different ones. The results of a sweep are kept too.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bigr_cli.core.config import SamplingConfig
from bigr_cli.data import scenes
from bigr_cli.data.sources import SCENES
from bigr_cli.editing.generate import Job, plan
from bigr_cli.evaluation.image_sets import ImageSet, stacked
from bigr_cli.home import Cache, intact, save_array
from bigr_cli.prompts import Label, class_count
from bigr_cli.runtime.memory import Batches
from bigr_cli.version import __version__
from bigr_cli.zoo.config import ModelConfig

if TYPE_CHECKING:
    from bigr_cli.loaded import LoadedModel

CHUNK = 64
_CACHE = Cache("evaluation", "samples", durable=True)
_RESULTS = Cache("evaluation", "results", durable=True)


def balanced(config: ModelConfig, count: int, seed: int) -> list[Job]:
    """`count` images of all classes in turn, or of none if there are none; errors as `plan`.

    A model of texts that was trained on scenes is given captions of other scenes.
    """
    classes = class_count(config)
    labels: list[Label]
    if classes:
        labels = [index % classes for index in range(count)]
    elif config.provenance.data == SCENES:
        labels = [scenes.describe(seed, index).caption for index in range(count)]
    else:
        labels = [None] * count
    return plan(config, labels, seed=seed)


@dataclass(frozen=True)
class Samples:
    """Images of a model with certain settings, sampled when they are asked for unless they are kept already."""

    model: LoadedModel
    jobs: Sequence[Job]
    settings: SamplingConfig
    batches: Batches
    folder: Path
    _memory: dict[int, Tensor] = field(default_factory=dict, repr=False)  # what the cache does not take

    @property
    def chunks(self) -> int:
        return -(-len(self.jobs) // CHUNK)

    def chunk(self, number: int) -> Tensor:
        """The codes (n, L, K) of one chunk, kept from now on: in the cache, or else in memory."""
        codes = self._kept(number)
        if codes is None:
            jobs = self.jobs[number * CHUNK : (number + 1) * CHUNK]
            codes = torch.cat([made for _, made in self.batches.run(jobs, self._sampled)])
            self._keep(number, codes)
        return codes

    def share(self, rank: int, world: int, advance: Callable[[int], None]) -> None:
        """Sample what falls to process `rank` of `world`, and keep it."""
        for number in range(rank, self.chunks, world):
            advance(len(self.chunk(number)))

    def images(self, advance: Callable[[int], None] | None = None) -> ImageSet:
        """All of them; `advance` is told of images as they are sampled or found."""

        def images() -> Iterator[Image.Image]:
            for number in range(self.chunks):
                codes = self.chunk(number)
                if advance is not None:
                    advance(len(codes))
                yield from self.model.decode(codes)

        def batches(at_once: int) -> Iterator[Tensor]:
            waiting: list[NDArray[np.uint8]] = []
            for image in images():
                waiting.append(np.asarray(image))
                if len(waiting) == at_once:
                    yield stacked(waiting)
                    waiting = []
            if waiting:
                yield stacked(waiting)

        side, classes = self.model.config.image_size, dict(Counter(job.label for job in self.jobs))
        return ImageSet(self.model.name, len(self.jobs), side, side, batches, self.provenance(), classes)

    def provenance(self) -> dict[str, Any]:
        """What the images depend on."""
        return {
            "source": "generated",
            "model": self.model.name,
            "weights": dict(self.model.config.sha256),
            "seed": self.jobs[0].seed,
            "sampling": vars(self.settings) | {"guidance_interval": list(self.settings.guidance_interval)},
            "device": self.model.device.type,
            "dtype": str(self.model.dtype).removeprefix("torch."),
        }

    def discard(self) -> None:
        """Delete what was kept."""
        _CACHE.discard(self.folder)

    def _sampled(self, jobs: Sequence[Job]) -> Tensor:
        labels = self.model.network.conditions([job.prompt for job in jobs])
        return self.model.sample_codes(labels, [job.seed for job in jobs], settings=self.settings).cpu()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.npy"

    def _kept(self, number: int) -> Tensor | None:
        """The codes of a chunk; None if they are not there or damaged."""
        if number in self._memory:
            return self._memory[number]
        generator = self.model.generator.config
        expected = len(self.jobs[number * CHUNK : (number + 1) * CHUNK])

        def read(path: Path) -> Tensor | None:
            packed = np.load(path, allow_pickle=False)
            bits = np.unpackbits(packed, axis=1, count=generator.tokens * generator.bits)
            codes = torch.from_numpy(bits.astype(bool)).view(-1, generator.tokens, generator.bits)
            return codes if len(codes) == expected else None

        return intact(read, self._path(number))

    def _keep(self, number: int, codes: Tensor) -> None:
        packed = np.packbits(codes.flatten(1).numpy(), axis=1)
        if not _CACHE.write(self._path(number), lambda temporary: save_array(temporary, packed)):
            self._memory[number] = codes


def samples_of(model: LoadedModel, jobs: Sequence[Job], settings: SamplingConfig, batch_size: int | None) -> Samples:
    """What is sampled or found with these settings; kept under a name that is the same only for the same images."""
    made = Samples(model, jobs, settings, Batches(batch_size or model.batch_size()), Path())
    shown = hashlib.sha256(repr([(job.label, job.negative) for job in jobs]).encode()).hexdigest()
    identity = made.provenance() | {"count": len(jobs), "shown": shown, "version": __version__, "folder": model.folder}
    return replace(made, folder=_CACHE.path(identity, ""))


class Results:
    """What is known of the points of a run, each in a file of its own in a folder of the cache."""

    def __init__(self, identity: Any) -> None:
        """`identity` is anything that JSON holds, the same only where the results would be."""
        self.folder = _RESULTS.path(identity, "")

    def find(self, number: int) -> dict[str, Any] | None:
        """The result of a point; None if it is not there or damaged."""

        def read(path: Path) -> dict[str, Any] | None:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else None

        return intact(read, self._path(number))

    def keep(self, number: int, result: dict[str, Any]) -> None:
        """Write down a result, if that is possible."""
        text = json.dumps(result)
        _RESULTS.write(self._path(number), lambda temporary: temporary.write_text(text, encoding="utf-8"))

    def discard(self) -> None:
        """Delete them all."""
        _RESULTS.discard(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:04}.json"
