"""Figures against torch-fidelity called directly, and against what can be computed by hand."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_fidelity
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import TensorDataset
from torch_fidelity.defaults import DEFAULTS

from bigr_cli.errors import ModelFormatError, UnknownNameError, UsageError
from bigr_cli.evaluation.extractors import Extractor, open_extractor
from bigr_cli.evaluation.fidelity import (
    Reference,
    Statistics,
    check_counts,
    check_finite,
    frechet,
    frechet_distance,
    measure,
)
from bigr_cli.evaluation.generation import LoadedEvaluator
from bigr_cli.evaluation.image_sets import ImageSet, array, scenes
from bigr_cli.evaluation.metrics import GENERATION
from bigr_cli.evaluation.references import (
    Opened,
    StatisticsFile,
    choose_metrics,
    open_reference,
    read_statistics,
    write_samples,
    write_statistics,
)

FID = "frechet_inception_distance"


class Images(TensorDataset):
    """A set as torch-fidelity reads it."""

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.tensors[0][index]


def tensor(images: ImageSet) -> torch.Tensor:
    return torch.cat(list(images.batches(16)))


def directly(extractor: Extractor, one: torch.Tensor, two: torch.Tensor, size: int) -> dict[str, float]:
    chosen = {name: True for name in extractor.layers}
    return torch_fidelity.calculate_metrics(
        input1=Images(one),
        input2=Images(two),
        feature_extractor=extractor.name,
        cuda=False,
        save_cpu_ram=True,  # no worker processes
        cache=False,
        verbose=False,
        kid_subset_size=size,
        **chosen,
    )


@pytest.mark.parametrize("kind", ["scenes", "model"])
def test_agreement_with_torch_fidelity(kind: str, tiny_model: Path) -> None:
    extractor = open_extractor("scenes" if kind == "scenes" else str(tiny_model))
    side = extractor.size or 0
    samples, reference = scenes(side, 40), scenes(side, 50, start=1000)
    metrics = choose_metrics(None, extractor, Opened("r", reference, StatisticsFile()))
    assert metrics == (["fid", "isc", "kid", "prc"] if kind == "scenes" else ["fid", "kid", "prc"])
    evaluator = LoadedEvaluator(extractor, Opened("r", reference, StatisticsFile()), metrics)
    figures = evaluator.figures(evaluator.features(samples))
    wanted = directly(extractor, tensor(samples), tensor(reference), 40)
    assert set(figures) == set(wanted)
    for name, value in wanted.items():
        assert figures[name] == pytest.approx(value, abs=1e-6), name
    assert evaluator.record(samples, figures)["settings"]["kid_subset_size"] == 40


@given(
    seed=st.integers(0, 2**31),
    width=st.integers(1, 12),
    shift=st.floats(-3, 3),
    stretch=st.floats(0.1, 4),
)
def test_frechet_distance_of_gaussians_that_share_their_axes(
    seed: int, width: int, shift: float, stretch: float
) -> None:
    """|Δμ|² + Σ (√a - √b)² where the covariances have the same eigenvectors and the eigenvalues a and b."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(width, width)))[0]
    values, others = rng.uniform(0.1, 3, width), stretch * rng.uniform(0.1, 3, width)
    mean = rng.normal(size=width)
    one = Statistics(mean, axes @ np.diag(values) @ axes.T)
    two = Statistics(mean + shift, axes @ np.diag(others) @ axes.T)
    wanted = width * shift**2 + np.square(np.sqrt(values) - np.sqrt(others)).sum()
    assert frechet(one, two)[FID] == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_frechet_distance_of_any_gaussians_by_another_formula() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(400, 9)), rng.normal(size=(300, 9)) @ rng.normal(size=(9, 9)) + 1
    first, second = np.cov(one, rowvar=False), np.cov(two, rowvar=False)
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(values) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ second @ root)).sum()
    wanted = np.square(one.mean(0) - two.mean(0)).sum() + np.trace(first) + np.trace(second) - 2 * shared
    assert frechet_distance(one, two) == pytest.approx(wanted, rel=1e-9)


def test_statistics_give_the_same_distance_as_images(tmp_path: Path) -> None:
    extractor = open_extractor("scenes")
    samples, real = scenes(64, 60), scenes(64, 60, start=500)
    evaluator = LoadedEvaluator(extractor, Opened("r", real, StatisticsFile()), ["fid"])
    from_images = evaluator.figures(evaluator.features(samples))[FID]
    found = evaluator.reference
    assert found is not None
    from bigr_cli.evaluation.fidelity import statistics_of

    statistics = statistics_of(found.features["embedding"], extractor)
    write_statistics(tmp_path / "real.npz", statistics)
    again = read_statistics(tmp_path / "real.npz").statistics
    assert again is not None
    assert (again.extractor, again.count) == (extractor.name, 60)
    assert np.array_equal(again.mu, statistics.mu)
    assert np.array_equal(again.sigma, statistics.sigma)
    opened = open_reference(str(tmp_path / "real.npz"), (64, 64), count=None, resize=None)
    from_file = LoadedEvaluator(extractor, opened, ["fid"])
    assert from_file.figures(from_file.features(samples))[FID] == pytest.approx(from_images, abs=1e-3)
    # What torch-fidelity keeps in its cache: features of one layer, or statistics.
    torch.save(found.features["embedding"], tmp_path / "features.pt")
    torch.save({"mu": again.mu.astype(np.float32), "sigma": again.sigma}, tmp_path / "stat.pt")
    for name in ("features.pt", "stat.pt"):
        opened = open_reference(str(tmp_path / name), (64, 64), count=None, resize=None)
        from_file = LoadedEvaluator(extractor, opened, ["fid"])
        assert from_file.figures(from_file.features(samples))[FID] == pytest.approx(from_images, abs=1e-3)


def test_samples_as_adm_reads_them(tmp_path: Path) -> None:
    images = scenes(32, 130)
    write_samples(tmp_path / "a.npz", images)
    with np.load(tmp_path / "a.npz") as file:
        assert file.files == ["arr_0"]
        pixels = file["arr_0"]
    assert pixels.shape == (130, 32, 32, 3)
    assert np.array_equal(pixels, tensor(images).permute(0, 2, 3, 1).numpy())
    with pytest.raises(UsageError, match="exists already"):
        write_samples(tmp_path / "a.npz", images)
    opened = open_reference(str(tmp_path / "a.npz"), (32, 32), count=20, resize=None)
    assert opened.images is not None
    assert torch.equal(tensor(opened.images), tensor(images)[:20])


def test_adm_statistics_serve_fid_and_their_images_the_rest(tmp_path: Path) -> None:
    """A reference batch of ADM's: images, and statistics of a larger set than these."""
    extractor = open_extractor("scenes")
    width = 160
    np.savez(tmp_path / "r.npz", arr_0=np.zeros((9, 64, 64, 3), np.uint8), mu=np.zeros(width), sigma=np.eye(width))
    opened = open_reference(str(tmp_path / "r.npz"), (64, 64), count=None, resize=None)
    evaluator = LoadedEvaluator(extractor, opened, ["fid", "prc"])
    samples = scenes(64, 10)
    figures = evaluator.figures(evaluator.features(samples))
    features = evaluator.features(samples)["embedding"]
    assert features.shape == (10, width)
    wanted = frechet(features, Statistics(np.zeros(width), np.eye(width)))[FID]
    assert figures[FID] == pytest.approx(wanted)
    assert figures["precision"] == 0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros(3)}, "expected mu and sigma"),
        ({"mu": np.zeros(3), "sigma": np.zeros((2, 2))}, "got (3,) and (2, 2)"),
        ({"mu": np.full(2, np.nan), "sigma": np.eye(2)}, "not finite"),
        ({"arr_0": np.zeros((2, 8, 8, 3))}, "expected (N, H, W, 3) uint8"),
    ],
)
def test_bad_statistics(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "s.npz", **arrays)
    with pytest.raises(UsageError) as caught:
        open_reference(str(tmp_path / "s.npz"), (8, 8), count=None, resize=None)
    assert message in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    for name in ("s.npz", "s.pt"):
        (tmp_path / name).write_bytes(b"nothing of that kind")
        with pytest.raises(ModelFormatError):
            read_statistics(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(UsageError, match="neither mu and sigma nor features"):
        read_statistics(tmp_path / "list.pt")
    torch.save(torch.full((3, 2), torch.inf), tmp_path / "inf.pt")
    with pytest.raises(UsageError, match="not finite"):
        read_statistics(tmp_path / "inf.pt")


def test_a_file_that_would_run_something_does_not(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return open, (str(tmp_path / "sprung"), "w")  # type: ignore[return-value]

    torch.save({"mu": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(ModelFormatError):
        read_statistics(tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()


def test_statistics_of_another_network() -> None:
    extractor = open_extractor("scenes")
    file = StatisticsFile(Statistics(np.zeros(160), np.eye(160), "inception-v3-compat", 5))
    with pytest.raises(UsageError, match="was made with inception-v3-compat"):
        LoadedEvaluator(extractor, Opened("s.npz", None, file), ["fid"])
    narrow = Opened("s.npz", None, StatisticsFile(Statistics(np.zeros(3), np.eye(3))))
    evaluator = LoadedEvaluator(extractor, narrow, ["fid"])
    with pytest.raises(UsageError, match="features of 3 numbers, the extractor gives 160"):
        evaluator.figures(evaluator.features(scenes(64, 4)))


def test_too_few_images_and_features_that_are_not_finite() -> None:
    with pytest.raises(UsageError, match="1 image; fid needs at least 2"):
        check_counts(["fid"], [("in", 1)])
    with pytest.raises(UsageError, match="isc needs at least 10"):
        check_counts(["fid", "isc"], [("in", 9)])
    broken = torch.ones(4, 2)
    broken[2, 1] = torch.nan
    with pytest.raises(UsageError, match="not finite, first at image 2 of 4"):
        check_finite(broken, "in: features")


def test_the_fewest_images_are_those_of_torch_fidelity() -> None:
    wanted = {"fid": 2, "is": DEFAULTS["isc_splits"], "kid": 2, "prc": DEFAULTS["prc_neighborhood"] + 1}
    assert {name: metric.fewest for name, metric in GENERATION.items()} == wanted


def test_metrics_that_cannot_be() -> None:
    extractor = open_extractor("scenes")
    with pytest.raises(UsageError, match="got 'fud'"):
        choose_metrics("fud", extractor, None)
    with pytest.raises(UsageError, match="needs --reference"):
        choose_metrics("fid", extractor, None)
    only = Opened("s.npz", None, StatisticsFile(Statistics(np.zeros(3), np.eye(3))))
    with pytest.raises(UsageError, match="holds statistics only"):
        choose_metrics("kid", extractor, only)
    assert choose_metrics(None, extractor, only) == ["fid", "isc"]
    assert choose_metrics("IS", extractor, None) == ["isc"]
    with pytest.raises(UsageError, match="needs a reference with images"):
        measure({"embedding": torch.zeros(4, 3)}, Reference({}, None, {}), extractor, ["kid"])


def test_networks_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UsageError, match="its weights are not here") as caught:
        open_extractor(None)
    for choice in ("--features scenes", "--features MODEL", "--weights FILE", "--fetch-weights"):
        assert choice in str(caught.value.hint)
    with pytest.raises(UnknownNameError, match="did you mean scenes"):
        open_extractor("scene")
    with pytest.raises(UsageError, match="no such file"):
        open_extractor(None, weights=tmp_path / "w.pth")
    with pytest.raises(UsageError, match="brings its weights"):
        open_extractor("scenes", weights=tmp_path / "w.pth")
    assert open_extractor(None, fetch=True).options == {}


def test_a_set_is_the_same_in_any_batches() -> None:
    def numbers(size: int) -> Iterator[int]:
        return (len(batch) for batch in images.batches(size))

    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 4, 3), dtype=np.uint8)
    images = array(pixels, Path("a.npz"))
    assert list(numbers(3)) == [3, 3, 1]
    assert torch.equal(tensor(images), torch.cat(list(images.batches(2))))
    small = images.resized(4)
    assert (small.width, small.height, small.provenance["resized_from"]) == (4, 4, [4, 5])
    assert images.resized(None) is images
