"""What `--help` shows: what a command does, examples, then its options in the order in which a person needs them.

An option takes one line: the first sentence of its help. docs/commands.md has all of it, other names that an option may
be given by, and (in docs/settings.md) its environment variable. `--help-all` adds options that few people need.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

from bigr_cli.options import declare
from bigr_cli.registry import MAKE, MANAGE, TRAIN, UNDERSTAND
from bigr_cli.usage_errors import require_values, warn_of_repetition

if TYPE_CHECKING:
    from rich.console import Console

HELP_ALL = "--help-all"

_COMMANDS = (MAKE, UNDERSTAND, TRAIN, MANAGE)  # as `bigr --help` has them
_FIRST = (declare.ARGUMENTS, declare.INPUT, "Canvas", declare.MASK, "Detail", "Film", "Features", declare.PAINTING)
_LAST = (declare.MODEL, declare.OUTPUT, declare.SAMPLING, declare.MACHINE, declare.RARE)
_OPTIONS = "Options"
_FEW = 8  # options that need no more than one panel
_AT_THE_TOP = 2  # examples; the others follow the options
_SENTENCE = re.compile(r"\.(?=\s)")


class _Help:
    """The help of a command, instead of Typer's."""

    def parse_args(self, context: Any, words: list[str]) -> list[str]:
        own = words[: words.index("--")] if "--" in words else words
        if isinstance(self, TyperGroup):  # of which those of the command below it are none
            own = list(takewhile(lambda word: word.startswith("-"), own))
        if HELP_ALL in own:
            context.meta[HELP_ALL] = True
            place = words.index(HELP_ALL)
            words = [*words[:place], "--help", *words[place + 1 :]]
        return super().parse_args(context, words)  # type: ignore[misc, no-any-return]

    def format_help(self, context: Any, formatter: Any) -> None:
        _show(self, context, everything=HELP_ALL in context.meta)


class Command(_Help, TyperCommand):
    """A command with such help, whose options do not take each other for their values."""

    def parse_args(self, context: Any, words: list[str]) -> list[str]:
        require_values(self, words)
        given = list(words)  # click empties its list
        rest = super().parse_args(context, words)
        warn_of_repetition(self, context, given)
        return rest


class Group(_Help, TyperGroup):
    """A group of commands with such help."""


def long_name(parameter: Any) -> str:
    """What an option is called: its first long name; further ones are what other programs call it."""
    names: list[str] = parameter.opts
    return next((name for name in names if name.startswith("--")), names[0])


def aliases(parameter: Any) -> list[str]:
    """Other long names of an option."""
    return [name for name in parameter.opts if name.startswith("--")][1:]


def panel_of(parameter: Any) -> str:
    """The panel that an option or an argument stands in."""
    own: str = getattr(parameter, "rich_help_panel", None) or ""
    if parameter.param_type_name == "argument":
        return own or declare.ARGUMENTS
    return own or _OPTIONS


def in_order(panels: Iterable[str]) -> list[str]:
    """Panels as they follow each other: what and where to, the task's own, the model, and the sampler's options."""
    found = dict.fromkeys(panels)
    own = [name for name in found if name not in (*_FIRST, *_LAST)]
    return [name for name in (*_FIRST, *own, *_LAST) if name in found]


def first_sentence(text: str) -> str:
    """The sentence that a text begins with."""
    plain = " ".join(text.split())
    end = _SENTENCE.search(plain)
    return plain if end is None else plain[: end.end()]


def metavar_of(parameter: Any) -> str:
    """What help shows for an option's value; "" for a flag."""
    if getattr(parameter, "is_flag", False):
        return ""
    return parameter.metavar or str(parameter.name).upper()


def _show(command: Any, context: Any, *, everything: bool) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    usage = Text(command.get_usage(context), style="bold")
    console.print(Padding(usage, (1, 1, 0, 1)))
    first, *details = (command.help or "").split("\n\n")
    examples = (command.epilog or "").split("\n\n") if command.epilog else []
    console.print(Padding(Text.from_markup(first), (1, 1, 0, 1)))
    if examples:
        console.print(Padding(Text.from_markup("\n".join(examples[:_AT_THE_TOP])), (1, 1, 0, 3)))
    if details:
        console.print(Padding(Text.from_markup("\n".join(details), style="dim"), (1, 1, 0, 1)))
    console.print()
    if isinstance(command, TyperGroup):
        _show_commands(console, command, context)
    left = _show_options(console, command.get_params(context), everything=everything)
    if left:
        console.print(f" [dim]{left} more options: {context.command_path} {HELP_ALL}[/dim]")
    if examples[_AT_THE_TOP:]:
        console.print(Padding(Text.from_markup("\n".join(examples[_AT_THE_TOP:])), (0, 1, 0, 3)))


def _show_options(console: Console, parameters: Iterable[Any], *, everything: bool) -> int:
    """Print the panels, and return how many options were left out."""
    from rich.cells import cell_len

    panels: dict[str, list[tuple[str, str, str, bool]]] = {}
    shown, left = [one for one in parameters if not getattr(one, "hidden", False)], 0
    panel = _placed(shown)
    for name in in_order(map(panel, shown)):
        rows = [_row(one) for one in shown if panel(one) == name]
        if name == declare.RARE and not everything:
            left = len(rows)
        else:
            panels[name] = rows
    width = max((cell_len(f"{name} {value}") for rows in panels.values() for name, value, _, _ in rows), default=0)
    for name, rows in panels.items():
        _print_panel(console, name, ((_named(*row[:2]), row[2], row[3]) for row in rows), width)
    return left


def _placed(shown: Sequence[Any]) -> Callable[[Any], str]:
    """The panel of each: few options need one panel alone, and --help goes with those about the machine."""
    few = sum(panel_of(one) != declare.ARGUMENTS for one in shown) <= _FEW
    machine = any(panel_of(one) == declare.MACHINE for one in shown)

    def panel(parameter: Any) -> str:
        own = panel_of(parameter)
        if few:
            return own if own == declare.ARGUMENTS else _OPTIONS
        return declare.MACHINE if machine and not parameter.expose_value else own

    return panel


def _row(parameter: Any) -> tuple[str, str, str, bool]:
    """An option's name and value, what it does, and whether it has to be given."""
    text = first_sentence(getattr(parameter, "help", None) or "")
    default = parameter.default
    told = (
        getattr(parameter, "show_default", False) and default not in (None, False, True, "") and not callable(default)
    )
    if told and not isinstance(default, list | tuple):
        text += f" [dim]\\[{getattr(default, 'value', default)}][/dim]"
    if parameter.param_type_name == "argument":
        return parameter.metavar or str(parameter.name).upper(), "", text, bool(parameter.required)
    short = [name for name in parameter.opts if not name.startswith("--")]
    long, off = long_name(parameter), [name for name in parameter.secondary_opts if name.startswith("--")]
    if off:
        long = f"--[no-]{long[2:]}" if off[0] == f"--no-{long[2:]}" else f"{long}/{off[0]}"
    return ", ".join([*short, long] if long not in short else short), metavar_of(parameter), text, parameter.required


def _named(name: str, value: str) -> Any:
    from rich.text import Text

    return Text.assemble((name, "bold cyan"), " ", (value, "yellow"))


def _print_panel(console: Console, title: str, rows: Iterator[tuple[Any, str, bool]], width: int) -> None:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(min_width=min(width, 34), max_width=44)
    table.add_column(ratio=1)
    for name, text, required in rows:
        help_text = Text.from_markup(text)
        table.add_row(name, help_text.append(" required", style="red") if required else help_text)
    console.print(Panel(table, title=title, title_align="left", border_style="dim"))


def _show_commands(console: Console, group: Any, context: Any) -> None:
    from rich.text import Text

    found = [group.get_command(context, name) for name in group.list_commands(context)]
    visible = [one for one in found if one is not None and not one.hidden]
    names = dict.fromkeys(getattr(one, "rich_help_panel", None) or "Commands" for one in visible)
    width = max((len(one.name or "") for one in visible), default=0)
    for panel in sorted(names, key=lambda name: _COMMANDS.index(name) if name in _COMMANDS else len(_COMMANDS)):
        rows = (
            (Text(str(one.name), style="bold cyan"), one.short_help or first_sentence(one.help or ""), False)
            for one in visible
            if (getattr(one, "rich_help_panel", None) or "Commands") == panel
        )
        _print_panel(console, panel, rows, width)
