"""The commands of `bigr`: built in or brought by plugins, all registered and loaded the same way.

A task is one function that Typer can read, in a module that an entry point of the group `bigr.tasks` names:

    @task("palette", help="Print the dominant colours of an image")
    def palette(image: Path) -> None: ...

A name of two words ("models list") is a command of a group, which `group("models", help=...)` may describe. Built-in
tasks are the modules of `bigr_cli.tasks`: each is an entry point too, made here instead of read from package metadata,
so that a new file is a new command. Modules must be cheap to import; what is heavy (torch) they import in functions.
"""

import importlib.metadata
import importlib.util
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any, TypeVar

from bigr_cli.errors import BigrError
from bigr_cli.plugins import BUILT_IN, Fault, Origin, plugin_entry_points

ENTRY_POINT_GROUP = "bigr.tasks"
BUILT_IN_PACKAGE = "bigr_cli.tasks"  # a name, as those of plugins
MAKE, UNDERSTAND, TRAIN, MANAGE = "Make", "Understand", "Train", "Manage"  # panels of commands that are built in
PLUGIN_PANEL = "Plugins"

_WORD = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_Function = TypeVar("_Function", bound=Callable[..., Any])


class RegistrationError(BigrError):
    """A task that cannot be registered: a malformed name, no help, or a name that is taken."""


@dataclass(frozen=True)
class Task:
    """A registered command."""

    path: tuple[str, ...]
    function: Callable[..., Any]
    help: str
    origin: Origin
    aliases: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    panel: str = MANAGE
    hidden: bool = False

    @property
    def name(self) -> str:
        """The words after `bigr` that run it."""
        return " ".join(self.path)


@dataclass
class Registry:
    """Tasks by path, groups by name, and the plugins that could not be loaded."""

    tasks: dict[tuple[str, ...], Task] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    _loading: Origin | None = None
    _complete: bool = False

    def task(
        self,
        name: str,
        *,
        help: str,
        aliases: Sequence[str] = (),
        examples: Sequence[str] = (),
        panel: str | None = None,
        hidden: bool = False,
    ) -> Callable[[_Function], _Function]:
        """Register the decorated function as the command `name`: "inpaint", or "models list" in a group.

        `help` is the line in `bigr --help`; the function's docstring follows it in the command's own help. `aliases`
        are other last words for it, `examples` command lines shown below the help, `panel` the heading it stands
        under. Raises RegistrationError if the name is malformed or taken, or the help is empty.
        """
        path = _path(name)
        if not help.strip():
            raise RegistrationError(f"task {name!r} has no help text")

        def register(function: _Function) -> _Function:
            if not callable(function):
                raise RegistrationError(f"task {name!r} is not a function but {type(function).__name__}")
            origin = self._origin_of(function)
            heading = panel or (MANAGE if origin == BUILT_IN else PLUGIN_PANEL)
            entry = Task(path, function, help.strip(), origin, tuple(aliases), tuple(examples), heading, hidden)
            for taken in (path, *((*path[:-1], _path(alias)[0]) for alias in aliases)):
                self._refuse_taken(taken)
            self.tasks[path] = entry
            return function

        return register

    def group(self, name: str, *, help: str) -> None:
        """Describe a group of commands; raises RegistrationError if it is described twice or a task has its name."""
        path = _path(name)
        if len(path) != 1 or not help.strip():
            raise RegistrationError(f"group {name!r} needs a name of one word and a help text")
        if name in self.groups or path in self.tasks:
            raise RegistrationError(f"group {name!r} is registered already")
        self.groups[name] = help.strip()

    def load(self, built_in: Iterable[EntryPoint], plugins: Iterable[tuple[EntryPoint, Origin]]) -> None:
        """Import what the entry points name, built-in ones first; a failure becomes a Fault and changes nothing."""
        for entry_point in built_in:
            self._load_one(entry_point, BUILT_IN)
        for entry_point, origin in plugins:
            self._load_one(entry_point, origin)

    def discard(self, task: Task, error: BaseException) -> None:
        """Take out a task that turned out not to work as a command, and record why."""
        del self.tasks[task.path]
        self.faults.append(Fault(task.name, task.origin, error))

    def _load_one(self, entry_point: EntryPoint, origin: Origin) -> None:
        before = dict(self.tasks), dict(self.groups)
        self._loading = origin
        try:
            entry_point.load()
            if not any(task.origin == origin for task in self.tasks.values()):
                raise RegistrationError(f"{entry_point.value} registers no task")
        except (Exception, SystemExit) as error:  # whatever a plugin does, the others must still work
            self.tasks, self.groups = before
            self.faults.append(Fault(entry_point.name, origin, error))
        finally:
            self._loading = None

    def _origin_of(self, function: Callable[..., Any]) -> Origin:
        module = getattr(function, "__module__", None) or "?"
        if module.startswith("bigr_cli."):
            return BUILT_IN
        return self._loading or Origin(module.partition(".")[0], "")

    def _refuse_taken(self, path: tuple[str, ...]) -> None:
        for other in self.tasks.values():
            names = {other.path, *((*other.path[:-1], alias) for alias in other.aliases)}
            if path in names or path[:1] in names or path == other.path[:1]:
                raise RegistrationError(
                    f"{' '.join(path)!r} is registered already, by {other.origin} ({other.function.__module__})"
                )
        if len(path) == 1 and path[0] in self.groups:
            raise RegistrationError(f"{path[0]!r} is a group already")


def _path(name: str) -> tuple[str, ...]:
    path = tuple(name.split(" "))
    if not 1 <= len(path) <= 2 or not all(_WORD.fullmatch(word) for word in path):
        raise RegistrationError(
            f"{name!r} is no name for a task: one word or two, of a-z, 0-9 and single hyphens, such as 'models list'"
        )
    return path


def built_in_entry_points(package: str = BUILT_IN_PACKAGE) -> Iterator[EntryPoint]:
    """One entry point per public module of a package, by name."""
    found = importlib.util.find_spec(package)
    folders = found.submodule_search_locations if found else None
    for module in sorted(pkgutil.iter_modules(folders), key=lambda found: found.name):
        if not module.name.startswith("_"):
            yield EntryPoint(module.name, f"{package}.{module.name}", ENTRY_POINT_GROUP)


REGISTRY = Registry()
task = REGISTRY.task
group = REGISTRY.group


def discover() -> Registry:
    """The process's registry, with every built-in task and plugin in it; loads them on the first call."""
    if not REGISTRY._complete:
        REGISTRY._complete = True
        REGISTRY.load(built_in_entry_points(), plugin_entry_points(ENTRY_POINT_GROUP))
    return REGISTRY
