"""How likely codes are: scores follow what the model has learned, and depend on nothing else."""

import pytest
import torch

from bigr_cli.core.architectures import GeneratorConfig
from bigr_cli.core.heads import flip_loss
from bigr_cli.core.network import Generator
from bigr_cli.core.representation import label_scores, seen_scores, token_scores

CLASSES, TOKENS, BITS = 2, 16, 4


@pytest.fixture(scope="module")
def generator() -> Generator:
    """Has learned that class 0 is all ones and class 1 all zeros."""
    torch.manual_seed(0)
    sizes = {"layers": 1, "heads": 2, "dim": 16, "ffn_multiple": 8, "transcoder_layers": 1, "transcoder_width": 16}
    model = Generator(GeneratorConfig(grid=4, bits=BITS, classes=CLASSES, diffusion_timesteps=8, dropout=0.0, **sizes))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        labels = torch.randint(0, CLASSES, (16,))
        codes = (labels == 0)[:, None, None].expand(-1, TOKENS, BITS)
        mask = torch.rand(16, TOKENS) < 0.9
        cond = model.condition(codes, labels, mask)[mask]
        x0 = codes[mask]
        t = torch.randint(1, 9, (len(x0),))
        x_t = torch.rand(x0.shape) < model.transcoder.schedule.noised(x0, t)
        loss = flip_loss(model.transcoder.flip_logits(x_t, t, cond), x_t != x0).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def test_scores_are_zero_where_nothing_is_masked(generator: Generator) -> None:
    codes = torch.ones(2, TOKENS, BITS, dtype=torch.bool)
    masked = torch.zeros(2, TOKENS, dtype=torch.bool)
    labels, seeds = torch.tensor([0, 1]), torch.tensor([3, 4])
    assert not token_scores(generator, codes, labels, masked, seeds).any()
    masked[0, 5] = True
    scores = token_scores(generator, codes, labels, masked, seeds)
    assert scores[0, 5] < 0
    assert scores.count_nonzero() == 1


def test_what_the_model_expects_is_likelier(generator: Generator) -> None:
    ones = torch.ones(1, TOKENS, BITS, dtype=torch.bool)
    everything, seed = torch.ones(1, TOKENS, dtype=torch.bool), torch.tensor([0])
    right = token_scores(generator, ones, torch.tensor([0]), everything, seed).mean()
    wrong = token_scores(generator, ones, torch.tensor([1]), everything, seed).mean()
    assert right > -0.2
    assert wrong < -1


def test_a_token_that_does_not_fit_is_found(generator: Generator) -> None:
    codes = torch.ones(1, TOKENS, BITS, dtype=torch.bool)
    codes[0, 6] = False
    nothing = torch.zeros(1, TOKENS, dtype=torch.bool)
    scores = seen_scores(generator, codes, torch.tensor([0]), nothing, torch.tensor([1]))[0]
    assert int(scores.argmin()) == 6
    unknown = nothing.clone()
    unknown[0, 6] = True
    scores = seen_scores(generator, codes, torch.tensor([0]), unknown, torch.tensor([1]))[0]
    assert scores[6] == 0
    assert (scores[torch.arange(TOKENS) != 6] < 0).all()


@pytest.mark.parametrize("label", [0, 1])
def test_the_label_is_found(generator: Generator, label: int) -> None:
    codes = torch.full((TOKENS, BITS), label == 0)
    unknown = torch.arange(TOKENS) < 5
    scores = label_scores(generator, codes, unknown, seed=2)
    assert scores.shape == (CLASSES,)
    assert int(scores.argmax()) == label
    assert not label_scores(generator, codes, torch.ones(TOKENS, dtype=torch.bool), seed=2).any()
