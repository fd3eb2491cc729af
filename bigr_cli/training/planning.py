"""Makes a plan: looks at the data, measures real steps here, and asks the rules in `plan`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple, NoReturn

import torch

from bigr_cli import console
from bigr_cli.core.architectures import GeneratorConfig
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.data.cached import ReducedSource
from bigr_cli.data.look import DataLook
from bigr_cli.errors import ConfigError, UsageError
from bigr_cli.progress import progress_bar, readable_time
from bigr_cli.runtime import device as devices
from bigr_cli.runtime.memory import SHARE, free_memory
from bigr_cli.runtime.meter import operations
from bigr_cli.training import plan as rules
from bigr_cli.training.config import GeneratorTraining, TokenizerTraining
from bigr_cli.training.data import open_data
from bigr_cli.training.generator import GeneratorObjective
from bigr_cli.training.loss_config import SamplesConfig
from bigr_cli.training.measure import Cost, measure, random_codes, seconds_of_codes
from bigr_cli.training.plan import Plan
from bigr_cli.training.request import Request, check_class_sizes, condition_of
from bigr_cli.training.size_names import SizeName
from bigr_cli.training.sizes import PUBLISHED, sees_enough, sizes_worth_trying, smaller
from bigr_cli.training.tokenizer import TokenizerObjective
from bigr_cli.zoo.config import ModelConfig, read_config
from bigr_cli.zoo.find import DEFAULT_MODEL, find_model, packaged_models
from bigr_cli.zoo.source import readable_size

_GUESSED_SHARE = 0.25  # of a matrix product's speed that a step's operations reach
_HOPELESS = 4  # times too slow by that guess: such a size is not even measured
_MEASURING = 0.01  # of the time, for each of both stages
_FILLING = 0.05  # of the time at most, to make reduced copies of images before steps are timed
_LATER = 1.25  # the peak of whole trainings, times that of their first steps: 1.03 to 1.25 of four on two cores
_SHORTEST, _LONGEST = 1.0, 8.0  # seconds of it; where steps are asked for, no setting depends on it

Stages = tuple[TokenizerTraining, GeneratorTraining]


class _Costs(NamedTuple):
    tokenizer: Cost | None  # None for a stage that is not trained
    generator: Cost | None
    coding: float  # seconds to read and encode an image


class Planner:
    """Plans for one request on one device; `adjust` changes both stages as the request's settings say."""

    def __init__(
        self,
        request: Request,
        look: DataLook,
        device: torch.device,
        *,
        adjust: Callable[[Stages], Stages],
        folder: str,
        only: Literal["tokenizer", "generator"] | None = None,
    ) -> None:
        """`folder` is where the second stage finds the first one's model; `only` one of both is trained.

        If that is the generator, there is a model in `folder` already.
        """
        if int(os.environ.get("WORLD_SIZE", "1") or 1) > 1:
            hint = "give --config FILE; what one process plans is in its run's folder"
            raise UsageError("several processes would each measure and plan for themselves", hint=hint)
        self.only, self._base = only, read_config(find_model(folder)) if only == "generator" else None
        self.request, self.look, self.device, self.adjust, self.folder = request, look, device, adjust, folder
        self.condition = condition_of(request, look)
        self._begin = time.monotonic()

    def plan(self) -> Plan:
        """The plan.

        Raises:
            UsageError: too little time or memory, with what would do.
            ConfigError: sizes that do not fit each other.
        """
        asked = self.request.size
        candidates = sizes_worth_trying(self.look.images) if asked == "auto" else [asked]
        for number, size in enumerate(candidates):
            last, stages = number == len(candidates) - 1, self._stages(size)
            if not last and not self._worth_measuring(size, stages):
                continue
            stages = self._fitted(size, stages)
            costs = self._costs(stages)
            plan = self._in_steps(stages, costs) if self.request.steps else self._in_time(size, stages, costs, last)
            if plan is not None:
                memory = round(_LATER * max(cost.bytes for cost in costs[:2] if cost is not None))
                plan = replace(
                    plan,
                    size=size,
                    condition=self.condition,
                    memory=memory,
                    images=self.look.images,
                    classes=max(1, len(self.look.classes)),
                )
                first, second = self.adjust((plan.tokenizer, plan.generator))
                return replace(plan, tokenizer=first, generator=second)
        raise UsageError(f"{self.request.images}: no size can be trained here")

    def _stages(self, size: SizeName) -> Stages:
        request, look = self.request, self.look
        side = request.image_size or (256 if size in PUBLISHED else 0)
        if self._base is not None:
            side = self._base.image_size
        sized = partial(rules.image_size, accelerated=self.device.type == "cuda", time=request.seconds)
        if self.condition == "classes" and not side and look.class_sides:
            largest = max(least for least, _ in look.class_sides.values())
            check_class_sizes(request, look, sized(replace(look, side=largest)))
        side = side or sized(look)
        workers = max(1, min(8, (os.cpu_count() or 1) - 1))
        data = rules.data_settings(look, request.images, side, workers=workers, seed=request.seed)
        precision = str(devices.select_dtype("auto", self.device)).removeprefix("torch.")
        first = rules.tokenizer_training(
            size, look, data, side, name=f"{request.name}-tokenizer", precision=precision, seed=request.seed
        )
        second = rules.generator_training(
            *(size, look, data, self.condition),
            tokenizer=self.folder,
            name=request.name,
            precision=precision,
            seed=request.seed,
        )
        if self._base is not None:
            return self.adjust((replace(first, tokenizer=self._base.tokenizer), second))
        return self.adjust((self._started(first), second))

    def _share(self, tokenizer: TokenizerTraining) -> float:
        """The tokenizer's share of the time."""
        alone = {"tokenizer": 1.0, "generator": 0.0}
        return rules.tokenizer_share(tokenizer.init) if self.only is None else alone[self.only]

    def _started(self, training: TokenizerTraining) -> TokenizerTraining:
        """With the model to begin with: the one asked for, or the shipped one if it has these sizes."""
        start = self.request.start
        if start == "none":
            return training
        if start:
            config = read_config(find_model(start)).tokenizer
            if self.request.image_size not in (None, config.image_size):
                raise ConfigError(f"--from {start}: is for images of {config.image_size} pixels")
            return replace(training, tokenizer=config, init=start)
        if (packaged_models() / DEFAULT_MODEL).is_dir():
            shipped = read_config(packaged_models() / DEFAULT_MODEL).tokenizer
            sizes = rules.shipped_start(training.tokenizer, shipped, self.look.images)
            if sizes is not None:
                return replace(training, tokenizer=sizes, init=DEFAULT_MODEL)
        return training

    def _worth_measuring(self, size: SizeName, stages: Stages) -> bool:
        """Whether a size may see enough images, by the steps asked for or a guess from a matrix product's speed."""
        tokenizer, generator = stages
        if self.request.steps is not None:
            return sees_enough(size, self.request.steps * generator.run.batch)
        config = self._complete(stages)
        image, token = operations(config, training=True)
        each = image + 0.64 * config.tokens * generator.masking.timesteps_per_token * token
        rate = max(devices.measure(self.device).values()) * 1e9 * _GUESSED_SHARE
        share = rules.tokenizer_share("") if self.only == "tokenizer" else self._share(tokenizer)
        seconds = self.request.time * (1 - share)
        return sees_enough(size, _HOPELESS * seconds * rate / each)

    def _complete(self, stages: Stages) -> GeneratorConfig:
        return Plan(*stages, "nano", self.condition, classes=max(1, len(self.look.classes))).generator_config()

    def _fitted(self, size: SizeName, stages: Stages) -> Stages:
        """The generator's batch in as many parts as fit into memory. Raises UsageError if nothing helps."""
        tokenizer, generator = stages
        config, run, each = self._complete(stages), generator.run, generator.masking.timesteps_per_token
        if run.micro_batch is not None or run.accumulate > 1:
            return stages
        free = int(SHARE * free_memory(self.device))
        parts = rules.parts_that_fit(config, run, each, free)
        if parts is None:
            needed, fitting = rules.generator_bytes(config, 1, each), smaller(size)
            raise UsageError(
                f"{size}: needs at least {readable_size(needed)} of memory, and {readable_size(free)} are to be had",
                hint=f"--size {fitting} needs less" if fitting else None,
            )
        return tokenizer, replace(generator, run=replace(run, accumulate=parts))

    def _costs(self, stages: Stages) -> _Costs:
        """Both stages measured, with the data as they are loaded, and encoding."""
        tokenizer, generator = stages
        seconds = _SHORTEST if self.request.steps else min(_LONGEST, _MEASURING * self.request.time)
        size = tokenizer.tokenizer.image_size
        module = Tokenizer(tokenizer.tokenizer).eval().requires_grad_(False).to(self.device)
        base = ModelConfig(name="tokenizer", image_size=size, tokenizer=tokenizer.tokenizer)
        captions = self.condition == "captions"
        with progress_bar(None, "measuring"):
            data = replace(tokenizer.data, cache_images=False)
            with console.unheard():  # each stage says what it leaves out
                source, held_out = open_data(data, size, captions=captions)
            if isinstance(source, ReducedSource):
                source.fill(_FILLING * self.request.time)
            first = second = None
            if self.only != "generator":
                build = partial(
                    TokenizerObjective, replace(tokenizer, init="", freeze_encoder=False, samples=SamplesConfig())
                )
                first = measure(build, source, held_out, data, tokenizer.run, device=self.device, seconds=seconds)
            if self.only == "tokenizer":
                return _Costs(first, None, 0.0)
            coding = 0.0 if self.look.endless else seconds_of_codes(module, source)
            part = generator.run.batch // generator.run.accumulate
            second = measure(
                partial(GeneratorObjective, generator, module, base),
                *(source, held_out, replace(generator.data, cache_codes=0), generator.run),
                device=self.device,
                seconds=seconds,
                batches=None if self.look.endless else random_codes(base.tokenizer, source, part),
            )
        return _Costs(first, second, coding)

    def _in_steps(self, stages: Stages, costs: _Costs) -> Plan:
        """The plan for so many steps of each stage, with the time that they will take."""
        tokenizer, generator = stages
        steps = self.request.steps or 1
        generator = self._with_codes(generator, steps * generator.run.batch)
        tokenizer = replace(tokenizer, run=rules.in_steps(tokenizer.run, steps))
        generator = replace(generator, run=rules.in_steps(generator.run, steps))
        pairs = ((tokenizer.run, costs.tokenizer), (generator.run, costs.generator))
        seconds = sum(rules.takes(run, step=cost.step, look=cost.look) for run, cost in pairs if cost is not None)
        coding = costs.coding * generator.data.cache_codes * self.look.images
        return _warmed(tokenizer, generator, estimate=time.monotonic() - self._begin + seconds + coding)

    def _in_time(self, size: SizeName, stages: Stages, costs: _Costs, last: bool) -> Plan | None:
        """The plan for the request's time; None if the size is too slow for it and is not the last one.

        Raises:
            UsageError: the time is too short for anything.
        """
        tokenizer, generator = stages
        whole = self.request.time
        ending = rules.ENDING * costs.generator.samples if costs.generator is not None and self.only is None else 0.0
        rest = max(0.0, whole * (1 - rules.RESERVE) - ending - (time.monotonic() - self._begin))
        early = rest * self._share(tokenizer)
        needed = 0.0
        if costs.generator is not None:
            generator, step, coding = self._generator_in_time(generator, costs.generator, costs.coding, rest - early)
            if not last and not sees_enough(size, generator.run.steps * generator.run.batch):
                return None
            if generator.run.steps < rules.FEWEST_STEPS:
                needed = rules.needed_time(step, costs.generator.look) / (1 - self._share(tokenizer)) + coding
        if costs.tokenizer is not None:
            step, look = costs.tokenizer.step, costs.tokenizer.look
            tokenizer = replace(tokenizer, run=rules.in_time(tokenizer.run, early, step=step, look=look))
            if tokenizer.run.steps < rules.FEWEST_STEPS:
                needed = max(needed, rules.needed_time(step, look) / self._share(tokenizer))
        if needed > 0:
            self._refuse(costs, needed)
        return _warmed(tokenizer, generator, estimate=whole, tokenizer_seconds=early, generator_seconds=rest - early)

    def _generator_in_time(
        self, generator: GeneratorTraining, cost: Cost, coding: float, seconds: float
    ) -> tuple[GeneratorTraining, float, float]:
        """The generator's stage for so many seconds, those of a step, and those of encoding beforehand."""
        # Encoding takes time from the steps, whose number says how many codes are wanted.
        each = cost.step / generator.run.batch + coding
        generator = self._with_codes(generator, min(seconds / cost.step * generator.run.batch, seconds / each))
        before = coding * generator.data.cache_codes * self.look.images
        within = generator.data.cache_codes == 0 and not self.look.endless
        step = cost.step + (coding * generator.run.batch if within else 0.0)
        return (
            replace(generator, run=rules.in_time(generator.run, seconds - before, step=step, look=cost.look)),
            step,
            before,
        )

    def _refuse(self, costs: _Costs, needed: float) -> NoReturn:
        """Say that the time is too short for anything, and how much would do."""
        named = (("tokenizer", costs.tokenizer), ("generator", costs.generator))
        parts = [
            f"a step of the {name} takes {cost.step:.2g} s here and a validation {cost.look:.2g} s"
            for name, cost in named
            if cost is not None
        ]
        minutes = int(1.3 * (needed + time.monotonic() - self._begin) / 60) + 1
        message = f"{readable_time(self.request.time)} are too short: {', '.join(parts)}"
        raise UsageError(message, hint=f"--time {minutes}m would do")

    def _with_codes(self, generator: GeneratorTraining, seen: float) -> GeneratorTraining:
        count = rules.variants(self.look.images, seen, endless=self.look.endless)
        if generator.masking.foreground_weight > 0 or generator.data.cache_codes:
            return generator
        return replace(generator, data=replace(generator.data, cache_codes=count))


def _warmed(tokenizer: TokenizerTraining, generator: GeneratorTraining, **known: float) -> Plan:
    """The plan of both stages; learning rates of this package's own sizes rise at the start."""
    stages = [
        replace(each, optimizer=rules.with_warmup(each.optimizer, each.run.steps)) for each in (tokenizer, generator)
    ]
    return Plan(*stages, "nano", "classes", **known)  # type: ignore[arg-type, call-arg]
