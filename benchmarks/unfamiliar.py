"""Whether a model knows what it does not know: images of another kind that are caught, and scenes that are not.

    python benchmarks/unfamiliar.py --scenes 1000 --cost 10
    python benchmarks/unfamiliar.py --images /usr/share/backgrounds stamps/ --most 200 --emoji NotoColorEmoji.ttf

Every image is begun on as `bigr inpaint --mask-box 40%,40%,20%,20% --strict` and as `bigr edit --strict`, which refuse
it or not by the first window that they show the model: one around the box, sampled in two steps, and the whole image.
Scenes are such that no training and no threshold has seen; they are begun on as JPEG files of quality 75 too.
`cost` compares the CPU seconds of inpainting a scene with the defaults, with the look and without it, in turn in one
run.
"""

from __future__ import annotations

import argparse
import io
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from tables import add_record, record, show

from bigr_cli import console
from bigr_cli.data.images import read_image
from bigr_cli.data.scenes import scene
from bigr_cli.editing.batched_sampling import sample_batch
from bigr_cli.editing.requests import Edit, Inpaint
from bigr_cli.errors import BigrError, UnfamiliarError
from bigr_cli.imaging.originals import Original
from bigr_cli.model import Model, load

_KINDS = {".png", ".jpg", ".jpeg", ".webp"}
_SMALLEST = 3000  # bytes of a file: icons of a few pixels are no images to edit
_SEED = 20_261_128  # of scenes that nothing was computed from
_BOX = "40%,40%,20%,20%"
_FEWER = 5  # scenes of other sizes and kinds are a fifth as many
_SYMBOLS = (*range(0x1F300, 0x1F600), *range(0x1F910, 0x1F9E0))
_FILLED = 0.2  # of an emoji's square, or it is an empty glyph


def refused(model: Model, image: Original) -> dict[str, bool]:
    """Whether each task refuses an image."""
    label = 0 if model.labels else "a house"
    found = {}
    for name, request in (
        ("inpaint", model.request(Inpaint, mask_box=[_BOX], strict=True, steps=2, timesteps=2)),
        ("edit", model.request(Edit, label=label, strict=True)),
    ):
        try:
            coroutine = request.for_image(image).paint(model.network, image, 0)
            wanted = next(coroutine)
            if name == "inpaint":
                coroutine.send(sample_batch(model.network, wanted))
            found[name] = False
        except StopIteration:
            found[name] = False
        except UnfamiliarError:
            found[name] = True
    return found


def files(folder: Path, most: int) -> Iterator[Original]:
    """The images of a folder that can be read, at most so many, chosen by chance; one of several sizes of the same."""
    every = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _KINDS and not path.is_symlink())
    large = [path for path in every if path.stat().st_size >= _SMALLEST]
    apart = {path.parent if "contents" in path.parts else path.with_suffix(""): path for path in large}
    chosen = random.Random(0).sample(sorted(apart.values()), min(most, len(apart)))
    for path in chosen:
        try:
            yield read_image(path)
        except BigrError:
            continue


def emoji(font: Path, most: int) -> Iterator[Original]:
    """Drawings of a colour font of 109 pixels, on white."""
    face = ImageFont.truetype(str(font), 109)
    for symbol in random.Random(0).sample(_SYMBOLS, len(_SYMBOLS)):
        image = Image.new("RGB", (136, 128), "white")
        ImageDraw.Draw(image).text((0, 0), chr(symbol), font=face, embedded_color=True)
        blank = image.convert("L").histogram()[255] / (image.width * image.height)
        if blank < 1 - _FILLED and most > 0:
            most -= 1
            yield Original(image)


def scenes(size: int, count: int, *, jpeg: bool = False) -> Iterator[Original]:
    """Fresh scenes."""
    for index in range(count):
        image = scene(_SEED, index, size)[0]
        if jpeg:
            file = io.BytesIO()
            image.save(file, "JPEG", quality=75)
            image = Image.open(file)
        yield Original(image)


def row(model: Model, name: str, images: Iterator[Original]) -> dict[str, Any]:
    """How many of some images each task refuses."""
    found = [refused(model, image) for image in images]
    counts = {task: sum(each[task] for each in found) for task in ("inpaint", "edit")}
    found_here = {"images": name, "count": len(found), **counts}
    console.say(str(found_here))  # it takes a while until all are there
    return found_here


def cost(model: Model, times: int) -> dict[str, Any]:
    """The share of the CPU seconds of inpainting that the look takes."""
    image, usual = scene(_SEED, 0, model.config.image_size)[0], model.network.held_out
    seconds = {True: 0.0, False: 0.0}
    for turn in range(2 * times + 2):
        looks = turn % 2 == 0
        model.network.held_out = usual if looks else None
        begin = time.process_time()
        model.inpaint(image, mask_box=[_BOX], seed=turn // 2)
        if turn >= 2:
            seconds[looks] += time.process_time() - begin
    model.network.held_out = usual
    share = seconds[True] / seconds[False] - 1
    return {"images": "cost of the look", "count": times, "seconds": round(seconds[False] / times, 3), "share": share}


def main() -> None:
    """Look at all, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--images", nargs="*", type=Path, default=[], metavar="DIR")
    parser.add_argument("--most", type=int, default=200, help="of each folder and of the font")
    parser.add_argument("--emoji", type=Path, metavar="FONT")
    parser.add_argument("--scenes", type=int, default=0)
    parser.add_argument("--cost", type=int, default=0, metavar="TIMES")
    parser.add_argument("--json", action="store_true")
    add_record(parser)
    options = parser.parse_args()
    model = load(options.model)
    rows = [row(model, str(folder), files(folder, options.most)) for folder in options.images]
    if options.emoji:
        rows.append(row(model, options.emoji.name, emoji(options.emoji, options.most)))
    if options.scenes:
        size = model.config.image_size
        rows.append(row(model, f"scenes of {size} pixels", scenes(size, options.scenes)))
        fewer = options.scenes // _FEWER
        rows.append(row(model, f"scenes of {2 * size} pixels", scenes(2 * size, fewer)))
        rows.append(row(model, "scenes as JPEG", scenes(size, fewer, jpeg=True)))
    if options.cost:
        rows.append(cost(model, options.cost))
    record(options.record, {"rows": rows})
    show(rows, as_json=options.json)


if __name__ == "__main__":
    main()
