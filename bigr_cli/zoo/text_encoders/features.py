"""What reads the texts of a model: the registry of encoders, bytes as they are, and features kept on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bigr_cli.core.architectures import BYTES, TextConfig
from bigr_cli.core.conditions import Texts, byte_texts
from bigr_cli.core.config import require
from bigr_cli.errors import BigrError, ModelError, UnknownNameError
from bigr_cli.home import Cache, digest, intact, save_array
from bigr_cli.plain_text import plain_text
from bigr_cli.plugins import BUILT_IN, Fault, Origin, named_entry_points

_CACHE = Cache("texts", "features of texts")
_CPU = torch.device("cpu")
_AT_ONCE = 256  # texts, between two writes to the cache

ENCODER_GROUP = "bigr.text_encoders"


class TextReader(Protocol):
    """Turns texts into conditions of a model."""

    def __call__(self, texts: Sequence[str], device: torch.device = _CPU) -> Texts:
        """The texts as a batch on a device, where they are encoded too."""
        ...


def text_reader(config: TextConfig | None, *, offline: bool = False, keep: bool = True) -> TextReader | None:
    """What turns texts into conditions of a model; None if it has none for texts.

    Args:
        config: names the encoder.
        offline: use only what the hub's own cache has.
        keep: whether an encoder's features are kept in the cache folder.

    Raises:
        What `open_encoder` raises.
    """
    if config is None:
        return None
    if config.encoder == BYTES:
        return ByteReader(config.tokens)
    return FeatureReader(open_encoder(config, offline=offline), config, keep=keep)


class ByteReader:
    """Texts as bytes, for a generator that reads these itself."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def __call__(self, texts: Sequence[str], device: torch.device = _CPU) -> Texts:
        return byte_texts([plain_text(text).lower() for text in texts], self.tokens).to(device)


class FeatureReader:
    """Texts as an encoder's features in half precision, the same whether they come from the cache or not.

    Each text has a file of its own, named by its hash, in a folder for the encoder's version: `texts/` in the cache
    folder. Files appear whole, so several processes can share them.
    """

    def __init__(self, encoder: TextEncoder, config: TextConfig, *, keep: bool = True) -> None:
        self.encoder, self.tokens, self.width = encoder, config.tokens, config.width
        identity = f"{config.encoder} {encoder.version} {config.tokens} {config.width}"
        self.folder = _CACHE.path(identity, "")
        self.keep = keep

    def __call__(self, texts: Sequence[str], device: torch.device = _CPU) -> Texts:
        plain = [plain_text(text) for text in texts]
        features = {text: self._kept(text) for text in plain if text}
        missing = [text for text, found in features.items() if found is None]
        for first in range(0, len(missing), _AT_ONCE):
            some = missing[first : first + _AT_ONCE]
            features |= dict(zip(some, self._made(some, device), strict=True))
        batch = torch.zeros(len(plain), self.tokens, self.width)
        mask = torch.zeros(len(plain), self.tokens, dtype=torch.bool)
        for row, there, text in zip(batch, mask, plain, strict=True):
            found = features.get(text)
            if found is not None:
                row[: len(found)] = found
                there[: len(found)] = True
        return Texts(batch, mask).to(device)

    def _made(self, texts: Sequence[str], device: torch.device) -> Iterator[Tensor]:
        """The features of texts, made now, and kept."""
        with torch.inference_mode():
            encoded = self.encoder.encode(texts, self.tokens, device)
        if len(encoded) != len(texts):
            raise ModelError(f"{self.encoder.version}: expected features of {len(texts)} texts, got {len(encoded)}")
        for text, features in zip(texts, encoded, strict=True):
            if features.ndim != 2 or features.shape[1] != self.width or len(features) > self.tokens:
                expected = f"at most {self.tokens} × {self.width}"
                raise ModelError(f"{self.encoder.version}: expected {expected} features, got {tuple(features.shape)}")
            half = features.to("cpu", torch.float16)
            if not bool(half.isfinite().all()):
                raise ModelError(f"{self.encoder.version}: features of {text!r} are no numbers of half precision")
            self._write(text, half)
            yield half

    def _path(self, text: str) -> Path:
        name = digest(text, 40)
        return self.folder / name[:2] / f"{name[2:]}.npy"

    def _kept(self, text: str) -> Tensor | None:
        """The features of a text in the cache; None if they are not there, or not whole."""
        if not self.keep:
            return None
        return intact(self._read, self._path(text))

    def _read(self, path: Path) -> Tensor | None:
        array = np.load(path, allow_pickle=False)
        fits = array.dtype == np.float16 and array.ndim == 2 and array.shape[1] == self.width
        return torch.from_numpy(array) if fits and len(array) <= self.tokens else None

    def _write(self, text: str, features: Tensor) -> None:
        if self.keep:
            self.keep = _CACHE.write(self._path(text), lambda temporary: save_array(temporary, features.numpy()))


class TextEncoder(Protocol):
    """What turns texts into features."""

    @property
    def width(self) -> int:
        """How many numbers a token has."""
        ...

    @property
    def version(self) -> str:
        """What identifies the encoder with its weights: the same string means the same features."""
        ...

    def encode(self, texts: Sequence[str], tokens: int, device: torch.device) -> list[Tensor]:
        """The features of each text: (n, width) of its first n ≤ `tokens` tokens. None of the texts is empty."""
        ...


def encoder_entry_points() -> dict[str, tuple[EntryPoint, Origin]]:
    """Every encoder by its name but `bytes`, which is a part of the generator; warns of a name that is taken."""
    built_in = {"t5": "bigr_cli.zoo.text_encoders.t5:open_encoder"}
    return named_entry_points(ENCODER_GROUP, built_in, "text encoder", reserved=(BYTES,))


def open_encoder(config: TextConfig, *, offline: bool = False) -> TextEncoder:
    """The encoder that a config names.

    Raises:
        UnknownNameError: there is none of this name.
        ModelError: a plugin that does not work, or what the encoder says is missing.
        ConfigError: its width is not the config's.
    """
    known = encoder_entry_points()
    if config.encoder not in known:
        hint = f"known are {', '.join([BYTES, *known])}; a plugin may bring others"
        raise UnknownNameError("text encoder", config.encoder, [BYTES, *known], hint=hint)
    entry_point, origin = known[config.encoder]
    try:
        encoder: TextEncoder = entry_point.load()(config, offline=offline)
        width = int(encoder.width)
    except BigrError:
        raise
    except Exception as error:  # plugins raise what they like
        if origin == BUILT_IN:
            raise
        raise ModelError(str(Fault(config.encoder, origin, error))) from error
    require(width == config.width, f"text.width: {config.source or config.encoder} has {width}, got {config.width}")
    return encoder
