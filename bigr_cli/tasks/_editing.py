"""The command of an editing request: the options of its fields, and those that all such commands share."""

from collections.abc import Callable
from typing import Any

import typer

from bigr_cli import options
from bigr_cli.options.groups import Batch, Machine, Messages, Sampling, Writing, grouped

Command = Callable[[typer.Context], None]


def editing_command(kind: type) -> Callable[[Command], Callable[..., None]]:
    """Give a function, which is called with the context alone, the options of an editing request of this class."""

    def decorate(function: Command) -> Callable[..., None]:
        def command(
            context: typer.Context,
            images: options.Images = None,
            model: options.Model = None,
            count: options.Count = 1,
            seed: options.Seed = None,
            recipe: options.Recipe = None,
            *,
            request: Any,
            batch: Batch,
            sampling: Sampling,
            writing: Writing,
            machine: Machine,
            messages: Messages,
        ) -> None:
            function(context)

        return _made(command, function, kind)

    return decorate


def searching_command(kind: type) -> Callable[[Command], Callable[..., None]]:
    """As `editing_command`, without variants, seeds and settings of the sampler: nothing is sampled."""

    def decorate(function: Command) -> Callable[..., None]:
        def command(
            context: typer.Context,
            images: options.Images = None,
            model: options.Model = None,
            *,
            request: Any,
            batch: Batch,
            writing: Writing,
            machine: Machine,
            messages: Messages,
        ) -> None:
            function(context)

        return _made(command, function, kind)

    return decorate


def _made(command: Callable[..., None], function: Command, kind: type) -> Callable[..., None]:
    command.__annotations__["request"] = kind
    made = grouped(command)
    made.__name__, made.__doc__, made.__module__ = function.__name__, function.__doc__, function.__module__
    vars(made)["request"] = kind  # by which `bigr serve` offers it too
    return made
