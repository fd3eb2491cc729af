"""What is measured when both stages are done: reconstructions, samples, and what the features tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bigr_cli.core.sampler import sample
from bigr_cli.data.loading import as_floats, batches_of, spread_places
from bigr_cli.data.sources import Source
from bigr_cli.files import atomic_write, writing
from bigr_cli.progress import progress_bar
from bigr_cli.training.config import GeneratorTraining
from bigr_cli.training.data import open_recorded
from bigr_cli.training.reports import best_value
from bigr_cli.zoo.card import with_results
from bigr_cli.zoo.config import CARD_FILE, POOLS, RepresentationConfig, set_default_layer
from bigr_cli.zoo.loading import load_networks

if TYPE_CHECKING:
    from bigr_cli.core.config import Prompt
    from bigr_cli.core.model import BinaryModel
    from bigr_cli.representation.probe import Score
    from bigr_cli.zoo.config import ModelConfig

_SAMPLES, _COSTLY_SAMPLES = 256, 64
_COSTLY = 1024  # tokens times blocks of a model whose samples take long
_BATCH = 32
_SHOWN = 32
_FEWEST = 32  # images of each kind for a distance that means anything
_PROBED, _PROBE_TESTED = 4000, 1000
_PROBED_BLOCKS = 0.4, 0.6, 0.8  # of the depth: earlier ones have hardly looked around, the last ones predict bits
# Where on the grid a feature is tells shapes apart, which the mean does not: with 8,000 images of clothes 83.8 instead
# of 80.3 % by 2 x 2 cells. With 1,000 scenes nine times as many weights learn by heart.
_PROBED_CELLS, _FEWEST_FOR_CELLS = 3, 2000
_LAYER_BATCH = 64
_COMPARED = 64
_MOST = 20_000  # training images that are compared
_NEAR_SHARE = 0.05  # of the held-out images that are nearer to a training image than the limit


class Result(NamedTuple):
    """A measure and its value, both for a person to read."""

    measure: str
    value: str

    def line(self) -> str:
        return f"{self.measure}: {self.value}"


def finish(
    folder: Path, tokenizer: Path, generator: Path, training: GeneratorTraining, device: torch.device
) -> list[Result]:
    """Measure the finished model of a folder, from the folders of both stages, and write what is found into its card.

    Raises:
        RunError: the sheet of nearest images, or the card, cannot be written.
        What opening the data raises.
    """
    psnr = best_value(tokenizer)
    results = [] if psnr is None else [Result("reconstruction of held-out images", f"{psnr:.1f} dB PSNR")]
    if training.data.source != "scenes":
        network, config = load_networks(folder, device=str(device), dtype="float32")
        captions = training.generator.text is not None
        data = replace(training.data, flip=False, crop=1.0)
        source, held_out, _ = open_recorded(data, config.image_size, captions=captions, run=generator)
        samples = _samples(network, config, held_out if captions else None)
        found = nearest(samples, _images(held_out, len(samples)), source)
        with writing(folder / NEAREST):
            write_pairs(folder / NEAREST, samples[:_SHOWN], source, replace(found, places=found.places[:_SHOWN]))
        results += [
            Result("samples that are nearly training images", found.line()),
            *_distances(network, config, samples, source, held_out),
        ]
        probed = _probes(network, config, source, held_out)
        if probed is not None:
            result, chosen = probed
            results.append(result)
            set_default_layer(folder, chosen.layer, chosen.pool)
    _fill_card(folder / CARD_FILE, results)
    return results


def _fill_card(path: Path, results: Sequence[Result]) -> None:
    with writing(path), atomic_write(path) as temporary:
        temporary.write_text(with_results(path.read_text(encoding="utf-8"), results), encoding="utf-8", newline="\n")


def _samples(network: BinaryModel, config: ModelConfig, captions: Source | None) -> Tensor:
    """Samples (N, 3, S, S) in [0, 1] with the model's settings, of all classes in turn or of a source's captions."""
    sizes = network.generator.config
    count = _COSTLY_SAMPLES if sizes.tokens * sizes.layers > _COSTLY else _SAMPLES
    conditions: list[Prompt] = [
        n % max(1, len(config.labels)) if captions is None else captions.caption(n % len(captions))
        for n in range(count)
    ]
    seeds = torch.arange(count, device=network.generator.positions.device)
    parts = []
    with torch.inference_mode(), progress_bar(count, "sampling from the finished model") as bar:
        for at in range(0, count, _BATCH):
            some = network.conditions(conditions[at : at + _BATCH])
            codes = sample(network.generator, some, seeds[at : at + _BATCH], config.sampling)
            parts.append(network.tokenizer.decode(codes).float().clamp(0, 1).cpu())
            bar.advance(len(codes))
    return torch.cat(parts)


def _images(source: Source, count: int) -> Tensor:
    """Images of all parts of a source, (N, 3, S, S) in [0, 1]."""
    batches = batches_of(source, spread_places(source, count), _BATCH)
    return torch.cat([as_floats(batch.images) for batch in batches])


def _distances(
    network: BinaryModel, config: ModelConfig, samples: Tensor, source: Source, held_out: Source
) -> list[Result]:
    """The kernel distance, which few images do not bias, of samples from held-out images, beside that of training ones.

    In the model's own features, since no other network can be counted on; so it compares trainings on the same images.
    """
    count = min(len(samples), len(held_out), len(source))
    if count < _FEWEST:
        return []
    from bigr_cli.evaluation.metrics import GENERATION
    from bigr_cli.representation.features import embed_batch, wanted_features

    wanted = wanted_features(config, pool="mean")

    def features(images: Tensor) -> Tensor:
        return torch.from_numpy(np.concatenate([embed_batch(network, some, wanted) for some in images.split(_BATCH)]))

    kid, real = GENERATION["kid"], features(_images(held_out, count))
    found = [kid.compute(features(images[:count]), real) for images in (samples, _images(source, count))]
    ours, theirs = (float(each[kid.columns[0].key]) for each in found)
    about = f"in the model's own features of block {wanted.layer}, {count} images of each kind"
    value = f"{1000 * ours:.1f}; of training images {1000 * theirs:.1f} ({about}; lower is better)"
    return [Result("1000 x KID of samples, from held-out images", value)]


def _probes(
    network: BinaryModel, config: ModelConfig, source: Source, held_out: Source
) -> tuple[Result, RepresentationConfig] | None:
    """How often linear probes of features and of raw pixels name the class of a held-out image; and which features.

    The block is the one that does best on a part of the training images. None without classes, or with too few images.
    """
    from bigr_cli.representation.features import ALL, wanted_features
    from bigr_cli.representation.probe import probe
    from bigr_cli.representation.probe_data import LAYERS, PIXELS, Labelled, collect

    classes = len(source.labels)
    train, test = (_labelled(each, most) for each, most in ((source, _PROBED), (held_out, _PROBE_TESTED)))
    if classes < 2 or len(test[0]) < _FEWEST or int(np.bincount(train[1], minlength=classes).min()) < 5:
        return None
    sizes = network.generator.config
    cells = min(_PROBED_CELLS, sizes.grid) if len(train[0]) >= _FEWEST_FOR_CELLS else 1
    pool = next(name for name, count in POOLS.items() if count == cells)
    blocks = sorted({round(share * (sizes.layers - 1)) for share in _PROBED_BLOCKS})
    wanted = replace(wanted_features(config, layer=ALL, pool=pool), layers=tuple(blocks))
    collected = []
    with progress_bar(len(train[0]) + len(test[0]), "features for linear probes") as bar:
        for each, (places, targets) in ((source, train), (held_out, test)):
            images = Labelled(each, places, targets)
            collected.append(
                collect(network, None, images, batch=_LAYER_BATCH, layer=0, wanted=wanted, advance=bar.advance)
            )
    named = [torch.from_numpy(each[1]) for each in (train, test)]

    def score(name: str, place: int) -> Score:
        ours, theirs = (found[name][place].float() for found in collected)
        device = network.generator.positions.device
        return probe(ours, named[0], theirs, named[1], classes, seed=0, device=device)[0]

    scores = {block: score(LAYERS, place) for place, block in enumerate(blocks)}
    best = max(blocks, key=lambda block: (scores[block].held_out, -scores[block].held_out_loss))
    pooled = "" if cells == 1 else f" in {cells} x {cells} cells"
    value = (
        f"{scores[best].top1:.1%} of {len(test[0]):,} by block {best}{pooled}, "
        f"{score(PIXELS, 0).top1:.1%} by raw pixels"
    )
    return Result("linear probe, held-out images named", value), RepresentationConfig(layer=best, pool=pool)


def _labelled(source: Source, most: int) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], ...]:
    """Places, at most so many and spread over the source, and their classes."""
    places = spread_places(source, most)
    return places, np.array([source.label(int(place)) for place in places], dtype=np.int64)


@dataclass(frozen=True)
class Nearest:
    """Of each sample the number of its nearest training image, and their root mean squared distance, 0 to 1.

    `limit` is the distance below which a twentieth of the held-out images are to theirs.
    """

    places: NDArray[np.int64]
    distances: NDArray[np.float64]
    limit: float
    compared: int

    @property
    def share(self) -> float:
        """Of samples that are nearly training images."""
        return float((self.distances < self.limit).mean())

    def line(self) -> str:
        """For a person to read."""
        near, total = int((self.distances < self.limit).sum()), len(self.distances)
        return (
            f"{near} of {total} samples are nearer to a training image than 19 of 20 held-out images are "
            f"({self.compared:,} training images compared)"
        )


def nearest(samples: Tensor, held_out: Tensor, training: Source) -> Nearest:
    """Compare samples (N, 3, S, S) and held-out images (M, 3, S, S), both in [0, 1], with training images.

    Images are compared as they are, and mirrored; small shifts count as differences.
    """
    chosen = spread_places(training, _MOST)
    both = torch.cat([samples, held_out]).flatten(1)
    best = torch.full((len(both),), torch.inf)
    places = torch.zeros(len(both), dtype=torch.int64)
    with progress_bar(len(chosen), "comparing samples with training images") as bar:
        done = 0
        for batch in batches_of(training, chosen, _COMPARED):
            images = as_floats(batch.images)
            for flat in (images.flatten(1), images.flip(3).flatten(1)):
                distances = torch.cdist(both, flat)
                least, where = distances.min(dim=1)
                places = torch.where(least < best, where + done, places)
                best = torch.minimum(best, least)
            done += len(images)
            bar.advance(len(images))
    found = (best / both.shape[1] ** 0.5).double().numpy()
    limit = float(np.quantile(found[len(samples) :], _NEAR_SHARE))
    return Nearest(chosen[places[: len(samples)].numpy()], found[: len(samples)], limit, len(chosen))


def write_pairs(path: Path, samples: Tensor, training: Source, found: Nearest) -> None:
    """A sheet: samples in one row, the nearest training image of each in the row below. OSError if that cannot be."""
    from bigr_cli.imaging.arrays import to_images
    from bigr_cli.imaging.montage import grid

    def rows() -> Iterator[Tensor]:
        theirs = np.stack([training.image(int(place)).pixels for place in found.places])
        given = as_floats(torch.from_numpy(theirs).permute(0, 3, 1, 2))
        for mine, nearest_to in zip(samples.split(8), given.split(8), strict=True):
            yield from (mine, nearest_to)

    sheet = grid(to_images(torch.cat(list(rows()))), columns=8)
    with atomic_write(path) as temporary:
        sheet.save(temporary, format="PNG")


NEAREST = "nearest.png"
