"""The application: commands from the registry, and the one place where errors become messages and exit codes.

Exit codes: 0 done, 1 a failure at run time, 2 wrong usage or bad input, 130 interrupted, 143
ended by SIGTERM.
"""

import inspect
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer
import typer.main

from bigr_cli import console, home, streams
from bigr_cli.errors import BigrError
from bigr_cli.help_pages import Command, Group
from bigr_cli.options import option
from bigr_cli.plain_text import escaped
from bigr_cli.plugins import BUILT_IN
from bigr_cli.registry import Registry, Task, discover
from bigr_cli.runtime.memory import out_of_memory
from bigr_cli.usage_errors import explained, with_boxes
from bigr_cli.version import __version__

HELP = "Generate, complete, edit and understand images with binary latent codes."
# How long an idle thread of torch's (of GNU OpenMP) keeps its core busy before it sleeps. By default it does for longer
# than most operations last, and where other programs want the cores too, those that have work wait for those that wait.
_SPINS = "5000"
EPILOG = "[dim]$[/dim] bigr generate cat\n\n[dim]$[/dim] bigr COMMAND --help"


def _show_version(wanted: bool) -> None:
    if wanted:
        console.result(f"bigr {__version__}")
        raise typer.Exit


def _root(
    context: typer.Context,
    version: Annotated[
        bool, option("--version", "Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
    debug: Annotated[
        bool, option("--debug", "Show the traceback of an error (at any place).", variable="BIGR_DEBUG")
    ] = False,
) -> None:
    _show_help(context)


def _show_help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _long_help(task: Task) -> str:
    details = inspect.cleandoc((task.function.__doc__ or "").partition("\f")[0])
    paragraphs = [_flowing(paragraph) for paragraph in details.split("\n\n") if paragraph]
    return "\n\n".join([task.help, *paragraphs])


def _flowing(paragraph: str) -> str:
    """A paragraph in one line, for the terminal's width to break; lists and indented lines stay as they are."""
    lines = paragraph.splitlines()
    return paragraph if any(line.startswith((" ", "- ", "* ")) for line in lines) else " ".join(lines)


def _add(target: typer.Typer, task: Task) -> None:
    for name in (task.path[-1], *task.aliases):
        target.command(
            name,
            cls=Command,
            help=_long_help(task),
            short_help=task.help,
            epilog=_shown(task.examples),
            rich_help_panel=task.panel,
            hidden=task.hidden or name in task.aliases,
        )(task.function)


def _shown(examples: Sequence[str]) -> str | None:
    return "\n\n".join(f"[dim]$[/dim] {example}" for example in examples) or None


def _with_hyphens(name: str) -> str:
    """An option as others write it, --num_images, is the one with hyphens."""
    return name.replace("_", "-")


def _works(registry: Registry, task: Task) -> bool:
    """Whether Typer can make a command of it; a plugin's function that it cannot read is left out."""
    if task.origin == BUILT_IN:
        return True
    trial = typer.Typer(add_completion=False)
    try:
        _add(trial, task)
        _check_markup(typer.main.get_command(trial))
    except Exception as error:  # Typer raises what it likes about a signature
        registry.discard(task, error)
        return False
    return True


def _check_markup(command: Any) -> None:
    """Raise MarkupError where the help of a command is no markup that rich can show, which would end every `--help`."""
    from rich.text import Text

    for owner, name in _help_texts(command):
        Text.from_markup(getattr(owner, name))


def _help_texts(command: Any) -> Iterator[tuple[Any, str]]:
    """What the help of a command shows, as the object and the attribute that hold each text."""
    for owner in (command, *command.params):
        for name in ("help", "short_help", "epilog", "metavar", "rich_help_panel"):
            if isinstance(getattr(owner, name, None), str):
                yield owner, name


def _make_visible(command: Any) -> None:
    """Show control characters in the help of a command and those below it as escapes."""
    for owner, name in _help_texts(command):
        setattr(owner, name, escaped(getattr(owner, name), keep="\n\b\f"))  # which lay out paragraphs
    for below in getattr(command, "commands", {}).values():
        _make_visible(below)


def _called(registry: Registry, words: Sequence[str]) -> str | None:
    """The command or group of commands that these words call; None where others may have to be named as well."""
    if not words or "_BIGR_COMPLETE" in os.environ:
        return None
    return next((words[0] for task in registry.tasks.values() if words[0] in _names(task)), None)


def _names(task: Task) -> tuple[str, ...]:
    """What a task, or the group that it is in, is called by at the front of a command line."""
    return (task.path[0], *(task.aliases if len(task.path) == 1 else ()))


_built: dict[tuple[object, ...], Any] = {}


def build(registry: Registry, words: Sequence[str] = ()) -> Any:
    """The click command of the application, with the one command that these words call if they do: all take long.

    It is made once in a process, unless the registry changes.
    """
    called = _called(registry, words)
    state = (called, *registry.tasks.values(), *registry.groups.items())
    if state not in _built:
        _built[state] = _build(registry, called)
    return _built[state]


def _build(registry: Registry, called: str | None) -> Any:
    app = typer.Typer(
        name="bigr",
        cls=Group,
        help=HELP,
        epilog=EPILOG,
        rich_markup_mode="rich",
        invoke_without_command=True,
        context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": _with_hyphens},
    )
    app.callback()(_root)
    groups: dict[str, typer.Typer] = {}
    for task in sorted(registry.tasks.values(), key=lambda one: one.path[0] if one.origin == BUILT_IN else "~"):
        if _works(registry, task) and called in (None, *_names(task)):
            name = task.path[0]
            if len(task.path) == 2 and name not in groups:
                groups[name] = typer.Typer(cls=Group, rich_markup_mode="rich", invoke_without_command=True)
                groups[name].callback()(_show_help)
                described = registry.groups.get(name, f"Commands: {name} ...")
                first = [
                    other.examples[0] for other in registry.tasks.values() if other.path[0] == name and other.examples
                ]
                app.add_typer(groups[name], name=name, help=described, epilog=_shown(first), rich_help_panel=task.panel)
            _add(groups.get(name, app), task)
    command = typer.main.get_command(app)
    _make_visible(command)
    return command


def _take_debug(arguments: list[str]) -> tuple[list[str], bool]:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [word for word in arguments[:end] if word != "--debug"]
    asked = len(kept) < end or os.environ.get("BIGR_DEBUG", "").lower() not in ("", "0", "false", "no")
    return with_boxes(kept + arguments[end:]), asked


def _report(error: BaseException, words: Sequence[str] = ()) -> int:
    if isinstance(error, BigrError):
        console.error(str(error), error.hint or home.hint_for(str(error)))
        return error.exit_code
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return 130
    if hasattr(error, "format_message"):  # the usage errors of click, wherever this version of Typer keeps them
        console.error(*explained(error, discover().tasks, words))
        return int(getattr(error, "exit_code", 2))
    first = (str(error).strip().splitlines() or [""])[0]
    advice = (home.hint_for(str(error)) if isinstance(error, OSError) else None) or "run with --debug for the traceback"
    if out_of_memory(error):
        advice = "a smaller --batch-size needs less memory"
    console.error(first if isinstance(error, OSError) else f"{type(error).__name__}: {first}", advice)
    return 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `bigr` with these arguments (those of the process if None) and return its exit code."""
    streams.prepare()
    with streams.interruptible_imports(), streams.terminable(), console.quiet_libraries():
        return _run(arguments)


@console.new_command()
def _run(arguments: Sequence[str] | None) -> int:
    words, debug = _take_debug(list(sys.argv[1:] if arguments is None else arguments))
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)  # read when torch is imported
    try:
        registry = discover()
        command = build(registry, words)
        for fault in registry.faults if "_BIGR_COMPLETE" not in os.environ else ():
            if debug:
                console.traceback(fault.error)
            console.warn(str(fault))
        try:
            code = command.main(args=words, prog_name="bigr", standalone_mode=False, obj=_run)
        finally:
            console.end_notes()
        sys.stdout.flush()
        return code if isinstance(code, int) and code else int(console.stdout_lost())
    except SystemExit as stop:
        if isinstance(stop.code, str):
            console.error(stop.code)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BrokenPipeError:
        with suppress(OSError, ValueError):  # or the interpreter complains at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            console.traceback(error)
        return _report(error, words)
