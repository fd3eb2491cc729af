"""What is done to all residual blocks of a network before it is trained."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from bigr_cli.training.sharding import is_block


def let_signals_in(module: nn.Module) -> None:
    """Have Python called now and then within a backward pass: only there does it look whether a signal came."""
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(lambda _: None)


def compile_blocks(model: nn.Module) -> None:
    """Compile every residual block for itself: they share shapes, so little has to be compiled, and no step's number
    or player's turn makes it necessary again.
    """
    for name, module in model.named_modules():
        if is_block(name, module):
            module.compile()


def checkpoint_blocks(model: nn.Module) -> None:
    """Let every residual block keep its inputs alone, and compute the rest again when gradients are wanted."""
    for name, module in model.named_modules():
        if is_block(name, module):
            module.forward = partial(checkpoint, module.forward, use_reentrant=False)
