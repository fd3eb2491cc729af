"""`bigr` where something of what programs take for granted is missing: streams, an encoding, a home, shared memory."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from bigr_cli import console, home, streams

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX shells, signals and user ids")

BIGR = f"{sys.executable} -m bigr_cli"
Shell = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def shell(tmp_path: Path, tiny_model: Path) -> Shell:
    """Run a line of a shell, in which `bigr` stands for this one, with the tiny model."""

    def run(line: str, *, env: dict[str, str] | None = None, without: tuple[str, ...] = ()) -> object:
        given = {**os.environ, "BIGR_MODEL": str(tiny_model), **(env or {})}
        given = {name: value for name, value in given.items() if name not in without}
        words = ["bash", "-c", line.replace("bigr ", f"{BIGR} ")]
        return subprocess.run(
            words, cwd=tmp_path, env=given, capture_output=True, text=True, errors="replace", timeout=300, check=False
        )

    return run


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-"])
def test_closed_streams(closed: str, shell: Shell) -> None:
    done = shell(f"bigr models show {closed}")
    assert done.returncode == 0, done.stderr
    assert ("tiny" in done.stdout) == (closed != ">&-")
    assert done.stderr == ""


def test_images_are_made_with_all_streams_closed(shell: Shell, tmp_path: Path) -> None:
    done = shell("bigr generate cat --seed 1 -o x.png <&- >&- 2>&-")
    assert done.returncode == 0
    with Image.open(tmp_path / "x.png") as image:
        image.load()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.png"]


def test_images_do_not_go_to_a_closed_stdout(shell: Shell) -> None:
    done = shell("bigr generate cat -o - >&-")
    assert done.returncode == 2 and "stdout is closed" in done.stderr


def test_a_stderr_that_nobody_reads_ends_nothing(shell: Shell, tmp_path: Path) -> None:
    done = shell("{ bigr generate cat -n 3 -o out/; echo $? > code; } 2>&1 >/dev/null | true")
    assert done.returncode == 0
    assert (tmp_path / "code").read_text() == "0\n"
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_figures_that_stdout_cannot_take_go_to_stderr(shell: Shell) -> None:
    for json in ("", "--json"):
        done = shell(f"bigr models show {json} > /dev/full")
        assert done.returncode == 1
        assert "stdout cannot be written (No space left on device)" in done.stderr and "tiny" in done.stderr
        assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_characters_that_the_encoding_lacks_become_question_marks(
    shell: Shell, tmp_path: Path, tiny_model: Path
) -> None:
    shutil.copytree(tiny_model, tmp_path / "m")
    config = tmp_path / "m" / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("cat", "Käse 猫"), encoding="utf-8")
    posix = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""}
    for env in ({"PYTHONIOENCODING": "ascii"}, posix):
        done = shell("bigr models labels m; bigr --help", env=env)
        assert done.returncode == 0, done.stderr
        assert "K?se ?" in done.stdout and done.stdout.isascii() and done.stderr == ""


def test_without_a_home_directory(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import platformdirs

    def unknown(*_: object, **__: object) -> Path:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("BIGR_HOME")
    for lost in (unknown, lambda *_, **__: Path("~/.cache/bigr")):
        monkeypatch.setattr(platformdirs, "user_data_path", lost)
        monkeypatch.setattr(platformdirs, "user_cache_path", lost)
        assert home.data_dir() == home.cache_dir()
        assert not home.data_dir().exists()
        with pytest.raises(OSError):
            home.data_dir().mkdir(parents=True)
        assert home.hint_for(f"{home.cache_dir() / 'x'}: cannot be written") == home.HINT
        assert "BIGR_HOME" in home.shown(home.data_dir())
    assert home.hint_for("photo.png: cannot be written") is None


def test_a_home_that_cannot_be_written_costs_no_figures(
    bigr: Callable, tmp_path: Path, monkeypatch, tiny_model
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BIGR_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("BIGR_MODEL", str(tiny_model))
    monkeypatch.chdir(tmp_path)
    words = ("evaluate", "generation", "-n", 8, "--steps", 2, "--reference", "scenes", "--reference-count", 8)
    done = bigr(*words, "--metrics", "fid", "--features", tiny_model, "--resize", 16)
    assert done.code == 0 and "FID" in done.out, done.err
    assert done.err.count("samples cannot be kept") == 1 and "BIGR_HOME" in done.err
    refused = bigr("models", "default", tiny_model)
    assert refused.code == 1 and "hint: BIGR_HOME=DIR names a folder" in refused.err


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody else")
def test_a_user_id_without_an_account(shell: Shell, tmp_path: Path, tiny_model: Path) -> None:
    caps = "--inh-caps +dac_read_search --ambient-caps +dac_read_search"  # tests may lie where only root looks
    become = f"setpriv --reuid 54321 --regid 54321 --clear-groups {caps}"
    if shell(f"{become} true").returncode:
        pytest.skip("needs setpriv and its capabilities")
    tmp_path.chmod(0o777)
    done = shell(f"{become} bigr doctor && {become} bigr generate cat --seed 1 -o u.png", without=("HOME", "BIGR_HOME"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "u.png").stat().st_uid == 54321
    assert "no home directory is known" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["u.png"]


@pytest.mark.slow
def test_too_little_shared_memory_is_an_error_that_ends(shell: Shell, tmp_path: Path) -> None:
    mounted = "unshare -m bash -c 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec \"$@\"' _ "
    if shell(f"{mounted} true").returncode:
        pytest.skip("needs to mount file systems")
    assert shell("bigr data scenes --count 80 -o s").returncode == 0
    done = shell(
        f"{mounted} timeout -k 5 120 bigr train-tokenizer --data s tokenizer.architecture=compact "
        "tokenizer.image_size=64 run.steps=2 run.batch=64 run.validate_every=100 data.validation=4 data.workers=2 -o a"
    )
    assert done.returncode == 1
    assert "/dev/shm has 1.0 MB of shared memory free" in done.stderr and "data.workers=0" in done.stderr


def test_quiet_silences_libraries(caplog: pytest.LogCaptureFixture) -> None:
    for quiet in (True, False):
        with warnings.catch_warnings(record=True) as seen, console.quiet_libraries():
            console.configure(quiet=quiet)
            warnings.warn("from a library", stacklevel=1)
            logging.getLogger("a-library").warning("logged by a library")
        assert bool(seen) == bool(caplog.records) == (not quiet)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_during_imports_end_quietly(number: signal.Signals, tmp_path: Path) -> None:
    slow = tmp_path / "torch"
    slow.mkdir()
    (slow / "__init__.py").write_text(
        "import time\nopen('begun', 'w').close()\n"
        "try:\n    time.sleep(60)\nexcept BaseException as error:\n"
        "    raise ImportError('broken') from error\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(streams.__file__).parents[1]}"}
    words = [sys.executable, "-m", "bigr_cli", "generate", "cat", "-o", "x.png"]
    running = subprocess.Popen(
        words,
        cwd=tmp_path,
        env=environment,
        stdout=-1,
        stderr=-1,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # a shell has its background jobs ignore Ctrl-C
    )
    while not (tmp_path / "begun").exists():
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    running.send_signal(number)
    out, err = running.communicate(timeout=30)
    assert running.returncode == (130 if number == signal.SIGINT else -number)
    assert (out, err) == ("", "")
