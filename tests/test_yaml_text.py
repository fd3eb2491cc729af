"""YAML as the package reads and writes it."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.errors import ConfigError
from bigr_cli.yaml_text import dump, parse, read_mapping

letters = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=10)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | letters
data = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(letters, inner, max_size=4))


@given(data)
def test_what_is_written_is_read_back(value: object) -> None:
    assert parse(dump(value), source="x") == value


@given(st.lists(letters | st.sampled_from(["no", "on", "1e4", "12:30", "2024-01-01", "0x1F", "0o7", "1_0", "."])))
def test_text_stays_text_for_readers_of_either_version(values: list[str]) -> None:
    assert yaml.safe_load(dump(values)) == values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("-1E+3", -1000.0),
        (".5", 0.5),
        ("3.", 3.0),
        ("-.inf", float("-inf")),
        ("010", 10),
        ("0x1f", 31),
        ("0o17", 15),
        ("no", "no"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("null", None),
        ("", None),
        ("True", True),
        ("[a, 1]", ["a", 1]),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert parse(text, source="x") == value
    assert type(parse(text, source="x")) is type(value)


@pytest.mark.parametrize(
    "text",
    ["[", "a: b: c", "a: 1\na: 2", "? [x]\n: 1", "!!python/object/apply:os.system [ls]", "\tx: 1", "a: &x\n- *y"],
)
def test_what_is_not_plain_yaml_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, source="f.yaml")
    assert str(caught.value).startswith("f.yaml: is not valid YAML: ")
    assert "\n" not in str(caught.value)


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    with pytest.raises(ConfigError):
        parse("[" * 100_000, source="x")


def test_read_mapping(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_mapping(file) == {"a": 1}
    file.write_bytes(b"# nothing\n")
    assert read_mapping(file) == {}
    for content, message in ((b"[1]", "expected keys and values, got list"), (b"a: \xff", "is not UTF-8 text")):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            read_mapping(file)
    for path in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_mapping(path)


@pytest.mark.parametrize(
    "text", ["\x85", "a\x85b", "\u2028", "a\u2029\u2029b", "x: \x85", " \x85 ", "\r", "a\r\nb", "\n\x85\n"]
)
def test_line_breaks_of_every_kind_come_back(text: str) -> None:
    assert parse(dump({"name": text, "list": [text]}), source="x") == {"name": text, "list": [text]}
