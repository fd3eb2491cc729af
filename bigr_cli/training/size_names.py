"""The names of sizes, apart from what they stand for: options have them too, which are read at every start."""

from __future__ import annotations

from typing import Literal

SizeName = Literal["nano", "tiny", "small", "base", "bigr-l", "bigr-xl", "bigr-xxl"]
AskedSize = Literal["auto", SizeName]  # what `--size` takes
