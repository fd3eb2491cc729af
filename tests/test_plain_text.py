"""Texts from anywhere."""

from __future__ import annotations

import codecs
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.plain_text import decoded, escaped, is_plain, plain_text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a red house", "a red house"),
        ("  a\tred\n\nhouse ", "a red house"),
        ("cafe\u0301", "café"),
        ("\x1b[31mred\x00", "[31mred"),
        ("left\u202eright", "leftright"),  # it would turn the rest of the line around
        ("בית אדום", "בית אדום"),
        ("👩\u200d🎨 paints", "👩\u200d🎨 paints"),
        (b"\xff red".decode("utf-8", "surrogateescape"), "\ufffd red"),
        ("\ud83d", "\ufffd"),
        ("", ""),
    ],
)
def test_by_hand(text: str, plain: str) -> None:
    assert plain_text(text) == plain
    assert is_plain(plain)


@given(st.text(st.characters(codec=None, categories=None), max_size=40))
def test_is_fit_to_be_shown_and_written(text: str) -> None:
    plain = plain_text(text)
    assert is_plain(plain)
    assert plain_text(plain) == plain
    plain.encode()
    assert unicodedata.is_normalized("NFC", plain)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a red house", "a red house"),
        ("\x1b[2J\x07\r\n\t", "\\x1b[2J\\x07\\r\\n\\t"),
        ("\x9b31m\x7f", "\\x9b31m\\x7f"),
        ("cat\u202egnp.exe", "cat\\u202egnp.exe"),
        ("a\u2028b\U000e0041", "a\\u2028b\\U000e0041"),
        ("\udcff", "\\udcff"),
        ("👩\u200d🎨 paints", "👩\u200d🎨 paints"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("10\u00a0€\u3000日本", "10\u00a0€\u3000日本"),
    ],
)
def test_escapes_by_hand(text: str, shown: str) -> None:
    assert escaped(text) == shown
    assert escaped(shown) == shown


@given(st.text(st.characters(codec=None, categories=None), max_size=40))
def test_nothing_that_acts_on_a_terminal_is_left(text: str) -> None:
    shown = escaped(text)
    left = set(shown) - set("\u200c\u200d")
    assert not {unicodedata.category(letter) for letter in left} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert escaped(shown) == shown
    assert escaped(text, keep="\t").replace("\t", "\\t") == shown


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
