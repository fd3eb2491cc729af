"""Linear probes on features whose classes are known to be, or not to be, linearly separable."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from bigr_cli.representation.classifiers import attended, attentive_classifiers, classifiers
from bigr_cli.representation.features import FeatureProvenance
from bigr_cli.representation.probe import DECAYS, measure, probe
from bigr_cli.representation.probe_data import parted
from bigr_cli.representation.probe_files import Probe

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


def hidden_tokens(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Nine tokens of which one, anywhere, is marked and tells the class; the others tell of any class, unmarked."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(4, 6))
    targets = np.arange(count) % 4
    tokens = centres[rng.integers(0, 4, (count, 9))] + rng.normal(size=(count, 9, 6)) / 10
    marked = rng.integers(0, 9, count)
    tokens[np.arange(count), marked] = centres[targets] + rng.normal(size=(count, 6)) / 10
    mark = np.arange(9) == marked[:, None]
    rows = np.concatenate([tokens, mark[..., None]], axis=2) * 30 - 500
    return torch.from_numpy(rows).float(), torch.from_numpy(targets)


def test_attention_finds_the_token_that_tells_the_class() -> None:
    (train, targets), (test, test_targets) = hidden_tokens(400, 0), hidden_tokens(200, 1)
    score, attentive = probe(train, targets, test, test_targets, 4, seed=0, device=CPU)
    mean, _ = probe(train.mean(dim=1), targets, test.mean(dim=1), test_targets, 4, seed=0, device=CPU)
    assert score.top1 > 0.97 > 0.8 > mean.top1
    assert score.neighbours == mean.neighbours
    weight, bias, query = attentive.folded()
    about = FeatureProvenance(model="m", folder=None, weights={}, layer=0, pool="tokens", label="none")
    kept = Probe(weight, bias, ("a", "b", "c", "d"), about, query=query)
    expected = attentive.logits(test).softmax(dim=1).numpy()
    assert np.allclose(kept.probabilities(test.numpy()), expected, atol=1e-3)


def test_attention_without_queries_is_the_mean() -> None:
    tokens, targets = hidden_tokens(40, 2)
    weight = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    at_zero = attended(tokens, weight, torch.zeros(7, 4))
    torch.testing.assert_close(at_zero, tokens.mean(dim=1) @ weight, rtol=1e-4, atol=1e-2)
    (linear,) = classifiers(tokens.mean(dim=1), targets, [1e9], 4, device=CPU)
    (attentive,) = attentive_classifiers(tokens, targets, [1e9], 4, device=CPU)  # nothing but the bias is left
    assert torch.allclose(attentive.logits(tokens), linear.logits(tokens.mean(dim=1)), atol=1e-3)


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
