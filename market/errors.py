"""Every error the marketplace raises on purpose: one tree, mapped once by each door.

    BrokerError
    ├── ValidationFailed       VALIDATION_ERROR      400   the request is wrong: change it
    │   └── CursorExpired      CURSOR_EXPIRED        400   ask again without the cursor
    ├── NotSignedIn            AUTHENTICATION_ERROR  401   sign in
    ├── NotAllowed             AUTHORIZATION_ERROR   403   ask for the scope
    ├── NotFound               NOT_FOUND             404   use one of the names offered
    ├── Conflict               CONFLICT              409   wait, or use another key
    ├── TooLarge               TOO_LARGE             413   send or ask for less
    ├── RateLimited            RATE_LIMITED          429   wait as long as it says
    ├── ProviderFailed         PROVIDER_ERROR        502   try again, or another provider
    │   └── ProviderRefused    PROVIDER_ERROR        502   set the key or mend the adapter; a retry changes nothing
    ├── Unavailable            SERVICE_UNAVAILABLE   503   try again
    │   └── StorageFailed      STORAGE_UNAVAILABLE   503   repair the data folder, run `gpubroker doctor`
    └── InternalFault          INTERNAL_ERROR        500   report the trace id

A message is written for the reader, names identifiers in backticks and never repeats text that came from a
provider or a stack trace, so that it is safe to show to a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class BrokerError(Exception):
    """A failure the caller can read and act on: `code`, HTTP `status`, whether a retry may help, what to do next."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, next_step: str = "", details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.details: dict[str, object] = dict(details or {})

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}".strip()

    def envelope(self, trace_id: str) -> dict[str, object]:
        """The one error body of every door: `{"error": {code, message, details, trace_id}}` (SRS 003)."""
        details = {**self.details, "retryable": self.retryable}
        if self.next_step:
            details["next_step"] = self.next_step
        return {"error": {"code": self.code, "message": self.message, "details": details, "trace_id": trace_id}}


class ValidationFailed(BrokerError):
    """The request itself is wrong; changing it is the only way forward."""

    code = "VALIDATION_ERROR"
    status = 400


class CursorExpired(ValidationFailed):
    """A cursor that is damaged, belongs to another query, or to a catalogue that has moved on."""

    code = "CURSOR_EXPIRED"


class NotSignedIn(BrokerError):
    """No credential, or one that does not verify."""

    code = "AUTHENTICATION_ERROR"
    status = 401


class NotAllowed(BrokerError):
    """The caller is known but lacks the scope."""

    code = "AUTHORIZATION_ERROR"
    status = 403


class NotFound(BrokerError):
    """No such offer, tool, provider or GPU; `details["nearest"]` holds the closest names."""

    code = "NOT_FOUND"
    status = 404


class Conflict(BrokerError):
    """The state does not allow it now."""

    code = "CONFLICT"
    status = 409


class TooLarge(BrokerError):
    """A body or a result above its bound."""

    code = "TOO_LARGE"
    status = 413


class RateLimited(BrokerError):
    """Too many calls in the window; `details["retry_after_seconds"]` says how long to wait."""

    code = "RATE_LIMITED"
    status = 429
    retryable = True


class ProviderFailed(BrokerError):
    """A provider answered badly or not at all."""

    code = "PROVIDER_ERROR"
    status = 502
    retryable = True


class ProviderRefused(ProviderFailed):
    """A provider is up but will not answer this (key, path), or leads where we do not go."""

    retryable = False


class Unavailable(BrokerError):
    """Something of ours is not ready."""

    code = "SERVICE_UNAVAILABLE"
    status = 503
    retryable = True


class StorageFailed(Unavailable):
    """The data folder or the database cannot be read or written."""

    code = "STORAGE_UNAVAILABLE"


class InternalFault(BrokerError):
    """A defect of ours: the message stays general, the log has the rest under the trace id."""

    retryable = True
