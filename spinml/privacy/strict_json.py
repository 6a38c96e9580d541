"""JSON that every reader reads alike: what one parser takes and another does not is refused.

Python's parser takes NaN, the last of two equal keys, lone surrogates and any depth. A person's
preference must not depend on which of them a reader follows.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from spinml.errors import ManifestJsonError

MAX_DEPTH = 16
"""How deep objects and lists may stand in each other; a manifest needs 5."""
MAX_DIGITS = 18
"""Of an integer: all of them fit 64 bits."""

# Possessive, and its closing quote may be missing: linear in any input.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_OPENING, _CLOSING = b"[{", b"]}"


def parse_strict(raw: bytes) -> Any:
    """The value of the JSON text ``raw``, which the caller has bounded.

    Raises:
        ManifestJsonError: no JSON in UTF-8; deeper than MAX_DEPTH (told before anything is parsed);
            equal keys in one object; NaN, Infinity or a number out of range; a lone surrogate.
    """
    _check_depth(raw)
    try:
        text = raw.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_without_twins,
            parse_constant=_no_constant,
            parse_int=_bounded_int,
            parse_float=_finite_float,
        )
    except (ValueError, RecursionError):
        raise ManifestJsonError("the manifest is not JSON in UTF-8") from None
    _check_text(value)
    return value


def _check_depth(raw: bytes) -> None:
    depth = 0
    for byte in _STRING.sub(b"", raw):
        if byte in _OPENING:
            depth += 1
            if depth > MAX_DEPTH:
                raise ManifestJsonError(f"the manifest is more than {MAX_DEPTH} levels deep")
        elif byte in _CLOSING:
            depth -= 1


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ManifestJsonError("the manifest has an object with a key that stands twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ManifestJsonError(f"the manifest has {name}, which is no JSON")


def _bounded_int(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise ManifestJsonError(f"the manifest has an integer of more than {MAX_DIGITS} digits")
    return int(digits)


def _finite_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ManifestJsonError("the manifest has a number that is out of range")
    return number


def _check_text(value: Any) -> None:
    """Refuse escaped surrogates without their partner: they are no text and have no encoding."""
    if isinstance(value, str):
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ManifestJsonError("the manifest has a surrogate without its partner")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_text(key)
            _check_text(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_text(inner)
