"""How well images show what a text asked for: by the classifier of scenes, or by CLIP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bigr_cli.data import scenes
from bigr_cli.data.captions import read_texts
from bigr_cli.data.loading import as_floats
from bigr_cli.evaluation.classifier import load_classifier
from bigr_cli.evaluation.image_sets import ImageSet

QUESTIONS = ("object", "color", "ground", "time")
ALL = "all"
CLIP = "clip"

_START = 2**43  # beyond every scene that a training reaches
_BATCH = 64

Pairs = frozenset[tuple[str, str]]  # colours and objects
LoadedEvaluator = Callable[["Asked", ImageSet, Callable[[int], None]], dict[str, float]]


@dataclass(frozen=True)
class Asked:
    """Texts of one kind, such as "seen", and, for scenes, the answers that the classifier should give to each."""

    kind: str
    texts: tuple[str, ...]
    answers: tuple[dict[str, str], ...] = field(default=(), repr=False)


def asked_scenes(count: int, seed: int, apart: Pairs) -> list[Asked]:
    """Captions of scenes that no training has seen, `count` of each kind.

    Those with a pair in `apart`, which the model has never seen together, are "held out"; without such there is only
    one kind.
    """
    kinds = [("seen", _captions(count, seed, apart, inside=False))]
    if apart:
        kinds.append(("held out", _captions(count, seed, apart, inside=True)))
    return [Asked(kind, tuple(each.caption for each in found), tuple(map(_answers, found))) for kind, found in kinds]


def asked_texts(path: Path) -> list[Asked]:
    """The texts of a file, one a line. Raises UsageError if it has none."""
    return [Asked(path.name, tuple(read_texts(path)))]


def scenes_evaluator(device: torch.device) -> LoadedEvaluator:
    """Shares of images for which the classifier gives the right answer to each question, and to all of them.

    Raises:
        ModelError: the classifier is not here.
    """
    network = load_classifier(device=device)

    def evaluator(asked: Asked, image_set: ImageSet, advance: Callable[[int], None]) -> dict[str, float]:
        right = {name: 0 for name in (*QUESTIONS, ALL)}
        for answers, images in _beside(asked.answers, image_set, advance):
            with torch.inference_mode():
                found = {name: logits.argmax(dim=1).tolist() for name, logits in network(images.to(device)).items()}
            hits = {
                name: [
                    network.answers[name][guess] == each[name] for guess, each in zip(found[name], answers, strict=True)
                ]
                for name in QUESTIONS
            }
            for name, hit in hits.items():
                right[name] += sum(hit)
            right[ALL] += sum(map(all, zip(*hits.values(), strict=True)))
        return {name: hit / len(asked.texts) for name, hit in right.items()}

    return evaluator


def clip_evaluator(folder: Path, device: torch.device) -> LoadedEvaluator:
    """The mean cosine of images and texts in CLIP's space, times 100, negative ones as 0 (CLIPScore, Hessel 2021).

    Args:
        folder: of transformers' files.

    Raises:
        What `open_clip` raises.
    """
    from bigr_cli.evaluation.pretrained import open_clip

    network = open_clip(folder, device)

    def evaluator(asked: Asked, image_set: ImageSet, advance: Callable[[int], None]) -> dict[str, float]:
        total = 0.0
        for texts, images in _beside(asked.texts, image_set, advance):
            total += float((100 * network.similarity(images, list(texts))).clamp_min(0).sum())
        return {CLIP: total / len(asked.texts)}

    return evaluator


def _captions(count: int, seed: int, apart: Pairs, *, inside: bool) -> list[scenes.Scene]:
    found: list[scenes.Scene] = []
    index = _START
    while len(found) < count:
        scene = scenes.describe(seed, index)
        if ((scene.color, scene.label) in apart) == inside:
            found.append(scene)
        index += 1
    return found


def _answers(scene: scenes.Scene) -> dict[str, str]:
    return {"object": scene.label, "color": scene.color, "ground": scene.ground, "time": scene.time}


def _beside(
    things: Sequence[Any], image_set: ImageSet, advance: Callable[[int], None]
) -> Iterator[tuple[Sequence[Any], Tensor]]:
    """Images as floats, batch by batch, with what belongs to each."""
    start = 0
    for batch in image_set.batches(_BATCH):
        yield things[start : start + len(batch)], as_floats(batch)
        start += len(batch)
        advance(len(batch))
