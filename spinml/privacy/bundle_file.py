"""A bundle as a file: what was sanitized at home, for another machine to submit.

A ZIP archive of :meth:`SanitizedBundle.to_parts`. Reading one checks it as the server does what
arrives: whoever changed it has made another bundle, or none.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from spinml.bundle import BundleLimits, SanitizedBundle
from spinml.errors import BundleLimitError, MalformedBundleError
from spinml.privacy.receive import bundle_from_parts

SUFFIX = ".spinml"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_REMEDY = "make it by `spinml device sanitize`"
_UNREADABLE = (
    OSError,
    EOFError,
    zipfile.BadZipFile,
    NotImplementedError,  # a version it does not know
    RuntimeError,  # an encrypted part
    ValueError,  # a name that is not the UTF-8 it says it is
)
"""What zipfile raises of a file that is no archive, or of one that was tampered with."""


def write_bundle(bundle: SanitizedBundle, path: Path) -> None:
    """Write ``bundle``, whole or not at all; equal bundles make equal files, without a time.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for name, content in bundle.to_parts().items():
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_bundle(path: Path, limits: BundleLimits | None = None) -> SanitizedBundle:
    """Read and check a bundle's file.

    Raises:
        MalformedBundleError: no such file, or it holds something else.
        BundleLimitError: over ``limits``, told before anything is unpacked.
        SpinMLError: see :func:`spinml.privacy.receive.bundle_from_parts`.
    """
    limits = limits or BundleLimits()
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            size = sum(entry.file_size for entry in entries)
            if size > limits.max_body_bytes:
                raise BundleLimitError(
                    f"the bundle has {size} bytes, at most {limits.max_body_bytes} are taken"
                )
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise MalformedBundleError(
                    "the file is no bundle: a part is compressed, and none is to be",
                    remedy=_REMEDY,
                )
            parts = {entry.filename: archive.read(entry) for entry in entries}
    except _UNREADABLE as error:
        raise MalformedBundleError(
            f"the file is no bundle that can be read: {type(error).__name__}",
            remedy=_REMEDY,
        ) from None
    if len(parts) != len(entries):
        raise MalformedBundleError("the bundle's file has a part twice")
    return bundle_from_parts(parts, limits)
