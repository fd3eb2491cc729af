"""Time spans as people write them."""

from __future__ import annotations

import re

from bigr_cli.errors import UsageError

_NUMBER = r"(\d{1,6}(?:\.\d{1,6})?)"
_TIME = re.compile(rf"(?:{_NUMBER}d)?(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s?)?")
_UNITS = (86400.0, 3600.0, 60.0, 1.0)  # seconds


def seconds_of(text: str) -> float:
    """Seconds, of "90s", "30m", "2h", "1h30m", "1d" or, without a letter, seconds. Raises UsageError for others."""
    found = _TIME.fullmatch(text.strip().lower())
    parts = [float(part or 0) for part in found.groups()] if found else [0.0]
    seconds = sum(part * unit for part, unit in zip(parts, _UNITS, strict=False))
    if seconds <= 0:
        raise UsageError(f"{text[:40]!r} is no time such as 45m, 2h or 1h30m")
    return seconds
