"""How well a model does what it was not trained for: inpainting, editing, outpainting, enriching.

    python benchmarks/zero_shot.py --model scenes-64 --count 800
    python benchmarks/zero_shot.py repaint enrich --count 320

All on scenes that no network of ours has seen, 64 pixels large. `repaint`: the object's box is masked, as it is and
with a margin around it, and painted anew with the true label, and with another one; the share in which the judge sees
that label; how many images have a pixel that changed outside the mask. `pasted`, what that could be at best: instead
of what a model paints, real objects of the other labels are pasted into the boxes, reduced to fit. `seams`: boxes
somewhere are painted anew; the mean absolute difference of neighbouring pixels across their borders, as a share of
that at the same places of the scenes themselves. `outpaint`: scenes are continued to three times their width; the
same difference between columns, across the image's and the windows' borders and elsewhere in the paint, as a share of
that in the outer eighth of real scenes, where no object is. `enrich`: scenes are reduced by two and enlarged; the
Fréchet distance to other real scenes before and after.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from judging import STRICT, UNSEEN, accuracy, embeddings, load_judge, real_images
from numpy.typing import NDArray
from parts import Part, add_parts, measure
from PIL import Image
from scipy.ndimage import maximum_filter
from tables import add_set
from torch import Tensor

from bigr_cli.core.config import Prompt
from bigr_cli.data import scenes
from bigr_cli.data.loading import all_batches
from bigr_cli.data.sources import ScenesSource
from bigr_cli.editing.batched_sampling import SamplingCoroutine, paint_together
from bigr_cli.editing.inpaint import Painted
from bigr_cli.editing.requests import Edit, Enrich, Inpaint, Outpaint
from bigr_cli.errors import BigrError
from bigr_cli.evaluation.fidelity import frechet_distance
from bigr_cli.evaluation.reconstruction import boxes
from bigr_cli.imaging.originals import Original
from bigr_cli.imaging.regions import MaskRequest
from bigr_cli.imaging.windows import bounds
from bigr_cli.model import Model
from bigr_cli.progress import progress_bar

Arrays = NDArray[np.uint8]  # (N, H, W, 3)
Made = TypeVar("Made")


def all_done(model: Model, coroutines: Sequence[SamplingCoroutine[Made]], what: str) -> list[Made]:
    """What the coroutines make, in their order."""
    made: dict[int, Made] = {}
    with progress_bar(len(coroutines), what) as bar:
        for index, result in paint_together(model.network, enumerate(coroutines), batch_size=model.batch_size()):
            if isinstance(result, BigrError):
                raise result
            made[index] = result
            bar.advance()
    return [made[index] for index in range(len(coroutines))]


def originals(made: Iterable[Painted]) -> Arrays:
    """Finished images as one array."""
    return np.stack([np.asarray(one.image) for one in made])


def as_judged(arrays: Arrays) -> Tensor:
    """(N, H, W, 3) → (N, 3, H, W), as the judge takes them."""
    return torch.from_numpy(arrays).permute(0, 3, 1, 2).contiguous()


def unseen(count: int, first: int = 0) -> tuple[Arrays, NDArray[np.bool_], NDArray[np.int64]]:
    """Scenes, the boxes of their objects (N, H, W), and their labels (N,)."""
    images, foreground, labels = with_foreground(count, first)
    return images, boxes_of(foreground), labels


def with_foreground(count: int, first: int = 0, seed: int = 0) -> tuple[Arrays, NDArray[np.uint8], NDArray[np.int64]]:
    """Scenes, how much their objects cover of each pixel (N, H, W), and their labels (N,)."""
    batches = list(all_batches(ScenesSource(64, seed, UNSEEN + first), 256, count=count))
    images = torch.cat([batch.images for batch in batches]).permute(0, 2, 3, 1).numpy()
    foreground = torch.cat([batch.foreground for batch in batches])[:, 0].numpy()
    return images, foreground, torch.cat([batch.labels for batch in batches]).numpy()


def other_labels(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each of the labels (N,) another one, all others equally often."""
    others: NDArray[np.int64] = (labels + 1 + np.arange(len(labels)) % (len(scenes.LABELS) - 1)) % len(scenes.LABELS)
    return others


def boxes_of(foreground: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The boxes of objects, of which (N, H, W) says how much they cover."""
    return boxes(torch.from_numpy(foreground)[:, None])[:, 0].numpy()


def repaint(model: Model, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Objects painted anew, with their own label and with another."""
    images, tight, labels = unseen(options.count, options.first)
    wants = {"inpaint, true label": labels, "edit, another label": other_labels(labels)}
    if options.edit_only:
        del wants["inpaint, true label"]
    rows = []
    for margin, (name, wanted) in itertools.product(options.margin, wants.items()):
        masks = np.stack([maximum_filter(mask, 2 * margin + 1) for mask in tight])
        kind = Edit if name.startswith("edit") else Inpaint
        made = inpainted(model, images, masks, wanted.tolist(), options.blend, kind, **dict(options.set))
        kept = (made == images).all(axis=-1) | masks
        changed = int((~kept).any(axis=(1, 2)).sum())
        rows.append({"what": name, "margin": margin, **recognised(made, wanted), "changed_outside": changed})
    return rows


def recognised(made: Arrays, wanted: NDArray[np.int64]) -> dict[str, float]:
    """How many images there are, and in which share each judge sees what was wanted (N,)."""
    shown, asked = as_judged(made), torch.from_numpy(wanted)
    strict = accuracy(shown, asked, load_judge(folder=STRICT))
    return {"images": len(made), "recognised_%": 100 * accuracy(shown, asked), "strict_%": 100 * strict}


def pasted(_: Model, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Real objects of the labels that `repaint` edits to, pasted into the boxes, no larger than they are."""
    images, tight, labels = unseen(options.count, options.first)
    wanted, rng = other_labels(labels), np.random.default_rng(0)
    objects = with_foreground(1024, options.first + 500_000)
    made = np.stack([_with_object(*scene, objects, rng) for scene in zip(images, tight, wanted, strict=True)])
    return [{"what": "real objects pasted, another label", "margin": 0, **recognised(made, wanted)}]


def _with_object(
    image: Arrays, box: NDArray[np.bool_], label: int, objects: tuple[NDArray[Any], ...], rng: np.random.Generator
) -> Arrays:
    """A scene without what was in the box, but with an object of the label at the bottom of it."""
    import cv2

    given, covers, labels = objects
    number = rng.choice(np.flatnonzero(labels == label))
    left, top, right, bottom = bounds(covers[number] > 0)
    x0, y0, x1, y1 = bounds(box)
    scale = min(1, (x1 - x0) / (right - left), (y1 - y0) / (bottom - top))
    width, height = max(1, int(scale * (right - left))), max(1, int(scale * (bottom - top)))
    part = slice(top, bottom), slice(left, right)
    colours = np.asarray(Image.fromarray(given[number][part]).resize((width, height), Image.Resampling.LANCZOS))
    weight = np.asarray(Image.fromarray(covers[number][part]).resize((width, height), Image.Resampling.BOX)) / 255
    result = cv2.inpaint(image, box.astype(np.uint8), 3, cv2.INPAINT_TELEA)
    x = (x0 + x1 - width) // 2
    into = result[y1 - height : y1, x : x + width]
    into[:] = np.round(into * (1 - weight[..., None]) + colours * weight[..., None])
    return np.asarray(result)


def inpainted(
    model: Model,
    images: Arrays,
    masks: NDArray[np.bool_],
    labels: Sequence[Prompt],
    how: str,
    kind: type[Inpaint | Edit] = Inpaint,
    **sampling: Any,
) -> Arrays:
    """Scenes (N, H, W, 3) with what is masked (N, H, W) painted anew for these labels or texts."""
    settings = model.settings(painting=True, **sampling)
    coroutines = [
        kind(mask=MaskRequest(weights=mask.astype(np.float32)), label=label, blend=how, sampling=settings).paint(
            model.network, Original(Image.fromarray(image)), index
        )
        for index, (image, mask, label) in enumerate(zip(images, masks, labels, strict=True))
    ]
    return originals(all_done(model, coroutines, "inpaint"))


def seams(model: Model, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Boxes of 16 to 40 pixels at random places, painted anew."""
    images, masks, labels = unseen(min(options.count, 400))
    rng = np.random.default_rng(0)
    masks[:] = False
    for mask in masks:
        width, height = rng.integers(16, 41, 2)
        x, y = rng.integers(0, 65 - width), rng.integers(0, 65 - height)
        mask[y : y + height, x : x + width] = True
    rows, real = [], border_steps(images, masks)
    for name, wanted in (("no label", [None] * len(images)), ("true label", labels.tolist())):
        made = inpainted(model, images, masks, wanted, options.blend)
        step = border_steps(made, masks) / real
        rows.append({"what": f"a box somewhere, {name}", "images": len(made), "border_step_of_real": step})
    return rows


def border_steps(images: Arrays, masks: NDArray[np.bool_]) -> float:
    """The mean absolute difference of neighbours of which one is masked and the other is not, in levels."""
    values = images.astype(float)
    found = []
    for axis in (1, 2):
        across = masks.take(range(1, 64), axis) != masks.take(range(63), axis)
        found.append(np.abs(np.diff(values, axis=axis)).mean(axis=-1)[across])
    return float(np.concatenate(found).mean())


def wider(model: Model, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Scenes continued to three times their width, against the outer eighths of scenes, without their objects."""
    images, boxes, _ = unseen(min(options.count, 200))
    request = model.request(Outpaint, left=64, right=64, blend=options.blend)
    coroutines = [
        request.paint(model.network, Original(Image.fromarray(image)), index) for index, image in enumerate(images)
    ]
    made = originals(all_done(model, coroutines, "outpaint")).astype(float)
    steps = np.abs(np.diff(made, axis=2)).mean(axis=(0, 1, 3))  # by column, left of its neighbour
    between = np.abs(np.diff(images.astype(float), axis=2)).mean(axis=3)
    free = ~(boxes[:, :, 1:] | boxes[:, :, :-1])
    real = ((between * free).sum(axis=(0, 1)) / free.sum(axis=(0, 1)))[[*range(8), *range(55, 63)]]
    borders = [15, 31, 47, 143, 159, 175]
    places = {
        "borders of the image": [63, 127],
        "borders of windows": borders,
        "elsewhere in the paint": [column for column in (*range(63), *range(128, 191)) if column not in borders],
    }
    return [
        {
            "what": f"outpaint, {what}",
            "images": len(made),
            "border_step_of_real": float(steps[columns].mean() / real.mean()),
        }
        for what, columns in places.items()
    ]


def richer(model: Model, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Scenes that lack detail."""
    images, _, _ = unseen(options.count)
    real = embeddings(real_images(4096, start=UNSEEN + 10**6)[0])
    small = [Image.fromarray(image).resize((32, 32), Image.Resampling.BOX) for image in images]
    poor = [image.resize((64, 64), Image.Resampling.BILINEAR) for image in small]
    before = frechet_distance(embeddings(as_judged(np.stack([np.asarray(image) for image in poor]))), real)
    rows = [{"what": "reduced and enlarged", "images": len(poor), "frechet": before}]
    ways: tuple[tuple[str, dict[str, Any]], ...] = (
        ("the defaults", {}),
        ("label guessed", {"guess": True}),
        ("label guessed, two passes", {"guess": True, "passes": 2}),
        ("the paper's way", {"strength": 1, "reduce": True}),
    )
    for name, detail in ways:
        request = model.request(Enrich, **detail)
        coroutines = [request.paint(model.network, Original(image), index) for index, image in enumerate(poor)]
        made = originals(all_done(model, coroutines, "enrich"))
        after = frechet_distance(embeddings(as_judged(made)), real)
        rows.append(
            {
                "what": f"enriched, {name}",
                "images": len(made),
                "frechet": after,
                "frechet_change_%": 100 * (after / before - 1),
            }
        )
    return rows


PARTS: dict[str, Part] = {
    "repaint": repaint,
    "pasted": pasted,
    "seams": seams,
    "outpaint": wider,
    "enrich": richer,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_parts(parser, PARTS)
    parser.add_argument("--count", type=int, default=800, help="scenes (default 800)")
    parser.add_argument(
        "--margin", type=int, nargs="+", default=[0, 4, 8], help="around the object's box, in pixels (default 0 4 8)"
    )
    parser.add_argument("--blend", default="poisson")
    parser.add_argument("--first", type=int, default=0, help="number of the first scene of repaint (default 0)")
    parser.add_argument("--edit-only", action="store_true", help="of repaint, only other labels")
    add_set(parser, "repaint's sampler")
    options = parser.parse_args()
    options.real = options.count
    measure(parser, options, PARTS)


if __name__ == "__main__":
    main()
