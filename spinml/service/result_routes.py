"""What a run made, over HTTP: model, dataset, embeddings, report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from spinml.errors import NotFoundError, NotReadyError
from spinml.pipeline.manifest import FileEntry
from spinml.report.model import RunReport
from spinml.service.answers import STORE_ERRORS, documented
from spinml.service.auth import ResultsRun, State
from spinml.service.etags import ETAG, NOT_MODIFIED, IfNoneMatch, has, not_modified, quoted
from spinml.service.report_data import assemble_report
from spinml.service.results import (
    EMBEDDINGS_FILE,
    MODEL_FILE,
    dataset_manifests,
    entry_of,
    result_manifest,
    stream_file,
    stream_tar,
)

router = APIRouter(prefix="/v1/runs/{run_id}", tags=["results"])
_ERRORS = documented({NotFoundError, NotReadyError, *STORE_ERRORS})


def _file(media_type: str, what: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI ``responses`` of a route that sends a file."""
    content = {media_type: {"schema": {"type": "string", "format": "binary"}}}
    ok = {"description": what, "content": content, "headers": ETAG}
    return {200: ok, 304: NOT_MODIFIED, **_ERRORS}


@router.get(
    "/model",
    summary="Download the specialised model",
    description="ONNX with its preprocessing and class names inside.",
    response_class=Response,
    responses=_file("application/octet-stream", "The ONNX file."),
)
def get_model(state: State, run: ResultsRun, if_none_match: IfNoneMatch = None) -> Response:
    key, manifest = result_manifest(state.store, run, "export")
    entry = entry_of(manifest, MODEL_FILE)
    if has(if_none_match, entry.sha256):
        return not_modified(entry.sha256)
    return _send(stream_file(state.store, key, entry.name), "application/octet-stream", entry)


@router.get(
    "/embeddings",
    summary="Download the synthetic embeddings",
    description="NPZ; the device computes SIM with them at home, so that none of its own travels.",
    response_class=Response,
    responses=_file("application/octet-stream", "The NPZ file."),
)
def get_embeddings(state: State, run: ResultsRun, if_none_match: IfNoneMatch = None) -> Response:
    key, manifest = result_manifest(state.store, run, "measure")
    entry = entry_of(manifest, EMBEDDINGS_FILE)
    if has(if_none_match, entry.sha256):
        return not_modified(entry.sha256)
    return _send(stream_file(state.store, key, entry.name), "application/octet-stream", entry)


@router.get(
    "/dataset",
    summary="Download the synthetic dataset",
    description=(
        "A tar archive: Parquet shards with images, labels, boxes, masks, and a card. A mixture's "
        "datasets lie in folders `dataset`, `dataset_2`, …, in the order of its preferences."
    ),
    response_class=Response,
    responses=_file("application/x-tar", "The archive."),
)
def get_dataset(state: State, run: ResultsRun, if_none_match: IfNoneMatch = None) -> Response:
    datasets = dataset_manifests(state.store, run)
    tag = "-".join(key.digest for key, _ in datasets.values())
    if has(if_none_match, tag):
        return not_modified(tag)
    headers = {"ETag": quoted(tag)}
    chunks = stream_tar(state.store, datasets)
    return StreamingResponse(chunks, media_type="application/x-tar", headers=headers)


@router.get(
    "/report",
    response_model=RunReport,
    summary="The run's report",
    description="JSON, or a page for people where `Accept` names text/html.",
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}, **_ERRORS},
)
def get_report(
    state: State, run: ResultsRun, accept: Annotated[str, Header()] = "*/*"
) -> RunReport | Response:
    report = assemble_report(state.store, run)
    if "text/html" not in accept:
        return report
    from spinml.report.html import render_server_report

    return HTMLResponse(render_server_report(report))


def _send(chunks: Iterator[bytes], media_type: str, entry: FileEntry) -> Response:
    headers = {"ETag": quoted(entry.sha256), "Content-Length": str(entry.size_bytes)}
    return StreamingResponse(chunks, media_type=media_type, headers=headers)
