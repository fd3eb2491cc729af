"""What can be asked for between images or labels: a frozen request like those in `requests`, which has them all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from bigr_cli.core.config import Prompt, SamplingConfig
from bigr_cli.editing.request import EditRequest, Label, Strict, painting
from bigr_cli.errors import UsageError
from bigr_cli.setting import Setting, parameters

if TYPE_CHECKING:
    from PIL.Image import Image

    from bigr_cli.core.model import BinaryModel
    from bigr_cli.editing.batched_sampling import SamplingCoroutine
    from bigr_cli.imaging.originals import Original
    from bigr_cli.zoo.config import ModelConfig

FRAMES = 9
MOST_FRAMES = 10_000
FEW_CLASSES = 100
# Of the other label, in the frames of the published code (apps/interpolate.py): close together in the middle.
PUBLISHED_SHARES = (0.0, 0.1, 0.2, *(0.3 + 0.02 * step for step in range(21)), 0.8, 0.9, 1.0)

_film = partial(Setting, panel="Film", variable=False, show_default=True)


@dataclass(frozen=True, kw_only=True)
class Interpolate(EditRequest):
    """Frames of the model's size along a path between keyframes: labels (or texts), or images.

    `strength` and `mixed` are for paths between labels; the label, `refine` and `guess` for those between images.
    `frames` None are 9, or as many as `mixed` has in the published code.
    """

    label: Label = None
    refine: Annotated[
        int | None,
        Setting(
            "Steps of latent optimisation of the codes. It reconstructs images better than the encoder alone; 10 steps "
            "are worth 1 to 2 dB. Without it, the model's own number.",
            minimum=0,
            maximum=10_000,
            panel="Input",
            metavar="N",
        ),
    ] = None
    guess: Annotated[
        bool | None,
        painting(
            "Between images: take the label that fits the nearer one. "
            "Without it, that is so if the model has at most 100 labels, and there is no --prompt.",
            option="--guess-class/--no-guess-class",
            variable=False,
        ),
    ] = None
    frames: Annotated[
        int | None,
        _film(
            f"How many, both ends included ({FRAMES}; {len(PUBLISHED_SHARES)} with --mixed published).",
            minimum=2,
            maximum=MOST_FRAMES,
            metavar="N",
            show_default=False,
        ),
    ] = None
    loop: Annotated[bool, _film("Go on from the last stop back to the first.")] = False
    strength: Annotated[
        float | None,
        painting(
            "Between labels: the share of tokens to sample anew. 0.25 if not given, and 1 between texts.",
            minimum=0,
            maximum=1,
            metavar="SHARE",
            variable=False,
        ),
    ] = None
    mixed: Annotated[
        Literal["even", "published"] | None,
        painting(
            "Between labels: frames of mixed labels, even or published. even: in even steps, with the same "
            "random numbers; published: the 27 shares of the published code, each frame with numbers of its own.",
            metavar="NAME",
            variable=False,
        ),
    ] = None
    strict: Strict = False
    sampling: SamplingConfig = SamplingConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        count = len(PUBLISHED_SHARES) if self.mixed == "published" else FRAMES
        if self.mixed == "published" and self.frames not in (None, count):
            raise UsageError(f"--mixed published has {count} frames, got {self.frames}", hint="--mixed even has any")
        if self.mixed == "published" and self.loop:
            raise UsageError("--mixed published goes from one label to another, and in no loop")
        if self.mixed is not None and self.strength is not None:
            raise UsageError("--strength is of no use with --mixed, which samples every frame whole")
        object.__setattr__(self, "frames", count if self.frames is None else self.frames)

    @classmethod
    def paints_parts(cls, values: Mapping[str, Any]) -> bool:
        return values.get("mixed") is None

    @property
    def count(self) -> int:
        """The number of frames."""
        return FRAMES if self.frames is None else self.frames

    @property
    def negative(self) -> Prompt:
        return None

    @property
    def window(self) -> int | None:
        return None

    def recorded(
        self, stops: Sequence[str] | None, fps: float | None, values: Mapping[str, Any], *, images: bool
    ) -> dict[str, Any]:
        """What a recipe keeps besides the sampler's settings, by the options' names.

        Args:
            stops: labels, texts or names of files, as they were given; None if they have no names.
            fps: frames a second of a film, if there is one.
            values: what was given, by the parameters' names, of which it has the prompt.
            images: whether the stops are images.
        """
        kept: dict[str, Any] = {"stops": None if stops is None else list(stops), "frames": self.count}
        kept |= {"loop": self.loop, "fps": fps}
        if images:
            kept |= {"refine": self.refine, "guess-class" if self.guess else "no-guess-class": True}
        kept |= {"mixed": self.mixed, "strength": self.strength}
        kept |= {one.label: values.get(one.name) for one in parameters(Interpolate) if one.path == ("label",)}
        return {name: value for name, value in kept.items() if value is not None}

    def between_images(self, config: "ModelConfig") -> "Interpolate":
        """The request with the model's own steps of refinement, and whether classes are guessed, where it does not say.

        They are guessed if there is no label, and if they are few: each one's likelihood is computed.
        """
        from bigr_cli.prompts import class_count, reads_text

        few = not reads_text(config) and class_count(config) <= FEW_CLASSES
        guess = (self.label is None and few) if self.guess is None else self.guess
        return replace(self, guess=guess, refine=config.refine if self.refine is None else self.refine)

    def paint(  # type: ignore[override]
        self, network: "BinaryModel", image: "Sequence[Prompt] | Sequence[Original]", seed: int
    ) -> "SamplingCoroutine[list[Image]]":
        """The frames between two or more keyframes.

        Raises:
            UsageError: fewer than two keyframes.
        """
        from bigr_cli.editing.interpolate import between_images, between_labels, mixtures
        from bigr_cli.imaging.originals import Original

        if len(image) < 2:
            raise UsageError(f"expected at least two stops and two frames, got {len(image)} and {self.count}")
        images = [one for one in image if isinstance(one, Original)]
        if images and self.mixed is not None:
            raise UsageError("--mixed is for ways between labels or texts")
        if self.mixed == "published" and len(image) > 2:
            raise UsageError(f"--mixed published goes from one label to another, got {len(image)}")
        if images:
            return between_images(network, images, self, seed)
        labels = [one for one in image if not isinstance(one, Original)]
        return (between_labels if self.mixed is None else mixtures)(network, labels, self, seed)
