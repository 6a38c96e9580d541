"""Files that people write: read as YAML and checked whole, with every problem told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from spinml.errors import SpinMLError

Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path, what: str, example: str, error: type[SpinMLError]) -> Any:
    """What ``path`` holds.

    Args:
        what: it is, for the error.
        example: a file of the kind, for the remedy.

    Raises:
        SpinMLError: of the type ``error``; it cannot be read, or is no YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise error(
            f"{what} cannot be read: {type(problem).__name__}",
            remedy=f"give a YAML file such as {example}",
        ) from None


def checked(
    model: type[Model], data: object, what: str, remedy: str, error: type[SpinMLError]
) -> Model:
    """``data`` as ``model``.

    Raises:
        SpinMLError: of the type ``error``; lists every problem, not only the first.
    """
    try:
        return model.model_validate(data)
    except ValidationError as found:
        problems = describe_problems(found)
        raise error(
            f"{what} is not valid: " + "; ".join(problems),
            remedy=remedy,
            details={"problems": problems},
        ) from None


def describe_problems(error: ValidationError) -> list[str]:
    """One line a problem, ``field: what is wrong``, without the (private or huge) input."""
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        where = ".".join(str(part) for part in problem["loc"]) or "request"
        lines.append(f"{where}: {problem['msg'].removeprefix('Value error, ')}")
    return lines
