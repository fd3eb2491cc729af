"""Agreement of images with what was asked for: of real scenes, and of the wrong ones."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from bigr_cli.data import scenes
from bigr_cli.evaluation.agreement import QUESTIONS, Captions, scene_captions, scenes_evaluator
from bigr_cli.evaluation.image_sets import ImageSet

APART = frozenset({("red", "house"), ("blue", "fish")})


def images(shown: list[scenes.Scene]) -> ImageSet:
    arrays = torch.stack([torch.from_numpy(np.array(scenes.render(each, 64))).permute(2, 0, 1) for each in shown])

    def batches(size: int) -> Iterator[Tensor]:
        yield from arrays.split(size)

    return ImageSet("scenes", len(shown), 64, 64, batches, {}, {})


def captions_of(shown: list[scenes.Scene]) -> Captions:
    answers = tuple({"object": s.label, "color": s.color, "ground": s.ground, "time": s.time} for s in shown)
    return Captions("seen", tuple(each.caption for each in shown), answers)


def test_the_scenes_asked_for_agree_and_others_do_not() -> None:
    shown = [scenes.describe(7, index) for index in range(96)]
    evaluator, seen = scenes_evaluator(torch.device("cpu")), list[int]()
    right = evaluator(captions_of(shown), images(shown), seen.append)
    assert sum(seen) == 96
    assert all(right[name] >= 0.95 for name in QUESTIONS) and right["all"] >= 0.9
    others = [scenes.describe(7, index + 1) for index in range(96)]  # the next object of the sixteen
    wrong = evaluator(captions_of(others), images(shown), lambda _: None)
    assert wrong["object"] <= 0.05 and wrong["all"] <= 0.05
    assert wrong["time"] < 0.6


def test_pairs_are_kept_apart() -> None:
    seen, held_out = scene_captions(64, 0, APART)
    pairs = [[(each["color"], each["object"]) for each in captions.answers] for captions in (seen, held_out)]
    assert (seen.kind, held_out.kind) == ("seen", "held out")
    assert not set(pairs[0]) & APART and set(pairs[1]) == APART
    assert [len(captions.texts) for captions in (seen, held_out)] == [64, 64]
    assert all(
        each["color"] in text
        for captions in (seen, held_out)
        for text, each in zip(captions.texts, captions.answers, strict=True)
    )
    assert [captions.kind for captions in scene_captions(4, 0, frozenset())] == ["seen"]
    assert scene_captions(8, 0, APART) == scene_captions(8, 0, APART) != scene_captions(8, 1, APART)
