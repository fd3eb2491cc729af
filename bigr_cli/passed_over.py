"""What a command leaves out of what it was given: counted, named, and said once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from bigr_cli import console

# Files that nobody expects to be taken for images: leaving them out deserves a word, but no warning.
_BESIDE = (
    *(
        "",
        ".txt",
        ".json",
        ".jsonl",
        ".csv",
        ".tsv",
        ".md",
        ".rst",
        ".yaml",
        ".yml",
        ".xml",
        ".html",
        ".log",
        ".caption",
    ),
    *(".py", ".sh", ".ini", ".db", ".part", ".cls", ".idx", ".sha256", ".md5"),
)
_NAMED = 3  # of each reason, in messages


class PassedOver:
    """What is left out, and why: counted, with the first names of each reason."""

    def __init__(self) -> None:
        self._names: dict[tuple[bool, str], list[str]] = {}
        self._counts: dict[tuple[bool, str], int] = {}
        self._warned: set[tuple[bool, str]] = set()

    def add(self, reason: str, name: str | Callable[[], str], *, folder: bool = False, warn: bool = True) -> None:
        """`reason` completes "12 …"; a callable name is asked for only if it will be said."""
        key = (folder, reason)
        self._counts[key] = self._counts.get(key, 0) + 1
        if warn:
            self._warned.add(key)
        names = self._names.setdefault(key, [])
        if len(names) < _NAMED:
            names.append(name() if callable(name) else name)

    def add_file(self, name: str) -> None:
        """A file that is hidden, or whose suffix is that of no image."""
        if os.path.basename(name).startswith("."):
            self.add("hidden", name, warn=False)
            return
        suffix = os.path.splitext(name)[1].lower()
        self.add(suffix or "without a suffix", name, warn=suffix not in _BESIDE)

    def entries(self) -> list[tuple[str, int, list[str], bool]]:
        """Of each reason how many files, the first names, and whether it is worth a warning."""
        return [
            (reason, count, self._names[folder, reason], (folder, reason) in self._warned)
            for (folder, reason), count in self._counts.items()
        ]

    def add_entries(self, entries: Iterable[tuple[str, int, list[str], bool]], prefix: str = "") -> None:
        """Count what `entries` gave elsewhere, with `prefix` before the names."""
        for reason, count, names, warn in entries:
            for name in names:
                self.add(reason, f"{prefix}{name}", warn=warn)
            self._counts[False, reason] += count - len(names)

    @property
    def count(self) -> int:
        """How much it is in all."""
        return sum(self._counts.values())

    def __str__(self) -> str:
        """Such as "2 .tga (a.tga, b.tga), 1 hidden (.b.png); folders: 1 empty (c)"."""
        files, folders = (", ".join(self._parts(folder)) for folder in (False, True))
        return f"{files}; folders: {folders}" if files and folders else files or folders

    def _parts(self, wanted: bool) -> list[str]:
        parts = []
        for (folder, reason), count in self._counts.items():
            names = self._names[folder, reason]
            if folder is wanted:
                parts.append(f"{count:,} {reason} ({', '.join(names)}{', …' if count > len(names) else ''})")
        return parts

    def report(self, where: str, heard: set[str] | None = None) -> None:
        """Say what was passed over in `where`, if anything; what `heard` has is not repeated."""
        if not self.count:
            return
        folders = sum(count for (folder, _), count in self._counts.items() if folder)
        files = self.count - folders
        counted = [_counted(number, what) for number, what in ((files, "file"), (folders, "folder")) if number]
        message = f"{where}: {' and '.join(counted)} passed over: {self}"
        if heard is not None:
            if message in heard:
                return
            heard.add(message)
        (console.warn if self._warned else console.say)(message)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
