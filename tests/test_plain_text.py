"""Texts from anywhere."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.plain_text import escaped, is_plain, plain_text


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
