"""`bigr models labels`: what a model can be asked for."""

from typing import Annotated

from bigr_cli import console
from bigr_cli.options import Json, option
from bigr_cli.options.groups import SameModel, one_model
from bigr_cli.registry import task
from bigr_cli.tasks.models import ModelName, read_entry
from bigr_cli.vocabulary import KINDS
from bigr_cli.zoo.config import ModelConfig
from bigr_cli.zoo.find import find_model


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
