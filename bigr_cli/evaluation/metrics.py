"""The metrics of generation and of reconstruction, a row each.

What `--metrics` takes, its help, what is checked, what is computed, the columns of tables and reports and the keys of
`--json` follow from the row. torch and torch-fidelity are imported when a metric is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from bigr_cli.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from bigr_cli.evaluation.statistics import Statistics
    from bigr_cli.evaluation.tokenizers import Pairs, Seen

ARROWS = {"lower": " ↓", "higher": " ↑", "": ""}


@dataclass(frozen=True)
class Column:
    """A figure: its key in records, its name, its short name, and which way is better.

    `percent` shows it as a share, `shown` in tables, `plotted` in the plots of a sweep.
    """

    key: str
    name: str
    short: str
    better: Literal["lower", "higher", ""] = ""
    percent: bool = False
    shown: bool = True
    plotted: bool = True

    @property
    def heading(self) -> str:
        """The short name with an arrow towards better."""
        return self.short + ARROWS[self.better]

    def cell(self, figures: Mapping[str, Any]) -> str:
        """The figure of a record as text, a dash where it was not measured."""
        value = figures.get(self.key)
        if value is None:
            return "–"
        return f"{100 * value:.1f} %" if self.percent else f"{value:.4g}"

    def best(self, records: Sequence[Mapping[str, Any]]) -> set[int]:
        """The places of the records that have the best value; none where no way is better, or one was not measured."""
        values = [record.get(self.key) for record in records]
        if not self.better or len(values) < 2 or None in values:
            return set()
        wanted = min(values) if self.better == "lower" else max(values)  # type: ignore[type-var]
        return {place for place, value in enumerate(values) if value == wanted}


@dataclass(frozen=True)
class Metric:
    """What both kinds have.

    Attributes:
        name: what `--metrics` takes.
        help: what it is, in a few words.
        columns: its figures.
    """

    name: str
    help: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class GenerationMetric(Metric):
    """A metric of samples, from features that a network extracts.

    Attributes:
        key: what torch-fidelity calls it.
        features: the metric of torch-fidelity's whose default features it takes.
        needs: what of a reference: nothing, its mean and covariance, or the features of its images.
        fewest: images without which it cannot be computed.
        honest: images below which it is biased by their number; 0 where it is not.
        compute: (N, D) features of samples, and those of the reference or their statistics → figures by column.
        settings: of torch-fidelity's, by the number of samples and of reference images, for the record.
    """

    key: str
    features: str
    needs: Literal["nothing", "statistics", "features"]
    fewest: int
    honest: int
    compute: Callable[[Tensor, Any], dict[str, float]]
    settings: Callable[[int, int | None], dict[str, Any]] = lambda samples, reference: {}


@dataclass(frozen=True)
class ReconstructionMetric(Metric):
    """A metric of a tokenizer, from images and their reconstructions.

    Attributes:
        needs: the network without which it is left out: "lpips", "features", or none.
        each: what is kept of a batch of pairs, an entry for each or one for all.
        whole: figures by column, when all batches are through.
    """

    whole: Callable[[Seen], dict[str, float]]
    each: Callable[[Pairs], Iterable[Any]] | None = None
    needs: Literal["", "lpips", "features"] = ""


def _defaults(*names: str) -> dict[str, Any]:
    from torch_fidelity.defaults import DEFAULTS

    return {name: DEFAULTS[name] for name in names}


def _fid(samples: Tensor, reference: Tensor | Statistics) -> dict[str, float]:
    from bigr_cli.evaluation.fidelity import frechet

    return frechet(samples, reference)


def _isc(samples: Tensor, reference: None) -> dict[str, float]:
    from torch_fidelity.metric_isc import isc_features_to_metric

    found: dict[str, float] = isc_features_to_metric(samples)
    return found


def _kid(samples: Tensor, reference: Tensor) -> dict[str, float]:
    from torch_fidelity.metric_kid import kid_features_to_metric

    size = subset_size(len(samples), len(reference))
    found: dict[str, float] = kid_features_to_metric(samples, reference, kid_subset_size=size, verbose=False)
    return found


def _kid_settings(samples: int, reference: int | None) -> dict[str, Any]:
    fixed = _defaults("kid_subsets", "kid_kernel", "kid_kernel_poly_degree")
    return {**fixed, "kid_subset_size": subset_size(samples, reference)}


def subset_size(*counts: int | None) -> int:
    """How many images each of KID's subsets has: torch-fidelity's 1,000, or as many as there are."""
    return min([int(_defaults("kid_subset_size")["kid_subset_size"]), *(n for n in counts if n is not None)])


def _prc(samples: Tensor, reference: Tensor) -> dict[str, float]:
    from torch_fidelity.metric_prc import prc_features_to_metric

    found: dict[str, float] = prc_features_to_metric(samples, reference, verbose=False)
    return found


# `fewest` are torch-fidelity's: two images have a covariance, IS has 10 splits, precision looks at 3 neighbours.
# `honest` is the custom of the field for FID, IS and precision; KID has no bias.
GENERATION: dict[str, GenerationMetric] = {
    metric.name: metric
    for metric in (
        GenerationMetric(
            name="fid",
            help="Fréchet distance",
            columns=(Column("frechet_inception_distance", "Fréchet distance (FID)", "FID", "lower"),),
            key="fid",
            features="fid",
            needs="statistics",
            fewest=2,
            honest=10_000,
            compute=_fid,
        ),
        GenerationMetric(
            name="is",
            help="Inception score",
            columns=(
                Column("inception_score_mean", "Inception score (IS)", "IS", "higher"),
                Column("inception_score_std", "IS, standard deviation over the splits", "IS ±"),
            ),
            key="isc",
            features="isc",
            needs="nothing",
            fewest=10,
            honest=10_000,
            compute=_isc,
            settings=lambda samples, reference: _defaults("isc_splits"),
        ),
        GenerationMetric(
            name="kid",
            help="kernel distance",
            columns=(
                Column("kernel_inception_distance_mean", "kernel distance (KID)", "KID", "lower"),
                Column("kernel_inception_distance_std", "KID, standard deviation over the subsets", "KID ±"),
            ),
            key="kid",
            features="kid",
            needs="features",
            fewest=2,
            honest=0,
            compute=_kid,
            settings=_kid_settings,
        ),
        GenerationMetric(
            name="prc",
            help="precision and recall",
            columns=(
                Column("precision", "precision", "precision", "higher"),
                Column("recall", "recall", "recall", "higher"),
                Column("f_score", "F-score of the two", "F", "higher", plotted=False),
            ),
            key="prc",
            features="prc",
            needs="features",
            fewest=4,
            honest=10_000,
            compute=_prc,
            settings=lambda samples, reference: _defaults("prc_neighborhood"),
        ),
    )
}


def _psnr(pairs: Pairs) -> Iterable[float]:
    from bigr_cli.data.loading import as_floats
    from bigr_cli.evaluation.reconstruction import psnr

    values: list[float] = psnr(as_floats(pairs.made), as_floats(pairs.given)).tolist()
    return values


def _ssim(pairs: Pairs) -> Iterable[float]:
    from bigr_cli.evaluation.tokenizers import ssim

    return [ssim(one, two) for one, two in zip(*pairs.arrays(), strict=True)]


def _lpips(pairs: Pairs) -> Iterable[float]:
    return pairs.through_lpips().flatten().double().tolist()


def _mean(name: str) -> Callable[[Seen], dict[str, float]]:
    return lambda seen: {name: sum(seen.values[name]) / len(seen.values[name])}


def _mean_and_exceeded(name: str) -> Callable[[Seen], dict[str, float]]:
    """The mean, and what 95 % of the images exceed."""

    def whole(seen: Seen) -> dict[str, float]:
        import numpy as np

        values = seen.values[name]
        return {name: float(np.mean(values)), f"{name}_95": float(np.percentile(values, 5))}

    return whole


def _rfid(seen: Seen) -> dict[str, float]:
    import torch

    from bigr_cli.evaluation.fidelity import check_finite, frechet_distance

    given, made = (torch.cat(parts) for parts in zip(*seen.values["rfid"], strict=True))
    check_finite(given, f"{seen.what}: features")
    check_finite(made, f"{seen.what}: features of what came back")
    return {"rfid": frechet_distance(made.numpy(), given.numpy())}


RECONSTRUCTION: dict[str, ReconstructionMetric] = {
    metric.name: metric
    for metric in (
        ReconstructionMetric(
            name="psnr",
            help="peak signal-to-noise ratio",
            columns=(
                Column("psnr", "PSNR in dB", "PSNR dB", "higher"),
                Column("psnr_95", "PSNR in dB that 95 % of the images exceed", "95 % exceed"),
            ),
            each=_psnr,
            whole=_mean_and_exceeded("psnr"),
        ),
        ReconstructionMetric(
            name="ssim",
            help="structural similarity",
            columns=(
                Column("ssim", "structural similarity (SSIM)", "SSIM", "higher"),
                Column("ssim_95", "SSIM that 95 % of the images exceed", "95 % exceed", shown=False),
            ),
            each=_ssim,
            whole=_mean_and_exceeded("ssim"),
        ),
        ReconstructionMetric(
            name="lpips",
            help="perceptual distance",
            columns=(Column("lpips", "perceptual distance (LPIPS)", "LPIPS", "lower"),),
            each=_lpips,
            whole=_mean("lpips"),
            needs="lpips",
        ),
        ReconstructionMetric(
            name="rfid",
            help="Fréchet distance of the reconstructions",
            columns=(Column("rfid", "Fréchet distance (rFID)", "rFID", "lower"),),
            each=lambda pairs: [pairs.features()],
            whole=_rfid,
            needs="features",
        ),
        ReconstructionMetric(
            name="bits",
            help="use of the bits",
            columns=(
                Column("bits_used", "bits with an entropy above 0.8", "bits used", "higher", percent=True),
                Column("bits_entropy", "mean entropy of a bit", "entropy of a bit", "higher"),
                Column("bits_duplicated", "bits that another one repeats", "duplicates", "lower", percent=True),
                Column("bits_correlation_mean", "mean correlation of two bits", "correlation"),
                Column("bits_correlation_max", "largest correlation of two bits", "largest"),
            ),
            whole=lambda seen: {**seen.counts.usage(), **seen.counts.correlation()},
        ),
    )
}

_Kind = TypeVar("_Kind", bound=Metric)


def by_key(key: str) -> GenerationMetric:
    """The metric of generation that torch-fidelity calls so."""
    return next(metric for metric in GENERATION.values() if metric.key == key)


def columns_of(table: Mapping[str, Metric], records: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The shown columns of the metrics that a first record has."""
    return [one for row in table.values() for one in row.columns if one.shown and one.key in records[0]]


def named(wanted: str | None, table: Mapping[str, _Kind]) -> list[_Kind]:
    """The metrics of a list such as "fid,kid"; all without one. Raises UsageError for what is none."""
    words = [word.strip().lower() for word in wanted.split(",")] if wanted is not None else list(table)
    for word in words:
        if word not in table:
            raise UsageError(f"metrics: expected some of {', '.join(table)}, got {word!r}")
    return [table[word] for word in dict.fromkeys(words)]


def choices(table: Mapping[str, Metric]) -> str:
    """What `--metrics` takes, in words."""
    return ", ".join(f"{row.name} ({row.help})" for row in table.values())
