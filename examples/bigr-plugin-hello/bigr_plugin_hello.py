"""`bigr palette`: the dominant colours of an image."""

from pathlib import Path
from typing import Annotated

import typer

from bigr_cli import console
from bigr_cli.errors import ImageError
from bigr_cli.options import Json
from bigr_cli.registry import task


@task(
    "palette",
    help="Print the dominant colours of an image.",
    examples=["bigr palette cat.png --colors 3", "bigr palette cat.png --json"],
)
def palette(
    image: Annotated[Path, typer.Argument(help="The image.", metavar="IMG")],
    colors: Annotated[int, typer.Option("--colors", min=1, max=256, metavar="N", help="How many colours.")] = 5,
    json: Json = False,
) -> None:
    """The most frequent colour comes first, each with its share of the image's pixels."""
    for color, share in dominant_colors(image, colors):
        if json:
            console.json_line({"path": image, "task": "palette", "color": color, "share": round(share, 4)})
        else:
            console.result(f"{color}  {share:6.1%}")


def dominant_colors(path: Path, count: int) -> list[tuple[str, float]]:
    """Up to `count` colours as "#rrggbb" with their shares, the largest first; raises ImageError."""
    from PIL import Image  # in the function, so that `bigr --help` does not pay for it

    try:
        with Image.open(path) as opened:
            reduced = opened.convert("RGB").quantize(count)
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error}") from error
    table = reduced.getpalette() or []
    pixels = reduced.width * reduced.height
    found = sorted(reduced.getcolors() or [], reverse=True)
    return [("#{:02x}{:02x}{:02x}".format(*table[3 * index : 3 * index + 3]), n / pixels) for n, index in found]
