"""What was asked for: options of the command line, a line of a manifest on top of them, recipes, and prompts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from bigr_cli import console
from bigr_cli.errors import UnknownNameError, UsageError
from bigr_cli.file_names import expanded
from bigr_cli.options.groups import Sampling, group_parameters
from bigr_cli.prompts import ALL, every_label, label_index, listing, read_prompt, reads_text
from bigr_cli.zoo.config import read_config, shortened
from bigr_cli.zoo.find import LIST_HINT, find_model, list_models

if TYPE_CHECKING:
    from bigr_cli.prompts import Label
    from bigr_cli.recipe import Recipe
    from bigr_cli.zoo.config import ModelConfig


STDIN = "-"

# What holds for a whole run, so that a line of a manifest has no say in it.
_OF_THE_RUN = {
    *("model", "batch_size", "device", "dtype", "threads", "offload", "device_map", "compile"),
    *("recursive", "manifest", "watch", "dry_run", "failures", "grid"),
    *("overwrite", "skip_existing", "no_metadata", "json", "quiet", "verbose"),
}
_PATHS = {"images", "mask", "output", "recipe"}

_Group = TypeVar("_Group")

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Given:
    """Options by their parameters' names, and the names of those that were given explicitly.

    `line` says which line of a manifest it is, for messages; "" is the command line.
    """

    params: Mapping[str, Any]
    explicit: frozenset[str]
    line: str = ""

    def group(self, kind: type[_Group]) -> _Group:
        """The options of a group, such as `Sampling`."""
        return kind(**{one.name: self.params[one.name] for one in group_parameters(kind)})

    def error(self, error: UsageError) -> UsageError:
        """The error, with the line of the manifest in front."""
        return UsageError(f"{self.line}: {error}", hint=error.hint) if self.line else error


def config_of(model: str | None) -> ModelConfig:
    """The config of a model, by name or folder; None is the default one."""
    return read_config(find_model(model))


def given_by(context: typer.Context) -> Given:
    """What the command line gave."""
    return Given(dict(context.params), frozenset(name for name in context.params if _explicit(context, name)))


def given_by_manifest(context: typer.Context, path: Path) -> list[Given]:
    """The lines of a manifest, each read as if it were a command line of the same command.

    Raises:
        UsageError: a line that is no JSON object, has an unknown or unfit key or value; names file and line.
    """
    from bigr_cli.imaging.inputs import read_manifest

    base = given_by(context)
    if base.params.get("images") or base.params.get("stops"):
        raise UsageError("--manifest names the images, so there is no place for others on the command line")
    lines = [_read(context, base, path, number, line) for number, line in read_manifest(path)]
    if not lines:
        raise UsageError(f"{path}: has no line", hint='a job a line: {"image": "a.png", "seed": 1}')
    return lines


def _explicit(context: Any, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _read(context: typer.Context, base: Given, path: Path, number: int, line: Mapping[str, Any]) -> Given:
    where = f"{path}, line {number}"
    words, positional = [], []
    names = _names(context)
    for key, value in line.items():
        plain = key.lstrip("-").replace("_", "-")
        plain = {"images": "image", "stop": "stops"}.get(plain, plain)
        if plain == "label" and "label" not in names and "prompt" in names:
            plain = "prompt"  # as lines of --json call it
        name = names.get(plain)
        if name is None:
            known = sorted(word for word, target in names.items() if target not in _OF_THE_RUN)
            raise UsageError(f"{where}: unknown key {key!r}", hint=f"keys are {', '.join(known)}")
        if name in _OF_THE_RUN:
            raise UsageError(f"{where}: {key!r} holds for the whole run; give it on the command line")
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, dict | list):
                raise UsageError(f"{where}: {key!r}: expected text, a number, true or false, got {entry!r}")
            text = _beside(path, entry) if name in _PATHS and isinstance(entry, str) and entry != STDIN else str(entry)
            if name in _PATHS and not _can_be_named(text):
                raise UsageError(f"{where}: {key!r}: no file can have the name {text[:100]!r}")
            if name == "stops" and isinstance(entry, str) and (beside := Path(_beside(path, entry))).is_file():
                text = str(beside)
            if name in ("images", "stops"):
                positional.append(text)
            elif isinstance(entry, bool):
                words += [f"--{plain}"] if entry else []
            elif entry is not None:
                words.append(f"--{plain}={text}")
    try:
        parsed = context.command.make_context(context.info_name, [*words, "--", *positional], parent=context.parent)
    except Exception as error:  # click's usage errors, wherever this version of Typer keeps them
        if not hasattr(error, "format_message"):
            raise
        raise UsageError(f"{where}: {error.format_message()}") from error
    explicit = {name for name in parsed.params if _explicit(parsed, name)}
    kept = {name: base.params[name] for name in base.explicit - explicit}
    return Given({**parsed.params, **kept}, base.explicit | explicit, where)


def _beside(manifest: Path, name: str) -> str:
    """A path as a manifest says it: from the folder that the manifest is in, or from the home folder."""
    path = manifest.parent / name
    return str(expanded(name) if name.startswith("~") and not path.exists() else path)


def _can_be_named(text: str) -> bool:
    """Whether a file can have such a name: no null character, no half of a surrogate pair but for bytes of a name."""
    try:
        return "\0" not in text and bool(os.fsencode(text))
    except UnicodeEncodeError:
        return False


def _names(context: typer.Context) -> dict[str, str]:
    """Keys that a line may have, and the parameter that each stands for."""
    names = {"stops": "stops"} if "stops" in context.params else {"image": "images"}
    for parameter in context.command.params:
        if parameter.name and parameter.name not in ("images", "stops"):
            names |= {word[2:]: parameter.name for word in parameter.opts if word.startswith("--")}
    return names


class Chooser:
    """Options as given on the command line, or else as the recipe has them, or else by environment and default."""

    recipe: Recipe | None

    def __init__(self, given: Given, path: Path | None) -> None:
        """`path` is what --recipe gave. Raises UsageError if it holds no recipe."""
        from bigr_cli.imaging.metadata import read_metadata

        self._explicit = given.explicit
        self.recipe = read_metadata(path) if path else None

    def option(self, name: str, value: _Value) -> _Value:
        """An option that a recipe has a field for: "seed", "count" or "dtype"."""
        if self.recipe is None or name in self._explicit:
            return value
        recorded: _Value = getattr(self.recipe, name)
        return recorded

    def model(self, value: str | None) -> str | None:
        """The model; warns if the recipe's is not here, and then takes one of its name, or that of the environment.

        UnknownNameError if there is none.
        """
        if self.recipe is None or "model" in self._explicit:
            return value
        from bigr_cli.zoo.find import model_of, named_model

        name, same = model_of(self.recipe)
        if same:
            return name
        other = named_model(self.recipe.model) or value
        if other is None:
            known = [entry.name for entry in list_models()]
            hint = f"-m {self.recipe.folder} uses the folder that it names" if self.recipe.folder else LIST_HINT
            raise UnknownNameError("model", self.recipe.model, known, hint=f"no model has the recipe's weights; {hint}")
        console.warn(f"no model here has the recipe's weights; with {other} the image will be another one")
        return other

    def sampling(self, values: Sampling) -> dict[str, object]:
        """The settings of the sampler; None is for the model's config to decide.

        A preset that is given takes the place of the recipe's settings.
        """
        if self.recipe is None or "preset" in self._explicit:
            return dict(vars(values))
        recorded = vars(self.recipe.sampling) | {"preset": None}
        return {name: value if name in self._explicit else recorded[name] for name, value in vars(values).items()}


_LONGEST = 200  # characters of a phrase in a hint


@dataclass(frozen=True)
class GivenPrompt:
    """A label or a text; `place` is the file and the line that it is from, or "", and `bare` one word of the shell."""

    text: str
    place: str = ""
    bare: bool = False


def prompts_given(words: Sequence[str] | None, option: Sequence[str] | None, file: Path | None) -> list[GivenPrompt]:
    """The arguments, those of --prompt and those of --prompts, in this order. UsageError for a file without any."""
    from bigr_cli.data.captions import numbered_texts

    where = "stdin" if str(file) == "-" else str(file)
    lines = numbered_texts(file) if file else []
    return [
        *(GivenPrompt(word, bare=len(word.split()) == 1) for word in words or ()),
        *(GivenPrompt(text) for text in option or ()),
        *(GivenPrompt(text, f"{where}, line {number}") for number, text in lines),
    ]


def wanted_prompts(config: ModelConfig, given: Sequence[GivenPrompt], every: bool, chooser: Chooser) -> Sequence[Label]:
    """The labels or texts asked for, or else the recipe's; `every` asks for all labels.

    Raises:
        UsageError: none is asked for, or the model does not know one; with several, or in a file, says which.
    """
    if not given and not every and chooser.recipe is not None:
        return chooser.recipe.labels
    if reads_text(config):
        return _texts(config, given, every)
    if not given and not every:
        example = quote(config.labels[0]) if config.labels else "0"
        raise UsageError(
            f"no label given; {config.name} knows {listing(config)}",
            hint=f"for example: bigr generate {example} -n 4, or: bigr generate all",
        )
    others = [each.text for each in given if each.text.casefold() != ALL]
    words = every_label(config, [ALL, *others] if every else [each.text for each in given], named=every)
    for each in given:
        if each.place and each.text.casefold() != ALL:
            try:
                label_index(config, each.text)
            except UsageError as error:
                raise UsageError(f"{each.place}: {error}", hint=error.hint) from error
    return words


def _texts(config: ModelConfig, given: Sequence[GivenPrompt], every: bool) -> list[Label]:
    """The texts, each of which the model reads."""
    if every:
        raise UsageError(f"{config.name} reads texts and has no labels")
    if not given:
        hint = f'for example: bigr generate "a blue house on grass at night" -m {config.name} -n 4'
        raise UsageError(f"no text given; {config.name} takes {listing(config)}", hint=hint)
    for each in given:
        try:
            read_prompt(config, each.text)
        except UsageError as error:
            advice, phrase = error.hint, " ".join(one.text for one in given if one.bare)
            if each.bare and sum(one.bare for one in given) > 1:
                advice = f'quote the text: "{phrase[:_LONGEST]}"' + (f"; {advice}" if advice else "")
            name = each.place or (shortened(each.text) if len(given) > 1 else "")
            said = str(error) if str(error).startswith(name) else f"{name}: {error}"
            raise UsageError(said, hint=advice) from error
    return [each.text for each in given]
