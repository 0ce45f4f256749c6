"""An S3 server on loopback, and a proxy before it that counts requests and makes trouble."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pyarrow.dataset as ds
from pyarrow import fs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
BUCKET = "staging"
_CONDITIONS = ("If-None-Match", "If-Match")


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of an S3 server with a bucket `staging` in it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            assert process.poll() is None, "the S3 server has ended"
            try:
                httpx.put(f"{url}/{BUCKET}", verify=False).raise_for_status()
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


def never(method: str, path: str) -> bool:
    """No request."""
    return False


@dataclass
class Proxy:
    """What stands before an S3 server. Requests pass one at a time: moto decides none whole.

    Attributes:
        url: Its own address.
        requests: Method and path of each request that came, in order.
        keys: The access keys that requests were signed with.
        ignored: Conditions of writes that are taken away, as by a server that knows none.
        refuses: Whether a request, by method and path, is answered with 503.
        unanswered: Whether a request is carried out, and its answer then lost.
        unimplemented: Whether a write under a condition is answered with 501.
        clock: How far the server's clock is ahead of this machine's.
    """

    url: str
    server: str
    requests: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    ignored: tuple[str, ...] = ()
    refuses: Callable[[str, str], bool] = never
    unanswered: Callable[[str, str], bool] = never
    unimplemented: bool = False
    clock: timedelta = timedelta(0)
    one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def staging(self, prefix: str) -> str:
        """The URI of a staging behind the proxy."""
        return f"s3://{BUCKET}/{prefix}?endpoint_override={self.url}"

    def count(self, pattern: str) -> int:
        """How many requests match."""
        return sum(1 for request in self.requests if re.search(pattern, request))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # headers and body of an answer are two writes, of which else the second waits for 40 ms
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def forward(self) -> None:
        proxy = self.server.proxy
        proxy.requests.append(f"{self.command} {self.path}")
        signed = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization", ""))
        proxy.keys.add(signed[1] if signed else "none")
        body = self.body()
        conditional = any(name in self.headers for name in _CONDITIONS)
        if proxy.refuses(self.command, self.path):
            return self.answer(503, {}, b"")
        if proxy.unimplemented and conditional and self.command == "PUT":
            return self.answer(501, {}, b"<Error><Code>NotImplemented</Code></Error>")
        dropped = {name.lower() for name in (*proxy.ignored, "Transfer-Encoding", "Expect")}
        headers = {n: v for n, v in self.headers.items() if n.lower() not in dropped}
        with proxy.one_at_a_time:
            connection = HTTPConnection(urlsplit(proxy.server).netloc, timeout=60)
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            content = response.read()
            connection.close()
        if proxy.unanswered(self.command, self.path):
            self.close_connection = True
            return None
        return self.answer(response.status, self.kept(response, proxy.clock), content)

    def body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            continue
        return b"".join(chunks)

    def kept(self, response: HTTPResponse, clock: timedelta) -> dict[str, str]:
        kept = {}
        for name, value in response.getheaders():
            if name.lower() in {"date", "last-modified"}:
                kept[name] = format_datetime(parsedate_to_datetime(value) + clock, usegmt=True)
            elif name.lower() not in {"connection", "transfer-encoding", "server"}:
                kept[name] = value
        return kept

    def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        if not any(name.lower() == "content-length" for name in headers):
            self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward  # noqa: N815


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    proxy: Proxy

    def handle_error(self, *_: object) -> None:
        """A client that was killed is no fault of the server."""


@contextmanager
def s3_proxy(server: str) -> Iterator[Proxy]:
    """A proxy before an S3 server."""
    with _Server(("127.0.0.1", 0), _Handler) as http:
        http.proxy = Proxy(f"http://127.0.0.1:{http.server_address[1]}", server)
        thread = threading.Thread(target=http.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield http.proxy
        finally:
            http.shutdown()
            thread.join()


def staged(s3: Proxy, prefix: str) -> list[str]:
    """The ids in raw of a staging in the bucket, at the server itself."""
    bucket = fs.S3FileSystem(
        access_key=KEYS["AWS_ACCESS_KEY_ID"],
        secret_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        endpoint_override=s3.server,
    )
    raw = ds.dataset(f"{BUCKET}/{prefix}/raw", filesystem=bucket, partitioning="hive")
    ids: list[str] = raw.to_table(columns=["event_id"])["event_id"].to_pylist()
    return ids
