"""Headers, addresses and bodies that no honest client sends, against a real HTTP server."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.types import Message, Scope

from spinml.bundle import BundleLimits
from spinml.config import ServerConfig
from spinml.service.app import create_app
from spinml.service.guard import MAX_ADDRESS_BYTES, MAX_HEADER_BYTES, MAX_HEADERS
from spinml.service.keys import create_key, create_tenant
from spinml.service.runs import list_runs
from spinml.service.state import ServiceState

CAP = 50_000
PAUSE_S = 0.5


@pytest.fixture
def state(config: ServerConfig) -> Iterator[ServiceState]:
    service = config.service.model_copy(
        update={
            "limits": BundleLimits(max_body_bytes=CAP),
            "body_pause_s": PAUSE_S,
            "body_timeout_s": 2 * PAUSE_S,
        }
    )
    state = ServiceState.from_config(config.model_copy(update={"service": service}))
    create_tenant(state.database, "anna")
    yield state
    state.database.close()


@pytest.fixture
def address(state: ServiceState) -> Iterator[tuple[str, int]]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(state), log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listening.getsockname()
    server.should_exit = True
    thread.join(10)
    listening.close()


class Raw:
    """One connection, written to byte by byte."""

    def __init__(self, address: tuple[str, int], key: str) -> None:
        self.socket = socket.create_connection(address, timeout=10)
        self.key = key

    def head(self, *lines: str) -> None:
        self.socket.sendall(
            "\r\n".join(
                [
                    "POST /v1/runs HTTP/1.1",
                    "Host: spinml",
                    f"Authorization: Bearer {self.key}",
                    "Idempotency-Key: one",
                    "Content-Type: multipart/form-data; boundary=b",
                    *lines,
                    "\r\n",
                ]
            ).encode()
        )

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> tuple[int, str]:
        """Status and code."""
        told = b""
        while piece := self._receive():
            told += piece
            head, _, body = told.partition(b"\r\n\r\n")
            if body.endswith(b"}"):
                return int(head.split()[1]), json.loads(body)["error"]["code"]
        raise AssertionError(f"no whole answer: {told!r}")

    def _receive(self) -> bytes:
        try:
            return self.socket.recv(65_536)
        except ConnectionResetError:
            return b""


@pytest.fixture
def raw(address: tuple[str, int], state: ServiceState) -> Iterator[Raw]:
    raw = Raw(address, create_key(state.database, "anna"))
    yield raw
    raw.socket.close()
    assert list_runs(state.database, "anna", 10, None) == ([], False)
    assert state.store.list_keys("anna", partial=True) == []


PART = b'--b\r\nContent-Disposition: form-data; name="manifest"; filename="f"\r\n\r\n'


def test_chunks_without_a_length_over_the_cap(raw: Raw) -> None:
    raw.head("Transfer-Encoding: chunked")
    body = PART + bytes(CAP)
    raw.send(b"%x\r\n%s\r\n" % (len(body), body))
    assert raw.answer() == (413, "payload_too_large")


def test_a_declared_length_over_the_cap_is_refused_before_any_body(raw: Raw) -> None:
    raw.head("Content-Length: 1000000000")
    assert raw.answer() == (413, "payload_too_large")


def test_a_body_that_stops(raw: Raw) -> None:
    raw.head("Content-Length: 1000")
    raw.send(PART)
    began = time.monotonic()
    assert raw.answer() == (408, "body_timeout")
    assert PAUSE_S * 0.9 < time.monotonic() - began < PAUSE_S + 2


def test_a_body_that_trickles(raw: Raw) -> None:
    raw.head("Content-Length: 1000")
    raw.send(PART)
    began = time.monotonic()
    stopped = threading.Event()

    def trickle() -> None:
        while not stopped.wait(PAUSE_S / 4):
            raw.send(b"x")

    thread = threading.Thread(target=trickle)
    thread.start()
    assert raw.answer() == (408, "body_timeout")
    assert time.monotonic() - began < 2 * PAUSE_S + 2
    stopped.set()
    thread.join()


def test_a_body_shorter_than_its_length(raw: Raw, state: ServiceState) -> None:
    raw.head("Content-Length: 5000")
    raw.send(PART + b"{}\r\n--b--\r\n")
    raw.socket.shutdown(socket.SHUT_WR)
    assert raw._receive() == b""  # who hung up is told nothing


def test_a_body_longer_than_its_length_is_no_part_of_it(raw: Raw) -> None:
    body = PART + b"{}\r\n--b--\r\n"
    raw.head(f"Content-Length: {len(body) - 4}", "Connection: close")
    raw.send(body + b"GET /v1/runs HTTP/1.1\r\n\r\n")
    assert raw.answer() == (400, "malformed_bundle")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([f"X-{n}: y" for n in range(MAX_HEADERS)], (431, "headers_too_large")),
        (["X-Long: " + "y" * MAX_HEADER_BYTES], (431, "headers_too_large")),
        (["Authorization: Bearer other"], (400, "malformed_request")),
        (["Idempotency-Key: two"], (400, "malformed_request")),
        (["Content-Type: application/json"], (400, "malformed_request")),
        (["Host: elsewhere"], (400, "malformed_request")),
    ],
)
def test_headers(raw: Raw, lines: list[str], expected: tuple[int, str]) -> None:
    raw.head(*lines, "Content-Length: 0")
    assert raw.answer() == expected


def test_an_address_of_many_bytes(raw: Raw) -> None:
    raw.send(b"GET /v1/runs?after=" + b"a" * MAX_ADDRESS_BYTES + b" HTTP/1.1\r\nHost: s\r\n\r\n")
    assert raw.answer() == (431, "headers_too_large")


def ask(state: ServiceState, headers: list[tuple[bytes, bytes]]) -> tuple[int, str]:
    """What the application answers to headers that a careless server in front lets through."""
    sent: list[Message] = []
    scope: Scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": "/v1/runs", "raw_path": b"/v1/runs", "query_string": b"",
        "headers": headers, "client": ("test", 1), "server": ("test", 80),
    }  # fmt: skip

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(create_app(state)(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(body)["error"]["code"]


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-length", b"-1")],
        [(b"content-length", b"9" * 5000)],
        [(b"content-length", b"0x10")],
        [(b"content-length", b"\xb2")],
        [(b"content-length", b"5, 6")],
        [(b"content-length", b"5"), (b"content-length", b"6")],
        [(b"content-length", b"5"), (b"transfer-encoding", b"chunked")],
        [(b"transfer-encoding", b"chunked"), (b"Transfer-Encoding", b"identity")],
    ],
)
def test_lengths_that_smuggle(state: ServiceState, headers: list[tuple[bytes, bytes]]) -> None:
    assert ask(state, headers) == (400, "malformed_request")
