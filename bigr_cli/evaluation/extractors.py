"""Networks whose features the metrics compare, each registered with torch-fidelity.

`--features scenes` is the classifier of scenes that comes with the package, a folder with a `classifier.yaml` another
such one, a model's name or folder the model's own representation, and anything else a name that torch-fidelity knows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

from bigr_cli.data.loading import as_floats
from bigr_cli.errors import ModelError, ModelFormatError, RunError, UnknownNameError, UsageError
from bigr_cli.evaluation.classifier import CONFIG_FILE, SHIPPED, load_classifier, read_classifier_config
from bigr_cli.evaluation.metrics import GENERATION
from bigr_cli.evaluation.preflight import CHOICES
from bigr_cli.files import reading
from bigr_cli.representation.features import embed_batch, wanted_features
from bigr_cli.runtime.tensor_headers import sha256_of
from bigr_cli.zoo.checkpoint import is_inflated
from bigr_cli.zoo.find import find_model, list_models, packaged_models
from bigr_cli.zoo.folder import load_model

SCENES = "scenes"
INCEPTION = "inception-v3-compat"
LPIPS = "lpips-vgg16"


@dataclass(frozen=True)
class Extractor:
    """A network in torch-fidelity's registry, and which of its features go to which metric.

    Attributes:
        name: what torch-fidelity calls it.
        layers: for each metric, by torch-fidelity's name of it, the features; "isc" is missing where there are none.
        size: the side of the images it reads; None is any.
        provenance: what tells it from others.
        options: further arguments of torch-fidelity's for it.
    """

    name: str
    layers: Mapping[str, str]
    size: int | None
    provenance: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    def network(self, metrics: tuple[str, ...], device: torch.device) -> FeatureExtractorBase:
        """The network itself, which gives the features that these metrics want.

        Raises:
            ModelError: its weights are not what they should be.
            RunError: they could not be fetched.
        """
        from torch_fidelity.utils import create_feature_extractor

        wanted = list(dict.fromkeys(self.layers[metric] for metric in metrics))
        try:
            made = create_feature_extractor(self.name, wanted, cuda=False, verbose=False, **self.options)
        except (RuntimeError, KeyError, TypeError, AttributeError, EOFError) as error:
            weights = self.options.get("feature_extractor_weights_path")
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{weights or self.name}: not the weights of {self.name} ({reason})") from error
        except OSError as error:
            raise RunError(f"{self.name}: its weights could not be fetched ({error})") from error
        return made.to(device)

    def check_size(self, width: int, height: int, what: str) -> None:
        """UsageError unless it reads images of this size."""
        if self.size is not None and (width, height) != (self.size, self.size):
            raise UsageError(
                f"{what}: {width} × {height} pixels; {self.name} reads {self.size} × {self.size}",
                hint=f"--resize {self.size} cuts the square out of the middle and scales it",
            )


def open_extractor(wanted: str | None, *, weights: Path | None = None, fetch: bool = False) -> Extractor:
    """The extractor of this name, registered and with its weights at hand.

    Args:
        wanted: `scenes`, a classifier's folder, a model's name or folder, or a name that torch-fidelity knows; None
            is torch-fidelity's Inception.
        weights: a file of weights for an extractor of torch-fidelity's own.
        fetch: let torch-fidelity download weights that are not here.

    Raises:
        UsageError: its weights are not here and may not be fetched, or are given for one that has its own.
        ModelError: a model or classifier is damaged, or the file of weights is.
        UnknownNameError: there is nothing of that name.
    """
    name = wanted or INCEPTION
    if name in FEATURE_EXTRACTORS_REGISTRY and not name.startswith("bigr-"):
        return _of_torch_fidelity(name, weights, fetch)
    if weights is not None:
        raise UsageError(f"--weights is for networks of torch-fidelity's own; {name} brings its weights")
    if name == SCENES:
        return _classifier(packaged_models() / SHIPPED)
    if (Path(name).expanduser() / CONFIG_FILE).is_file():
        return _classifier(Path(name).expanduser())
    return _model(name)


def _of_torch_fidelity(name: str, weights: Path | None, fetch: bool) -> Extractor:
    kind = FEATURE_EXTRACTORS_REGISTRY[name]
    layers = {}
    for metric in GENERATION.values():
        try:
            layers[metric.key] = kind.get_default_feature_layer_for_metric(metric.features)
        except KeyError:  # it has no class probabilities
            continue
    found = weights_for(name) if weights is None else weights
    if weights is not None:
        check_weights(weights, name)
    if found is None and not fetch:
        raise UsageError(f"{name}: its weights are not here", hint=f"choose {CHOICES}")
    options = {} if found is None else {"feature_extractor_weights_path": str(found)}
    digest = {} if found is None else {"weights": {found.name: sha256_of(found)}}
    return Extractor(name, layers, None, {"name": name, "from": "torch-fidelity", **digest}, options)


def _classifier(folder: Path) -> Extractor:
    config = read_classifier_config(folder)
    name = f"bigr-{config.name}-{config.sha256[:8]}"

    def features(network: Any, images: Tensor) -> dict[str, Tensor]:
        embedded = network.embedding(images)
        head = network.heads[next(iter(network.heads))]
        return {"embedding": embedded, "logits": head(embedded)}

    layers = _register(name, ("embedding", "logits"), lambda: load_classifier(folder), features)
    facts = {"name": config.name, "from": "bigr-cli", "weights": {"classifier": config.sha256}}
    return Extractor(name, layers, config.image_size, facts)


def _model(wanted: str) -> Extractor:
    """The representation of a model, at the layer that `bigr embed` takes."""
    try:
        directory = find_model(wanted)
    except UnknownNameError as error:
        names = [SCENES, *FEATURE_EXTRACTORS_REGISTRY, *(entry.name for entry in list_models())]
        raise UnknownNameError("features", wanted, names, hint=f"choose {CHOICES}") from error
    network, config = load_model(directory)
    kind = wanted_features(config, pool="mean")
    called = config.name if directory == Path(wanted).expanduser() else directory.name
    digest = "".join(config.sha256.values())
    name = f"bigr-{called}-layer{kind.layer}-{digest[:8] or abs(hash(directory.resolve())) % 10**8}"

    def features(network: Any, images: Tensor) -> dict[str, Tensor]:
        return {"mean": torch.from_numpy(embed_batch(network, images, kind))}

    layers = _register(name, ("mean",), lambda: network, features)
    known = {"layer": kind.layer, "pool": kind.pool, "weights": dict(config.sha256)}
    return Extractor(name, layers, config.image_size, {"name": called, "from": "bigr-cli", **known})


def _register(
    name: str,
    provided: tuple[str, ...],
    load: Callable[[], Any],
    features: Callable[[Any, Tensor], Mapping[str, Tensor]],
) -> dict[str, str]:
    """Have torch-fidelity know an extractor, once for each name, which has the weights' hash in it.

    Args:
        provided: the features' names: first those that metrics compare, then, if it has any, class logits for IS.
        load: gives the network, of which `features` (B, D) by name are made from images (B, 3, H, W) in [0, 1].

    Returns:
        Which of the features go to which metric, by its key.
    """
    layers = {row.features: provided[-1 if row.features == "isc" else 0] for row in GENERATION.values()}
    if len(provided) == 1:
        layers.pop("isc", None)

    class Features(FeatureExtractorBase):  # type: ignore[misc]
        """A network of this package as torch-fidelity wants it."""

        def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
            super().__init__(name, features_list)
            self.network = load()

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return provided

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return layers[metric]

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            found = features(self.network, as_floats(images))
            return tuple(found[each] for each in self.features_list)

    if name not in FEATURE_EXTRACTORS_REGISTRY:
        register_feature_extractor(name, Features)
    return {row.key: layers[row.features] for row in GENERATION.values() if row.features in layers}


def weights_for(name: str) -> Path | None:
    """The file in torch's cache that holds the weights of a feature extractor of torch-fidelity's; None if none does.

    Those that come as code beside their weights (DINOv2) count as not here.
    """
    url = _urls().get(name)
    return None if url is None else _cached(url)


def lpips_at_hand() -> bool:
    """Whether both files that LPIPS needs are in torch's cache."""
    from torch_fidelity.sample_similarity_lpips import URL_VGG16_LPIPS

    return _cached(URL_VGG16_LPIPS) is not None and _cached(_urls()["vgg16"]) is not None


def check_weights(path: Path, name: str) -> None:
    """Look into a file of weights before anything runs that it may hold.

    Raises:
        UsageError: there is no such file, or the network takes none.
        ModelFormatError: it is not a file of tensors.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    if name.startswith("dinov2"):
        raise UsageError(f"{name}: takes no file of weights")
    if name.startswith("clip"):
        return  # a TorchScript archive, which torch reads by itself
    state = load_tensors(path)
    known = {INCEPTION: "Mixed_7c.branch_pool.conv.weight", "vgg16": "features.28.weight"}[name]
    if not isinstance(state, dict) or not isinstance(state.get(known), torch.Tensor):
        raise ModelFormatError(f"{path}: not the weights of {name}: they have a tensor {known}")


def load_tensors(path: Path) -> Any:
    """What a file of torch's holds: tensors, NumPy arrays and plain values; ModelFormatError for anything else."""
    import numpy as np

    if is_inflated(path):
        raise ModelFormatError(f"{path}: is a compressed archive, not a file of tensors made by torch.save")
    rebuild: Any = np.empty(0).__reduce__()[0]
    scalars = [type(np.dtype(kind)) for kind in ("float16", "float32", "float64", "int64", "bool")]
    # NumPy 2 has moved what files of NumPy 1 name.
    rebuilds = [(rebuild, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
    made_of: list[Any] = [np.ndarray, np.dtype, *scalars, *rebuilds]
    with reading(path, ModelError):
        try:
            with torch.serialization.safe_globals(made_of), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about pickles of other kinds, which are refused below
                return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch's readers raise what they like about damaged files
            # What torch says of pickles ends with the advice to read them without its protection.
            raise ModelFormatError(
                f"{path}: not a file of tensors made by torch.save, or it is damaged, or reading it would run code",
                hint="only files that hold nothing but tensors, arrays and plain values are read",
            ) from error


def _urls() -> dict[str, str]:
    from torch_fidelity.feature_extractor_clip import MODEL_URLS
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
    from torchvision.models import VGG16_Weights

    return {INCEPTION: URL_INCEPTION_V3, "vgg16": VGG16_Weights.IMAGENET1K_V1.url, **MODEL_URLS}


def _cached(url: str) -> Path | None:
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    return path if path.is_file() else None
