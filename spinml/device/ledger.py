"""The ledger: an append-only record, on the device, of what was shared with whom and when.

One JSON object a line. Each holds the hash of the one before it, so that an entry that is changed,
removed or put in between breaks the chain. Entries cut off at the end leave a whole chain: note
the last hash (``spinml device ledger`` prints it) elsewhere to notice that too.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

import platformdirs
from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from spinml.bundle import SanitizedBundle, SanitizedSegment
from spinml.errors import DeviceError
from spinml.request import Scheme

LEDGER_VARIABLE = "SPINML_LEDGER"
_FIRST = "0" * 64
_Setting = TypeVar("_Setting", float, str)


class SharedSegment(BaseModel):
    """What of one segment was in a bundle: figures and hashes, no content."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    scheme: str
    feature: str | None
    images: int
    bytes: int
    sha256: tuple[str, ...]
    mi_histogram: float
    """Share of the segment's entropy, eq. 1."""
    mi_regional: float
    noise_sigma: float | None = None
    """σ of the Gaussian noise on its pixels, in grey levels."""
    plugin_scheme: str | None = None
    """The plugin's scheme that its pixels went through."""

    @property
    def how(self) -> str:
        """The scheme, with the feature, noise or plugin's scheme."""
        with_ = [f"noise σ {self.noise_sigma:g}"] if self.noise_sigma is not None else []
        with_ += [name for name in (self.feature, self.plugin_scheme) if name]
        return " ".join([self.scheme, *(f"({what})" for what in with_)])

    @model_serializer(mode="wrap")
    def _without_what_is_not(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Entries older than a field have to keep their hash: it is written only where it is."""
        optional = {"noise_sigma", "plugin_scheme"}
        return {k: v for k, v in write(self).items() if v is not None or k not in optional}


class LedgerEntry(BaseModel):
    """One line of the ledger."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: datetime
    """UTC."""
    state: Literal["sending", "accepted", "failed", "written"]
    """"written": into a file, for another machine to submit; where that sends it is not known."""
    server: str
    """Empty of what was written into a file."""
    bundle: str
    """The bundle's digest."""
    run: str | None = None
    """The run's id, once the server accepted."""
    error: str | None = None
    """The error's code, when it failed."""
    segments: tuple[SharedSegment, ...] = ()
    """Written with "sending" and "written"; the later states name the bundle alone."""
    previous: str = _FIRST
    hash: str = ""

    def digest(self) -> str:
        """SHA-256 of all fields but ``hash``, in hexadecimal."""
        payload = self.model_dump(mode="json", exclude={"hash"})
        text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class Ledger:
    """The ledger file at ``path``; made with its folder on the first entry."""

    def __init__(self, path: Path | None = None):
        self.path = path or default_ledger()

    def sending(self, server: str, bundle: SanitizedBundle, mi: dict[str, Any]) -> LedgerEntry:
        """Record that ``bundle`` is about to be sent. Written, synced, before a byte leaves.

        Args:
            mi: :meth:`spinml.privacy.leakage.Leakage.as_dict`.
        """
        return self._append(_sharing("sending", server, bundle, mi), "nothing was sent")

    def written(self, bundle: SanitizedBundle, mi: dict[str, Any]) -> LedgerEntry:
        """Record that ``bundle`` is about to be written into a file; ``mi`` as of ``sending``."""
        return self._append(_sharing("written", "", bundle, mi), "nothing was written")

    def accepted(self, server: str, bundle: SanitizedBundle, run: str) -> LedgerEntry:
        """Record that the server took ``bundle`` as ``run``."""
        return self._append(
            LedgerEntry(
                when=_now(), state="accepted", server=server, bundle=bundle.digest, run=run
            ),
            f"the bundle was sent, and is run {run}",
        )

    def failed(self, server: str, bundle: SanitizedBundle, code: str) -> LedgerEntry:
        """Record that sending ended with the error ``code``; what left before it is not known."""
        return self._append(
            LedgerEntry(
                when=_now(), state="failed", server=server, bundle=bundle.digest, error=code
            ),
            f"sending ended with the error {code}",
        )

    def entries(self) -> list[LedgerEntry]:
        """All entries, the oldest first.

        Raises:
            DeviceError: a line is not an entry.
        """
        if not self.path.exists():
            return []
        with self.path.open(encoding="utf-8") as stream:
            return self._parse(stream)

    def verify(self) -> str:
        """Check the whole chain; the last entry's hash.

        Raises:
            DeviceError: names the first line that was changed or does not follow its predecessor.
        """
        previous = _FIRST
        for number, entry in enumerate(self.entries(), start=1):
            if entry.previous != previous:
                raise self._damaged(number, "does not follow the line before it")
            if entry.digest() != entry.hash:
                raise self._damaged(number, "was changed")
            previous = entry.hash
        return previous

    def _append(self, entry: LedgerEntry, so_far: str) -> LedgerEntry:
        """Add ``entry``; where that fails the error tells ``so_far``, what became of the bundle."""
        try:
            with self._locked() as stream:
                entries = self._parse(stream)
                previous = entries[-1].hash if entries else _FIRST
                linked = entry.model_copy(update={"previous": previous})
                sealed = linked.model_copy(update={"hash": linked.digest()})
                stream.write(sealed.model_dump_json() + "\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise DeviceError(
                f"the ledger cannot be written at {self.path}: {error.strerror}; {so_far}",
                remedy=f"set {LEDGER_VARIABLE} to a file that can be",
            ) from None
        except DeviceError as error:
            raise DeviceError(
                f"{error.message}; {so_far}", remedy=error.remedy, details=error.details
            ) from None
        return sealed

    @contextmanager
    def _locked(self) -> Iterator[IO[str]]:
        """The file, open to read and append, held against other processes; private to its owner."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.seek(0)
            yield stream

    def _parse(self, stream: IO[str]) -> list[LedgerEntry]:
        entries = []
        for number, line in enumerate(stream, start=1):
            try:
                entries.append(LedgerEntry.model_validate_json(line))
            except ValidationError:
                raise self._damaged(number, "is not an entry") from None
            if not line.endswith("\n"):
                raise self._damaged(number, "is cut off")
        return entries

    def _damaged(self, line: int, how: str) -> DeviceError:
        return DeviceError(
            f"the ledger {self.path} is damaged: line {line} {how}",
            remedy=f"keep that file as it is, and set {LEDGER_VARIABLE} to begin another",
            details={"line": line},
        )


def _sharing(
    state: Literal["sending", "written"], server: str, bundle: SanitizedBundle, mi: dict[str, Any]
) -> LedgerEntry:
    """The entry that tells all that ``bundle`` shares."""
    shared = tuple(
        SharedSegment(
            name=segment.name,
            scheme=segment.scheme,
            feature=segment.feature,
            images=len(segment.images),
            bytes=sum(len(image) for image in segment.images),
            sha256=tuple(hashlib.sha256(image).hexdigest() for image in segment.images),
            mi_histogram=mi[segment.name]["histogram"],
            mi_regional=mi[segment.name]["regional"],
            noise_sigma=_of_pixels(segment, bundle.request.noise),
            plugin_scheme=_of_pixels(segment, bundle.request.schemes),
        )
        for segment in bundle.segments
    )
    return LedgerEntry(
        when=_now(), state=state, server=server, bundle=bundle.digest, segments=shared
    )


def _of_pixels(segment: SanitizedSegment, by_segment: Mapping[str, _Setting]) -> _Setting | None:
    """The segment's setting; None for words and feature maps, to which none applies."""
    return by_segment.get(segment.name) if segment.scheme == Scheme.L2 else None


def default_ledger() -> Path:
    """Where the ledger is: SPINML_LEDGER, or the user's data folder."""
    named = os.environ.get(LEDGER_VARIABLE)
    return Path(named) if named else platformdirs.user_data_path("spinml") / "ledger.jsonl"


def _now() -> datetime:
    return datetime.now(UTC)
