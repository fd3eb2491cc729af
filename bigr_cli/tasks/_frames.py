"""Where the frames of an interpolation go: files of their own, or together as a film or a strip."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bigr_cli import streams
from bigr_cli.errors import UsageError
from bigr_cli.options.groups import Writing
from bigr_cli.tasks._results import check_stdout

if TYPE_CHECKING:
    from PIL.Image import Image

    from bigr_cli.recipe import Recipe

PATTERN = "{label}-{seed}.png"
FRAMES = "{label}-{seed}-{index:03}.png"


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where the frames go: files of their own, or together as a film or a strip. No path is stdout."""

    paths: "list[Path]"
    shape: Literal["frames", "film", "strip"]
    wanted: bool = True

    @property
    def described(self) -> str:
        if len(self.paths) > 1:
            return str(self.paths[0].parent)
        return str(self.paths[0]) if self.paths else "stdout"


def target_of(writing: Writing, fields: dict[str, str | int], frames: int, *, filmed: bool) -> Target:
    """The files of one interpolation, by --output; UsageError if one is there, or there can be none."""
    from bigr_cli.imaging.files import check_targets
    from bigr_cli.imaging.montage import FILMS
    from bigr_cli.imaging.output_names import STDOUT, fill, is_folder_name, resolve

    if writing.overwrite and writing.skip_existing:
        raise UsageError("--overwrite and --skip-existing exclude each other")
    output = writing.output
    if output == STDOUT:
        check_stdout(json=writing.json)
        return Target(paths=[], shape="strip")
    shape: Literal["frames", "film", "strip"] = "strip"
    if output is not None and ("{index" in output or is_folder_name(output)):
        shape = "frames"
        numbered = [{**fields, "index": index} for index in range(frames)]
        paths = resolve(output, numbered, default=FRAMES) or []
    elif (
        output is not None
        and Path(output).suffix.lower() in FILMS
        and (Path(output).suffix.lower() != ".webp" or filmed)
    ):
        shape, paths = "film", [Path(fill(output, fields))]
    else:
        paths = resolve(output, [{**fields, "index": 0}], default=PATTERN) or []
    wanted = check_targets(paths, overwrite=writing.overwrite, skip_existing=writing.skip_existing)
    return Target(paths=paths, shape=shape, wanted=any(wanted))


def write_frames(
    target: Target, images: "Sequence[Image]", fps: float, recipe: "Recipe | None", *, overwrite: bool
) -> None:
    """Write the frames as the target has them."""
    from bigr_cli.imaging.files import encode_image, write_image
    from bigr_cli.imaging.montage import strip, write_film

    if not target.paths:
        streams.write_stdout(encode_image(strip(images), "PNG", recipe))
    elif target.shape == "film":
        write_film(target.paths[0], images, fps=fps, recipe=recipe, overwrite=overwrite)
    elif target.shape == "strip":
        write_image(target.paths[0], strip(images), recipe=recipe, overwrite=overwrite)
    else:
        for path, image in zip(target.paths, images, strict=True):
            write_image(path, image, recipe=recipe, overwrite=overwrite)
