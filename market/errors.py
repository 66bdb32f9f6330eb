"""Every error the marketplace raises on purpose: one tree, mapped once by each door.

    BrokerError
    ├── ValidationFailed       VALIDATION_ERROR      400   the request is wrong: change it
    │   └── CursorExpired      CURSOR_EXPIRED        400   ask again without the cursor
    ├── NotSignedIn            AUTHENTICATION_ERROR  401   sign in
    ├── NotAllowed             AUTHORIZATION_ERROR   403   ask for the scope
    ├── ApprovalRequired       APPROVAL_REQUIRED     403   a person decides, then the same call again
    ├── MandateRefused         MANDATE_REFUSED       403   change the purchase, or a person changes the mandate
    ├── NoWatchdog             NO_WATCHDOG           403   start `gpubroker serve`
    ├── NotFound               NOT_FOUND             404   use one of the names offered
    ├── Conflict               CONFLICT              409   wait, or use another key
    │   ├── InFlight           CONFLICT              409   the same call runs: wait as long as it says
    │   └── QuoteUnusable      CONFLICT              409   ask for a new quote
    ├── TooLarge               TOO_LARGE             413   send or ask for less
    ├── IdempotencyConflict    IDEMPOTENCY_CONFLICT  422   use a new key for another request
    ├── RateLimited            RATE_LIMITED          429   wait as long as it says
    ├── ProviderFailed         PROVIDER_ERROR        502   try again, or another provider
    │   ├── ReplyLost          PROVIDER_ERROR        502   nobody knows whether it was done: look before asking again
    │   ├── SlowDown           PROVIDER_ERROR        502   nothing was done: wait as long as it says
    │   └── ProviderRefused    PROVIDER_ERROR        502   set the key or mend the adapter; a retry changes nothing
    │       ├── NoCapacity     PROVIDER_ERROR        502   another offer
    │       ├── QuotaExceeded  PROVIDER_ERROR        502   ask the provider for a higher quota, or another provider
    │       ├── CredentialsRefused  PROVIDER_ERROR   502   correct the provider's key
    │       └── OrderRefused   PROVIDER_ERROR        502   change what is to be launched
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


class ApprovalRequired(BrokerError):
    """A person has to decide first; `approval_id` names the question, `question` is what the person reads."""

    code = "APPROVAL_REQUIRED"
    status = 403

    def __init__(
        self, message: str, *, approval_id: str, question: str, next_step: str, details: Mapping[str, object]
    ) -> None:
        super().__init__(message, next_step=next_step, details={"approval_id": approval_id, **details})
        self.approval_id = approval_id
        self.question = question


class MandateRefused(BrokerError):
    """The mandate does not allow it; `details["violations"]` says which constraint, by how much, what would pass."""

    code = "MANDATE_REFUSED"
    status = 403


class NoWatchdog(BrokerError):
    """Nobody would end the lease: the provider does not, and no watchdog runs."""

    code = "NO_WATCHDOG"
    status = 403


class NotFound(BrokerError):
    """No such offer, tool, provider or GPU; `details["nearest"]` holds the closest names."""

    code = "NOT_FOUND"
    status = 404


class Conflict(BrokerError):
    """The state does not allow it now."""

    code = "CONFLICT"
    status = 409


class InFlight(Conflict):
    """The same call with the same key is being worked on; `details["retry_after_seconds"]` says when to ask again."""

    retryable = True


class QuoteUnusable(Conflict):
    """A quote that has expired, was used, was changed, or is dearer now; `details["reason"]` says which."""


class IdempotencyConflict(BrokerError):
    """An idempotency key that was used for another request."""

    code = "IDEMPOTENCY_CONFLICT"
    status = 422


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


class ReplyLost(ProviderFailed):
    """An order was sent and its answer never came or cannot be read: it may have been carried out."""


class SlowDown(ProviderFailed):
    """The provider wants fewer calls; nothing was done. `details["retry_after_seconds"]` when it says."""


class NoCapacity(ProviderRefused):
    """The provider has none of it now."""


class QuotaExceeded(ProviderRefused):
    """The account at the provider may not have more."""


class CredentialsRefused(ProviderRefused):
    """The provider does not accept the key, or it lacks the right."""


class OrderRefused(ProviderRefused):
    """The provider refuses what was ordered: an unknown image, a bad name, a product it does not sell."""


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
