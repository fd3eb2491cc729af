import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bigr_cli.training.objective import WeightAverage


class Small(nn.Module):
    """A weight and a buffer."""

    count: torch.Tensor

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((3,), value))
        self.register_buffer("count", torch.zeros(()))


@given(decay=st.floats(0, 0.9999), value=st.floats(-10, 10), steps=st.integers(1, 30))
def test_still_weights_stay(decay: float, value: float, steps: int) -> None:
    module = Small(value)
    average = WeightAverage(module, decay)
    for step in range(1, steps + 1):
        average.update(module, step)
    assert torch.allclose(next(average.module.parameters()), module.weight)


@given(decay=st.floats(0, 0.9999), step=st.integers(1, 10**5))
def test_the_decay_warms_up(decay: float, step: int) -> None:
    module = Small(0.0)
    average = WeightAverage(module, decay)
    module.weight.data.fill_(1.0)
    average.update(module, step)
    expected = 1 - min(decay, (1 + step) / (10 + step))
    assert torch.allclose(next(average.module.parameters()), torch.tensor(expected, dtype=torch.float32), atol=1e-6)


def test_the_start_is_soon_forgotten() -> None:
    module = Small(0.0)
    average = WeightAverage(module, 0.9999)
    module.weight.data.fill_(1.0)
    for step in range(1, 101):
        average.update(module, step)
    assert float(next(average.module.parameters())[0]) > 0.999


def test_the_average_is_apart_and_frozen() -> None:
    module = Small(1.0).train()
    average = WeightAverage(module, 0.5)
    module.weight.data.fill_(9.0)
    assert float(next(average.module.parameters())[0]) == 1.0
    assert not next(average.module.parameters()).requires_grad
    assert not average.module.training
    assert module.training


def test_buffers_are_taken_over() -> None:
    module = Small()
    average = WeightAverage(module, 0.9)
    module.count.fill_(7.0)
    average.update(module, 1)
    assert float(average.state_dict()["count"]) == 7.0


def test_a_saved_average_goes_on() -> None:
    module = Small(0.0)
    first, second = WeightAverage(module, 0.9), WeightAverage(module, 0.9)
    module.weight.data.fill_(1.0)
    first.update(module, 3)
    second.load_state_dict(first.state_dict())
    for each in (first, second):
        each.update(module, 4)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
