"""Write docs/commands.md from the registered commands; with --check, fail if it is not current.

python scripts/commands.py [--check]
"""

import inspect
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

os.environ["BIGR_PLUGINS"] = "none"

from typer.models import ArgumentInfo, OptionInfo

from bigr_cli.help_pages import in_order
from bigr_cli.registry import Registry, Task, discover

TARGET = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
HEADER = """# Commands

Generated from `bigr COMMAND --help` by `python scripts/commands.py`; do not edit.

Exit codes: 0 done, 1 a failure at run time, 2 wrong usage or bad input, 130 interrupted, 143 ended by SIGTERM.
Results go to stdout, messages and progress to stderr. `--debug`, at any place, shows the traceback of an error.

`--help` has the options that most people need, `--help-all` all. Options may be written with underscores
(--num_images), and have [other names](#other-names). Many have an
[environment variable](settings.md#environment-variables).
"""
OTHER_NAMES = """## Other names

Options that are called otherwise in diffusers, accelerate, torch-fidelity and mflux go by those names too.

| option | also |
|---|---|
"""
REPLACED = """
These are not in `--help`, because another option or argument says the same.

| option | |
|---|---|
"""


def document(registry: Registry) -> str:
    """The page as Markdown."""
    tasks = sorted((task for task in registry.tasks.values() if not task.hidden), key=lambda task: task.path)
    lines = [HEADER, "| command | what it does |", "|---|---|"]
    lines += [f"| [`bigr {task.name}`](#{_anchor(task)}) | {_cell(task.help)} |" for task in tasks]
    for task in tasks:
        lines += ["", *_section(task)]
    lines += ["", *_other_names(tasks)]
    return "\n".join(lines) + "\n"


def _section(task: Task) -> Iterator[str]:
    parameters = [entry for entry in _parameters(task) if not entry[2].hidden]
    arguments = [entry for entry in parameters if isinstance(entry[2], ArgumentInfo)]
    options = [entry for entry in parameters if isinstance(entry[2], OptionInfo)]
    panels = in_order(entry[2].rich_help_panel or "Options" for entry in options)
    options.sort(key=lambda entry: panels.index(entry[2].rich_help_panel or "Options"))
    usage = " ".join(_argument_name(*entry) for entry in arguments)
    yield from (f"## bigr {task.name}", "", _plain(task.help))
    details = inspect.cleandoc((task.function.__doc__ or "").partition("\f")[0])
    if details:
        yield from ("", _plain(details))
    yield from ("", "```", " ".join(filter(None, (f"bigr {task.name}", usage, "[OPTIONS]" if options else ""))), "```")
    if task.aliases:
        yield from ("", "Also: " + ", ".join(f"`{alias}`" for alias in task.aliases) + ".")
    if arguments:
        yield from ("", "| argument | |", "|---|---|")
        yield from (f"| `{_argument_name(*entry)}` | {_explained(*entry)} |" for entry in arguments)
    if options:
        yield from ("", "| option | |", "|---|---|")
        for entry in options:
            yield f"| {_option_names(*entry)} | {_explained(*entry)} |"
    if task.examples:
        yield from ("", "```", *task.examples, "```")


def _other_names(tasks: Sequence[Task]) -> Iterator[str]:
    """The tables of aliases, and of hidden options, each once."""
    found: dict[str, list[str]] = {}
    hidden: dict[str, str] = {}
    for entry in (entry for task in tasks for entry in _parameters(task) if isinstance(entry[2], OptionInfo)):
        name, *others = _long_names(entry[0], entry[1], entry[2])
        if entry[2].hidden:
            hidden.setdefault(_option_names(*entry), _explained(*entry))
        elif others:
            known = found.setdefault(name, [])
            known += [other for other in others if other not in known]
    yield OTHER_NAMES + "\n".join(
        f"| `{name}` | {', '.join(f'`{other}`' for other in others)} |" for name, others in sorted(found.items())
    )
    yield REPLACED + "\n".join(f"| {names} | {text} |" for names, text in sorted(hidden.items()))


def _parameters(task: Task) -> Iterator[tuple[inspect.Parameter, Any, ArgumentInfo | OptionInfo]]:
    """Parameter, type and Typer's description of each argument and option."""
    hints = get_type_hints(task.function, include_extras=True)
    for parameter in inspect.signature(task.function).parameters.values():
        described = [
            extra
            for extra in getattr(hints[parameter.name], "__metadata__", ())
            if isinstance(extra, (ArgumentInfo, OptionInfo))
        ]
        if described:
            yield parameter, get_args(hints[parameter.name])[0], described[0]


def _argument_name(parameter: inspect.Parameter, kind: Any, info: ArgumentInfo | OptionInfo) -> str:
    name = info.metavar or parameter.name.upper()
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    several = (
        "…" if any(get_origin(part) in (list, tuple) for part in parts) and not name.endswith(("…", "...")) else ""
    )
    return f"{name}{several}" if parameter.default is parameter.empty else f"[{name}{several}]"


def _option_names(parameter: inspect.Parameter, kind: Any, info: ArgumentInfo | OptionInfo) -> str:
    names = [name for name in _names(parameter, kind, info) if not name.startswith("--")]
    names.append(_long_names(parameter, kind, info)[0])
    value = "" if kind is bool else f" {info.metavar or _value_name(kind)}"
    return ", ".join(f"`{name}`" for name in names[:-1]) + (", " if names[1:] else "") + _code(names[-1] + value)


def _names(parameter: inspect.Parameter, kind: Any, info: ArgumentInfo | OptionInfo) -> list[str]:
    # Inside Annotated the first name lands in the field that otherwise holds the default.
    names = [name for name in (info.default, *(info.param_decls or ())) if str(name).startswith("-")]
    long = "--" + parameter.name.replace("_", "-")
    return names or [f"{long}/--no-{long[2:]}" if kind is bool else long]


def _long_names(parameter: inspect.Parameter, kind: Any, info: ArgumentInfo | OptionInfo) -> list[str]:
    """What an option is called, then what else."""
    return [name for name in _names(parameter, kind, info) if name.startswith("--")]


def _value_name(kind: Any) -> str:
    if get_origin(kind) in (Union, UnionType):
        return _value_name(next(part for part in get_args(kind) if part is not NoneType))
    if get_origin(kind) is Literal:
        return "|".join(str(choice) for choice in get_args(kind))
    if get_origin(kind) is list:
        return _value_name(get_args(kind)[0])
    return {int: "N", float: "X", str: "TEXT", Path: "PATH"}.get(kind, "VALUE")


def _explained(parameter: inspect.Parameter, kind: Any, info: ArgumentInfo | OptionInfo) -> str:
    text = _cell(info.help or "")
    default = parameter.default
    if default in (None, False, True, "") or default is parameter.empty or isinstance(default, (list, tuple)):
        return text
    return f"{text} Default: `{getattr(default, 'value', default)}`."


def _plain(text: str) -> str:
    return re.sub(r"\[/?(?:bold|dim|italic|cyan|green|yellow|red|code)\]", "", text)


def _cell(text: str) -> str:
    return _plain(" ".join(text.split())).replace("|", "\\|")


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _anchor(task: Task) -> str:
    return f"bigr-{'-'.join(task.path)}"


def main(arguments: list[str]) -> int:
    """Write the page, or with --check compare it; returns the exit code."""
    registry = discover()
    if registry.faults:
        print(*registry.faults, sep="\n", file=sys.stderr)
        return 1
    page = document(registry)
    if "--check" not in arguments:
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_text(page, encoding="utf-8")
        print(f"wrote {TARGET}")
        return 0
    if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != page:
        print("docs/commands.md is not current: run python scripts/commands.py", file=sys.stderr)
        return 1
    print("docs/commands.md is current")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
