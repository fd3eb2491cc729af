"""Where the weights of a model come from: the `source` section of config.yaml."""

import re
from dataclasses import dataclass, field

from bigr_cli.core.config import UNSAID, require

_PARTS = ("tokenizer", "generator")
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_REPOSITORY = re.compile(f"{_PART}/{_PART}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Published checkpoints on a model hub, out of which the model's weights are made.

    `tokenizer` and `generator` are files in `repository` (owner/name) at `revision` (a branch, tag or commit). `size`
    counts the bytes of both, about. `parameters` says how many each part of the model has. `sha256` has hashes of the
    files by name, as far as they are known. `published` has what its authors measured, by name.
    """

    repository: str
    tokenizer: str
    generator: str
    revision: str = "main"
    size: int = 0
    parameters: dict[str, int] = field(default_factory=dict, metadata=UNSAID)
    sha256: dict[str, str] = field(default_factory=dict)
    published: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(is_repository(self.repository), f"repository: expected owner/name, got {self.repository!r}")
        require(bool(_REVISION.fullmatch(self.revision)), f"revision: expected a branch or commit: {self.revision!r}")
        require(self.size >= 0, f"size: expected bytes, got {self.size}")
        for part, count in self.parameters.items():
            require(part in _PARTS, f"parameters: expected {' and '.join(_PARTS)}, got {part!r}")
            require(count > 0, f"parameters.{part}: expected at least 1, got {count}")
        for part in _PARTS:
            file = getattr(self, part)
            require(bool(_FILE.fullmatch(file)), f"{part}: expected a file inside the repository, got {file!r}")
        for file, digest in self.sha256.items():
            require(file in (self.tokenizer, self.generator), f"sha256: {file!r} is neither of the two files")
            require(bool(_HASH.fullmatch(digest)), f"sha256.{file}: expected 64 hexadecimal digits, got {digest!r}")


def is_repository(text: str) -> bool:
    """Whether a text can be a repository of a model hub, owner/name."""
    return bool(_REPOSITORY.fullmatch(text)) and ".." not in text and "--" not in text


def readable_size(count: int) -> str:
    """Bytes in words, such as "1.68 GB"; nothing for 0."""
    if count >= 1e9:
        return f"{count / 1e9:.2f} GB"
    return f"{count / 1e6:.1f} MB" if count else ""
