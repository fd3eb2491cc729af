"""`bigr serve` as a command."""

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_it_prints_its_address_serves_and_ends_with_ctrl_c(tiny_model: Path, photo: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(photo)
    words = [sys.executable, "-m", "bigr_cli", "serve", str(tiny_model), str(tmp_path), "--device", "cpu"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ.copy())
    try:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        found = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/\?token=([\w-]{40,})", line)
        assert found, line
        with urllib.request.urlopen(line) as page:
            assert b"<title>bigr</title>" in page.read()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(found[1])
        request = urllib.request.Request(f"{found[1]}/api/v1/images", headers={"Authorization": f"Bearer {found[2]}"})
        with urllib.request.urlopen(request) as answer:
            assert b"a.png" in answer.read()
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode in (0, 130)
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "--token"),
        (["--host", "192.168.1.7"], "--token"),
        (["--host", "::"], "--token"),
        (["--token", "short"], "at least 8"),
        (["--host", "no.such.host.invalid", "--token", "long enough"], "no address of this machine"),
        (["no-such-model"], "unknown model"),
        (["-m", "{model}", "nothing.png"], "nothing.png"),
        (["-m", "{model}", "-"], "stdin"),
    ],
)
def test_mistakes_are_named(bigr: Callable[..., Any], tiny_model: Path, words: list[str], said: str) -> None:
    model = [] if "-m" in words or words[0] == "no-such-model" else [str(tiny_model)]
    outcome = bigr("serve", *model, *(word.format(model=tiny_model) for word in words))
    assert outcome.code == 2
    assert said in outcome.err


def test_a_port_that_is_taken_is_named(bigr: Callable[..., Any], server: Any, tiny_model: Path) -> None:
    outcome = bigr("serve", tiny_model, "--port", server.port)
    assert outcome.code == 2 and str(server.port) in outcome.err


def test_without_its_libraries_it_says_how_to_get_them(
    bigr: Callable[..., Any], tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "starlette", None)
    outcome = bigr("serve", tiny_model)
    assert outcome.code == 2
    assert "pip install 'bigr-cli[web]'" in outcome.err


def test_nothing_of_it_is_imported_unless_asked_for() -> None:
    script = (
        "import sys\nfrom bigr_cli.app import main\nmain(['--help'])\n"
        "heavy = ('starlette', 'uvicorn', 'anyio', 'bigr_cli.serve')\n"
        "found = [name for name in sys.modules if name.startswith(heavy)]\n"
        "sys.exit(str(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
