"""Logistic regression, held against its own definition in float64."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from bigr_cli.representation.classifiers import Linear, classifiers, moments

CPU = torch.device("cpu")


def data(count: int = 80, width: int = 6, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    targets = np.arange(count) % classes
    centres = rng.normal(size=(classes, width))
    rows = (centres[targets] + rng.normal(size=(count, width))) * rng.uniform(1, 90, width) + 1000
    return torch.from_numpy(rows).float(), torch.from_numpy(targets)


def loss(scaled: np.ndarray, targets: np.ndarray, weight: np.ndarray, bias: np.ndarray, decay: float) -> float:
    """As it is written in books."""
    logits = scaled @ weight + bias
    likely = logits - logsumexp(logits, axis=1, keepdims=True)
    return float(-likely[np.arange(len(targets)), targets].mean() + decay / 2 * np.square(weight).sum())


@pytest.mark.parametrize("decay", [1.0, 0.01, 0.001])
def test_no_weights_nearby_do_better(decay: float) -> None:
    features, targets = data()
    (found,) = classifiers(features, targets, [decay], 3, device=CPU)
    rows = features.double().numpy()
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    weight, bias = found.weight.double().numpy(), found.bias.double().numpy()
    least = loss(scaled, targets.numpy(), weight, bias, decay)
    assert least < np.log(3)
    rng = np.random.default_rng(1)
    for size in (0.003, 0.1, 1.0):
        for _ in range(50):
            near = weight + size * rng.normal(size=weight.shape), bias + size * rng.normal(size=bias.shape)
            assert loss(scaled, targets.numpy(), *near, decay) > least - 1e-4


def test_a_path_of_decays_gives_what_each_gives_alone() -> None:
    features, targets = data()
    decays = [1.0, 0.1, 0.01]
    path = list(classifiers(features, targets, decays, 3, device=CPU))
    assert [each.decay for each in path] == decays
    for each in path:
        (alone,) = classifiers(features, targets, [each.decay], 3, device=CPU)
        assert torch.allclose(each.weight, alone.weight, atol=0.02)
    norms = [float(each.weight.norm()) for each in path]
    assert norms == sorted(norms)


def test_folded_reads_features_as_they_are() -> None:
    features, targets = data()
    (found,) = classifiers(features, targets, [0.01], 3, device=CPU)
    weight, bias = found.folded()
    assert np.allclose(features.numpy() @ weight.T + bias, found.logits(features).numpy(), atol=2e-3)


def test_steady_features_and_bits() -> None:
    features, targets = data()
    features[:, 2] = 7
    mean, deviation = moments(features)
    assert (float(mean[2]), float(deviation[2])) == (7, 1)
    (found,) = classifiers(features, targets, [0.01], 3, device=CPU)
    assert bool(found.weight.isfinite().all())
    (bits,) = classifiers(features > 1000, targets, [0.01], 3, device=CPU)
    assert isinstance(bits, Linear)
    assert bits.logits(features > 1000).shape == (80, 3)
