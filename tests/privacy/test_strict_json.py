"""JSON abuse: refused, each by its reason, and at once."""

import json
import time

import pytest

from spinml.errors import ManifestJsonError
from spinml.privacy.strict_json import MAX_DEPTH, parse_strict


def test_what_json_writes_comes_back() -> None:
    value = {"a": [1, -2, 0.5, True, None, "é\n\U0001f415"], "b": {"[": '"{'}}
    assert parse_strict(json.dumps(value).encode()) == value
    assert parse_strict(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{\0}\0", "not JSON"),
        (b'"\xed\xa0\x80"', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a": 1} {"a": 2}', "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'"a\0b"', "not JSON"),
        (b'"' + b'\\"' * 32_000, "not JSON"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "levels deep"),
        (b"[" * 60_000, "levels deep"),
        (b'{"a":' * 10_000, "levels deep"),
        (b'{"privacy": "L0", "privacy": "L2"}', "stands twice"),
        (b'{"a": {"b": 1, "\\u0062": 2}}', "stands twice"),
        (b"[NaN]", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"[-Infinity]", "Infinity"),
        (b"[1e999]", "out of range"),
        (b"[" + b"9" * 60_000 + b"]", "digits"),
        (b"[-" + b"9" * 19 + b"]", "digits"),
        (b'["\\ud800"]', "surrogate"),
        (b'{"\\udfff": 1}', "surrogate"),
    ],
)
def test_abuse(raw: bytes, why: str) -> None:
    began = time.perf_counter()
    with pytest.raises(ManifestJsonError, match=why):
        parse_strict(raw)
    assert time.perf_counter() - began < 1


def test_brackets_in_strings_are_no_depth() -> None:
    assert parse_strict(json.dumps("[" * 1000).encode()) == "[" * 1000
