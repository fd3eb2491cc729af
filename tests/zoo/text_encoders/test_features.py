"""Reading texts: as bytes, and by encoders, whose features are kept."""

import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bigr_cli.core.architectures import TextConfig
from bigr_cli.errors import ConfigError, ModelError, UnknownNameError
from bigr_cli.plain_text import plain_text
from bigr_cli.zoo.text_encoders.features import FeatureReader, open_encoder, text_reader

CPU = torch.device("cpu")
WORDS = TextConfig("words", tokens=4, width=3)


class Words:
    """An encoder of words: their lengths, their numbers, one."""

    width, version = 3, "words 1"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str], tokens: int, device: torch.device) -> list[Tensor]:
        self.asked += texts
        rows = [[[len(word), place, 1.0] for place, word in enumerate(text.split()[:tokens])] for text in texts]
        return [torch.tensor(row) for row in rows]


def test_no_texts_need_no_reader() -> None:
    assert text_reader(None) is None


def test_bytes_are_read_as_they_are() -> None:
    reader = text_reader(TextConfig(tokens=8))
    assert reader is not None
    batch = reader(["A\tb", "", "ø" * 9])
    assert batch.features[0].tolist() == [*b"a b", *[256] * 5]
    assert batch.mask.sum(dim=1).tolist() == [3, 0, 8]
    assert bytes(batch.features[2].tolist()).decode() == "ø" * 4


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("", ""),
        (" \n\t ", ""),
        ("x", "x"),
        ("a\x00b\x1b[31mc", "a b [31mc"),
        ("e\u0301", "é"),
        ("\ud800", "\ufffd"),
        ("קשת 🌈", "קשת 🌈"),
        ("long " * 400, " ".join(["long"] * 400)),
    ],
)
def test_what_is_left_of_a_text(text: str, plain: str) -> None:
    assert plain_text(text) == plain


def test_features_are_padded_and_masked() -> None:
    batch = FeatureReader(Words(), WORDS)(["a red house", "", "one two three four five", "\x07"])
    assert batch.features.shape == (4, 4, 3) and batch.features.dtype == torch.float32
    assert batch.mask.sum(dim=1).tolist() == [3, 0, 4, 0]
    assert batch.features[0].tolist() == [[1, 0, 1], [3, 1, 1], [5, 2, 1], [0, 0, 0]]
    assert not batch.features[1].any()


def test_features_are_made_once_and_found_again(home: Path) -> None:
    first = Words()
    made = FeatureReader(first, WORDS)(["a red house", "a  red\nhouse", "blue"])
    assert first.asked == ["a red house", "blue"]
    other = Words()
    again = FeatureReader(other, WORDS)(["a red house", "new", "blue"])
    assert other.asked == ["new"]
    assert torch.equal(made.features[[0, 2]], again.features[[0, 2]])
    assert len(list((home / "cache" / "texts").rglob("*.npy"))) == 3
    assert not list((home / "cache").rglob("*.part"))


def test_another_encoder_finds_nothing(home: Path) -> None:
    FeatureReader(Words(), WORDS)(["blue"])
    newer = Words()
    newer.version = "words 2"
    FeatureReader(newer, WORDS)(["blue"])
    shorter = Words()
    FeatureReader(shorter, TextConfig("words", tokens=2, width=3))(["blue"])
    assert newer.asked == shorter.asked == ["blue"]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"cut"])
def test_a_broken_file_of_the_cache_is_made_anew(home: Path, content: bytes) -> None:
    made = FeatureReader(Words(), WORDS)(["blue sky"])
    (path,) = (home / "cache" / "texts").rglob("*.npy")
    whole = path.read_bytes()
    path.write_bytes(whole[:-3] if content == b"cut" else content)
    other = Words()
    assert torch.equal(FeatureReader(other, WORDS)(["blue sky"]).features, made.features)
    assert other.asked == ["blue sky"]
    assert path.read_bytes() == whole


def _total(number: int) -> float:
    texts = [f"text {each % 40}" for each in range(number, number + 40)]
    return float(FeatureReader(Words(), WORDS)(texts).features.sum())


@pytest.mark.skipif(sys.platform != "linux", reason="needs processes that are forked")
def test_several_processes_share_the_cache(home: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("fork")) as pool:
        totals = set(pool.map(_total, range(0, 80, 10)))
    assert len(totals) == 1
    kept = list((home / "cache" / "texts").rglob("*"))
    assert len([path for path in kept if path.suffix == ".npy"]) == 40
    assert not [path for path in kept if path.suffix == ".part"]


def test_nothing_is_kept_unless_asked(home: Path) -> None:
    encoder = Words()
    reader = FeatureReader(encoder, WORDS, keep=False)
    assert torch.equal(reader(["blue"]).features, reader(["blue"]).features)
    assert encoder.asked == ["blue", "blue"]
    assert not (home / "cache").exists()


def test_a_cache_that_cannot_be_written_is_a_warning(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "cache").write_text("in the way")
    reader = FeatureReader(Words(), WORDS)
    assert reader(["blue", "red"]).mask.sum() == 2
    assert capsys.readouterr().err.count("cannot be kept") == 1


def test_what_an_encoder_must_not_give_back() -> None:
    for wrong in (torch.zeros(2, 4), torch.zeros(9, 3), torch.zeros(3), torch.full((2, 3), 1e9)):
        encoder = Words()
        encoder.encode = lambda texts, tokens, device, wrong=wrong: [wrong]  # type: ignore[method-assign]
        with pytest.raises(ModelError, match="words 1"):
            FeatureReader(encoder, WORDS)(["blue"])


def test_an_unknown_encoder_is_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown text encoder 't4'; did you mean t5"):
        open_encoder(TextConfig("t4"))


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that brings the encoder `words`; its module."""
    information = tmp_path / "bigr_plugin_words-0.2.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: bigr-plugin-words\nVersion: 0.2\n")
    points = "[bigr.text_encoders]\nwords = bigr_plugin_words:open_encoder\nbytes = bigr_plugin_words:open_encoder\n"
    (information / "entry_points.txt").write_text(points)
    module = tmp_path / "bigr_plugin_words.py"
    module.write_text(
        "import torch\n"
        "class Words:\n"
        "    width, version = 3, 'words 1'\n"
        "    def encode(self, texts, tokens, device):\n"
        "        return [torch.ones(min(len(text.split()), tokens), 3, device=device) for text in texts]\n"
        "def open_encoder(config, *, offline):\n"
        "    return Words()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("BIGR_PLUGINS", "bigr-plugin-words")
    monkeypatch.delitem(sys.modules, "bigr_plugin_words", raising=False)
    return module


def test_a_plugin_brings_an_encoder(plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reader = text_reader(WORDS)
    assert reader is not None
    assert reader(["a red house"], CPU).mask.tolist() == [[True, True, True, False]]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: plugin 'bytes' (bigr-plugin-words 0.2) is left out: there is a text encoder")
    with pytest.raises(ConfigError, match=r"text\.width: words has 3, got 128"):
        text_reader(TextConfig("words"))


@pytest.mark.parametrize(
    "source", ["import a_module_that_nobody_has\n", "open_encoder = None\n", "def open_encoder(config): ...\n"]
)
def test_a_broken_plugin_is_named(plugin: Path, source: str) -> None:
    plugin.write_text(source)
    with pytest.raises(ModelError, match=r"plugin 'words' \(bigr-plugin-words 0\.2\) is left out: \w+Error"):
        text_reader(WORDS)


def test_plugins_can_be_left_out(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGR_PLUGINS", "none")
    with pytest.raises(UnknownNameError, match="unknown text encoder 'words'"):
        text_reader(WORDS)
