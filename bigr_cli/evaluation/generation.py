"""Samples against a reference: the figures, and everything that figures depend on beside the pictures."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch_fidelity.defaults import DEFAULTS

from bigr_cli.evaluation.extractors import Extractor
from bigr_cli.evaluation.fidelity import BINARY, check_counts, extract, measure, subset_size
from bigr_cli.evaluation.image_sets import PictureSet
from bigr_cli.evaluation.references import Opened
from bigr_cli.version import __version__

AT_ONCE = 64  # pictures that an extractor looks at, unless another number is asked for
_PACKAGES = ("torch", "torch-fidelity", "torchvision", "numpy", "scipy", "pillow")

Advance = Callable[[int], None]


def _silent(_: int) -> None:
    """For those who watch no progress."""


class Judge:
    """An extractor, metrics and a reference, ready to judge any number of samples."""

    def __init__(
        self,
        extractor: Extractor,
        reference: Opened | None,
        metrics: Sequence[str],
        *,
        device: torch.device | str = "cpu",
        batch: int | None = None,
        resize: int | None = None,
        extra: Sequence[str] = (),
        advance: Advance = _silent,
    ) -> None:
        """Loads the network and computes what it says of the reference.

        Args:
            metrics: by torch-fidelity's names.
            batch: pictures at once.
            resize: the side that samples are fitted to.
            extra: metrics whose features are wanted of the samples without their figures.
            advance: told of the reference's pictures as they are done.

        Raises:
            UsageError, ModelError, RunError: as `Extractor.network` and `Opened.read`.
        """
        self.extractor, self.metrics, self.resize = extractor, list(metrics), resize
        self.device, self.batch = torch.device(device), batch or AT_ONCE
        needed = tuple(dict.fromkeys([*metrics, *extra]))
        self._network = extractor.network(needed, self.device) if needed else None
        binary = [metric for metric in metrics if metric in BINARY]
        self.reference = None
        if reference is not None and binary and self._network is not None:
            network = extractor.network(tuple(binary), self.device)
            self.reference = reference.read(network, extractor, binary, self.device, self.batch, advance)

    def features(self, samples: PictureSet, advance: Advance = _silent) -> dict[str, Tensor]:
        """What the network says of samples; UsageError if there are too few, or it is not finite."""
        counts = [(samples.what, samples.count)]
        if self.reference is not None and self.reference.features:
            counts.append((str(self.reference.about["source"]), self.reference.count or 0))
        check_counts(self.metrics, counts)
        if self._network is None:
            return {}
        return extract(self._network, samples.resized(self.resize), self.device, self.batch, advance)

    def figures(self, features: dict[str, Tensor]) -> dict[str, float]:
        """The metrics, by torch-fidelity's names."""
        return measure(features, self.reference, self.extractor, self.metrics)

    def record(self, samples: PictureSet, figures: dict[str, float]) -> dict[str, Any]:
        """Figures with everything that they depend on."""
        theirs = self.reference.count if self.reference else None
        settings: dict[str, Any] = {"rng_seed": DEFAULTS["rng_seed"]}
        if "isc" in self.metrics:
            settings["isc_splits"] = DEFAULTS["isc_splits"]
        if "kid" in self.metrics:
            settings |= {name: DEFAULTS[name] for name in ("kid_subsets", "kid_kernel", "kid_kernel_poly_degree")}
            settings["kid_subset_size"] = subset_size(samples.count, theirs)
        if "prc" in self.metrics:
            settings["prc_neighborhood"] = DEFAULTS["prc_neighborhood"]
        resize = {"to": self.resize, "how": "square in the middle, Lanczos (Pillow)"} if self.resize else None
        used = {metric: self.extractor.layers[metric] for metric in self.metrics}
        return {
            **figures,
            "samples": samples.resized(self.resize).record(),
            "reference": self.reference.about if self.reference else None,
            "resize": resize,
            "extractor": {**self.extractor.about, "registered_as": self.extractor.name, "layers": used},
            "settings": settings,
            "versions": versions(),
        }


def versions() -> dict[str, str]:
    """Of everything that has a part in the figures."""
    from importlib.metadata import version

    return {"bigr-cli": __version__, "python": platform.python_version()} | {name: version(name) for name in _PACKAGES}
