from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bigr_cli.core import layers
from bigr_cli.core.layers import attend


def drawn(batch: int, heads: int, length: int, seed: int) -> list[Tensor]:
    """q, k and v as a transformer has them: not contiguous."""
    torch.manual_seed(seed)
    return list(torch.randn(batch, length, 3, heads, 8).bfloat16().permute(2, 0, 3, 1, 4))


def exact(q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None) -> Tensor:
    return F.scaled_dot_product_attention(q.double(), k.double(), v.double(), attn_mask=keep)


@given(
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(1, 40),
    st.sampled_from(["all", "places", "pairs"]),
    st.integers(1, 1 << 12),
    st.integers(0, 99),
)
def test_attention_in_bfloat16(batch: int, heads: int, length: int, kept: str, scores: int, seed: int) -> None:
    q, k, v = drawn(batch, heads, length, seed)
    shape = (batch, 1, 1 if kept == "places" else length, length)
    keep = None if kept == "all" else torch.rand(shape) < 0.5
    if keep is not None:
        keep[..., 0] = True  # somebody must be attended to
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(layers, "_SCORES", scores)  # in blocks of several, of one, or all at once
        found = attend(q, k, v, keep)
    assert found.dtype == torch.bfloat16
    assert found.shape == q.shape
    assert (found - exact(q, k, v, keep)).abs().max() < 0.06


def test_gradients_in_bfloat16() -> None:
    parts = [part.detach().requires_grad_() for part in drawn(2, 3, 17, 0)]
    wide = [part.detach().double().requires_grad_() for part in parts]
    keep = torch.ones(2, 1, 1, 17, dtype=torch.bool)
    keep[..., 9:] = False
    attend(*parts, keep).float().square().sum().backward()
    exact(*wide, keep).square().sum().backward()
    for part, other in zip(parts, wide, strict=True):
        assert part.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(part.grad.double(), other.grad, atol=0.05, rtol=0.05)


def test_long_sequences_keep_no_scores_for_their_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_KEPT_SCORES", 100)
    monkeypatch.setattr(layers, "_mixed", None)  # would be called
    parts = [part.detach().requires_grad_() for part in drawn(1, 1, 11, 0)]
    assert attend(*parts).shape == parts[0].shape
