"""Sending a bundle, with the ledger on both sides of it."""

from __future__ import annotations

import secrets

from spinml.device.client import Client
from spinml.device.ledger import Ledger
from spinml.device.runs import RunStatus
from spinml.errors import SpinMLError
from spinml.privacy.leakage import Leakage
from spinml.privacy.sanitizer import Sanitized


def submit_recorded(
    client: Client,
    sanitized: Sanitized,
    leakage: Leakage,
    *,
    new: bool = False,
    idempotency_key: str | None = None,
    ledger: Ledger | None = None,
) -> RunStatus:
    """Send the bundle; the ledger tells before a byte leaves, and again how it ended.

    Args:
        new: begin another run even of a bundle that was sent before.
        idempotency_key: names the submission; None takes the bundle's digest.
        ledger: None takes the user's.

    Raises:
        DeviceError: the ledger cannot be written; it says whether anything was sent.
        SpinMLError: whatever the client raises.
    """
    bundle, book = sanitized.bundle, ledger or Ledger()
    suffix = f"-{secrets.token_hex(8)}" if new else ""
    book.sending(client.server, bundle, leakage.as_dict())
    try:
        status = client.submit(bundle, idempotency_key=(idempotency_key or bundle.digest) + suffix)
    except SpinMLError as error:
        book.failed(client.server, bundle, error.code)
        raise
    book.accepted(client.server, bundle, status.id)
    return status
