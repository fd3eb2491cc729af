"""Texts from anywhere."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.plain_text import is_plain, plain_text


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
