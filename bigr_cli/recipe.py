"""How an image was made: the recipe, and the command that makes it again."""

from __future__ import annotations

import json
import reprlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Literal, NoReturn

from bigr_cli import schema
from bigr_cli.core.config import LARGEST_SEED, SamplingConfig, require, require_positive
from bigr_cli.errors import ConfigError, UsageError
from bigr_cli.plain_text import escaped, is_plain
from bigr_cli.setting import members, parameters
from bigr_cli.version import __version__

FORMAT = 1
GENERATE = "generate"
MOST = 1_000_000  # images in one request
# A recipe comes out of a file that somebody else may have made. Of the options in it, a command is printed with those
# alone that say what is painted and how: none that says where anything is written, that fetches, or that runs.
_SUBJECTS = ("image", "stops")  # options that the command line has as arguments
_SHEETS = ("shows", "columns", "captions")  # which give a sheet's own options
_OF_FILMS = "fps"  # an option of interpolate's that is no setting of its request
_DEEPEST = 20  # levels of lists and mappings in a recipe


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How an image, or a sheet of `count` images of each label, was made.

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
        require_positive(self, "count", most=MOST)
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
        raise UsageError(f"{source}: the recipe's format: expected {FORMAT}, got {reprlib.repr(found)}{newer}")
    if _depth(data) > _DEEPEST:
        raise UsageError(f"{source}: is nested too deep, so it holds no recipe that can be used")
    try:
        return schema.from_mapping(Recipe, data, source=source)
    except ConfigError as error:
        raise UsageError(f"{error}, so it holds no recipe that can be used") from error


def parse_recipe(text: str, *, source: str) -> Recipe:
    """A recipe from JSON; errors as `read_recipe`."""
    try:
        return read_recipe(json.loads(text, parse_constant=_no_constant), source=source)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{source}: holds no recipe: it is not JSON") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"there is no {name} in JSON")


def _depth(data: object) -> int:
    """How many levels of lists and mappings there are, up to one more than are allowed."""
    level, depth = [data], 0
    while level and depth <= _DEEPEST:
        within = [entry for entry in level if isinstance(entry, Mapping | list | tuple)]
        level = [entry for outer in within for entry in (outer.values() if isinstance(outer, Mapping) else outer)]
        depth += 1
    return depth


@cache
def _requests() -> Mapping[str, type]:
    """The request of each task that has one."""
    from bigr_cli.registry import discover

    requests = {task.name: getattr(task.function, "request", None) for task in discover().tasks.values()}
    return {name: kind for name, kind in requests.items() if kind is not None}


@cache
def settable() -> Mapping[str, bool]:
    """The options that a recipe may set, and whether each is a switch: what requests say of how an image is made.

    Not among them are those that say which files are written, or how the machine is used.
    """
    found = {_OF_FILMS: False}
    for kind in _requests().values():
        for one in parameters(kind):
            if one.path[0] != "sampling" and one.setting.panel != "Files":
                switch = bool in members(one.kind)
                found |= {option.removeprefix("--"): switch for option in one.options.split("/")}
    return found


def command(recipe: Recipe, *, model: str, output: str | None = None) -> str | None:
    """The command line that makes it again, quoted for a shell; None and arguments as of `arguments`."""
    words = arguments(recipe, model=model, output=output)
    return None if words is None else " ".join(map(_quoted, ["bigr", *words]))


def arguments(recipe: Recipe, *, model: str, output: str | None = None) -> list[str] | None:
    """The words after `bigr` that make it again; None if no command does that by itself.

    Of a task's own options, those that `left_out` names are not in it.

    Args:
        recipe: of an image that a task of this package made.
        model: what to give as --model.
        output: the name of the file to write.
    """
    if recipe.task == GENERATE:
        words, subjects = (["-n", str(recipe.count)] if recipe.count > 1 else []), list(recipe.labels)
        words += _option("negative", recipe.options.get("negative"))
        outputs = _outputs(recipe.options, output)
    elif recipe.task in _requests():
        words, subjects = _task_options(recipe.options), _subjects(recipe.options)
        outputs = _outputs({}, output)
    else:
        return None
    if not subjects:
        return None
    sampled = recipe.task == GENERATE or getattr(_requests()[recipe.task], "samples", True)
    words += ["--seed", str(recipe.seed)] if sampled else []
    words += _option("model", model, short="-m")
    words += _sampling_options(recipe.sampling, recipe.task) if sampled else []
    words += ["--dtype", recipe.dtype, "--device", recipe.device.partition(":")[0], *outputs]
    if any(word.startswith("-") and word != "-" for word in subjects):
        return [recipe.task, *words, "--", *subjects]
    return [recipe.task, *subjects, *words]


def left_out(recipe: Recipe) -> list[str]:
    """The options that a recipe names and `command` leaves out, because no recipe may set them, or not to that."""
    known = {"negative", *_SHEETS} if recipe.task == GENERATE else {*_SUBJECTS, *settable(), *_SHEETS}
    return [name for name, value in recipe.options.items() if name not in known or not _is_set(name, value)]


def _is_set(name: str, value: object) -> bool:
    """Whether an option is given a value of a kind that it takes: true or false, or one or more texts and numbers."""
    if name in (*_SUBJECTS, *_SHEETS):
        return True
    values = value if isinstance(value, list) else [value]
    kinds = (bool,) if settable().get(name) else (str, int, float)
    return all(type(entry) in kinds for entry in values)


def _option(name: str, value: object, *, short: str | None = None) -> list[str]:
    """An option with its value, which nothing takes for another option; nothing without a value."""
    if type(value) not in (str, int, float):
        return []
    text = str(value)
    return [f"--{name}={text}"] if text.startswith("-") else [short or f"--{name}", text]


def _quoted(word: str) -> str:
    """A word for a shell; what cannot be shown is written as bash and zsh read it, in $'...'."""
    if escaped(word) == word:
        return shlex.quote(word)
    letters = {"\\": r"\\", "'": r"\'"}
    return f"$'{''.join(letters.get(letter) or _spelt(letter) for letter in word)}'"


def _spelt(letter: str) -> str:
    code = ord(letter)
    if escaped(letter) == letter:
        return letter
    if code < 0x80 or 0xDC80 <= code <= 0xDCFF:  # the latter is a byte of a name that is not UTF-8
        return f"\\x{code & 0xFF:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _subjects(options: Mapping[str, Any]) -> list[str]:
    """The images or labels that a task worked on."""
    if isinstance(options.get("image"), str):
        return ["-" if options["image"] == "stdin" else options["image"]]
    stops = options.get("stops")
    return [str(stop) for stop in stops] if isinstance(stops, list) else []


def _task_options(options: Mapping[str, Any]) -> list[str]:
    """A task's own options, as they were given, as far as a recipe may set them."""
    words: list[str] = []
    for name, value in options.items():
        if name not in settable() or not _is_set(name, value):
            continue
        if settable()[name]:
            words += [f"--{name}"] if value is True else []
        else:
            for entry in value if isinstance(value, list) else [value]:
                words += _option(name, entry)
    return words


def _sampling_options(sampling: SamplingConfig, task: str) -> list[str]:
    """All settings of the sampler as options of the command line.

    Those that go without saying are left out, but not where an image is given: models may have others for that.
    """
    words, said = [], schema.to_mapping(sampling)
    for setting in fields(sampling):
        if setting.name not in said and task == GENERATE:
            continue
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
    words = ["--columns", str(columns)] if type(columns) is int else []
    words += ["--captions"] if captions is True else []
    return [*words, "--grid" if kind == "grid" else "--steps-preview", output]
