"""Frames as a strip or as a film: GIF, WebP or MP4."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from bigr_cli.errors import UsageError
from bigr_cli.imaging.animation import encode_animation
from bigr_cli.imaging.files import write_bytes
from bigr_cli.imaging.grids import grid
from bigr_cli.recipe import Recipe

FILMS = (".gif", ".webp", ".mp4")
_SLOWEST, _FASTEST = 0.1, 120.0  # frames a second that every kind can say
_FASTEST_GIF = 50  # frames a second; viewers slow down what is faster
_SMALLEST = 256  # pixels along the shorter side of a film, so that players show more than a stamp
_BT709 = 1  # its number in FFmpeg's lists, for the range the one for "limited"
_QUALITY = "16"  # x264's constant rate factor: hardly to be told from lossless


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
        frames: RGB pictures of one size.
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
    with TemporaryDirectory() as folder:  # FFmpeg reads the file again, to put its index in front
        path = Path(folder) / "film.mp4"
        _encode(path, frames, fps, recipe)
        return path.read_bytes()


def _encode(path: Path, frames: Sequence[Image.Image], fps: float, recipe: Recipe | None) -> None:
    import av
    from av.video.reformatter import ColorRange, Colorspace

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
            picture = av.VideoFrame.from_ndarray(even, format="rgb24")
            picture = picture.reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _enlarged(frame: Image.Image) -> Image.Image:
    factor = -(-_SMALLEST // min(frame.size))
    return (
        frame if factor == 1 else frame.resize((frame.width * factor, frame.height * factor), Image.Resampling.NEAREST)
    )
