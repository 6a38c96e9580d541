"""The client: bytes sent, retries, resumed events, and downloads that are whole or not there."""

import email.parser
import email.policy

import httpx
import pytest

from spinml.device.client import Client
from spinml.errors import (
    AuthenticationError,
    BodyTimeoutError,
    ConflictError,
    NotFoundError,
    NotReadyError,
    QuotaSpentError,
    RateLimitedError,
    ServerUnavailableError,
    ServiceError,
    SpinMLError,
)
from spinml.privacy.sanitizer import sanitize
from tests.device.server import (
    RUN,
    BreakingStream,
    Script,
    events,
    failed,
    file,
    run_status,
    stage,
    told,
)
from tests.photos import request_of, segmented

KEY = "sk-secret"


@pytest.fixture(scope="module")
def bundle():
    return sanitize(request_of("L2", "L1"), [segmented()]).bundle


def broken_download():
    return httpx.Response(200, stream=BreakingStream(b"mod"))


def client_of(*answers):
    script = Script(*answers)
    return Client("http://server/", KEY, transport=script, attempts=3, pause_s=0), script


def test_submit_sends_the_parts_and_nothing_else(bundle):
    client, script = client_of(told(run_status(), 201))
    assert client.submit(bundle).id == RUN
    (request,) = script.requests
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Idempotency-Key"] == bundle.digest
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + request.content)
    parts = {
        part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
        for part in message.iter_parts()
    }
    assert parts.keys() == bundle.to_parts().keys()
    for content in bundle.to_parts().values():
        assert content in request.content


def test_equal_bundles_are_equal_bytes(bundle):
    client, script = client_of(told(run_status(), 201), told(run_status()))
    client.submit(bundle)
    client.submit(bundle, idempotency_key="mine")
    first, second = script.requests
    assert first.content == second.content
    assert second.headers["Idempotency-Key"] == "mine"


def test_a_busy_or_absent_server_is_tried_again(bundle):
    client, script = client_of(
        httpx.ConnectError("refused"),
        failed(503, "server_unavailable", **{"Retry-After": "0"}),
        told(run_status(), 201),
    )
    assert client.submit(bundle).state == "queued"
    assert len({request.content for request in script.requests}) == 1
    assert len(script.requests) == 3


def test_a_body_that_came_too_late_is_sent_again_and_the_error_is_the_servers_at_last(bundle):
    late = [failed(408, "body_timeout") for _ in range(3)]
    client, script = client_of(*late[:2], told(run_status(), 201))
    assert client.submit(bundle).state == "queued"
    assert len({request.content for request in script.requests}) == 1
    assert len({request.headers["Idempotency-Key"] for request in script.requests}) == 1
    with pytest.raises(BodyTimeoutError):
        client_of(*late)[0].submit(bundle)


def test_a_proxy_before_a_service_that_starts_is_asked_again():
    client, script = client_of(
        httpx.Response(404, text=f"Path '/v1/runs/{RUN}' not found."),
        httpx.Response(500, text="Internal Server Error"),
        told(run_status()),
    )
    assert client.status(RUN).state == "queued"
    assert len(script.requests) == 3


def test_retry_after_is_obeyed(monkeypatch):
    waits = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    client, _ = client_of(failed(429, "rate", **{"Retry-After": "7"}), told(run_status()))
    client.status(RUN)
    assert waits == [7.0]


def test_who_is_sent_away_again_and_again_comes_back_later_and_later(monkeypatch):
    waits = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    overloaded = [failed(503, "overloaded", **{"Retry-After": "2"}) for _ in range(3)]
    script = Script(*overloaded, told(run_status()))
    Client("http://server/", KEY, transport=script, attempts=4, pause_s=0.5).status(RUN)
    assert waits == [2.5, 3.0, 4.0]


def test_poll_asks_for_what_it_does_not_have():
    client, script = client_of(
        told(run_status(), ETag='"1"'),
        httpx.Response(304, headers={"ETag": '"1"'}),
        told(run_status("running"), ETag='"2"'),
    )
    known = client.status(RUN)
    assert client.poll(known) is known
    assert client.poll(known, wait_s=0).state == "running"
    asked = [(r.headers.get("If-None-Match"), r.url.params.get("wait")) for r in script.requests]
    assert asked == [(None, None), ('"1"', "25.0"), ('"1"', "0")]
    assert "etag" not in known.model_dump()


def test_wait_polls_to_the_end_and_pauses_where_the_server_does_not_wait(monkeypatch):
    waits = []
    monkeypatch.setattr("spinml.device.client.time.sleep", waits.append)
    client, script = client_of(
        told(run_status(), ETag='"1"'),
        httpx.Response(304, headers={"ETag": '"1"'}),
        failed(503, "overloaded"),
        told(run_status("running"), ETag='"2"'),
        told(run_status("succeeded"), ETag='"3"'),
    )
    assert client.wait(RUN).state == "succeeded"
    assert len(script.requests) == 5
    assert any(wait == pytest.approx(1.0, abs=0.3) for wait in waits)


def test_a_rate_is_waited_for_and_named_when_patience_ends(monkeypatch):
    waits = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    limited = [failed(429, "rate_limited", **{"Retry-After": "59"}) for _ in range(3)]
    client, _ = client_of(*limited[:2], told(run_status()))
    assert client.status(RUN).id == RUN
    assert waits == [59.0, 59.0]
    client, script = client_of(*limited)
    with pytest.raises(RateLimitedError):
        client.status(RUN)
    assert len(script.requests) == 3


def test_a_spent_quota_is_told_and_not_waited_for():
    spent = failed(429, "quota_spent", **{"Retry-After": "86400"})
    client, script = client_of(spent)
    with pytest.raises(QuotaSpentError):
        client.status(RUN)
    assert len(script.requests) == 1


def test_patience_ends():
    client, script = client_of(*[httpx.ConnectError("refused")] * 3)
    with pytest.raises(ServerUnavailableError, match="ConnectError"):
        client.status(RUN)
    assert len(script.requests) == 3


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (failed(401, "authentication_failed"), AuthenticationError),
        (failed(404, "not_found"), NotFoundError),
        (failed(409, "conflict"), ConflictError),
        (failed(500, "internal"), SpinMLError),
        (httpx.Response(400, text="<html>"), ServiceError),
        (httpx.Response(200, text="<html>"), ServiceError),
        (told({"state": "new"}), ServiceError),
        (told({}, 200), ServiceError),
    ],
)
def test_errors_are_ours_and_come_at_once(answer, error):
    client, script = client_of(answer)
    with pytest.raises(error) as caught:
        client.status(RUN)
    assert KEY not in str(caught.value)
    assert len(script.requests) == 1


def test_events_resume_where_they_broke():
    client, script = client_of(
        events(("1", "state", {"state": "running"}), ("2", "stage", stage(3)), broken=True),
        httpx.ConnectError("refused"),
        events(("3", "stage", stage(10, "done"))),
        events(("4", "state", {"state": "succeeded"})),
    )
    seen = list(client.events(RUN))
    assert [event.id for event in seen] == ["1", "2", "3", "4"]
    assert seen[1].stage.done == 3
    assert seen[-1].is_final
    asked = [request.headers.get("Last-Event-ID") for request in script.requests]
    assert asked == [None, "2", "2", "3"]


def test_events_of_a_server_that_stays_away():
    client, _ = client_of(
        events(("1", "state", {"state": "running"}), broken=True),
        *[httpx.ConnectError("refused")] * 3,
    )
    stream = client.events(RUN)
    assert next(stream).state == "running"
    with pytest.raises(ServerUnavailableError):
        next(stream)


def test_events_of_a_run_that_is_not_there():
    client, _ = client_of(failed(404, "not_found"))
    with pytest.raises(NotFoundError):
        next(client.events(RUN))


def test_fetch(tmp_path):
    client, script = client_of(file(b"model"))
    fetched = client.fetch(RUN, "model", tmp_path / "new" / "model.onnx")
    assert fetched.path.read_bytes() == b"model"
    assert fetched.verified
    assert script.requests[0].url.path == f"/v1/runs/{RUN}/model"


def test_a_report_is_asked_for_as_a_page(tmp_path):
    client, script = client_of(httpx.Response(200, text="<html>"))
    assert not client.fetch(RUN, "report", tmp_path / "report.html").verified
    assert script.requests[0].headers["Accept"] == "text/html"


def test_a_broken_download_is_tried_again_and_leaves_one_file(tmp_path):
    client, _ = client_of(broken_download(), file(b"model"))
    client.fetch(RUN, "model", tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_bytes() == b"model"


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([broken_download() for _ in range(3)], ServerUnavailableError),
        ([file(b"changed", "0" * 64)], ServiceError),
        ([httpx.Response(200, content=b"no etag")], ServiceError),
        ([failed(409, "not_ready")], NotReadyError),
    ],
    ids=["away", "changed", "undeclared", "early"],
)
def test_a_failed_download_leaves_what_was_there(tmp_path, answers, error):
    before = tmp_path / "model.onnx"
    before.write_bytes(b"the old model")
    client, _ = client_of(*answers)
    with pytest.raises(error):
        client.fetch(RUN, "model", before)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert before.read_bytes() == b"the old model"


def test_cancel_and_delete():
    client, script = client_of(told(run_status("cancelled"), 202), httpx.Response(204))
    client.cancel(RUN)
    client.delete(RUN)
    assert [(r.method, r.url.path) for r in script.requests] == [
        ("POST", f"/v1/runs/{RUN}/cancel"),
        ("DELETE", f"/v1/runs/{RUN}"),
    ]


@pytest.mark.parametrize(
    ("server", "key", "error"),
    [
        ("http://host:abc", KEY, ServiceError),
        ("http://server", "sk-sécret", AuthenticationError),
    ],
)
def test_an_address_or_a_key_that_cannot_be(server, key, error):
    with pytest.raises(error) as caught:
        Client(server, key)
    assert caught.value.remedy
    assert key not in str(caught.value)


def test_an_address_that_is_none():
    with (
        Client("not an address", KEY, attempts=1) as client,
        pytest.raises(ServiceError, match=r"reached|address"),
    ):
        client.status(RUN)
