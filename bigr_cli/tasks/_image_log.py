"""What was made here: a database in BIGR_HOME with a row for each image, by which `bigr log` lists and makes again.

Only the commands write to it. A database that is damaged, locked for long or not to be written costs a warning and
nothing else. `BIGR_LOG=off`, or the file that `bigr log --off` makes, ends it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from bigr_cli import console, home
from bigr_cli.errors import RunError, UsageError

VARIABLE = "BIGR_LOG"
KEPT = 100_000  # rows; older ones are forgotten
_NAME, _OFF = "log.db", "log-off"
_FORMAT = 1
_PATIENCE = 2.0  # seconds that another process may hold the database
_OFTEN = 1.0  # seconds between two writes of a process
_COLUMNS = ("made", "task", "model", "subject", "prompt", "seed", "seconds", "path", "folder", "recipe")
_TABLE = """CREATE TABLE IF NOT EXISTS images (
  number INTEGER PRIMARY KEY AUTOINCREMENT, made REAL NOT NULL, task TEXT NOT NULL, model TEXT NOT NULL,
  subject TEXT NOT NULL, prompt TEXT NOT NULL, seed INTEGER NOT NULL, seconds REAL NOT NULL, path TEXT,
  folder TEXT NOT NULL, recipe TEXT NOT NULL)"""
_HINT = "bigr log --clear begins it anew, bigr log --off ends it"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One image: `path` is its file (None: stdout), `folder` where the command ran, `made` seconds since 1970."""

    number: int
    made: float
    task: str
    model: str
    subject: str
    prompt: str
    seed: int
    seconds: float
    path: str | None
    folder: str
    recipe: str

    @property
    def when(self) -> str:
        """The local time, as ISO 8601 has it."""
        return datetime.fromtimestamp(self.made).astimezone().isoformat(sep=" ", timespec="seconds")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        plain = {"number": self.number, "made": self.when.replace(" ", "T"), "task": self.task, "model": self.model}
        plain |= {self.subject: self.prompt, "seed": self.seed, "seconds": self.seconds, "path": self.path}
        return {**plain, "folder": self.folder, "recipe": json.loads(self.recipe)}


@dataclass
class Log:
    """Takes note of images as they are made; all methods belong to one thread."""

    _rows: list[tuple[Any, ...]] = field(default_factory=list)
    _written: float = field(default_factory=time.monotonic)
    _on: bool = field(default_factory=lambda: why_off() is None)

    def add(self, record: Mapping[str, Any]) -> None:
        """An image, as a line of `--json` has it: task, model, label or text, seed, seconds, path, recipe."""
        if not self._on:
            return
        subject = "text" if "text" in record else "label"
        prompt, path = record[subject], record.get("path")
        self._rows.append(
            (
                time.time(),
                record["task"],
                record["model"],
                subject,
                prompt if isinstance(prompt, str) else ", ".join(map(str, prompt)),
                record["seed"],
                record["seconds"],
                None if path is None else os.path.abspath(path) + (os.sep if str(path).endswith(os.sep) else ""),
                os.getcwd(),
                json.dumps(record["recipe"]),
            )
        )
        if time.monotonic() - self._written > _OFTEN:
            self.write()

    def write(self) -> None:
        """Write what was noted; if that cannot be, say so once and note nothing more."""
        rows, self._rows = self._rows, []
        if not rows:
            return
        try:
            with _connected(create=True) as database, database:
                marks = ", ".join("?" * len(_COLUMNS))
                database.executemany(f"INSERT INTO images ({', '.join(_COLUMNS)}) VALUES ({marks})", rows)
                database.execute("DELETE FROM images WHERE number <= (SELECT max(number) FROM images) - ?", (KEPT,))
        except (sqlite3.Error, OSError, UnicodeError, RunError) as error:
            self._on = False
            console.warn(f"{_path()}: what is made is not in the log: {error}; {_HINT}", once=True)
        self._written = time.monotonic()


def why_off() -> str | None:
    """What turns the log off; None if nothing does."""
    asked = os.environ.get(VARIABLE, "").strip().lower()
    if asked in ("off", "0", "false", "no"):
        return f"{VARIABLE}={asked}"
    if not home.is_known():
        return "no home directory is known"
    return "bigr log --off" if not asked and (home.data_dir() / _OFF).exists() else None


def turn(*, on: bool) -> None:
    """Note images from now on, or no more. RunError if that cannot be kept."""
    mark = home.data_dir() / _OFF
    try:
        if on:
            mark.unlink(missing_ok=True)
        else:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
    except OSError as error:
        raise RunError(f"{mark}: cannot be written: {error.strerror or error}", hint=home.HINT) from error


def entries(count: int, word: str | None = None) -> list[Entry]:
    """The last images, the latest at the end; with a word, of those that have it in prompt, task, model or path.

    Raises:
        RunError: the database cannot be read.
    """
    text = "lower(prompt || ' ' || task || ' ' || model || ' ' || ifnull(path, ''))"
    named = "" if word is None else f"WHERE instr({text}, ?)"
    values = () if word is None else (word.lower(),)
    return _found(f"{named} ORDER BY number DESC LIMIT ?", (*values, count))[::-1]


def entry(number: int) -> Entry:
    """One image.

    Raises:
        UsageError: there is none of this number.
        RunError: the database cannot be read.
    """
    found = _found("WHERE number = ?", (number,))
    if not found:
        raise UsageError(f"there is no image {number} in the log", hint="bigr log lists the last ones")
    return found[0]


def clear() -> int:
    """Delete the database, and return how many images it had. RunError if it cannot be deleted."""
    count = 0
    with suppress(RunError, sqlite3.Error), _connected() as database:
        (count,) = database.execute("SELECT count(*) FROM images").fetchone()
    try:
        for ending in ("", "-wal", "-shm", "-journal"):
            Path(f"{_path()}{ending}").unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{_path()}: cannot be deleted: {error.strerror or error}") from error
    return count


def _path() -> Path:
    return home.data_dir() / _NAME


def _found(which: str, values: Sequence[Any]) -> list[Entry]:
    if not _path().exists():
        return []
    names = ("number", *_COLUMNS)
    try:
        with _connected() as database:
            rows = database.execute(f"SELECT {', '.join(names)} FROM images {which}", values).fetchall()
        return [Entry(**dict(zip(names, row, strict=True))) for row in rows]
    except (sqlite3.Error, OSError, RunError) as error:
        raise RunError(f"{_path()}: cannot be read: {error}", hint=_HINT) from error


@contextmanager
def _connected(*, create: bool = False) -> Iterator[sqlite3.Connection]:
    """The database, which several processes may have open; RunError if a newer version of bigr made it."""
    path = _path()
    if create and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # by another process, just now
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))  # prompts are nobody else's business
    with closing(sqlite3.connect(path, timeout=_PATIENCE)) as database:
        (found,) = database.execute("PRAGMA user_version").fetchone()
        if found > _FORMAT:
            raise RunError(f"a newer version of bigr made it (format {found})")
        if create and found < _FORMAT:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(_TABLE)
            database.execute(f"PRAGMA user_version = {_FORMAT}")
        database.execute("PRAGMA synchronous = NORMAL")
        yield database
