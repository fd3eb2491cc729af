"""Linear probes on features whose classes are known to be, or not to be, linearly separable."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.representation.probe import DECAYS, measure, probe
from bigr_cli.representation.probe_data import parted

CPU = torch.device("cpu")


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
    score, linear = probe(train[0], targets, test[0], test_targets, 6, seed=0, device=CPU)
    assert score.top1 > 0.95
    assert score.neighbours > 0.95
    assert score.held_out > 0.9
    assert score.decay in DECAYS
    assert linear.decay == score.decay
    noise, _ = probe(train[1], targets, test[1], test_targets, 6, seed=0, device=CPU)
    assert noise.top1 < 0.45
    assert noise.top5 is not None
    assert noise.top5 > noise.top1


def test_the_same_features_give_the_same_classifier() -> None:
    (features, _), targets = blobs(60, 3, 5, 0)
    first, second = (probe(features, targets, features, targets, 3, seed=1, device=CPU) for _ in range(2))
    assert first[0] == second[0]
    assert torch.equal(first[1].weight, second[1].weight)


def test_few_classes_have_no_top_5_and_constant_features_do_no_harm() -> None:
    (features, _), targets = blobs(30, 2, 4, 0)
    features[:, 2] = 7
    score, linear = probe(features, targets, features, targets, 2, seed=0, device=CPU)
    assert score.top5 is None
    assert bool(linear.weight.isfinite().all())
    assert measure(linear, features, targets)[1] == 1


@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.integers(1, 60), st.integers(0, 9))
def test_parts_are_disjoint_and_have_every_class(targets: list[int], count: int, seed: int) -> None:
    known = np.array(targets)
    rest, chosen = parted(known, count, seed)
    assert sorted([*rest.tolist(), *chosen.tolist()]) == list(range(len(known)))
    for target in set(targets):
        if targets.count(target) > 1:
            assert target in known[rest]
            assert target in known[chosen]
