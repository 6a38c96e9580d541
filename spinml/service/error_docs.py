"""What each error that reaches HTTP means, and what its receiver can do: for OpenAPI."""

from __future__ import annotations

from typing import NamedTuple

from spinml import errors
from spinml.errors import SpinMLError


class Meaning(NamedTuple):
    """When it comes, and the remedy where the error itself names none."""

    when: str
    remedy: str


_SANITIZER = "send what spinml's sanitizer makes of the request"
_LATER = "try again after Retry-After"

MEANINGS: dict[type[SpinMLError], Meaning] = {
    errors.ArtifactError: Meaning("the artifact store failed", "tell the operator the request id"),
    errors.AuthenticationError: Meaning(
        "no key, or one that does not work", "send Authorization: Bearer spin_…"
    ),
    errors.BodyTimeoutError: Meaning(
        "the body did not arrive in time", "send it again, with fewer photos"
    ),
    errors.BundleLimitError: Meaning(
        "too many or too large images, or too large a manifest", "send fewer or smaller photos"
    ),
    errors.ConflictError: Meaning(
        "the idempotency key was used for another bundle, or the run's state forbids it",
        "take another idempotency key, or look the run up first",
    ),
    errors.DatabaseUnavailableError: Meaning("the database cannot be used", _LATER),
    errors.ExpiredKeyError: Meaning("the key has expired", "ask the operator for a new key"),
    errors.HeadersTooLargeError: Meaning(
        "too many or too long headers, or too long an address", "send fewer and shorter ones"
    ),
    errors.ImageFormatError: Meaning(
        "an image is more or other than a plain PNG of 8 bits a sample", "send pixels alone"
    ),
    errors.InvalidRequestError: Meaning(
        "fields missing, unknown or contradictory; all are named", "mend the fields named"
    ),
    errors.MalformedBundleError: Meaning(
        "a broken manifest, or parts that are missing or not those declared", _SANITIZER
    ),
    errors.MalformedMultipartError: Meaning(
        "the body is not the multipart/form-data that is taken",
        "send the parts of SanitizedBundle.to_parts(), once each",
    ),
    errors.MalformedRequestError: Meaning(
        "headers that contradict themselves", "send each of them once"
    ),
    errors.ManifestJsonError: Meaning(
        "the manifest is no JSON in UTF-8, too deep, or has equal keys, NaN, lone surrogates or "
        "numbers out of range",
        "write it with a JSON library from SanitizedBundle.manifest()",
    ),
    errors.NotFoundError: Meaning("you have no such run", "list your runs"),
    errors.NotReadyError: Meaning(
        "the run has not got so far", "follow its events, and ask when it has succeeded"
    ),
    errors.OverloadedError: Meaning("more is asked at once than this service takes", _LATER),
    errors.PayloadTooLargeError: Meaning(
        "the body is over the cap; it was not read on", "send fewer or smaller photos"
    ),
    errors.PluginError: Meaning(
        "a plugin of the server failed", "tell the operator the request id"
    ),
    errors.PreferenceViolationError: Meaning(
        "an image or a text that the declared preference does not allow", _SANITIZER
    ),
    errors.QuotaExceededError: Meaning(
        "more than your quota ever allows, or your store is full",
        "ask for less, delete runs, or ask the operator for a larger quota",
    ),
    errors.QuotaSpentError: Meaning("a quota that renews is used up", _LATER),
    errors.RateLimitedError: Meaning("too many requests with this key in a minute", _LATER),
    errors.RateStoreUnavailableError: Meaning("requests cannot be counted", _LATER),
    errors.RevokedKeyError: Meaning("the key was revoked", "ask the operator for a new key"),
    errors.ScopeMissingError: Meaning("the key may not do this", "use a key that has the scope"),
    errors.ServerUnavailableError: Meaning("what the run needs is being erased just now", _LATER),
    errors.StorageFullError: Meaning(
        "there is no room in the artifact store", "tell the operator; try again later"
    ),
    errors.StoreUnavailableError: Meaning("the artifact store cannot be used", _LATER),
    errors.UndeclaredPartError: Meaning(
        "a part that the manifest does not declare",
        "send exactly the parts of SanitizedBundle.to_parts()",
    ),
    errors.UnknownFeatureError: Meaning(
        "the server has no ControlNet for the feature", "name one that it can expand"
    ),
}
"""By class; every error that a route documents stands here."""
