"""A model hub of this machine alone: as much of its protocol as pulling and pushing need."""

import base64
import hashlib
import json
import socket
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

COMMIT = "c0ffee" * 6 + "c0ff"


class FakeHub:
    """What the hub has and how it behaves, and what was asked of it.

    `files` are bytes by "owner/name/path". `claims` are ETag and size told in place of the true ones; `refusals` are
    status and X-Error-Code by repository. `cuts` close the connection after so many bytes of a file, once each;
    `ranges` says whether parts of files can be asked for. `down` closes every connection, and the hub goes down once
    the file `falls_with` was asked for. `nameless` leaves out all that tells a hub. `compressed` has bodies that are
    sent as gzip in place of a file's bytes. `sent` counts the bytes of each
    file that went out.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.claims: dict[str, tuple[str, int]] = {}
        self.refusals: dict[str, tuple[int, str]] = {}
        self.cuts: dict[str, list[int]] = {}
        self.down = self.nameless = False
        self.falls_with = ""
        self.compressed: dict[str, bytes] = {}
        self.ranges = True
        self.sent: Counter[str] = Counter()
        self.asked: list[str] = []
        self.tokens: dict[str, str | None] = {}
        self.server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def add(self, repository: str, folder: Path) -> None:
        """Put the files of a folder into a repository."""
        for path in folder.iterdir():
            if path.is_file():
                self.files[f"{repository}/{path.name}"] = path.read_bytes()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Says nothing of clients that hang up: said by a thread, it would garble the stderr that a test reads."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = unquote(self.path)
        self.hub.asked.append(f"{self.command} {path}")
        if self.hub.down:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif path.startswith("/cdn/"):
            self.hub.tokens["cdn"] = self.headers["Authorization"]
            self.content(path.removeprefix("/cdn/"))
        elif "/resolve/" in path:
            self.hub.tokens["hub"] = self.headers["Authorization"]
            repository, _, rest = path[1:].partition("/resolve/")
            self.resolve(repository, f"{repository}/{rest.partition('/')[2]}")
        elif path.startswith("/api/models/"):
            owner, name, *kind = path.removeprefix("/api/models/").split("/")[:3]
            self.describe(f"{owner}/{name}", kind)
        else:
            self.reply(404)

    def describe(self, repository: str, kind: list[str]) -> None:
        """Which files a repository has: their names, or all about them (`tree`)."""
        files = {
            name.removeprefix(f"{repository}/"): content
            for name, content in self.hub.files.items()
            if name.startswith(f"{repository}/")
        }
        if not files:
            self.reply(404, {"X-Error-Code": "RepoNotFound"})
        elif kind == ["tree"]:
            hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
            large = {name: {"oid": hashes[name], "size": len(files[name]), "pointerSize": 130} for name in files}
            entries = [
                {"type": "file", "path": name, "oid": hashes[name][:40], "size": len(files[name]), "lfs": large[name]}
                for name in files
            ]
            self.reply(200, json=entries)
        else:
            self.reply(200, json={"id": repository, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]})

    def resolve(self, repository: str, name: str) -> None:
        """Send on to where large files are, as the hub does for all that are in LFS."""
        hub = self.hub
        if repository in hub.refusals:
            status, code = hub.refusals[repository]
            self.reply(status, {"X-Error-Code": code} if code else {})
        elif not any(file.startswith(f"{repository}/") for file in hub.files):
            self.reply(404, {"X-Error-Code": "RepoNotFound"})
        elif name not in hub.files:
            self.reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        elif hub.nameless:
            self.reply(200)
        else:
            content = hub.files[name]
            # Hashed only where nothing is claimed: for gigabytes it takes longer than a client waits.
            etag, size = hub.claims.get(name) or (hashlib.sha256(content).hexdigest(), len(content))
            headers = {"X-Repo-Commit": COMMIT, "X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(size)}
            self.reply(302, {**headers, "Location": f"http://localhost:{hub.port}/cdn/{name}"})

    def content(self, name: str) -> None:
        if name in self.hub.compressed:
            body = self.hub.compressed[name]
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        content = self.hub.files[name]
        wanted = self.headers["Range"] if self.hub.ranges else None
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        if start >= len(content):
            self.reply(416)
            return
        body = content[start:]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body)))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        cuts = self.hub.cuts.get(name, [])
        if cuts:
            body = body[: cuts.pop(0)]
            self.close_connection = True
        self.wfile.write(body)
        self.hub.sent[name] += len(body)
        if name == self.hub.falls_with:
            self.hub.down = True

    def do_POST(self) -> None:
        """Make a repository, say how files are to be sent, and take them."""
        data = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.hub.asked.append(f"POST {self.path}")
        if self.headers["Authorization"] is None:
            self.reply(401)
        elif self.path == "/api/repos/create":
            wanted = json.loads(data)
            name = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
            self.reply(200, json={"url": f"{self.hub.url}/{name}", "private": wanted.get("private")})
        elif "/preupload/" in self.path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(data)["files"]
            ]
            self.reply(200, json={"files": files})
        elif "/commit/" in self.path:
            repository = self.path.removeprefix("/api/models/").partition("/commit/")[0]
            for line in data.decode().splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    value = entry["value"]
                    self.hub.files[f"{repository}/{value['path']}"] = base64.b64decode(value["content"])
            address = f"{self.hub.url}/{repository}/commit/{COMMIT}"
            self.reply(200, json={"success": True, "commitOid": COMMIT, "commitUrl": address})
        else:
            self.reply(200, json={})

    def reply(self, status: int, headers: dict[str, str] | None = None, json: Any = None) -> None:
        body = b"" if json is None else _dumps(json)
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _dumps(value: Any) -> bytes:
    return json.dumps(value).encode()
