"""What a model knows about pictures, as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bigr_cli.batches import Batches
from bigr_cli.errors import UsageError
from bigr_cli.loaded import LoadedModel
from bigr_cli.request import Label

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor


class Representing(LoadedModel):
    """Feature vectors of pictures."""

    def embed(
        self,
        images: Image | Sequence[Image] | Tensor,
        layer: int | str | None = None,
        pool: str = "mean",
        label: Label = None,
        *,
        batch_size: int | None = None,
    ) -> NDArray[Any]:
        """The features of pictures, one row each.

        Args:
            images: pictures of any size and mode, of which the middle square is taken, scaled to the model's size; or
                (N, 3, H, W) in [0, 1] of that size.
            layer: the block whose output is taken, 0 is the first, or "all"; None is the model's default,
                or the middle one.
            pool: "mean" over the tokens, all "tokens", or the "codes", one bit a bit.
            label: the class under which the generator sees them, by name or number; None is no label.
            batch_size: how many to look at once.

        Returns:
            For D numbers a token: (N, D) float32 for "mean", (N, L, D) float32 for "tokens", each with an axis for the
            layers after the first if `layer` is "all"; (N, ⌈L·K / 8⌉) uint8 for "codes".

        Raises:
            UsageError: there is no such layer or pool, no picture, or a batch size below 1.
            UnknownNameError: the model has no such label.
            ImageError: a tensor of pictures is not of the model's size.
        """
        import numpy as np
        import torch

        from bigr_cli.errors import ImageError
        from bigr_cli.evaluation.features import embed_batch, wanted_features
        from bigr_cli.imaging.arrays import to_tensor
        from bigr_cli.imaging.originals import Original

        wanted = wanted_features(self.config, layer=layer, pool=pool, label=label)
        batches = Batches(self.coding_batch_size() if batch_size is None else batch_size)
        given = images if isinstance(images, torch.Tensor | Sequence) else [images]
        if len(given) == 0:
            raise UsageError("images: expected at least one picture, got none")
        size = self.config.image_size

        def looked_at(some: Any) -> NDArray[Any]:
            if not isinstance(some, torch.Tensor):
                some = to_tensor([Original(image).square(size) for image in some])
            elif some.shape[1:] != (3, size, size):
                raise ImageError(f"images: expected (N, 3, {size}, {size}), got {tuple(some.shape)}")
            return embed_batch(self.network, some, wanted)

        return np.concatenate([made for _, made in batches.run(given, looked_at)])
