"""What `bigr generate` is asked for: labels and texts of the command line and of a file, each checked and named."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from bigr_cli.errors import UsageError
from bigr_cli.prompts import ALL, every_label, guide, label_index, listing, reads_text
from bigr_cli.tasks._given import Chooser
from bigr_cli.zoo.config import shortened

if TYPE_CHECKING:
    from bigr_cli.prompts import Label
    from bigr_cli.zoo.config import ModelConfig

_LONGEST = 200  # characters of a phrase in a hint


@dataclass(frozen=True)
class Prompt:
    """A label or a text; `place` is the file and the line that it is from, or "", and `bare` one word of the shell."""

    text: str
    place: str = ""
    bare: bool = False


def prompts_given(words: Sequence[str] | None, option: Sequence[str] | None, file: Path | None) -> list[Prompt]:
    """The arguments, those of --prompt and those of --prompts, in this order. UsageError for a file without any."""
    from bigr_cli.data.captions import numbered_texts

    where = "stdin" if str(file) == "-" else str(file)
    lines = numbered_texts(file) if file else []
    return [
        *(Prompt(word, bare=len(word.split()) == 1) for word in words or ()),
        *(Prompt(text) for text in option or ()),
        *(Prompt(text, f"{where}, line {number}") for number, text in lines),
    ]


def wanted_prompts(config: "ModelConfig", given: Sequence[Prompt], every: bool, chooser: Chooser) -> "Sequence[Label]":
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


def _texts(config: "ModelConfig", given: Sequence[Prompt], every: bool) -> "list[Label]":
    """The texts, each of which the model reads."""
    if every:
        raise UsageError(f"{config.name} reads texts and has no labels")
    if not given:
        hint = f'for example: bigr generate "a blue house on grass at night" -m {config.name} -n 4'
        raise UsageError(f"no text given; {config.name} takes {listing(config)}", hint=hint)
    for each in given:
        try:
            guide(config, each.text)
        except UsageError as error:
            advice, phrase = error.hint, " ".join(one.text for one in given if one.bare)
            if each.bare and sum(one.bare for one in given) > 1:
                advice = f'quote the text: "{phrase[:_LONGEST]}"' + (f"; {advice}" if advice else "")
            name = each.place or (shortened(each.text) if len(given) > 1 else "")
            said = str(error) if str(error).startswith(name) else f"{name}: {error}"
            raise UsageError(said, hint=advice) from error
    return [each.text for each in given]
