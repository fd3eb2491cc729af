"""What features were made with, as it stands in the files that hold them or were made of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from bigr_cli.errors import ModelError, ModelFormatError, UsageError
from bigr_cli.representation.features import Wanted, wanted_features
from bigr_cli.version import __version__
from bigr_cli.zoo.config import ModelConfig, read_config
from bigr_cli.zoo.find import find_model
from bigr_cli.zoo.with_weights import model_with_weights


@dataclass(frozen=True, kw_only=True)
class About:
    """The model by name (and by folder, if it was given so), the SHA-256 of its weights, and which features of it."""

    model: str
    folder: str | None
    weights: dict[str, str]
    layer: int | str | None
    pool: str
    label: str
    version: str = __version__

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def wanted(self, config: ModelConfig) -> Wanted:
        """The same features, of a picture yet to come."""
        return wanted_features(config, layer=self.layer, pool=self.pool, label=self.label)

    def find(self, source: str, model: str | None = None) -> tuple[str, ModelConfig]:
        """The model, as `load` takes it, with its config.

        Args:
            source: the file that asks for it, for messages.
            model: the one that the user insists on.

        Raises:
            ModelError: that one has other weights, or the model is not here.
        """
        found = model or model_with_weights(self.model, self.folder, self.weights)
        if found is not None:
            config = read_config(find_model(found))
            if not model or config.sha256 == self.weights:
                return found, config
            raise ModelError(f"{source}: was made with {self.model}, whose weights are not those of {model}")
        other = next((name for name in (self.folder, self.model) if name and _is_there(name)), None)
        if other:
            raise ModelError(f"{source}: was made with {self.model}, whose weights are not those of {other}")
        raise ModelError(f"{source}: was made with {self.model}, which is not here", hint="--model says where it is")


def _is_there(name: str) -> bool:
    try:
        return find_model(name).is_dir()
    except UsageError:
        return False


def about(wanted: Wanted, config: ModelConfig, name: str, folder: str | None) -> About:
    """What is said of features of a model that is called `name`."""
    return About(
        model=name,
        folder=folder,
        weights=dict(config.sha256),
        layer=wanted.layer,
        pool=wanted.pool,
        label=wanted.label_name,
    )


def parse_about(text: str, source: str) -> About:
    """Read it from JSON; ModelFormatError, naming `source`, if it is not what `to_json` writes."""
    try:
        found: dict[str, Any] = json.loads(text)
        made = About(**found)
        fits = isinstance(made.weights, dict) and isinstance(made.layer, int | str | None)
        fits = fits and all(isinstance(digest, str) for digest in made.weights.values())
        fits = fits and all(isinstance(each, str) for each in (made.model, made.pool, made.label, made.folder or ""))
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelFormatError(f"{source}: does not say what it was made with ({str(error)[:200]})") from error
    if not fits:
        raise ModelFormatError(f"{source}: what it says of how it was made cannot be read")
    return made
