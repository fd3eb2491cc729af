"""The small models of the comparisons: `generator.yaml` and `tokenizer.yaml`, with what a comparison changes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from work import Work, merged

from bigr_cli import yaml_text

# How they are drawn from: models that have learned so little draw empty scenes, all alike, in the order of entropy.
SAMPLING = {"order": "halton", "guidance": 2.0}

_HERE = Path(__file__).resolve().parent


def generator(
    work: Work,
    name: str,
    changes: Mapping[str, Any],
    *,
    seed: int,
    steps: int | None = None,
    file: str = "generator.yaml",
) -> tuple[str, float]:
    """The folder of a trained generator, and the processor's seconds that its training took.

    Its images are encoded before, in a training of one step, so that they count in no training's time.

    Args:
        changes: laid over what is in the file.
        seed: of the weights, masks and noise; the images are the same for all.
        steps: instead of those in the file.
        file: with the settings, beside this module.
    """
    base = yaml_text.read_mapping(_HERE / file)
    source = {key: changes[key] for key in ("tokenizer",) if key in changes}
    work.trained("generator", f"codes-of-{Path(file).stem}", merged(base, source, {"run": {"steps": 1}}))
    return work.trained("generator", name, merged(base, changes, _run(seed, steps)))


def tokenizer(work: Work, name: str, changes: Mapping[str, Any], *, seed: int, steps: int | None) -> tuple[str, float]:
    """The same of a tokenizer."""
    base = yaml_text.read_mapping(_HERE / "tokenizer.yaml")
    return work.trained("tokenizer", name, merged(base, changes, _run(seed, steps)))


def _run(seed: int, steps: int | None) -> dict[str, Any]:
    return {"run": {"seed": seed} | ({} if steps is None else {"steps": steps})}
