"""Installed packages that bring something to bigr through entry points, and those of them that are left out."""

import importlib.metadata
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint

from bigr_cli.errors import BigrError
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
