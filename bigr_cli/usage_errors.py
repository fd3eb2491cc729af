"""What is wrong with a command line, in words: the errors of click with the value, where it is from, and what to do."""

from __future__ import annotations

import itertools
import os
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bigr_cli import console
from bigr_cli.core.config import PRESETS, SOURCES
from bigr_cli.errors import UsageError, nearest
from bigr_cli.registry import Task

_SIZE = "the model's size decides: scenes-64 makes 64×64; bigr outpaint --size adds more around it"
_EDITED = "bigr edit IMAGE --prompt LABEL --strength 0.5 changes an image; bigr inpaint IMAGE --mask MASK a part of one"
_COUNT = "-n N, --count N: so many images"
_WHERE = "-o FILE, FOLDER/ or PATTERN says where images go"
_COMPARED = "bigr evaluate generation FOLDER --reference FOLDER"
_INTERFERE = "images are written without change: nothing of the kind is needed"
# Options that other programs have, and what does here what they do there.
_ELSEWHERE: dict[str, str] = {
    **dict.fromkeys(("--width", "--height", "--size", "--resolution", "-W", "-H", "--res", "--image-size"), _SIZE),
    **dict.fromkeys(("--strength", "--init-image", "--init-img", "--image", "-i", "--input"), _EDITED),
    **dict.fromkeys(("--mask", "--mask-image"), "bigr inpaint IMAGE --mask MASK repaints a part of an image"),
    **dict.fromkeys(("--sampler", "--scheduler"), "--order and --preset say how images are sampled here"),
    **dict.fromkeys(("--gpu", "--cuda", "--use-gpu", "--gpus"), "--device cuda, or --device cuda:1"),
    **dict.fromkeys(("--cpu", "--use-cpu", "--mps"), "--device cpu, cuda or mps"),
    **dict.fromkeys(
        ("--fp16", "--half", "--bf16", "--precision", "--torch-dtype"), "--dtype float16, bfloat16 or int8"
    ),
    **dict.fromkeys(("--format", "--ext", "--file-format"), "the suffix says the format: -o image.webp"),
    **dict.fromkeys(("--quality", "--safe", "--nsfw", "--no-watermark"), _INTERFERE),
    **dict.fromkeys(("--lora", "--vae", "--controlnet", "--refiner"), "bigr train makes a model of your own images"),
    **dict.fromkeys(("--style", "--prompt-style", "--aspect-ratio", "--ar"), _SIZE),
    **dict.fromkeys(("--upscale", "--factor"), "bigr enrich IMAGE --scale 2"),
    **dict.fromkeys(("--expand", "--pad", "--all", "--padding"), "--left, --right, --top, --bottom N, or --size WxH"),
    **dict.fromkeys(("--epochs", "--num-epochs", "--max-steps", "--max-train-steps"), "--time 2h, or --steps N"),
    **dict.fromkeys(("--steps", "--train-steps"), "run.steps=N, as a word of its own"),
    **dict.fromkeys(("--batch-size", "--train-batch-size", "--batch"), "run.batch=N, as a word of its own"),
    **dict.fromkeys(("--query", "--features"), "bigr search IMAGE --index FILE"),
    **dict.fromkeys(("--verbosity", "--debug-mode"), "--verbose, or --debug for tracebacks"),
    **dict.fromkeys(("--images", "--real", "--fake", "--path1", "--path2", "--dataset1", "--dataset2"), _COMPARED),
    **dict.fromkeys(("--input1", "--input2", "--gt", "--ref", "--real-dir", "--fake-dir", "--gen"), _COMPARED),
    **dict.fromkeys(("--fid", "--isc", "--kid", "--prc"), "--metrics fid,is,kid,prc: those of them that are wanted"),
    **dict.fromkeys(("--num", "--number", "--samples", "--num-samples", "--n-samples", "--amount", "--n-iter"), _COUNT),
    **dict.fromkeys(("--num-outputs", "--batch-count", "--images-per-prompt", "--nsamples", "--n-images"), _COUNT),
    **dict.fromkeys(
        ("--out", "--outdir", "--output-dir", "--output-path", "--out-dir", "--save-path", "--outfile"), _WHERE
    ),
    **dict.fromkeys(("--num-inference-steps", "--inference-steps", "--sampling-steps"), "--steps N"),
    **dict.fromkeys(("--guidance-scale", "--cfg-scale", "--cfg", "--scale"), "--guidance NUMBER"),
    **dict.fromkeys(("--negative-prompt", "--neg", "--neg-prompt", "--uncond"), "--negative LABEL, or a text"),
    **dict.fromkeys(
        ("--ckpt", "--checkpoint", "--model-id", "--pretrained", "--pretrained-model-name-or-path"), "-m MODEL"
    ),
    **dict.fromkeys(("--random-seed", "--manual-seed", "--generator", "--seeds"), "--seed N"),
    **dict.fromkeys(("--montage", "--tile", "--contact-sheet"), "--grid FILE puts all images on one sheet"),
    **dict.fromkeys(("--label", "--labels", "--classes"), "labels are words of their own: bigr generate cat"),
    **dict.fromkeys(("--data", "--train-dir"), "the folder is a word of its own: bigr train FOLDER"),
}
_COMMANDS: dict[str, str] = {
    "fid inception is kid fid-score": "bigr evaluate generation FOLDER --reference FOLDER",
    "psnr ssim lpips rfid reconstruct reconstruction": "bigr evaluate reconstruction FOLDER --data FOLDER",
    "clip clip-score text-score": "bigr evaluate text -m scenes-64-text",
    "linear linear-probe accuracy": "bigr evaluate probe --data FOLDER",
    "install download get add fetch": "bigr models pull NAME",
    "remove rm delete uninstall": 'a model is a folder: rm -r "$(bigr models path NAME)"',
    "upload publish": "bigr models push NAME OWNER/NAME",
    "ls all list": "bigr models list",
    "labels classes vocabulary": "bigr models labels",
    "inspect show details describe identify exif metadata info": "bigr models show NAME, or bigr info FILE of an image",
    "compare fidelity torch-fidelity": "bigr evaluate generation FOLDER --reference FOLDER",
    "montage grid sheet": "bigr generate LABEL -n 16 --grid FILE",
    "morph blend": "bigr interpolate LABEL LABEL",
    "segment": "bigr mask IMAGE",
    "predict label recognize": "bigr classify IMAGE --probe FILE",
    "similar find query retrieve": "bigr search IMAGE --index FILE",
    "history recent": "bigr log",
    "resume continue": "bigr train --resume FOLDER",
    "benchmark speed": "bigr bench",
    "env check status diagnose": "bigr doctor",
    "convert": "bigr models import, bigr models export",
    "upscale enlarge super-resolution superres": "bigr enrich IMAGE --scale 2",
    "img2img image-to-image": "bigr edit IMAGE --prompt LABEL --strength 0.5",
    "txt2img text-to-image t2i sample create paint draw": "bigr generate LABEL",
    "remove-background remove erase fill": "bigr inpaint IMAGE --mask MASK",
    "extend uncrop": "bigr outpaint IMAGE --left 32",
    "encode features embeddings": "bigr embed IMAGES -o FILE.npz",
    "finetune fine-tune fit": "bigr train FOLDER",
    "report plot": "bigr evaluate generation --report FILE",
    "version": "bigr --version",
    "help": "bigr --help, or bigr COMMAND --help",
    "login auth": "bigr models pull asks for no account; HF_TOKEN is used where a hub needs one",
    "imagenet mnist cifar10 cifar": "bigr data scenes -o FOLDER writes built-in images; bigr train takes any folder",
    "web ui webui gui app start server": "bigr serve",
}
_OPTION = re.compile(r"No such option:? (\S+)")
_PROPOSED = re.compile(
    r"\s*(?:\(Possible options?:.*\)|Did you mean .*\?)$"
)  # by letters in common, not by what they do
_COMMAND = re.compile(r"No such command '([^']*)'")
_EXTRA = re.compile(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)")


def explained(error: Any, tasks: Mapping[tuple[str, ...], Task], words: Sequence[str]) -> tuple[str, str | None]:
    """The message and the hint for a usage error of click.

    Args:
        error: one that has `format_message`, wherever this version of Typer keeps its class.
        tasks: by the words that call them, for examples.
        words: of the command line.
    """
    message = error.format_message().replace("Value error, ", "")
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    called = context.command_path if context else _path_of(tasks, words)
    if context is None and called == "bigr":
        return message, None
    see = f"see '{called} --help'"
    if found := _OPTION.search(message):
        hint = _of_option(found[1], called, see)
        return (_PROPOSED.sub("", message) if found[1].replace("_", "-") in _ELSEWHERE else message), hint
    if found := _COMMAND.search(message):
        return message, _of_command(found[1], called, tasks, see)
    task = tasks.get(tuple(called.split()[1:]))
    example = f"for example: {_example(task)}" if task is not None and task.examples else see
    if _EXTRA.search(message):
        return message, f"{called} takes no such words; {see}"
    if "requires an argument" in message:
        return message, f"a value follows it; {see}"
    if message.startswith("Missing") or parameter is None:
        return message, example if message.startswith("Missing") else see
    return _of_value(error, parameter, words, message), see


def _of_option(name: str, called: str, see: str) -> str:
    known = _ELSEWHERE.get(name.split("=")[0].replace("_", "-"))
    return (
        f"{known}; {see}"
        if known and called != "bigr"
        else (f"options stand after the command: bigr generate cat {name} …" if called == "bigr" else see)
    )


def _of_command(name: str, called: str, tasks: Mapping[tuple[str, ...], Task], see: str) -> str:
    group = called.split()[1:]
    for names, instead in _COMMANDS.items():
        if name in names.split():
            return f"{instead}; {see}"
    if group:
        known = sorted(path[1] for path in tasks if len(path) == 2 and path[0] == group[0])
        near = nearest(name, known, 1)
        return f"{'did you mean ' + near[0] + '? ' if near else ''}{called} has {', '.join(known)}"
    if name.startswith("-"):
        return see
    return f"bigr generate {shlex.quote(name)} makes an image of it, if the model knows it; {see}"


def _of_value(error: Any, parameter: Any, words: Sequence[str], message: str) -> str:
    """The message about a value that an option does not take, with the value and the option as it was typed."""
    variable = parameter.envvar if isinstance(parameter.envvar, str) else next(iter(parameter.envvar or ()), "")
    typed = _typed(parameter.opts, words)
    long = [option for option in parameter.opts if option.startswith("--")]
    name = f"'{typed or next(iter((*long, *parameter.opts)), parameter.name)}'"
    if not typed and variable in os.environ:
        name += f" (env var: '{variable}')"
    return f"Invalid value for {name}: {_reason(error, message)}"


def _typed(names: Sequence[str], words: Sequence[str]) -> str:
    """Which of an option's names is among the words, where -n3 and --batch_size 4 count too."""
    given = [word.partition("=")[0] for word in words if word.startswith("-")]
    for name in names:
        if any(word.replace("_", "-") == name or (name[1:2] != "-" and word.startswith(name)) for word in given):
            return name
    return ""


def _reason(error: Any, message: str) -> str:
    """What is wrong with a value, without the words of the library that found it."""
    problem: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    reason = str(error.message).replace("Value error, ", "")
    if not problem:
        return reason
    kind, got, more = problem[0]["type"], problem[0]["input"], problem[0].get("ctx", {})
    wanted = {
        "int_parsing": "a whole number",
        "int_from_float": "a whole number",
        "float_parsing": "a number",
        "greater_than_equal": f"at least {more.get('ge')}",
        "greater_than": f"more than {more.get('gt')}",
        "less_than_equal": f"at most {more.get('le')}",
        "less_than": f"less than {more.get('lt')}",
        "bool_parsing": "true or false",
    }.get(kind)
    if wanted is not None:
        return f"expected {wanted}, got {str(got)!r}"
    choices = re.findall(r"'([^']*)'", reason.partition("is not one of")[2])
    if set(SOURCES) <= set(choices):  # which few models have
        more_of = f"imported models of the paper have {', '.join(SOURCES)} too"
        reason = f"{str(got)!r} is none of {', '.join(PRESETS)}; {more_of}."
    near = nearest(_plain_type(str(got)), choices, 1, cutoff=0.6)
    return f"{reason} Did you mean {near[0]!r}?" if near else reason


def _plain_type(name: str) -> str:
    """A number format as torch calls it: float16 for fp16."""
    return re.sub(r"^(?:torch\.)?(b?)f(?:p|loat)?(\d+)$", lambda found: f"{found[1]}float{found[2]}", name)


def require_values(command: Any, words: Sequence[str]) -> None:
    """Raise UsageError where an option that takes a value is followed by another option instead.

    click would take `--seed` in `--grid --seed 3` for the name of a file, and complain of the 3.
    """
    options = {name: option for option in command.params for name in getattr(option, "opts", ()) if name[:1] == "-"}
    words = words[: words.index("--")] if "--" in words else words
    for word, value in itertools.pairwise(words):
        option = options.get(word.replace("_", "-"))
        if option is None or getattr(option, "is_flag", False) or value.replace("_", "-") not in options:
            continue
        wanted = option.metavar or str(option.name).upper()
        hint = f"{word} {wanted}; if {value} is what is meant, {word}={value}"
        raise UsageError(f"{word}: requires a value, and {value} is another option", hint=hint)


def warn_of_repetition(command: Any, context: Any, words: Sequence[str]) -> None:
    """Warn of an option that takes one value and is given more than one: the last counts, as everywhere.

    Raises the usage errors of click for words that it does not take.
    """
    given, _, order = command.make_parser(context).parse_args(list(words))
    for option, times in Counter(order).items():
        single = not (option.multiple or option.is_flag or option.count) if hasattr(option, "is_flag") else False
        if single and times > 1:
            name = next((each for each in option.opts if each.startswith("--")), option.opts[0])
            often = "twice" if times == 2 else f"{times} times"
            console.warn(f"{name} is given {often}: {given[option.name]} counts")


def _example(task: Task) -> str:
    return task.examples[0]


def _path_of(tasks: Mapping[tuple[str, ...], Task], words: Sequence[str]) -> str:
    """The command that the words begin with, where click does not say it."""
    for size in (2, 1):
        if tuple(words[:size]) in tasks:
            return " ".join(("bigr", *words[:size]))
    return "bigr"


def with_boxes(words: Sequence[str]) -> list[str]:
    """The words with the numbers of a box that stand apart joined: --mask-box 10 10 5 5 is --mask-box 10,10,5,5."""
    made, place = list[str](), 0
    while place < len(words):
        word, numbers = words[place], list(words[place + 1 : place + 5])
        made.append(word)
        place += 1
        if word == "--":
            return made + list(words[place:])
        if word == "--mask-box" and len(numbers) == 4 and all(map(_NUMBER.fullmatch, numbers)):
            made.append(",".join(number.rstrip(",") for number in numbers))
            place += 4
    return made


_NUMBER = re.compile(r"\d+(?:\.\d+)?%?,?")
