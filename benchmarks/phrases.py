"""Whether images show what phrases ask for that people type: synonyms, plurals, fillers, other orders of the words.

    python benchmarks/phrases.py                          # the phrases of the tests, 4 images of each
    python benchmarks/phrases.py --count 8 --grid phrases.png

Those that `scenes-64-text` reads (`tests/phrases.jsonl`) are generated with `--preset fast`; the evaluation classifier
here, which no training has seen, says what the images show. "right" is the share of images that show the
object, colour, ground and time that the phrase names; beside it, the share with the phrase given to the network
as it was typed, past the reading.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from judging import answers
from PIL.Image import Image
from tables import show

import bigr_cli
from bigr_cli import console
from bigr_cli.core.sampler import sample
from bigr_cli.data.loading import as_floats
from bigr_cli.errors import UsageError
from bigr_cli.imaging.arrays import to_images
from bigr_cli.prompts import prompt_of
from bigr_cli.vocabulary import Vocabulary, tokens
from bigr_cli.zoo.presets import sampling_settings

PHRASES = Path(__file__).resolve().parents[1] / "tests" / "phrases.jsonl"
QUESTIONS = {"objects": "object", "colors": "color", "grounds": "ground", "times": "time"}


def asked(text: str, vocabulary: Vocabulary) -> dict[str, str]:
    """What a text in the model's words names, by the classifier's questions."""
    words, found, place = tokens(text), dict[str, str](), 0
    while place < len(words):
        sizes = [size for size in range(4, 0, -1) if words[place : place + size] in vocabulary.meanings]
        if sizes:
            kind, name, _ = vocabulary.meanings[words[place : place + sizes[0]]]
            found[QUESTIONS[kind]] = name
        place += sizes[0] if sizes else 1
    return found


def right(codes: torch.Tensor, model: bigr_cli.Model, wanted: list[dict[str, str]]) -> tuple[list[bool], list[Image]]:
    """Whether the images of codes show what is wanted of each, and the images."""
    pixels = model.tokenizer.decode(codes).float().clamp(0, 1)
    images = (pixels * 255).round().to(torch.uint8)
    seen = answers(images)
    from judging import load_judge

    names = load_judge().answers
    hits = [all(names[q][int(seen[q][n])] == name for q, name in each.items()) for n, each in enumerate(wanted)]
    return hits, to_images(as_floats(images))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="scenes-64-text")
    parser.add_argument("--count", type=int, default=4, help="images of each phrase (default 4)")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--grid", type=Path, help="a sheet of the images, a row a phrase")
    parser.add_argument("--json", action="store_true", help="print a JSON object a row instead of a table")
    options = parser.parse_args()
    console.configure(quiet=True)
    model = bigr_cli.load(options.model)
    settings = sampling_settings(model.config, {"preset": options.preset})
    vocabulary = model.config.vocabulary
    if vocabulary is None:
        parser.error(f"{options.model} has no vocabulary")
    rows, sheet, refused = list[dict[str, Any]](), list[Image](), 0
    totals: dict[str, list[float]] = defaultdict(list)
    seeds = torch.arange(options.count)
    for line in map(json.loads, PHRASES.read_text(encoding="utf-8").splitlines()):
        try:
            with console.unheard():
                read = prompt_of(model.config, line["text"])
        except UsageError:
            refused += 1
            continue
        wanted = asked(str(read), vocabulary)
        row = {"kind": line["kind"], "phrase": line["text"], "read": read}
        for column, text in (("right", read), ("as typed", line["text"])):
            with torch.inference_mode():
                conditions = model.network.conditions([text] * options.count)
                codes = sample(model.generator, conditions, seeds, settings)
            hits, images = right(codes, model, [wanted] * options.count)
            row[column] = sum(hits) / len(hits)
            totals[column].append(row[column])
            sheet += images if column == "right" else []
        rows.append(row)
    rows.append(
        {"kind": f"all {len(rows)}", "phrase": f"{refused} others refused", "read": ""}
        | {column: sum(found) / len(found) for column, found in totals.items()}
    )
    show(rows, as_json=options.json)
    if options.grid:
        from bigr_cli.imaging.montage import grid

        grid(sheet, columns=options.count).save(options.grid)


if __name__ == "__main__":
    main()
