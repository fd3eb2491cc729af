"""Flan-T5, and T5 of any size, as a text encoder: through transformers, which the extra `text` installs.

`source` is a repository of a model hub (`google/flan-t5-base`, or `google/flan-t5-base@REVISION`) or a folder in which
transformers saved one. What the hub's cache has is used without asking the hub.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants
from torch import Tensor

from bigr_cli.core.architectures import TextConfig
from bigr_cli.errors import ConfigError, ModelError
from bigr_cli.zoo.hub import client as hub
from bigr_cli.zoo.source import is_repository

_FILES = (
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "spiece.model",
)
_KINDS = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel", "umt5": "UMT5EncoderModel"}
_BATCH = 64


class T5:
    """The encoder half of a T5 in a folder; its weights are read when the first text is encoded."""

    def __init__(self, folder: Path, called: str, version: str) -> None:
        """`called` is its name in messages, `version` identifies the weights.

        Raises:
            ModelError: it is no T5.
        """
        self.folder, self.called, self.version = folder, called, version
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            self.kind, self.width = str(config["model_type"]), int(config["d_model"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{called}: is no T5: its config.json cannot be read ({error})") from error
        if self.kind not in _KINDS:
            raise ModelError(f"{called}: expected a T5, got a model of the kind {self.kind!r}")
        self._loaded: tuple[Any, Any] | None = None

    def encode(self, texts: Sequence[str], tokens: int, device: torch.device) -> list[Tensor]:
        """Texts of the same length go together, so that none is padded."""
        tokenizer, network = self._loaded = self._loaded or self._load()
        network.to(device)
        numbers = tokenizer(list(texts), truncation=True, max_length=tokens)["input_ids"]
        features: dict[int, Tensor] = {}
        for length in sorted({len(each) for each in numbers}):
            places = [place for place, each in enumerate(numbers) if len(each) == length]
            for first in range(0, len(places), _BATCH):
                some = places[first : first + _BATCH]
                ids = torch.tensor([numbers[place] for place in some], device=device)
                features |= zip(some, network(input_ids=ids).last_hidden_state, strict=True)
        return [features[place] for place in range(len(texts))]

    def _load(self) -> tuple[Any, Any]:
        import transformers

        with quiet_transformers():
            try:
                tokenizer = transformers.AutoTokenizer.from_pretrained(str(self.folder), local_files_only=True)
                kind = getattr(transformers, _KINDS[self.kind])
                network = kind.from_pretrained(str(self.folder), local_files_only=True, use_safetensors=True)
            except Exception as error:  # transformers raises what it likes about what it finds in a folder
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise ModelError(f"{self.called}: transformers cannot load it: {reason}") from error
        return tokenizer, network.float().eval().requires_grad_(False)


def open_encoder(config: TextConfig, *, offline: bool) -> T5:
    """The T5 that `config.source` names, fetched from the hub if it is not here.

    Raises:
        ConfigError: the source is neither a folder nor a repository.
        ModelError: transformers is not installed, it is no T5, or offline and not in the hub's cache.
        RunError: the hub does not answer as it should.
    """
    source = config.source
    require_transformers("the text encoder t5")
    folder = Path(source).expanduser()
    if source and (folder / "config.json").is_file():
        return T5(folder, source, _fingerprint(folder))
    repository, _, revision = source.partition("@")
    if not is_repository(repository) or folder.exists():
        example = "a repository such as google/flan-t5-base, or a folder with config.json and *.safetensors"
        raise ConfigError(f"text.source: expected {example}, got {source!r}")
    return _from_hub(repository, revision or "main", offline)


def _from_hub(repository: str, revision: str, offline: bool) -> T5:
    cached = hub.cached_folder(repository, revision)
    if cached is None or not _is_whole(cached):
        if hub.is_offline(offline):
            raise ModelError(
                f"{repository}: is not in the hub's cache ({constants.HF_HUB_CACHE}), and this is offline",
                hint="run it once without --offline and HF_HUB_OFFLINE, or give text.source a folder",
            )
        cached = hub.fetch_folder(repository, _FILES, revision=revision)
    return T5(cached, repository, f"{repository}@{cached.name}")  # the cache names folders by their commits


def _is_whole(folder: Path) -> bool:
    """Whether weights and tokenizer are there."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    else:
        names = {"model.safetensors"}
    return all((folder / name).is_file() for name in names) and any(
        (folder / name).is_file() for name in ("tokenizer.json", "spiece.model")
    )


def _fingerprint(folder: Path) -> str:
    """What identifies the files of a folder: the small ones by what is in them, weights by size and time."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        if path.suffix == ".json":
            digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        elif path.suffix in (".safetensors", ".model"):
            status = path.stat()
            digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def require_transformers(what: str) -> None:
    """Raise ModelError, with the command that installs it, unless transformers is here for `what`."""
    if find_spec("transformers") is None:
        hint = 'pipx inject bigr-cli transformers, or pip install "bigr-cli[text]"'
        raise ModelError(f"{what} needs transformers, which is not installed", hint=hint)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keeps transformers from writing to the terminal while it loads."""
    import transformers

    logging: Any = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
