"""Fixtures that every test may use: a home of its own, and two ways of running `bigr`."""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from bigr_cli import console
from bigr_cli.app import main

if "PYTEST_XDIST_WORKER" in os.environ:  # a process a core: more threads than cores slow each other tenfold
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says nothing on a machine that does other things as well. Few of them are new ones in each
# run; `pytest --hypothesis-profile thorough` takes minutes.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=25)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=500)
hypothesis.settings.load_profile("quick")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """With few cores one process more than cores: many tests wait, for other processes or for a second to pass."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1 if cores <= 4 else None


def pytest_collection_finish() -> None:
    """What is imported and collected by now lives as long as the tests; the garbage collector need not look at it."""
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class Outcome:
    """How a run of `bigr` ended."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def _no_outside_settings() -> Iterator[None]:
    """No BIGR_… variable and no plugin of whoever runs the tests has a say in them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("BIGR_")]:
            patch.delenv(name)
        patch.setenv("BIGR_PLUGINS", "none")
        patch.setenv("BIGR_LOG", "off")
        yield


@pytest.fixture(autouse=True)
def _console() -> Iterator[None]:
    """Every test is heard as a command of its own, and leaves no other one quiet."""
    with console.new_command():
        yield


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh BIGR_HOME."""
    path = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("BIGR_HOME", str(path))
    return path


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that draws noise of its own for every label: 16 × 16 pixels, 4 × 4 tokens, 4 labels."""
    import torch

    from bigr_cli.core.architectures import CompactConfig, GeneratorConfig
    from bigr_cli.core.config import SamplingConfig
    from bigr_cli.core.model import BinaryModel
    from bigr_cli.zoo.config import ModelConfig
    from bigr_cli.zoo.folder import save_model

    torch.manual_seed(0)
    tokenizer = CompactConfig(16, 6, channels=(8, 16), encoder_blocks=(1, 1), decoder_blocks=(1, 1), attention_heads=2)
    sizes = {"layers": 2, "heads": 2, "dim": 16, "ffn_multiple": 8, "transcoder_layers": 1, "transcoder_width": 16}
    generator = GeneratorConfig(grid=4, bits=6, classes=4, diffusion_timesteps=16, **sizes)
    model = BinaryModel(tokenizer, generator)
    for parameter in model.parameters():  # those that start at zero would make every bit a coin's toss
        parameter.data = torch.randn_like(parameter) * 0.4
    config = ModelConfig(
        name="tiny",
        image_size=16,
        tokenizer=tokenizer,
        generator=generator,
        labels=("cat", "dog", "house", "tree"),
        sampling=SamplingConfig(steps=4, timesteps=5),
    )
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(folder, config, model.tokenizer, model.generator)
    return folder


def randomised(module: Any, seed: int = 0, scale: float = 0.5) -> Any:
    """All parameters drawn anew, so that nothing that starts as zero hides what it does."""
    import torch

    chance = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        fan_in = parameter.shape[-1] if parameter.ndim > 1 else 1
        parameter.data.normal_(0, scale * fan_in**-0.5, generator=chance)
    return module.eval()


@pytest.fixture(scope="session")
def randomise() -> Callable[..., Any]:
    return randomised


@pytest.fixture(scope="session")
def tiny_config() -> Callable[..., Any]:
    """The config of a network that a test can afford to run hundreds of times."""

    from bigr_cli.core.architectures import GeneratorConfig

    def build(**changes: Any) -> Any:
        values = dict(grid=3, bits=4, classes=5, layers=1, heads=2, dim=16, ffn_multiple=8)
        values |= dict(transcoder_layers=1, transcoder_width=8, diffusion_timesteps=8)
        return GeneratorConfig(**(values | changes))

    return build


@pytest.fixture(scope="session")
def tiny_generator(tiny_config: Callable[..., Any]) -> Callable[..., Any]:
    """A random generator, so wild that labels, masks and timesteps all matter."""

    from bigr_cli.core.network import Generator

    def build(seed: int = 0, **changes: Any) -> Any:
        return randomised(Generator(tiny_config(**changes)), seed, scale=1.5)

    return build


@pytest.fixture(scope="session")
def tiny_network(tiny_config: Callable[..., Any]) -> Any:
    """A random model of 4 × 4 tokens with 4 bits, 16-pixel images."""
    from bigr_cli.core.architectures import CompactConfig
    from bigr_cli.core.model import BinaryModel

    tokenizer = CompactConfig(image_size=16, bits=4, channels=(8, 16), encoder_blocks=(1, 1), decoder_blocks=(1, 1))
    return randomised(BinaryModel(tokenizer, tiny_config(grid=4)), scale=1.5)


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which transformers saved a T5 of random weights, 16 wide, with a tokenizer of letters."""
    transformers = pytest.importorskip("transformers")
    import torch
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    letters = ["<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz ,."]
    tokenizer = Tokenizer(models.WordLevel({letter: number for number, letter in enumerate(letters)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    marks = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    folder = tmp_path_factory.mktemp("t5") / "tiny-t5"
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **marks).save_pretrained(folder)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "num_decoder_layers": 1}
    torch.manual_seed(0)
    config = transformers.T5Config(vocab_size=len(letters), feed_forward_proj="gated-gelu", **sizes)
    transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_text_model(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """The folder of a model like `tiny_model` that reads texts of up to 32 bytes."""
    from dataclasses import replace

    import torch

    from bigr_cli.core.architectures import TextConfig
    from bigr_cli.core.network import Generator
    from bigr_cli.zoo.config import Provenance, read_config
    from bigr_cli.zoo.folder import load_tokenizer, save_model

    torch.manual_seed(1)
    config = read_config(tiny_model)
    text = TextConfig(tokens=32, width=16, layers=1, heads=2, group=4)
    sizes = replace(config.generator, classes=0, condition="text", text=text)
    generator = Generator(sizes)
    for parameter in generator.parameters():
        parameter.data = torch.randn_like(parameter) * 0.4
    folder = tmp_path_factory.mktemp("models") / "tiny-text"
    known = Provenance(data="scenes", without=("red house", "blue fish"))
    config = replace(config, name="tiny-text", generator=sizes, labels=(), provenance=known, sha256={})
    save_model(folder, config, load_tokenizer(tiny_model)[0], generator)
    return folder


@pytest.fixture
def bigr(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run `bigr` in this process: `bigr("generate", "cat", "-n", 2)`."""

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def bigr_process() -> Callable[..., Outcome]:
    """Run `bigr` in a process of its own, with these environment variables added."""

    def run(*arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "bigr_cli", *map(str, arguments)],
            capture_output=True,
            encoding="utf-8",
            env={**os.environ, **(env or {})},
            cwd=cwd,
            timeout=600,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


class Forking:
    """`forked_bigr.py` at work: processes that run `bigr` without importing torch anew each."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._begun = folder, 0
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}  # threads do not outlive a fork
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forked_bigr.py"))],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def start(self, *processes: tuple[Sequence[object], Mapping[str, str], str]) -> list["Forked"]:
        """Begin processes of words, variables that are added, and source that runs before."""
        asked, files = [], []
        for words, variables, before in processes:
            self._begun += 1
            out, err = (self._folder / f"{self._begun}-{name}.txt" for name in ("out", "err"))
            files.append((out, err))
            asked.append(
                {
                    "words": list(map(str, words)),
                    "environment": {**os.environ, **variables},
                    "folder": os.getcwd(),
                    "out": str(out),
                    "err": str(err),
                    "before": before,
                }
            )
        return [Forked(self, pid, *each) for pid, each in zip(self.ask("start", asked), files, strict=True)]

    def ask(self, what: str, values: Sequence[object]) -> list[int]:
        """The server's answer, for which it has 300 s."""
        stdin, stdout = self._server.stdin, self._server.stdout
        assert stdin is not None and stdout is not None
        watchdog = threading.Timer(300, self.end)
        watchdog.start()
        try:
            stdin.write(json.dumps({what: values}).encode() + b"\n")
            stdin.flush()
            answer = stdout.readline()
        finally:
            watchdog.cancel()
        assert answer, "the processes took too long, or their server died"
        return list(json.loads(answer))

    def end(self) -> None:
        """Kill the server and whatever it has forked."""
        with suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait()


@dataclass(frozen=True)
class Forked:
    """A process that runs `bigr`."""

    forking: Forking
    pid: int
    out: Path
    err: Path

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> Outcome:
        """How it ends; to be asked once."""
        (code,) = self.forking.ask("wait", [self.pid])
        ended = Outcome(code, *(path.read_text(encoding="utf-8") for path in (self.out, self.err)))
        assert code != -signal.SIGKILL or "most recent call first" not in ended.err, f"did not end:\n{ended.err}"
        return ended


@pytest.fixture(scope="session")
def _forking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forking]:
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    forking = Forking(tmp_path_factory.mktemp("forking"))
    yield forking
    forking.end()


@pytest.fixture
def bigr_forked(_forking: Forking) -> Callable[..., Forked]:
    """Begin a `bigr` in a process of its own, which has imported torch already."""
    return lambda *words: _forking.start((words, {}, ""))[0]


@pytest.fixture
def together(_forking: Forking) -> Callable[..., list[Outcome]]:
    """Run `bigr` in several processes that meet as those of torchrun do: at a store that their launcher keeps.

    `before` has Python source that some of them run first, by their ranks.
    """
    from torch.distributed import TCPStore

    def run(count: int, *words: object, before: Mapping[int, str] | None = None) -> list[Outcome]:
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        common = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
        common |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0", "OMP_NUM_THREADS": "1"}
        ranks = [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
        running = _forking.start(*((words, each, (before or {}).get(n, "")) for n, each in enumerate(ranks)))
        return [process.wait() for process in running]

    return run
