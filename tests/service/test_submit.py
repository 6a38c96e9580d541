"""POST /v1/runs: what is taken, and every way of sending what is not."""

from __future__ import annotations

import asyncio
import gzip
import zipfile
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from spinml.config import CheckpointConfig
from spinml.errors import UnknownFeatureError
from spinml.request import Scheme
from spinml.service import submit as submit_module
from spinml.service.app import create_app
from spinml.service.retention import erase_orphans
from spinml.service.runs import list_runs
from spinml.service.state import ServiceState
from spinml.service.submit import refuse_unexpandable, store_segment
from spinml.synthesis.identity import expandable_features
from tests.service import bundles
from tests.service.conftest import Headers


def send(
    client: TestClient, headers: dict[str, str], parts: dict[str, bytes], key: str = "one"
) -> httpx.Response:
    return client.post(
        "/v1/runs", headers=headers | {"Idempotency-Key": key}, files=bundles.files(parts)
    )


def refuses(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]


@pytest.fixture
def nothing_left(state: ServiceState):  # type: ignore[no-untyped-def]
    """After the test there is neither a run nor an artifact."""
    yield
    assert list_runs(state.database, "anna", 10, None) == ([], False)
    assert state.store.list_keys("anna", partial=True) == []


@pytest.mark.parametrize("scheme", list(Scheme))
def test_a_bundle_of_each_scheme_is_queued(
    client: TestClient, headers: Headers, state: ServiceState, scheme: Scheme
) -> None:
    answer = send(client, headers(), bundles.bundle(scheme).to_parts())
    assert answer.status_code == 201, answer.text
    run = answer.json()
    assert answer.headers["Location"] == f"/v1/runs/{run['id']}"
    assert (run["state"], run["error"]) == ("queued", None)
    assert {stage["state"] for stage in run["stages"]} == {"waiting"}
    assert "segment" not in {stage["kind"] for stage in run["stages"]}
    kinds = [key.kind.value for key in state.store.list_keys("anna")]
    assert kinds == ["segment", "segment"]
    assert client.get(answer.headers["Location"], headers=headers()).json() == run


def test_the_stored_segment_is_what_was_sent(
    client: TestClient, headers: Headers, state: ServiceState
) -> None:
    sent = bundles.bundle(Scheme.L2)
    send(client, headers(), sent.to_parts())
    images = [
        state.store.open_file(key, name).read()
        for key in state.store.list_keys("anna")
        for name in state.store.list_files(key)
        if name.endswith(".png")
    ]
    assert images == list(sent.segment("target").images)


def test_same_key_same_bundle_is_the_same_run(client: TestClient, headers: Headers) -> None:
    parts = bundles.bundle().to_parts()
    first, second = (send(client, headers(), parts) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()


def test_same_key_other_bundle_conflicts(client: TestClient, headers: Headers) -> None:
    send(client, headers(), bundles.bundle().to_parts())
    refuses(send(client, headers(), bundles.bundle(seed=1).to_parts()), 409, "conflict")


def test_same_key_of_another_tenant_is_another_run(client: TestClient, headers: Headers) -> None:
    parts = bundles.bundle().to_parts()
    first, second = (send(client, headers(tenant), parts) for tenant in ("anna", "bert"))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] != second.json()["id"]


def test_eight_at_once_make_one_run(
    client: TestClient, headers: Headers, state: ServiceState
) -> None:
    parts, mine = bundles.bundle().to_parts(), headers()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: send(client, mine, parts), range(8)))
    assert sorted(a.status_code for a in answers) == [200] * 7 + [201]
    assert len({a.json()["id"] for a in answers}) == 1
    assert len(list_runs(state.database, "anna", 10, None)[0]) == 1


@pytest.mark.usefixtures("nothing_left")
class TestRefused:
    @pytest.mark.parametrize("key", ["", "k" * 129, "two words", "bad\x7f"])
    def test_bad_idempotency_key(self, client: TestClient, headers: Headers, key: str) -> None:
        refuses(send(client, headers(), {}, key), 422, "invalid_request")

    def test_no_idempotency_key(self, client: TestClient, headers: Headers) -> None:
        files = bundles.files(bundles.bundle().to_parts())
        refuses(client.post("/v1/runs", headers=headers(), files=files), 422, "invalid_request")

    def test_declared_length_over_the_cap(self, client: TestClient, headers: Headers) -> None:
        parts = {"manifest": bytes(500_000)}
        refuses(send(client, headers(), parts), 413, "payload_too_large")

    def test_body_without_length_is_not_read_on_over_the_cap(
        self, state: ServiceState, headers: Headers
    ) -> None:
        sent = 0

        async def body() -> AsyncIterator[bytes]:
            nonlocal sent
            yield b'--b\r\nContent-Disposition: form-data; name="manifest"; filename="f"\r\n\r\n'
            for _ in range(100):
                sent += 100_000
                yield bytes(100_000)

        async def post() -> httpx.Response:
            transport = httpx.ASGITransport(create_app(state))
            async with httpx.AsyncClient(transport=transport, base_url="http://spinml") as client:
                kind = "multipart/form-data; boundary=b"
                sending = headers(idempotency_key="one", content_type=kind)
                return await client.post("/v1/runs", headers=sending, content=body())

        refuses(asyncio.run(post()), 413, "payload_too_large")
        assert sent < state.config.service.limits.max_body_bytes + 200_000

    def test_chunked_part_over_the_cap(self, client: TestClient, headers: Headers) -> None:
        head = b'--b\r\nContent-Disposition: form-data; name="manifest"; filename="f"\r\n\r\n'
        answer = client.post(
            "/v1/runs",
            headers=headers(idempotency_key="one", content_type="multipart/form-data; boundary=b"),
            content=(chunk for chunk in [head, *[bytes(100_000)] * 100]),
        )
        refuses(answer, 413, "payload_too_large")

    @pytest.mark.parametrize(
        ("content_type", "body"),
        [
            ("application/json", b"{}"),
            ("application/x-www-form-urlencoded", b"manifest=%7B%7D"),
            ("multipart/mixed; boundary=b", b"--b--"),
            ("multipart/form-data; boundary=b; charset=utf-7", b"--b--"),
            ("multipart/form-data", b"no boundary"),
            ("multipart/form-data; boundary=b", b"--c\r\nnot this one"),
            ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data\r\n\r\nx"),
            ("multipart/form-data; boundary=b; charset=unicode_escape", b""),
            ("", b""),
        ],
    )
    def test_malformed_multipart(
        self, client: TestClient, headers: Headers, content_type: str, body: bytes
    ) -> None:
        sent = headers(idempotency_key="one", content_type=content_type)
        refuses(client.post("/v1/runs", headers=sent, content=body), 400, "malformed_multipart")

    def test_two_parts_of_one_name(self, client: TestClient, headers: Headers) -> None:
        files = bundles.files(bundles.bundle().to_parts())
        sent = headers(idempotency_key="one")
        refuses(
            client.post("/v1/runs", headers=sent, files=[*files, files[0]]),
            400,
            "malformed_multipart",
        )

    def test_too_many_parts(self, client: TestClient, headers: Headers) -> None:
        parts = {f"target.{i}": b"x" for i in range(600)}
        refuses(send(client, headers(), parts), 400, "malformed_multipart")

    def test_undeclared_part(self, client: TestClient, headers: Headers) -> None:
        parts = bundles.bundle().to_parts() | {"target.7": bundles.cut_out(7)}
        refuses(send(client, headers(), parts), 400, "undeclared_part")

    def test_missing_part(self, client: TestClient, headers: Headers) -> None:
        parts = bundles.bundle().to_parts()
        del parts["target.1"]
        refuses(send(client, headers(), parts), 400, "malformed_bundle")

    def test_no_manifest(self, client: TestClient, headers: Headers) -> None:
        refuses(send(client, headers(), {"target.0": b"x"}), 400, "malformed_bundle")

    def test_another_image_than_declared(self, client: TestClient, headers: Headers) -> None:
        parts = bundles.bundle().to_parts() | {"target.1": bundles.cut_out(9)}
        refuses(send(client, headers(), parts), 400, "malformed_bundle")

    def test_manifest_over_its_limit(self, client: TestClient, headers: Headers) -> None:
        refuses(send(client, headers(), {"manifest": b" " * 90_000}), 413, "bundle_limit")

    def test_manifest_of_a_megabyte(self, client: TestClient, headers: Headers) -> None:
        refuses(send(client, headers(), {"manifest": bytes(2**20)}), 413, "payload_too_large")

    @pytest.mark.parametrize(
        ("manifest", "code"),
        [
            (b"\xff\xfe", "manifest_json"),
            (b"[[[[", "manifest_json"),
            (b"[" * 60_000, "manifest_json"),
            (b'{"version": 1, "version": 1}', "manifest_json"),
            (b'{"version": NaN}', "manifest_json"),
            (b'{"\\ud800": 1}', "manifest_json"),
            (b'{"version": ' + b"1" * 9_999 + b"}", "manifest_json"),
            (b"null", "malformed_bundle"),
            (b"{}", "malformed_bundle"),
        ],
    )
    def test_manifest_that_is_none(
        self, client: TestClient, headers: Headers, manifest: bytes, code: str
    ) -> None:
        refuses(send(client, headers(), {"manifest": manifest}), 400, code)

    @pytest.mark.parametrize(
        "name",
        ["../../etc/passwd", "target.01", "target.-1", "target", "target_9.0", "target.٣",
         "target.0\n", "a" * 4000, "é", "manifest.json", "target.99999", " target.0"],
    )  # fmt: skip
    def test_names_that_no_part_has(self, client: TestClient, headers: Headers, name: str) -> None:
        parts = bundles.bundle().to_parts() | {name: b"x"}
        answer = send(client, headers(), parts)
        refuses(answer, 400, "malformed_multipart")

    @pytest.mark.parametrize("encoding", ["gzip", "deflate, br"])
    def test_a_body_that_claims_to_be_compressed_is_not_inflated(
        self, client: TestClient, headers: Headers, encoding: str
    ) -> None:
        sent = headers(
            idempotency_key="one",
            content_type="multipart/form-data; boundary=b",
            content_encoding=encoding,
        )
        answer = client.post("/v1/runs", headers=sent, content=gzip.compress(bytes(30_000_000)))
        refuses(answer, 400, "malformed_multipart")

    @pytest.mark.parametrize("changes", [{"segments": {}}, {"segments": [1]}, {"more": 1}])
    def test_manifest_of_another_shape(
        self, client: TestClient, headers: Headers, changes: dict[str, object]
    ) -> None:
        parts = bundles.with_manifest(bundles.bundle(Scheme.L0).to_parts(), **changes)
        refuses(send(client, headers(), parts), 400, "malformed_bundle")

    def test_request_without_classes(self, client: TestClient, headers: Headers) -> None:
        sent = bundles.bundle(Scheme.L0)
        request = sent.request.model_dump(mode="json") | {"label_classes": []}
        parts = bundles.with_manifest(sent.to_parts(), request=request)
        refuses(send(client, headers(), parts), 422, "invalid_request")

    @pytest.mark.parametrize(
        ("scheme", "images"),
        [
            (Scheme.L0, (bundles.cut_out(),)),
            (Scheme.L1, (bundles.grey_photo(),)),
            (Scheme.L1, (bundles.cut_out(),)),
            (Scheme.L2, (bundles.opaque(),)),
        ],
        ids=["image at L0", "photo as canny", "pixels at L1", "opaque target at L2"],
    )
    def test_what_the_preference_does_not_allow(
        self, client: TestClient, headers: Headers, scheme: Scheme, images: tuple[bytes, ...]
    ) -> None:
        parts = bundles.bundle(scheme, images).to_parts()
        refuses(send(client, headers(), parts), 422, "preference_violation")

    @pytest.mark.parametrize("side_px", [2_000, 50_000])
    def test_png_bomb(self, client: TestClient, headers: Headers, side_px: int) -> None:
        parts = bundles.bundle(Scheme.L2, (bundles.bomb(side_px),)).to_parts()
        refuses(send(client, headers(), parts), 413, "bundle_limit")

    def test_zip_bomb(self, client: TestClient, headers: Headers) -> None:
        out = BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("zeros", bytes(10_000_000))
        parts = bundles.bundle(Scheme.L2, (out.getvalue(),)).to_parts()
        refuses(send(client, headers(), parts), 400, "image_format")

    def test_polyglot(self, client: TestClient, headers: Headers) -> None:
        parts = bundles.bundle(Scheme.L2, (bundles.cut_out() + b"PK\x03\x04",)).to_parts()
        refuses(send(client, headers(), parts), 400, "image_format")


@pytest.mark.usefixtures("nothing_left")
def test_a_server_that_dies_in_between_leaves_nothing(
    client: TestClient, headers: Headers, state: ServiceState, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyError("private words")

    monkeypatch.setattr(submit_module, "insert_run", die)
    answer = send(client, headers(), bundles.bundle().to_parts())
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert "private" not in answer.text
    assert client.get("/v1/runs", headers=headers()).json()["runs"] == []
    assert erase_orphans(state.database, state.store, state.evict) == 2


def test_a_segment_that_was_erased_while_it_was_stored_is_stored_anew(
    client: TestClient, headers: Headers, state: ServiceState
) -> None:
    bundle = bundles.bundle()
    key = store_segment(state.store, "anna", bundle.segments[0])
    state.store.delete_files(key, ["images/000.png"])
    refuses(send(client, headers(), bundle.to_parts()), 503, "server_unavailable")
    assert send(client, headers(), bundle.to_parts()).status_code == 201
    assert state.store.read_whole(key).files


def test_a_feature_without_a_controlnet_is_refused_before_anything_is_kept(
    client: TestClient, headers: Headers, state: ServiceState, nothing_left: None
) -> None:
    (Path(state.config.checkpoint.base) / "controlnet_canny").rename(
        Path(state.config.checkpoint.base) / "controlnet_depth"
    )
    answer = send(client, headers(), bundles.bundle(Scheme.L1).to_parts())
    refuses(answer, 422, "unknown_feature")
    error = answer.json()["error"]
    assert "'canny' of the target" in error["message"]
    assert error["remedy"] == "name one that it can expand: depth"
    assert error["details"] == {"expandable": ["depth"], "lacking": {"target": "canny"}}


def test_the_features_of_a_hub_checkpoint_are_those_named() -> None:
    hub = CheckpointConfig(base="someone/model")
    assert expandable_features(hub) is None
    named = CheckpointConfig(base="someone/model", controlnets={"pose": "someone/pose"})
    assert expandable_features(named) == {"pose"}
    assert expandable_features(CheckpointConfig()) == {"canny", "pose", "box"}
    with pytest.raises(UnknownFeatureError, match="canny"):
        refuse_unexpandable(named, bundles.bundle(Scheme.L1))
    refuse_unexpandable(hub, bundles.bundle(Scheme.L1))
