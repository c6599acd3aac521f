"""A hub on 127.0.0.1: the API and the downloads that huggingface_hub asks for, which can break off half-way."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import unquote, urlsplit

REVISION = "a6f2" * 10
REPOSITORY = "org/tiny"
LARGE = 1000
"""Files from this size on are stored by their sha256 (LFS), smaller ones as git objects."""


def git_object(content: bytes) -> str:
    """The id that git gives a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@dataclass
class Hub:
    """What the hub holds, how it behaves, and what it was asked."""

    files: dict[str, bytes]
    token: str = ""
    """The only token that is let in; "" lets everybody in."""
    cut_after: int = 0
    """Bytes of each large download after which the connection breaks, while `cuts` lasts."""
    cuts: int = 0
    lies: dict[str, bytes] = field(default_factory=dict)
    """Contents that are sent in place of the listed ones."""
    sent: int = 0
    asked: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""

    def siblings(self) -> list[dict[str, object]]:
        """The listing with sizes and hashes."""
        told: list[dict[str, object]] = []
        for name, content in self.files.items():
            entry: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": git_object(content)}
            if len(content) >= LARGE:
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
            told.append(entry)
        return told


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    hub: ClassVar[Hub]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, hub = unquote(urlsplit(self.path).path), self.hub
        with hub.lock:
            hub.asked.append(path)
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self.refuse(401, "GatedRepo" if path.startswith("/api") else "")
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            if found[1] != REPOSITORY:
                return self.refuse(404, "RepoNotFound")
            if found[2] not in (None, REVISION):
                return self.refuse(404, "RevisionNotFound")
            told = {"id": REPOSITORY, "modelId": REPOSITORY, "sha": REVISION, "siblings": hub.siblings(), "tags": []}
            return self.answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"})
        if found := re.fullmatch(rf"/{REPOSITORY}/resolve/{REVISION}/(.+)", path):
            return self.download(found[1])
        return self.refuse(404, "EntryNotFound")

    def download(self, name: str) -> None:
        content = self.hub.lies.get(name, self.hub.files[name])
        start = 0
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(asked[1])
            with self.hub.lock:
                self.hub.ranges.append(f"{name} from {start}")
        listed = self.hub.files[name]
        large = len(listed) >= LARGE
        headers = {"ETag": f'"{hashlib.sha256(listed).hexdigest() if large else git_object(listed)}"'}
        headers |= {"X-Repo-Commit": REVISION, "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.answer(206 if start else 200, content[start:], headers, breaks=large)

    def answer(self, status: int, body: bytes, headers: dict[str, str], breaks: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        with self.hub.lock:
            cut = breaks and self.hub.cuts > 0 and len(body) > self.hub.cut_after
            self.hub.cuts -= cut
        sent = body[: self.hub.cut_after] if cut else body
        with contextlib.suppress(OSError):
            self.wfile.write(sent)
            self.wfile.flush()
        with self.hub.lock:
            self.hub.sent += len(sent)
        if cut:
            self.close_connection = True

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, b"{}", {"X-Error-Code": code, "Content-Type": "application/json"})

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextlib.contextmanager
def hub_with(files: dict[str, bytes]) -> Iterator[Hub]:
    """Serve a repository."""
    hub = Hub(files)
    handler = type("Bound", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
