"""Logs of the service and its workers: lines for people, or JSON; ids and counts, nothing private.

A record carries the ids that were bound in its thread (:func:`bound`), not only those in its
message. What an exception says never reaches the log, only where it happened, for its message may
hold a person's words or a path. Libraries that print what they process are held at errors.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType

_FRAMES = 8
_ids: ContextVar[Mapping[str, str]] = ContextVar("spinml_ids", default=MappingProxyType({}))
_TALKATIVE = ("diffusers", "transformers")
"""They warn of prompts that are too long, and print them."""


def describe(error: BaseException) -> str:
    """Type and places in the code; a message may hold a person's words or a path."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    places = "; ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__name__} at {places}"


@contextmanager
def bound(**ids: str) -> Iterator[None]:
    """Have what this thread (or asyncio task) logs meanwhile carry these ids.

    Args:
        ids: of runs, stages, requests: ``run=…``, ``stage=…``. No words of a person.
    """
    token = _ids.set({**_ids.get(), **ids})
    try:
        yield
    finally:
        _ids.reset(token)


def configure(level: str, form: str) -> None:
    """Let this process's ``spinml`` loggers write to stderr, which Ray keeps in its log files.

    Called again, it replaces what it set before.

    Args:
        level: ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``.
        form: ``text`` or ``json`` (an object a line).
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    ours = logging.getLogger("spinml")
    ours.handlers = [handler]
    ours.setLevel(level)
    ours.propagate = False
    for name in _TALKATIVE:
        os.environ[f"{name.upper()}_VERBOSITY"] = "error"  # they set their level when imported
        logging.getLogger(name).setLevel(logging.ERROR)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the bound ids, and ``error``."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_ids.get(),
        }
        if (error := _error(record)) is not None:
            line["error"] = error
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """``TIME LEVEL logger: message [run=… stage=…]``, with the place of an error."""

    def format(self, record: logging.LogRecord) -> str:
        ids = " ".join(f"{name}={value}" for name, value in _ids.get().items())
        error = _error(record)
        line = f"{_time(record)} {record.levelname} {record.name}: {record.getMessage()}"
        return line + (f" [{ids}]" if ids else "") + (f" ({error})" if error else "")


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _error(record: logging.LogRecord) -> str | None:
    error = record.exc_info[1] if record.exc_info else None
    return describe(error) if error is not None else None
