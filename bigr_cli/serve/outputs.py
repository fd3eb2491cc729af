"""What a job gives: results, and previews of what is being sampled."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bigr_cli.editing.interpolate_request import Interpolate
from bigr_cli.imaging.files import default_suffix, encode_image
from bigr_cli.imaging.montage import strip, write_film
from bigr_cli.imaging.output_names import fill
from bigr_cli.prompts import name_of
from bigr_cli.recipe import Recipe, command
from bigr_cli.serve.fields import settings_of
from bigr_cli.serve.jobs import Output, Preview
from bigr_cli.serve.orders import MEDIA_TYPES, Asked

if TYPE_CHECKING:
    from PIL.Image import Image

    from bigr_cli.core.held_out import Familiarity
    from bigr_cli.editing.batched_sampling import Iteration
    from bigr_cli.model import Model


_KINDS = {"png": "PNG", "tif": "TIFF"}


def preview(model: Model, seen: Iteration, row: int) -> Preview:
    """The image of one row of a batch, as a PNG file; bits of masked tokens count as undecided."""
    (image,) = model.decode(seen.codes[row : row + 1], seen.masked[row : row + 1])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return Preview(buffer.getvalue(), seen.requests[row].box)


def image_output(
    model: Model,
    recipe: Recipe,
    image: Image,
    stem: str,
    *,
    score: float | None = None,
    familiarity: dict[str, Any] | None = None,
) -> Output:
    """A PNG file, or TIFF for modes that PNG does not hold; `familiarity` as `familiarity_of` gives it."""
    suffix = default_suffix(image.mode).removeprefix(".")
    name = named(stem, suffix)
    data = encode_image(image, _KINDS[suffix], recipe)
    return replace(_output(model, recipe, data, name, score), familiarity=familiarity)


def familiarity_of(model: Model, name: str, made: Any) -> dict[str, Any] | None:
    """How the image called `name`, of which `made` was made, compares with those the model was trained on, in JSON.

    It has a warning if they differ; None where nothing is known.
    """
    found: Familiarity | None = getattr(made, "familiarity", None)
    if found is None:
        return None
    left, windows = getattr(made, "left", 0), getattr(made, "windows", 0)
    warns = found.unfamiliar or left
    return found.described() | (
        {"warning": found.warning(model.name, name, left=left, windows=windows)} if warns else {}
    )


def film_output(
    model: Model,
    task: str,
    wanted: Interpolate,
    values: dict[str, Any],
    asked: Asked,
    frames: Sequence[Image],
    seed: int,
    labels: Sequence[Any],
) -> Output:
    """The frames as a strip or a film."""
    fps, kind = values.get("fps", 8.0), values.get("format", "png")
    names = [name_of(model.config, label) for label in labels]
    stops = names or [upload.name for upload in asked.images]
    said = [str(stop) for stop in values["stops"]] if labels else stops
    given = {one.parameter: values[one.name] for one in settings_of(Interpolate) if one.name in values}
    kept = wanted.recorded(said, fps, given, images=not labels)
    recipe = model.recipe(wanted.sampling, task=task, labels=names, seed=seed, options=kept)
    stem = "-to-".join(stops if labels else [Path(stop).stem for stop in stops])
    name = named(f"{stem}-{seed}", kind)
    if kind == "png":
        data = encode_image(strip(frames), "PNG", recipe)
    else:
        with TemporaryDirectory(prefix="bigr-serve-") as folder:
            path = Path(folder) / f"film.{kind}"
            write_film(path, frames, fps=fps, recipe=recipe)
            data = path.read_bytes()
    found = familiarity_of(model, ", ".join(stops), frames)
    return replace(_output(model, recipe, data, name, None), familiarity=found)


def named(stem: str, suffix: str) -> str:
    """A file's name out of whatever labels are called."""
    return fill("{stem}.{suffix}", {"stem": stem, "suffix": suffix})


def _output(model: Model, recipe: Recipe, data: bytes, name: str, score: float | None) -> Output:
    return Output(
        data=data,
        media_type=MEDIA_TYPES[name.rpartition(".")[2]],
        name=name,
        seed=recipe.seed,
        label=", ".join(recipe.labels) or "none",
        command=command(recipe, model=model.folder or model.name, output=name),
        recipe=recipe.to_dict(),
        score=score,
    )
