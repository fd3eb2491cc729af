"""`bigr evaluate text`: whether images show what texts ask for."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bigr_cli import console, options
from bigr_cli.errors import UsageError
from bigr_cli.options import option
from bigr_cli.options.groups import Machine, Messages, Sampling, grouped
from bigr_cli.progress import progress_bar
from bigr_cli.registry import UNDERSTAND, task
from bigr_cli.tasks._given import config_of
from bigr_cli.tasks._measuring import EVALUATION, Sweep, loaded, swept

if TYPE_CHECKING:
    from bigr_cli.evaluation.agreement import Captions, LoadedEvaluator
    from bigr_cli.evaluation.samples import Samples
    from bigr_cli.zoo.config import ModelConfig

TASK = "evaluate text"
COUNT = 1000
SCENES = "scenes"


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Which texts, and what evaluates the images."""

    captions: Annotated[
        str, option("--captions", "Captions of scenes, or a text a line.", options.INPUT, metavar="scenes|FILE")
    ] = SCENES
    count: Annotated[
        int | None,
        options.count(
            f"Scenes of each kind ({COUNT} if not given), or the first texts of FILE.", options.INPUT, most=100_000
        ),
    ] = None
    seed: Annotated[int, options.seed("Of scenes and images.", options.MODEL, most=2**31)] = 0
    sweep: Sweep = None
    clip: Annotated[
        str | None,
        option(
            "--clip",
            "Evaluate with this CLIP of transformers. Without it, by the classifier of scenes; a commit pins it.",
            EVALUATION,
            metavar="NAME[@REVISION]|DIR",
        ),
    ] = None


@task(
    TASK,
    panel=UNDERSTAND,
    help="Measure whether images show what texts ask for.",
    examples=(
        "bigr evaluate text -m scenes-64-text",
        "bigr evaluate text -m scenes-64-text --sweep guidance=1,2,4 -n 500 --json",
        "bigr evaluate text -m my-model --captions texts.txt --clip openai/clip-vit-base-patch32",
    ),
)
@grouped
def text(
    model: options.Model = None,
    json: options.Json = False,
    *,
    asking: Asking,
    sampling: Sampling,
    machine: Machine,
    messages: Messages,
) -> None:
    """Of scenes, the shipped classifier says which object, colour, ground and time of day it sees.

    Pairs of a colour and an object that a model's training has left out are asked for too, apart from the others.

    A run that was stopped goes on where it was when it is started again.
    """
    from bigr_cli.editing.generate import plan
    from bigr_cli.evaluation.agreement import ALL, CLIP, QUESTIONS, clip_evaluator, find_clip, scenes_evaluator
    from bigr_cli.evaluation.samples import samples_of
    from bigr_cli.prompts import reads_text

    config = config_of(model)
    if not reads_text(config):
        raise UsageError(f"{config.name} knows classes and reads no texts", hint="bigr evaluate generation measures it")
    settings = swept(config, sampling, asking.sweep or [])
    kinds = _captions(config, asking)
    network = loaded(model, machine)
    evaluator_name = SCENES
    if asking.clip:
        folder, evaluator_name = find_clip(asking.clip)
        evaluator: LoadedEvaluator = clip_evaluator(folder, network.device)
    else:
        evaluator = scenes_evaluator(network.device)
    records: list[dict[str, Any]] = []
    kept: list[Samples] = []
    for point, chosen in settings:
        for captions in kinds:
            began = time.perf_counter()
            jobs = plan(config, captions.texts, seed=asking.seed)
            samples = samples_of(network, jobs, chosen, machine.batch_size)
            kept.append(samples)
            with progress_bar(len(jobs), f"sampling {captions.kind}") as bar:
                figures = evaluator(captions, samples.images(), bar.advance)
            record = {
                "task": TASK,
                "model": network.name,
                "point": point,
                "captions": captions.kind,
                "count": len(jobs),
            }
            rounded = {name: round(value, 6) for name, value in figures.items()}
            record |= {**rounded, "judge": evaluator_name, "seed": asking.seed}
            records.append(record | {"seconds": round(time.perf_counter() - began, 3)})
            if json:
                console.json_line({**records[-1], "sampling": vars(chosen)})
    if not json:
        _show(records, [CLIP] if asking.clip else [*QUESTIONS, ALL])
    for samples in kept:
        samples.discard()


def _show(records: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    from bigr_cli.evaluation.agreement import CLIP

    tried = list(records[0]["point"])
    rows = [
        [*(str(each["point"][name]) for name in tried), each["captions"], str(each["count"])]
        + [f"{each[name]:.2f}" if name == CLIP else f"{100 * each[name]:.1f} %" for name in columns]
        for each in records
    ]
    console.table([*tried, "captions", "images", *columns], rows)


def _captions(config: "ModelConfig", asking: Asking) -> "list[Captions]":
    """The texts, checked against the evaluator."""
    from bigr_cli.data.sources import color_and_label
    from bigr_cli.evaluation.agreement import file_captions, scene_captions

    if asking.captions != SCENES:
        if asking.clip is None:
            raise UsageError(
                "texts of one's own need an evaluator", hint="--clip openai/clip-vit-base-patch32, or a folder"
            )
        found = file_captions(Path(asking.captions).expanduser())
        return [replace(each, texts=each.texts[: asking.count]) for each in found]
    if asking.clip is None and config.image_size % 16:
        raise UsageError(
            f"the classifier of scenes sees sizes that 16 divides, and {config.name} has {config.image_size}"
        )
    apart = frozenset(map(color_and_label, config.provenance.without))
    return scene_captions(asking.count or COUNT, asking.seed, apart)
