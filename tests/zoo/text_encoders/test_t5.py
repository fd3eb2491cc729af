"""T5 as a text encoder: a tiny one of random weights, in files that transformers wrote."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bigr_cli.core.architectures import TextConfig
from bigr_cli.errors import ConfigError, ModelError, RunError
from bigr_cli.zoo.text_encoders.features import FeatureReader, text_reader

CPU = torch.device("cpu")


def reader_of(source: Path | str, tokens: int = 12, width: int = 16, **options: Any) -> FeatureReader:
    reader = text_reader(TextConfig("t5", tokens, width, source=str(source)), **options)
    assert isinstance(reader, FeatureReader)
    return reader


def test_features_are_those_of_transformers(tiny_t5: Path) -> None:
    from transformers import AutoTokenizer, T5EncoderModel

    texts = ["a red house", "sea", "a blue boat on the sea", "cat", ""]
    batch = reader_of(tiny_t5, keep=False)(texts)
    tokenizer = AutoTokenizer.from_pretrained(str(tiny_t5))
    network = T5EncoderModel.from_pretrained(str(tiny_t5)).eval()
    assert batch.mask.sum(dim=1).tolist() == [12, 4, 12, 4, 0]  # the end of a text is a token; no text has none
    for text, features, mask in zip(texts[:-1], batch.features, batch.mask, strict=False):
        numbers = tokenizer(text, truncation=True, max_length=12, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            expected = network(input_ids=numbers).last_hidden_state[0]
        assert torch.allclose(features[mask], expected, atol=2e-3)


def test_the_cache_spares_the_weights(tiny_t5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = reader_of(tiny_t5)(["a red house", "sea"])
    again = reader_of(tiny_t5)
    monkeypatch.setattr(again.encoder, "_load", lambda: pytest.fail("loaded"))
    assert torch.equal(again(["sea", "a red house"]).features, made.features[[1, 0]])
    with pytest.raises(pytest.fail.Exception, match="loaded"):
        again(["moon"])


def test_other_weights_are_another_version(tiny_t5: Path, tmp_path: Path) -> None:
    from transformers import T5EncoderModel

    copy = tmp_path / "copy"
    shutil.copytree(tiny_t5, copy)
    before = reader_of(copy)
    before(["sea"])
    network = T5EncoderModel.from_pretrained(str(copy))
    network.get_input_embeddings().weight.data += 1
    network.save_pretrained(copy)
    after = reader_of(copy)
    assert after.folder != before.folder
    assert not torch.equal(after(["sea"]).features, before(["sea"]).features)


@pytest.mark.parametrize("text", ["x" * 2000, "🌈", "קשת", "a\x00\x1b[31m", "\ud800", "\x07"])
def test_odd_texts_have_features(tiny_t5: Path, text: str) -> None:
    batch = reader_of(tiny_t5)([text])
    assert bool(batch.features.isfinite().all())
    assert int(batch.mask.sum()) <= 12


def test_the_width_must_fit(tiny_t5: Path) -> None:
    with pytest.raises(ConfigError, match=r"text\.width: .*tiny-t5 has 16, got 512"):
        reader_of(tiny_t5, width=512)


def test_without_transformers_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match="needs transformers, which is not installed") as caught:
        reader_of(tmp_path)
    assert 'pip install "bigr-cli[text]"' in str(caught.value.hint)
    assert "pipx inject bigr-cli transformers" in str(caught.value.hint)


@pytest.mark.parametrize("source", ["", "flan-t5-base", "no/such/folder", "../x"])
def test_a_source_that_is_none(source: str) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(ConfigError, match=r"text\.source: expected a repository such as google/flan-t5-base"):
        reader_of(source)


def test_a_folder_that_is_no_t5(tmp_path: Path, tiny_t5: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"is no T5: its config\.json cannot be read"):
        reader_of(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "d_model": 16}))
    with pytest.raises(ModelError, match="expected a T5, got a model of the kind 'bert'"):
        reader_of(tmp_path)
    shutil.copy(tiny_t5 / "config.json", tmp_path)
    with pytest.raises(ModelError, match="transformers cannot load it"):
        reader_of(tmp_path)(["sea"])


def test_offline_and_not_in_the_cache(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(ModelError, match=r"google/flan-t5-small: is not in the hub's cache .*, and this is offline"):
        reader_of("google/flan-t5-small", offline=True)
    assert hub.asked == []


def test_a_t5_comes_from_the_hub_once(
    hub: Any, tiny_t5: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add("someone/tiny-t5", tiny_t5)
    hub.files["someone/tiny-t5/pytorch_model.bin"] = b"pickled"
    fetched = reader_of("someone/tiny-t5")
    assert fetched(["sea"]).mask.sum() == 4
    assert "pytorch_model.bin" not in str(hub.asked)
    assert capsys.readouterr().out == ""
    hub.asked.clear()
    again = reader_of("someone/tiny-t5", offline=True)
    assert again.folder == fetched.folder
    assert torch.equal(again(["sea", "cat"]).features[0], fetched(["sea"]).features[0])
    assert hub.asked == []
    with pytest.raises(ModelError, match="someone/none: there is no such repository"):
        reader_of("someone/none")
    hub.down = True
    with pytest.raises(RunError, match="someone/none: the hub cannot be reached"):
        reader_of("someone/none")
    assert "Traceback" not in capsys.readouterr().err


def test_the_encoder_works_where_it_is_asked_to(tiny_t5: Path) -> None:
    features = reader_of(tiny_t5).encoder.encode(["sea"], 12, torch.device("meta"))
    assert features[0].device.type == "meta"
    assert features[0].shape == (4, 16)
