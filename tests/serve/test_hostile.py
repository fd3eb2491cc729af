"""Requests that no well-meaning client sends: each is refused with the right status, and others are served on."""

import base64
import io
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

MIB = 2**20


@pytest.fixture(autouse=True)
def _others_are_served_on(server: Any) -> Iterator[None]:
    yield
    assert server.client.post("/api/v1/generate", json={"prompts": ["cat"], "steps": 1}).status_code == 200


def raw(server: Any, request: bytes, *, wait: float = 10.0) -> bytes:
    """What the server answers to these bytes, until it closes the connection or says no more."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait) as connection:
        connection.sendall(request)
        answer = b""
        try:
            while chunk := connection.recv(65536):
                answer += chunk
                head, end, body = answer.partition(b"\r\n\r\n")
                if end and b"content-length" in head.lower():
                    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                    if len(body) >= length:
                        return answer
        except TimeoutError:
            pass
        return answer


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "localhost.evil", "[::1", "a b", "10.0.0.1"],
)
@pytest.mark.parametrize("path", ["/", "/api/v1/models", "/v1/models", "/nothing"])
def test_a_rebound_host_is_refused(server: Any, host: str, path: str) -> None:
    address = f"{path}?token={server.client.headers['authorization'].split()[1]}"
    answer = server.client.get(address, headers={"host": host})
    assert answer.status_code in (400, 403)  # h11 itself refuses what is no name
    assert "token" not in answer.text


def test_names_of_this_machine_are_fine(server: Any) -> None:
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80"):
        assert server.client.get("/api/v1/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost", "file://"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_foreign_origin_is_refused(server: Any, origin: str, method: str) -> None:
    answer = server.client.request(method, "/api/v1/jobs", headers={"origin": origin})
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_pages_own_origin_is_fine(server: Any) -> None:
    own = {"origin": server.address, "sec-fetch-site": "same-origin"}
    assert server.client.get("/api/v1/models", headers=own).status_code == 200
    assert server.client.get("/api/v1/models", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert server.client.get("/api/v1/models", headers={"sec-fetch-site": "same-site"}).status_code == 403


@pytest.mark.parametrize("given", [None, "Bearer", "Bearer wrong", "Basic dG9rZW4=", "Bearer ünïcode"])
def test_without_the_token_nothing_is_told(server: Any, given: str | None) -> None:
    headers = {"authorization": b"" if given is None else given.encode("latin-1")}
    for method, path in (("GET", "/"), ("GET", "/api/v1/models"), ("POST", "/api/v1/generate"), ("GET", "/v1/models")):
        answer = server.client.request(method, path, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "token"
        assert "scenes" not in answer.text and "tiny" not in answer.text


def test_the_token_in_the_address_opens_the_page_alone(server: Any) -> None:
    token = server.client.headers["authorization"].split()[1]
    nobody = {"authorization": ""}
    assert server.client.get(f"/?token={token}", headers=nobody).status_code == 200
    assert server.client.get("/?token=wrong", headers=nobody).status_code == 401
    assert server.client.get(f"/api/v1/models?token={token}", headers=nobody).status_code == 401


def test_two_gigabytes_are_refused_before_they_come(server: Any) -> None:
    before = psutil.Process().memory_info().rss
    head = _head(server, "/api/v1/enrich", 2 * 1024 * MIB)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head)
        with pytest.raises(OSError):
            for _ in range(512):
                connection.sendall(b"x" * MIB)
            raise AssertionError("the server goes on taking a body that it has refused")
        answer = connection.recv(65536)
    assert status(answer) == 413
    assert psutil.Process().memory_info().rss - before < 64 * MIB


def test_a_body_without_a_length_is_counted(serve_with: Callable[..., Any]) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 65536

    with serve_with(body=MIB) as server:
        answer = server.client.post("/api/v1/generate", content=chunks(), headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "too_large"
        assert server.state.budget.used == 0


def test_requests_that_are_received_share_a_budget(serve_with: Callable[..., Any]) -> None:
    with serve_with(body=MIB, held=MIB) as server:
        head = _head(server, "/api/v1/generate", MIB)
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as slow:
            slow.sendall(head + b" " * (MIB - 10))
            for _ in range(100):
                if server.state.budget.used > MIB // 2:
                    break
                time.sleep(0.05)
            answer = server.client.post("/api/v1/generate", content=b" " * 200_000)
            assert answer.status_code == 503
        for _ in range(100):
            if server.state.budget.used == 0:
                break
            time.sleep(0.05)
        assert server.state.budget.used == 0


def _head(server: Any, path: str, length: int) -> bytes:
    token = server.client.headers["authorization"]
    lines = [f"POST {path} HTTP/1.1", "host: localhost", f"authorization: {token}", "content-type: application/json"]
    return "\r\n".join([*lines, f"content-length: {length}", "", ""]).encode()


def bomb(width: int, height: int) -> bytes:
    """A PNG file of a few kilobytes that says it has so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(100_000)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [5_000, 30_000, 2**30])
@pytest.mark.parametrize("where", ["image", "mask", "display"])
def test_bombs_are_refused(server: Any, photo: bytes, side: int, where: str) -> None:
    before = psutil.Process().memory_info().rss
    if where == "display":
        answer = server.client.post("/api/v1/display", content=bomb(side, side))
    else:
        files = {"image": ("photo.png", photo), "mask": ("mask.png", photo)} | {where: ("bomb.png", bomb(side, side))}
        answer = server.client.post("/api/v1/inpaint", files=files)
    assert answer.status_code == 413, answer.text
    assert psutil.Process().memory_info().rss - before < 64 * MIB


def test_results_that_would_be_too_large_are_refused(server: Any, photo: bytes, mask: bytes) -> None:
    for task, fields in (
        ("outpaint", {"right": "100000000"}),
        ("outpaint", {"size": "60000x60000"}),
        ("enrich", {"scale": "16", "window": "100000"}),
        ("inpaint", {"window": "100000"}),
        ("inpaint", {"best_of": "1024", "window": "1000"}),
        ("edit", {"class": "cat", "window": "90000"}),
        ("interpolate", {"frames": "10000"}),
        ("interpolate", {"refine": "10000"}),
    ):
        files: Any = {"image": ("photo.png", photo)}
        if task == "inpaint":
            files["mask"] = ("mask.png", mask)
        if task == "interpolate":
            files = [("images", ("a.png", photo)), ("images", ("b.png", photo))]
        answer = server.client.post(f"/api/v1/{task}", files=files, data=fields)
        assert answer.status_code in (413, 422), (task, fields, answer.text)


BROKEN = [
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b'{"seed": NaN}',
    b'{"a": ' * 100_000,
    b'{"seed": ' + b"9" * 5_000 + b"}",
    json.dumps("x" * 100).encode(),
]


@pytest.mark.parametrize("body", BROKEN)
def test_malformed_json_is_refused(server: Any, body: bytes) -> None:
    for path in ("/api/v1/generate", "/v1/images/generations"):
        answer = server.client.post(path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["code"] == "json"
        assert "Traceback" not in answer.text


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("generate", {}),
    ("generate", {"prompts": []}),
    ("generate", {"prompts": "cat"}),
    ("generate", {"prompts": ["cat"], "prompt": "cat"}),
    ("generate", {"prompt": ["cat"]}),
    ("generate", {"prompts": ["catt"]}),
    ("generate", {"prompts": [["cat"]]}),
    ("generate", {"prompts": [True]}),
    ("generate", {"prompts": ["cat"] * 65}),
    ("generate", {"prompts": ["cat"], "count": 0}),
    ("generate", {"prompts": ["cat"], "count": 10**9}),
    ("generate", {"prompts": ["cat"], "count": "2"}),
    ("generate", {"prompts": ["cat"], "seed": -1}),
    ("generate", {"prompts": ["cat"], "seed": 2**63}),
    ("generate", {"prompts": ["cat"], "seed": 10**400}),
    ("generate", {"prompts": ["cat"], "seed": 1.5}),
    ("generate", {"prompts": ["cat"], "steps": 10**9}),
    ("generate", {"prompts": ["cat"], "timesteps": 10**9}),
    ("generate", {"prompts": ["cat"], "guidance": -1}),
    ("generate", {"prompts": ["cat"], "guidance_interval": [0.8, 0.1]}),
    ("generate", {"prompts": ["cat"], "order": "entrpy"}),
    ("generate", {"prompts": ["cat"], "output": "/tmp/here.png"}),
    ("generate", {"prompts": ["cat"], "model": "other"}),
    ("inpaint", {}),
    ("inpaint", {"image": "not base64!"}),
    ("inpaint", {"image": 7}),
    ("inpaint", {"image": "http://169.254.169.254/latest"}),
    ("inpaint", {"image": "file:///etc/passwd"}),
    ("inpaint", {"image": "/etc/passwd"}),
    ("inpaint", {"image": "../../etc/passwd"}),
    ("inpaint", {"image": base64.b64encode(b"no image").decode()}),
    ("interpolate", {"stops": ["cat"]}),
    ("interpolate", {"stops": ["cat", "dog"], "fps": 1e400}),
]


@pytest.mark.parametrize(("task", "body"), WRONG)
def test_what_the_task_does_not_take_is_named(server: Any, task: str, body: dict[str, Any]) -> None:
    content = json.dumps(body).replace("Infinity", "1e400")
    answer = server.client.post(f"/api/v1/{task}", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["message"]
    assert "Traceback" not in answer.text and "bigr_cli" not in answer.text


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "..\\..\\x.png", "-o", "a\x1b[31m.png", "x" * 5000, "", "..", "a\nb.png"]
)
def test_names_of_clients_are_names_only(server: Any, photo: bytes, name: str) -> None:
    body = {"image": base64.b64encode(photo).decode(), "image_name": name, "steps": 1}
    (made,) = server.client.post("/api/v1/enrich", json=body).json()["images"]
    assert made["name"].isprintable() and "/" not in made["name"] and len(made["name"]) < 260
    assert made["recipe"]["options"]["image"] in ("passwd", "x.png", "image.png")


@pytest.mark.parametrize("each", [50, pytest.param(1250, marks=pytest.mark.slow)])
def test_ten_thousand_jobs_do_not_queue(serve_with: Callable[..., Any], each: int) -> None:
    with serve_with(queue=8) as server:
        release = _held_up(server)
        before = psutil.Process().memory_info().rss
        statuses: list[int] = []

        def ask() -> None:
            with server.client.__class__(base_url=server.address, headers=server.client.headers, timeout=60) as client:
                for _ in range(each):
                    body = {"prompts": ["cat"], "count": 64}
                    answer = client.post("/api/v1/generate", json=body, headers={"prefer": "respond-async"})
                    statuses.append(answer.status_code)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses.count(202) == 8
        assert statuses.count(429) == 8 * each - 8
        assert len(server.state.jobs) == 8
        assert psutil.Process().memory_info().rss - before < 32 * MIB
        refused = server.client.post("/api/v1/generate", json={"prompts": ["cat"]})
        assert refused.headers["retry-after"] and refused.json()["error"]["code"] == "queue_full"
        for job in server.state.jobs.open():
            server.client.delete(f"/api/v1/jobs/{job.id}")
        release()
        assert server.client.post("/api/v1/generate", json={"prompts": ["cat"]}).status_code == 200


def _held_up(server: Any) -> Callable[[], None]:
    """Let the worker stand still until the function that comes back is called."""
    worker, gate = server.state.worker, threading.Event()
    take = worker._next

    def slowly() -> Any:
        gate.wait(60)
        return take()

    worker._next = slowly
    return gate.set


def test_slow_headers_are_given_up(serve_with: Callable[..., Any]) -> None:
    with serve_with(receive=0.5) as server:
        started = time.monotonic()
        answer = raw(server, b"GET / HTTP/1.1\r\nhost: loc")
        assert status(answer) == 408
        assert time.monotonic() - started < 5
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as idle:
            assert status(idle.recv(1000)) == 408


def test_slow_bodies_are_given_up(serve_with: Callable[..., Any]) -> None:
    with serve_with(receive=0.5) as server:
        answer = raw(server, _head(server, "/api/v1/generate", 1000) + b"{")
        assert status(answer) == 408
        assert server.state.budget.used == 0


def test_clients_that_do_not_read_are_cut_off(serve_with: Callable[..., Any]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1600, 1600, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "BMP")
    with serve_with(receive=0.5) as server:
        head = _head(server, "/api/v1/display", len(buffer.getvalue())).replace(b"application/json", b"image/bmp")
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(("127.0.0.1", server.port))
            slow.sendall(head + buffer.getvalue())
            assert _open_at(server) == 1
            assert _wait(lambda: _open_at(server) == 0)
        assert server.client.get("/api/v1/models").status_code == 200


def _open_at(server: Any) -> int:
    """How many connections the server has."""
    return sum(
        connection.laddr.port == server.port and connection.status == "ESTABLISHED"
        for connection in psutil.Process().net_connections("tcp")
        if connection.raddr and connection.laddr
    )


def _wait(holds: Callable[[], bool], seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.1)
    return False


def test_too_many_connections_are_turned_away(serve_with: Callable[..., Any]) -> None:
    with serve_with(connections=4, receive=1.0) as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
        time.sleep(0.3)
        assert server.client.get("/api/v1/models").status_code == 503
        assert _wait(lambda: server.client.get("/api/v1/models").status_code == 200)
        for connection in idle:
            connection.close()


def test_what_fails_inside_is_not_told(server: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    def broken(self: Any) -> Any:
        raise RuntimeError("a secret of the inside")

    from bigr_cli.serve.app import State

    with monkeypatch.context() as patch:
        patch.setattr(State, "described", broken)
        answer = server.client.get("/api/v1/models")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "a secret of the inside" in capfd.readouterr().err


def test_a_job_that_fails_inside_fails_alone(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import bigr_cli.serve.operations as module

    genuine = module.generate

    def broken(network: Any, label: Any, *more: Any, **others: Any) -> Any:
        if label == 1:
            raise RuntimeError("a secret of the inside")
        return genuine(network, label, *more, **others)

    with monkeypatch.context() as patch:
        patch.setattr(module, "generate", broken)
        answer = server.client.post("/api/v1/generate", json={"prompts": ["dog"]})
        other = server.client.post("/api/v1/generate", json={"prompts": ["cat"]})
    assert answer.status_code == 500 and "secret" not in answer.text
    assert other.status_code == 200


def test_compressed_bodies_and_unknown_types_are_refused(server: Any) -> None:
    zipped = zlib.compress(bytes(10 * MIB))
    headers = {"content-type": "application/json", "content-encoding": "deflate"}
    assert server.client.post("/api/v1/generate", content=zipped, headers=headers).status_code == 415
    assert (
        server.client.post("/api/v1/generate", content=b"<a/>", headers={"content-type": "text/xml"}).status_code == 415
    )


@pytest.mark.parametrize("body", [b"", b"--x\r\n", b"--x\r\ncontent-disposition: form-data\r\n\r\nq\r\n--x--\r\n"])
def test_damaged_forms_are_refused(server: Any, body: bytes) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert server.client.post("/api/v1/enrich", content=body, headers=headers).status_code in (400, 422)
    headers = {"content-type": "multipart/form-data"}
    assert server.client.post("/api/v1/enrich", content=body, headers=headers).status_code == 400


def test_every_answer_has_the_headers_that_browsers_heed(server: Any) -> None:
    for path in ("/", "/api/v1/models", "/nothing", "/api/v1/jobs/none"):
        answer = server.client.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "server" not in answer.headers
