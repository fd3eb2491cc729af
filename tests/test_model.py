from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

import bigr_cli
from bigr_cli.editing.generate import Job
from bigr_cli.errors import ConfigError, DeviceError, ImageError, ModelError, UnknownNameError, UsageError
from bigr_cli.model import Model, load
from bigr_cli.runtime import fast_layers


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return load(tiny_model, device="cpu", dtype="float32")


def same(one: Sequence[Image.Image], other: Sequence[Image.Image]) -> bool:
    return [image.tobytes() for image in one] == [image.tobytes() for image in other]


def test_what_a_model_tells(model: Model) -> None:
    assert model.labels == ("cat", "dog", "house", "tree")
    assert model.config.name == model.name == "tiny"
    assert (model.device, model.dtype) == (torch.device("cpu"), torch.float32)
    assert model.label_index("Dog") == 1
    assert model.settings(steps=2).steps == 2
    assert not model.network.training


def test_the_packages_load_is_this_one(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bigr_cli.load(tiny_model, device="cpu").name == "tiny"
    monkeypatch.setenv("BIGR_MODEL", str(tiny_model))
    assert bigr_cli.load().folder == str(tiny_model)


def test_names_are_of_the_folder_that_has_them(tiny_model: Path, home: Path) -> None:
    (home / "models").mkdir(parents=True)
    (home / "models" / "mine").symlink_to(tiny_model)
    mine = load("mine", device="cpu")
    assert (mine.name, mine.folder, mine.config.name) == ("mine", None, "tiny")


def test_what_cannot_be_loaded(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError):
        load("tinny")
    with pytest.raises(ModelError):
        load(tmp_path)
    with pytest.raises(DeviceError):
        load(tiny_model, device="cuda:77")
    with pytest.raises(DeviceError):
        load(tiny_model, dtype="half")
    with pytest.raises(UsageError):
        load(tiny_model, threads=0)


@pytest.mark.parametrize("batch_size", [1, 3, 8, 100])
def test_images_do_not_depend_on_the_batch(model: Model, batch_size: int) -> None:
    labels = ["cat", "tree", None, 1]
    images = model.generate(labels, count=2, seed=5, batch_size=batch_size)
    assert [image.size for image in images] == [(16, 16)] * 8
    assert len({image.tobytes() for image in images}) == 8
    alone = [model.generate(labels[place // 2], seed=5 + place)[0] for place in range(8)]
    assert same(images, alone)


def test_images_do_not_depend_on_their_place(model: Model) -> None:
    jobs = [Job("x", index % 4, seed=index, index=index) for index in range(6)]
    settings = model.settings()
    forwards = {image.index: image.image.tobytes() for image in model.make(jobs, settings)}
    backwards = {image.index: image.image.tobytes() for image in model.make(jobs[::-1], settings, batch_size=4)}
    assert forwards == backwards


@pytest.mark.parametrize("order", ["entropy", "confidence", "halton", "random", "raster"])
def test_settings_reach_the_sampler(model: Model, order: str) -> None:
    plain = model.generate("cat", count=3, seed=1)
    assert not same(plain, model.generate("cat", count=3, seed=1, order=order, steps=3, guidance=7, temperature=0.5))


def test_labels_and_seeds_matter(model: Model) -> None:
    assert not same(model.generate("cat", seed=1), model.generate("dog", seed=1))
    assert not same(model.generate("cat", seed=1), model.generate("cat", seed=2))
    assert not same(model.generate("cat", count=4), model.generate("cat", count=4))


def test_images_come_batch_by_batch(model: Model) -> None:
    seen: list[tuple[int, int, int]] = []

    def watch(jobs: Sequence[Job], iteration: int, codes: Tensor, masked: Tensor) -> None:
        assert codes.shape == (len(jobs), 16, 6)
        seen.append((jobs[0].index, iteration, int(masked.sum())))

    jobs = [Job("cat", 0, seed, seed) for seed in range(5)]
    images = model.make(jobs, model.settings(), batch_size=2, watch=watch)
    first = next(images)
    assert (first.label, first.index, first.seed) == ("cat", 0, 0)
    assert first.seconds > 0
    assert [entry[:2] for entry in seen] == [(0, iteration) for iteration in range(4)]
    assert seen[-1][2] == 0
    assert [image.index for image in images] == [1, 2, 3, 4]


def test_generate_iter_gives_names_and_seeds(model: Model) -> None:
    images = list(model.generate_iter(["tree", 0], count=2, seed=7))
    assert [(p.label, p.seed, p.index) for p in images] == [
        ("tree", 7, 0),
        ("tree", 8, 1),
        ("cat", 9, 2),
        ("cat", 10, 3),
    ]


def test_errors_come_at_once(model: Model) -> None:
    with pytest.raises(UnknownNameError, match="did you mean tree"):
        model.generate_iter("tre")
    with pytest.raises(ConfigError, match="did you mean steps"):
        model.generate_iter("cat", stepps=3)
    with pytest.raises(UsageError, match="batch_size"):
        model.generate_iter("cat", batch_size=0)


def test_codes_and_images(model: Model) -> None:
    codes = model.sample_codes(torch.tensor([0, 1, 2]), [1, 2, 3], steps=2, timesteps=3)
    assert codes.shape == (3, 16, 6)
    images = model.decode(codes)
    assert same(images, [model.decode(codes[index : index + 1])[0] for index in range(3)])
    encoded = model.encode(images)
    assert (encoded.shape, encoded.dtype) == ((3, 16, 6), torch.bool)
    assert torch.equal(model.encode(images[0])[0], encoded[0])
    tensor = torch.rand(2, 3, 16, 16)
    assert torch.equal(model.encode(tensor), model.tokenizer.encode(tensor))


def test_masked_tokens_decode_as_undecided(model: Model) -> None:
    codes = model.sample_codes(torch.tensor([0]), [1])
    nothing = torch.zeros(1, 16, dtype=torch.bool)
    assert same(model.decode(codes, nothing), model.decode(codes))
    assert same(model.decode(codes, ~nothing), model.decode(~codes, ~nothing))


def test_images_of_another_size_are_refused(model: Model) -> None:
    with pytest.raises(ImageError, match=r"expected \(B, 3, 16, 16\)"):
        model.encode(Image.new("RGB", (17, 16)))
    with pytest.raises(ValueError, match="codes"):
        model.decode(torch.zeros(1, 16, 5))


@pytest.mark.skipif(not fast_layers.int8_works(), reason="this processor does not multiply int8")
def test_int8(tiny_model: Path, model: Model) -> None:
    short = load(tiny_model, device="cpu", dtype="int8")
    assert short.dtype == torch.int8
    assert short.tokenizer.embed.dtype == torch.float32
    (image,) = short.generate("cat", seed=3)
    assert image.size == model.generate("cat", seed=3)[0].size
    job = short.recipe(short.settings(), task="generate", labels=["cat"], seed=3)
    assert job.dtype == "int8"
    with pytest.raises(UsageError, match="int8"):
        load(tiny_model, device="cpu", dtype="int8", offload=True)


def test_only_gpus_compile(tiny_model: Path) -> None:
    with pytest.raises(DeviceError, match="cpu cannot compile networks"):
        load(tiny_model, device="cpu", compile=True)
    for more in ({"offload": True}, {"device_map": "auto"}):
        with pytest.raises(UsageError, match="cannot be compiled"):
            load(tiny_model, device="cpu", compile=True, **more)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_shorter_formats_leave_the_tokenizer_alone(tiny_model: Path, model: Model, dtype: str) -> None:
    short = load(tiny_model, device="cpu", dtype=dtype)
    assert str(short.dtype) == f"torch.{dtype}"
    assert short.tokenizer.embed.dtype == torch.float32
    codes = torch.rand(2, 16, 6) > 0.5
    assert same(short.decode(codes), model.decode(codes))
    assert short.generate("cat", count=2, seed=1)[1].size == (16, 16)


def test_recipes_tell_how(model: Model, tiny_model: Path) -> None:
    recipe = model.recipe(model.settings(steps=2), task="generate", labels=["cat"], seed=3)
    assert (recipe.model, recipe.folder, recipe.seed, recipe.labels) == ("tiny", str(tiny_model), 3, ("cat",))
    assert recipe.weights == model.config.sha256
    assert (recipe.device, recipe.dtype, recipe.sampling.steps) == ("cpu", "float32", 2)
