import copy

import pytest
import torch

from bigr_cli.core.compiled import can_compile, compile_networks
from bigr_cli.core.model import BinaryModel


def test_processors_are_left_alone() -> None:
    assert not can_compile(torch.device("cpu"))


@pytest.mark.slow
def test_compiled_networks_draw_the_same(tiny_model: BinaryModel) -> None:
    """On a CPU, where it works too, in batches of any size."""
    compiled = copy.deepcopy(tiny_model)
    compile_networks(compiled.generator)
    for count in (3, 1, 2):
        labels, seeds = torch.arange(count), list(range(count))
        plain, ours = (m.sample_codes(labels, seeds, steps=3, timesteps=5) for m in (tiny_model, compiled))
        assert float((plain != ours).float().mean()) < 0.02  # a rounding may turn a bit
