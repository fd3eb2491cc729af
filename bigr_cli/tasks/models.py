"""`bigr models …`: the models that are here, what is in them, and what they can be asked for."""

from pathlib import Path
from typing import Annotated, Any

from bigr_cli import console, schema
from bigr_cli.errors import ModelFormatError
from bigr_cli.options import Json, argument, option
from bigr_cli.options.groups import SameModel, SameModels, one_model
from bigr_cli.registry import group, task
from bigr_cli.vocabulary import KINDS
from bigr_cli.zoo.config import ModelConfig
from bigr_cli.zoo.find import (
    Entry,
    default_model,
    describe_model,
    find_model,
    list_models,
    set_default_model,
)
from bigr_cli.zoo.source import readable_size

group("models", help="List, inspect, check, pull, push, import and export models.")

ModelName = Annotated[str | None, argument("[NAME|DIR]", "A model by name or folder; without it, the default.")]


@task("models list", help="List the models that there are.", examples=["bigr models list --json"])
def list_(json: Json = False) -> None:
    """Models of your own (under BIGR_HOME) come first; the default one is marked with a star."""
    entries = list_models()
    if json:
        for entry in entries:
            console.json_line(record(entry))
        return
    chosen = default_model()
    rows = [
        (
            f"{'*' if entry.name == chosen else ' '} {entry.name}",
            entry.state,
            f"{entry.config.image_size} px" if entry.config else "",
            _condition(entry),
            _millions(entry.parameters),
            _weights(entry),
            entry.where,
        )
        for entry in entries
    ]
    console.table(("  name", "state", "size", "condition", "parameters", "weights", "from"), rows)
    for entry in entries:
        if entry.problem:
            console.warn(entry.problem)


@task(
    "models show",
    help="Show what a model is made of and where it comes from.",
    examples=["bigr models show scenes-64", "bigr models show runs/mine --json"],
)
def show(model: ModelName = None, named: SameModel = None, json: Json = False) -> None:
    """With --json, everything that its config.yaml says."""
    entry = read_entry(find_model(one_model(model, named)))
    if json:
        console.json_line({**record(entry), "config": schema.to_mapping(entry.config)})
        return
    lines = [
        ("name", entry.config.name if entry.config else entry.name),
        ("folder", str(entry.directory)),
        ("state", entry.state),
        ("weights", f"{_weights(entry)}, {_millions(entry.parameters)} parameters{_parts(entry)}"),
    ]
    if entry.config and entry.config.source and entry.state == "to be pulled":
        lines.append(("pull", f"bigr models pull {entry.name}   (from {entry.config.source.repository})"))
    width = max(len(label) for label, _ in lines)
    for label, text in lines:
        console.result(f"{label:<{width}}  {text}")
    data = schema.to_mapping(entry.config)
    for shown in ("format", "name"):
        del data[shown]
    if data.get("vocabulary"):
        data["vocabulary"] = f"{len(data['vocabulary']['words']):,} words: bigr models labels {entry.name}"
    if len(data["labels"]) > 20:
        data["labels"] = f"{len(data['labels'])} labels: bigr models labels {entry.name}"
    console.result("")
    console.results(schema.dump_yaml(data).rstrip())


@task(
    "models default",
    help="Show or set the model that is used if none is named.",
    examples=["bigr models default bigr-l"],
)
def default(
    model: Annotated[str | None, argument("[NAME|DIR]", "The model to use from now on.")] = None,
    named: SameModel = None,
) -> None:
    """BIGR_MODEL and --model go before it. Noted in the home that bigr doctor shows."""
    model = one_model(model, named)
    if model is None:
        console.result(default_model())
    else:
        console.say(f"{set_default_model(model)} is the default model now")


@task("models path", help="Print the folder of a model.", examples=["bigr models path scenes-64"])
def path(model: ModelName = None, named: SameModel = None) -> None:
    """For use in scripts: `cp -r "$(bigr models path scenes-64)" .`"""
    console.result(str(find_model(one_model(model, named)).absolute()))


@task(
    "models verify",
    help="Check models' files against their config: hashes, tensors, shapes.",
    examples=["bigr models verify", "bigr models verify runs/mine --json"],
)
def verify(
    models: Annotated[
        list[str] | None, argument("[NAME|DIR]...", "Models; without any, all that have weights.")
    ] = None,
    named: SameModels = None,
    json: Json = False,
) -> None:
    """One line for each model; ends with exit code 2 if any is not as it should be."""
    from bigr_cli.zoo.folder import check_model

    models = [*(models or ()), *(named or ())]
    if models:
        folders = [find_model(model) for model in models]
    else:
        folders = [entry.directory for entry in list_models() if entry.state not in ("no weights", "to be pulled")]
    damaged = []
    for folder in folders:
        try:
            problems = check_model(folder)
        except ModelFormatError as error:
            problems = [str(error)]
        damaged += problems
        if json:
            console.json_line({"path": folder, "ok": not problems, "problems": problems})
        else:
            console.result(f"{folder}: {'damaged' if problems else 'ok'}")
    if damaged:
        raise ModelFormatError("; ".join(damaged))


@task(
    "models labels",
    help="List the labels, or the words, that a model knows.",
    examples=["bigr models labels --search fish", "bigr models labels scenes-64-text"],
)
def labels(
    model: ModelName = None,
    named: SameModel = None,
    search: Annotated[
        str | None, option("--search", "Only those that have this in their names.", metavar="WORD")
    ] = None,
    json: Json = False,
) -> None:
    """Of a class, its index and its names: each of them can be given to bigr generate.

    Of a model that reads texts, the words of the captions that it was trained on, by what they mean where that is
    known: objects, colours, grounds and times of day, with other wordings of each.
    """
    config = read_entry(find_model(one_model(model, named))).config
    if config is not None and config.generator is not None and config.generator.text is not None:
        _list_words(config, search, json=json)
        return
    classes = config.generator.classes if config and config.generator else 0
    names = (config.labels if config else ()) or [None] * classes
    for index, name in enumerate(names):
        if search is not None and search.casefold() not in (name or "").casefold():
            continue
        if json:
            console.json_line({"index": index, "label": name})
        else:
            console.result(f"{index}\t{name or ''}".rstrip())


def _list_words(config: ModelConfig, search: str | None, *, json: bool) -> None:
    """A line for each thing that a model's captions name, or for each of their words."""
    vocabulary, rows = config.vocabulary, list[tuple[str, str, list[str], list[str]]]()
    if vocabulary is None:
        console.say(f"{config.name} reads texts, and its config does not note which words its captions had")
        return
    for kind, title in zip(KINDS, ("object", "color", "ground", "time"), strict=True):
        for name, wordings in vocabulary.wordings(kind).items():
            trained = [each for each in wordings if each != name]
            rows.append((title, name, trained, list(vocabulary.synonyms(kind).get(name, ()))))
    rows = rows or [("word", word, [], []) for word in vocabulary.words]
    for title, name, trained, also in rows:
        if search is not None and not any(search.casefold() in each.casefold() for each in (name, *trained, *also)):
            continue
        if json:
            console.json_line({"kind": title, "name": name, "wordings": trained, "synonyms": also})
        else:
            console.result(f"{title}\t{name}\t{', '.join([*trained, *also])}".rstrip())
    if vocabulary.more:
        console.say(f"and {vocabulary.more:,} rarer words, which are not noted")


def read_entry(directory: Path) -> Entry:
    """The entry of a model whose config can be read; raises ModelFormatError for others."""
    entry = describe_model(directory)
    if entry.problem:
        raise ModelFormatError(entry.problem)
    return entry


def record(entry: Entry) -> dict[str, Any]:
    """What --json says about a model."""
    config = entry.config
    return {
        "name": entry.name,
        "path": entry.directory,
        "where": entry.where,
        "state": entry.state,
        "default": entry.name == default_model(),
        "bytes": entry.size,
        "pull_bytes": config.source.size if config and config.source and entry.state == "to be pulled" else None,
        "parameters": entry.parameters,
        "image_size": config.image_size if config else None,
        "condition": config.generator.condition if config and config.generator else None,
        "classes": config.generator.classes if config and config.generator else None,
        "licence": config.licence if config else None,
        "problem": entry.problem or None,
    }


def _condition(entry: Entry) -> str:
    """What its images are made from."""
    generator = entry.config.generator if entry.config else None
    if generator is None:
        return ""
    return f"text ({generator.text.encoder})" if generator.text else f"{generator.classes} classes"


def _millions(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.1f} M"


def _parts(entry: Entry) -> str:
    counts = entry.part_parameters
    return f" ({', '.join(f'{name} {_millions(count)}' for name, count in counts.items())})" if counts else ""


def _weights(entry: Entry) -> str:
    """How many bytes the weights have, or how many are to be fetched."""
    waiting = entry.config.source if entry.config and entry.state == "to be pulled" else None
    return readable_size(waiting.size) if waiting else readable_size(entry.size)
