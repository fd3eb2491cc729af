"""What editing requests have in common: fields, how they are read, and that they can paint.

Importing this imports neither torch nor numpy, so that `bigr --help` can.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from bigr_cli.core.config import Prompt, SamplingConfig
from bigr_cli.errors import UsageError
from bigr_cli.imaging.regions import MaskRequest
from bigr_cli.prompts import name_of, prompt_from_options, read_prompt, reads_text, warn_of_contradiction
from bigr_cli.setting import Parameter, Setting, check_settings, nested, parameters

if TYPE_CHECKING:
    from bigr_cli.core.model import BinaryModel
    from bigr_cli.editing.batched_sampling import SamplingCoroutine
    from bigr_cli.editing.repaint import Painted
    from bigr_cli.imaging.originals import Original
    from bigr_cli.zoo.config import ModelConfig

painting = partial(Setting, panel="Painting")
_rare = partial(Setting, panel="Rarely needed", variable=False)
_prompt = partial(painting, "What to paint: a label or a text, as the model has it.", option="--prompt")
_class = partial(painting, "What to paint: a label by name or number.", option="--class", metavar="LABEL", hidden=True)
_text = partial(painting, "What to paint: a text.", option="--text", metavar="TEXT", hidden=True)
Label = Annotated[Prompt, _prompt(metavar="LABEL|TEXT"), _class(), _text()]
NeededLabel = Annotated[
    Prompt, _prompt(metavar="LABEL|TEXT", required=True), _class(required=True), _text(required=True)
]
Negative = Annotated[
    Prompt,
    painting("Negative prompt: what guidance leads away from.", metavar="LABEL|TEXT", aliases=("--negative-prompt",)),
]
Guess = Annotated[bool, painting("Take the label that fits the rest of the image best.", option="--guess-class")]
BestOf = Annotated[
    int,
    painting("Paint N variants, and keep the likeliest one.", minimum=1, maximum=1024, metavar="N"),
]
Blending = Annotated[
    Literal["poisson", "feather", "none"],
    painting("How the paint is joined to the image: poisson, feather, none.", metavar="NAME"),
]
Window = Annotated[
    int | None,
    painting(
        "How much of the image the model sees at once, along a side. Without it, region and prompt decide.",
        minimum=1,
        maximum=100_000,
        metavar="PX",
    ),
]

SampledCodes = Annotated[
    bool,
    _rare(
        "Sample the bits of the image's codes, as the published code does. Otherwise each has its likelier value.",
        option="--sample-codes",
    ),
]
SeenMask = Annotated[
    bool,
    _rare(
        "Let the encoder see what is masked, as the published code does. Codes beside the mask then know of it.",
        option="--see-masked",
    ),
]
Strict = Annotated[
    bool,
    painting("Refuse images unlike those of the training. Without it a warning says so.", variable=False),
]

Request = TypeVar("Request", bound="EditRequest")


@dataclass(frozen=True, kw_only=True)
class EditRequest(ABC):
    """What every request says, and does. A label is a class's index, or a text; None is none."""

    samples: ClassVar[bool] = True  # tokens, so that seeds and settings of the sampler make a difference

    @property
    @abstractmethod
    def label(self) -> Prompt:
        """What to paint."""

    @property
    @abstractmethod
    def negative(self) -> Prompt:
        """The negative prompt: what guidance leads away from."""

    @property
    @abstractmethod
    def window(self) -> int | None:
        """The side of the windows in pixels; None lets the region and the image decide."""

    @property
    @abstractmethod
    def sampling(self) -> SamplingConfig:
        """How tokens are sampled."""

    @property
    def sample_codes(self) -> bool:
        """Whether the bits of the image's codes are sampled, instead of being the likelier values."""
        return False

    @property
    def see_masked(self) -> bool:
        """Whether the encoder sees what is repainted."""
        return False

    @property
    def strict(self) -> bool:
        """Whether images unlike those that the model was trained on are refused."""
        return False

    @classmethod
    def paints_parts(cls, values: Mapping[str, Any]) -> bool:
        """Whether a request with these values samples parts of an image, which models have own settings for."""
        return True

    @property
    def guided_sampling(self) -> SamplingConfig:
        """The settings, without guidance where there is no label that it could lead to."""
        return replace(self.sampling, guidance=0.0) if self.label is None and self.negative is None else self.sampling

    def __post_init__(self) -> None:
        check_settings(self)

    def for_image(self: Request, image: "Original") -> Request:
        """The request with what belongs to this image (its mask) read, so that what is wrong with it shows early."""
        return self

    @abstractmethod
    def paint(self, network: "BinaryModel", image: "Original", seed: int) -> "SamplingCoroutine[Painted]":
        """Work on an image of any size and mode; see `batched_sampling` for how its tokens get sampled."""


@dataclass(frozen=True, kw_only=True)
class MaskedRequest(EditRequest):
    """A request that may have a mask, and how what it masks is painted."""

    mask_is_kept: ClassVar[bool] = False  # and all else repainted

    mask: MaskRequest = MaskRequest()
    label: Label = None
    negative: Negative = None
    guess: Guess = False
    best_of: BestOf = 1
    blend: Blending = "poisson"
    window: Window = None
    sample_codes: SampledCodes = False
    see_masked: SeenMask = False
    strict: Strict = False
    sampling: SamplingConfig = SamplingConfig()

    def for_image(self: Request, image: "Original") -> Request:
        mask: MaskRequest = self.mask  # type: ignore[attr-defined]
        read = replace(self, mask=partly_read(mask, image))  # type: ignore[call-arg]
        if mask.weights is None and mask.image is None and mask.given and not mask.searched:
            _warn_if_empty(read.repainted(read.mask.weights), image)  # type: ignore[attr-defined]
        return read

    def weights(self, network: "BinaryModel", image: "Original") -> Any:
        """Where (H, W) in [0, 1] this image is repainted, 1 = repaint; what is searched for is found now."""
        mask = self.for_image(image).mask
        if not mask.searched:
            return self.repainted(mask.weights)
        from bigr_cli.editing.mask_finders import found_mask

        weights = self.repainted(found_mask(network, mask, image, painted=not self.mask_is_kept))
        _warn_if_empty(weights, image)
        return weights

    def repainted(self, mask: Any) -> Any:
        """Where (H, W) is repainted under a mask."""
        return 1 - mask if self.mask_is_kept else mask


def partly_read(mask: MaskRequest, image: "Original") -> MaskRequest:
    """A mask's request with all read that needs no model: its weights, if nothing is to be searched for besides."""
    if mask.weights is not None or not mask.given:
        return mask
    from bigr_cli.imaging.masks import read_mask

    if mask.searched:
        return mask.having(read_mask(mask.unsearched, image))
    return MaskRequest(weights=read_mask(mask, image))


def _warn_if_empty(weights: Any, image: "Original") -> None:
    if not weights.any():
        from bigr_cli import console

        console.warn(f"{image.name}: the mask is empty, so the image comes back as it is")


def read_request(
    kind: type[Request], config: "ModelConfig", values: Mapping[str, Any], sampling: SamplingConfig
) -> Request:
    """A request out of values by its fields' names or by its options' (see `setting.parameters`); others are ignored.

    Args:
        kind: the request's class.
        config: of the model, for which labels and texts are read.
        values: of the command line, of a line of a manifest, or of Python's keywords.
        sampling: the settings of the sampler, checked.

    Raises:
        UnknownNameError: a label that the model has not.
        UsageError: a value out of range, or values that exclude each other.
    """
    inside, chosen = nested(kind), dict[str, Any]()
    for field in fields(kind):  # each is given by its own name, or by its options
        own = [one for one in parameters(kind) if one.path[0] == field.name]
        if field.name == "sampling":
            chosen[field.name] = sampling
        elif field.name in inside:
            made = _nested(config, inside[field.name], values, own, values.get(field.name))
            if isinstance(made, MaskRequest) and isinstance(made.label, int) and config.labels:
                made = replace(made, label_name=name_of(config, made.label))
            chosen[field.name] = made
        elif own and own[0].kind == Prompt:
            chosen[field.name] = _read_prompt(config, field.name, own, values)
        else:
            given = [values[name] for name in (field.name, *(one.name for one in own)) if values.get(name) is not None]
            chosen |= {field.name: given[0]} if given else {}
    warn_of_contradiction(config, chosen.get("label"), chosen.get("negative"))
    return kind(**chosen)


def recorded(kind: type, values: Mapping[str, Any], explicit: Collection[str]) -> dict[str, Any]:
    """The settings of a request that were given, by their options' names, as a recipe has them.

    `values` has all of them by their parameters' names, `explicit` those that were given even if they are 0.
    """
    found = {}
    for parameter in parameters(kind):
        if parameter.path[0] == "sampling" or parameter.setting.panel == "Files":
            continue  # recipes have the former whole, and none of what says which files are written
        value = values[parameter.name]
        if value or (value == 0 and value is not False and parameter.name in explicit):
            found[parameter.label] = value if isinstance(value, bool | int | float | list) else str(value)
    return found


def _read_prompt(config: "ModelConfig", name: str, own: Sequence[Parameter], values: Mapping[str, Any]) -> Prompt:
    """What a field that holds a class or a text is given."""
    words = {one.name: values.get(one.name) for one in own}
    if name in values:
        if twice := [word for word in words if word != name and words[word] is not None and values[name] is not None]:
            raise UsageError(f"{name} and {twice[0]} exclude each other: both say what to paint")
        return read_prompt(config, values[name])
    if len(own) == 1:
        return read_prompt(config, words[own[0].name])
    asked = words.pop("prompt")
    if asked is not None:
        if said := [
            f"--{word}" for word, other in (("class", "class_label"), ("text", "text")) if words[other] is not None
        ]:
            raise UsageError(f"--prompt and {said[0]} exclude each other: both say what to paint")
        if values.get("guess_class"):
            raise UsageError("--prompt and --guess-class exclude each other")
        words["text" if reads_text(config) else "class_label"] = asked
    return prompt_from_options(config, **words, guess=bool(values.get("guess_class")), required=own[0].setting.required)


def _something(config: "ModelConfig", parameter: Parameter, label: Any) -> Prompt:
    """A class or a text; UsageError for none."""
    found = read_prompt(config, label)
    if found is None:
        raise UsageError(f"{parameter.option}: expected a label or a text, got {label!r}")
    return found


def _nested(config: "ModelConfig", kind: type, values: Mapping[str, Any], own: Sequence[Parameter], whole: Any) -> Any:
    """A dataclass inside a request: `whole`, or out of the values of its own options."""
    if isinstance(whole, kind):
        return whole
    inner = {
        one.path[1]: _something(config, one, values[one.name]) if one.path[1] == "label" else values[one.name]
        for one in own
        if values.get(one.name) is not None
    }
    if "path" in inner and not isinstance(whole, str | PathLike):
        inner["image"] = inner.pop("path")  # a mask in memory
    elif "path" in inner:
        inner["path"] = Path(whole)
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in inner.items()})
