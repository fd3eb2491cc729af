"""Statistics of the images that were held out of a training, and how an image compares with them.

    psnr below the 1 % quantile     in doubt: the likelihood decides, by its own 1 % quantile
    psnr as far again below that    unfamiliar, as the 1 % quantile is below the median

They are computed by `familiarity`; importing this imports no torch, so that reading a config does not either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bigr_cli.core.config import UNSAID, require

HELP = "`bigr train DIR` makes a model of such images; `bigr models pull bigr-l-d24` brings one of photographs"


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Statistics of held-out images: of each the 1 % quantile and the median.

    `psnr` is that of reconstructions, in dB; `likelihood` the mean log-probability of a token's bits given about half
    of the other tokens, in nats, None for generators that cannot say (causal attention).
    """

    images: int
    psnr: tuple[float, float]
    likelihood: tuple[float, float] | None = field(default=None, metadata=UNSAID)

    def __post_init__(self) -> None:
        require(self.images > 0, f"held_out.images: expected a number > 0, got {self.images}")
        for name in ("psnr", "likelihood"):
            pair = getattr(self, name)
            ordered = pair is None or pair[0] <= pair[1]
            require(ordered, f"held_out.{name}: expected the 1 % quantile and the median, got {pair}")

    @property
    def psnr_limit(self) -> float:
        """Below it an image is unfamiliar: as far below the 1 % quantile as this is below the median."""
        return 2 * self.psnr[0] - self.psnr[1]


@dataclass(frozen=True)
class Familiarity:
    """How an image compares with the held-out ones; `likelihood` is None where the PSNR left no doubt."""

    psnr: float
    likelihood: float | None
    unfamiliar: bool
    usual: HeldOut

    @property
    def doubtful(self) -> bool:
        """Whether 99 % of the held-out images are reconstructed better."""
        return self.psnr < self.usual.psnr[0]

    @property
    def reason(self) -> str:
        """The numbers behind the verdict, in words."""
        usual = f"99 % of held-out images exceed {self.usual.psnr[0]:.1f} dB"
        said = f"reconstructed at {self.psnr:.1f} dB PSNR, where {usual}"
        if self.likelihood is None or self.usual.likelihood is None or self.psnr < self.usual.psnr_limit:
            return said
        least = self.usual.likelihood[0]
        return f"{said}, and with {self.likelihood:.2f} nats a bit, where 99 % exceed {least:.2f}"

    def warning(self, model: str, name: str, *, left: int = 0, windows: int = 0) -> str:
        """What to say of an image if `model` does not know its like, or left some of its windows as they were."""
        if left:
            return (
                f"{name}: {left} of {windows} windows are left as they are (--every-window resamples them too): "
                f"{model} reconstructs them worse than 99 % of held-out images, which exceed "
                f"{self.usual.psnr[0]:.1f} dB PSNR (all windows together: {self.psnr:.1f} dB). {HELP}"
            )
        unlike = f"what {model} sees of it is unlike what it was trained on: {self.reason}"
        return f"{name}: {unlike}; what it paints will hardly fit. {HELP}"

    def described(self) -> dict[str, float | bool | None]:
        """For JSON: the PSNR in dB and the likelihood in nats of what is known of the image, and the verdict."""
        likelihood = None if self.likelihood is None else round(self.likelihood, 4)
        return {"psnr": round(self.psnr, 2), "likelihood": likelihood, "unfamiliar": self.unfamiliar}


def compare(usual: HeldOut, psnr: float, likelihood: float | None) -> Familiarity:
    """The verdict on an image: unfamiliar below the limit, or if both statistics are below their 1 % quantiles."""
    doubtful = psnr < usual.psnr[0]
    unlikely = likelihood is not None and usual.likelihood is not None and likelihood < usual.likelihood[0]
    return Familiarity(psnr, likelihood, psnr < usual.psnr_limit or (doubtful and unlikely), usual)


def together(looks: Sequence[Familiarity | None]) -> Familiarity | None:
    """The verdict on several images as one: that on the least familiar; None if there is none on any."""
    found = [look for look in looks if look is not None]
    return min(found, key=lambda look: (not look.unfamiliar, look.psnr)) if found else None
