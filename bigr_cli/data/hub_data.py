"""Data sets of the Hugging Face hub: hf://datasets/OWNER/NAME[@REVISION][/SPLIT], brought into the hub's cache."""

from __future__ import annotations

import re
from pathlib import Path

from bigr_cli import console
from bigr_cli.errors import RunError, UsageError

PREFIX = "hf://"
_ADDRESS = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+?)(?:@([^/@]+))?(?:/([\w.-]+))?/?")
_KINDS = (".parquet", ".tar", ".zip", ".gz", ".npz", ".jsonl", ".csv", ".txt", ".caption")


def is_hub_address(where: str) -> bool:
    """Whether it is an address of the hub."""
    return where.startswith(PREFIX)


def downloaded(where: str) -> Path:
    """A folder with the files of a data set, or of one split of it.

    Raises:
        UsageError: no address of a data set, or there is no such data set, revision or split.
        RunError: the hub cannot be reached, or the disk is full.
    """
    found = _ADDRESS.fullmatch(where)
    if found is None:
        raise UsageError(f"{where}: expected hf://datasets/OWNER/NAME, then @REVISION and /SPLIT if need be")
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repository, revision, split = found.groups()
    try:
        patterns = None
        if split is not None:
            names = HfApi().list_repo_files(repository, revision=revision, repo_type="dataset")
            patterns = of_split(names, split)
            if not patterns:
                raise UsageError(f"{where}: has no split {split!r}", hint=f"there are: {', '.join(splits(names))}")
        console.say(f"fetching {where}; what is in the hub's cache already is not fetched again", once=True)
        folder = snapshot_download(repository, revision=revision, repo_type="dataset", allow_patterns=patterns)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise UsageError(f"{where}: there is no such data set or revision, or it is not public") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise RunError(f"{where}: is not in the hub's cache, and the hub cannot be reached") from error
    except (HfHubHTTPError, OSError) as error:
        raise RunError(f"{where}: cannot be fetched: {str(error).splitlines()[0]}") from error
    return Path(folder)


def of_split(names: list[str], split: str) -> list[str]:
    """The files of a split: in a folder of its name, or that begin with it, as `data/train-00000-of-00002.parquet`."""
    found = []
    for name in names:
        *folders, file = name.split("/")
        if split in folders or re.match(rf"{re.escape(split)}([-_.]|$)", file):
            found.append(name)
    return found


def splits(names: list[str]) -> list[str]:
    """The splits that files are named by."""
    found = [re.match(r"(?:.*/)?([A-Za-z]+)[-_.].*parquet$", name) for name in names]
    return sorted({each[1] for each in found if each}) or ["none that can be told by names"]
