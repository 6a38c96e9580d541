"""Which API key the device speaks with, and where that of this machine's own service lies."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spinml.errors import AuthenticationError
from spinml.privacy.secret import data_folder

KEY_VARIABLE = "SPINML_API_KEY"


def key_file() -> Path:
    """``$SPINML_HOME/api_key``, or the same in the user's data folder."""
    return data_folder() / "api_key"


def api_key(file: Path | None = None) -> str:
    """The key in ``file``, in the environment, or of this machine's service; never an argument.

    Raises:
        AuthenticationError: there is none, or its file cannot be read.
    """
    named = os.environ.get(KEY_VARIABLE)
    try:
        if file is None and named:
            return named
        own = file or key_file()
        key = own.read_text(encoding="ascii").strip() if file or own.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise AuthenticationError(f"the key file cannot be read: {type(error).__name__}") from None
    if not key:
        raise AuthenticationError(
            "there is no API key",
            remedy=f"set {KEY_VARIABLE}, give --key-file, or start `spinml serve` on this machine",
        )
    return key


@contextmanager
def api_key_file(file: Path | None = None) -> Iterator[Path]:
    """A file with the key that :func:`api_key` finds, for another process of this user to read.

    So a key from the environment reaches it neither by its arguments nor by its own environment,
    which others may see. Such a file is this user's alone, and gone after the block.

    Raises:
        AuthenticationError: see :func:`api_key`.
    """
    key = api_key(file)
    if file is not None:
        yield file.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="spinml-key-") as folder:  # of mode 0700
        path = Path(folder) / "api_key"
        path.write_text(key, encoding="ascii")
        yield path
