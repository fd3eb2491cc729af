"""Files of a model hub, through huggingface_hub: its cache, token, endpoint and retries.

What was fetched of a file when a connection broke is kept in bigr's own cache until the file is whole, and a later run
goes on from there; newer versions of huggingface_hub keep nothing. Importing this imports no torch.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from huggingface_hub import (
    constants,
    file_download,
    get_hf_file_metadata,
    hf_hub_url,
    snapshot_download,
    try_to_load_from_cache,
    utils,
)

from bigr_cli.errors import ModelError, RunError
from bigr_cli.files import flush
from bigr_cli.home import Cache
from bigr_cli.progress import ProgressBar, progress_bar
from bigr_cli.runtime.tensor_headers import sha256_of
from bigr_cli.version import __version__
from bigr_cli.zoo.hub.failures import TRANSPORT, explaining, private, status_of
from bigr_cli.zoo.source import readable_size

_HASH = re.compile(r"[0-9a-f]{64}")


http_get = private(file_download, "http_get")
build_hf_headers = private(utils, "build_hf_headers")
WeakFileLock = private(utils, "WeakFileLock")


@dataclass(frozen=True)
class HubFile:
    """A file of a hub's repository at one commit.

    `size` is in bytes, None if the hub does not say. `sha256` is what the hub says, empty if it does not. `cached` is
    where the hub's own cache has it.
    """

    repository: str
    name: str
    commit: str
    size: int | None
    sha256: str = ""
    cached: Path | None = None

    def __str__(self) -> str:
        return f"{self.repository}/{self.name}"

    @property
    def folder(self) -> Path:
        """Where it is kept while it is being fetched, and until it is used."""
        return Cache("downloads").path(f"{constants.ENDPOINT} {self} {self.sha256 or self.commit}", "")

    @property
    def path(self) -> Path:
        """Where it is once it has been fetched whole."""
        return self.cached or self.folder / Path(self.name).name

    @property
    def part(self) -> Path:
        """Where the beginning of it is until then."""
        return self.folder / f"{Path(self.name).name}.part"

    @property
    def missing(self) -> int:
        """How many bytes are still to be fetched."""
        if self.path.is_file():
            return 0
        return max(0, (self.size or 0) - _bytes(self.part))


def is_offline(asked: bool) -> bool:
    """Whether the network must be left alone, as asked for here or by HF_HUB_OFFLINE."""
    return asked or bool(constants.HF_HUB_OFFLINE)


def look_up(repository: str, name: str, *, revision: str = "main", offline: bool = False) -> HubFile:
    """What the hub says about a file, or offline what its cache has.

    Raises:
        MissingFileError: there is no such file.
        ModelError: no such repository, a login is needed, or offline and not in the hub's cache.
        RunError: the hub does not answer as it should.
    """
    what = f"{repository}/{name}"
    if is_offline(offline):
        cached = _cached(repository, name, revision)
        if cached is None:
            raise ModelError(
                f"{what}: is not in the hub's cache ({constants.HF_HUB_CACHE}), and this is offline",
                hint="run it once without --offline and HF_HUB_OFFLINE",
            )
        return HubFile(repository, name, revision, cached.stat().st_size, cached=cached)
    with explaining(what):
        url = hf_hub_url(repository, name, revision=revision)
        found = get_hf_file_metadata(url, library_name="bigr-cli", library_version=__version__)
    if not found.commit_hash or not found.etag:
        raise RunError(f"{what}: what answers is no model hub", hint="look at HF_ENDPOINT and the proxy's settings")
    digest = found.etag if _HASH.fullmatch(found.etag) else ""
    cached = _cached(repository, name, found.commit_hash)
    return HubFile(repository, name, found.commit_hash, found.size, digest, cached)


def fetch(file: HubFile) -> Path:
    """The file, whole and with the hash that the hub says.

    Raises:
        RunError: the connection broke, the disk is full, or what came is not what the hub said.
        ModelError: as for `look_up`.
    """
    if file.cached is None:
        with explaining(str(file)):
            file.folder.mkdir(parents=True, exist_ok=True)
            with WeakFileLock(file.folder / "lock"):
                if not file.path.is_file():
                    _download(file)
                    _check(file, file.part)
                    flush(file.part)
                    file.part.replace(file.path)
    else:
        _check(file, file.path)
    return file.path


def cached_folder(repository: str, revision: str = "main") -> Path | None:
    """Where the hub's own cache has files of a repository, if it has any."""
    config = _cached(repository, "config.json", revision)
    return config.parent if config else None


def fetch_folder(repository: str, patterns: Sequence[str], *, revision: str = "main") -> Path:
    """The files of a repository that fit the patterns, in the hub's own cache. Raises what `look_up` raises."""
    with explaining(repository):
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))


def forget(file: HubFile) -> None:
    """Remove what was fetched, once it has been used; the hub's own cache stays as it is."""
    shutil.rmtree(file.folder, ignore_errors=True)


def kept(files: Sequence[HubFile]) -> str:
    """Where files that were fetched are kept, in words; empty if there are none outside the hub's own cache."""
    here = [file for file in files if file.cached is None and file.path.is_file()]
    if not here:
        return ""
    size = readable_size(sum(_bytes(file.path) for file in here))
    places = " and ".join(str(file.folder) for file in here)
    return f"what was fetched ({size}) is kept, and the same command goes on with it; to remove it, delete {places}"


def require_space(place: Path, needed: int) -> None:
    """Raise RunError if the disk on which `place` is, or will be, has fewer free bytes than needed."""
    there = next(folder for folder in (place, *place.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise RunError(
            f"{place}: the disk has {readable_size(free) or 'nothing'} free, {readable_size(needed)} are needed",
            hint="BIGR_HOME names another place",
        )


class _TooLongError(Exception):
    """More came than the hub promised."""


class _Counted:
    """A file that takes no more than so many bytes, and a progress bar, in megabytes, that goes along."""

    def __init__(self, stream: BinaryIO, bar: ProgressBar, most: int) -> None:
        self._stream, self._bar, self._most = stream, bar, most

    def write(self, data: bytes) -> int:
        if self._stream.tell() + len(data) > self._most:
            raise _TooLongError
        self._bar.advance(len(data) / 1e6)
        return self._stream.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _download(file: HubFile) -> None:
    """Fetch what is missing of the part; once more after a broken connection, as long as something still comes."""
    if file.size is None:
        raise RunError(f"{file}: the hub does not say how large it is, so it is not fetched")
    if _bytes(file.part) > file.size:
        file.part.unlink()
    done = round(_bytes(file.part) / 1e6)
    with progress_bar(file.size / 1e6, f"fetching {Path(file.name).name} (MB)", done=done) as bar:
        while True:
            before = _bytes(file.part)
            try:
                with file.part.open("ab") as stream:
                    _stream(file, cast(Any, _Counted(stream, bar, file.size)), before)
                return
            except TRANSPORT as error:
                if getattr(error, "response", None) is not None or _bytes(file.part) <= before:
                    if status_of(error) == 416:  # the part is longer than the file now is
                        file.part.unlink()
                    raise
            except _TooLongError as error:
                file.part.unlink()
                raise RunError(f"{file}: the hub promised {file.size:,} bytes and sends more") from error
            except OSError as error:
                if "Consistency check failed" not in str(error):
                    raise
                got = _bytes(file.part)
                file.part.unlink()
                raise RunError(f"{file}: the hub promised {file.size:,} bytes and {got:,} came") from error


def _stream(file: HubFile, into: BinaryIO, start: int) -> None:
    """Ask for the file from a byte on, as it is: compressed on the way, its parts could not be put together."""
    headers = build_hf_headers(library_name="bigr-cli", library_version=__version__)
    url = hf_hub_url(file.repository, file.name, revision=file.commit)
    http_get(url, into, resume_size=start, headers={**headers, "Accept-Encoding": "identity"}, expected_size=file.size)


def _check(file: HubFile, path: Path) -> None:
    """Raise RunError, and remove what was fetched, unless it is what the hub said."""
    if not file.sha256 or (found := sha256_of(path)) == file.sha256:
        return
    if file.cached is None:
        path.unlink()
    raise RunError(
        f"{file}: has SHA-256 {found[:12]}…, the hub says {file.sha256[:12]}…",
        hint=f"delete {path}" if file.cached else "run the same command again to fetch it anew",
    )


def _cached(repository: str, name: str, revision: str) -> Path | None:
    found = try_to_load_from_cache(repository, name, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
