"""The memory of drawing a model with random weights: one image, or many one after the other.

    python benchmarks/memory.py --dtypes float32 bfloat16 int8      # an image, two iterations, in each format
    python benchmarks/memory.py --images 200 --dtypes bfloat16    # so many images against ten

"resident" is all that the system counts, with the pages of mapped files, and "own" what it cannot take back; see
`published.py`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import published
import torch
from tables import show

from bigr_cli.core.network import Generator
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.runtime import device
from bigr_cli.runtime.tensor_headers import read_header
from bigr_cli.zoo.config import GENERATOR_FILE, TOKENIZER_FILE, ModelConfig, read_config
from bigr_cli.zoo.find import find_model
from bigr_cli.zoo.folder import save_model


def _write(card: ModelConfig, folder: Path, dtype: torch.dtype, seed: int) -> None:
    """A model with random weights."""
    with torch.device("meta"):
        parts = Tokenizer(card.tokenizer), Generator(card.generator)
    save_model(folder, card, *(published.random_state(part, seed) for part in parts), dtype=dtype)


def _stored(options: argparse.Namespace, stored: str, dtype: str, place: Path) -> tuple[Path, int]:
    """A folder of the model with random weights, stored in that format, and how many bytes they have in use."""
    folder, kind = place / f"{stored}-{dtype}", getattr(torch, stored)
    card = read_config(find_model(options.model))
    published.apart(_write, card, folder, kind, options.seed)
    tokenizer, generator = (
        sum(tensor.count for tensor in read_header(folder / name).values()) for name in (TOKENIZER_FILE, GENERATOR_FILE)
    )
    return folder, tokenizer * 4 + generator * torch.zeros((), dtype=getattr(torch, dtype)).element_size()


def memory(options: argparse.Namespace) -> list[dict[str, object]]:
    """What a process takes that draws one image: a row for each format, and how the model is stored."""
    rows: list[dict[str, object]] = []
    # It leaves without cleaning up, in which torch's libraries would take more than all else.
    bare = published.run([sys.executable, "-c", "import os, torch; torch.ones(9) @ torch.ones(9); os._exit(0)"])
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        for dtype, stored in [(each, kind) for each in options.dtypes for kind in sorted({"float32", each} - {"int8"})]:
            folder, size = _stored(options, stored, dtype, Path(place))
            words = [folder, 2, 2, dtype, Path(place) / "image.png"]
            done = published.run([sys.executable, "-c", published.DRAWING, *words])
            taken = max(done.resident - bare.resident, 0)
            rows.append(
                {
                    "dtype": dtype,
                    "stored in": stored,
                    "weights GB": size / 1e9,
                    "resident GB": done.resident / 1e9,
                    "own GB": done.own / 1e9,
                    "Python and torch GB": bare.resident / 1e9,
                    "without them, of the weights": taken / size,
                }
            )
    return rows


def images(options: argparse.Namespace) -> list[dict[str, object]]:
    """Rows for ten images and for `--images` of them, one after the other, in the first of the formats."""
    dtype, rows = options.dtypes[0], list[dict[str, object]]()
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        folder, _ = _stored(options, "float32", dtype, Path(place))
        for count in (10, options.images):
            once = ["--steps", 1, "--timesteps", 1, "--guidance", 1, "--batch-size", 1]
            cheap = [*once, "--dtype", dtype, "--device", "cpu"]
            output = Path(place) / str(count)
            done = published.run([*published.BIGR, "generate", "207", "-m", folder, "-n", count, "-o", output, *cheap])
            peaks = {"resident GB": done.resident / 1e9, "own GB": done.own / 1e9}
            rows.append({"dtype": dtype, "images": len(list(output.iterdir())), "seconds": done.seconds, **peaks})
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bigr-l-d24", help="whose architecture (default bigr-l-d24)")
    parser.add_argument("--dtypes", nargs="+", choices=device.DTYPES, default=["float32"], metavar="NAME")
    parser.add_argument("--images", type=int, metavar="N", help="of so many images, and of ten; the first format")
    parser.add_argument("--seed", type=int, default=0, help="of the weights (default 0)")
    parser.add_argument("--place", type=Path, help="where models go; a temporary folder")
    parser.add_argument("--json", action="store_true", help="print a JSON object a row instead of a table")
    options = parser.parse_args()
    show((images if options.images else memory)(options), as_json=options.json)


if __name__ == "__main__":
    main()
