"""A proxy before the S3 server that answers 500 or 503, breaks off or dawdles, under a seed."""

from __future__ import annotations

import http.client
import random
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from spinml.distributed.head import free_port

_HOPS = ("connection", "transfer-encoding", "keep-alive")


@dataclass(frozen=True)
class Faults:
    """Shares of requests, 0 to 1."""

    errors: float = 0.0
    """Answered 500 or 503, half of them after the server has done what was asked."""
    broken: float = 0.0
    """Broken off in the middle of the answer."""
    slow: float = 0.0
    slow_s: float = 0.5


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed breaks its connections."""


class FaultyProxy:
    """Passes requests on, signatures and all: the host that was signed is the proxy's own."""

    def __init__(self, upstream_port: int, seed: int = 0) -> None:
        self.port = free_port()
        self.faults = Faults()
        self.injected = 0
        self._random, self._lock = random.Random(seed), threading.Lock()
        self._passing, self._last = 0, time.monotonic()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass(self) -> None:
                proxy._count(1)
                try:
                    proxy.handle(self, upstream_port)
                finally:
                    proxy._count(-1)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass

            def log_message(self, *_: Any) -> None:
                pass

        self._server = _Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def settle(self, quiet_s: float = 1.0, timeout_s: float = 60.0) -> None:
        """Wait until nothing is under way: what a killed client has asked for is still done."""
        deadline = time.monotonic() + timeout_s
        while self._passing or time.monotonic() - self._last < quiet_s:
            assert time.monotonic() < deadline, f"{self._passing} requests are still under way"
            time.sleep(0.05)

    def _count(self, change: int) -> None:
        with self._lock:
            self._passing += change
            self._last = time.monotonic()

    def handle(self, request: BaseHTTPRequestHandler, upstream_port: int) -> None:
        length = int(request.headers.get("Content-Length", 0))
        body = request.rfile.read(length)
        if len(body) < length:  # its client died: S3 takes no half of a file
            request.close_connection = True
            return
        fault, late = self._draw()
        if fault == "slow":
            time.sleep(self.faults.slow_s)
        if fault == "error" and not late:
            _refuse(request, 503)
            return
        try:
            status, headers, answer = _ask(request, upstream_port, body)
        except OSError:  # the server is down: so is its address
            request.close_connection = True
            return
        if fault == "error":
            _refuse(request, 500)
            return
        request.send_response(status)
        for name, value in headers:
            if name.lower() not in (*_HOPS, "content-length", "date", "server"):
                request.send_header(name, value)
        request.send_header("Content-Length", dict(headers).get("Content-Length", str(len(answer))))
        request.end_headers()
        if fault == "broken":
            answer, request.close_connection = answer[: len(answer) // 2], True
        request.wfile.write(answer)

    def _draw(self) -> tuple[str | None, bool]:
        """What happens to the next request, and whether after it was done."""
        with self._lock:
            drawn, late = self._random.random(), self._random.random() < 0.5
            bounds = (("error", self.faults.errors), ("broken", self.faults.broken))
            for fault, share in (*bounds, ("slow", self.faults.slow)):
                if drawn < share:
                    self.injected += 1
                    return fault, late
                drawn -= share
            return None, late


def _ask(
    request: BaseHTTPRequestHandler, port: int, body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOPS}
        upstream.request(request.command, request.path, body=body, headers=headers)
        answer = upstream.getresponse()
        return answer.status, answer.getheaders(), answer.read()
    except http.client.HTTPException as error:
        raise OSError from error
    finally:
        upstream.close()


def _refuse(request: BaseHTTPRequestHandler, status: int) -> None:
    text = b"<Error><Code>InternalError</Code></Error>"
    request.send_response(status)
    request.send_header("Content-Length", str(len(text)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(text)
