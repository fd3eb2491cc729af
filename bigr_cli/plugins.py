"""Installed packages that bring something to bigr through entry points, and those of them that are left out."""

import importlib.metadata
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint

from bigr_cli import console
from bigr_cli.errors import BigrError, ModelError
from bigr_cli.version import __version__

PLUGINS_VARIABLE = "BIGR_PLUGINS"


@dataclass(frozen=True)
class Origin:
    """The distribution that something comes from."""

    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".rstrip()


BUILT_IN = Origin("bigr-cli", __version__)


@dataclass(frozen=True)
class Fault:
    """A plugin that was left out, and why."""

    plugin: str
    origin: Origin
    error: BaseException

    def __str__(self) -> str:
        reason = " ".join(str(self.error).split())
        kind = "" if isinstance(self.error, BigrError) else f"{type(self.error).__name__}: "
        return f"plugin {self.plugin!r} ({self.origin}) is left out: {kind}{reason}"


def plugin_entry_points(group: str) -> Iterator[tuple[EntryPoint, Origin]]:
    """Installed plugins that BIGR_PLUGINS allows: all if it is not set, none for "none", or those it lists."""
    allowed = os.environ.get(PLUGINS_VARIABLE)
    if allowed is not None and allowed.strip() in ("", "none"):
        return
    names = None if allowed is None else {name.strip() for name in allowed.split(",")}
    found = importlib.metadata.entry_points(group=group)
    for entry_point in sorted(found, key=lambda candidate: candidate.name):
        distribution = entry_point.dist
        origin = Origin(distribution.name, distribution.version) if distribution else Origin("unknown", "")
        if names is None or entry_point.name in names or origin.distribution in names:
            yield entry_point, origin


def named_entry_points(
    group: str, built_in: Mapping[str, str], kind: str, reserved: Collection[str] = ()
) -> dict[str, tuple[EntryPoint, Origin]]:
    """What there is of a group by its name, with where it comes from: built-in ones, and those of plugins.

    A plugin's is left out, with a warning, if its name is taken or reserved.

    Args:
        group: of the entry points.
        built_in: the objects by their names, as "module:name".
        kind: what messages call one of them.
        reserved: other names that no plugin may take.
    """
    found = {name: (EntryPoint(name, value, group), BUILT_IN) for name, value in built_in.items()}
    for entry_point, origin in plugin_entry_points(group):
        if entry_point.name in found or entry_point.name in reserved:
            taken = found[entry_point.name][1] if entry_point.name in found else BUILT_IN
            error = ModelError(f"there is a {kind} of this name already, from {taken}")
            console.warn(str(Fault(entry_point.name, origin, error)))
        else:
            found[entry_point.name] = (entry_point, origin)
    return found
