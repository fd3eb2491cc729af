import copy

import pytest
import torch

from bigr_cli.core.model import BinaryModel
from bigr_cli.errors import DeviceError
from bigr_cli.runtime.fast_layers import check_compiler, compile_networks


@pytest.mark.parametrize("name", ["cpu", "mps"])
def test_only_gpus_of_one_kind_compile(name: str) -> None:
    with pytest.raises(DeviceError, match=f"{name} cannot compile"):
        check_compiler(torch.device(name))


@pytest.mark.slow
def test_compiled_networks_draw_the_same(tiny_network: BinaryModel) -> None:
    """On a CPU, where it works too, in batches of any size."""
    compiled = copy.deepcopy(tiny_network)
    compile_networks(compiled.generator)
    for count in (3, 1, 2):
        labels, seeds = torch.arange(count), list(range(count))
        plain, ours = (m.sample_codes(labels, seeds, steps=3, timesteps=5) for m in (tiny_network, compiled))
        assert float((plain != ours).float().mean()) < 0.02  # a rounding may turn a bit
