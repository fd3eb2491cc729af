"""Note in a model's folder which images it knows: the statistics of images that were held out of its training.

    python scripts/held_out.py models/scenes-64 models/scenes-64-text
    python scripts/held_out.py runs/mine --data photos/

Training notes them by itself; this is for models from before it did. Scenes are the held-out ones of every training on
scenes; of a folder, whose images should be none that the model was trained on, all are used. Only config.yaml and
README.md change.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from bigr_cli import console
from bigr_cli.core.familiarity import FEWEST, held_out_statistics
from bigr_cli.data.loading import all_batches, as_floats
from bigr_cli.data.sources import open_source
from bigr_cli.errors import UsageError
from bigr_cli.files import atomic_write
from bigr_cli.training.data import HELD_OUT
from bigr_cli.zoo.card import with_held_out
from bigr_cli.zoo.config import CARD_FILE, CONFIG_FILE, dump_config
from bigr_cli.zoo.folder import load_model

_BATCH = 32


def note(folder: Path, data: str, count: int) -> None:
    """Compute the statistics of a model folder, and write them into its config and card.

    Raises:
        UsageError: there are too few images.
    """
    model, config = load_model(folder)
    scenes = {"start": HELD_OUT, "count": count} if data == "scenes" else {}
    source = open_source(data, config.image_size, **scenes)
    found = held_out_statistics(model, (as_floats(batch.images) for batch in all_batches(source, _BATCH)))
    if found is None:
        raise UsageError(f"{data}: at least {FEWEST} images are needed")
    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    texts = {CARD_FILE: with_held_out(card, found), CONFIG_FILE: dump_config(replace(config, held_out=found))}
    for name, text in texts.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    console.say(f"{folder}: {found}")


def main() -> None:
    """Note them for every folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--data", default="scenes", metavar="DIR|scenes")
    parser.add_argument("--count", type=int, default=1000, help="scenes")
    options = parser.parse_args()
    for folder in options.folders:
        note(folder, options.data, options.count)


if __name__ == "__main__":
    main()
