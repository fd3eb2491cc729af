import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli import errors
from bigr_cli.errors import BigrError, UnknownNameError, UsageError, nearest


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("BigrError", 1),
        ("RunError", 1),
        *((name, 2) for name in ("UsageError", "ConfigError", "ModelError", "ModelFormatError")),
        *((name, 2) for name in ("CheckpointError", "ImageError", "DeviceError")),
    ],
)
def test_exit_codes(kind: str, code: int) -> None:
    error = getattr(errors, kind)("it broke", hint="mend it")
    assert isinstance(error, BigrError)
    assert (error.exit_code, error.hint, str(error)) == (code, "mend it", "it broke")


def test_unknown_name_suggests_the_nearest() -> None:
    error = UnknownNameError("label", "catt", ["house", "cat", "cup", "car", "tree"])
    assert isinstance(error, UsageError)
    assert str(error).startswith("unknown label 'catt'; did you mean cat")
    assert "house" not in str(error)


def test_unknown_name_without_anything_near() -> None:
    assert str(UnknownNameError("label", "zzzz", ["house", "cat"])) == "unknown label 'zzzz'"


def test_nearest_ignores_case_and_finds_words() -> None:
    assert nearest("TENCH", ["goldfish", "tench, Tinca tinca", "bench"])[0] == "tench, Tinca tinca"


@given(st.text(max_size=20), st.lists(st.text(max_size=20), max_size=30), st.integers(0, 5))
def test_nearest_gives_distinct_choices(name: str, choices: list[str], n: int) -> None:
    found = nearest(name, choices, n)
    assert len(found) <= n
    assert len(set(found)) == len(found)
    assert set(found) <= set(choices)
    if name.strip() == name and name in choices and n:
        assert name.casefold() in {choice.casefold() for choice in found}
