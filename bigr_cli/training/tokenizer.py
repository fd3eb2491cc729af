"""Training of the tokenizer: images in, the same images out, through bits (reference section 1)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.data.loading import Batch, all_batches, as_floats
from bigr_cli.data.sources import Source
from bigr_cli.evaluation.reconstruction import bit_usage, boxes, psnr
from bigr_cli.training.config import OptimizerConfig, TokenizerTraining
from bigr_cli.training.objective import Objective, require_memory, run_model_config, write_run_model
from bigr_cli.training.tokenizer_loss import (
    PatchDiscriminator,
    StraightThrough,
    adaptive_share,
    certainty_loss,
    discriminator_loss,
    edge_loss,
    feature_loss,
    log_squared_error,
    perceptual_network,
    pixel_weights,
    usage_loss,
)

if TYPE_CHECKING:
    from PIL.Image import Image

_PREVIEW = 32
_BATCH = 64


class TokenizerObjective(Objective):
    """The tokenizer against pixels, edges, features and, late in training, a discriminator."""

    model: Tokenizer

    def __init__(self, config: TokenizerTraining, held_out: Source) -> None:
        """Raises UsageError for a perceptual network that is not there, ConfigError for a name that is none."""
        super().__init__()
        self.config, self.held_out = config, held_out
        require_memory(run_model_config(config, 0, tokenizer=config.tokenizer))  # what is wrong shows now, not later
        torch.manual_seed(config.run.seed)
        self.model = Tokenizer(config.tokenizer)
        for part in (self.model.encoder, self.model.to_bits):
            part.requires_grad_(not config.freeze_encoder)
        # The discriminator; "critic" is its name in checkpoints.
        self.critic = PatchDiscriminator(config.losses.adversarial) if config.losses.adversarial.weight > 0 else None
        network = perceptual_network(config.losses.perceptual_network) if config.losses.perceptual > 0 else None
        self._frozen: list[Any] = [network]  # a list hides it from the module tree
        self._made = torch.empty(0)

    def optimizers(self) -> dict[str, tuple[nn.Module, OptimizerConfig]]:
        optimizers: dict[str, tuple[nn.Module, OptimizerConfig]] = {"model": (self.model, self.config.optimizer)}
        if self.critic is not None:
            rate = self.config.losses.adversarial.learning_rate
            optimizers["critic"] = (self.critic, OptimizerConfig(learning_rate=rate, betas=(0.5, 0.9), weight_decay=0))
        return optimizers

    def phases(self, step: int) -> list[str]:
        late = self.critic is not None and step + 1 >= self.config.losses.adversarial.start
        return ["model", "critic"] if late else ["model"]

    def forward(self, batch: Batch, phase: str, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        given = as_floats(batch.images)
        if phase == "critic" and self.critic is not None:
            self.critic.requires_grad_(True)
            loss = discriminator_loss(self.critic, given, self._made, augment=self.config.losses.adversarial.augment)
            return loss, {"critic": loss}
        probabilities = self.model.bit_probabilities(given)
        bits = StraightThrough.apply(probabilities, torch.rand_like(probabilities))
        made = self.model.decode(bits).float()
        loss, shown = self._reconstruction_loss(made, given, as_floats(batch.foreground), probabilities)
        if "critic" in self.phases(step) and self.critic is not None:
            adversarial = self._adversarial_loss(made, loss)
            loss, shown = loss + adversarial, shown | {"adversarial": adversarial}
            self._made = made.detach()
        return loss, {"loss": loss} | shown

    def _reconstruction_loss(
        self, made: Tensor, given: Tensor, foreground: Tensor, probabilities: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        weigh = self.config.losses
        weights = pixel_weights(foreground, weigh.foreground_weight)
        error = made - given
        parts = {"l1": weigh.l1 * (error.abs() * weights).mean()}
        if weigh.l2 > 0:
            parts["l2"] = weigh.l2 * (error.square() * weights).mean()
        if weigh.log_l2 > 0:
            parts["log_l2"] = weigh.log_l2 * log_squared_error(made, given, weights)
        if weigh.edges > 0:
            parts["edges"] = weigh.edges * edge_loss(made, given, weights)
        if weigh.perceptual > 0:
            network = self._frozen[0].to(made.device)
            parts["perceptual"] = weigh.perceptual * feature_loss(network, made, given)
        if weigh.usage > 0:
            parts["usage"] = weigh.usage * usage_loss(probabilities)
        if weigh.certainty > 0:
            parts["certainty"] = weigh.certainty * certainty_loss(probabilities)
        return torch.stack(list(parts.values())).sum(), parts

    def _adversarial_loss(self, made: Tensor, reconstruction: Tensor) -> Tensor:
        config = self.config.losses.adversarial
        if self.critic is None:
            raise ValueError("there is no discriminator")
        self.critic.requires_grad_(False)
        fooled: Tensor = -self.critic(made).mean()
        share = adaptive_share(reconstruction, fooled, self.model.decoder.last_layer, config.cap)
        return config.weight * share * fooled

    def validate(self, average: nn.Module) -> dict[str, float]:
        """PSNR over the image and inside the object's box, share of bits in use, on held-out images."""
        if not isinstance(average, Tokenizer):
            raise TypeError(f"expected a tokenizer, got {type(average).__name__}")
        device = average.embed.device
        whole, inside, codes = [], [], []
        for batch in all_batches(self.held_out, _BATCH):
            given = as_floats(batch.images.to(device))
            codes.append(average.encode(given))
            made = average.decode(codes[-1]).float()
            whole.append(psnr(made, given))
            box = boxes(batch.foreground.to(device))
            known = box.flatten(1).any(dim=1)
            inside.append(psnr(made[known], given[known], box[known]))
        measures, objects = {"psnr": float(torch.cat(whole).mean())}, torch.cat(inside)
        if len(objects) > 0:
            measures["psnr_object"] = float(objects.mean())
        return measures | bit_usage(torch.cat(codes))

    def goodness(self, measures: dict[str, float]) -> float:
        return measures.get("psnr", 0.0)

    def preview(self, average: nn.Module) -> Image:
        """Held-out images above their reconstructions."""
        from bigr_cli.imaging.arrays import to_images
        from bigr_cli.imaging.montage import grid

        if not isinstance(average, Tokenizer):
            raise TypeError(f"expected a tokenizer, got {type(average).__name__}")
        batch = next(iter(all_batches(self.held_out, min(_PREVIEW, len(self.held_out)))))
        given = as_floats(batch.images.to(average.embed.device))
        made = average.decode(average.encode(given)).float().clamp(0, 1)
        rows = [part for pair in zip(given.split(8), made.split(8), strict=True) for part in pair]
        return grid(to_images(torch.cat(rows)), columns=8)

    def write(self, average: nn.Module, run: Path, step: int, measures: dict[str, float]) -> None:
        config = run_model_config(self.config, step, tokenizer=self.config.tokenizer, refine=self.config.refine)
        write_run_model(run, config, tokenizer=average, generator=None, measures=measures)
