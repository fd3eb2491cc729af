"""Write docs/commands.md from the registered commands; with --check, fail if it is not current.

python scripts/commands.py [--check]
"""

import inspect
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

os.environ["BIGR_PLUGINS"] = "none"

from typer.models import ArgumentInfo, OptionInfo

from bigr_cli.registry import Registry, Task, discover

TARGET = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
HEADER = """# Commands

Generated from `bigr COMMAND --help` by `python scripts/commands.py`; do not edit.

Exit codes: 0 done, 1 a failure at run time, 2 wrong usage or bad input, 130 interrupted. Results go to stdout, messages
and progress to stderr. `--debug`, at any place, shows the traceback of an error.
"""


def document(registry: Registry) -> str:
    """The page as Markdown."""
    tasks = sorted((task for task in registry.tasks.values() if not task.hidden), key=lambda task: task.path)
    lines = [HEADER, "| command | what it does |", "|---|---|"]
    lines += [f"| [`bigr {task.name}`](#{_anchor(task)}) | {_cell(task.help)} |" for task in tasks]
    for task in tasks:
        lines += ["", *_section(task)]
    return "\n".join(lines) + "\n"


def _section(task: Task) -> Iterator[str]:
    parameters = list(_parameters(task))
    arguments = [entry for entry in parameters if isinstance(entry[2], ArgumentInfo)]
    options = [entry for entry in parameters if isinstance(entry[2], OptionInfo)]
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
        yield from ("", "| option | | variable |", "|---|---|---|")
        for entry in options:
            yield f"| {_option_names(*entry)} | {_explained(*entry)} | {_variable(entry[2])} |"
    if task.examples:
        yield from ("", "```", *task.examples, "```")


def _parameters(task: Task) -> Iterator[tuple[inspect.Parameter, Any, ArgumentInfo | OptionInfo]]:
    """Parameter, type and Typer's description of each argument and option that is not hidden."""
    hints = get_type_hints(task.function, include_extras=True)
    for parameter in inspect.signature(task.function).parameters.values():
        described = [
            extra
            for extra in getattr(hints[parameter.name], "__metadata__", ())
            if isinstance(extra, (ArgumentInfo, OptionInfo))
        ]
        if described and not described[0].hidden:
            yield parameter, get_args(hints[parameter.name])[0], described[0]


def _argument_name(parameter: inspect.Parameter, kind: Any, info: ArgumentInfo | OptionInfo) -> str:
    name = info.metavar or parameter.name.upper()
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    several = (
        "…" if any(get_origin(part) in (list, tuple) for part in parts) and not name.endswith(("…", "...")) else ""
    )
    return f"{name}{several}" if parameter.default is parameter.empty else f"[{name}{several}]"


def _option_names(parameter: inspect.Parameter, kind: Any, info: ArgumentInfo | OptionInfo) -> str:
    # Inside Annotated the first name lands in the field that otherwise holds the default.
    names = [name for name in (info.default, *(info.param_decls or ())) if str(name).startswith("-")]
    if not names:
        long = "--" + parameter.name.replace("_", "-")
        names = [f"{long}/--no-{long[2:]}" if kind is bool else long]
    value = "" if kind is bool else f" {info.metavar or _value_name(kind)}"
    return ", ".join(f"`{name}`" for name in names[:-1]) + (", " if names[1:] else "") + _code(names[-1] + value)


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


def _variable(info: ArgumentInfo | OptionInfo) -> str:
    return f"`{info.envvar}`" if info.envvar else ""


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
