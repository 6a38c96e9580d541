"""A server of the API's form inside an httpx transport: the network is replaced, not patched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx

RUN = "3f0c9a52-0000-4000-8000-000000000000"
Handler = Callable[[httpx.Request], httpx.Response]


def run_status(state: str = "queued", **more: Any) -> dict[str, Any]:
    now = "2026-01-02T03:04:05Z"
    return {"id": RUN, "state": state, "created_at": now, "updated_at": now, "stages": [], **more}


def stage(done: int, state: str = "running") -> dict[str, Any]:
    return {
        "stage": {
            "label": "fine-tune target", "kind": "finetune", "state": state,
            "done": done, "total": 10, "unit": "steps", "seconds": 1.5,
        }
    }  # fmt: skip


class BreakingStream(httpx.SyncByteStream):
    """Gives ``chunks``, then the connection breaks."""

    def __init__(self, *chunks: bytes):
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        raise httpx.ReadError("connection reset")


class Script(httpx.BaseTransport):
    """Answers each request with the next of ``answers``; remembers the requests."""

    def __init__(self, *answers: httpx.Response | Exception):
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def told(payload: dict[str, Any], status: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(status, json=payload, headers=headers)


def failed(status: int, code: str, **headers: str) -> httpx.Response:
    error = {"code": code, "message": "so it is", "remedy": "do this", "details": {}}
    return told({"error": error, "request_id": "r"}, status, **headers)


def events(*items: tuple[str, str, dict[str, Any]], broken: bool = False) -> httpx.Response:
    lines = [
        f"id: {id_}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()
        for id_, kind, data in items
    ]
    headers = {"Content-Type": "text/event-stream"}
    if broken:
        return httpx.Response(200, headers=headers, stream=BreakingStream(*lines))
    return httpx.Response(200, headers=headers, content=b"".join(lines))


def file(content: bytes, sha256: str | None = None) -> httpx.Response:
    etag = sha256 or hashlib.sha256(content).hexdigest()
    return httpx.Response(200, content=content, headers={"ETag": f'"{etag}"'})
