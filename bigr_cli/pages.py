"""HTML pages that need nothing but themselves, from the templates of this package."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from jinja2 import Environment

_SMALLEST = 900  # pixels that an image is enlarged to, at least nearly


@dataclass(frozen=True)
class Shown:
    """An image inside a page: its width and height there in pixels, and PNG in base64."""

    caption: str
    width: int
    height: int
    data: str


def shown(caption: str, image: Image.Image) -> Shown:
    """An image with its caption, a small one enlarged by a whole number."""
    factor = max(1, _SMALLEST // image.width)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Shown(caption, image.width * factor, image.height * factor, data)


def rendered(template: str, **values: Any) -> str:
    """A page from one of the templates; values are escaped unless the template says otherwise."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Path(__file__).parent / "templates"
    return Environment(loader=FileSystemLoader(templates), autoescape=True, undefined=StrictUndefined)
