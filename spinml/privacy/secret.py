"""What this device keeps to itself: a random key that its noise is drawn with."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import platformdirs

from spinml.errors import DeviceError

SECRET_BYTES = 32


def data_folder() -> Path:
    """``$SPINML_HOME``, or the user's data folder."""
    home = os.environ.get("SPINML_HOME")
    return Path(home) if home else platformdirs.user_data_path("spinml")


def device_secret() -> bytes:
    """The 32 random bytes in ``noise_key`` of :func:`data_folder`; made at the first call.

    Only this user can read the file. It never travels; deleting it changes all later noise.

    Raises:
        DeviceError: the file cannot be read or made, or has another length.
    """
    path = data_folder() / "noise_key"
    try:
        if not path.exists():
            _make(path)
        secret = path.read_bytes()
    except OSError as error:
        raise DeviceError(
            f"the device's noise key cannot be read or made: {type(error).__name__}",
            remedy="set SPINML_HOME to a folder that you can write to",
        ) from None
    if len(secret) != SECRET_BYTES:
        raise DeviceError(
            f"the device's noise key has {len(secret)} bytes, wanted {SECRET_BYTES}",
            remedy=f"delete {path}: a new one is made, and later noise is another",
        )
    return secret


def _make(path: Path) -> None:
    """Write a new key whole or not at all; who comes second keeps the first one's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(SECRET_BYTES))
        try:
            os.link(partial, path)
        except FileExistsError:
            return
    finally:
        partial.unlink()
