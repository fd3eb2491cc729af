"""`--failures FILE`: a line of JSON for each image that failed; the list loses nothing that was there unasked."""

import json
from collections.abc import Sequence
from pathlib import Path

from bigr_cli.errors import UsageError


class FailureList:
    """The file of `--failures`, checked before any work, and written with the failures so far."""

    def __init__(self, path: Path | None, *, overwrite: bool, skip_existing: bool = False) -> None:
        """With `skip_existing`, which goes on with an earlier run, the lines of that run's list stay.

        Raises:
            UsageError: the file is there, cannot come to be there, or is no such list.
        """
        self.path = None if path is None else path.expanduser()
        self._before: list[str] = []
        if self.path is None:
            return
        from bigr_cli.imaging.files import check_targets

        if not check_targets([self.path], overwrite=overwrite, skip_existing=skip_existing)[0]:
            self._before = _lines(self.path)

    def write(self, failed: Sequence[tuple[str, str]]) -> None:
        """Write the list: each entry is an image and the reason. RunError if it cannot be written."""
        if self.path is None:
            return
        from bigr_cli.imaging.files import write_bytes

        lines = [json.dumps({"source": name, "error": reason}) for name, reason in failed]
        every = [f"{line}\n" for line in dict.fromkeys([*self._before, *lines])]
        write_bytes(self.path, "".join(every).encode(), overwrite=True)


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        for line in lines:
            if not {"source", "error"} <= json.loads(line).keys():
                raise ValueError(line)
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        hint = "pass --overwrite to replace it, or name another file"
        raise UsageError(f"{path}: exists and is no list of failures", hint=hint) from error
    return lines
