"""The text in files that people write: UTF-8, or the UTF-16 and UTF-32 that Windows' editors and shells write."""

from __future__ import annotations

import codecs

_MARKS = (  # the longer ones first: UTF-32's begins as UTF-16's does
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOKED_AT = 4096  # bytes


def decoded(data: bytes, errors: str = "strict") -> str:
    """The text that bytes are, by their byte order mark; without one UTF-8, or UTF-16 where every other byte is zero.

    Args:
        data: what a file holds.
        errors: what becomes of bytes that are none of it, as in `bytes.decode`.

    Raises:
        UnicodeDecodeError: such bytes, with "strict".
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, errors if encoding == "utf-8-sig" or errors != "surrogateescape" else "strict")
    start = data[:_LOOKED_AT]
    if data and len(data) % 2 == 0 and b"\0" in start:
        for encoding, zeros, letters in (
            ("utf-16-le", start[1::2], start[::2]),
            ("utf-16-be", start[::2], start[1::2]),
        ):
            if zeros.count(0) > 0.7 * len(zeros) and letters.count(0) < 0.1 * len(letters):
                return data.decode(encoding, errors if errors != "surrogateescape" else "strict")
    return data.decode("utf-8", errors)
