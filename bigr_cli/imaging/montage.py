"""Several images as one: contact sheets, GIF and WebP animations, films with a frame rate, the film of a sampling."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bigr_cli.errors import UsageError
from bigr_cli.imaging.files import ANIMATED, kind_of, write_bytes
from bigr_cli.imaging.metadata import embedding
from bigr_cli.recipe import Recipe

_PAPER, _INK = (255, 255, 255), (40, 40, 40)


def grid(
    images: Sequence[Image.Image],
    *,
    columns: int | None = None,
    gap: int = 2,
    labels: Sequence[str] | None = None,
) -> Image.Image:
    """Images side by side, row by row, on white: an RGB image.

    Args:
        images: images; a row is as high as the highest in it, a column as wide as the widest.
        columns: how many in a row; without it about as many as make a square and leave no cell empty.
        gap: pixels between them.
        labels: a text for below each of them, in as many lines as it needs.

    Raises:
        ValueError: there is no image, no column, or not one label for each image.
    """
    if not images or (columns is not None and columns < 1) or gap < 0:
        raise ValueError(f"grid: expected images, columns and a gap, got {len(images)}, {columns} and {gap}")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"labels: expected {len(images)}, one for each image, got {len(labels)}")
    columns = min(len(images), columns or square_columns(len(images)))
    widths = [max(image.width for image in images[column::columns]) for column in range(columns)]
    cells = [image if labels is None else _labelled(image, widths[index % columns], labels[index])
             for index, image in enumerate(images)]  # fmt: skip
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in row) for row in rows]
    sheet = Image.new("RGB", (sum(widths) + gap * (columns - 1), sum(heights) + gap * (len(rows) - 1)), _PAPER)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for cell, width in zip(row, widths, strict=False):
            sheet.paste(cell, (left + (width - cell.width) // 2, top))
            left += width + gap
        top += height + gap
    return sheet


def square_columns(count: int) -> int:
    """The columns of a sheet of `count` images: at most three times as many as rows, with the fewest empty cells."""
    side = math.isqrt(max(0, count - 1)) + 1
    return min(range(side, max(side, math.isqrt(3 * count)) + 1), key=lambda columns: (-count % columns, columns))


def _labelled(image: Image.Image, width: int, label: str) -> Image.Image:
    """The image above its label, in a cell of its own."""
    size = min(48, max(10, width // 12))
    font = ImageFont.load_default(size)
    lines = _wrapped(label, lambda text: font.getlength(text) <= width)
    cell = Image.new("RGB", (width, image.height + size // 2 + len(lines) * (size + size // 4)), _PAPER)
    cell.paste(image, ((width - image.width) // 2, 0))
    draw = ImageDraw.Draw(cell)
    for number, line in enumerate(lines):
        left = max(0, (width - font.getlength(line)) / 2)
        draw.text((left, image.height + size // 8 + number * (size + size // 4)), line, fill=_INK, font=font)
    return cell


def _wrapped(text: str, fits: Callable[[str], bool]) -> list[str]:
    """The lines of a text, broken between words, and inside those that are too long for any line."""
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if fits(joined):
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if lines[-1] and not fits(lines[-1] + letter):
                lines.append("")
            lines[-1] += letter
    return lines


FILMS = (".gif", ".webp", ".mp4")
_SLOWEST, _FASTEST = 0.1, 120.0  # frames a second that every kind can say
_FASTEST_GIF = 50  # frames a second; viewers slow down what is faster
_SMALLEST = 256  # pixels along the shorter side of a film, so that players show more than a stamp
_BT709 = 1  # its number in FFmpeg's lists, for the range the one for "limited"
_QUALITY = "16"  # x264's constant rate factor: hardly to be told from lossless
MOST = 64  # images in one animation
_GREY, _VEIL = 128, 0.8
_FRAME, _LAST = 200, 2000  # milliseconds


def encode_animation(
    frames: Sequence[Image.Image], durations: Sequence[int], kind: str, recipe: Recipe | None = None
) -> bytes:
    """The bytes of an animation that repeats for ever.

    Args:
        frames: RGB images of one size.
        durations: how long each is shown, in milliseconds.
        kind: "GIF" or "WEBP".
        recipe: what to record in the file.

    Raises:
        ValueError: there is no frame, or not one duration for each.
    """
    if not frames or len(frames) != len(durations):
        raise ValueError(f"durations: expected one for each of at least one frame, got {len(durations)}")
    carried = embedding(kind, recipe.to_json()) if recipe else {}
    saving = {"lossless": True} if kind == "WEBP" else {"disposal": 1}
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        kind,
        save_all=True,
        append_images=list(frames[1:]),
        duration=list(durations),
        loop=0,
        **saving,
        **carried,
    )
    return buffer.getvalue()


def write_animation(
    path: Path,
    frames: Sequence[Image.Image],
    durations: Sequence[int],
    *,
    recipe: Recipe | None = None,
    overwrite: bool = False,
) -> None:
    """Write an animation as .gif or .webp; errors as `write_bytes`, and UsageError for another suffix."""
    kind = kind_of(path, ANIMATED)
    write_bytes(path, encode_animation(frames, durations, kind, recipe), overwrite=overwrite)


def strip(frames: Sequence[Image.Image], *, gap: int = 0) -> Image.Image:
    """The frames side by side in one row."""
    return grid(frames, columns=len(frames), gap=gap)


def write_film(
    path: Path,
    frames: Sequence[Image.Image],
    *,
    fps: float,
    recipe: Recipe | None = None,
    overwrite: bool = False,
) -> None:
    """Write a film as .gif, .webp or .mp4; the first two repeat for ever.

    Args:
        path: the file.
        frames: RGB images of one size.
        fps: frames a second.
        recipe: what to record in the file.
        overwrite: replace a file that is there.

    Raises:
        UsageError: another suffix, a number of frames a second that the kind cannot show, or the file exists.
        ValueError: there is no frame, or they differ in size.
    """
    if len({frame.size for frame in frames}) != 1:
        raise ValueError("frames: expected at least one, all of one size")
    if not _SLOWEST <= fps <= _FASTEST:
        raise UsageError(f"fps: expected {_SLOWEST:g} to {_FASTEST:g} frames a second, got {fps}")
    suffix = path.suffix.lower()
    if suffix not in FILMS:
        raise UsageError(f"{path}: a film ends with {', '.join(FILMS)}")
    if suffix == ".gif" and fps > _FASTEST_GIF:
        raise UsageError(f"{path}: a GIF shows at most {_FASTEST_GIF} frames a second, not {fps:g}")
    large = [_enlarged(frame) for frame in frames]
    if suffix == ".mp4":
        data = _encoded(large, fps, recipe)
    else:
        tick = 10 if suffix == ".gif" else 1  # milliseconds; GIF counts hundredths of a second
        ends = [tick * round(1000 * (index + 1) / fps / tick) for index in range(len(frames))]
        durations = [end - start for start, end in zip([0, *ends], ends, strict=False)]
        data = encode_animation(large, durations, "GIF" if suffix == ".gif" else "WEBP", recipe)
    write_bytes(path, data, overwrite=overwrite)


def _encoded(frames: Sequence[Image.Image], fps: float, recipe: Recipe | None) -> bytes:
    """An MP4 file: H.264 where this build of FFmpeg has it, otherwise MPEG-4."""
    import av
    from av.video.reformatter import ColorRange, Colorspace

    with TemporaryDirectory() as folder:  # FFmpeg reads the file again, to put its index in front
        path = Path(folder) / "film.mp4"
        with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
            if recipe is not None:
                container.metadata["comment"] = recipe.to_json()
            better = "libx264" in av.codecs_available
            stream = container.add_stream("libx264" if better else "mpeg4", rate=Fraction(fps).limit_denominator(1000))
            stream.width, stream.height = (side + side % 2 for side in frames[0].size)
            stream.pix_fmt = "yuv420p"
            codec = stream.codec_context  # what is not said, players guess, and not all alike
            codec.colorspace = codec.color_primaries = codec.color_trc = codec.color_range = _BT709
            stream.options = {"crf": _QUALITY} if better else {"qmin": "2", "qmax": "2"}
            for frame in frames:
                pixels = np.asarray(frame.convert("RGB"))
                even = np.pad(pixels, ((0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0)), mode="edge")
                image = av.VideoFrame.from_ndarray(even, format="rgb24")
                image = image.reformat(
                    format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
                )
                container.mux(stream.encode(image))
            container.mux(stream.encode())
        return path.read_bytes()


def _enlarged(frame: Image.Image) -> Image.Image:
    factor = -(-_SMALLEST // min(frame.size))
    return (
        frame if factor == 1 else frame.resize((frame.width * factor, frame.height * factor), Image.Resampling.NEAREST)
    )


class SamplingFilm:
    """Collects the states of images, and joins those of one iteration to a frame."""

    def __init__(self, *, columns: int | None = None) -> None:
        self._columns = columns
        self._states: dict[int, dict[int, Image.Image]] = {}  # by iteration, then by image

    def add(self, iteration: int, index: int, image: Image.Image, masked: NDArray[np.bool_]) -> None:
        """The state of image `index` after an iteration; `masked` (h, w) says which tokens are masked."""
        self._states.setdefault(iteration, {})[index] = veiled(image, masked)

    def frames(self) -> tuple[list[Image.Image], list[int]]:
        """The frames, and for how many milliseconds each is shown."""
        sheets = []
        for _, state in sorted(self._states.items()):
            images = [image for _, image in sorted(state.items())]
            sheets.append(_enlarged(grid(images, columns=self._columns or square_columns(len(images)))))
        return sheets, [_FRAME] * (len(sheets) - 1) + [_LAST]


def veiled(image: Image.Image, masked: NDArray[np.bool_]) -> Image.Image:
    """The image with grey over the tokens (h, w) that are masked."""
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    cells = Image.fromarray(masked.astype(np.uint8)).resize(image.size, Image.Resampling.NEAREST)
    share = _VEIL * np.asarray(cells, dtype=np.float32)[..., None]
    return Image.fromarray((pixels * (1 - share) + _GREY * share).round().astype(np.uint8))
