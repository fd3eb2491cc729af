"""Blocks that are kept elsewhere: the same numbers, and nothing of them in between."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate.utils import get_max_memory
from safetensors.torch import load_file

import bigr_cli
from bigr_cli.core.architectures import GeneratorConfig
from bigr_cli.core.network import Generator
from bigr_cli.errors import DeviceError, UsageError
from bigr_cli.model import Model
from bigr_cli.runtime import offload
from bigr_cli.runtime.offload import offload_like, plan
from bigr_cli.zoo.folder import load_model

CPU, FIRST, SECOND = torch.device("cpu"), torch.device("cuda", 0), torch.device("cuda", 1)
SIZES = {"transcoder_layers": 1, "transcoder_width": 8, "ffn_multiple": 8}


def laid_out(layers: int = 6) -> Generator:
    with torch.device("meta"):
        return Generator(GeneratorConfig(grid=4, bits=6, classes=3, layers=layers, heads=2, dim=64, **SIZES))


def sizes(generator: Generator, width: int = 4) -> tuple[int, int]:
    """Bytes of a block, and of all that is no block."""
    block = sum(tensor.numel() for tensor in generator.blocks[0].state_dict().values())
    return width * block, width * sum(t.numel() for t in generator.state_dict().values()) - width * block * 6


def test_the_device_is_filled_first() -> None:
    generator = laid_out()
    block, rest = sizes(generator)

    def places(device: torch.device, **memory: int) -> list[object]:
        known = {int(name[1:]) if name[0] == "g" else name: size for name, size in memory.items()}
        return list(plan(generator, device, torch.float32, "auto", known))

    assert places(CPU, cpu=rest + 7 * block) == [CPU] * 6
    # Room for one block more is needed, for those that are brought.
    assert places(CPU, cpu=int(rest + 3.5 * block)) == [CPU] * 2 + ["disk"] * 4
    assert places(FIRST, g0=int((rest + 4.5 * block) / 0.9), cpu=9 * block) == [FIRST] * 3 + ["memory"] * 3
    tight = places(FIRST, g0=int((rest + 2.5 * block) / 0.9), cpu=int(3.5 * block))
    assert tight == [FIRST, "memory", "memory", "disk", "disk", "disk"]
    both = places(FIRST, g0=99 * block, g1=99 * block, cpu=99 * block)
    assert set(both) == {FIRST, SECOND}
    assert both == sorted(both, key=str)
    second = places(SECOND, g0=int((rest + 3.5 * block) / 0.9), g1=int((rest + 3.5 * block) / 0.9), cpu=99 * block)
    assert second[0] == SECOND
    assert second == sorted(second, key=str, reverse=True)
    assert set(second) == {SECOND, FIRST}
    with pytest.raises(DeviceError, match="no room"):
        places(FIRST, g0=rest // 2, cpu=99 * block)


def test_shorter_numbers_take_less_room() -> None:
    generator = laid_out()
    block, rest = sizes(generator)
    assert plan(generator, CPU, torch.bfloat16, "auto", {"cpu": (rest + 7 * block) // 2}) == [CPU] * 6


def test_offloading_goes_by_the_device() -> None:
    assert plan(laid_out(2), FIRST, torch.float32, "offload") == ["memory"] * 2
    assert plan(laid_out(2), CPU, torch.float32, "offload") == ["disk"] * 2


@pytest.fixture(params=["offload", "auto, all here", "auto, all in the file", "auto, half", "memory", "other device"])
def spread_model(
    request: pytest.FixtureRequest, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Model]:
    """Load the tiny model with its blocks somewhere."""

    def load(dtype: str = "float32") -> Model:
        how = request.param
        if how == "offload":
            return bigr_cli.load(tiny_model, device="cpu", dtype=dtype, offload=True)
        known = {"memory": ["memory"] * 2, "other device": [torch.device("cpu", 0)] * 2, "auto, half": [CPU, "disk"]}
        if how in known:
            monkeypatch.setattr(offload, "plan", lambda *_: known[how])
        elif how == "auto, all in the file":
            monkeypatch.setattr(offload, "plan", lambda *_: ["disk"] * 2)
        return bigr_cli.load(tiny_model, device="cpu", dtype=dtype, device_map="auto")

    return load


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_images_and_features_are_the_same(spread_model: Callable[..., Model], tiny_model: Path, dtype: str) -> None:
    model = spread_model(dtype)
    plain = bigr_cli.load(tiny_model, device="cpu", dtype=dtype)
    assert (model.device, model.dtype) == (plain.device, plain.dtype)
    one, other = (m.generate(["cat", "tree"], count=2, seed=5) for m in (model, plain))
    assert [image.tobytes() for image in one] == [image.tobytes() for image in other]
    first, second = (m.embed(other, layer="all") for m in (model, plain))
    assert (first == second).all()
    again = model.generate("dog", seed=6)
    assert again[0].tobytes() == plain.generate("dog", seed=6)[0].tobytes()


def test_offloaded_weights_are_forgotten_after_use(tiny_model: Path) -> None:
    model = bigr_cli.load(tiny_model, device="cpu", dtype="float32", offload=True)
    for _ in range(2):
        assert all(tensor.is_meta for tensor in model.generator.blocks.parameters())
        model.generate("cat", seed=1)
    rest = {name for name, tensor in model.generator.state_dict().items() if tensor.is_meta}
    assert all(name.startswith("blocks.") for name in rest)


def test_a_fresh_generator_is_spread_likewise(tiny_model: Path) -> None:
    offloaded, _ = load_model(tiny_model, offloading="offload")
    plain, _ = load_model(tiny_model)
    state = load_file(tiny_model / "generator.safetensors")
    for other, spread_out in ((offloaded.generator, True), (plain.generator, False)):
        fresh = Generator(plain.generator.config)
        fresh.load_state_dict(state)
        made = offload_like(fresh, other).eval()
        assert all(tensor.is_meta == spread_out for tensor in made.blocks.parameters())
        codes, labels = torch.ones(1, 16, 6), torch.tensor([1])
        with torch.no_grad():
            assert torch.equal(made.hidden(codes, labels, 1), plain.generator.hidden(codes, labels, 1))


def test_all_that_is_here_is_asked_for() -> None:
    assert plan(laid_out(), CPU, torch.float32, "auto") == [CPU] * 6
    assert get_max_memory()["cpu"] > 0


def test_wrong_use(tiny_model: Path) -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        bigr_cli.load(tiny_model, offload=True, device_map="auto")
    with pytest.raises(UsageError, match="expected auto, got 'balanced'"):
        bigr_cli.load(tiny_model, device_map="balanced")
