"""What `bigr evaluate generation` is asked for, checked before a model is loaded or an image sampled."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bigr_cli import options
from bigr_cli.errors import UsageError
from bigr_cli.evaluation.metrics import GENERATION, choices
from bigr_cli.options import argument, option
from bigr_cli.options.groups import Sampling
from bigr_cli.tasks._given import config_of
from bigr_cli.tasks._measuring import EVALUATION, EvaluatorOptions, Sweep, swept

if TYPE_CHECKING:
    from bigr_cli.core.config import SamplingConfig
    from bigr_cli.editing.generate import Job
    from bigr_cli.evaluation.generation import Comparison
    from bigr_cli.evaluation.image_sets import ImageSet
    from bigr_cli.evaluation.preflight import Point

Words = Annotated[
    list[str] | None,
    argument(
        "[DIR] [SETTING=VALUES]...",
        "A folder of generated images; without one they are sampled. More settings for --sweep.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Comparing:
    """What is compared, and by which figures."""

    reference: Annotated[
        str | None,
        option(
            "--reference",
            "Real images: a folder, scenes, or .npz. That has mu and sigma, or arr_0; torch-fidelity's .pt too.",
            options.INPUT,
            metavar="DIR|scenes|FILE",
        ),
    ] = None
    reference_count: Annotated[
        int | None,
        option(
            "--reference-count",
            "How many of them. Without it all of a folder, or 10000 scenes.",
            options.INPUT,
            min=1,
            metavar="N",
        ),
    ] = None
    metrics: Annotated[
        str | None,
        option(
            "--metrics",
            f"Which figures, such as fid,kid. Some of {choices(GENERATION)}; without it, all that can be had.",
            EVALUATION,
            metavar="LIST",
        ),
    ] = None
    resize: Annotated[
        int | None,
        option(
            "--resize",
            "Crop the middle square of every image, and scale it to N × N. Without it, images of two "
            "sizes are an error.",
            options.INPUT,
            min=1,
            max=4096,
            metavar="N",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """Which images are sampled, and which files are written of them."""

    count: Annotated[
        int | None,
        options.count(
            "How many images to sample; 10000 if not given. Or how many of DIR to take.", options.MODEL, most=1_000_000
        ),
    ] = None
    seed: Annotated[int, options.seed("Image i has the seed N + i; 0.", options.MODEL, show_default=False)] = 0
    sweep: Sweep = None
    npz: Annotated[
        Path | None,
        option("--npz", "Write the samples as ADM's evaluator reads them (arr_0).", options.OUTPUT, metavar="FILE"),
    ] = None
    statistics: Annotated[
        Path | None,
        option(
            "--statistics",
            "Write the features' statistics, which --reference reads. They are mean and covariance (mu, sigma).",
            options.OUTPUT,
            metavar="FILE",
        ),
    ] = None


@dataclass(frozen=True)
class Plan:
    """Everything that is known before a model is loaded."""

    comparison: "Comparison"
    images: "ImageSet | None"
    jobs: "list[Job]"
    settings: "list[tuple[Point, SamplingConfig]]"


def planned(
    words: list[str],
    model: str | None,
    *,
    comparing: Comparing,
    evaluating: EvaluatorOptions,
    sample_options: SampleOptions,
    sampling: Sampling,
    overwrite: bool,
) -> Plan:
    """What is to be done; UsageError and its kinds for whatever cannot be."""
    folder, sweep = _sorted(words, sample_options)
    files = _files(sample_options, overwrite=overwrite)
    _refuse_early(folder, comparing, evaluating, sample_options)
    from bigr_cli.evaluation.generation import open_comparison

    images: ImageSet | None = None
    jobs: list[Job] = []
    settings: list[tuple[Point, SamplingConfig]] = []
    if folder is None:
        jobs, settings, size = _to_sample(model, sweep, sample_options, sampling)
        what, count = "samples", len(jobs)
    else:
        images = _given(folder, sweep, model, sample_options, comparing, sampling)
        what, count, size = images.what, images.count, (images.width, images.height)
    if files and len(settings) > 1:
        raise UsageError("--npz and --statistics are for one set of samples, and a sweep samples several")
    comparison = open_comparison(
        (what, count),
        size,
        reference=comparing.reference,
        reference_count=comparing.reference_count,
        metrics=comparing.metrics,
        resize=comparing.resize,
        evaluator=evaluating.evaluator(),
        statistics=sample_options.statistics,
        npz=sample_options.npz,
    )
    return Plan(comparison, images, jobs, settings)


def _refuse_early(
    folder: str | None, comparing: Comparing, evaluating: EvaluatorOptions, sample_options: SampleOptions
) -> None:
    """Raise UsageError for what needs no torch to be seen."""
    from bigr_cli.data.sources import SCENES
    from bigr_cli.evaluation.image_sets import plain_folder, refuse_sizes
    from bigr_cli.evaluation.preflight import refuse_weights

    folders = plain_folder(folder), plain_folder(comparing.reference)
    if comparing.resize is None:
        refuse_sizes(*folders)
    needed = comparing.reference not in (None, SCENES) and Path(str(comparing.reference)).expanduser().exists()
    asked = evaluating.features is not None or evaluating.fetch_weights
    refuse_weights(evaluating.weights, inception=needed and not asked)


def _sorted(words: list[str], sample_options: SampleOptions) -> tuple[str | None, list[str]]:
    """The folder among the words, if there is one, and the settings of the sweep."""
    from bigr_cli.evaluation.preflight import is_setting

    more = [word for word in words if is_setting(word)]
    folders = [word for word in words if not is_setting(word)]
    if more and not sample_options.sweep:
        raise UsageError(f"{more[0]}: values to try follow --sweep")
    if len(folders) > 1:
        raise UsageError(f"expected one folder of generated images, got {', '.join(folders)}")
    return folders[0] if folders else None, [*(sample_options.sweep or ()), *more]


def _files(sample_options: SampleOptions, *, overwrite: bool) -> list[Path]:
    """The files that are to be written, which can be."""
    from bigr_cli.imaging.files import check_targets

    files = [path.expanduser() for path in (sample_options.npz, sample_options.statistics) if path is not None]
    for path in files:
        if path.suffix.lower() != ".npz":
            raise UsageError(f"{path}: expected a name that ends in .npz")
    check_targets(files, overwrite=overwrite)
    return files


def _to_sample(
    model: str | None, sweep: list[str], sample_options: SampleOptions, sampling: Sampling
) -> "tuple[list[Job], list[tuple[Point, SamplingConfig]], tuple[int, int]]":
    """The images, the settings of every point of the sweep, and the images' size."""
    from bigr_cli.evaluation.generation import COUNT
    from bigr_cli.evaluation.samples import balanced

    config = config_of(model)
    tried, size = swept(config, sampling, sweep), (config.image_size, config.image_size)
    return balanced(config, sample_options.count or COUNT, sample_options.seed), tried, size


def _given(
    folder: str,
    sweep: list[str],
    model: str | None,
    sample_options: SampleOptions,
    comparing: Comparing,
    sampling: Sampling,
) -> "ImageSet":
    """The images of a folder; UsageError if settings are given that only sampling has."""
    from bigr_cli.evaluation.image_sets import folder as images_of

    set_ = list(sampling.given)
    if sweep or set_ or sample_options.seed:
        option = "sweep" if sweep else set_[0].replace("_", "-") if set_ else "seed"
        raise UsageError(f"--{option} is about images that are sampled, but {folder} holds images already")
    return images_of(folder, count=sample_options.count, resize=comparing.resize)
