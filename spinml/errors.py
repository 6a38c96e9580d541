"""Every error SpinML raises on purpose.

SpinMLError                          what failed, the value got, the value wanted, the remedy
├── RequestError                     the person's request cannot be met as written
│   ├── InvalidRequestError          fields missing, unknown or contradictory; all problems at once
│   ├── UnknownObjectError           the segmenter has no such class
│   ├── UnknownFeatureError          no such L1 feature, or not for that segment
│   └── UnknownSchemeError           no plugin of that scheme is installed
├── DeviceError                      something on the device; nothing was sent
│   ├── PhotoError                   a photo that cannot be decoded or is over the limits
│   ├── NoTargetFoundError           the target object is on none of the photos
│   ├── FeatureMissingError          an L1 feature could not be computed for a segment
│   └── ModelFileError               a model file is missing, damaged or of another kind
├── BundleError                      what arrived is not what its preference allows
│   ├── MalformedBundleError         cannot be parsed, parts missing or changed
│   │   ├── MalformedMultipartError  the body is not the multipart/form-data that is taken
│   │   ├── UndeclaredPartError      a part that the manifest does not declare
│   │   ├── ManifestJsonError        no JSON, or JSON that two readers may read differently
│   │   └── ImageFormatError         an image that is more or other than a plain PNG
│   ├── BundleLimitError             too many images, bytes, pixels or characters
│   └── PreferenceViolationError     content that the declared scheme does not allow
├── ServiceError                     refused by the endpoint
│   ├── AuthenticationError          no key, or a wrong one
│   │   ├── ExpiredKeyError          the right key, too late; told to its holder alone
│   │   └── RevokedKeyError          the right key, revoked; told to its holder alone
│   ├── ScopeMissingError            the key may not do this
│   ├── MalformedRequestError        headers or a length that contradict themselves
│   ├── HeadersTooLargeError         too many or too long headers, or too long an address
│   ├── BodyTimeoutError             the body did not arrive in time
│   ├── RateLimitedError             too many requests with one key: waiting helps
│   ├── QuotaSpentError              over a quota that renews: waiting helps
│   ├── QuotaExceededError           over a quota that waiting does not change
│   ├── NotFoundError                no such run (or another tenant's: never distinguished)
│   ├── ConflictError                idempotency key reused for another body; wrong state
│   ├── NotReadyError                the result does not exist yet
│   ├── PayloadTooLargeError         body over the cap, refused before it is parsed
│   └── ServerUnavailableError       the server could not be reached or went away
│       ├── OverloadedError          more requests or listeners at once than are taken
│       ├── DatabaseUnavailableError the database cannot be used
│       └── RateStoreUnavailableError the shared rate counters cannot be used
├── ConfigError                      a configuration that cannot work; all problems at once
│   └── SchemaVersionError           the database's tables are of another version
├── CheckpointError                  a diffusion checkpoint is missing or incomplete
│   └── UnsafeWeightsError           weights that only a pickle holds: never loaded
├── ArtifactError                    the object store: not there, not complete, not reachable
│   ├── ArtifactNotFoundError        no manifest under that key
│   ├── StoreUnavailableError        the store is away, overloaded or failing: waiting helps
│   └── StorageFullError             no room in the store, or on the disk of a worker's node
├── StageError                       a stage of a run failed
│   ├── StageCancelledError          the run was cancelled
│   ├── ClusterLostError             Ray went away under a run, which another start takes up
│   ├── InfeasibleResourcesError     more CPUs or GPUs than the cluster can ever have
│   └── GenerationError              too many broken objects, or no object could be cut out
├── PluginError                      a plugin failed, or does not keep its interface
└── MissingExtraError                an optional part is not installed

Each class has a stable ``code``, an HTTP ``status`` and survives pickling, for Ray carries errors
between processes. Messages never carry pixels, prompts, file names or keys of a person.
"""

from __future__ import annotations

from typing import Any, ClassVar


class SpinMLError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: what failed, with the value got and the value wanted.
        remedy: what the reader can do about it.
        details: JSON-able facts for scripts (counts, limits, ids); nothing private.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, remedy: str = "", details: dict[str, Any] | None = None):
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details = details or {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.remedy, self.details)

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})" if self.remedy else self.message

    def as_dict(self) -> dict[str, Any]:
        """The error as the API and ``--json`` print it."""
        return {
            "code": self.code,
            "message": self.message,
            "remedy": self.remedy,
            "details": self.details,
        }


def _rebuild(
    kind: type[SpinMLError], message: str, remedy: str, details: dict[str, Any]
) -> SpinMLError:
    return kind(message, remedy=remedy, details=details)


def error_from_dict(payload: dict[str, Any]) -> SpinMLError:
    """The error that :meth:`SpinMLError.as_dict` described; unknown codes become the base class."""
    kinds = {kind.code: kind for kind in all_errors()}
    kind = kinds.get(str(payload.get("code")), SpinMLError)
    return kind(
        str(payload.get("message", "unknown error")),
        remedy=str(payload.get("remedy", "")),
        details=payload.get("details") or {},
    )


def all_errors() -> list[type[SpinMLError]]:
    """Every class of the tree, the base first."""
    found: list[type[SpinMLError]] = [SpinMLError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return found


class RequestError(SpinMLError):
    code, status = "request_error", 422


class InvalidRequestError(RequestError):
    code, status = "invalid_request", 422


class UnknownObjectError(RequestError):
    code, status = "unknown_object", 422


class UnknownFeatureError(RequestError):
    code, status = "unknown_feature", 422


class UnknownSchemeError(RequestError):
    code, status = "unknown_scheme", 422


class DeviceError(SpinMLError):
    code, status = "device_error", 400


class PhotoError(DeviceError):
    code, status = "photo_error", 400


class NoTargetFoundError(DeviceError):
    code, status = "no_target_found", 400


class FeatureMissingError(DeviceError):
    code, status = "feature_missing", 400


class ModelFileError(DeviceError):
    code, status = "model_file_error", 400


class BundleError(SpinMLError):
    code, status = "bundle_error", 422


class MalformedBundleError(BundleError):
    code, status = "malformed_bundle", 400


class MalformedMultipartError(MalformedBundleError):
    code, status = "malformed_multipart", 400


class UndeclaredPartError(MalformedBundleError):
    code, status = "undeclared_part", 400


class ManifestJsonError(MalformedBundleError):
    code, status = "manifest_json", 400


class ImageFormatError(MalformedBundleError):
    code, status = "image_format", 400


class BundleLimitError(BundleError):
    code, status = "bundle_limit", 413


class PreferenceViolationError(BundleError):
    code, status = "preference_violation", 422


class ServiceError(SpinMLError):
    code, status = "service_error", 500


class AuthenticationError(ServiceError):
    code, status = "authentication_failed", 401


class ExpiredKeyError(AuthenticationError):
    code, status = "key_expired", 401


class RevokedKeyError(AuthenticationError):
    code, status = "key_revoked", 401


class ScopeMissingError(ServiceError):
    code, status = "scope_missing", 403


class MalformedRequestError(ServiceError):
    code, status = "malformed_request", 400


class HeadersTooLargeError(ServiceError):
    code, status = "headers_too_large", 431


class BodyTimeoutError(ServiceError):
    code, status = "body_timeout", 408


class RateLimitedError(ServiceError):
    code, status = "rate_limited", 429


class QuotaSpentError(ServiceError):
    code, status = "quota_spent", 429


class QuotaExceededError(ServiceError):
    code, status = "quota_exceeded", 403


class NotFoundError(ServiceError):
    code, status = "not_found", 404


class ConflictError(ServiceError):
    code, status = "conflict", 409


class NotReadyError(ServiceError):
    code, status = "not_ready", 409


class PayloadTooLargeError(ServiceError):
    code, status = "payload_too_large", 413


class ServerUnavailableError(ServiceError):
    code, status = "server_unavailable", 503


class OverloadedError(ServerUnavailableError):
    code, status = "overloaded", 503


class DatabaseUnavailableError(ServerUnavailableError):
    code, status = "database_unavailable", 503


class RateStoreUnavailableError(ServerUnavailableError):
    code, status = "rate_store_unavailable", 503


class ConfigError(SpinMLError):
    code, status = "config_error", 500


class SchemaVersionError(ConfigError):
    code, status = "schema_version", 500


class CheckpointError(SpinMLError):
    code, status = "checkpoint_error", 500


class UnsafeWeightsError(CheckpointError):
    code, status = "unsafe_weights", 500


class ArtifactError(SpinMLError):
    code, status = "artifact_error", 500


class ArtifactNotFoundError(ArtifactError):
    code, status = "artifact_not_found", 404


class StoreUnavailableError(ArtifactError):
    code, status = "store_unavailable", 503


class StorageFullError(ArtifactError):
    code, status = "storage_full", 507


class StageError(SpinMLError):
    code, status = "stage_failed", 500


class StageCancelledError(StageError):
    code, status = "cancelled", 409


class ClusterLostError(StageError):
    code, status = "cluster_lost", 503


class InfeasibleResourcesError(StageError):
    code, status = "infeasible_resources", 500


class GenerationError(StageError):
    code, status = "generation_failed", 500


class PluginError(SpinMLError):
    code, status = "plugin_error", 500


class MissingExtraError(SpinMLError):
    code, status = "missing_extra", 500
