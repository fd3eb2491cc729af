"""Training of the tokenizer: images in, the same images out, through bits (reference section 1)."""

from __future__ import annotations

from collections.abc import Generator as Batches
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bigr_cli.core.familiarity import FEWEST, quantiles
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.data.loading import Batch, Positions, all_batches, as_floats
from bigr_cli.data.sources import Source
from bigr_cli.evaluation.reconstruction import bit_usage, boxes, psnr
from bigr_cli.training.config import OptimizerConfig, TokenizerTraining
from bigr_cli.training.discriminators import adaptive_share, deception_loss, discriminator_for, discriminator_loss
from bigr_cli.training.objective import Objective, require_memory, run_model_config, write_run_model
from bigr_cli.training.samples import Sampler
from bigr_cli.training.tokenizer_loss import (
    StraightThrough,
    certainty_loss,
    edge_loss,
    feature_loss,
    log_squared_error,
    perceptual_network,
    pixel_weights,
    usage_loss,
)
from bigr_cli.zoo.config import ModelConfig

if TYPE_CHECKING:
    from PIL.Image import Image

_PREVIEW = 32
_BATCH = 64


class TokenizerObjective(Objective):
    """The tokenizer against pixels, edges, features and, late in training, a discriminator.

    With a sampler the discriminator judges what the decoder makes of sampled codes, otherwise the reconstructions.
    """

    model: Tokenizer

    def __init__(self, config: TokenizerTraining, held_out: Source, sampler: Sampler | None = None) -> None:
        """Raises UsageError for a perceptual network that is not there, ConfigError for a name that is none, or sizes
        that are not those of the generator that samples.
        """
        super().__init__()
        self.config, self.held_out = config, held_out
        self._frozen: list[Any] = [None, sampler]  # a list hides them from the module tree
        self._made = torch.empty(0)
        self._psnr = torch.empty(0)  # of each held-out image, at the last validation
        require_memory(self._describe(0))  # what is wrong shows now, not later
        torch.manual_seed(config.run.seed)
        self.model = Tokenizer(config.tokenizer)
        for part in (self.model.encoder, self.model.to_bits):
            part.requires_grad_(not config.freeze_encoder)
        losses, adversarial = config.losses, config.losses.adversarial
        network = perceptual_network(losses.perceptual_network) if losses.need_network else None
        self._frozen[0] = network
        # The discriminator; "critic" is its name in checkpoints.
        self.critic = discriminator_for(adversarial, network) if adversarial.weight > 0 else None

    def optimizers(self) -> dict[str, tuple[nn.Module, OptimizerConfig]]:
        optimizers: dict[str, tuple[nn.Module, OptimizerConfig]] = {"model": (self.model, self.config.optimizer)}
        if self.critic is not None:
            rate = self.config.losses.adversarial.learning_rate
            optimizers["critic"] = (self.critic, OptimizerConfig(learning_rate=rate, betas=(0.5, 0.9), weight_decay=0))
        return optimizers

    def phases(self, step: int) -> list[str]:
        late = self.critic is not None and step + 1 >= self.config.losses.adversarial.start
        return ["model", "critic"] if late else ["model"]

    @property
    def sampler(self) -> Sampler | None:
        """What samples codes for the decoder, if anything does."""
        sampler: Sampler | None = self._frozen[1]
        return sampler

    def batches(self, source: Source, positions: Positions, *, workers: int) -> Batches[Batch, None, None]:
        if self.sampler is not None:
            self.sampler.sample(source, self.model.embed.device)
        return super().batches(source, positions, workers=workers)

    def forward(self, batch: Batch, phase: str, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        given = as_floats(batch.images)
        if phase == "critic" and self.critic is not None:
            self.critic.requires_grad_(True)
            loss = discriminator_loss(self.critic, given, self._made, augment=self.config.losses.adversarial.augment)
            return loss, {"critic": loss}
        probabilities = self.model.bit_probabilities(given)
        bits = StraightThrough.apply(probabilities, torch.rand_like(probabilities))
        adversarial_now = "critic" in self.phases(step)
        if self.sampler is not None and adversarial_now:
            bits = torch.cat([bits, self.sampler.take(len(bits), bits.device).to(bits.dtype)])
        made = self.model.decode(bits).float()
        reconstructed, judged = made[: len(given)], made[-len(given) :]  # one and the same without sampled codes
        loss, shown = self._reconstruction_loss(reconstructed, given, as_floats(batch.foreground), probabilities)
        if adversarial_now:
            adversarial = self._adversarial_loss(judged, loss)
            loss, shown = loss + adversarial, shown | {"adversarial": adversarial}
            self._made = judged.detach()
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
        fooled = deception_loss(self.critic, made)
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
        self._psnr = torch.cat(whole)
        measures, objects = {"psnr": float(self._psnr.mean())}, torch.cat(inside)
        if len(objects) > 0:
            measures["psnr_object"] = float(objects.mean())
        return measures | bit_usage(torch.cat(codes))

    def goodness(self, measures: dict[str, float]) -> float:
        return measures.get("psnr", 0.0)

    def preview(self, average: nn.Module) -> Image:
        """Held-out images above their reconstructions; below, if codes are sampled, what is made of some of them."""
        from bigr_cli.imaging.arrays import to_images
        from bigr_cli.imaging.montage import grid

        if not isinstance(average, Tokenizer):
            raise TypeError(f"expected a tokenizer, got {type(average).__name__}")
        batch = next(iter(all_batches(self.held_out, min(_PREVIEW, len(self.held_out)))))
        given = as_floats(batch.images.to(average.embed.device))
        made = average.decode(average.encode(given)).float().clamp(0, 1)
        rows = [part for pair in zip(given.split(8), made.split(8), strict=True) for part in pair]
        if self.sampler is not None:
            rows.append(average.decode(self.sampler.first(_PREVIEW).to(average.embed.device)).float().clamp(0, 1))
        return grid(to_images(torch.cat(rows)), columns=8)

    def write(self, average: nn.Module, run: Path, step: int, measures: dict[str, float]) -> None:
        generator = None if self.sampler is None else self.sampler.generator
        write_run_model(run, self._describe(step), tokenizer=average, generator=generator, measures=measures)

    def _describe(self, step: int) -> ModelConfig:
        """The run's model: a tokenizer, or the model whose generator samples, with its new decoder."""
        config = run_model_config(self.config, step, tokenizer=self.config.tokenizer, refine=self.config.refine)
        if self.sampler is None:
            return config
        whole = self.sampler.config
        held_out = whole.held_out
        if held_out is not None and len(self._psnr) >= FEWEST:  # the codes are the same, and so is their likelihood
            held_out = replace(held_out, psnr=quantiles(self._psnr.double()))
        mine = {name: getattr(config, name) for name in ("name", "image_size", "tokenizer", "provenance")}
        return replace(whole, **mine, refine=config.refine or whole.refine, held_out=held_out, sha256={})
