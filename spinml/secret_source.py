"""Where a secret comes from: a file or a variable of the environment, never the configuration.

A configuration is logged, pickled into Ray's actors and shown by dashboards. It therefore names
where a secret lies, and each process that needs one reads it there when it needs it.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from spinml.errors import ConfigError


def read_secret(field: str, file: Path | None, variable: str | None) -> str:
    """The secret of ``field``, from ``file`` (such as a mounted secret) or ``variable``.

    Raises:
        ConfigError: the file cannot be read, the variable is not set, or either is empty.
    """
    if file is not None:
        try:
            secret = file.expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{field}_file cannot be read: {type(error).__name__}",
                remedy="mount the secret on this node",
            ) from None
    else:
        secret = os.environ.get(variable or "", "").strip()
    if not secret:
        where = f"the file of {field}_file" if file is not None else f"the variable of {field}_env"
        raise ConfigError(f"{where} holds nothing", remedy="set it where this process runs")
    return secret


def without_password(url: str, instead: str) -> str:
    """``url`` as it is, when it holds no password.

    Args:
        instead: where the password belongs, for the error.

    Raises:
        ValueError: it holds one; the message does not.
    """
    try:
        parts = urlsplit(url)
        names = {name.lower() for name, _ in parse_qsl(parts.query)}
        holds = bool(parts.password) or any("pass" in name or "secret" in name for name in names)
    except ValueError:  # no address at all: whoever opens it says so
        holds = "@" in url
    if holds:
        raise ValueError(
            "the URL holds a password, but configurations are logged and passed around; "
            f"put it into {instead}"
        )
    return url
