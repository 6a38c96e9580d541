"""How a device bears a server that is away or busy."""

from __future__ import annotations

import random
from dataclasses import dataclass

import tenacity

from spinml.errors import BodyTimeoutError, RateLimitedError, ServerUnavailableError, SpinMLError

RETRIED_ERRORS = (ServerUnavailableError, RateLimitedError, BodyTimeoutError)
"""The last, for a body is cut off by a weak connection or comes too late to a busy server."""
_LONGEST_WAIT_S = 30.0
_LONGEST_ASKED_S = 120.0
"""How long a server is waited for that asks for it (Retry-After); its rates renew in a minute."""


@dataclass(frozen=True)
class Patience:
    """Tries again what may be repeated.

    Args:
        attempts: how often in all.
        pause_s: the first wait between attempts; doubled each time.
    """

    attempts: int
    pause_s: float

    def retrying(self) -> tenacity.Retrying:
        """Patience with a server that is away or busy; every other error is raised at once."""
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(RETRIED_ERRORS),
            stop=tenacity.stop_after_attempt(self.attempts),
            wait=self._pause,
            reraise=True,
        )

    def _pause(self, state: tenacity.RetryCallState) -> float:
        """As long as the server asked for (Retry-After), else doubling.

        Chance keeps apart the devices that were told to come back at the same moment, the further
        the oftener they were sent away.
        """
        error = state.outcome.exception() if state.outcome else None
        asked = error.details.get("retry_after_s") if isinstance(error, SpinMLError) else None
        doubled = self.pause_s * 2.0 ** (state.attempt_number - 1)
        if asked is not None:
            backoff = random.uniform(0.0, min(_LONGEST_WAIT_S, doubled))
            return min(float(asked), _LONGEST_ASKED_S) + backoff
        return min(_LONGEST_WAIT_S, doubled + random.uniform(0.0, self.pause_s))
