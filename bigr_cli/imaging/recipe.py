"""What a picture was made of: everything that is needed to make it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from bigr_cli import __version__, schema
from bigr_cli.core.config import LARGEST_SEED, SamplingConfig, require, require_positive
from bigr_cli.errors import ConfigError, UsageError
from bigr_cli.plain_text import is_plain

FORMAT = 1
GENERATE = "generate"
_SUBJECTS = ("image", "stops")  # options that the command line has as arguments


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a picture, or a sheet of `count` pictures of each label, was made.

    `labels` are classes, or, with `condition` text, texts.
    `folder` is where the model was, as it was given, if it was given by folder and not by name. `weights` has the
    SHA-256 of each weights file. `options` holds what is particular to the task, such as a sheet's columns.
    """

    format: int = FORMAT
    task: str
    model: str
    folder: str | None = None
    weights: dict[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    condition: Literal["class", "text"] = "class"
    seed: int
    count: int = 1
    sampling: SamplingConfig
    device: str
    dtype: str
    options: dict[str, Any] = field(default_factory=dict)
    version: str = __version__

    def __post_init__(self) -> None:
        require(0 <= self.seed <= LARGEST_SEED, f"seed: expected 0 to 2^63 - 1, got {self.seed}")
        require_positive(self, "count")
        # Recipes come out of files from anywhere and are shown on terminals.
        for name in ("task", "model", "folder", "device", "dtype", "version", "labels"):
            value = getattr(self, name)
            for text in value if isinstance(value, tuple) else (value or "",):
                require(is_plain(text), f"{name}: has characters that cannot be shown")

    @property
    def subject(self) -> tuple[str, str | list[str]]:
        """What it shows, with the name of that: "label" or "text", several as a list."""
        return self.condition.replace("class", "label"), self.labels[0] if len(self.labels) == 1 else list(self.labels)

    def to_json(self) -> str:
        """One line of ASCII."""
        return json.dumps(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `read_recipe` of it gives an equal recipe."""
        return schema.to_mapping(self)


def read_recipe(data: object, *, source: str) -> Recipe:
    """A recipe from plain data: its own, or a line of `--json` that has it under "recipe".

    Raises:
        UsageError: it is none, or of a newer version; names `source`.
    """
    if isinstance(data, Mapping) and isinstance(data.get("recipe"), Mapping):
        data = data["recipe"]
    if not isinstance(data, Mapping) or "format" not in data:
        raise UsageError(f"{source}: holds no recipe")
    found = data["format"]
    if found != FORMAT:
        newer = " (made by a newer version of bigr?)" if type(found) is int and found > FORMAT else ""
        raise UsageError(f"{source}: the recipe's format: expected {FORMAT}, got {found!r}{newer}")
    try:
        return schema.from_mapping(Recipe, data, source=source)
    except ConfigError as error:
        raise UsageError(f"{error}, so it holds no recipe that can be used") from error


def parse_recipe(text: str, *, source: str) -> Recipe:
    """A recipe from JSON; errors as `read_recipe`."""
    try:
        return read_recipe(json.loads(text), source=source)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{source}: holds no recipe: it is not JSON") from error


def command(recipe: Recipe, *, model: str, output: str | None = None) -> str | None:
    """The command line that makes it again, quoted for a shell; None if no command does that by itself.

    Args:
        recipe: of a picture that a task of this package made.
        model: what to give as --model.
        output: the name of the file to write.
    """
    if recipe.task == GENERATE:
        words, subjects = (["-n", str(recipe.count)] if recipe.count > 1 else []), list(recipe.labels)
        words += ["--negative", str(recipe.options["negative"])] if "negative" in recipe.options else []
        outputs = _outputs(recipe.options, output)
    else:
        words, subjects = _task_options(recipe.options), _subjects(recipe.options)
        outputs = _outputs({}, output)
    if not subjects:
        return None
    words += ["--seed", str(recipe.seed), "-m", model, *sampling_options(recipe.sampling)]
    words += ["--dtype", recipe.dtype, "--device", recipe.device.partition(":")[0], *outputs]
    if any(word.startswith("-") and word != "-" for word in subjects):
        return shlex.join(["bigr", recipe.task, *words, "--", *subjects])
    return shlex.join(["bigr", recipe.task, *subjects, *words])


def _subjects(options: Mapping[str, Any]) -> list[str]:
    """The pictures or labels that a task worked on."""
    if isinstance(options.get("image"), str):
        return ["-" if options["image"] == "stdin" else options["image"]]
    stops = options.get("stops")
    return [str(stop) for stop in stops] if isinstance(stops, list) else []


def _task_options(options: Mapping[str, Any]) -> list[str]:
    """A task's own options, as they were given."""
    words = []
    for name, value in options.items():
        if name in _SUBJECTS or value is False:
            continue
        for entry in value if isinstance(value, list) else [value]:
            words += [f"--{name}"] if entry is True else [f"--{name}", str(entry)]
    return words


def sampling_options(sampling: SamplingConfig) -> list[str]:
    """All settings of the sampler as options of the command line."""
    words = []
    for setting in fields(sampling):
        value = getattr(sampling, setting.name)
        text = ",".join(map(repr, value)) if isinstance(value, tuple) else str(value)
        words += ["--" + setting.name.replace("_", "-"), text]
    return words


def _outputs(options: Mapping[str, Any], output: str | None) -> Sequence[str]:
    if output is None:
        return []
    kind = options.get("shows", "picture")
    if kind == "picture":
        return ["-o", output.replace("{", "{{").replace("}", "}}")]
    columns, captions = options.get("columns"), options.get("captions")
    words = ["--columns", str(columns)] if isinstance(columns, int) else []
    words += ["--captions"] if captions is True else []
    return [*words, "--grid" if kind == "grid" else "--steps-preview", output]
