"""Published checkpoints: imported, they compute what they computed; whatever is wrong with them is said, at once."""

import argparse
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from bigr_cli.core.architectures import AutoencoderConfig, GeneratorConfig
from bigr_cli.core.network import Generator
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.errors import BigrError, CheckpointError, ConfigError, UsageError
from bigr_cli.runtime.tensor_file import shapes_of
from bigr_cli.zoo.checkpoint import Checkpoint
from bigr_cli.zoo.config import read_config
from bigr_cli.zoo.find import packaged_models
from bigr_cli.zoo.folder import check_model, load_model
from bigr_cli.zoo.published import sizes
from bigr_cli.zoo.published.convert import import_published
from bigr_cli.zoo.published.sizes import autoencoder_sizes, generator_sizes

GIVEN = Path(__file__).parents[2] / "data" / "published"
TOKENIZER, GENERATOR, TRAINED = (GIVEN / name for name in ("binaryae_ema_1000.th", "bigr_tiny.pt", "0001000.pt"))
Edit = Callable[[dict[str, Any]], object]


def made(tmp_path: Path, **changes: Any) -> Any:
    """Import the given files, with some arguments changed, to tmp_path / "out"."""
    arguments: dict[str, Any] = dict(tokenizer=TOKENIZER, generator=GENERATOR, heads=4, image_size=16)
    return import_published(**{**arguments, "output": tmp_path / "out", **changes})


def refused(tmp_path: Path, **changes: Any) -> str:
    """The message with which an import is refused; nothing may be left behind."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BigrError) as caught:
        made(tmp_path, **changes)
    assert caught.value.exit_code == 2
    assert sorted(tmp_path.rglob("*")) == before
    return str(caught.value)


def changed(tmp_path: Path, source: Path, change: Edit) -> Path:
    """A copy of a checkpoint with some tensors changed."""
    content = torch.load(source, weights_only=True)
    change(content.get("ema", content))
    target = tmp_path / f"changed-{source.name}"
    torch.save(content, target)
    return target


class Evil:
    """Unpickled by anything but a careful reader, it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("generator", [GENERATOR, TRAINED])
def test_the_model_computes_what_the_published_one_did(tmp_path: Path, generator: Path) -> None:
    config = made(tmp_path, generator=generator, name="tiny", labels=tuple("abcdefghij"), licence="MIT")
    assert check_model(tmp_path / "out") == []
    model, found = load_model(tmp_path / "out", verify=True)
    assert found == config
    assert (config.name, config.licence, config.labels[1]) == ("tiny", "MIT", "b")
    assert config.provenance.sources == (TOKENIZER.name, generator.name)
    given = load_file(GIVEN / "expected.safetensors")
    probabilities = model.tokenizer.bit_probabilities(given["bae.image"])
    torch.testing.assert_close(probabilities, given["bae.bit_prob"].flatten(2).transpose(1, 2), atol=2e-4, rtol=0)
    condition = model.generator.condition(given["gen.code"], given["gen.class"].long(), given["gen.mask"].bool())
    torch.testing.assert_close(condition, given["gen.cond"], atol=2e-4, rtol=0)
    flips = model.generator.transcoder.flip_logits(
        given["diff.x_t"], given["diff.t"].long(), given["gen.cond"].flatten(0, 1)
    )
    torch.testing.assert_close(flips, given["diff.flip_logits"], atol=2e-4, rtol=0)


def published(state: dict[str, Tensor], rename: Callable[[str], str], prefix: str = "") -> dict[str, Tensor]:
    return {prefix + rename(name): tensor.clone() for name, tensor in state.items()}


@pytest.mark.parametrize(
    "tokenizer",
    [
        AutoencoderConfig(
            32, 5, channels=32, multipliers=(1, 2, 1), res_blocks=2, attention_resolutions=(16,), norm_first=False
        ),
        AutoencoderConfig(16, 5, channels=64, multipliers=(1, 3), res_blocks=1, attention_resolutions=(), embedding=96),
        AutoencoderConfig(8, 5, channels=32, multipliers=(2,), res_blocks=3, attention_resolutions=(8,), embedding=32),
    ],
)
@pytest.mark.parametrize(
    ("dim", "heads", "multiple", "width", "timesteps"), [(48, 3, 256, 40, 256), (16, 4, 8, 24, 100), (24, 1, 1, 8, 256)]
)
def test_every_size_is_read_off_the_tensors(
    tmp_path: Path, tokenizer: AutoencoderConfig, dim: int, heads: int, multiple: int, width: int, timesteps: int
) -> None:
    config = GeneratorConfig(
        grid=tokenizer.grid,
        bits=5,
        classes=7,
        layers=3,
        heads=heads,
        dim=dim,
        ffn_multiple=multiple,
        transcoder_layers=4,
        transcoder_width=width,
        diffusion_timesteps=timesteps,
    )
    generator = Generator(config)
    first = published(Tokenizer(tokenizer).state_dict(), sizes.published_tokenizer_name, "ae.")
    second = published(generator.state_dict(), sizes.published_generator_name)
    if timesteps != 256:
        second["diffusion_processor.scheduler.k_final"] = generator.transcoder.schedule.k
    torch.save(first, tmp_path / "t.th")
    torch.save(second, tmp_path / "g.pt")
    files = {"tokenizer": tmp_path / "t.th", "generator": tmp_path / "g.pt"}
    got = made(tmp_path, **files, heads=heads, image_size=tokenizer.image_size)
    assert got.tokenizer == tokenizer
    assert got.generator.ffn_width == config.ffn_width
    assert {**vars(got.generator), "ffn_multiple": 0} == {**vars(config), "ffn_multiple": 0}
    assert got.sampling.timesteps == min(100, timesteps)


def test_the_default_settings_are_those_published_for_the_size(tmp_path: Path) -> None:
    assert made(tmp_path).sampling.steps == 16  # no more than there are tokens
    state = torch.load(GENERATOR, weights_only=True)["ema"]
    layer = {name: tensor for name, tensor in state.items() if name.startswith("layers.0.")}
    for index in range(2, 36):
        state.update({name.replace(".0.", f".{index}.", 1): tensor.clone() for name, tensor in layer.items()})
    torch.save({"ema": state}, tmp_path / "xl.pt")
    config = made(tmp_path, generator=tmp_path / "xl.pt", output=tmp_path / "xl")
    assert config.generator.layers == 36
    assert config.sampling.gumbel == 0.25


@pytest.mark.parametrize("heads", [0, 3, 5, 32, 1000])
def test_heads_that_do_not_divide(tmp_path: Path, heads: int) -> None:
    assert refused(tmp_path, heads=heads).endswith(
        f"bigr_tiny.pt: {heads} heads do not fit a width of 64; 1, 2, 4, 8, 16 do"
    )


def test_the_image_size_is_found(tmp_path: Path) -> None:
    assert made(tmp_path, image_size=None).image_size == 16


def test_heads_that_are_not_said(tmp_path: Path) -> None:
    message = refused(tmp_path, heads=None, image_size=None)
    assert message.endswith("2 layers 64 wide are no published size: --heads must say how many (1, 2, 4, 8, 16)")


@pytest.mark.parametrize("name", ["bigr-l-d24", "bigr-xl-d24", "bigr-xxl-d24", "bigr-xxl-d32", "bigr-l-d32-512"])
def test_published_sizes_are_known(name: str) -> None:
    card = read_config(packaged_models() / name)
    assert card.generator is not None
    with torch.device("meta"):
        second = shapes_of(Generator(card.generator))
        first = shapes_of(Tokenizer(card.tokenizer))
    found = generator_sizes({sizes.published_generator_name(key): shape for key, shape in second.items()}, heads=None)
    assert found == card.generator
    shapes = {sizes.published_tokenizer_name(key): shape for key, shape in first.items()}
    assert autoencoder_sizes(shapes, image_size=None, grid=found.grid) == card.tokenizer


def test_a_second_copy_that_differs(tmp_path: Path) -> None:
    copy = "diffusion_processor._denoise_fn.x_embedder.weight"

    def differ(state: dict[str, Tensor]) -> None:
        state[copy] = state["denoise_mlp.x_embedder.weight"] + 1

    def agree(state: dict[str, Tensor]) -> None:
        state[copy] = state["denoise_mlp.x_embedder.weight"].clone()

    made(tmp_path, generator=changed(tmp_path, GENERATOR, agree))
    message = refused(tmp_path, generator=changed(tmp_path, GENERATOR, differ), output=tmp_path / "other")
    assert f"denoise_mlp.x_embedder.weight is there twice, and the other, {copy}, differs" in message


def test_a_file_may_be_larger_than_what_is_used_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path)
    opened = []
    read = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: opened.append(a) or read(*a, **k))
    monkeypatch.setattr("bigr_cli.zoo.checkpoint._USED_AT_ONCE", 1 << 16)
    assert made(tmp_path, output=tmp_path / "other").sha256 == read_config(tmp_path / "out").sha256
    assert len(opened) > 20


def test_a_wrong_image_size(tmp_path: Path) -> None:
    assert "they do not fit, or --image-size should be 16" in refused(tmp_path, image_size=32)
    assert "image_size: expected a multiple of 4, got 18" in refused(tmp_path, image_size=18)


def test_swapped_files(tmp_path: Path) -> None:
    message = refused(tmp_path, tokenizer=GENERATOR, generator=TOKENIZER)
    assert "bigr_tiny.pt: is no tokenizer" in message
    assert "binaryae_ema_1000.th: is no generator but a tokenizer" in message


def test_files_that_do_not_fit_each_other(tmp_path: Path) -> None:
    def nine_bits(state: dict[str, Tensor]) -> None:
        for name in ("tok_embeddings.weight", "denoise_mlp.x_embedder.weight"):
            state[name] = torch.cat([state[name], state[name][:, :1]], 1)
        for name in ("denoise_mlp.final_layer.linear.weight", "denoise_mlp.final_layer.linear.bias"):
            state[name] = torch.cat([state[name], state[name][:1]])

    message = refused(tmp_path, generator=changed(tmp_path, GENERATOR, nine_bits))
    assert re.search(r"1000\.th has 8 bits a token, .*tiny\.pt 9: they do not fit", message)


@pytest.mark.parametrize(
    ("source", "change", "message"),
    [
        (GENERATOR, lambda s: s.pop("norm.weight"), "missing tensors: norm.weight"),
        (GENERATOR, lambda s: s.pop("layers.1.ffn_norm.weight"), "missing tensors: layers.1.ffn_norm.weight"),
        (GENERATOR, lambda s: s.pop("tok_embeddings.weight"), "missing tensors: tok_embeddings.weight"),
        (GENERATOR, lambda s: s.update(extra=torch.ones(2)), "unknown tensors: extra"),
        (GENERATOR, lambda s: s.update(mask_tok=torch.ones(3)), "mask_tok (expected [1, 64], got [3])"),
        (GENERATOR, lambda s: s["adaLN.1.bias"].fill_(float("nan")), "adaLN.1.bias has values that are not finite"),
        (GENERATOR, lambda s: s.update(mask_tok=torch.ones(1, 64).int()), "mask_tok is not"),
        (GENERATOR, lambda s: s.update(mask_tok=torch.ones(1, 64, device="meta")), "mask_tok is not"),
        (GENERATOR, lambda s: s.update(mask_tok=torch.ones(1, 64).to_sparse()), "mask_tok is not"),
        (GENERATOR, lambda s: s.update(mask_tok="x"), "mask_tok is not"),
        (GENERATOR, lambda s: s.update({7: torch.ones(1)}), "7 is not"),
        (GENERATOR, lambda s: s.update(diffusion_pos_embed_learned=torch.ones(1, 15, 64)), "15 tokens are no square"),
        (
            GENERATOR,
            lambda s: s["diffusion_processor.scheduler.k_final"].mul_(0.5),
            "k_final is not the table of the linear noise schedule of 256 timesteps",
        ),
        (GENERATOR, lambda s: s.clear(), "holds no tensors"),
        (TOKENIZER, lambda s: s.pop("ae.quantize.embed.weight"), "missing tensors: ae.quantize.embed.weight"),
        (TOKENIZER, lambda s: s.pop("ae.encoder.blocks.4.conv.bias"), "missing tensors: ae.encoder.blocks.4.conv.bias"),
        (TOKENIZER, lambda s: s.pop("ae.encoder.blocks.0.weight"), "missing tensors: encoder.blocks.0.weight"),
        (
            TOKENIZER,
            lambda s: s.pop("ae.encoder.blocks.5.conv_out.weight"),
            "missing tensors: ae.encoder.blocks.5.conv_out.weight",
        ),
        (TOKENIZER, lambda s: s.update({"ae.encoder.blocks.0.weight": torch.ones(0, 3, 3, 3)}), "none empty"),
        (GENERATOR, lambda s: s.update({"tok_embeddings.weight": torch.ones(64)}), "expected 2 axes"),
        (TOKENIZER, lambda s: s.update({"ae.more": torch.ones(1)}), "unknown tensors: ae.more"),
        (TOKENIZER, lambda s: [s.pop(key) for key in list(s) if ".blocks.8." in key], "are not those of the published"),
        (
            TOKENIZER,
            lambda s: s["ae.generator.blocks.0.weight"].fill_(float("inf")),
            "ae.generator.blocks.0.weight has",
        ),
    ],
)
def test_tensors_that_do_not_fit(tmp_path: Path, source: Path, change: Edit, message: str) -> None:
    file = changed(tmp_path, source, change)
    said = refused(tmp_path, **{"generator" if source == GENERATOR else "tokenizer": file})
    assert f"{file}: " in said
    assert message in said


def test_everything_that_is_wrong_is_listed(tmp_path: Path) -> None:
    def spoil(state: dict[str, Tensor]) -> None:
        del state["norm.weight"]
        state["extra"] = torch.ones(1)
        state["mask_tok"].fill_(float("nan"))

    message = refused(
        tmp_path,
        generator=changed(tmp_path, GENERATOR, spoil),
        tokenizer=changed(tmp_path, TOKENIZER, lambda state: state.pop("ae.encoder.blocks.0.bias")),
        image_size=32,
    )
    for part in (
        "norm.weight",
        "extra",
        "mask_tok has values",
        "ae.encoder.blocks.0.bias",
        "--image-size should be 16",
    ):
        assert part in message


@pytest.mark.parametrize("protocol", ["zip", "old", "pickle", "nested"])
@pytest.mark.parametrize("role", ["tokenizer", "generator"])
def test_code_in_a_file_is_not_run(tmp_path: Path, role: str, protocol: str) -> None:
    mark, file = tmp_path / "mark", tmp_path / "evil.pt"
    state = torch.load(GENERATOR if role == "generator" else TOKENIZER, weights_only=True)
    content = {**state, "args": Evil(mark)} if protocol == "nested" else Evil(mark)
    if protocol == "pickle":
        file.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=protocol != "old")
    message = refused(tmp_path, **{role: file})
    assert f"{file}: is " in message
    assert not mark.exists()


def test_code_is_named(tmp_path: Path) -> None:
    torch.save({"ema": Evil(tmp_path / "mark")}, tmp_path / "evil.pt")
    assert re.search(
        r"evil\.pt: is refused, as reading it would run code: it asks for \w+\.system",
        refused(tmp_path, generator=tmp_path / "evil.pt"),
    )
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "evil.pt")
    assert "it asks for torch.nn.modules.linear.Linear" in refused(tmp_path, generator=tmp_path / "evil.pt")


@pytest.mark.parametrize("source", [TOKENIZER, TRAINED])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, source: Path) -> None:
    whole = source.read_bytes()
    file = tmp_path / source.name
    step = len(whole) // 37
    for length in [*range(0, 9), 100, 1000, *range(step, len(whole), step), len(whole) - 100, len(whole) - 1]:
        file.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=re.escape(f"{file}: ")):
            Checkpoint(file)
    assert "is not a checkpoint" in refused(tmp_path, **{"generator" if source == TRAINED else "tokenizer": file})


def test_files_that_are_something_else(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    torch.save(torch.ones(3), tmp_path / "tensor")
    torch.save({}, tmp_path / "empty")
    for name, message in (
        ("text", "is not a checkpoint"),
        ("tensor", "holds no tensors by name but Tensor"),
        ("empty", "holds no tensors by name"),
        ("none", "cannot be read: No such file"),
        (".", "cannot be read"),
    ):
        assert message in refused(tmp_path, generator=tmp_path / name)


def test_which_state_is_taken(tmp_path: Path) -> None:
    one, two = {"x": torch.zeros(1)}, {"x": torch.ones(1)}
    file = tmp_path / "f.pt"
    for content, expected in (
        ({"model": one, "ema": two, "args": argparse.Namespace(a=1), "opt": {"lr": 0.1}}, 1),
        ({"model": two}, 1),
        (two, 1),
        ({"ema": one, "model": two}, 0),
    ):
        for zipped in (True, False):
            torch.save(content, file, _use_new_zipfile_serialization=zipped)
            assert Checkpoint(file)["x"].item() == expected


def test_an_existing_folder_is_kept(tmp_path: Path) -> None:
    made(tmp_path)
    assert "exists already" in refused(tmp_path)
    assert made(tmp_path, name="again", overwrite=True).name == "again"
    (tmp_path / "out" / "notes.txt").touch()
    with pytest.raises(UsageError, match="holds other files"):
        made(tmp_path, overwrite=True)


def test_names_and_labels(tmp_path: Path) -> None:
    assert made(tmp_path, output=tmp_path / "my model!").name == "my-model"
    for changes in ({"name": "../x"}, {"labels": ("a",)}, {"labels": ("a",) * 10}):
        with pytest.raises(ConfigError):
            made(tmp_path, **changes)
    assert [path.name for path in tmp_path.iterdir()] == ["my model!"]


def test_names_go_both_ways() -> None:
    for file, rename, back, prefix in (
        (GENERATOR, sizes.generator_name, sizes.published_generator_name, ""),
        (TOKENIZER, sizes.tokenizer_name, sizes.published_tokenizer_name, "ae."),
    ):
        content = torch.load(file, weights_only=True)
        for name in content.get("ema", content):
            ours = rename(name.removeprefix(prefix)) if name.startswith(prefix) else None
            if ours is None:
                assert name.startswith(("diffusion_processor.", "ae.generator.logsigma.", "disc."))
            else:
                assert back(ours) == name.removeprefix(prefix)
