"""Which names a server answers to, by where it listens."""

import asyncio
from typing import Any

import pytest

from bigr_cli.serve.guard import Guard, is_loopback


def status(guard: Guard, host: str, **headers: str) -> int:
    """What the guard answers to a request under this name, with the token."""
    found: list[int] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])

    given = {"host": host, "authorization": "Bearer secret", **headers}
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/models",
        "query_string": b"",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()],
    }
    asyncio.run(guard(scope, receive, send))  # type: ignore[arg-type]
    return found[0]


async def fine(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(
    ("bound", "host", "expected"),
    [
        ("127.0.0.1", "127.0.0.1:80", 200),
        ("127.0.0.1", "localhost:80", 200),
        ("127.0.0.1", "192.168.1.5", 403),
        ("127.0.0.1", "box.lan", 403),
        ("0.0.0.0", "192.168.1.5:8000", 200),
        ("0.0.0.0", "[fe80::1]:8000", 200),
        ("0.0.0.0", "box.lan:8000", 200),
        ("0.0.0.0", "BOX.LAN", 200),
        ("0.0.0.0", "evil.example", 403),
        ("box.lan", "box.lan:8000", 200),
        ("::", "evil.example:8000", 403),
    ],
)
def test_names_by_where_it_listens(bound: str, host: str, expected: int) -> None:
    allowed = ["box.lan"] if bound == "0.0.0.0" else []
    assert status(Guard(fine, token="secret", host=bound, allowed=allowed), host) == expected


@pytest.mark.parametrize(
    ("origin", "expected"),
    [("http://127.0.0.1:80", 200), ("http://127.0.0.1", 403), ("ftp://127.0.0.1:80", 403), ("null", 403), ("", 403)],
)
def test_an_origin_is_the_servers_own(origin: str, expected: int) -> None:
    assert status(Guard(fine, token="secret", host="127.0.0.1"), "127.0.0.1:80", origin=origin) == expected


def test_the_address_that_a_browser_is_started_with_works_once() -> None:
    answers: list[Any] = []

    async def send(message: Any) -> None:
        answers.append(message)

    guard = Guard(fine, token="a secret & more", host="127.0.0.1", once="only-once")
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"127.0.0.1")]}
    for query in (b"once=wrong", b"once=only-once", b"once=only-once"):
        asyncio.run(guard({**scope, "query_string": query}, None, send))  # type: ignore[arg-type]
    starts = [message for message in answers if message["type"] == "http.response.start"]
    assert [message["status"] for message in starts] == [401, 303, 401]
    location = dict(starts[1]["headers"])[b"location"]
    assert location == b"/?token=a+secret+%26+more"
    asyncio.run(guard({**scope, "query_string": location[2:]}, None, send))  # type: ignore[arg-type]
    assert answers[-2]["status"] == 200


def test_loopback_is_what_this_machine_alone_reaches() -> None:
    assert [is_loopback(host) for host in ("localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]")] == [True] * 5
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.5", "box.lan", "")] == [False] * 5
