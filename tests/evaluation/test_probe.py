"""Linear probes on features whose classes are known to be, or not to be, linearly separable."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.evaluation import probe as probes
from bigr_cli.evaluation.probe import accuracies, fit, probe
from bigr_cli.evaluation.probe_data import parted


@pytest.fixture(autouse=True)
def fewer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_STEPS", (120, 120))


def blobs(count: int, classes: int, width: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two sets of features: separable ones, shifted and scaled, and noise."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, width)) * 4
    targets = np.arange(count) % classes
    separable = (centres[targets] + rng.normal(size=(count, width))) * 50 + 1000
    return torch.from_numpy(np.stack([separable, rng.normal(size=(count, width))])).float(), torch.from_numpy(targets)


def test_separable_features_are_told_apart_and_noise_is_not() -> None:
    train, targets = blobs(240, 6, 12, 0)
    test, test_targets = blobs(120, 6, 12, 1)
    scores, linear = probe(train, targets, test, test_targets, 6, seed=0, device=torch.device("cpu"))
    assert scores[0].top1 > 0.95
    assert scores[0].neighbours > 0.95
    assert scores[0].held_out > 0.9
    assert scores[1].top1 < 0.45
    assert scores[1].top5 is not None
    assert scores[1].top5 > scores[1].top1
    weight, bias = linear.folded(0)
    plain = test[0].numpy() @ weight.T + bias
    assert np.allclose(plain, linear.logits(test)[0, :, 0].numpy(), atol=1e-2)


def test_side_by_side_is_as_alone_and_the_seed_decides() -> None:
    features, targets = blobs(60, 3, 5, 0)
    decays = torch.tensor([[0.0, 0.1], [0.01, 1.0]])
    device = torch.device("cpu")
    both = fit(features, targets, decays, 3, seed=1, device=device)
    alone = fit(features[1:], targets, decays[1:, 1:], 3, seed=1, device=device)
    assert torch.allclose(both.weight[1, :, 3:], alone.weight[0], atol=1e-4)
    assert torch.equal(both.weight, fit(features, targets, decays, 3, seed=1, device=device).weight)
    assert both.weight[0, :, 3:].norm() < both.weight[0, :, :3].norm()


def test_few_classes_have_no_top_5_and_constant_features_do_no_harm() -> None:
    features, targets = blobs(30, 2, 4, 0)
    features[:, :, 2] = 7
    scores, linear = probe(features, targets, features, targets, 2, seed=0, device=torch.device("cpu"))
    assert scores[0].top5 is None
    assert bool(linear.weight.isfinite().all())
    assert accuracies(linear, features, targets)[1].min() == 1


@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.integers(1, 60), st.integers(0, 9))
def test_parts_are_disjoint_and_have_every_class(targets: list[int], count: int, seed: int) -> None:
    known = np.array(targets)
    rest, chosen = parted(known, count, seed)
    assert sorted([*rest.tolist(), *chosen.tolist()]) == list(range(len(known)))
    for target in set(targets):
        if targets.count(target) > 1:
            assert target in known[rest]
            assert target in known[chosen]
