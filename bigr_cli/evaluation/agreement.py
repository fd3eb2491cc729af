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
from bigr_cli.errors import ModelError, UsageError
from bigr_cli.evaluation.classifier import load_classifier
from bigr_cli.evaluation.image_sets import ImageSet
from bigr_cli.zoo.hub import client as hub
from bigr_cli.zoo.source import is_repository
from bigr_cli.zoo.text_encoders.t5 import quiet_transformers, require_transformers

QUESTIONS = ("object", "color", "ground", "time")
ALL = "all"
CLIP = "clip"

FIRST = 2**43  # beyond every scene that a training reaches
_BATCH = 64

Pairs = frozenset[tuple[str, str]]  # colours and objects
LoadedEvaluator = Callable[["Captions", ImageSet, Callable[[int], None]], dict[str, float]]

_FILES = ("*.json", "*.safetensors", "merges.txt")


@dataclass(frozen=True)
class Captions:
    """Texts of one kind, such as "seen", and, for scenes, the answers that the classifier should give to each."""

    kind: str
    texts: tuple[str, ...]
    answers: tuple[dict[str, str], ...] = field(default=(), repr=False)


def scene_captions(count: int, seed: int, apart: Pairs) -> list[Captions]:
    """Captions of scenes that no training has seen, `count` of each kind.

    Those with a pair in `apart`, which the model has never seen together, are "held out"; without such there is only
    one kind.
    """
    kinds = [("seen", _captions(count, seed, apart, inside=False))]
    if apart:
        kinds.append(("held out", _captions(count, seed, apart, inside=True)))
    return [
        Captions(kind, tuple(each.caption for each in found), tuple(map(answers_of, found))) for kind, found in kinds
    ]


def file_captions(path: Path) -> list[Captions]:
    """The texts of a file, one a line. Raises UsageError if it has none."""
    return [Captions(path.name, tuple(read_texts(path)))]


def scenes_evaluator(device: torch.device) -> LoadedEvaluator:
    """Shares of images for which the classifier gives the right answer to each question, and to all of them.

    Raises:
        ModelError: the classifier is not here.
    """
    network = load_classifier(device=device)

    def evaluator(captions: Captions, image_set: ImageSet, advance: Callable[[int], None]) -> dict[str, float]:
        right = {name: 0 for name in (*QUESTIONS, ALL)}
        for answers, images in _beside(captions.answers, image_set, advance):
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
        return {name: hit / len(captions.texts) for name, hit in right.items()}

    return evaluator


def clip_evaluator(folder: Path, device: torch.device) -> LoadedEvaluator:
    """The mean cosine of images and texts in CLIP's space, times 100, negative ones as 0 (CLIPScore, Hessel 2021).

    Args:
        folder: of transformers' files.

    Raises:
        What `open_clip` raises.
    """
    network = open_clip(folder, device)

    def evaluator(captions: Captions, image_set: ImageSet, advance: Callable[[int], None]) -> dict[str, float]:
        total = 0.0
        for texts, images in _beside(captions.texts, image_set, advance):
            total += float((100 * network.similarity(images, list(texts))).clamp_min(0).sum())
        return {CLIP: total / len(captions.texts)}

    return evaluator


def _captions(count: int, seed: int, apart: Pairs, *, inside: bool) -> list[scenes.Scene]:
    found: list[scenes.Scene] = []
    index = FIRST
    while len(found) < count:
        scene = scenes.describe(seed, index)
        if ((scene.color, scene.label) in apart) == inside:
            found.append(scene)
        index += 1
    return found


def answers_of(scene: scenes.Scene) -> dict[str, str]:
    """What the classifier should say of a scene, by question."""
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


class Clip:
    """A CLIP on a device."""

    def __init__(self, network: Any, processor: Any, device: torch.device) -> None:
        self._network, self._processor, self._device = network.to(device).eval(), processor, device

    @torch.inference_mode()
    def similarity(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """(B, 3, H, W) images in [0, 1] and B texts → the cosine of each pair, (B,); long texts are cut off."""
        arrays = list((images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
        given = self._processor(text=list(texts), images=arrays, return_tensors="pt", padding=True, truncation=True)
        found = self._network(**given.to(self._device))
        return torch.nn.functional.cosine_similarity(found.image_embeds, found.text_embeds, dim=-1).float().cpu()


def find_clip(source: str) -> tuple[Path, str]:
    """Where a CLIP is, and what identifies it: a folder, or a repository of the hub with its commit.

    `source` is a folder of transformers' files, owner/name, or owner/name@REVISION. A branch such as the default, main,
    moves: what was measured with it is told apart by the commit alone.

    Raises:
        UsageError: it is neither.
        ModelError: transformers is not installed.
        What `hub.fetch_folder` raises.
    """
    require_transformers("--clip")
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder, source
    repository, _, revision = source.partition("@")
    if not is_repository(repository):
        raise UsageError(f"--clip: {source} is neither a folder nor a repository such as openai/clip-vit-base-patch32")
    revision = revision or "main"
    folder = hub.cached_folder(repository, revision) or hub.fetch_folder(repository, _FILES, revision=revision)
    return folder, f"{repository}@{folder.name}"  # the cache names folders by their commits


def open_clip(folder: Path, device: torch.device) -> Clip:
    """The CLIP of a folder of transformers' files; ModelError if there is none in it."""
    import transformers

    try:
        with quiet_transformers():
            processor = transformers.CLIPProcessor.from_pretrained(str(folder), local_files_only=True)
            network = transformers.CLIPModel.from_pretrained(str(folder), local_files_only=True, use_safetensors=True)
    except Exception as error:  # transformers raises what it likes about what it finds in a folder
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{folder}: holds no CLIP that can be read ({reason})") from error
    return Clip(network, processor, device)
