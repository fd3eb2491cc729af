"""The metrics of generation, a row each; those of reconstruction are in `reconstruction`.

What `--metrics` takes, its help, what is checked, what is computed, the columns of tables and reports and the keys of
`--json` follow from the row. torch and torch-fidelity are imported when a metric is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from bigr_cli.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from bigr_cli.evaluation.fidelity import Statistics

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
