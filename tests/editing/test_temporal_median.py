"""Frames whose bits do not flicker."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.editing.interpolate import temporal_median


def frames(text: str) -> torch.Tensor:
    return torch.tensor([letter == "1" for letter in text])[:, None, None]


def steady(text: str, fixed: str = "", *, loop: bool = False) -> str:
    held = torch.tensor([letter == "x" for letter in fixed.ljust(len(text), ".")])
    return "".join(str(int(bit)) for bit in temporal_median(frames(text), held, loop=loop).flatten())


def test_by_hand() -> None:
    assert steady("0001000") == "0000000"
    assert steady("0011000") == "0011000"
    assert steady("0010111") == "0001111"
    assert steady("0100", "x..x") == "0000"
    assert steady("0010", "..x.") == "0010"
    assert steady("1000") == "1000"  # an end is as steady as it can be
    assert steady("1000", loop=True) == "0000"
    assert steady("10", "xx") == "10"


@given(st.lists(st.booleans(), min_size=2, max_size=12), st.data(), st.booleans())
def test_nothing_flickers_and_stops_stay(bits: list[bool], data: st.DataObject, loop: bool) -> None:
    held = data.draw(st.lists(st.booleans(), min_size=len(bits), max_size=len(bits)))
    text, fixed = "".join("01"[bit] for bit in bits), "".join(".x"[each] for each in held)
    found = steady(text, fixed, loop=loop)
    assert all(a == b for a, b, still in zip(text, found, held, strict=True) if still)
    assert steady(found, fixed, loop=loop) == found or loop or len(bits) < 3
    inner = range(1, len(found) - 1)
    assert not any(found[i - 1] == found[i + 1] != found[i] for i in inner if not held[i]) or loop
