"""SpinML: small specialised vision models from a few sanitized photos."""

__version__ = "0.1.0"
