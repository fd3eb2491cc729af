"""What can go wrong, each kind with the exit code that the command line ends with.

Code below the application raises these and never prints or exits; `bigr_cli.app` turns them into one line on stderr.
"""

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

_COMPARED = 200  # characters of a name that is looked for


class BigrError(Exception):
    """A failure that the user can understand: a message of one line, and perhaps a hint at what to do."""

    exit_code: int = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        if hint is not None and hasattr(self, "add_note"):  # tracebacks show it, from Python 3.11 on
            self.add_note(f"hint: {hint}")


class RunError(BigrError):
    """A failure while running: a full disk, a NaN loss, some images of a batch that could not be made."""


class UnfamiliarError(RunError):
    """An image unlike those that the model was trained on, which `strict` refuses."""


class UsageError(BigrError):
    """Wrong usage or bad input: it would fail again in the same way until the user changes something."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration with an unknown key, a value of the wrong type or out of range."""


class WrongTypeError(ConfigError, TypeError):
    """A value of the wrong type, which Python code may catch as a TypeError, too."""


class ModelError(UsageError):
    """A model that is not there or cannot do what was asked for."""


class ModelFormatError(ModelError):
    """A model folder that is not what format 1 promises: keys, tensors, shapes or hashes."""


class CheckpointError(ModelError):
    """A checkpoint file that is truncated, unsafe to read, or does not fit its companion."""


class ImageError(UsageError):
    """An image or mask that cannot be read or does not fit."""


class DeviceError(UsageError):
    """A device or number format that this machine does not have."""


class UnknownNameError(UsageError):
    """A name that is not among the known ones; the message suggests the nearest.

    >>> str(UnknownNameError("label", "catt", ["cat", "cup", "house"]))
    "unknown label 'catt'; did you mean cat?"
    """

    def __init__(self, kind: str, name: str, choices: Iterable[str], *, hint: str | None = None) -> None:
        near = nearest(name, choices)
        suggestion = f"; did you mean {', '.join(near)}?" if near else ""
        super().__init__(f"unknown {kind} {name!r}{suggestion}", hint=hint)
        self.kind, self.name, self.suggestions = kind, name, near


class UnknownWordError(UnknownNameError):
    """Words of a text that a model does not know; `suggestions` are those that come nearest."""

    def __init__(
        self, message: str, words: Sequence[str], near: Sequence[str] = (), *, hint: str | None = None
    ) -> None:
        BigrError.__init__(self, message, hint=hint)
        self.kind, self.name, self.suggestions = "word", " ".join(words), list(near)


def nearest(name: str, choices: Iterable[str], n: int = 3, *, cutoff: float = 0.5) -> list[str]:
    """The up to `n` choices most like `name`, best first, by letters in common; case does not matter.

    A choice that begins with `name` or has it as one of its words counts as near, so that "tench" finds
    "tench, Tinca tinca".
    """
    wanted = name[:_COMPARED].casefold().strip()
    scored = []
    for choice in dict.fromkeys(choices):
        candidate = choice.casefold()
        score = SequenceMatcher(None, wanted, candidate).ratio()
        if wanted and (candidate.startswith(wanted) or wanted in candidate.replace(",", " ").split()):
            score = max(score, 0.9)
        if score >= cutoff:
            scored.append((-score, choice))
    return [choice for _, choice in sorted(scored, key=lambda pair: pair[0])[:n]]
