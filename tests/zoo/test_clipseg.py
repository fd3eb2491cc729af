"""CLIPSeg as a mask finder: a tiny one of random weights, in files that transformers wrote."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bigr_cli.editing import mask_finders
from bigr_cli.imaging.originals import Original
from bigr_cli.zoo.clipseg import open_finder

transformers = pytest.importorskip("transformers")
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def tiny_clipseg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIPSeg as transformers saves it, with random weights and a vocabulary of letters."""
    folder = tmp_path_factory.mktemp("clipseg")
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    ends = {"bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1, "pad_token_id": len(words) - 1}
    config = transformers.CLIPSegConfig(
        text_config={**size, **ends, "vocab_size": len(words), "max_position_embeddings": 16},
        vision_config={**size, "image_size": 32, "patch_size": 8},
        projection_dim=8,
        extract_layers=[0, 1],
        reduce_dim=8,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=8,
    )
    torch.manual_seed(1)
    network = transformers.CLIPSegForImageSegmentation(config)
    for parameter in network.parameters():  # so wild that image and words matter
        parameter.data = torch.randn_like(parameter) * 0.3
    for parameter in network.decoder.transposed_convolution.parameters():  # or the probabilities would all be alike
        parameter.data *= 50
    network.save_pretrained(folder)
    images = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    transformers.CLIPSegProcessor(images, tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    mask_finders._opened.cache_clear()
    yield
    mask_finders._opened.cache_clear()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path, tiny_clipseg: Path) -> Path:
    """The current folder, with `in.png`, a noisy image of 40 × 30 pixels."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGR_MODEL", str(tiny_model))
    monkeypatch.setenv("BIGR_CLIPSEG", str(tiny_clipseg))
    levels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(levels).save("in.png")
    return tmp_path


def test_probabilities_are_those_of_transformers(
    tiny_clipseg: Path, monkeypatch: pytest.MonkeyPatch, tiny_network: Any
) -> None:
    monkeypatch.setenv("BIGR_CLIPSEG", str(tiny_clipseg))
    levels = np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    processor = transformers.CLIPSegProcessor.from_pretrained(str(tiny_clipseg))
    network = transformers.CLIPSegForImageSegmentation.from_pretrained(str(tiny_clipseg)).eval()
    with torch.inference_mode():
        given = processor(text=["a red car"], images=[levels], return_tensors="pt")
        expected = network(**given).logits.reshape(32, 32).sigmoid().numpy()
    finder = open_finder()
    found = finder.probabilities(levels, "a red car", torch.device("cpu"))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert not np.allclose(found, finder.probabilities(levels, "sea", torch.device("cpu")), atol=1e-3)
    mask = finder.find(tiny_network, Original(Image.fromarray(levels)), "a red car")
    assert mask.shape == (50, 70) and set(np.unique(mask)) <= {0, 1}
    monkeypatch.setattr("bigr_cli.zoo.clipseg._PRESENT", 1.1)
    assert not finder.find(tiny_network, Original(Image.fromarray(levels)), "a red car").any()


def test_words_say_what_to_repaint(bigr: Run, here: Path) -> None:
    done = bigr("mask", "in.png", "--mask-text", "red car", "-o", "mask.png")
    assert done.code == 0, done.err
    with Image.open("mask.png") as image:
        mask = np.asarray(image)
    assert 0 < mask.mean() < 255
    done = bigr("inpaint", "in.png", "--mask-text", "red car", "--mask-grow", 0, "--seed", 1, "-o", "out.png")
    assert done.code == 0, done.err
    with Image.open("in.png") as before, Image.open("out.png") as after:
        different = (np.asarray(before) != np.asarray(after)).any(axis=-1)
    assert different[mask == 255].mean() > 0.9 and not different[mask == 0].any()


def test_without_transformers(bigr: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bigr_cli.zoo.text_encoders.t5.find_spec", lambda name: None)
    done = bigr("inpaint", "in.png", "--mask-text", "cat")
    assert done.code == 2 and 'pip install "bigr-cli[text]"' in done.err
    assert os.listdir() == ["in.png"]


def test_what_is_no_clipseg(bigr: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("empty").mkdir()
    for source, message in (("empty", "empty: holds no CLIPSeg"), ("no/such/thing", "expected a folder, or a repo")):
        monkeypatch.setenv("BIGR_CLIPSEG", source)
        done = bigr("mask", "in.png", "--mask-text", "cat")
        assert done.code == 2 and message in done.err, done.err


def test_offline_it_says_so(bigr: Run, here: Path, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIGR_CLIPSEG")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    done = bigr("mask", "in.png", "--mask-text", "cat")
    assert done.code == 2 and "is not in the hub's cache" in done.err, done.err
    assert hub.asked == []


def test_it_comes_from_the_hub_once(
    bigr: Run, here: Path, hub: Any, tiny_clipseg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("someone/tiny-clipseg", tiny_clipseg)
    monkeypatch.setenv("BIGR_CLIPSEG", "someone/tiny-clipseg")
    done = bigr("mask", "in.png", "--mask-text", "cat", "-o", "a.png")
    assert done.code == 0 and "fetching someone/tiny-clipseg (" in done.err, done.err
    mask_finders._opened.cache_clear()
    hub.asked.clear()
    done = bigr("mask", "in.png", "--mask-text", "cat", "-o", "b.png")
    assert done.code == 0 and "fetching" not in done.err and hub.asked == []
    assert Path("a.png").stat().st_size == Path("b.png").stat().st_size
