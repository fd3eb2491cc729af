"""Texts as editors and shells on any system write them."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.text_files import decoded

TEXT = "a café\nצבע, two"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (TEXT.encode(), TEXT),
        (TEXT.encode("utf-8-sig"), TEXT),
        (TEXT.encode("utf-16"), TEXT),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), TEXT),
        (TEXT.encode("utf-32"), TEXT),
        ("a cat\na dog".encode("utf-16-le"), "a cat\na dog"),  # some editors leave the mark out
        ("a cat\na dog".encode("utf-16-be"), "a cat\na dog"),
        (b"", ""),
        (b"\0", "\0"),
        (b"a\0b", "a\0b"),
    ],
)
def test_texts_by_their_marks(data: bytes, text: str) -> None:
    assert decoded(data) == text


def test_what_is_no_text() -> None:
    for data in (b"caf\xe9", codecs.BOM_UTF16_LE + b"\x00\xd8a\0", codecs.BOM_UTF16_LE + b"a"):
        with pytest.raises(UnicodeDecodeError):
            decoded(data)
        assert "\ufffd" in decoded(data, "replace")
    assert decoded(b"caf\xe9", "surrogateescape") == "caf\udce9"
    with pytest.raises(UnicodeDecodeError):
        decoded(codecs.BOM_UTF16_LE + b"a", "surrogateescape")


@given(st.binary(max_size=40), st.sampled_from(["replace", "backslashreplace"]))
def test_any_bytes_are_read(data: bytes, errors: str) -> None:
    assert isinstance(decoded(data, errors), str)
    assert isinstance(decoded(codecs.BOM_UTF16_LE + data, errors), str)


@given(st.text(st.characters(exclude_characters="\ufeff\0", codec="utf-8")))
def test_utf8_is_never_taken_for_anything_else(text: str) -> None:
    assert decoded(text.encode()) == text
