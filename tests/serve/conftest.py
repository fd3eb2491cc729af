"""Servers that run in this process, each with a client that has the token."""

import asyncio
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

httpx = pytest.importorskip("httpx")
uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

import bigr_cli  # noqa: E402
from bigr_cli.serve.app import State, application  # noqa: E402
from bigr_cli.serve.guard import Limits  # noqa: E402
from bigr_cli.serve.server import Listening, bound, configured, opened  # noqa: E402

TOKEN = "the-token-of-the-tests"


@dataclass
class Running:
    """A server that runs."""

    port: int
    state: State
    client: Any

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def serving(folder: Path, limits: Limits | None = None, **more: Any) -> Iterator[Running]:
    """A server for the model in a folder."""
    limits = limits or Limits()
    state = opened(bigr_cli.load(folder, device="cpu", dtype="float32"), limits, **more)
    taken = bound(Listening())
    server = uvicorn.Server(configured(application(state, token=TOKEN, host="127.0.0.1"), limits))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[taken])))
    thread.start()
    port = taken.getsockname()[1]
    headers = {"authorization": f"Bearer {TOKEN}"}
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
            yield Running(port, state, client)
    finally:
        server.should_exit = True
        thread.join(20)
        state.worker.close()
        taken.close()


@pytest.fixture(scope="session")
def server(tiny_model: Path) -> Iterator[Running]:
    """A server with the tiny model and the usual limits."""
    with serving(tiny_model) as running:
        yield running


@pytest.fixture
def serve_with(tiny_model: Path) -> Callable[..., AbstractContextManager[Running]]:
    """Servers with other limits: `with serve_with(queue=2) as server`."""

    def start(*, folder: Path = tiny_model, images: Any = (), **limits: Any) -> AbstractContextManager[Running]:
        return serving(folder, Limits(**limits), images=images)

    return start


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A PNG file of 40 × 30 pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    return png(Image.fromarray(pixels))


@pytest.fixture(scope="session")
def mask() -> bytes:
    """A PNG file of the same size, white in a box."""
    levels = np.zeros((30, 40), np.uint8)
    levels[8:20, 10:25] = 255
    return png(Image.fromarray(levels))
